//! Messages of a topic and lines of NDJSON files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_fuzz::{Target, fuzz};
use rva_types::{PropertyName, decode_message};
use std::collections::BTreeMap;

const WORDS: &[&str] = &[
    "\"schema_version\":\"1.0\"",
    "\"pipeline_run_id\"",
    "\"frame_index\"",
    "\"payload\"",
    "\"source\"",
    "\"camera_id\"",
    "\"store_id\"",
    "\"capture_ts\"",
    "\"detections\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "\\\"",
    "\\ud800",
    "\"\"",
    "[[[[[[[[",
    "{\"a\":",
];

/// With the properties of our messages, those of others, and none.
fn read(body: &[u8]) {
    let of = |store: &str, camera: &str| {
        [(PropertyName::STORE_ID, store), (PropertyName::CAMERA_ID, camera)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    let all: [BTreeMap<String, String>; 3] = [BTreeMap::new(), of("store_01", "cam_01"), of("", "\u{1}")];
    for properties in &all {
        let Ok(event) = decode_message(body, properties) else { continue };
        let again = decode_message(body, properties).unwrap();
        assert_eq!(format!("{event:?}"), format!("{again:?}"), "the same bytes are the same event");
    }
}

#[test]
fn no_message_stops_the_decoder() {
    fuzz(&Target { name: "message", words: WORDS, read });
}

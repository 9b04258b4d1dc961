//! What an ingest with little memory must get through, slower and never dead.

use crate::tables::{Key, dead_ident, scan, text};
use rva_bus::OutgoingMessage;
use rva_lake::Lake;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

/// Messages, numbered from 0.
pub struct Flood {
    pub name: &'static str,
    pub count: usize,
    of: fn(&str, usize) -> OutgoingMessage,
    /// The key of each; messages without are dead letters.
    key: Option<fn(&str, usize) -> Key>,
}

/// Whether all of each flood is wanted (`make floods`), or what a test has time for.
pub fn is_full() -> bool {
    std::env::var("RVA_FLOODS").is_ok_and(|text| text == "full")
}

/// Every flood, or those whose names hold `RVA_FLOOD`.
pub fn floods() -> Vec<Flood> {
    let only = std::env::var("RVA_FLOOD").unwrap_or_default();
    let size = |full: usize, small: usize| if is_full() { full } else { small };
    let all = [
        Flood { name: "bodies of 100 KB", count: size(5_000, 600), of: of_body::<100_000>, key: Some(key_of_camera) },
        Flood { name: "bodies of 5 MB", count: size(150, 15), of: of_body::<5_000_000>, key: Some(key_of_camera) },
        Flood { name: "large properties", count: size(1_000, 120), of: large_properties, key: Some(key_of_camera) },
        Flood { name: "many properties", count: size(3_000, 300), of: many_properties, key: Some(key_of_camera) },
        Flood { name: "5,000 stores", count: size(20_000, 1_000), of: of_store, key: Some(key_of_store) },
        Flood { name: "20,000 stores and cameras", count: size(40_000, 800), of: of_place, key: Some(key_of_place) },
        Flood { name: "empty messages", count: size(200_000, 20_000), of: empty, key: None },
    ];
    all.into_iter().filter(|flood| flood.name.contains(&only)).collect()
}

impl Flood {
    pub fn messages<'a>(&'a self, run: &'a str) -> impl Iterator<Item = OutgoingMessage> + 'a {
        (0..self.count).map(move |number| (self.of)(run, number))
    }

    /// Compares the tables with what was sent: each key once, each bad message one dead letter.
    pub async fn check(&self, run: &str, lake: &Lake, mut found: Vec<Key>, topics: &str) {
        found.sort();
        let Some(key) = self.key else {
            let mut ids = Vec::new();
            for batch in scan(lake, &dead_ident(), ["topic", "message_id"]).await.unwrap() {
                let ours = (0..batch.num_rows()).filter(|row| text(&batch, "topic", *row).starts_with(topics));
                ids.extend(ours.map(|row| (text(&batch, "topic", row), text(&batch, "message_id", row))));
            }
            assert!(found.is_empty(), "{}: found {} rows, wanted none", self.name, found.len());
            assert_eq!(ids.len(), self.count, "{}: dead letters", self.name);
            return;
        };
        let wanted: BTreeSet<Key> = (0..self.count).map(|number| key(run, number)).collect();
        assert_eq!(wanted.len(), self.count, "each message has a key of its own");
        let known: BTreeSet<Key> = found.iter().cloned().collect();
        let (lost, strange) = (wanted.difference(&known).count(), known.difference(&wanted).count());
        let twice = found.len() - known.len();
        assert_eq!((lost, strange, twice), (0, 0, 0), "{}: keys lost, strange, and more than once", self.name);
    }
}

/// Text that doesn't compress well, another for each number.
fn noise(number: usize, length: usize) -> &'static str {
    static NOISE: OnceLock<String> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let (mut state, letters) =
            (0x9e37_79b9_7f4a_7c15_u64, b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(letters[(state >> 58) as usize])
        };
        (0..6_000_000).map(next).collect()
    });
    let at = number * 7_919 % (noise.len() - length);
    &noise[at..at + length]
}

fn message(key: &Key, store: &str, pad: &str, properties: BTreeMap<String, String>) -> OutgoingMessage {
    let (run, camera, frame) = key;
    let body = format!(
        r#"{{"schema_version":"1.0","pipeline_run_id":"{run}","frame_index":{frame},"source":{{"store_id":"{store}","camera_id":"{camera}","stream_id":"s"}},"detections":[],"pad":"{pad}"}}"#
    );
    OutgoingMessage { partition_key: camera.clone(), properties, event_time: None, body: body.into() }
}

fn frame(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

fn key_of_camera(run: &str, number: usize) -> Key {
    (run.to_owned(), format!("cam_{}", number % 8), frame(number / 8 + 1))
}

fn of_body<const BYTES: usize>(run: &str, number: usize) -> OutgoingMessage {
    message(&key_of_camera(run, number), "store_01", noise(number, BYTES), BTreeMap::new())
}

fn large_properties(run: &str, number: usize) -> OutgoingMessage {
    let property = |at: usize| (format!("property-{at}"), noise(number * 400 + at, 1_000).to_owned());
    message(&key_of_camera(run, number), "store_01", "", (0..400).map(property).collect())
}

fn many_properties(run: &str, number: usize) -> OutgoingMessage {
    let property = |at: usize| (format!("{at}"), String::from("v"));
    message(&key_of_camera(run, number), "store_01", "", (0..3_000).map(property).collect())
}

fn key_of_store(run: &str, number: usize) -> Key {
    (format!("{run}-{:04}", number % 5_000), "cam_01".to_owned(), frame(number / 5_000 + 1))
}

fn of_store(run: &str, number: usize) -> OutgoingMessage {
    message(&key_of_store(run, number), &format!("store_{:04}", number % 5_000), "", BTreeMap::new())
}

fn key_of_place(run: &str, number: usize) -> Key {
    let place = number % 20_000;
    (format!("{run}-{place:05}"), format!("camera_{place:05}"), frame(number / 20_000 + 1))
}

fn of_place(run: &str, number: usize) -> OutgoingMessage {
    message(&key_of_place(run, number), &format!("store_{:05}", number % 20_000), "", BTreeMap::new())
}

fn empty(_: &str, number: usize) -> OutgoingMessage {
    let partition_key = format!("cam_{}", number % 8);
    OutgoingMessage { partition_key, properties: BTreeMap::new(), event_time: None, body: bytes::Bytes::new() }
}

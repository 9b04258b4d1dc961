//! Texts that are logged.

use rva_fuzz::{Target, fuzz};
use rva_types::{redact, secrets_of, shown_source};

const WORDS: &[&str] = &[
    "rtsp://",
    "rtsp:/",
    "u:p@",
    "://",
    " ! ",
    "gst:",
    "\"",
    "'",
    "\\\"",
    "%3A%2F%2F",
    "?token=",
    "&",
    "#",
    "Authorization: ",
    "Bearer ",
    "Basic ",
    "password=",
    "\"secret\": ",
    "[::1]",
    "é",
    "\u{1b}[0m",
];

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // It needn't be stable: where hiding joins what stood apart, a second time may hide more.
    redact(&redact(&text));
    let shown = shown_source(&text);
    // The path of a file is shown, whatever else of it looks like it.
    let is_file = text.to_ascii_lowercase().contains("file:");
    // What stands there several times may be a secret in one place and a name in another.
    let is_once = |secret: &str| text.char_indices().filter(|(at, _)| text[*at..].starts_with(secret)).count() == 1;
    for secret in secrets_of(&text).iter().filter(|secret| !is_file && secret.len() > 40 && is_once(secret)) {
        assert!(!shown.contains(secret.as_str()), "{secret:?} of {text:?} is in {shown:?}");
    }
    // A login before a host, wherever it stands in a line.
    let line = format!("{} rtsp://u:Kp4vT8rL2Yd@cam/1", text.replace(['\n', '\r'], " "));
    assert!(!redact(&line).contains("Kp4vT8rL2Yd"), "{line:?}");
}

#[test]
fn no_text_stops_the_redactor() {
    fuzz(&Target { name: "redactor", words: WORDS, read });
}

//! Sources as users write them.

use rva_fuzz::{Target, fuzz};
use rva_vision::SourceSpec;

const WORDS: &[&str] = &[
    "rtsp://",
    "http://",
    "rtmp://",
    "gst:",
    " ! ",
    "appsink",
    "location=",
    "user-pw=",
    "\"",
    "'",
    "\\",
    "@",
    ":",
    "/",
    "?",
    "#",
    "&",
    "=",
    "%40",
    "[::1]",
    "file:///",
    "/dev/video",
    "udp://@239.0.0.1:5000",
    "Zq7xW9kV3Bt",
    ":Zq7xW9kV3Bt@",
    "=Zq7xW9kV3Bt",
];

/// Stands where a secret may.
const MARK: &str = "zq7xw9kv3bt";

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let spec = match SourceSpec::parse(&text) {
        Ok(spec) => spec,
        Err(error) => {
            let error = error.to_string().to_lowercase();
            assert!(!error.contains(&format!(":{MARK}@")), "{text} is refused with {error}");
            return;
        }
    };
    let shown = format!("{spec} {spec:?}").to_lowercase();
    // Of a URL only its host may be anything.
    if let SourceSpec::Stream(_) = spec {
        let host = shown.split("://").nth(1).unwrap_or_default().split(['/', '?']).next().unwrap_or_default();
        assert!(host.contains(MARK) || !shown.contains(MARK), "{text} is shown as {shown}");
    }
    assert!(!shown.contains(&format!(":{MARK}@")), "{text} is shown as {shown}");
    let _ = spec.with_login("user", "pass word");
}

#[test]
fn no_source_stops_the_parser_or_shows_its_secret() {
    fuzz(&Target { name: "source", words: WORDS, read });
}

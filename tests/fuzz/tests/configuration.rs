//! Configuration files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_fuzz::{Target, fuzz};
use rva_service::{Layers, ShowFormat, load, show};

const WORDS: &[&str] = &[
    "cameras:",
    "detector:",
    "source: ",
    "  ",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "|",
    ">",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "#",
    "\"",
    "'",
    "%YAML 1.2\n",
    "---\n",
    "...\n",
    "password_file: /dev/null",
    "rtsp://u:p@h/1",
    "1e400",
    ".inf",
    "~",
];

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    // Files that it names are another matter.
    let layers = Layers { file: Some(("rva.yaml".into(), text.replace("_file", ""))), ..Layers::default() };
    match load(&layers) {
        Ok(loaded) => {
            let yaml = show(&loaded, ShowFormat::Yaml);
            show(&loaded, ShowFormat::Json);
            let again = Layers { file: Some(("rva.yaml".into(), yaml.clone())), ..Layers::default() };
            assert!(load(&again).is_ok(), "what is shown can be read: {yaml}");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
    }
}

#[test]
fn no_configuration_stops_the_program() {
    fuzz(&Target { name: "configuration", words: WORDS, read });
}

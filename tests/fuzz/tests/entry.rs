//! Entries of a Pulsar topic: whatever somebody who may produce has sent.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use rva_bus::pulsar::{Outcome, unpack_entries};
use rva_fuzz::{Target, fuzz};
use rva_types::RejectionReason;

/// What an entry may cost; small, so that inputs reach it.
const BYTES_MAX: usize = 256 << 10;

/// What a dead letter keeps.
const RAW_BYTES_MAX: usize = 1 << 20;

/// Between the entries of one input.
const CUT: &[u8] = b"\nCUT\n";

/// Fields of an entry's metadata, and of a message's in a batch, as protobuf has them.
const WORDS: &[&str] = &[
    "\nCUT\n",
    "\n\u{1}p\u{10}\u{0}\u{18}\u{1}",
    "@\u{0}",
    "@\u{1}",
    "@\u{2}",
    "@\u{3}",
    "@\u{4}",
    "@\u{7}",
    "H\u{10}",
    "Hdd",
    "X\u{0}",
    "X\u{1}",
    "X\u{3}",
    "X\u{7f}",
    "\"\u{c}\n\u{5}store\u{12}\u{3}abc",
    "(\u{5}",
    "\u{0}\u{0}\u{0}\u{2}",
    "\u{0}\u{0}\u{0}\u{0}",
    "\u{0}\u{0}\u{0}\u{c}",
    "\u{e}\u{1}",
    "\u{e}\u{2}",
];

fn entries(bytes: &[u8]) -> Vec<Bytes> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(CUT.len()).position(|window| window == CUT) {
        entries.push(Bytes::copy_from_slice(&rest[..at]));
        rest = &rest[at + CUT.len()..];
    }
    entries.push(Bytes::copy_from_slice(rest));
    entries
}

fn read(bytes: &[u8]) {
    let entries = entries(bytes);
    let found = unpack_entries(entries.clone(), BYTES_MAX);
    assert!(found.len() <= entries.len(), "{} outcomes of {} entries", found.len(), entries.len());
    for outcome in &found {
        match outcome {
            Ok(messages) => {
                assert!(!messages.is_empty(), "an entry without a message is a dead letter");
                let of_properties = |pair: (&String, &String)| pair.0.len() + pair.1.len();
                let bytes: usize = messages
                    .iter()
                    .map(|(properties, body)| body.len() + properties.iter().map(of_properties).sum::<usize>())
                    .sum();
                assert!(bytes <= BYTES_MAX, "{bytes} bytes of messages");
            }
            Err((raw, rejection)) => {
                assert!(raw.len() <= RAW_BYTES_MAX, "{} bytes kept", raw.len());
                assert!(!rejection.detail.is_empty() && !rejection.detail.chars().any(char::is_control), "{rejection}");
                assert_ne!(rejection.reason, RejectionReason::InvalidJson, "nothing is decoded yet");
            }
        }
    }
    assert_eq!(found, unpack_entries(entries, BYTES_MAX), "the same bytes are the same messages");
}

#[test]
fn no_entry_stops_the_unpacker_or_gives_more_than_its_bound() {
    fuzz(&Target { name: "entry", words: WORDS, read });
}

/// Inputs that nothing understands would reach nothing.
#[test]
fn the_corpus_reaches_what_its_names_say() {
    let found = |name: &str| {
        let path = format!("{}/corpus/entry/{name}", env!("CARGO_MANIFEST_DIR"));
        let outcomes = unpack_entries(entries(&std::fs::read(path).unwrap()), BYTES_MAX);
        let each = |outcome: &Outcome| match outcome {
            Ok(messages) => messages.len().to_string(),
            Err((_, rejection)) => rejection.reason.code().to_owned(),
        };
        outcomes.iter().map(each).collect::<Vec<_>>().join(" ")
    };
    for name in ["single", "properties", "broker-metadata", "chunks"] {
        assert_eq!(found(name), "1", "{name}");
    }
    for name in ["batch", "batch-lz4", "batch-zlib", "batch-zstd", "batch-snappy"] {
        assert_eq!(found(name), "3", "{name}");
    }
    assert_eq!(found("chunks-of-two"), "1 1");
    for (name, reason) in [
        ("bomb-zlib", "too_large"),
        ("empty-messages", "broken_batch"),
        ("count-of-none", "broken_batch"),
        ("encrypted", "encrypted"),
        ("chunks-torn", "incomplete_chunks"),
        ("checksum", "broken_entry"),
    ] {
        assert_eq!(found(name), reason, "{name}");
    }
}

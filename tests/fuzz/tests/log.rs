//! Segments of the embedded log, as a broken disk or somebody else leaves them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_bus::{EventSink, EventSource, LogOptions, LogReader, LogWriter, OutgoingMessage};
use rva_fuzz::{Target, fuzz};
use rva_types::Timestamp;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

const WORDS: &[&str] =
    &["{\"crc\":\"", "\"n\":", "\"ts\":\"", "\"body\":", "\"raw\":\"", "}\n", "\n", "\"n\":18446744073709551615,"];

/// A whole log that every input is laid over, what it holds, and the runtime that reads it.
static WHOLE: LazyLock<(tempfile::TempDir, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let bodies: Vec<Vec<u8>> =
        (0..5).map(|n| format!("{{\"frame_index\":{n},\"text\":\"é\\n\"}}").into_bytes()).collect();
    runtime().block_on(async {
        let mut writer = LogWriter::open(folder.path(), LogOptions::default()).unwrap();
        for body in &bodies {
            writer.send(message(body)).await.unwrap();
        }
        writer.flush().await.unwrap();
    });
    (folder, bodies)
});

fn message(body: &[u8]) -> OutgoingMessage {
    OutgoingMessage {
        partition_key: "cam_01".into(),
        body: body.to_vec().into(),
        properties: Default::default(),
        event_time: Timestamp::parse("2026-01-31T08:00:00Z").ok(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn segment(log: &Path) -> PathBuf {
    let mut entries = fs::read_dir(log.join("cam_01")).unwrap().flatten().map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|extension| extension == "ndjson")).unwrap()
}

/// The input replaces the segment behind its first byte's share, once below the durable mark and once as a tail.
fn read(input: &[u8]) {
    let (whole, bodies) = &*WHOLE;
    let log = tempfile::tempdir().unwrap();
    fs::create_dir(log.path().join("cam_01")).unwrap();
    for name in ["identity", "cam_01/durable"] {
        fs::copy(whole.path().join(name), log.path().join(name)).unwrap();
    }
    let good = fs::read(segment(whole.path())).unwrap();
    let (share, rest) = input.split_first().unwrap_or((&0, &[]));
    let keep = good.len() * usize::from(*share) / 255;
    let target = log.path().join("cam_01").join(segment(whole.path()).file_name().unwrap());
    fs::write(&target, [&good[..keep], rest].concat()).unwrap();
    runtime().block_on(async {
        let Ok(mut reader) = LogReader::open(log.path()) else { return };
        let mut found = Vec::new();
        for _ in 0..bodies.len() + 2 {
            match reader.poll(1 << 20, Duration::from_millis(1)).await {
                Ok(messages) if messages.is_empty() => break,
                Ok(messages) => found.extend(messages.into_iter().map(|message| message.body.to_vec())),
                Err(_) => break,
            }
        }
        assert!(bodies.starts_with(&found), "what is read is what was written, in its order: {found:?}");
    });
}

#[test]
fn no_segment_stops_the_reader_or_makes_it_say_what_was_not_written() {
    fuzz(&Target { name: "log", words: WORDS, read });
}

//! The embedded log from outside.

use bytes::Bytes;
use rva_bus::{EventSink, EventSource, LogOptions, LogReader, LogWriter, OutgoingMessage};
use std::{collections::BTreeMap, time::Duration};

fn message(key: &str, body: &str) -> OutgoingMessage {
    OutgoingMessage {
        partition_key: key.into(),
        properties: BTreeMap::new(),
        event_time: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

#[tokio::test]
async fn what_was_sent_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let mut writer = LogWriter::open(&dir, LogOptions::default()).unwrap();
    let mut reader = LogReader::open(&dir).unwrap();
    let started = std::time::Instant::now();
    for i in 0..10_000 {
        let pad = "x".repeat(2500);
        writer.send(message("cam", &format!("{{\"i\":{i},\"p\":\"{pad}\"}}"))).await.unwrap();
    }
    writer.flush().await.unwrap();
    eprintln!("10,000 in {:?}", started.elapsed());
    let mut seen = 0;
    while seen < 10_000 {
        let messages = reader.poll(1 << 20, Duration::from_secs(5)).await.unwrap();
        assert!(!messages.is_empty());
        for m in messages {
            seen += 1;
            assert_eq!(m.position.entry, seen);
        }
    }
    eprintln!("read in {:?}", started.elapsed());
    drop(writer);
    let mut writer = LogWriter::open(&dir, LogOptions::default()).unwrap();
    assert_eq!(writer.recovered(), []);
    writer.send(message("cam", "1")).await.unwrap();
    writer.flush().await.unwrap();
    let m = reader.poll(1 << 20, Duration::from_secs(5)).await.unwrap();
    assert_eq!(m[0].position.entry, 10_001);
}

//! The log in memory: its faults happen once each.

use crate::drain;
use rva_bus::{EventSink, EventSource};
use rva_testkit::bus::MemoryLog;
use rva_types::{OffsetMap, Position};
use std::time::Duration;

#[tokio::test]
async fn the_memory_logs_faults_happen_once_each() {
    use rva_bus::BusErrorKind::*;
    use rva_testkit::bus::MemoryFault::*;
    let log = MemoryLog::default();
    let mut sink = log.clone();
    log.inject(Send(Transient));
    assert_eq!(sink.send(crate::message("a", "1")).await.unwrap_err().kind(), Transient);
    for i in 1..=4 {
        sink.send(crate::message("a", i.to_string())).await.unwrap();
    }
    let mut source = log.reader();
    assert!(drain(&mut source).await.is_empty(), "nothing is seen before the flush");
    sink.flush().await.unwrap();
    let numbers = |messages: &[rva_bus::Message]| messages.iter().map(|m| m.position.entry).collect::<Vec<_>>();
    for fault in [Poll(Transient), Silence, Duplicate, Redeliver(2)] {
        log.inject(fault);
    }
    assert!(source.poll(10_000, Duration::ZERO).await.is_err());
    assert!(source.poll(10_000, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(numbers(&source.poll(10_000, Duration::ZERO).await.unwrap()), [1, 1, 2, 2, 3, 3, 4, 4]);
    assert_eq!(log.faults_left(), 0, "the first poll that gave something took both");
    log.inject(Redeliver(2));
    assert_eq!(numbers(&source.poll(10_000, Duration::ZERO).await.unwrap()), [3, 4]);
    log.remove_before("a", 3);
    assert!(log.reader().seek(&OffsetMap::new()).await.is_ok());
    let mut behind = log.reader();
    let mut offsets = OffsetMap::new();
    offsets.advance("a", Position::of_record(1));
    behind.seek(&offsets).await.unwrap();
    assert_eq!(behind.poll(100, Duration::ZERO).await.unwrap_err().kind(), Permanent);
}

//! The contract of the two seams, over every log.

use crate::{body, drain, keys, message};
use rva_bus::{EventSink, EventSource, LogOptions, LogReader, LogWriter, memory::MemoryLog};
use rva_types::{OffsetMap, Position};
use std::time::{Duration, Instant};

/// A log as the contract sees it: a sink, and a source anew whenever it is asked for.
struct Log<'a> {
    sink: Box<dyn EventSink>,
    source: Box<dyn Fn() -> Box<dyn EventSource> + 'a>,
}

/// Runs one clause over both logs.
async fn over_every_log(clause: impl AsyncFn(&mut Log<'_>)) {
    let memory = MemoryLog::default();
    let reader = memory.clone();
    clause(&mut Log { sink: Box::new(memory), source: Box::new(move || Box::new(reader.reader())) }).await;
    let dir = tempfile::tempdir().unwrap();
    // Small segments, so that every clause crosses several.
    let options = LogOptions { segment_bytes_max: 700, ..LogOptions::default() };
    let sink = Box::new(LogWriter::open(dir.path(), options).unwrap());
    let source = || -> Box<dyn EventSource> { Box::new(LogReader::open(dir.path()).unwrap()) };
    clause(&mut Log { sink, source: Box::new(source) }).await;
}

async fn fill(log: &mut Log<'_>, key: &str, numbers: std::ops::RangeInclusive<u64>) {
    for i in numbers {
        log.sink.send(message(key, body(i, 100))).await.unwrap();
    }
    log.sink.flush().await.unwrap();
}

fn wanted(key: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<(String, u64, String)> {
    numbers.map(|i| (key.to_owned(), i, body(i, 100))).collect()
}

#[tokio::test]
async fn flushed_messages_come_back_in_order_with_their_properties() {
    over_every_log(async |log| {
        fill(log, "a", 1..=30).await;
        let mut source = (log.source)();
        let messages = drain(&mut *source).await;
        assert_eq!(keys(&messages), wanted("a", 1..=30));
        assert!(messages.iter().all(|m| m.ends_entry && m.properties["camera_id"] == "a"));
    })
    .await;
}

#[tokio::test]
async fn partitions_are_numbered_on_their_own_and_picked_up_when_they_appear() {
    over_every_log(async |log| {
        fill(log, "b", 1..=3).await;
        let mut source = (log.source)();
        assert_eq!(keys(&drain(&mut *source).await), wanted("b", 1..=3));
        fill(log, "a/../b", 1..=2).await;
        assert_eq!(keys(&drain(&mut *source).await), wanted("a/../b", 1..=2));
        let ranges = source.partitions().await.unwrap();
        let found: Vec<_> = ranges.into_iter().map(|r| (r.partition, r.topic, r.first, r.last)).collect();
        let one = Some(Position::of_record(1));
        assert_eq!(
            found,
            [
                ("a/../b".into(), ("embedded/a/../b".into(), 0), one, Some(Position::of_record(2))),
                ("b".into(), ("embedded/b".into(), 0), one, Some(Position::of_record(3))),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_source_continues_behind_the_offsets() {
    over_every_log(async |log| {
        fill(log, "a", 1..=20).await;
        fill(log, "b", 1..=4).await;
        for last in 0..=20 {
            let mut source = (log.source)();
            let mut offsets = OffsetMap::new();
            offsets.advance("b", Position::of_record(4));
            if last > 0 {
                offsets.advance("a", Position::of_record(last));
            }
            source.seek(&offsets).await.unwrap();
            assert_eq!(keys(&drain(&mut *source).await), wanted("a", last + 1..=20));
            source.seek(&offsets).await.unwrap();
            assert_eq!(keys(&drain(&mut *source).await), wanted("a", last + 1..=20), "seeking back reads again");
        }
    })
    .await;
}

#[tokio::test]
async fn offsets_beyond_the_log_are_refused_and_name_both_positions() {
    over_every_log(async |log| {
        fill(log, "a", 1..=5).await;
        let mut source = (log.source)();
        let mut offsets = OffsetMap::new();
        offsets.advance("a", Position::of_record(9));
        let error = source.seek(&offsets).await.unwrap_err();
        assert_eq!(error.kind(), rva_bus::BusErrorKind::Permanent);
        let text = error.to_string();
        assert!(text.contains("shortened") && text.contains('5') && text.contains("0:9:-1"), "{text}");
        let mut unknown = OffsetMap::new();
        unknown.advance("other", Position::of_record(1));
        assert!(source.seek(&unknown).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_poll_gives_about_the_bytes_asked_for_and_at_least_one_message() {
    over_every_log(async |log| {
        fill(log, "a", 1..=10).await;
        let mut source = (log.source)();
        assert_eq!(keys(&source.poll(1, Duration::ZERO).await.unwrap()), wanted("a", 1..=1));
        let length = body(1, 100).len();
        assert_eq!(keys(&source.poll(3 * length + 1, Duration::ZERO).await.unwrap()), wanted("a", 2..=4));
    })
    .await;
}

#[tokio::test]
async fn an_empty_poll_waits_and_a_message_ends_the_wait() {
    over_every_log(async |log| {
        let mut source = (log.source)();
        let started = Instant::now();
        assert!(source.poll(1000, Duration::from_millis(60)).await.unwrap().is_empty());
        assert!(started.elapsed() >= Duration::from_millis(60));
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fill(log, "a", 1..=1).await;
        };
        let (messages, ()) = tokio::join!(source.poll(1000, Duration::from_secs(60)), late);
        assert_eq!(keys(&messages.unwrap()), wanted("a", 1..=1));
    })
    .await;
}

#[tokio::test]
async fn acknowledging_keeps_what_is_not_committed_and_the_identity_stays() {
    over_every_log(async |log| {
        fill(log, "a", 1..=10).await;
        let mut source = (log.source)();
        let mut offsets = OffsetMap::new();
        offsets.advance("a", Position::of_record(4));
        source.acknowledge(&offsets).await.unwrap();
        source.seek(&offsets).await.unwrap();
        assert_eq!(keys(&drain(&mut *source).await), wanted("a", 5..=10));
        assert!(!source.identity().is_empty());
        assert_eq!(source.identity(), (log.source)().identity());
    })
    .await;
}

#[tokio::test]
async fn any_body_comes_back_byte_for_byte() {
    over_every_log(async |log| {
        let bodies: [&[u8]; 6] = [b"", b"{\"a\": 1.0}", b"\xff\n\r\0", b"{\n}", b"no json", b"null"];
        for body in bodies {
            log.sink.send(message("a", body)).await.unwrap();
        }
        log.sink.flush().await.unwrap();
        let found: Vec<_> = drain(&mut *(log.source)()).await.into_iter().map(|m| m.body).collect();
        assert_eq!(found, bodies);
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_key_is_rejected_and_the_next_one_passes() {
    over_every_log(async |log| {
        let error = log.sink.send(message("", "{}")).await.unwrap_err();
        assert_eq!(error.kind(), rva_bus::BusErrorKind::Rejected);
        fill(log, "a", 1..=1).await;
        assert_eq!(keys(&drain(&mut *(log.source)()).await), wanted("a", 1..=1));
    })
    .await;
}

#[tokio::test]
async fn the_memory_logs_faults_happen_once_each() {
    use rva_bus::{BusErrorKind::*, memory::MemoryFault::*};
    let log = MemoryLog::default();
    let mut sink = log.clone();
    log.inject(Send(Transient));
    assert_eq!(sink.send(message("a", "1")).await.unwrap_err().kind(), Transient);
    for i in 1..=4 {
        sink.send(message("a", i.to_string())).await.unwrap();
    }
    let mut source = log.reader();
    assert!(drain(&mut source).await.is_empty(), "nothing is seen before the flush");
    sink.flush().await.unwrap();
    let numbers = |messages: &[rva_bus::Message]| messages.iter().map(|m| m.position.entry).collect::<Vec<_>>();
    for fault in [Poll(Transient), Silence, Duplicate, Redeliver(2)] {
        log.inject(fault);
    }
    assert!(source.poll(100, Duration::ZERO).await.is_err());
    assert!(source.poll(100, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(numbers(&source.poll(100, Duration::ZERO).await.unwrap()), [1, 1, 2, 2, 3, 3, 4, 4]);
    assert_eq!(log.faults_left(), 0, "the first poll that gave something took both");
    log.inject(Redeliver(2));
    assert_eq!(numbers(&source.poll(100, Duration::ZERO).await.unwrap()), [3, 4]);
    log.remove_before("a", 3);
    assert!(log.reader().seek(&OffsetMap::new()).await.is_ok());
    let mut behind = log.reader();
    let mut offsets = OffsetMap::new();
    offsets.advance("a", Position::of_record(1));
    behind.seek(&offsets).await.unwrap();
    assert_eq!(behind.poll(100, Duration::ZERO).await.unwrap_err().kind(), Permanent);
}

//! Age, size and what readers see of it.

use crate::{FakeClock, body, drain, keys, message, no_sync, segments};
use rva_bus::{BusErrorKind, EventSink, EventSource, LogBacklog, LogOptions, LogReader, LogWriter, SizePolicy};
use rva_types::{OffsetMap, Position};
use std::time::Duration;

fn offsets(partition: &str, number: u64) -> OffsetMap {
    let mut map = OffsetMap::new();
    map.advance(partition, Position::of_record(number));
    map
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test]
async fn segments_go_when_they_are_committed_and_72_hours_old() {
    let dir = tempfile::tempdir().unwrap();
    let clock = FakeClock::default();
    let options = LogOptions {
        clock: clock.function(),
        segment_bytes_max: 1, // one record a segment
        retention_interval: Duration::from_millis(5),
        ..LogOptions::default()
    };
    let mut writer = LogWriter::open(dir.path(), options.clone()).unwrap();
    for i in 1..=6 {
        writer.send(message("a", body(i, 10))).await.unwrap();
        clock.advance(10);
    }
    writer.flush().await.unwrap();
    let mut reader = LogReader::open(dir.path()).unwrap();
    clock.advance(30); // now 90; record i is from (i - 1) * 10, the one behind it from i * 10
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(segments(dir.path(), "a").len(), 6, "nothing is committed");
    reader.acknowledge(&offsets("a", 4)).await.unwrap();
    until("old and committed segments go", || segments(dir.path(), "a").len() == 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(segments(dir.path(), "a").len(), 5, "record 2 may be younger than 72 h");
    clock.advance(1000);
    until("committed ones go", || segments(dir.path(), "a").len() == 2).await;
    let range = reader.partitions().await.unwrap().remove(0);
    assert_eq!((range.first, range.last), (Some(Position::of_record(5)), Some(Position::of_record(6))));
    assert_eq!(writer.counters().segments_removed_age, 4);

    reader.acknowledge(&offsets("a", 6)).await.unwrap();
    until("all but the last go", || segments(dir.path(), "a").len() == 1).await;
    drop(writer);
    let mut writer = LogWriter::open(dir.path(), options).unwrap();
    writer.send(message("a", body(7, 10))).await.unwrap();
    writer.flush().await.unwrap();
    reader.seek(&offsets("a", 6)).await.unwrap();
    assert_eq!(keys(&drain(&mut reader).await), [("a".into(), 7, body(7, 10))], "numbers go on after retention");
}

fn small(policy: SizePolicy) -> LogOptions {
    LogOptions {
        size_bytes_max: 8000,
        size_policy: policy,
        block_recheck: Duration::from_millis(5),
        ..LogOptions::default()
    }
}

#[tokio::test]
async fn the_backlog_is_what_nobody_has_committed() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes_max: 1200, size_bytes_max: 1 << 20, ..LogOptions::default() };
    let mut writer = LogWriter::open(dir.path(), options).unwrap();
    let meter = writer.meter();
    assert_eq!((meter.backlog().records, meter.backlog().bytes, meter.bytes_max()), (0, 0, 1 << 20));
    for i in 1..=10 {
        writer.send(message("a", body(i, 400))).await.unwrap();
        writer.send(message("b", body(i, 400))).await.unwrap();
    }
    writer.flush().await.unwrap();
    let all = meter.backlog();
    assert_eq!((all.records, all.bytes), (20, writer.counters().log_bytes));
    let mut reader = LogReader::open(dir.path()).unwrap();
    reader.acknowledge(&offsets("a", 3)).await.unwrap();
    let left = meter.backlog();
    assert_eq!(left.records, 17);
    let share = left.bytes as f64 / all.bytes as f64;
    assert!((0.83..0.87).contains(&share), "17 of 20 records of one size, found {share}");
    let mut rest = offsets("a", 10);
    rest.advance("b", Position::of_record(10));
    reader.acknowledge(&rest).await.unwrap();
    assert_eq!((meter.backlog().records, meter.backlog().bytes), (0, 0));
    drop(writer);
    assert_eq!((meter.backlog(), meter.bytes_max()), (LogBacklog::default(), 0));
}

#[tokio::test]
async fn a_full_log_blocks_until_segments_are_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), small(SizePolicy::Block)).unwrap();
    let mut accepted = 0;
    while tokio::time::timeout(Duration::from_millis(300), writer.send(message("a", body(accepted + 1, 400))))
        .await
        .is_ok()
    {
        accepted += 1;
        assert!(accepted < 100, "the bound was never reached");
    }
    assert!(writer.counters().log_bytes <= 8000);
    let mut reader = LogReader::open(dir.path()).unwrap();
    let all = drain(&mut reader).await;
    assert_eq!(all.len() as u64, accepted, "nothing was dropped");
    assert_eq!(writer.counters().sends_blocked, 1);

    let commit = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        reader.acknowledge(&offsets("a", 3)).await.unwrap();
    };
    let (sent, ()) = tokio::join!(writer.send(message("a", body(accepted + 1, 400))), commit);
    sent.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(keys(&drain(&mut reader).await), [("a".into(), accepted + 1, body(accepted + 1, 400))]);
    assert_eq!(writer.counters().records_dropped_size, 0);
    assert!(reader.partitions().await.unwrap()[0].first > Some(Position::of_record(1)));
    assert!(reader.partitions().await.unwrap()[0].first <= Some(Position::of_record(4)));
}

#[tokio::test]
async fn a_full_log_whose_last_segments_are_committed_closes_them_to_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), small(SizePolicy::Block)).unwrap();
    let mut reader = LogReader::open(dir.path()).unwrap();
    // One record in each partition: only active segments.
    for i in 0..60 {
        let key = format!("cam_{i}");
        writer.send(message(&key, body(1, 400))).await.unwrap();
        writer.flush().await.unwrap();
        reader.acknowledge(&offsets(&key, 1)).await.unwrap();
    }
    assert!(writer.counters().segments_removed_size > 0 && writer.counters().records_dropped_size == 0);
    drop(writer);
    let mut writer = LogWriter::open(dir.path(), small(SizePolicy::Block)).unwrap();
    assert_eq!(writer.recovered(), []);
    writer.send(message("cam_0", body(2, 400))).await.unwrap();
    writer.flush().await.unwrap();
    reader.seek(&offsets("cam_0", 1)).await.unwrap();
    assert!(keys(&drain(&mut reader).await).contains(&("cam_0".into(), 2, body(2, 400))));
}

#[tokio::test]
async fn drop_oldest_counts_what_it_drops_and_the_reader_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), LogOptions { ..small(SizePolicy::DropOldest) }).unwrap();
    writer.send(message("a", body(1, 400))).await.unwrap();
    writer.flush().await.unwrap();
    let mut reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(drain(&mut reader).await.len(), 1);
    for i in 2..=100 {
        writer.send(message("a", body(i, 400))).await.unwrap();
    }
    writer.flush().await.unwrap();
    let range = reader.partitions().await.unwrap().remove(0);
    let first = range.first.unwrap().entry;
    assert!(first > 2);
    assert_eq!(writer.counters().records_dropped_size, first - 1);
    assert!(writer.counters().log_bytes <= 8000);

    let error = reader.poll(1 << 20, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Permanent);
    let text = error.to_string();
    assert!(text.contains(&format!("record {first}")) && text.contains("record 2 "), "{text}");
    reader.seek(&offsets("a", first - 1)).await.unwrap();
    let wanted: Vec<_> = (first..=100).map(|i| ("a".to_owned(), i, body(i, 400))).collect();
    assert_eq!(keys(&drain(&mut reader).await), wanted);
}

#[tokio::test]
async fn records_that_are_not_durable_are_never_dropped_from_under_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { size_bytes_max: 8000, size_policy: SizePolicy::DropOldest, ..no_sync() };
    let mut writer = LogWriter::open(dir.path(), options.clone()).unwrap();
    for i in 1..=100 {
        writer.send(message("a", body(i, 400))).await.unwrap();
    }
    drop(writer);
    let writer = LogWriter::open(dir.path(), options).unwrap();
    assert_eq!(writer.recovered(), []);
    let mut reader = LogReader::open(dir.path()).unwrap();
    let last = drain(&mut reader).await.pop().unwrap();
    assert_eq!(last.position, Position::of_record(100));
}

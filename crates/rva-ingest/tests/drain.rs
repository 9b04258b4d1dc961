//! A log that needs a moment for what it promises, as a broker does, is read to its end in one pass.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_bus::EventSink;
use rva_ingest::{IngestEnd, IngestOptions, Phase, SystemClock, run_ingest};
use rva_lake::BronzeRow;
use rva_testkit::{
    bus::{MemoryLog, SlowSource, contract::message},
    lake::MemoryTable,
};
use rva_types::DeadLetter;
use tokio::sync::watch;

#[tokio::test]
async fn what_the_log_promises_is_waited_for_and_is_no_contradiction() {
    let mut sink = MemoryLog::default();
    for frame in 1..=5 {
        let record = format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"r","frame_index":{frame},"source":{{"store_id":"s","camera_id":"c"}}}}"#
        );
        sink.send(message("c", record)).await.unwrap();
    }
    sink.flush().await.unwrap();
    let mut log = SlowSource(sink.reader());
    let (rows, letters) = (MemoryTable::<BronzeRow>::new(), MemoryTable::<DeadLetter>::new());
    let (mut bronze, mut dead) = (rows.sink(), letters.sink());
    let (_phase, phase) = watch::channel(Phase::Drain);
    let options = IngestOptions::default();
    let clock = SystemClock::new();
    let report = run_ingest(&mut log, &mut bronze, &mut dead, &options, &clock, phase, &mut ()).await.unwrap();
    assert_eq!(report.end, IngestEnd::Drained);
    let frames: Vec<i64> = rows.rows().iter().map(|row| row.event.key.frame_index).collect();
    assert_eq!(frames, [1, 2, 3, 4, 5]);
    let counters = &report.counters;
    assert_eq!((counters.commits, counters.retries_log, counters.rebuilds), (1, 0, 0), "{counters:?}");
}

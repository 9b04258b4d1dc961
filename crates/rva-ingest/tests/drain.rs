//! A log that needs a moment for what it promises, as a broker does, is read to its end in one pass.
#![allow(clippy::unwrap_used)]

use rva_bus::{BusError, EventSource, Message, PartitionRange};
use rva_ingest::{IngestEnd, IngestOptions, Phase, SystemClock, run_ingest};
use rva_lake::{Batch, BronzeRow, CommitOutcome, LakeError, ResumePoint, TableSink};
use rva_types::{DeadLetter, OffsetMap, Position, Timestamp};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch;

const PARTITION: &str = "0";

/// Its records come one by one, and only to who waits for them.
struct SlowLog {
    last: u64,
    given: u64,
}

#[async_trait::async_trait]
impl EventSource for SlowLog {
    fn identity(&self) -> &str {
        "slow"
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        Ok(vec![PartitionRange {
            skipped_to: None,
            partition: PARTITION.into(),
            topic: ("slow".into(), 0),
            first: Some(Position::of_record(1)),
            last: Some(Position::of_record(self.last)),
            next: Position::of_record(self.last + 1),
        }])
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        self.given = offsets.get(PARTITION).map_or(0, |position| position.entry);
        Ok(())
    }

    async fn poll(&mut self, _: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        if wait.is_zero() || self.given == self.last {
            return Ok(Vec::new());
        }
        self.given += 1;
        let body = format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"r","frame_index":{},"source":{{"store_id":"s","camera_id":"c"}}}}"#,
            self.given
        );
        Ok(vec![Message {
            partition: PARTITION.into(),
            position: Position::of_record(self.given),
            ends_entry: true,
            follows: None,
            rejected: None,
            publish_ts: Timestamp::from_micros(0),
            properties: BTreeMap::new(),
            body: body.into(),
        }])
    }

    async fn acknowledge(&mut self, _: &OffsetMap) -> Result<(), BusError> {
        Ok(())
    }
}

/// A table in memory.
struct Table<Row> {
    offsets: OffsetMap,
    rows: Vec<Row>,
}

impl<Row> Table<Row> {
    fn new() -> Self {
        Self { offsets: OffsetMap::new(), rows: Vec::new() }
    }
}

#[async_trait::async_trait]
impl<Row: Clone + Send + Sync + 'static> TableSink<Row> for Table<Row> {
    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError> {
        Ok(ResumePoint { offsets: self.offsets.clone(), ..ResumePoint::default() })
    }

    async fn commit(&mut self, batch: &Batch<Row>) -> Result<CommitOutcome, LakeError> {
        self.offsets = batch.to.clone();
        self.rows.extend(batch.rows.iter().cloned());
        Ok(CommitOutcome::Committed { rows_appended: batch.rows.len() as u64, rows_known: 0 })
    }

    async fn holds(&mut self, rows: &[Row]) -> Result<Vec<bool>, LakeError> {
        Ok(vec![false; rows.len()])
    }
}

#[tokio::test]
async fn what_the_log_promises_is_waited_for_and_is_no_contradiction() {
    let mut log = SlowLog { last: 5, given: 0 };
    let (mut bronze, mut dead) = (Table::<BronzeRow>::new(), Table::<DeadLetter>::new());
    let (_phase, phase) = watch::channel(Phase::Drain);
    let options = IngestOptions::default();
    let clock = SystemClock::new();
    let report = run_ingest(&mut log, &mut bronze, &mut dead, &options, &clock, phase, &mut ()).await.unwrap();
    assert_eq!(report.end, IngestEnd::Drained);
    let frames: Vec<i64> = bronze.rows.iter().map(|row| row.event.key.frame_index).collect();
    assert_eq!(frames, [1, 2, 3, 4, 5]);
    let counters = &report.counters;
    assert_eq!((counters.commits, counters.retries_log, counters.rebuilds), (1, 0, 0), "{counters:?}");
}

//! The metrics that the service shows at `/metrics`.

use crate::IngestCounters;
use rva_service::{Histogram, Metric, Series};
use rva_types::Timestamp;
use std::collections::BTreeMap;

/// The upper bounds of the times of a commit, in seconds: from a table on the same disk to one far away that is slow.
const COMMIT_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The upper bounds of the rows of a commit.
const COMMIT_ROWS: &[f64] = &[0.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0];

/// The upper bounds of the times from the log to the table, in seconds: from a commit each second to a spool of a day.
const PUBLISH_TO_COMMIT_SECONDS: &[f64] = &[0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0];

/// Names the bus as a part of the service's health.
pub(super) const BUS: &str = "bus";
/// Names the tables as a part of it.
pub(super) const CATALOG: &str = "catalog";

/// The totals of the process.
#[derive(Debug)]
pub(super) struct Counted {
    /// The totals of the loop.
    pub ingest: IngestCounters,
    /// The number of failed attempts to open a part at the start.
    pub open_retries: BTreeMap<&'static str, u64>,
    /// The whole seconds since 1970 at the last commit; 0 before the first.
    pub committed_at: i64,
    /// The whole seconds by which reading was behind when messages were read last; 0 where nothing was left.
    pub lag_seconds: i64,
    /// When the log accepted the oldest message that was read since the last commit.
    pub oldest: Option<Timestamp>,
    /// The times from a message's acceptance by the log to the commit that has it, of the oldest of each commit.
    pub publish_to_commit_seconds: Histogram,
    /// The times of the attempts that committed to bronze_raw, in seconds.
    pub commit_seconds: Histogram,
    /// The rows that they added.
    pub commit_rows: Histogram,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            ingest: IngestCounters::default(),
            open_retries: BTreeMap::new(),
            committed_at: 0,
            lag_seconds: 0,
            oldest: None,
            publish_to_commit_seconds: Histogram::new(PUBLISH_TO_COMMIT_SECONDS),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            commit_rows: Histogram::new(COMMIT_ROWS),
        }
    }
}

/// The metrics of `rva-ingest`.
pub(super) const METRICS: &[Metric<Counted>] = &[
    Metric::counter("rva_ingest_messages", "Messages that the log gave", |counted| counted.ingest.messages_read),
    Metric::counter("rva_ingest_messages_skipped", "Messages that came again", |counted| {
        counted.ingest.messages_skipped
    }),
    Metric::counter("rva_ingest_rows", "Rows added to bronze_raw", |counted| counted.ingest.rows),
    Metric::counter("rva_ingest_rows_known", "Events that bronze_raw held already", |counted| {
        counted.ingest.rows_known
    }),
    Metric::counter(
        "rva_ingest_conflicts",
        "Events whose key bronze_raw held already with another payload",
        |counted| counted.ingest.conflicts,
    ),
    Metric::counter_by("rva_ingest_dead_letters", &["reason"], "Messages that are no rows, by reason", |counted| {
        counted.ingest.dead_letters.iter().map(|(reason, count)| Series::of([reason.code()], *count)).collect()
    }),
    Metric::counter_by("rva_ingest_commits", &["table"], "Commits, by table", |Counted { ingest, .. }| {
        vec![
            Series::of(["bronze_raw"], ingest.commits),
            Series::of(["bronze_dead_letters"], ingest.dead_letter_commits),
        ]
    }),
    Metric::histogram_by(
        "rva_ingest_commit_duration_seconds",
        &[],
        "Time of a commit to bronze_raw, from the batch in memory until the table is known to have it",
        |counted| vec![Series::of([], counted.commit_seconds.counts())],
    ),
    Metric::histogram_by("rva_ingest_commit_rows", &[], "Rows that a commit added to bronze_raw", |counted| {
        vec![Series::of([], counted.commit_rows.counts())]
    }),
    Metric::gauge(
        "rva_ingest_last_commit_timestamp_seconds",
        "When bronze_raw was committed last, 0 before the first commit",
        |counted| counted.committed_at,
    ),
    Metric::gauge(
        "rva_ingest_lag_seconds",
        "Age of the newest message when it was read last, 0 when the log had no more",
        |counted| counted.lag_seconds,
    ),
    Metric::histogram_by(
        "rva_ingest_publish_to_commit_seconds",
        &[],
        "Time from a message's acceptance by the log to the commit that has it, of the oldest message of each commit",
        |counted| vec![Series::of([], counted.publish_to_commit_seconds.counts())],
    ),
    Metric::counter_by(
        "rva_ingest_retries",
        &["at"],
        "Attempts repeated after an error that may pass, by where it was",
        |Counted { ingest, open_retries, .. }| {
            let opening = |part| open_retries.get(part).copied().unwrap_or(0);
            let at = [
                ("log", ingest.retries_log),
                ("table", ingest.retries_table),
                ("open_bus", opening(BUS)),
                ("open_catalog", opening(CATALOG)),
            ];
            at.map(|(at, count)| Series::of([at], count)).into()
        },
    ),
    Metric::counter("rva_ingest_fenced", "Batches dropped because another worker was first", |counted| {
        counted.ingest.fenced
    }),
    Metric::counter(
        "rva_ingest_rebuilds",
        "Times that reading began again behind the offsets of the table",
        |counted| counted.ingest.rebuilds,
    ),
    Metric::counter("rva_ingest_rollbacks", "Rollbacks of the table that were accepted", |counted| {
        counted.ingest.rollbacks
    }),
    Metric::counter("rva_ingest_records_lost", "Records that the log had lost before they were read", |counted| {
        counted.ingest.records_lost
    }),
    Metric::counter(
        "rva_ingest_acknowledge_failures",
        "Acknowledgements that failed and that a later one covers",
        |counted| counted.ingest.acknowledge_failures,
    ),
    Metric::counter_by(
        "rva_ingest_key_files_read",
        &["columns"],
        "Data files that were read to see which events are known: their keys, or payloads to compare",
        |Counted { ingest, .. }| {
            vec![Series::of(["keys"], ingest.keys.files_read), Series::of(["payloads"], ingest.keys.payload_files_read)]
        },
    ),
    Metric::counter_by(
        "rva_ingest_key_blocks",
        &["event"],
        "Blocks of known frame indexes that were loaded from the table, and dropped to stay within the bound",
        |Counted { ingest, .. }| {
            vec![Series::of(["loaded"], ingest.keys.blocks_loaded), Series::of(["dropped"], ingest.keys.blocks_dropped)]
        },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../../docs/ingest.md");
        assert_eq!(wrong_names(METRICS, "rva_ingest_", document), Vec::<String>::new());
    }
}

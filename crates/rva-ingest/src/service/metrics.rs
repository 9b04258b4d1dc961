//! What the service shows at `/metrics`.

use crate::IngestCounters;
use rva_service::Metric;
use std::collections::BTreeMap;

/// Totals of the process.
#[derive(Debug, Default)]
pub struct Counted {
    /// Of the loop.
    pub ingest: IngestCounters,
    /// Failed attempts to open a part at the start.
    pub open_retries: BTreeMap<&'static str, u64>,
    /// Whole seconds since 1970 at the last commit; 0 before the first.
    pub committed_at: i64,
}

/// The metrics of `rva-ingest`.
pub const METRICS: &[Metric<Counted>] = &[
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
    Metric::counter_by("rva_ingest_dead_letters", "reason", "Messages that are no rows, by reason", |counted| {
        counted.ingest.dead_letters.iter().map(|(reason, count)| (reason.code().to_owned(), *count)).collect()
    }),
    Metric::counter_by("rva_ingest_commits", "table", "Commits, by table", |Counted { ingest, .. }| {
        vec![("bronze_raw".into(), ingest.commits), ("bronze_dead_letters".into(), ingest.dead_letter_commits)]
    }),
    Metric::gauge(
        "rva_ingest_last_commit_timestamp_seconds",
        "When bronze_raw was committed last, 0 before the first commit",
        |counted| counted.committed_at,
    ),
    Metric::counter_by(
        "rva_ingest_retries",
        "at",
        "Attempts repeated after an error that may pass, by where it was",
        |Counted { ingest, open_retries, .. }| {
            let opening = |part| open_retries.get(part).copied().unwrap_or(0);
            let at = [
                ("log", ingest.retries_log),
                ("table", ingest.retries_table),
                ("open_bus", opening(super::open::BUS)),
                ("open_catalog", opening(super::open::CATALOG)),
            ];
            at.map(|(at, count)| (at.to_owned(), count)).into()
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

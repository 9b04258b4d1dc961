//! What the service shows at `/metrics`.

use crate::IngestCounters;
use rva_service::{Metric, Values};
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
    Metric {
        name: "rva_ingest_messages",
        help: "Messages that the log gave",
        values: Values::Counter(|counted| counted.ingest.messages_read),
    },
    Metric {
        name: "rva_ingest_messages_skipped",
        help: "Messages that came again",
        values: Values::Counter(|counted| counted.ingest.messages_skipped),
    },
    Metric {
        name: "rva_ingest_rows",
        help: "Rows added to bronze_raw",
        values: Values::Counter(|counted| counted.ingest.rows),
    },
    Metric {
        name: "rva_ingest_rows_known",
        help: "Events that bronze_raw held already",
        values: Values::Counter(|counted| counted.ingest.rows_known),
    },
    Metric {
        name: "rva_ingest_dead_letters",
        help: "Messages that are no rows, by reason",
        values: Values::CounterBy("reason", |counted| {
            counted.ingest.dead_letters.iter().map(|(reason, count)| (reason.code().to_owned(), *count)).collect()
        }),
    },
    Metric {
        name: "rva_ingest_commits",
        help: "Commits, by table",
        values: Values::CounterBy("table", |Counted { ingest, .. }| {
            vec![("bronze_raw".into(), ingest.commits), ("bronze_dead_letters".into(), ingest.dead_letter_commits)]
        }),
    },
    Metric {
        name: "rva_ingest_last_commit_timestamp_seconds",
        help: "When bronze_raw was committed last, 0 before the first commit",
        values: Values::Gauge(|counted| counted.committed_at),
    },
    Metric {
        name: "rva_ingest_retries",
        help: "Attempts repeated after an error that may pass, by where it was",
        values: Values::CounterBy("at", |Counted { ingest, open_retries, .. }| {
            let opening = |part| open_retries.get(part).copied().unwrap_or(0);
            let at = [
                ("log", ingest.retries_log),
                ("table", ingest.retries_table),
                ("open_bus", opening(super::open::BUS)),
                ("open_catalog", opening(super::open::CATALOG)),
            ];
            at.map(|(at, count)| (at.to_owned(), count)).into()
        }),
    },
    Metric {
        name: "rva_ingest_fenced",
        help: "Batches dropped because another worker was first",
        values: Values::Counter(|counted| counted.ingest.fenced),
    },
    Metric {
        name: "rva_ingest_rebuilds",
        help: "Times that reading began again behind the offsets of the table",
        values: Values::Counter(|counted| counted.ingest.rebuilds),
    },
    Metric {
        name: "rva_ingest_rollbacks",
        help: "Rollbacks of the table that were accepted",
        values: Values::Counter(|counted| counted.ingest.rollbacks),
    },
    Metric {
        name: "rva_ingest_records_lost",
        help: "Records that the log had lost before they were read",
        values: Values::Counter(|counted| counted.ingest.records_lost),
    },
    Metric {
        name: "rva_ingest_acknowledge_failures",
        help: "Acknowledgements that failed and that a later one covers",
        values: Values::Counter(|counted| counted.ingest.acknowledge_failures),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ingest.md");
        let documented = std::fs::read_to_string(path).unwrap();
        for metric in METRICS {
            assert!(metric.name.starts_with("rva_ingest_"), "{}", metric.name);
            let wanted = metric.documented();
            assert!(documented.contains(&wanted), "docs/ingest.md has no {wanted}");
        }
    }
}

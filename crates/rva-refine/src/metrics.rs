//! Names the numbers that a service that refines shows at `/metrics`.

use crate::counters::RefineCounters;
use rva_service::{Metric, Series};

/// The metrics of `rva-refine`.
pub const METRICS: &[Metric<RefineCounters>] = &[
    Metric::counter("rva_refine_bronze_rows", "Rows of bronze_raw that were read", |counters| counters.bronze_rows),
    Metric::counter(
        "rva_refine_under_threshold",
        "Detections that are no rows because their confidence is under the threshold",
        |counters| counters.under_threshold,
    ),
    Metric::counter_by("rva_refine_rejects", &["reason"], "Rows added to silver_rejects, by reason", |counters| {
        counters.rejects.iter().map(|(reason, count)| Series::of([reason.code()], *count)).collect()
    }),
    Metric::counter_by("rva_refine_commits", &["table"], "Commits, by table", |counters| {
        counters.commits.iter().map(|(table, count)| Series::of([*table], *count)).collect()
    }),
    Metric::counter("rva_refine_hours", "Hours of cameras whose rows of gold were worked out", |counters| {
        counters.hours
    }),
    Metric::counter("rva_refine_fenced", "Changes dropped because somebody else was first", |counters| counters.fenced),
    Metric::counter(
        "rva_refine_corrections",
        "Times that somebody changed or took away rows of an input",
        |counters| counters.corrections,
    ),
    Metric::counter("rva_refine_retries", "Steps repeated after an error that may pass", |counters| counters.retries),
    Metric::gauge("rva_refine_lag_snapshots", "Snapshots of bronze_raw that silver doesn't hold yet", |counters| {
        i64::try_from(counters.bronze.saturating_sub(counters.position)).unwrap_or(i64::MAX)
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../docs/refine.md");
        assert_eq!(wrong_names(METRICS, "rva_refine_", document), Vec::<String>::new());
    }
}

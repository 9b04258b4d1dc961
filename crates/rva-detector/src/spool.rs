//! The metrics of the embedded log, which is the spool of a broker, at `/metrics`.

use rva_bus::{LogMeter, LogWriter};
use rva_service::{Metric, Totals};

const METRICS: &[Metric<LogMeter>] = &[
    Metric::counter("rva_detector_log_records", "Records that the log accepted", |log| log.counters().records),
    Metric::gauge("rva_detector_log_bytes", "Size of the log", |log| {
        i64::try_from(log.counters().log_bytes).unwrap_or(i64::MAX)
    }),
    Metric::gauge("rva_detector_log_bytes_max", "Size that the log may have (log.size_max)", |log| {
        i64::try_from(log.bytes_max()).unwrap_or(i64::MAX)
    }),
    Metric::gauge("rva_detector_log_unread_records", "Records of the log that its reader hasn't committed", |log| {
        i64::try_from(log.backlog().records).unwrap_or(i64::MAX)
    }),
    Metric::gauge("rva_detector_log_unread_bytes", "Bytes of the records that its reader hasn't committed", |log| {
        i64::try_from(log.backlog().bytes).unwrap_or(i64::MAX)
    }),
    Metric::counter(
        "rva_detector_log_records_dropped",
        "Records that nobody had read and that were dropped for room (log.when_full: drop_oldest)",
        |log| log.counters().records_dropped_size,
    ),
    Metric::counter(
        "rva_detector_log_sends_blocked",
        "Records that had to wait for room in the log (log.when_full: block)",
        |log| log.counters().sends_blocked,
    ),
    Metric::counter("rva_detector_log_sends_no_space", "Records that had to wait since the disk was full", |log| {
        log.counters().sends_no_space
    }),
];

/// Returns the counts of a log's writer, to show at `/metrics`.
pub fn log_totals(log: &LogWriter) -> Totals<LogMeter> {
    Totals::reading(METRICS, log.meter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../docs/cameras.md");
        assert_eq!(wrong_names(METRICS, "rva_detector_", document), Vec::<String>::new());
    }
}

//! Names the numbers that a service that notifies shows at `/metrics`.

use crate::coverage::Coverage;
use rva_service::{Metric, Series};
use std::collections::BTreeMap;

/// The counts of a process that watches and tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct NotifyCounters {
    /// The places at which each alert fires.
    pub firing: BTreeMap<String, i64>,
    /// The notifications of each alert, by status.
    pub told: BTreeMap<(String, &'static str), u64>,
    /// The notifications that the webhook took.
    pub delivered: u64,
    /// The times that the webhook didn't take one.
    pub failures: u64,
    /// The notifications that were given up since too many waited.
    pub dropped: u64,
    /// The notifications that wait for the webhook.
    pub waiting: i64,
    /// Whether there is a broker, and it is away.
    pub is_mqtt_away: bool,
    /// What the cameras of each shop looked at in the last open hour.
    pub coverage: BTreeMap<String, Coverage>,
}

/// The metrics of `rva-notify`.
pub(crate) const METRICS: &[Metric<NotifyCounters>] = &[
    Metric::gauge_by("rva_notify_firing", &["alert"], "Places at which an alert fires", |counters| {
        counters.firing.iter().map(|(alert, count)| Series::of([alert.as_str()], *count)).collect()
    }),
    Metric::counter_by(
        "rva_notify_notifications",
        &["alert", "status"],
        "Notifications, by alert and status: firing, resolved",
        |counters| {
            let told = counters.told.iter();
            told.map(|((alert, status), count)| Series::of([alert.as_str(), *status], *count)).collect()
        },
    ),
    Metric::counter("rva_notify_delivered", "Notifications that the webhook took", |counters| counters.delivered),
    Metric::counter("rva_notify_failures", "Times that the webhook did not take a notification", |counters| {
        counters.failures
    }),
    Metric::counter(
        "rva_notify_dropped",
        "Notifications given up because too many waited for the webhook",
        |counters| counters.dropped,
    ),
    Metric::gauge("rva_notify_waiting", "Notifications that wait for the webhook", |counters| counters.waiting),
    Metric::gauge("rva_notify_mqtt_away", "1 while the MQTT broker can't be reached, else 0", |counters| {
        i64::from(counters.is_mqtt_away)
    }),
    Metric::gauge_by(
        "rva_notify_open_camera_minutes",
        &["store_id"],
        "Minutes of the last hour in which a shop was open, for each of its cameras",
        |counters| of_stores(counters, |coverage| coverage.open),
    ),
    Metric::gauge_by(
        "rva_notify_missing_camera_minutes",
        &["store_id"],
        "Those of them in which the camera gave no frame",
        |counters| of_stores(counters, |coverage| coverage.missing),
    ),
];

fn of_stores(counters: &NotifyCounters, count: fn(&Coverage) -> i64) -> Vec<Series<i64>> {
    counters.coverage.iter().map(|(store, coverage)| Series::of([store.as_str()], count(coverage))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../docs/alerts.md");
        assert_eq!(wrong_names(METRICS, "rva_notify_", document), Vec::<String>::new());
    }
}

//! The view that others have of a running ingest: its health and its metrics.

use super::metrics::{Counted, METRICS};
use crate::{IngestCounters, IngestEvent, IngestObserver};
use rva_service::{Health, Totals};
use rva_types::Timestamp;
use std::time::SystemTime;

/// Names the loop as a part of the health.
const INGEST: &str = "ingest";

/// A view that tells a [`Health`] how an ingest is, and shows its counts at `/metrics`. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct ServiceView {
    health: Health,
    totals: Totals<Counted>,
}

impl ServiceView {
    /// Shows an ingest that hasn't started yet, which isn't ready.
    pub(super) fn of(health: Health) -> Self {
        let totals = Totals::of(METRICS);
        health.show(totals.clone());
        health.not_ready(INGEST, "not started yet");
        Self { health, totals }
    }

    /// Says that the ingest ends since it was told to.
    pub(super) fn stopping(&self) {
        self.health.not_ready(INGEST, "stopping");
    }

    pub(super) fn totals(&self) -> &Totals<Counted> {
        &self.totals
    }
}

impl IngestObserver for ServiceView {
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters) {
        match event {
            IngestEvent::Waiting { text } => self.health.not_ready(INGEST, text.clone()),
            IngestEvent::Started { .. } | IngestEvent::Recovered | IngestEvent::Committed { .. } => {
                self.health.ready(INGEST);
            }
            _ => {}
        }
        let mut counted = self.totals.latest();
        counted.ingest.clone_from(counters);
        let now = Timestamp::from(SystemTime::now());
        let seconds_since = |then: Timestamp| now.as_micros().saturating_sub(then.as_micros()).max(0) as f64 / 1e6;
        match event {
            IngestEvent::Read { published: (oldest, newest), .. } => {
                counted.oldest = Some(counted.oldest.map_or(*oldest, |before| before.min(*oldest)));
                counted.lag_seconds = seconds_since(*newest) as i64;
            }
            IngestEvent::CaughtUp => counted.lag_seconds = 0,
            // What was read and isn't committed is read again.
            IngestEvent::Started { .. } => counted.oldest = None,
            IngestEvent::Committed { rows, took, .. } => {
                counted.commit_seconds.observe(took.as_secs_f64());
                counted.commit_rows.observe(*rows as f64);
                counted.committed_at = now.as_micros() / 1_000_000;
                if let Some(oldest) = counted.oldest.take() {
                    counted.publish_to_commit_seconds.observe(seconds_since(oldest));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::OffsetMap;
    use std::time::Duration;

    #[test]
    fn the_lag_is_that_of_the_newest_message_and_a_commit_has_the_age_of_its_oldest() {
        let mut view = ServiceView::of(Health::new());
        let counters = IngestCounters::default();
        let ago = |seconds| Timestamp::from(SystemTime::now() - Duration::from_secs(seconds));
        let read = |oldest, newest| IngestEvent::Read { messages: 2, published: (ago(oldest), ago(newest)) };
        let committed =
            || IngestEvent::Committed { offsets: OffsetMap::new(), rows: 2, took: Duration::from_millis(5) };
        view.on_event(&read(400, 90), &counters);
        view.on_event(&read(80, 20), &counters);
        let lag = view.totals.latest().lag_seconds;
        assert!((20..30).contains(&lag), "{lag}");
        view.on_event(&IngestEvent::CaughtUp, &counters);
        assert_eq!(view.totals.latest().lag_seconds, 0);
        view.on_event(&committed(), &counters);
        view.on_event(&read(7, 7), &counters);
        view.on_event(&committed(), &counters);
        // A commit of what was read before has nothing to be measured by.
        view.on_event(&committed(), &counters);
        let sum = view.totals.latest().publish_to_commit_seconds.counts();
        assert_eq!(sum.count(), 2);
        assert!((407.0..420.0).contains(&sum.sum), "{}", sum.sum);
    }
}

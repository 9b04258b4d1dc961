//! The view that others have of a running ingest: its health and its metrics.

use super::metrics::{Counted, METRICS};
use crate::{IngestCounters, IngestEvent, IngestObserver};
use rva_service::{Health, Totals};

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
        if let IngestEvent::Committed { rows, took, .. } = event {
            counted.commit_seconds.observe(took.as_secs_f64());
            counted.commit_rows.observe(*rows as f64);
            counted.committed_at = rva_types::Timestamp::from(std::time::SystemTime::now()).as_micros() / 1_000_000;
        }
    }
}

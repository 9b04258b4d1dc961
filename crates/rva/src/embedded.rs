//! The ingest role on a data folder, as this program runs it: beside the detector, or alone.

use crate::exit::Refusal;
use rva_ingest::{
    IngestCounters, IngestEvent, IngestObserver,
    service::{Host, Settings},
};
use rva_service::{BusKind, CatalogKind, Config, Health, Loaded};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The number of rows committed so far, for the progress.
#[derive(Debug, Clone, Default)]
pub struct RowsCommitted(Arc<AtomicU64>);

impl RowsCommitted {
    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl IngestObserver for RowsCommitted {
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters) {
        if matches!(event, IngestEvent::Committed { .. }) {
            self.0.store(counters.rows, Ordering::Relaxed);
        }
    }
}

/// Makes the host of the role, as configured.
///
/// # Errors
/// Returns an error for settings of the services.
pub fn host(loaded: &Loaded, health: &Health) -> anyhow::Result<Host> {
    check_embedded(&loaded.config)?;
    Ok(Host::of(Settings::of(loaded)?, health))
}

/// Refuses settings for the services: this program works in a data folder alone, and they must not be passed over in
/// silence.
fn check_embedded(config: &Config) -> Result<(), Refusal> {
    let (bus, catalog) = (config.bus.kind, config.catalog.kind);
    if bus == BusKind::Log && catalog == CatalogKind::Embedded {
        return Ok(());
    }
    let found = format!("found bus.kind {bus:?} and catalog.kind {catalog:?}").to_lowercase();
    Err(Refusal::usage(format!("{found}, wanted log and embedded: rva-ingest is the program for others")))
}

//! The service around the loop: configuration, opening, health, stopping. The [`Host`] is the role itself, which other
//! programs run too; [`serve`] is the view that `rva-ingest` has of it.

mod args;
mod backups;
mod host;
mod metrics;
#[cfg(feature = "mutants")]
mod mutant;
mod open;
mod overdue;
mod settings;
mod traced;
mod view;

pub use args::Arguments;
pub use host::{ClaimedHost, Host, Ingesting};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use settings::Settings;

use crate::{HeldBy, IngestCounters, IngestEvent, IngestReport, Phase};
use async_recursion::async_recursion as boxed;
use rva_service::{Health, Role, StopFlag};
use std::{net::SocketAddr, time::Duration};
use view::ServiceView;

/// The requests that a run gets on the command line alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Makes what is missing, and ends.
    pub init: bool,
    /// Ends with the log.
    pub drain: bool,
    /// The pause after each step of a commit.
    pub step_pause: Duration,
}

/// Opens everything and ingests. Returns `None` where it was stopped, or was done, before there was anything to ingest.
///
/// # Errors
/// Returns an error where something can't be opened, or the ingest ended by itself.
#[boxed(?Send)]
pub async fn serve(
    settings: Settings,
    asked: Asked,
    address: Option<SocketAddr>,
    stop: StopFlag,
) -> anyhow::Result<Option<IngestReport>> {
    let health = Health::new();
    let data_dir = settings.data_dir.clone().unwrap_or_default();
    let host = Host::of(settings, &health).pausing(asked.step_pause);
    // Where something is only made, a service may be running already, and has the address.
    let _server = health.listen(address.filter(|_| !asked.init)).await?;
    let standby = |held: HeldBy| tracing::warn!("{}", held.waiting_for(&data_dir));
    let Some(host) = host.claim(&stop, standby).await? else { return Ok(None) };
    if asked.init {
        host.set_up(&stop).await?;
        return Ok(None);
    }
    let _near = health.listen_locally(Role::Ingest, &data_dir);
    let phase = if asked.drain { Phase::Drain } else { Phase::Follow };
    let Some(ingesting) = host.start(phase, !asked.drain, log_commits, &stop).await? else { return Ok(None) };
    let report = match phase {
        Phase::Drain => ingesting.drain(Duration::ZERO, &stop).await,
        _ => ingesting.follow(&stop).await,
    };
    report.map(Some)
}

fn log_commits(event: &IngestEvent, counters: &IngestCounters) {
    if let IngestEvent::Committed { rows, offsets, took } = event {
        tracing::info!(
            rows,
            took = ?took,
            rows_total = counters.rows,
            dead_letters_total = counters.dead_letters_total(),
            "committed up to {}",
            offsets.to_text()
        );
    }
}

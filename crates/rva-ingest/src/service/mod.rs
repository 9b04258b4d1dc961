//! The service around the loop: configuration, opening, health, stopping.

mod args;
mod metrics;
#[cfg(feature = "mutants")]
mod mutant;
mod open;
mod overdue;
mod settings;
mod view;

pub use args::Arguments;
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use settings::Settings;
pub use view::ServiceView;

use crate::{IngestCounters, IngestEvent, IngestObserver, IngestReport, Maintaining, Phase, SystemClock, run_ingest};
use anyhow::{Context, bail};
use open::Opening;
use overdue::CommitWatch;
use rva_service::{Health, MaintainConfig, StopFlag, format_duration, tables::merge_limits};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::watch;

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
pub async fn serve(
    mut settings: Settings,
    asked: Asked,
    address: Option<SocketAddr>,
    stop: StopFlag,
) -> anyhow::Result<Option<IngestReport>> {
    // Two providers in one program would make the first TLS connection panic. It fails where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let health = Health::new();
    for part in [open::BUS, open::CATALOG] {
        health.not_ready(part, "not open yet");
    }
    let view = ServiceView::of(health.clone());
    // Where something is only made, a service may be running already, and has the address.
    let _server = health.listen(address.filter(|_| !asked.init)).await?;
    let opening = Opening { stop: &stop, health: &health, totals: view.totals(), waits: !asked.drain && !asked.init };
    let _lease = match &settings.data_dir {
        Some(dir) => match opening.lease(dir).await? {
            Some(lease) => Some(lease),
            None => return Ok(None),
        },
        None => None,
    };
    if asked.init {
        opening.set_up(&settings.bus).await?;
        opening.lake(&settings).await?;
        return Ok(None);
    }
    // What watches the ingest's commits has nothing to do with those of maintenance.
    let tables = settings.tables.clone();
    pause_at_steps(&mut settings, asked.step_pause);
    let commits = CommitWatch::default();
    settings.tables.lake.observer = commits.before(Arc::clone(&settings.tables.lake.observer));
    let Some(source) = opening.source(&settings.bus).await? else { return Ok(None) };
    let Some(lake) = opening.lake(&settings).await? else { return Ok(None) };
    let limits = merge_limits(&settings.maintain, settings.data_dir.clone());
    let open = async move || tables.open().await.context("open the tables");
    let maintain = MaintainConfig { enabled: settings.maintain.enabled && !asked.drain, ..settings.maintain.clone() };
    let _maintenance = Maintaining::start(&maintain, limits, &health, open).context("start maintenance")?;
    tokio::select! {
        report = ingest(settings, asked, source, &lake, (view, &commits), stop) => report.map(Some),
        () = commits.tell(&health) => Ok(None),
    }
}

fn pause_at_steps(settings: &mut Settings, pause: Duration) {
    if !pause.is_zero() {
        let trace = Arc::clone(&settings.tables.lake.observer);
        settings.tables.lake.observer = Arc::new(move |step| {
            trace(step);
            std::thread::sleep(pause);
        });
    }
}

async fn ingest(
    settings: Settings,
    asked: Asked,
    mut source: Box<dyn rva_bus::EventSource>,
    lake: &rva_lake::Lake,
    (view, commits): (ServiceView, &CommitWatch),
    stop: StopFlag,
) -> anyhow::Result<IngestReport> {
    let (mut bronze, mut dead) = (lake.bronze_sink()?, lake.dead_letter_sink()?);
    let (set_phase, phase) = watch::channel(if asked.drain { Phase::Drain } else { Phase::Follow });
    let clock = SystemClock::new();
    let mut looking = view.clone();
    let mut observer = |event: &IngestEvent, counters: &IngestCounters| {
        // Whatever happened, a commit is over.
        commits.idle();
        looking.on_event(event, counters);
        log_commits(event, counters);
    };
    let running = run_ingest(&mut *source, &mut bronze, &mut dead, &settings.ingest, &clock, phase, &mut observer);
    let overdue = async {
        stop.stopped().await;
        tracing::info!("stopping: what was read is committed first; a second signal stops at once");
        view.stopping();
        set_phase.send_replace(Phase::Stop);
        tokio::time::sleep(settings.stop_timeout).await;
    };
    tokio::select! {
        report = running => Ok(report?),
        () = overdue => bail!(
            "found no end of the last commit {} after the signal (ingest.stop_timeout): the log keeps what it held",
            format_duration(settings.stop_timeout)
        ),
    }
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

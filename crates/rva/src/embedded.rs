//! The ingest role on a data folder, as a task beside the detector or alone.

use crate::exit::Refusal;
use anyhow::Context;
use rva_bus::LogReader;
use rva_ingest::{
    IngestCounters, IngestEvent, IngestLease, IngestObserver, IngestOptions, IngestReport, Maintaining, Phase,
    SystemClock, run_ingest, service::ServiceView,
};
use rva_lake::Lake;
use rva_service::{
    BusKind, CatalogKind, Config, Health, StopFlag, ended_or_stopped, format_duration,
    tables::{TableSettings, lake_options, merge_limits},
};
use rva_types::DataFolder;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// The number of rows committed so far, for the progress.
#[derive(Debug, Clone, Default)]
pub struct RowsCommitted(Arc<AtomicU64>);

impl RowsCommitted {
    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the maintenance of a data folder's tables, where it is wanted. It ends when it is dropped.
///
/// # Errors
/// Returns an error where no thread can be made.
pub fn maintaining(folder: &DataFolder, config: &Config, health: &Health) -> anyhow::Result<Option<Maintaining>> {
    let limits = merge_limits(&config.maintain, Some(folder.root().to_owned()));
    let tables = TableSettings::embedded(folder.root(), config);
    let open = async move || Ok(tables.open().await?);
    Maintaining::start(&config.maintain, limits, health, open).context("start maintenance")
}

/// A running ingest.
pub struct Ingesting {
    task: JoinHandle<anyhow::Result<IngestReport>>,
    phase: watch::Sender<Phase>,
    /// The time that a stop waits for a table that can't be written. The log keeps what was not committed.
    stop_timeout: Duration,
}

impl Ingesting {
    /// Opens tables and log and starts. The lease is kept until the ingest has ended.
    ///
    /// # Errors
    /// Returns an error where tables or log can't be opened; nothing runs then.
    pub async fn start(
        folder: &DataFolder,
        config: &Config,
        accept_gap: bool,
        lease: IngestLease,
        rows: RowsCommitted,
        mut view: ServiceView,
    ) -> anyhow::Result<Self> {
        check_embedded(config)?;
        let mut lake = lake_options(config);
        lake.job = config.ingest.job.clone();
        let lake = Lake::open_embedded(folder.root(), lake).await?;
        let (mut bronze, mut dead) = (lake.bronze_sink()?, lake.dead_letter_sink()?);
        let log = folder.log();
        let mut reader = tokio::task::spawn_blocking(move || LogReader::open(log)).await??;
        let options = IngestOptions::of(&config.ingest);
        let options = IngestOptions { accept_gap: accept_gap || options.accept_gap, ..options };
        let (phase, heard) = watch::channel(Phase::Follow);
        let task = tokio::spawn(async move {
            let _lease = lease;
            let mut observer = move |event: &IngestEvent, counters: &IngestCounters| {
                view.on_event(event, counters);
                if matches!(event, IngestEvent::Committed { .. }) {
                    rows.0.store(counters.rows, Ordering::Relaxed);
                }
            };
            let clock = SystemClock::new();
            let report =
                run_ingest(&mut reader, &mut bronze, &mut dead, &options, &clock, heard, &mut observer).await?;
            Ok(report)
        });
        Ok(Self { task, phase, stop_timeout: config.ingest.stop_timeout })
    }

    /// Returns whether it has ended, which before a drain only an error can make it.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Commits everything that the log holds and ends. From when `stop` is set that may take `ingest.stop_timeout`,
    /// then everything that was read is committed, which may take as long again.
    ///
    /// # Errors
    /// Returns the error that ended the ingest; the log keeps the rest.
    pub async fn drain(self, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.finish(Phase::Drain, stop).await
    }

    /// Follows the log until `stop` is set, commits everything that was read, and ends.
    ///
    /// # Errors
    /// Returns the error that ended the ingest; the log keeps the rest.
    pub async fn follow(self, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.finish(Phase::Follow, stop).await
    }

    async fn finish(mut self, phase: Phase, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.phase.send_replace(phase);
        let patience = if phase == Phase::Follow { Duration::ZERO } else { self.stop_timeout };
        let ended = match ended_or_stopped(&mut self.task, patience, stop).await {
            Some(ended) => ended,
            None => {
                self.phase.send_replace(Phase::Stop);
                let ended = tokio::time::timeout(self.stop_timeout, &mut self.task).await;
                ended.map_err(|_| {
                    self.task.abort();
                    anyhow::anyhow!(
                        "found no end of the last commit {} after the signal (ingest.stop_timeout): the log keeps what \
                         it held, `rva ingest --drain` commits it",
                        format_duration(patience + self.stop_timeout)
                    )
                })?
            }
        };
        ended.context("ingest")?
    }
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

//! The host of the ingest role: the one way in which log and tables are opened, the loop runs with its maintenance
//! beside it, and both end. Programs choose what it looks like: who waits for the data folder, where counts are shown,
//! when it ends.

use super::{
    ServiceView, Settings,
    backups::BackupWatch,
    metrics::{BUS, CATALOG},
    open::Opening,
    overdue::CommitWatch,
    traced::CommitTraces,
};
use crate::{
    HeldBy, IngestCounters, IngestEvent, IngestLease, IngestObserver, IngestReport, LeaseError, Maintaining, Phase,
    SystemClock, TracedMessage, run_ingest,
};
use anyhow::{Context, bail};
use async_recursion::async_recursion as boxed;
use rva_lake::Lake;
use rva_service::{
    Health, StopFlag, Traces, ended_or_stopped, format_duration, stopped,
    tables::{install_tls, merge_limits},
};
use std::{os::unix::fs::DirBuilderExt, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// Names the right to ingest into a data folder as a part of the service's health.
const STANDBY: &str = "standby";

/// The ingest role of a process, before it has the right to its data folder.
pub struct Host {
    settings: Settings,
    health: Health,
    view: ServiceView,
    step_pause: Duration,
}

impl Host {
    /// Makes a host, which isn't ready and says so to `health`.
    pub fn of(settings: Settings, health: &Health) -> Self {
        install_tls();
        for part in [BUS, CATALOG] {
            health.not_ready(part, "not open yet");
        }
        if let Some(folder) = &settings.data_dir {
            health.show_disk(folder);
        }
        Self { settings, health: health.clone(), view: ServiceView::of(health.clone()), step_pause: Duration::ZERO }
    }

    /// Makes it pause after each step of a commit, so that a test can hit every one of them.
    #[must_use]
    pub fn pausing(self, step_pause: Duration) -> Self {
        Self { step_pause, ..self }
    }

    /// Takes the right to ingest into the data folder, where anything is in one. While another process has it this one
    /// is a standby, of which `on_standby` hears once; `None` where it was stopped meanwhile.
    ///
    /// # Errors
    /// Returns an error where the folder can't be made or locked.
    pub async fn claim(self, stop: &StopFlag, on_standby: impl FnOnce(HeldBy)) -> anyhow::Result<Option<ClaimedHost>> {
        let Some(dir) = self.settings.data_dir.clone() else {
            return Ok(Some(ClaimedHost { host: self, lease: None }));
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("make data folder {}", dir.display()))?;
        let health = &self.health;
        let standby = |held: HeldBy| {
            health.not_ready(STANDBY, held.waiting_for(&dir));
            on_standby(held);
        };
        let lease = tokio::select! {
            lease = IngestLease::acquire(&dir, standby) => Some(lease?),
            () = stopped(stop) => return Ok(None),
        };
        self.health.ready(STANDBY);
        Ok(Some(ClaimedHost { host: self, lease }))
    }

    /// Takes the right to ingest into the data folder now, or returns who has it.
    ///
    /// # Errors
    /// Returns an error where the folder, which must be there, can't be locked.
    pub fn try_claim(self) -> Result<Result<ClaimedHost, HeldBy>, LeaseError> {
        let Some(dir) = &self.settings.data_dir else { return Ok(Ok(ClaimedHost { host: self, lease: None })) };
        let lease = IngestLease::try_acquire(dir)?;
        Ok(lease.map(|lease| ClaimedHost { host: self, lease: Some(lease) }))
    }
}

/// The ingest role with the right to its data folder, where it has one: nobody else ingests into it.
pub struct ClaimedHost {
    host: Host,
    lease: Option<IngestLease>,
}

impl ClaimedHost {
    /// Makes everything that is missing to be used: topic, subscription and tables. It ends early where it was stopped.
    ///
    /// # Errors
    /// Returns an error for what can't be reached or made.
    pub async fn set_up(&self, stop: &StopFlag) -> anyhow::Result<()> {
        let opening = self.opening(stop, false);
        opening.set_up(&self.host.settings.bus).await?;
        opening.lake(&self.host.settings).await?;
        Ok(())
    }

    /// Opens log and tables and starts. Beside an ingest that follows the log goes the maintenance that the
    /// configuration wants, and a look for backups. Where `waits` is set, what is away is waited for; `None` where it
    /// was stopped meanwhile. `onlooker` hears what happens after the health and the metrics did.
    ///
    /// # Errors
    /// Returns an error where log or tables can't be opened; nothing runs then.
    pub async fn start(
        mut self,
        phase: Phase,
        waits: bool,
        onlooker: impl IngestObserver + 'static,
        stop: &StopFlag,
    ) -> anyhow::Result<Option<Ingesting>> {
        // What watches the ingest's commits has nothing to do with those of maintenance.
        let tables = self.host.settings.tables.clone();
        self.pause_at_steps();
        let commits = CommitWatch::default();
        let observer = &mut self.host.settings.tables.lake.observer;
        *observer = commits.before(Arc::clone(observer));
        let opening = self.opening(stop, waits);
        let Some(source) = opening.source(&self.host.settings.bus).await? else { return Ok(None) };
        let Some(lake) = opening.lake(&self.host.settings).await? else { return Ok(None) };
        let maintenance = if phase == Phase::Follow {
            let Settings { maintain, data_dir, .. } = &self.host.settings;
            let open = async move || tables.open().await.context("open the tables");
            let limits = merge_limits(maintain, data_dir.clone());
            Maintaining::start(maintain, limits, &self.host.health, open).context("start maintenance")?
        } else {
            None
        };
        let backups = self.host.settings.backups.take().filter(|_| phase == Phase::Follow);
        let backups = backups.map(|(store, age_max)| BackupWatch::start(store, age_max, &self.host.health));
        let (set_phase, heard) = watch::channel(phase);
        let (view, stop_timeout) = (self.host.view.clone(), self.host.settings.stop_timeout);
        let task = tokio::spawn(ingest(self, source, lake, commits, heard, onlooker));
        Ok(Some(Ingesting { task, phase: set_phase, view, maintenance, _backups: backups, stop_timeout }))
    }

    fn opening<'a>(&'a self, stop: &'a StopFlag, waits: bool) -> Opening<'a> {
        Opening { stop, health: &self.host.health, totals: self.host.view.totals(), waits }
    }

    fn pause_at_steps(&mut self) {
        let pause = self.host.step_pause;
        if !pause.is_zero() {
            let observer = &mut self.host.settings.tables.lake.observer;
            let trace = Arc::clone(observer);
            *observer = Arc::new(move |step| {
                trace(step);
                std::thread::sleep(pause);
            });
        }
    }
}

/// Runs the loop to its end; the lease is kept until then.
async fn ingest(
    claimed: ClaimedHost,
    mut source: Box<dyn rva_bus::EventSource>,
    lake: Lake,
    commits: CommitWatch,
    phase: watch::Receiver<Phase>,
    onlooker: impl IngestObserver,
) -> anyhow::Result<IngestReport> {
    let ClaimedHost { host: Host { settings, health, view, .. }, lease: _lease } = claimed;
    let (mut bronze, mut dead) = (lake.bronze_sink()?, lake.dead_letter_sink()?);
    let clock = SystemClock::new();
    let traces = CommitTraces::of(Traces::of(&settings.telemetry, "rva-ingest"));
    let mut observer = Observers { commits: commits.clone(), view, traces, onlooker };
    let running = run_ingest(&mut *source, &mut bronze, &mut dead, &settings.ingest, &clock, phase, &mut observer);
    tokio::select! {
        report = running => Ok(report?),
        never = commits.tell(&health) => match never {},
    }
}

/// All who hear of what the loop does.
struct Observers<O> {
    commits: CommitWatch,
    view: ServiceView,
    traces: CommitTraces,
    onlooker: O,
}

impl<O: IngestObserver> IngestObserver for Observers<O> {
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters) {
        // Whatever happened, a commit is over.
        self.commits.idle();
        self.view.on_event(event, counters);
        self.traces.on_event(event, counters);
        self.onlooker.on_event(event, counters);
    }

    fn on_commit(&mut self, traced: &[TracedMessage<'_>]) -> Option<String> {
        self.traces.on_commit(traced)
    }
}

/// An ingest that runs.
pub struct Ingesting {
    task: JoinHandle<anyhow::Result<IngestReport>>,
    phase: watch::Sender<Phase>,
    view: ServiceView,
    maintenance: Option<Maintaining>,
    _backups: Option<BackupWatch>,
    /// The time that a stop waits for a table that can't be written. The log keeps what was not committed.
    stop_timeout: Duration,
}

impl Ingesting {
    /// Returns whether it has ended, which before a drain only an error can make it.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the maintenance, commits everything that the log holds, and ends. From when `stop` is set that may take
    /// `patience`; then everything that was read is committed, which may take `ingest.stop_timeout`.
    ///
    /// # Errors
    /// Returns the error that ended the ingest; the log keeps the rest.
    #[boxed]
    pub async fn drain(mut self, patience: Duration, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        drop(self.maintenance.take());
        self.phase.send_replace(Phase::Drain);
        self.finish(patience, stop).await
    }

    /// Follows the log until `stop` is set, commits everything that was read, and ends.
    ///
    /// # Errors
    /// Returns the error that ended the ingest; the log keeps the rest.
    #[boxed]
    pub async fn follow(self, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.finish(Duration::ZERO, stop).await
    }

    async fn finish(mut self, patience: Duration, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        if let Some(ended) = ended_or_stopped(&mut self.task, patience, stop).await {
            return ended.context("ingest")?;
        }
        tracing::info!("stopping: what was read is committed first; a second signal stops at once");
        self.view.stopping();
        self.phase.send_replace(Phase::Stop);
        match tokio::time::timeout(self.stop_timeout, &mut self.task).await {
            Ok(ended) => ended.context("ingest")?,
            Err(_) => {
                self.task.abort();
                bail!(
                    "found no end of the last commit {} after the signal (ingest.stop_timeout): the log keeps what it \
                     held, the next ingest commits it",
                    format_duration(patience + self.stop_timeout)
                )
            }
        }
    }
}

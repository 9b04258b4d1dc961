//! Runs the refine role as a task, beside the ingest or alone.

use super::Drawings;
use crate::{Drawing, METRICS, Refine, RefineCounters, RefinePhase, may_pass, run_refine};
use anyhow::Context;
use async_recursion::async_recursion as boxed;
use rva_analytics::Rules;
use rva_lake::LakeError;
use rva_notify::Notifying;
use rva_service::{Config, Health, StopFlag, Totals, Traces, ended_or_stopped, tables::TableSettings};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// The name of the loop as a part of the health.
const REFINE: &str = "refine";

/// The view that others have of a refinement: its health and its metrics.
pub struct RefineView {
    health: Health,
    totals: Totals<RefineCounters>,
}

impl RefineView {
    /// Shows a refinement that hasn't started yet, which isn't ready.
    pub fn of(health: &Health) -> Self {
        let totals = Totals::of(METRICS);
        health.show(totals.clone());
        health.not_ready(REFINE, "not started yet");
        Self { health: health.clone(), totals }
    }

    fn tell(&self, counters: &RefineCounters, trouble: Option<&str>) {
        self.totals.latest().clone_from(counters);
        match trouble {
            Some(trouble) => self.health.not_ready(REFINE, trouble.to_owned()),
            None => self.health.ready(REFINE),
        }
    }
}

/// Returns the numbers of the definitions: those that are configuration, and the usual ones.
pub fn rules_of(config: &Config) -> Rules {
    Rules { conf_min: config.refine.conf, ..Rules::default() }
}

/// Opens silver and gold, which are made where they are missing. Zones and lines are those of
/// `drawings`, else those of the table as it is.
///
/// # Errors
/// Returns why they can't be opened: the catalog or the storage fails, or they are other tables.
#[boxed]
pub async fn open(
    tables: &TableSettings,
    config: &Config,
    drawings: Option<watch::Receiver<Drawing>>,
) -> Result<Refine, LakeError> {
    let refine = Refine::open(&tables.open().await?, rules_of(config)).await?;
    let refine = refine.hold_at_most(usize::try_from(config.refine.memory_max).unwrap_or(usize::MAX));
    let refine = refine.traced(Traces::of(&config.telemetry, "rva-refine"));
    match drawings {
        Some(drawings) => refine.with_drawings(drawings).await,
        None => Ok(refine),
    }
}

/// Brings every table to the end of bronze, beside whoever else does, and ends. Zones stay as they are drawn: who calls
/// may have another configuration than the one that draws them.
///
/// # Errors
/// Returns why the tables can't be opened, or what ended the work; each table stays at its position.
#[boxed]
pub async fn bring_up(tables: &TableSettings, config: &Config) -> anyhow::Result<RefineCounters> {
    let again = || open(tables, config, None);
    let refine = again().await.context("open silver and gold")?;
    let (_phase, heard) = watch::channel(RefinePhase::Drain);
    let mut last = RefineCounters::default();
    let mut observer = |counters: &RefineCounters, _: Option<&str>| last.clone_from(counters);
    let interval = config.refine.interval;
    run_refine(Some(refine), again, interval, heard, &mut observer).await.context("silver and gold")?;
    Ok(last)
}

/// A running refinement.
pub struct Refining {
    task: JoinHandle<anyhow::Result<()>>,
    phase: watch::Sender<RefinePhase>,
    counters: Arc<Mutex<RefineCounters>>,
    /// What tells people in the shop, where the configuration has alerts.
    notifying: Option<Notifying>,
    /// The longest that a stop waits for the tables to come up; after it, each stays at its position.
    stop_timeout: Duration,
}

impl Refining {
    /// Opens the tables and starts, with the alerts for people in the shop that gold says. A disk that is full, or a
    /// catalog that is held, is waited for beside whoever called.
    ///
    /// # Errors
    /// Returns why the tables can't be opened where no waiting cures it, or what is wrong with the settings of alerts;
    /// nothing runs then.
    #[boxed]
    pub async fn start(
        tables: &TableSettings,
        config: &Config,
        drawings: &Drawings,
        view: RefineView,
    ) -> anyhow::Result<Self> {
        let drawings = drawings.newest();
        let opened = match open(tables, config, drawings.clone()).await {
            Ok(refine) => Some(refine),
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, "could not open silver and gold, tries again");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let notifying = Notifying::start(tables, config, &view.health).context("alerts")?;
        let again = (tables.clone(), config.clone(), drawings);
        let open_again = move || {
            let (tables, config, drawings) = again.clone();
            async move { open(&tables, &config, drawings).await }
        };
        let interval = config.refine.interval;
        let counters = Arc::new(Mutex::new(RefineCounters::default()));
        let (phase, heard) = watch::channel(RefinePhase::Follow);
        let latest = Arc::clone(&counters);
        let task = tokio::spawn(async move {
            let mut observer = move |counters: &RefineCounters, trouble: Option<&str>| {
                latest.lock().unwrap_or_else(PoisonError::into_inner).clone_from(counters);
                view.tell(counters, trouble);
            };
            run_refine(opened, open_again, interval, heard, &mut observer).await.context("silver and gold")
        });
        Ok(Self { task, phase, counters, notifying, stop_timeout: config.ingest.stop_timeout })
    }

    /// Brings every table to the end of bronze and ends; once `stop` is set, it goes on for
    /// `ingest.stop_timeout` at most.
    ///
    /// # Errors
    /// Returns the error that ended it; each table stays at its position.
    #[boxed]
    pub async fn drain(self, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.finish(RefinePhase::Drain, stop).await
    }

    /// Follows bronze until `stop` is set.
    ///
    /// # Errors
    /// Returns the errors of [`Self::drain`].
    #[boxed]
    pub async fn follow(self, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.finish(RefinePhase::Follow, stop).await
    }

    async fn finish(mut self, phase: RefinePhase, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.phase.send_replace(phase);
        let patience = if phase == RefinePhase::Follow { Duration::ZERO } else { self.stop_timeout };
        let ended = match ended_or_stopped(&mut self.task, patience, stop).await {
            Some(ended) => ended,
            None => {
                self.phase.send_replace(RefinePhase::Stop);
                self.task.await
            }
        };
        if let Some(notifying) = self.notifying {
            notifying.stop().await;
        }
        ended.context("silver and gold")??;
        Ok(self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

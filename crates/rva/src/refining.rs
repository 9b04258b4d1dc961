//! Runs the refine role on a data folder, as a task beside the ingest or alone.

use crate::folder::DataFolder;
use anyhow::Context;
use rva_analytics::Rules;
use rva_lake::{Lake, LakeError, LakeErrorKind, LakeOptions};
use rva_refine::{Refine, RefineCounters, RefinePhase, run_refine};
use rva_service::{Config, StopFlag};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// The first wait before tables that couldn't be opened are opened again; it doubles.
const AGAIN_MIN: Duration = Duration::from_millis(200);

/// The longest wait before that.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// The number of such waits after which a drain gives up.
const WAITS_MAX: u32 = 8;

/// Hears the totals after each step, and why it can't go on, if it can't.
pub type Told = Box<dyn FnMut(&RefineCounters, Option<&str>) + Send>;

/// Returns the numbers of the definitions: those that are configuration, and the usual ones.
pub fn rules_of(config: &Config) -> Rules {
    Rules { conf_min: config.refine.conf, ..Rules::default() }
}

/// Opens silver and gold of a data folder, which are made where they are missing.
///
/// # Errors
/// Returns why they can't be opened: the catalog or the storage fails, or they are other tables.
pub async fn open(folder: &DataFolder, config: &Config) -> anyhow::Result<Refine> {
    let mut options = LakeOptions::default();
    options.housekeeping.orphan_age = config.ingest.orphan_age;
    let lake = Lake::open_embedded(folder.root(), options).await?;
    Ok(Refine::open(&lake, rules_of(config)).await?)
}

/// Opens silver and gold once they can be. `None`: stopped meanwhile.
async fn open_again(
    folder: &DataFolder,
    config: &Config,
    mut phase: watch::Receiver<RefinePhase>,
) -> anyhow::Result<Option<Refine>> {
    let (mut wait, mut waits) = (AGAIN_MIN, 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // A drain tries at once.
            changed = phase.changed() => if changed.is_err() { return Ok(None) },
        }
        let now = *phase.borrow_and_update();
        if now == RefinePhase::Stop {
            return Ok(None);
        }
        match open(folder, config).await {
            Ok(refine) => return Ok(Some(refine)),
            Err(error) if may_pass(&error) && !(now == RefinePhase::Drain && waits >= WAITS_MAX) => {
                tracing::warn!(error = format!("{error:#}"), waits, "could not open silver and gold, tries again");
            }
            Err(error) => return Err(error),
        }
        (wait, waits) = ((wait * 2).min(AGAIN_MAX), waits + 1);
    }
}

/// Returns whether an error may go away by itself.
fn may_pass(error: &anyhow::Error) -> bool {
    let passes = |kind| matches!(kind, LakeErrorKind::Transient | LakeErrorKind::Conflict);
    error.chain().any(|cause| cause.downcast_ref::<LakeError>().is_some_and(|error| passes(error.kind())))
}

/// A running refinement.
pub struct Refining {
    task: JoinHandle<anyhow::Result<()>>,
    phase: watch::Sender<RefinePhase>,
    counters: Arc<Mutex<RefineCounters>>,
    /// The longest that a stop waits for the tables to come up; after it, each stays at its position.
    stop_timeout: Duration,
}

impl Refining {
    /// Opens the tables and starts. A disk that is full, or a catalog that is held, is waited for beside whoever called.
    ///
    /// # Errors
    /// Returns why the tables can't be opened where no waiting cures it; nothing runs then.
    pub async fn start(folder: &DataFolder, config: &Config) -> anyhow::Result<Self> {
        Self::start_telling(folder, config, Box::new(|_, _| {})).await
    }

    /// Opens the tables and starts, as [`Self::start`] does, and tells after each step what was done.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub async fn start_telling(folder: &DataFolder, config: &Config, mut told: Told) -> anyhow::Result<Self> {
        let opened = match open(folder, config).await {
            Ok(refine) => Some(refine),
            Err(error) if may_pass(&error) => {
                tracing::warn!(error = format!("{error:#}"), "could not open silver and gold, tries again");
                None
            }
            Err(error) => return Err(error),
        };
        let (folder, again) = (folder.clone(), config.clone());
        let interval = config.refine.interval;
        let counters = Arc::new(Mutex::new(RefineCounters::default()));
        let (phase, heard) = watch::channel(RefinePhase::Follow);
        let latest = Arc::clone(&counters);
        let task = tokio::spawn(async move {
            let mut refine = match opened {
                Some(refine) => refine,
                None => match open_again(&folder, &again, heard.clone()).await.context("silver and gold")? {
                    Some(refine) => refine,
                    None => return Ok(()),
                },
            };
            let mut observer = move |counters: &RefineCounters, trouble: Option<&str>| {
                latest.lock().unwrap_or_else(PoisonError::into_inner).clone_from(counters);
                told(counters, trouble);
            };
            run_refine(&mut refine, interval, heard, &mut observer).await.context("silver and gold")
        });
        Ok(Self { task, phase, counters, stop_timeout: config.ingest.stop_timeout })
    }

    /// Brings every table to the end of bronze and ends; once `stop` is set, it goes on for
    /// `ingest.stop_timeout` at most.
    ///
    /// # Errors
    /// Returns the error that ended it; each table stays at its position.
    pub async fn drain(self, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.finish(RefinePhase::Drain, stop).await
    }

    /// Follows bronze until `stop` is set.
    ///
    /// # Errors
    /// Returns the errors of [`Self::drain`].
    pub async fn follow(self, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.finish(RefinePhase::Follow, stop).await
    }

    async fn finish(mut self, phase: RefinePhase, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.phase.send_replace(phase);
        let patience = if phase == RefinePhase::Follow { Duration::ZERO } else { self.stop_timeout };
        let stopped = async {
            stop.stopped().await;
            tokio::time::sleep(patience).await;
        };
        let ended = tokio::select! {
            ended = &mut self.task => Some(ended),
            () = stopped => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                self.phase.send_replace(RefinePhase::Stop);
                self.task.await
            }
        };
        ended.context("silver and gold")??;
        Ok(self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

//! The refine role on a data folder, as a task beside the ingest or alone.

use crate::folder::DataFolder;
use anyhow::Context;
use rva_analytics::Rules;
use rva_lake::{Lake, LakeOptions};
use rva_refine::{Refine, RefineCounters, RefinePhase, run_refine};
use rva_service::{Config, StopFlag};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// How long a stop waits for the tables to come up. Each stays where it is.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What is told after each step.
pub type Told = Box<dyn FnMut(&RefineCounters, Option<&str>) + Send>;

/// The numbers of the definitions, as far as they are configuration.
pub fn rules_of(config: &Config) -> Rules {
    Rules { conf_min: config.refine.conf, ..Rules::default() }
}

/// Opens silver and gold of a data folder, which are made where they are missing.
///
/// # Errors
/// They can't be opened, or are other tables.
pub async fn open(folder: &DataFolder, config: &Config) -> anyhow::Result<Refine> {
    let mut options = LakeOptions::default();
    options.housekeeping.orphan_age = config.ingest.orphan_age;
    let lake = Lake::open_embedded(folder.root(), options).await?;
    Ok(Refine::open(&lake, rules_of(config)).await?)
}

/// A running refinement.
pub struct Refining {
    task: JoinHandle<anyhow::Result<()>>,
    phase: watch::Sender<RefinePhase>,
    counters: Arc<Mutex<RefineCounters>>,
}

impl Refining {
    /// Opens the tables and starts.
    ///
    /// # Errors
    /// The tables can't be opened; nothing runs then.
    pub async fn start(folder: &DataFolder, config: &Config) -> anyhow::Result<Self> {
        Self::start_telling(folder, config, Box::new(|_, _| {})).await
    }

    /// The same, and tells what it does.
    ///
    /// # Errors
    /// As there.
    pub async fn start_telling(folder: &DataFolder, config: &Config, mut told: Told) -> anyhow::Result<Self> {
        let mut refine = open(folder, config).await?;
        let interval = config.refine.interval;
        let counters = Arc::new(Mutex::new(RefineCounters::default()));
        let (phase, heard) = watch::channel(RefinePhase::Follow);
        let latest = Arc::clone(&counters);
        let task = tokio::spawn(async move {
            let mut observer = move |counters: &RefineCounters, trouble: Option<&str>| {
                latest.lock().unwrap_or_else(PoisonError::into_inner).clone_from(counters);
                told(counters, trouble);
            };
            run_refine(&mut refine, interval, heard, &mut observer).await.context("silver and gold")
        });
        Ok(Self { task, phase, counters })
    }

    /// Brings every table to the end of bronze and ends. When `stop` is set, only for a while.
    ///
    /// # Errors
    /// What ended it; each table stays where it is.
    pub async fn drain(self, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.finish(RefinePhase::Drain, stop).await
    }

    /// Follows bronze until `stop` is set.
    ///
    /// # Errors
    /// As there.
    pub async fn follow(self, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.finish(RefinePhase::Follow, stop).await
    }

    async fn finish(mut self, phase: RefinePhase, stop: &StopFlag) -> anyhow::Result<RefineCounters> {
        self.phase.send_replace(phase);
        let patience = if phase == RefinePhase::Follow { Duration::ZERO } else { STOP_PATIENCE };
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

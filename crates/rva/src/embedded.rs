//! The ingest role on a data folder, as a task beside the detector or alone.

use crate::folder::DataFolder;
use anyhow::Context;
use rva_bus::LogReader;
use rva_ingest::{
    IngestCounters, IngestEvent, IngestLease, IngestOptions, IngestReport, Phase, SystemClock, run_ingest,
};
use rva_lake::{Lake, LakeOptions};
use rva_service::{Config, StopFlag};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// How long a stop waits for a table that can't be written. The log keeps what was not committed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Rows committed so far, for the progress.
#[derive(Debug, Clone, Default)]
pub struct RowsCommitted(Arc<AtomicU64>);

impl RowsCommitted {
    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A running ingest.
pub struct Ingesting {
    task: JoinHandle<anyhow::Result<IngestReport>>,
    phase: watch::Sender<Phase>,
}

impl Ingesting {
    /// Opens tables and log and starts. The lease is kept until the ingest has ended.
    ///
    /// # Errors
    /// Tables or log can't be opened; nothing runs then.
    pub async fn start(
        folder: &DataFolder,
        config: &Config,
        accept_gap: bool,
        lease: IngestLease,
        rows: RowsCommitted,
    ) -> anyhow::Result<Self> {
        let lake = Lake::open_embedded(folder.root(), LakeOptions::default()).await?;
        let (mut bronze, mut dead) = (lake.bronze_sink()?, lake.dead_letter_sink()?);
        let log = folder.log();
        let mut reader = tokio::task::spawn_blocking(move || LogReader::open(log)).await??;
        let options = options(config, accept_gap);
        let (phase, heard) = watch::channel(Phase::Follow);
        let task = tokio::spawn(async move {
            let _lease = lease;
            let mut observer = move |event: &IngestEvent, counters: &IngestCounters| {
                if matches!(event, IngestEvent::Committed { .. }) {
                    rows.0.store(counters.rows, Ordering::Relaxed);
                }
            };
            let clock = SystemClock::new();
            let report =
                run_ingest(&mut reader, &mut bronze, &mut dead, &options, &clock, heard, &mut observer).await?;
            Ok(report)
        });
        Ok(Self { task, phase })
    }

    /// Whether it has ended, which before a drain only an error can make it.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Commits everything that the log holds and ends. When `stop` is set, a table that can't be written is waited
    /// for only a while.
    ///
    /// # Errors
    /// What ended the ingest; the log keeps the rest.
    pub async fn drain(self, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.finish(Phase::Drain, stop).await
    }

    /// Follows the log until `stop` is set, commits what was read, and ends.
    ///
    /// # Errors
    /// What ended the ingest; the log keeps the rest.
    pub async fn follow(self, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.finish(Phase::Follow, stop).await
    }

    async fn finish(mut self, phase: Phase, stop: &StopFlag) -> anyhow::Result<IngestReport> {
        self.phase.send_replace(phase);
        let patience = if phase == Phase::Follow { Duration::ZERO } else { STOP_PATIENCE };
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
                self.phase.send_replace(Phase::Stop);
                self.task.await
            }
        };
        ended.context("ingest")?
    }
}

fn options(config: &Config, accept_gap: bool) -> IngestOptions {
    let commit_bytes = usize::try_from(config.ingest.commit_bytes).unwrap_or(usize::MAX);
    let defaults = IngestOptions::default();
    IngestOptions {
        commit_interval: config.ingest.commit_interval,
        commit_bytes,
        // Reading goes on while a batch of full size is being committed.
        buffered_bytes_max: defaults.buffered_bytes_max.max(commit_bytes.saturating_add(commit_bytes / 2)),
        accept_gap,
        ..defaults
    }
}

//! What an ingest may be told.

use rva_service::{IngestConfig, OnRollback};
use rva_types::PartitionName;
use std::{collections::BTreeSet, time::Duration};

/// What happens when the table was rolled back to an older snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RollbackPolicy {
    /// Read the log again from the position that the table has now.
    #[default]
    Rewind,
    /// Stop and let the operator decide.
    Halt,
}

/// Whether the loop follows the log or brings it to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Follow the log for ever.
    #[default]
    Follow,
    /// Commit everything that is durable in the log, up to its end, then return.
    Drain,
    /// Commit what has been read, then return. Does not wait for a catalog that is away: the log keeps the rest.
    Stop,
}

/// Bounds and policies of one ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// A batch is committed at the latest this long after its first message was read. Raising it makes fewer and
    /// larger files and rows visible later.
    pub commit_interval: Duration,
    /// A batch is committed when its messages have this many bytes.
    pub commit_bytes: usize,
    /// Bound on the bytes held in memory; reading stops there. A single log entry that is larger ends the ingest.
    pub buffered_bytes_max: usize,
    /// Bytes asked for in one poll.
    pub poll_bytes_max: usize,
    /// Longest wait in one poll; also how long a change of [`Phase`] may go unnoticed.
    pub poll_wait: Duration,
    /// After this long without a message the log's ranges are compared with what was read (I8).
    pub silence_max: Duration,
    /// First wait after a transient error; doubles up to [`IngestOptions::backoff_max`].
    pub backoff_min: Duration,
    /// Longest wait between two attempts.
    pub backoff_max: Duration,
    /// How long [`Phase::Drain`] waits for a log or table that is away.
    pub drain_patience: Duration,
    /// When the table was rolled back.
    pub on_rollback: RollbackPolicy,
    /// Go on where the log no longer holds records that the table lacks. They are counted.
    pub accept_gap: bool,
    /// Only these partitions are this worker's; `None`: all of them.
    pub partitions: Option<BTreeSet<PartitionName>>,
    /// Mutants for the tests of the tests.
    #[doc(hidden)]
    pub rules: IngestRules,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_secs(10),
            commit_bytes: 64 << 20,
            buffered_bytes_max: 96 << 20,
            poll_bytes_max: 4 << 20,
            poll_wait: Duration::from_millis(200),
            silence_max: Duration::from_secs(30),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            drain_patience: Duration::from_secs(5 * 60),
            on_rollback: RollbackPolicy::Rewind,
            accept_gap: false,
            partitions: None,
            rules: IngestRules::default(),
        }
    }
}

impl IngestOptions {
    /// As the configuration's `ingest.*` say.
    pub fn of(config: &IngestConfig) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let commit_bytes = size(config.commit_bytes);
        Self {
            commit_interval: config.commit_interval,
            commit_bytes,
            // Reading goes on while a batch of full size is being committed.
            buffered_bytes_max: size(config.buffered_bytes_max).max(commit_bytes.saturating_add(commit_bytes / 2)),
            on_rollback: match config.on_rollback {
                OnRollback::Rewind => RollbackPolicy::Rewind,
                OnRollback::Halt => RollbackPolicy::Halt,
            },
            accept_gap: config.accept_gap,
            ..Self::default()
        }
    }

    /// Whether a partition is this worker's.
    pub fn owns(&self, partition: &str) -> bool {
        self.partitions.as_ref().is_none_or(|own| own.contains(partition))
    }
}

/// Rules that a mutant breaks, to show that the test suite notices.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestRules {
    /// I5: acknowledge only what is known to be committed.
    pub acknowledge_after_commit: bool,
}

impl Default for IngestRules {
    fn default() -> Self {
        Self { acknowledge_after_commit: true }
    }
}

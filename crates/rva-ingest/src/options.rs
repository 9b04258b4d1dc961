//! Settings of an ingest.

use rva_service::{IngestConfig, OnRollback, memory_limit};
use rva_types::PartitionName;
use std::{collections::BTreeSet, time::Duration};

/// The policy for a table that was rolled back to an older snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RollbackPolicy {
    /// Reads the log again from the position that the table has now.
    #[default]
    Rewind,
    /// Stops and lets the operator decide.
    Halt,
}

/// The phase of the loop, which follows the log or brings it to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Follows the log for ever.
    #[default]
    Follow,
    /// Commits everything that is durable in the log, up to its end, then returns.
    Drain,
    /// Commits what has been read, then returns. It does not wait for a catalog that is away: the log keeps the rest.
    Stop,
}

/// Bounds and policies of one ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// The time after its first message was read at which a batch is committed at the latest. Raising it makes fewer
    /// and larger files and rows visible later.
    pub commit_interval: Duration,
    /// The bytes of messages, properties and keys counted, at which a batch is committed.
    pub commit_bytes: usize,
    /// The number of cameras with rows in a batch at which it is committed: each may become a data file of its own, and
    /// the entries that name the files in a commit are held in memory.
    pub places_max: usize,
    /// The bytes of memory that messages which were read may take; reading stops there. A single log entry that is
    /// larger ends the ingest.
    pub buffered_bytes_max: usize,
    /// The bytes that are asked for in one poll.
    pub poll_bytes_max: usize,
    /// The bytes of a broker's entries that may wait before they are unpacked.
    pub queue_bytes_max: usize,
    /// The most bytes that one entry of a broker may unpack to. A third of [`IngestOptions::buffered_bytes_max`] at
    /// most: an entry must fit in beside what waits for its chunks.
    pub entry_bytes_max: usize,
    /// The longest wait in one poll; also the time for which a change of [`Phase`] may go unnoticed.
    pub poll_wait: Duration,
    /// The time without a message after which the log's ranges are compared with what was read (I8).
    pub silence_max: Duration,
    /// The first wait after a transient error; it doubles up to [`IngestOptions::backoff_max`].
    pub backoff_min: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// The time that [`Phase::Drain`] waits for a log or table that is away.
    pub drain_patience: Duration,
    /// The policy for a table that was rolled back.
    pub on_rollback: RollbackPolicy,
    /// Lets it go on where the log no longer holds records that the table lacks. They are counted.
    pub accept_gap: bool,
    /// The partitions that are this worker's; `None` for all of them.
    pub partitions: Option<BTreeSet<PartitionName>>,
    /// Rules that a mutant breaks.
    #[cfg(feature = "mutants")]
    pub rules: IngestRules,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_secs(10),
            commit_bytes: 64 << 20,
            places_max: 4096,
            buffered_bytes_max: 96 << 20,
            poll_bytes_max: 4 << 20,
            queue_bytes_max: 32 << 20,
            entry_bytes_max: 32 << 20,
            poll_wait: Duration::from_millis(200),
            silence_max: Duration::from_secs(30),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            drain_patience: Duration::from_secs(5 * 60),
            on_rollback: RollbackPolicy::Rewind,
            accept_gap: false,
            partitions: None,
            #[cfg(feature = "mutants")]
            rules: IngestRules::KEPT,
        }
    }
}

/// The memory that the ingest keeps within where neither the configuration nor a container says less.
const MEMORY_MAX: u64 = 512 << 20;

/// The part of the memory that a batch may have: beside its rows there are the program, the files that are being
/// written, the entries that name them in the commit, and messages that are read meanwhile.
const BATCH_SHARE: u64 = 8;

/// The bytes that a data file costs while it is written and committed: its entry with bounds and counts of every column
/// is held three times over.
const PLACE_BYTES: u64 = 16 << 10;

/// The part of the memory that entries of a broker may have before they are unpacked, and that one may unpack to: the
/// one that is being unpacked lies beside those that wait, and a chunked message of twice its size beside both.
const ENTRIES_SHARE: u64 = 16;

/// The bytes that an entry may unpack to, however little memory there is: brokers take messages of 5 MiB, which aren't
/// dead letters.
const ENTRY_BYTES_MIN: u64 = 6 << 20;

/// The part of the memory that messages may have, read or waiting.
const MESSAGES_SHARE: u64 = 5;

/// The part of the memory that one poll asks for.
const POLL_SHARE: u64 = 64;

/// The bytes of messages, for all the memory that an ingest may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MemoryShares {
    batch: u64,
    messages: u64,
    poll: u64,
    entries: u64,
}

impl MemoryShares {
    fn of(memory_max: u64) -> Self {
        Self {
            batch: memory_max / BATCH_SHARE,
            messages: memory_max / MESSAGES_SHARE,
            poll: memory_max / POLL_SHARE,
            entries: memory_max / ENTRIES_SHARE,
        }
    }
}

/// Returns the memory that the ingest may take: as configured, or as a container allows, but no more than it needs.
fn memory_max(configured: Option<u64>, limit: Option<u64>) -> u64 {
    configured.unwrap_or_else(|| limit.map_or(MEMORY_MAX, |limit| limit.min(MEMORY_MAX)))
}

impl IngestOptions {
    /// Makes options of the configuration's `ingest.*`, within what a container allows.
    pub fn of(config: &IngestConfig) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let shares = MemoryShares::of(memory_max(config.memory_max, memory_limit()));
        let default = Self::default();
        let commit_bytes = config.commit_bytes.min(shares.batch);
        // An entry of the log may be larger than a batch.
        let buffered = config.buffered_bytes_max.max(commit_bytes.saturating_add(commit_bytes / 2));
        let buffered = buffered.min(shares.messages);
        let entry = config.entry_bytes_max.min(shares.entries.max(ENTRY_BYTES_MIN)).min(buffered / 3);
        Self {
            commit_interval: config.commit_interval,
            commit_bytes: size(commit_bytes),
            places_max: size(shares.batch / PLACE_BYTES),
            buffered_bytes_max: size(buffered),
            poll_bytes_max: default.poll_bytes_max.min(size(shares.poll)),
            queue_bytes_max: default.queue_bytes_max.min(size(shares.entries)),
            entry_bytes_max: size(entry),
            on_rollback: match config.on_rollback {
                OnRollback::Rewind => RollbackPolicy::Rewind,
                OnRollback::Halt => RollbackPolicy::Halt,
            },
            accept_gap: config.accept_gap,
            ..default
        }
    }

    #[cfg(feature = "mutants")]
    pub(crate) const fn rules(&self) -> IngestRules {
        self.rules
    }

    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn rules(&self) -> IngestRules {
        IngestRules::KEPT
    }

    /// Returns whether a partition is this worker's.
    pub fn owns(&self, partition: &str) -> bool {
        self.partitions.as_ref().is_none_or(|own| own.contains(partition))
    }
}

/// Rules that a mutant breaks, to show that the suite notices. Without the feature `mutants` nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "only a build for tests names it"))]
pub struct IngestRules {
    /// I5: acknowledges only what is known to be committed.
    pub acknowledge_after_commit: bool,
}

impl IngestRules {
    const KEPT: Self = Self { acknowledge_after_commit: true };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_makes_batches_smaller_and_never_larger() {
        assert_eq!(memory_max(None, None), 512 << 20);
        assert_eq!(memory_max(None, Some(64 << 30)), 512 << 20);
        assert_eq!(memory_max(None, Some(256 << 20)), 256 << 20);
        assert_eq!(memory_max(Some(2 << 30), Some(256 << 20)), 2 << 30, "what somebody asks for holds");
        let (small, usual) = (MemoryShares::of(256 << 20), MemoryShares::of(512 << 20));
        assert_eq!((usual.batch, usual.poll), (64 << 20, 8 << 20));
        assert!(usual.messages >= 96 << 20, "the usual bounds fit into the usual memory");
        assert_eq!(small.batch, 32 << 20);
    }

    #[test]
    fn a_brokers_entries_are_bounded_by_the_same_memory() {
        let of = |memory_max: u64| {
            let config = IngestConfig { memory_max: Some(memory_max), ..defaults() };
            let options = IngestOptions::of(&config);
            (options.queue_bytes_max, options.entry_bytes_max, options.buffered_bytes_max)
        };
        assert_eq!(of(512 << 20), (32 << 20, 32 << 20, 96 << 20), "the usual bounds fit into the usual memory");
        assert_eq!(of(4 << 30), (32 << 20, 32 << 20, 96 << 20), "more memory asks for no more");
        for memory_max in [64 << 20, 96 << 20, 128 << 20, 256 << 20] {
            let (queue, entry, buffered) = of(memory_max);
            assert_eq!(queue as u64, memory_max / 16);
            assert!(entry * 3 <= buffered, "{entry} {buffered}: it must fit beside what waits for its chunks");
            assert!((4 << 20..=32 << 20).contains(&entry), "{entry}");
        }
        let asked = IngestConfig { entry_bytes_max: 2 << 20, ..defaults() };
        assert_eq!(IngestOptions::of(&asked).entry_bytes_max, 2 << 20, "less is what somebody asked for");
    }

    fn defaults() -> IngestConfig {
        rva_service::load(&rva_service::Layers::default()).unwrap().config.ingest
    }
}

//! The settings of a log's writer.

use super::files::{OsFiles, SegmentFiles};
use rva_types::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The fate of a record for which the log has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizePolicy {
    /// Lets `send` wait until committed segments can be removed. Nothing is lost; the cameras' queues fill.
    Block,
    /// Removes the oldest records, committed or not, and counts them.
    DropOldest,
}

/// The settings of a log's writer.
#[derive(Clone)]
pub struct LogOptions {
    /// The longest time that an accepted record waits for its fsync, which a power loss may take. Default 200 ms.
    pub sync_interval: Duration,
    /// The accepted bytes that start an fsync before the interval is over. Default 8 MiB.
    pub sync_bytes: u64,
    /// The bytes at which a segment is closed, at most an eighth of `size_bytes_max`. Default 64 MiB.
    pub segment_bytes_max: u64,
    /// The bytes of the whole log at which `size_policy` decides. Default 8 GiB.
    pub size_bytes_max: u64,
    /// The fate of a record for which there is no room. Default `Block`.
    pub size_policy: SizePolicy,
    /// The time for which committed records stay, within the size. Default 72 h.
    pub retention: Duration,
    /// The interval at which retention looks. Default 60 s.
    pub retention_interval: Duration,
    /// The interval at which a blocked `send` looks for room. Default 100 ms.
    pub block_recheck: Duration,
    /// The longest body in bytes; a longer one is rejected. Default 32 MiB, at most 40 MiB.
    pub body_bytes_max: usize,
    /// The most partitions whose files are open at the same time; beyond it those are closed that were not written to
    /// for longest. Raising it saves syncs where more cameras than that write at once. Default: what an eighth of the
    /// process's limit of descriptors allows, two each.
    pub open_partitions_max: usize,
    /// The clock that stamps records and that retention goes by.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The files that it writes: the operating system's, or a test's.
    pub files: Arc<dyn SegmentFiles>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            sync_interval: Duration::from_millis(200),
            sync_bytes: 8 << 20,
            segment_bytes_max: 64 << 20,
            size_bytes_max: 8 << 30,
            size_policy: SizePolicy::Block,
            retention: Duration::from_secs(72 * 3600),
            retention_interval: Duration::from_secs(60),
            block_recheck: Duration::from_millis(100),
            body_bytes_max: 32 << 20,
            open_partitions_max: open_partitions_max(),
            clock: Arc::new(|| Timestamp::from(SystemTime::now())),
            files: Arc::new(OsFiles),
        }
    }
}

/// Returns the default of `open_partitions_max`: of the usual 1,024 descriptors 64 partitions may take 128; beyond
/// 4,096 partitions nothing is gained.
fn open_partitions_max() -> usize {
    let (soft, _) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap_or((1024, 1024));
    usize::try_from(soft / 16).unwrap_or(usize::MAX).clamp(8, 4096)
}

impl LogOptions {
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes_max.min(self.size_bytes_max / 8).max(1)
    }
}

//! The state of a log's writer: its partitions and its counts.

use super::partition::Partition;
use rva_types::PartitionName;
use std::collections::BTreeMap;

/// Counts of a writer since it was opened, and the size of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounters {
    /// Records accepted.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// Group syncs done.
    pub syncs: u64,
    /// Uncommitted records dropped because the log had reached its size (policy `DropOldest`).
    pub records_dropped_size: u64,
    /// Segments removed since they were committed and old enough.
    pub segments_removed_age: u64,
    /// Segments removed since the log had reached its size.
    pub segments_removed_size: u64,
    /// Sends that had to wait for room (policy `Block`).
    pub sends_blocked: u64,
    /// Sends that failed since the disk was full.
    pub sends_no_space: u64,
    /// Size of the log now, in bytes.
    pub log_bytes: u64,
}

pub(super) struct State {
    pub partitions: BTreeMap<PartitionName, Partition>,
    pub counters: LogCounters,
    pub bytes_unsynced: u64,
    /// The number of partitions whose files are open, about: retention opens some too.
    pub open: usize,
    /// The number of records accepted, as the partitions' `used` counts them.
    pub written: u64,
    /// The reason why nothing is accepted any more.
    pub stopped: Option<String>,
}

impl State {
    /// Closes the half of the open partitions that was not written to for longest; a partition with unsynced records
    /// stays open. Returns whether there is room for another.
    pub(super) fn close_idle(&mut self, open_max: usize) -> bool {
        let mut open: Vec<_> = self.partitions.values_mut().filter(|partition| partition.is_open()).collect();
        open.sort_by_key(|partition| partition.used);
        let (count, surplus) = (open.len(), open.len().saturating_sub(open_max / 2));
        let closed = open.into_iter().filter_map(|partition| partition.close().then_some(())).take(surplus).count();
        self.open = count - closed;
        self.open < open_max
    }
}

//! The records that the log's reader hasn't committed.

use super::{folder, partition::Partition};
use std::path::PathBuf;

/// The records of a log that its reader hasn't committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogBacklog {
    /// The number of records.
    pub records: u64,
    /// Their bytes, about: of a segment that is read in part, the part of its bytes that the unread records have of its
    /// records.
    pub bytes: u64,
}

/// A partition as it was at one moment: its folder, and of each segment the first record, the one behind its last, and
/// the bytes.
pub(super) struct Held {
    folder: PathBuf,
    segments: Vec<(u64, u64, u64)>,
}

impl Held {
    pub(super) fn of(partition: &Partition) -> Self {
        let firsts = partition.segments.iter().map(|segment| segment.first);
        let ends = firsts.skip(1).chain([partition.next]);
        let segments = partition.segments.iter().zip(ends).map(|(segment, end)| (segment.first, end, segment.bytes));
        Self { folder: partition.folder.clone(), segments: segments.collect() }
    }
}

/// Adds up what is behind the committed positions of partitions, which are read from the disk.
pub(super) fn add_up(partitions: &[Held]) -> LogBacklog {
    let mut backlog = LogBacklog::default();
    for partition in partitions {
        let read = folder::read_committed(&partition.folder).saturating_add(1);
        for &(first, end, bytes) in &partition.segments {
            let unread = end.saturating_sub(read.max(first));
            let held = end.saturating_sub(first).max(1);
            backlog.records += unread;
            backlog.bytes += u64::try_from(u128::from(bytes) * u128::from(unread) / u128::from(held)).unwrap_or(bytes);
        }
    }
    backlog
}

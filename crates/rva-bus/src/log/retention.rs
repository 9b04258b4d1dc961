//! Removal of segments that are committed and old, or too many.

use super::{
    folder::{self, io_error},
    options::{LogOptions, SizePolicy},
    partition::{self, Partition},
    state::State,
};
use crate::BusError;
use rva_types::{PartitionName, Timestamp};
use std::time::Duration;

/// Removes segments whose records are all committed and older than `retention`.
///
/// A segment's newest record is no younger than the first record behind it, so that one's time decides.
pub(super) fn by_age(state: &mut State, now: Timestamp, retention: Duration) {
    let retention_us = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let oldest_kept = Timestamp::from_micros(now.as_micros().saturating_sub(retention_us));
    for partition in state.partitions.values_mut() {
        let committed = folder::read_committed(&partition.folder);
        while oldest_is_committed(partition, committed)
            && partition.segments.get(1).and_then(|second| second.first_ts).is_some_and(|ts| ts <= oldest_kept)
        {
            match partition.remove_oldest() {
                Ok(segment) => {
                    state.counters.segments_removed_age += 1;
                    state.counters.log_bytes = state.counters.log_bytes.saturating_sub(segment.bytes);
                }
                Err(error) => {
                    tracing::warn!(%error, "a committed segment can't be removed");
                    break;
                }
            }
        }
    }
}

fn oldest_is_committed(partition: &Partition, committed: u64) -> bool {
    partition.oldest_ends_with().is_some_and(|last| last <= committed.min(partition.durable.number))
}

/// Makes room under the size bound; everything accepted must be durable. Returns whether something was removed.
pub(super) fn make_room(state: &mut State, options: &LogOptions) -> Result<bool, BusError> {
    let mut freed = false;
    while state.counters.log_bytes > options.size_bytes_max - options.size_bytes_max / 16 {
        let Some((key, committed)) = victim(state, options.size_policy) else { break };
        let Some(partition) = state.partitions.get_mut(&key) else { break };
        if partition.segments.len() == 1 {
            close_active(partition, options)?;
        }
        let first = partition.segments.front().map_or(1, |segment| segment.first);
        let last = partition.oldest_ends_with().unwrap_or(0);
        let segment = partition.remove_oldest()?;
        let dropped = last.saturating_sub(committed.max(first - 1));
        state.counters.segments_removed_size += 1;
        state.counters.log_bytes = state.counters.log_bytes.saturating_sub(segment.bytes);
        state.counters.records_dropped_size += dropped;
        freed = true;
        if dropped > 0 {
            tracing::warn!(partition = %key, records = dropped, "the log is full: dropped its oldest records");
        }
    }
    Ok(freed)
}

/// Returns the partition whose oldest segment goes next: the oldest committed one, else (policy) the oldest of all.
fn victim(state: &State, policy: SizePolicy) -> Option<(PartitionName, u64)> {
    let mut committed_ones = Vec::new();
    let mut all = Vec::new();
    for (key, partition) in &state.partitions {
        let Some(oldest) =
            partition.segments.front().filter(|segment| segment.bytes > 0 || partition.segments.len() > 1)
        else {
            continue;
        };
        let committed = folder::read_committed(&partition.folder);
        let last = partition.oldest_ends_with().unwrap_or(partition.next - 1);
        let entry = (oldest.first_ts, key.clone(), committed);
        if last <= committed && last <= partition.durable.number {
            committed_ones.push(entry.clone());
        }
        if last <= partition.durable.number {
            all.push(entry);
        }
    }
    let oldest = committed_ones.into_iter().min();
    let chosen = match policy {
        SizePolicy::Block => oldest,
        SizePolicy::DropOldest => oldest.or_else(|| all.into_iter().min()),
    };
    chosen.map(|(_, key, committed)| (key, committed))
}

/// Closes the segment that is written, so that it can go: the mark must name its successor first, durably.
fn close_active(partition: &mut Partition, options: &LogOptions) -> Result<(), BusError> {
    partition.roll(&*options.files)?;
    if let Some(group) = partition.take_unsynced() {
        partition::sync(&group)?;
        let publish = group.mark.publish(&group.mark_file).and_then(|()| group.mark_file.sync_data());
        publish.map_err(|error| io_error("write", &folder::mark_path(&group.folder), error))?;
        partition.durable = group.mark;
    }
    Ok(())
}

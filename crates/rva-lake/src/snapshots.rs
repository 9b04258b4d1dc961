//! The files of a table's metadata by which all others are found: its metadata.json files, and the snapshots whose
//! manifest lists name every manifest.

use crate::state::StateKeys;
use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::table::Table;
use std::collections::HashSet;

/// Returns the current metadata.json and those of the log.
pub(crate) fn metadata_files(table: &Table) -> impl Iterator<Item = &str> {
    let log = table.metadata().metadata_log().iter().map(|entry| entry.metadata_file.as_str());
    log.chain(table.metadata_location())
}

/// Returns the snapshots whose manifest lists together name every manifest: those with no child that is an append of
/// ours.
pub(crate) fn covering(metadata: &TableMetadata) -> Vec<SnapshotRef> {
    let followed: HashSet<i64> = StateKeys::appends_of_ours(metadata)
        .into_iter()
        .filter_map(|id| metadata.snapshot_by_id(id)?.parent_snapshot_id())
        .collect();
    metadata.snapshots().filter(|snapshot| !followed.contains(&snapshot.snapshot_id())).cloned().collect()
}

/// Returns the snapshots whose parents are gone, and the current one.
pub(crate) fn ends(metadata: &TableMetadata) -> Vec<SnapshotRef> {
    let has_parent = |snapshot: &SnapshotRef| {
        snapshot.parent_snapshot_id().is_some_and(|parent| metadata.snapshot_by_id(parent).is_some())
    };
    let is_end = |snapshot: &SnapshotRef| {
        metadata.current_snapshot_id() == Some(snapshot.snapshot_id()) || !has_parent(snapshot)
    };
    metadata.snapshots().filter(|snapshot| is_end(snapshot)).cloned().collect()
}

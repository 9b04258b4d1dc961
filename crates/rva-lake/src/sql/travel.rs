//! Tables as they were at an earlier moment.

use crate::errors::{lake_error, permanent};
use crate::seam::{LakeError, LakeErrorKind};
use iceberg::spec::{SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::table::Table;
use rva_types::Timestamp;

/// A moment at which the tables are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// The moment of this snapshot: its own table at it, the others at the time when it was made.
    Snapshot(i64),
    /// The newest snapshot of every table up to this time.
    Time(Timestamp),
}

/// The number of snapshots that an error names.
const NAMED_MAX: usize = 5;

/// A moment as each table is asked for it: its own snapshot, or its newest one up to then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    snapshot: Option<i64>,
    time: Timestamp,
}

impl Moment {
    /// Finds out when a snapshot of one of `tables` was made.
    ///
    /// # Errors
    /// Returns `Permanent` where no table has that snapshot.
    pub(super) fn of(as_of: AsOf, tables: &[Table]) -> Result<Self, LakeError> {
        Ok(match as_of {
            AsOf::Time(time) => Self { snapshot: None, time },
            AsOf::Snapshot(id) => Self { snapshot: Some(id), time: time_of(tables, id)? },
        })
    }

    /// Returns a table as it was then, with the columns that it has now.
    ///
    /// # Errors
    /// Returns `Permanent` where the table doesn't reach back so far.
    pub(super) fn of_table(self, table: Table) -> Result<Table, LakeError> {
        match self.snapshot.filter(|id| table.metadata().snapshot_by_id(*id).is_some()) {
            Some(id) => at(&table, Some(id)),
            None => at_time(table, self.time),
        }
    }
}

fn time_of(tables: &[Table], id: i64) -> Result<Timestamp, LakeError> {
    let snapshot = tables.iter().find_map(|table| table.metadata().snapshot_by_id(id));
    let time = snapshot.map(|snapshot| Timestamp::from_micros(snapshot.timestamp_ms().saturating_mul(1000)));
    time.ok_or_else(|| {
        let kept: Vec<String> = tables.iter().map(oldest_of).collect();
        let text = format!("found no table with snapshot {id}, wanted one that is kept: {}", kept.join("; "));
        LakeError::new(LakeErrorKind::Permanent, text)
    })
}

fn at_time(table: Table, time: Timestamp) -> Result<Table, LakeError> {
    let metadata = table.metadata();
    if let Some(id) = newest_up_to(metadata, time) {
        return at(&table, Some(id));
    }
    let oldest = metadata.snapshots().min_by_key(|snapshot| snapshot.timestamp_ms());
    if oldest.is_none_or(|oldest| oldest.parent_snapshot_id().is_none()) {
        // It had no rows then.
        return at(&table, None);
    }
    let text = format!(
        "found no snapshot of {} up to {time}, wanted one that is kept: {}",
        table.identifier(),
        oldest_of(&table)
    );
    Err(LakeError::new(LakeErrorKind::Permanent, text))
}

/// Returns the current snapshot at a time, as the table's own history tells it.
fn newest_up_to(metadata: &TableMetadata, time: Timestamp) -> Option<i64> {
    let millis = time.as_micros().div_euclid(1000);
    let history = metadata.history().iter().filter(|entry| entry.timestamp_ms <= millis);
    let id = history.max_by_key(|entry| entry.timestamp_ms)?.snapshot_id;
    metadata.snapshot_by_id(id).map(|snapshot| snapshot.snapshot_id())
}

/// Returns a table whose newest snapshot is another one, or none.
fn at(table: &Table, snapshot: Option<i64>) -> Result<Table, LakeError> {
    let doing = || format!("read {} as of snapshot {snapshot:?}", table.identifier());
    let failed = |error| lake_error(doing(), error);
    let location = table.metadata_location_result().map_err(failed)?.to_owned();
    let builder = table.metadata().clone().into_builder(Some(location.clone()));
    let builder = match snapshot {
        Some(snapshot_id) => {
            let retention = SnapshotRetention::branch(None, None, None);
            builder.set_ref("main", SnapshotReference { snapshot_id, retention }).map_err(failed)?
        }
        None => builder.remove_ref("main"),
    };
    let metadata = builder.build().map_err(failed)?.metadata;
    Table::builder()
        .file_io(table.file_io().clone())
        .metadata(metadata)
        .metadata_location(location)
        .identifier(table.identifier().clone())
        .runtime(iceberg::Runtime::current())
        .build()
        .map_err(|error| permanent(doing(), error))
}

/// Returns the oldest snapshots of a table in words.
fn oldest_of(table: &Table) -> String {
    let mut snapshots: Vec<_> = table.metadata().snapshots().collect();
    snapshots.sort_by_key(|snapshot| snapshot.timestamp_ms());
    let named: Vec<String> = snapshots
        .iter()
        .take(NAMED_MAX)
        .map(|snapshot| {
            let time = Timestamp::from_micros(snapshot.timestamp_ms().saturating_mul(1000));
            format!("{} of {time}", snapshot.snapshot_id())
        })
        .collect();
    let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
    format!("the oldest of {} are {named}", table.identifier().name())
}

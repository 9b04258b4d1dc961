//! The work that a job is asked to commit, and the part of it that is on its way.

use crate::change::Change;
use crate::key_check::{CheckedRows, KeyCheck};
use crate::rows::TableRow;
use crate::seam::{Batch, LakeError, LakeErrorKind};
use crate::state::StoredState;
use iceberg::TableIdent;
use iceberg::spec::{DataFile, Operation};
use iceberg::table::Table;
use rva_types::{OffsetMap, PartitionName, Position};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time by which a snapshot may be older than the last one; Iceberg refuses one that is older by more.
const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(60);

/// The state of the table that a change was planned on, and how much of it must hold when it is committed.
#[derive(Debug, Clone)]
pub(crate) enum BuiltOn {
    /// That very snapshot; `None` where the table had none.
    Snapshot(Option<i64>),
    /// The files that go, whatever else came meanwhile: the same rows in other files. The table is the one that it was
    /// planned on.
    Files(Table),
}

/// Files in the place of others, and the stretch of the input that they follow from.
#[derive(Debug, Clone)]
pub(crate) struct FileChange {
    /// The identity of the input.
    pub source: String,
    /// The whole map that the change was planned on.
    pub from: OffsetMap,
    /// The whole map after it.
    pub to: OffsetMap,
    pub built_on: BuiltOn,
    pub change: Change,
}

impl FileChange {
    pub(crate) fn is_nothing(&self) -> bool {
        let Change { added, removed, cleans, .. } = &self.change;
        added.is_empty() && removed.is_empty() && !cleans && self.from == self.to
    }
}

/// The work of one commit.
pub(crate) enum Work<'a, R> {
    /// Rows to append, without those whose key is there.
    Batch(&'a Batch<R>),
    /// Files that were written already.
    Change(&'a FileChange),
}

impl<R> Work<'_, R> {
    pub(crate) fn source(&self) -> &str {
        match self {
            Self::Batch(batch) => &batch.source,
            Self::Change(change) => &change.source,
        }
    }

    fn maps(&self) -> (&OffsetMap, &OffsetMap) {
        match self {
            Self::Batch(batch) => (&batch.from, &batch.to),
            Self::Change(change) => (&change.from, &change.to),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.rows.len(),
            Self::Change(change) => change.change.added.len(),
        }
    }

    /// Returns the partitions that it moves, and the positions that it moves them to.
    fn moved(&self) -> Vec<(PartitionName, Position)> {
        let (from, to) = self.maps();
        to.iter()
            .filter(|(partition, position)| from.get(partition) != Some(*position))
            .map(|(partition, position)| (partition.clone(), position))
            .collect()
    }

    /// Returns the whole map once it is committed.
    pub(crate) fn offsets_on(&self, stored: &StoredState) -> OffsetMap {
        if let Self::Change(change) = self {
            // An input that was rolled back moves its position back.
            return change.to.clone();
        }
        let mut offsets = stored.offsets();
        for (partition, position) in self.moved() {
            offsets.advance(partition, position);
        }
        offsets
    }
}

/// A state of a table: one of its snapshots, or nothing before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableAt(pub Option<i64>);

/// Work on its way into the table. It is kept over a transient error, so that the same is committed under the same id
/// and with the same files.
pub(crate) struct Pending {
    source: String,
    from: OffsetMap,
    to: OffsetMap,
    pub rows: usize,
    pub commit: String,
    pub table: uuid::Uuid,
    /// The state of the table that the keys were looked up in.
    pub looked_up: Option<TableAt>,
    pub checked: CheckedRows,
    /// The partition spec that the files were written under.
    pub spec: Option<i32>,
    pub files: Vec<DataFile>,
    /// The change of files; `None` where the files are appended.
    pub change: Option<Change>,
    pub sent: bool,
}

impl Pending {
    pub(crate) fn of<R>(work: &Work<'_, R>, table: uuid::Uuid) -> Self {
        let (from, to) = work.maps();
        let change = match work {
            Work::Batch(_) => None,
            Work::Change(change) => Some(change.change.clone()),
        };
        Self {
            source: work.source().to_owned(),
            from: from.clone(),
            to: to.clone(),
            rows: work.rows(),
            commit: uuid::Uuid::now_v7().to_string(),
            table,
            looked_up: None,
            checked: CheckedRows::default(),
            spec: None,
            files: change.as_ref().map(|change| change.added.clone()).unwrap_or_default(),
            change,
            sent: false,
        }
    }

    /// Returns whether this is on the way for some work. The log is immutable: the same stretch of the same log is the
    /// same batch. A change is told by its files, whose names are never used twice.
    pub(crate) fn is_of<R>(&self, work: &Work<'_, R>) -> bool {
        let (from, to) = work.maps();
        let same_files = match (work, &self.change) {
            (Work::Batch(_), None) => true,
            (Work::Change(change), Some(held)) => {
                let names =
                    |files: &[DataFile]| files.iter().map(|file| file.file_path().to_owned()).collect::<Vec<_>>();
                held.removed == change.change.removed && names(&held.added) == names(&change.change.added)
            }
            _ => false,
        };
        same_files && self.source == work.source() && self.from == *from && self.to == *to && self.rows == work.rows()
    }

    /// Returns the change that appends the files.
    pub(crate) fn append(&self) -> Change {
        Change {
            operation: Operation::Append,
            added: self.files.clone(),
            spec: self.spec.unwrap_or_default(),
            removed: BTreeSet::new(),
            moves_rows: false,
            cleans: false,
            ages: false,
        }
    }

    pub(crate) fn removes_nothing(&self) -> bool {
        self.change.as_ref().is_none_or(|change| change.removed.is_empty() && !change.cleans)
    }
}

/// Returns whether somebody else moved a partition of ours. Other partitions may have moved: then the batch is rebuilt
/// on them. But they only ever advance: one that went back says that the table was rolled back, and a commit on top of
/// it would hide that for good. A change of rows was planned on one snapshot and one map, and on nothing else.
pub(crate) fn is_fenced<R: TableRow, K: KeyCheck<R>>(
    work: &Work<'_, R>,
    stored: &StoredState,
    snapshot: Option<i64>,
) -> bool {
    let offsets = stored.offsets();
    let batch = match work {
        Work::Batch(batch) => batch,
        Work::Change(change) => {
            let is_other = matches!(change.built_on, BuiltOn::Snapshot(planned) if planned != snapshot);
            return offsets != change.from || is_other;
        }
    };
    let ours = work.moved().into_iter().map(|(partition, _)| partition).chain(K::partitions_of(batch));
    ours.into_iter().any(|partition| offsets.get(&partition) != batch.from.get(&partition))
        || batch.from.iter().any(|(partition, position)| !offsets.includes(partition, position))
}

/// Checks that a batch follows the source that the table has. A change may follow another one: its planner has looked
/// at all that the table holds.
pub(crate) fn check_source<R>(ident: &TableIdent, work: &Work<'_, R>, stored: &StoredState) -> Result<(), LakeError> {
    match stored.source() {
        Some(held) if held != work.source() && matches!(work, Work::Batch(_)) => {
            let found = work.source();
            let text = format!("found a batch of source {found:?}, wanted {held:?}, whose offsets {ident} holds");
            Err(LakeError::new(LakeErrorKind::Permanent, text))
        }
        _ => Ok(()),
    }
}

/// Checks that the clock isn't behind the table: that is cured by time, so the batch waits.
pub(crate) fn check_clock(table: &Table, now: SystemTime) -> Result<(), LakeError> {
    let last = UNIX_EPOCH + Duration::from_millis(u64::try_from(table.metadata().last_updated_ms()).unwrap_or(0));
    match last.duration_since(now) {
        Ok(behind) if behind >= CLOCK_BEHIND_MAX => {
            let (found, wanted) = (rva_types::Timestamp::from(now), rva_types::Timestamp::from(last));
            let text = format!(
                "the clock is {} s behind: found {found}, wanted at least {wanted}, when {} was last changed",
                behind.as_secs(),
                table.identifier()
            );
            Err(LakeError::new(LakeErrorKind::Transient, text))
        }
        _ => Ok(()),
    }
}

//! A table at one moment, to be read by a job: the changes since a position.

use crate::cells::{CellKind, Cells, rows_of};
use crate::change::is_aged;
use crate::columns::read_columns;
use crate::counted::Seen;
use crate::definition::{NAMESPACE, WHOLE_SINCE};
use crate::deletions::changes_of;
use crate::errors::lake_error;
use crate::files::FileEntry;
use crate::lake::Lake;
use crate::lists::FileLists;
use crate::places::check_table;
use crate::seam::{LakeError, LakeErrorKind, ResumePoint};
use crate::state::{StateKeys, TRACEPARENT_KEY};
use async_recursion::async_recursion as boxed;
use iceberg::spec::{DataFile, FormatVersion, Operation, SnapshotRef};
use iceberg::table::Table;
use iceberg::util::snapshot::ancestors_of;
use iceberg::{NamespaceIdent, TableIdent};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The columns to read, and the kinds of their values.
pub type Columns = [(&'static str, CellKind)];

/// A table as it was when it was loaded.
#[derive(Debug, Clone)]
pub struct TableView {
    pub(crate) table: Table,
    /// The files that there are, where somebody counted them.
    pub(crate) counted: Arc<OnceCell<Seen>>,
    /// What earlier reads of the lake's tables found of their files.
    pub(crate) lists: FileLists,
}

/// A data file that came or went.
#[derive(Debug, Clone)]
pub struct ChangedFile {
    entry: FileEntry,
    rows: u64,
}

impl ChangedFile {
    pub(crate) fn of(file: &DataFile) -> Self {
        let entry = FileEntry { path: file.file_path().into(), size: file.file_size_in_bytes(), spans: Vec::new() };
        Self { entry, rows: file.record_count() }
    }

    /// Returns the number of its rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// The changes of a table since a position.
#[derive(Debug)]
pub enum Since {
    /// Rows came: those of these files, oldest first. The same rows in other files don't count.
    Appended(Vec<ChangedFile>),
    /// Rows came and went: those of these files. A row of both is as it was.
    Changed {
        /// The files that came.
        added: Vec<ChangedFile>,
        /// The files that went.
        removed: Vec<ChangedFile>,
    },
    /// Everything has to be looked at: nothing was read before, or rows were hidden without a file that went.
    Everything,
    /// The snapshots since the position are gone.
    Expired,
}

impl Lake {
    /// Returns a table as it is now; `None` where there is none of that name.
    ///
    /// # Errors
    /// Fails as the catalog does.
    #[boxed]
    pub async fn view(&self, name: &str) -> Result<Option<TableView>, LakeError> {
        let ident = TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), name.to_owned());
        let failed = |error| lake_error(format_args!("read table {ident}"), error);
        if !self.catalog.table_exists(&ident).await.map_err(failed)? {
            return Ok(None);
        }
        let table = self.catalog.load_table(&ident).await.map_err(failed)?;
        check_table(&ident, table.metadata(), &self.options.allowed)?;
        if table.metadata().format_version() == FormatVersion::V1 {
            let text = format!("found {ident} in format version 1, wanted 2: its snapshots have no order");
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
        Ok(Some(TableView::of(table, &self.lists)))
    }
}

impl Lake {
    /// Returns the position that a view says our job is at.
    ///
    /// # Errors
    /// Returns `Permanent` for a position that can't be read.
    #[boxed]
    pub async fn position_of(&self, view: &TableView) -> Result<ResumePoint, LakeError> {
        Ok(StateKeys::of_job(&self.options.job).read(&view.table).await?.resume_point())
    }
}

impl TableView {
    pub(crate) fn of(table: Table, lists: &FileLists) -> Self {
        Self { table, counted: Arc::new(OnceCell::new()), lists: lists.clone() }
    }

    /// Returns the identity of the table: another one of its name has another.
    pub fn identity(&self) -> String {
        format!("{}|{}", self.table.identifier(), self.table.metadata().uuid())
    }

    /// Returns the number of its newest snapshot; 0 before the first.
    pub fn sequence(&self) -> u64 {
        let current = self.table.metadata().current_snapshot();
        current.map_or(0, |snapshot| u64::try_from(snapshot.sequence_number()).unwrap_or(0))
    }

    /// Returns the traces that commits name, of those whose numbers are above `after` and at most `last`; in no order.
    pub fn traceparents(&self, after: u64, last: u64) -> Vec<String> {
        let is_asked = |number: i64| u64::try_from(number).is_ok_and(|number| number > after && number <= last);
        let asked = self.table.metadata().snapshots().filter(|snapshot| is_asked(snapshot.sequence_number()));
        asked.filter_map(|snapshot| snapshot.summary().additional_properties.get(TRACEPARENT_KEY).cloned()).collect()
    }

    /// Returns the table's name, without the namespace.
    pub fn name(&self) -> &str {
        self.table.identifier().name()
    }

    /// Returns the moment since which the table has every row that it ever had, by the time of records, in microseconds
    /// since 1970: older ones may have gone by their age. `None`: none went.
    pub fn whole_since(&self) -> Option<i64> {
        self.table.metadata().properties().get(WHOLE_SINCE)?.parse().ok()
    }

    /// Returns the snapshots since one, oldest first, and those that a rollback took back since; `None` where they are
    /// gone.
    fn way(&self, from: u64) -> Option<(Vec<SnapshotRef>, Vec<SnapshotRef>)> {
        let metadata = self.table.metadata_ref();
        let is_it = |snapshot: &SnapshotRef| u64::try_from(snapshot.sequence_number()).unwrap_or(0) == from;
        let lineage: Vec<SnapshotRef> =
            metadata.current_snapshot_id().map(|id| ancestors_of(&metadata, id).collect()).unwrap_or_default();
        let mut undone = Vec::new();
        let mut base = lineage.iter().position(is_it);
        if base.is_none() {
            let then = metadata.snapshots().find(|snapshot| is_it(snapshot))?;
            for snapshot in ancestors_of(&metadata, then.snapshot_id()) {
                base = lineage.iter().position(|ours| ours.snapshot_id() == snapshot.snapshot_id());
                if base.is_some() {
                    break;
                }
                let is_first = snapshot.parent_snapshot_id().is_none();
                undone.push(snapshot);
                if is_first && lineage.is_empty() {
                    base = Some(0);
                }
            }
        }
        let mut came: Vec<SnapshotRef> = lineage.into_iter().take(base?).collect();
        came.reverse();
        Some((came, undone))
    }

    /// Returns the changes of the table since a position, which is the number of a snapshot.
    ///
    /// # Errors
    /// Fails as the storage does.
    #[boxed]
    pub async fn since(&self, from: Option<u64>) -> Result<Since, LakeError> {
        let from = match from {
            None | Some(0) => return Ok(Since::Everything),
            Some(from) => from,
        };
        let Some((came, undone)) = self.way(from) else { return Ok(Since::Expired) };
        let failed = |error| lake_error(format_args!("read what changed in {}", self.table.identifier()), error);
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let came = came.iter().map(|snapshot| (snapshot, false));
        for (snapshot, is_undone) in came.chain(undone.iter().map(|snapshot| (snapshot, true))) {
            // The same rows in other files, or rows that went because they were old.
            if snapshot.summary().operation == Operation::Replace || is_aged(snapshot) {
                continue;
            }
            let change = changes_of(&self.table, snapshot).await.map_err(failed)?;
            if !change.deletes.is_empty() {
                return Ok(Since::Everything);
            }
            let (to, from) = if is_undone { (&mut removed, &mut added) } else { (&mut added, &mut removed) };
            to.extend(change.added.iter().map(ChangedFile::of));
            from.extend(change.removed.iter().map(ChangedFile::of));
        }
        if removed.is_empty() {
            return Ok(Since::Appended(added));
        }
        // What came and went again meanwhile was never seen.
        let paths = |files: &[ChangedFile]| files.iter().map(|file| file.entry.path.clone()).collect::<HashSet<_>>();
        let both: HashSet<_> = paths(&added).intersection(&paths(&removed)).cloned().collect();
        added.retain(|file| !both.contains(&file.entry.path));
        removed.retain(|file| !both.contains(&file.entry.path));
        Ok(Since::Changed { added, removed })
    }

    /// Calls `take` with the rows of a file, some thousand at a time.
    ///
    /// # Errors
    /// Returns an error for a file that can't be read, or the error of `take`.
    pub async fn rows_of_file(
        &self,
        file: &ChangedFile,
        columns: &Columns,
        mut take: impl FnMut(Vec<Cells>) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let kinds: Vec<CellKind> = columns.iter().map(|(_, kind)| *kind).collect();
        read_columns(&self.table, &file.entry, &names, &[], |batch| take(rows_of(&kinds, batch)?)).await
    }
}

//! The tables that are worked out of bronze, as a job writes them: rows of a stretch of time are put in the place of
//! those that were there, and the position in the input moves in the same commit.

use crate::cells::{CellKind, Cells, Shape, ShapedRow, rows_of};
use crate::change::Change;
use crate::columns::read_columns;
use crate::commit::TableJob;
use crate::definition::{check_columns, ensure_table};
use crate::files::{FileEntry, FileList};
use crate::key_check::{CheckedRows, KeyCheck};
use crate::lake::Lake;
use crate::options::CommitStep;
use crate::rows::TableRow;
use crate::seam::{Batch, CommitOutcome, LakeError, ResumePoint};
use crate::state::StoredState;
use crate::view::TableView;
use crate::work::{BuiltOn, FileChange};
use crate::writer::write_files;
use async_recursion::async_recursion as boxed;
use iceberg::spec::{DataFile, Operation};
use iceberg::table::Table;
use rva_types::OffsetMap;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

/// A stretch of time of a shop whose rows are replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The shop; `None` for every shop.
    pub store: Option<Arc<str>>,
    /// The first moment, in microseconds since 1970.
    pub from_us: i64,
    /// The end in microseconds since 1970, which is no part of it.
    pub to_us: i64,
}

/// The files that go, and those of their rows that stay.
#[derive(Debug, Default)]
pub struct Replaced {
    removed: BTreeSet<String>,
    /// The rows of those files that aren't replaced: they must be written again.
    pub kept: Vec<Cells>,
}

/// The files that were written and that no snapshot names yet.
#[derive(Debug, Default)]
pub struct Staged {
    files: Vec<DataFile>,
    spec: Option<i32>,
    /// Properties of the table that are set with the files.
    noted: BTreeMap<String, String>,
}

impl Staged {
    /// Notes how much an input held, for the next look at one whose catalog keeps no history.
    ///
    /// # Errors
    /// Fails as the storage does.
    #[boxed]
    pub async fn saw(&mut self, input: &TableView) -> Result<(), LakeError> {
        input.note(&mut self.noted).await
    }
}

/// A change of rows to be committed.
#[derive(Debug)]
pub struct RowChange {
    /// The identity of the input.
    pub source: String,
    /// The position that it was planned on.
    pub from: OffsetMap,
    /// The position after it.
    pub to: OffsetMap,
    /// The files that come.
    pub staged: Staged,
    /// The files that go.
    pub replaced: Replaced,
}

/// A table that a job works out of others.
#[async_trait::async_trait]
pub trait RefinedTable: Send + Sync {
    /// Returns the table's name, without the namespace.
    fn name(&self) -> &'static str;

    /// Returns the position that the table says; see [`crate::TableSink::resume_point`].
    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError>;

    /// Returns the table as it is now.
    async fn view(&mut self) -> Result<TableView, LakeError>;

    /// Finds the files that may hold rows of `spans`, and reads those of their rows that `keeps` says stay.
    async fn replace(
        &mut self,
        view: &TableView,
        spans: &[Span],
        keeps: &(dyn for<'a> Fn(&'a Cells) -> bool + Sync),
    ) -> Result<Replaced, LakeError>;

    /// Writes rows, one file for each partition that they lie in, beside those that are staged already.
    async fn stage(&mut self, view: &TableView, rows: Vec<Cells>, staged: &mut Staged) -> Result<(), LakeError>;

    /// Commits a change that was planned on a view of the table. It is fenced where the table isn't that any more.
    async fn commit(&mut self, view: &TableView, change: &RowChange) -> Result<CommitOutcome, LakeError>;
}

/// A check that looks no key up: rows are worked out anew.
pub(crate) struct NoKeys;

impl<R: TableRow> KeyCheck<R> for NoKeys {
    async fn select(
        &mut self,
        _table: &Table,
        _files: &mut FileList,
        batch: &Batch<R>,
        _stored: &StoredState,
    ) -> Result<CheckedRows, LakeError> {
        Ok(CheckedRows { fresh: (0..batch.rows.len()).collect(), conflicts: Vec::new() })
    }

    fn committed(&mut self) {}

    fn forget(&mut self) {}
}

struct Refined<T: Shape> {
    lake: Lake,
    job: TableJob<ShapedRow<T>, NoKeys>,
}

impl Lake {
    /// Opens the table of shape `T`, made where it is missing and checked where it is there.
    ///
    /// # Errors
    /// Returns `Permanent` for a table of that name with other columns; else it fails as the catalog does.
    pub async fn refined<T: Shape>(&self) -> Result<Box<dyn RefinedTable>, LakeError> {
        ensure_table::<ShapedRow<T>>(self.catalog.as_ref(), &self.options).await?;
        let files = FileList::of_columns(T::SPAN);
        Ok(Box::new(Refined::<T> { lake: self.clone(), job: TableJob::new(self, NoKeys, files)? }))
    }
}

/// Returns whether a file may hold rows of a span.
fn may_hold(file: &FileEntry, span: &Span) -> bool {
    let store =
        span.store.as_ref().is_none_or(|store| file.spans.first().is_none_or(|found| found.may_hold_text(store)));
    store && file.spans.get(1).is_none_or(|found| found.may_hold_any(span.from_us, span.to_us.saturating_sub(1)))
}

#[async_trait::async_trait]
impl<T: Shape> RefinedTable for Refined<T> {
    fn name(&self) -> &'static str {
        T::TABLE
    }

    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError> {
        self.job.resume_point().await
    }

    async fn view(&mut self) -> Result<TableView, LakeError> {
        let table = self.job.table().await?;
        check_columns::<ShapedRow<T>>(table.metadata())?;
        Ok(TableView::of(table, &self.lake.lists))
    }

    async fn replace(
        &mut self,
        view: &TableView,
        spans: &[Span],
        keeps: &(dyn for<'a> Fn(&'a Cells) -> bool + Sync),
    ) -> Result<Replaced, LakeError> {
        self.job.files.follow(&view.table).await?;
        let hit = |file: &&Arc<FileEntry>| spans.iter().any(|span| may_hold(file, span));
        let files: Vec<Arc<FileEntry>> = self.job.files.iter().filter(hit).cloned().collect();
        let kinds: Vec<CellKind> = T::COLUMNS.iter().map(|(_, kind)| *kind).collect();
        let names: Vec<&str> = T::COLUMNS.iter().map(|(name, _)| *name).collect();
        let mut replaced = Replaced::default();
        for file in files {
            read_columns(&view.table, &file, &names, &[], |batch| {
                replaced.kept.extend(rows_of(&kinds, batch)?.into_iter().filter(|row| keeps(row)));
                Ok(())
            })
            .await?;
            replaced.removed.insert(file.path.to_string());
        }
        Ok(replaced)
    }

    async fn stage(&mut self, view: &TableView, rows: Vec<Cells>, staged: &mut Staged) -> Result<(), LakeError> {
        let spec = view.table.metadata().default_partition_spec_id();
        let rows: Vec<ShapedRow<T>> = rows.into_iter().map(|cells| ShapedRow(cells, PhantomData)).collect();
        let options = self.lake.options.clone();
        options.step(CommitStep::WriteFiles);
        staged.files.extend(write_files(&view.table, &rows.iter().collect::<Vec<_>>(), &options).await?);
        options.step(CommitStep::FilesClosed);
        staged.spec = Some(spec);
        Ok(())
    }

    async fn commit(&mut self, view: &TableView, change: &RowChange) -> Result<CommitOutcome, LakeError> {
        let metadata = view.table.metadata();
        let removed = change.replaced.removed.clone();
        self.job.noted = change.staged.noted.clone();
        let operation = if removed.is_empty() { Operation::Append } else { Operation::Overwrite };
        let change = FileChange {
            source: change.source.clone(),
            from: change.from.clone(),
            to: change.to.clone(),
            built_on: BuiltOn::Snapshot(metadata.current_snapshot_id()),
            change: Change {
                operation,
                added: change.staged.files.clone(),
                spec: change.staged.spec.unwrap_or_else(|| metadata.default_partition_spec_id()),
                removed,
                moves_rows: false,
                cleans: false,
                ages: false,
            },
        };
        self.job.change(&change).await
    }
}

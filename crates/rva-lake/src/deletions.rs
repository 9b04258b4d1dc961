//! Deleted events, which stay deleted also when their log is replayed.
//!
//! The table alone can't tell a row that was deleted from one that never was: once the snapshot of the deletion has
//! expired, nothing of it is left. So before the first commit after a deletion its keys are noted in a table of their
//! own, `rva.bronze_deletions`, as ranges of frame indexes, and that commit says up to which snapshot it was done. A
//! `replace` says of itself that it keeps every row. A rollback is no deletion: what it undoes counts no more.

use crate::columns::read_columns;
use crate::definition::{ensure_table, table_ident};
use crate::deletion::{COLUMNS, Deletion};
use crate::errors::{is_not_found, lake_error};
use crate::files::{FileEntry, FileList};
use crate::keys::blocks::{KEY_COLUMNS, keys_of};
use crate::lake::Lake;
use crate::options::LakeOptions;
use crate::seam::{LakeError, LakeErrorKind};
use crate::writer::write_files;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use iceberg::arrow::ArrowReaderBuilder;
use iceberg::scan::FileScanTask;
use iceberg::spec::{DataContentType, DataFile, ManifestStatus, Operation, SnapshotRef};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::util::snapshot::ancestors_of;
use iceberg::{Catalog, Runtime};
use roaring::RoaringTreemap;
use rva_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

/// Names the property of the bronze table with the newest snapshot of its lineage whose deletions are noted.
const NOTED: &str = "rva.deletions";

/// Names, in the summary of a snapshot of the notes, the snapshot of bronze that it notes.
const NOTE_OF: &str = "rva.deletions-of";

/// Frame indexes by run and camera, in the order of the numbers.
#[derive(Debug, Default)]
struct KeySet(BTreeMap<(String, String), RoaringTreemap>);

/// Returns a number that keeps the order of signed numbers.
fn biased(frame_index: i64) -> u64 {
    frame_index.cast_unsigned() ^ (1 << 63)
}

fn unbiased(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

impl KeySet {
    fn insert(&mut self, run: &str, camera: &str, frame_index: i64) {
        self.0.entry((run.to_owned(), camera.to_owned())).or_default().insert(biased(frame_index));
    }

    fn subtract(&mut self, other: &Self) {
        for (key, frames) in &other.0 {
            if let Some(held) = self.0.get_mut(key) {
                *held -= frames;
            }
        }
    }

    fn union(&mut self, other: Self) {
        for (key, frames) in other.0 {
            *self.0.entry(key).or_default() |= frames;
        }
    }

    /// Returns the set as rows, one for each range.
    fn ranges(&self, snapshot: i64, noted: Timestamp) -> Vec<Deletion> {
        let mut rows: Vec<Deletion> = Vec::new();
        for ((run, camera), frames) in &self.0 {
            let begin = rows.len();
            for frame in frames.iter().map(unbiased) {
                match rows[begin..].last_mut() {
                    Some(row) if row.last.checked_add(1) == Some(frame) => row.last = frame,
                    _ => rows.push(Deletion {
                        run: run.clone(),
                        camera: camera.clone(),
                        first: frame,
                        last: frame,
                        snapshot,
                        noted,
                    }),
                }
            }
        }
        rows
    }
}

/// The deletions from bronze.
pub(crate) struct Deletions {
    catalog: Arc<dyn Catalog>,
    options: LakeOptions,
    files: FileList,
    /// The snapshots of bronze that this process noted.
    done: HashSet<i64>,
    /// The newest of them, for the next commit.
    newest: Option<i64>,
}

impl std::fmt::Debug for Deletions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deletions").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl Deletions {
    pub(crate) fn new(lake: &Lake) -> Self {
        Self {
            catalog: Arc::clone(&lake.catalog),
            options: lake.options.clone(),
            files: FileList::of_columns(&COLUMNS[..3]),
            done: HashSet::new(),
            newest: None,
        }
    }

    /// Returns the property that the next commit of bronze says about them.
    pub(crate) fn property(&self) -> Option<(String, String)> {
        self.newest.map(|snapshot| (NOTED.to_owned(), snapshot.to_string()))
    }

    /// Notes the deletions of bronze that aren't noted yet.
    ///
    /// # Errors
    /// Returns an error where catalog or storage are away. Files that are gone already are told in the log, and stay
    /// unknown.
    pub(crate) async fn note(&mut self, bronze: &Table) -> Result<(), LakeError> {
        for snapshot in unnoted(bronze) {
            let id = snapshot.snapshot_id();
            if !self.done.contains(&id) {
                self.note_snapshot(bronze, &snapshot).await?;
                self.done.insert(id);
            }
            self.newest = Some(id);
        }
        Ok(())
    }

    async fn note_snapshot(&mut self, bronze: &Table, snapshot: &SnapshotRef) -> Result<(), LakeError> {
        let id = snapshot.snapshot_id();
        let of = id.to_string();
        if self.is_noted(&of).await? {
            return Ok(());
        }
        let keys = match deleted_keys(bronze, snapshot).await {
            Ok(keys) => keys,
            Err(error) if matches!(error.kind(), LakeErrorKind::Transient) => return Err(error),
            Err(error) => {
                tracing::warn!(
                    table = %bronze.identifier(), snapshot = id, %error,
                    "can't tell which rows another engine deleted: a replay of their events would bring them back"
                );
                return Ok(());
            }
        };
        let rows = keys.ranges(id, Timestamp::from(SystemTime::now()));
        if rows.is_empty() {
            return Ok(());
        }
        let notes = ensure_table::<Deletion>(self.catalog.as_ref(), &self.options).await?;
        if has_note(&notes, &of) {
            return Ok(());
        }
        let failed = |error| lake_error(format_args!("note deletions in {}", notes.identifier()), error);
        let files = write_files(&notes, &rows.iter().collect::<Vec<_>>(), &self.options).await?;
        let transaction = Transaction::new(&notes);
        let append = transaction.fast_append().with_check_duplicate(false).add_data_files(files);
        let append = append.set_snapshot_properties(HashMap::from([(NOTE_OF.to_owned(), of)]));
        let transaction = append.apply(transaction).map_err(failed)?;
        transaction.commit(self.catalog.as_ref()).await.map_err(failed)?;
        tracing::info!(
            table = %bronze.identifier(), snapshot = id, ranges = rows.len(),
            "noted what was deleted: those events stay deleted"
        );
        Ok(())
    }

    /// Returns whether a snapshot of bronze is noted already: what it took away may be gone for good.
    async fn is_noted(&self, of: &String) -> Result<bool, LakeError> {
        let ident = table_ident::<Deletion>();
        let failed = |error| lake_error(format_args!("read {ident}"), error);
        if !self.catalog.table_exists(&ident).await.map_err(failed)? {
            return Ok(false);
        }
        Ok(has_note(&self.catalog.load_table(&ident).await.map_err(failed)?, of))
    }

    /// Notes the deletions that aren't noted yet, and says so in bronze at once, before what they took away goes for
    /// good.
    ///
    /// # Errors
    /// Fails as [`Deletions::note`] does.
    pub(crate) async fn note_now(&mut self, bronze: &Table) -> Result<(), LakeError> {
        self.note(bronze).await?;
        let Some((name, value)) = self.property() else { return Ok(()) };
        let failed = |error| lake_error(format_args!("note deletions in {}", bronze.identifier()), error);
        let transaction = Transaction::new(bronze);
        let transaction = transaction.update_table_properties().set(name, value).apply(transaction).map_err(failed)?;
        transaction.commit(self.catalog.as_ref()).await.map_err(failed)?;
        Ok(())
    }

    /// Calls `take` with run, camera, first and last frame index of every deletion of these runs, and maybe of others.
    ///
    /// # Errors
    /// Returns an error where the notes can't be read.
    pub(crate) async fn of_runs(
        &mut self,
        bronze: &Table,
        runs: &BTreeSet<&str>,
        mut take: impl FnMut(&str, &str, i64, i64),
    ) -> Result<(), LakeError> {
        if self.newest.is_none() && !bronze.metadata().properties().contains_key(NOTED) {
            return Ok(());
        }
        let ident = table_ident::<Deletion>();
        let failed = |error| lake_error(format_args!("read {ident}"), error);
        if !self.catalog.table_exists(&ident).await.map_err(failed)? {
            return Ok(());
        }
        let notes = self.catalog.load_table(&ident).await.map_err(failed)?;
        self.files.follow(&notes).await?;
        let undone = undone(bronze);
        let texts: Vec<&str> = runs.iter().copied().collect();
        let files: Vec<Arc<FileEntry>> = self.files.iter().cloned().collect();
        for file in files.iter().filter(|file| texts.iter().any(|run| file.spans[0].may_hold_text(run))) {
            read_columns(&notes, file, COLUMNS, &texts, |batch| {
                let wrong = || LakeError::new(LakeErrorKind::Permanent, format!("found other types in {}", file.path));
                let runs = batch.column(0).as_string_opt::<i32>().ok_or_else(wrong)?;
                let cameras = batch.column(1).as_string_opt::<i32>().ok_or_else(wrong)?;
                let long = |at: usize| batch.column(at).as_primitive_opt::<Int64Type>().ok_or_else(wrong);
                let (first, last, snapshot) = (long(2)?, long(3)?, long(4)?);
                let all_there = |at: &usize| (0..batch.num_columns()).all(|column| batch.column(column).is_valid(*at));
                for at in (0..batch.num_rows()).filter(all_there) {
                    if !undone.contains(&snapshot.value(at)) && first.value(at) <= last.value(at) {
                        take(runs.value(at), cameras.value(at), first.value(at), last.value(at));
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

fn has_note(notes: &Table, of: &String) -> bool {
    notes.metadata().snapshots().any(|note| note.summary().additional_properties.get(NOTE_OF) == Some(of))
}

/// Returns the snapshots of the lineage that may have taken rows away and aren't noted, oldest first.
fn unnoted(bronze: &Table) -> Vec<SnapshotRef> {
    let metadata = bronze.metadata_ref();
    let Some(current) = metadata.current_snapshot_id() else { return Vec::new() };
    let until: Option<i64> = metadata.properties().get(NOTED).and_then(|text| text.parse().ok());
    let lineage = ancestors_of(&metadata, current).take_while(|snapshot| Some(snapshot.snapshot_id()) != until);
    let deleting =
        |snapshot: &SnapshotRef| matches!(snapshot.summary().operation, Operation::Delete | Operation::Overwrite);
    let mut found: Vec<_> = lineage.filter(deleting).collect();
    found.reverse();
    found
}

/// Returns the snapshots that the table was rolled back from.
fn undone(bronze: &Table) -> HashSet<i64> {
    let metadata = bronze.metadata_ref();
    let all = metadata.snapshots().map(|snapshot| snapshot.snapshot_id());
    let current = metadata.current_snapshot_id();
    let lineage: HashSet<i64> = current
        .map(|id| ancestors_of(&metadata, id).map(|snapshot| snapshot.snapshot_id()).collect())
        .unwrap_or_default();
    all.filter(|id| !lineage.contains(id)).collect()
}

/// The changes of a snapshot to the table's files.
#[derive(Debug, Default)]
pub(crate) struct FilesChanged {
    pub removed: Vec<DataFile>,
    pub added: Vec<DataFile>,
    /// The paths of delete files.
    pub deletes: HashSet<String>,
}

/// Reads the changes of a snapshot to the files of its table.
pub(crate) async fn changes_of(bronze: &Table, snapshot: &SnapshotRef) -> iceberg::Result<FilesChanged> {
    let id = snapshot.snapshot_id();
    let mut change = FilesChanged::default();
    let list = bronze.manifest_list_reader(snapshot).load().await?;
    for manifest in list.entries().iter().filter(|manifest| manifest.added_snapshot_id == id) {
        for entry in manifest.load_manifest(bronze.file_io()).await?.entries() {
            let is_its_own = entry.snapshot_id() == Some(id);
            match (entry.status(), entry.content_type()) {
                (ManifestStatus::Deleted, DataContentType::Data) if is_its_own => {
                    change.removed.push(entry.data_file().clone());
                }
                (ManifestStatus::Added, DataContentType::Data) => change.added.push(entry.data_file().clone()),
                (ManifestStatus::Added, _) => {
                    change.deletes.insert(entry.file_path().to_owned());
                }
                _ => {}
            }
        }
    }
    Ok(change)
}

/// Reads the keys that a snapshot took away: those of the files that it removed and didn't write again, and those of
/// the rows that its delete files hide.
async fn deleted_keys(bronze: &Table, snapshot: &SnapshotRef) -> Result<KeySet, LakeError> {
    let doing = || format!("read what snapshot {} of {} deleted", snapshot.snapshot_id(), bronze.identifier());
    let failed = |error: iceberg::Error| {
        let is_gone = is_not_found(&error);
        let error = lake_error(doing(), error);
        if is_gone { error.at_second_look() } else { error }
    };
    let FilesChanged { removed, added, deletes } = changes_of(bronze, snapshot).await.map_err(failed)?;
    let mut keys = KeySet::default();
    read_keys(bronze, &removed, &mut keys).await?;
    let mut kept = KeySet::default();
    read_keys(bronze, &added, &mut kept).await?;
    keys.subtract(&kept);
    if !deletes.is_empty() {
        keys.union(hidden_keys(bronze, snapshot, &deletes).await.map_err(failed)?);
    }
    Ok(keys)
}

async fn read_keys(bronze: &Table, files: &[DataFile], keys: &mut KeySet) -> Result<(), LakeError> {
    for file in files {
        let entry = FileEntry { path: file.file_path().into(), size: file.file_size_in_bytes(), spans: Vec::new() };
        let read = read_columns(bronze, &entry, KEY_COLUMNS, &[], |batch| {
            keys_of(batch)?.for_each(|(_, (run, camera, frame_index))| keys.insert(run, camera, frame_index));
            Ok(())
        });
        read.await.map_err(LakeError::at_second_look)?;
    }
    Ok(())
}

/// Reads the keys of rows that delete files hide.
async fn hidden_keys(bronze: &Table, snapshot: &SnapshotRef, deletes: &HashSet<String>) -> iceberg::Result<KeySet> {
    let scan = bronze.scan().snapshot_id(snapshot.snapshot_id()).select(KEY_COLUMNS).build()?;
    let tasks: Vec<FileScanTask> = scan.plan_files().await?.try_collect().await?;
    let hit = |task: &FileScanTask| task.deletes.iter().any(|file| deletes.contains(&file.file_path));
    let mut hidden = KeySet::default();
    for task in tasks.into_iter().filter(hit) {
        let whole = FileScanTask { deletes: Vec::new(), ..task.clone() };
        let mut all = task_keys(bronze, whole).await?;
        all.subtract(&task_keys(bronze, task).await?);
        hidden.union(all);
    }
    Ok(hidden)
}

async fn task_keys(bronze: &Table, task: FileScanTask) -> iceberg::Result<KeySet> {
    let reader = ArrowReaderBuilder::new(bronze.file_io().clone(), Runtime::current()).build();
    let mut batches = reader.read(Box::pin(futures::stream::iter([Ok(task)])))?.stream();
    let mut keys = KeySet::default();
    while let Some(batch) = batches.try_next().await? {
        let found = keys_of(&batch).map_err(|error| {
            iceberg::Error::new(iceberg::ErrorKind::DataInvalid, "read key columns").with_source(error)
        })?;
        found.for_each(|(_, (run, camera, frame_index))| keys.insert(run, camera, frame_index));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_ranges_in_the_order_of_the_numbers() {
        let mut keys = KeySet::default();
        for frame in [3, 1, 2, 7, i64::MAX, i64::MIN, -1, 0] {
            keys.insert("run", "cam", frame);
        }
        keys.insert("run", "other", 1);
        let mut kept = KeySet::default();
        kept.insert("run", "cam", 2);
        kept.insert("gone", "cam", 2);
        keys.subtract(&kept);
        let found: Vec<_> = keys
            .ranges(9, Timestamp::from_micros(0))
            .into_iter()
            .map(|row| (row.camera, row.first, row.last))
            .collect();
        let cam = |first, last| ("cam".to_owned(), first, last);
        let wanted = [cam(i64::MIN, i64::MIN), cam(-1, 1), cam(3, 3), cam(7, 7), cam(i64::MAX, i64::MAX)];
        assert_eq!(found[..5], wanted);
        assert_eq!(found[5..], [("other".to_owned(), 1, 1)]);
    }
}

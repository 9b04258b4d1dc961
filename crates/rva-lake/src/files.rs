//! The table's data files and their key bounds, in memory, following its snapshots: manifests are immutable, so only
//! new ones are ever read.

use crate::errors::lake_error;
use crate::seam::LakeError;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{DataContentType, DataFile, ManifestContentType, ManifestFile, Operation, PrimitiveLiteral};
use iceberg::table::Table;
use iceberg::util::snapshot::ancestors_of;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The number of manifests that are read at the same time.
const MANIFESTS_AT_ONCE: usize = 8;

/// The smallest and the largest value of a key column in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Span {
    /// No values, since the writer recorded none: any may be there.
    Unknown,
    Text(Arc<str>, Arc<str>),
    Number(i64, i64),
}

impl Span {
    pub(crate) fn may_hold_text(&self, value: &str) -> bool {
        match self {
            Self::Text(low, high) => **low <= *value && *value <= **high,
            Self::Number(..) | Self::Unknown => true,
        }
    }

    /// Returns whether any number of `first..=last` may be in the file.
    pub(crate) fn may_hold_any(&self, first: i64, last: i64) -> bool {
        match self {
            Self::Number(low, high) => *low <= last && first <= *high,
            Self::Text(..) | Self::Unknown => true,
        }
    }
}

/// A data file as lookups see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEntry {
    pub path: Box<str>,
    pub size: u64,
    /// The spans in the order of the key columns.
    pub spans: Vec<Span>,
}

/// The live data files by the manifest that names them.
#[derive(Debug, Default)]
pub(crate) struct FileList {
    key_columns: &'static [&'static str],
    snapshot: Option<i64>,
    manifests: HashMap<String, Vec<Arc<FileEntry>>>,
    /// The files of our own commits by snapshot, until a manifest list is read again for another reason.
    own: HashMap<i64, Vec<Arc<FileEntry>>>,
    texts: HashSet<Arc<str>>,
    /// The changes for who asks for them; without one they would only ever become more.
    changes: Option<FileChanges>,
    has_deletes: bool,
}

/// The changes since they were last asked for.
#[derive(Debug, Default)]
pub(crate) struct FileChanges {
    pub added: Vec<Arc<FileEntry>>,
    /// Set where files went away: the table was rolled back, or another engine rewrote some.
    pub removed: bool,
}

/// The kind of way between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Rows were added.
    Appended,
    /// The same rows are in other files: everything known of their keys holds.
    Replaced,
    /// Both happened: the new files hold old rows and may hold new ones.
    ReplacedAndAppended,
    /// Rows may have gone.
    Deleted,
    /// The table was rolled back, or the snapshots between have expired.
    Unknown,
}

/// Returns the paths of every data file that a manifest names, alive or not.
pub(crate) async fn named_files(table: &Table, manifest: &ManifestFile) -> iceberg::Result<Vec<String>> {
    let loaded = manifest.load_manifest(table.file_io()).await?;
    Ok(loaded.entries().iter().map(|entry| entry.file_path().to_owned()).collect())
}

/// Returns a manifest's path and the data files that are alive in it.
async fn live_files(io: FileIO, manifest: ManifestFile) -> iceberg::Result<(String, Vec<DataFile>)> {
    let loaded = manifest.load_manifest(&io).await?;
    let alive = loaded.entries().iter().filter(|entry| entry.is_alive());
    let data = alive.filter(|entry| entry.content_type() == DataContentType::Data);
    let files = data.map(|entry| entry.data_file().clone()).collect();
    Ok((manifest.manifest_path, files))
}

impl FileList {
    pub(crate) fn of_columns(key_columns: &'static [&'static str]) -> Self {
        Self { key_columns, ..Self::default() }
    }

    /// Makes a list that keeps its changes until they are taken.
    pub(crate) fn with_changes(key_columns: &'static [&'static str]) -> Self {
        Self { changes: Some(FileChanges::default()), ..Self::of_columns(key_columns) }
    }

    pub(crate) fn forget(&mut self) {
        let changes = self.changes.is_some().then(FileChanges::default);
        *self = Self { changes, ..Self::of_columns(self.key_columns) };
    }

    /// Returns whether the files of a manifest are in the list.
    pub(crate) fn holds(&self, manifest: &ManifestFile) -> bool {
        self.manifests.contains_key(&manifest.manifest_path) || self.is_own(manifest)
    }

    /// Returns whether a manifest names the files that a commit of our own added. Another that the same commit wrote
    /// names those of manifests that it merged.
    fn is_own(&self, manifest: &ManifestFile) -> bool {
        !manifest.has_existing_files() && self.own.contains_key(&manifest.added_snapshot_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FileEntry>> {
        self.manifests.values().chain(self.own.values()).flatten()
    }

    /// Takes over files of our own commit without reading what was just written, if nothing lies between.
    pub(crate) fn committed(&mut self, table: &Table, files: &[DataFile], parent: Option<i64>) {
        let Some(current) = table.metadata().current_snapshot() else { return };
        let id = current.snapshot_id();
        if self.snapshot != parent || current.parent_snapshot_id() != parent {
            return;
        }
        let entries: Vec<_> = files.iter().map(|file| self.entry(table, file)).collect();
        if !entries.is_empty() {
            self.own.insert(id, entries);
        }
        self.snapshot = Some(id);
    }

    /// Returns whether a file of deletes may hide rows, at the snapshot that the list followed the table to.
    pub(crate) fn has_deletes(&self) -> bool {
        self.has_deletes
    }

    /// Takes the changes since the last call, without our own commits; none from a list that keeps none.
    pub(crate) fn take_changes(&mut self) -> FileChanges {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Follows the table to its current snapshot.
    ///
    /// # Errors
    /// Returns an error for a manifest list or manifest that can't be read; the list is then as it was.
    pub(crate) async fn follow(&mut self, table: &Table) -> Result<(), LakeError> {
        let Some(current) = table.metadata().current_snapshot() else {
            let removed = self.iter().next().is_some() || self.changes.as_ref().is_some_and(|changes| changes.removed);
            self.forget();
            if let Some(changes) = &mut self.changes {
                changes.removed = removed;
            }
            return Ok(());
        };
        if self.snapshot == Some(current.snapshot_id()) {
            return Ok(());
        }
        let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
        let list = table.manifest_list_reader(current).load().await.map_err(failed)?;
        let unknown: Vec<&ManifestFile> = list.entries().iter().filter(|manifest| !self.holds(manifest)).collect();
        let io = table.file_io();
        let loading: Vec<_> = unknown.into_iter().map(|manifest| live_files(io.clone(), manifest.clone())).collect();
        let mut loading = futures::stream::iter(loading).buffered(MANIFESTS_AT_ONCE);
        let mut loaded = Vec::new();
        while let Some((path, files)) = loading.try_next().await.map_err(failed)? {
            let entries: Vec<_> = files.iter().map(|file| self.entry(table, file)).collect();
            loaded.push((path, entries));
        }
        drop(loading);
        for manifest in list.entries() {
            if self.is_own(manifest)
                && let Some(files) = self.own.remove(&manifest.added_snapshot_id)
            {
                self.manifests.insert(manifest.manifest_path.clone(), files);
            }
        }
        let way = self.way_to(table, current.snapshot_id());
        let live: HashSet<&str> = list.entries().iter().map(|manifest| manifest.manifest_path.as_str()).collect();
        let dropped = self.manifests.extract_if(|path, _| !live.contains(path.as_str())).map(|(_, files)| files);
        let dropped: Vec<_> = dropped.chain(self.own.drain().map(|(_, files)| files)).collect();
        if let Some(changes) = &mut self.changes {
            let mut gone: HashSet<&str> = dropped.iter().flatten().map(|file| &*file.path).collect();
            // A manifest that was merged from others names their files again.
            let entries = loaded.iter().flat_map(|(_, entries)| entries);
            let added: Vec<_> = entries.filter(|file| !gone.remove(&*file.path)).cloned().collect();
            match way {
                // The new files hold the rows of the old ones, and no others.
                Way::Replaced => {}
                Way::ReplacedAndAppended => changes.added.extend(added),
                Way::Appended => {
                    // Rows go with their files.
                    changes.removed |= !gone.is_empty();
                    changes.added.extend(added);
                }
                Way::Deleted | Way::Unknown => {
                    changes.removed = true;
                    changes.added.extend(added);
                }
            }
        }
        self.manifests.extend(loaded);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.has_deletes = list.entries().iter().any(|manifest| manifest.content == ManifestContentType::Deletes);
        self.snapshot = Some(current.snapshot_id());
        Ok(())
    }

    /// Returns the way that the snapshots between the one that the list stands at and another say of themselves.
    fn way_to(&self, table: &Table, current: i64) -> Way {
        let (mut appended, mut replaced) = (false, false);
        for snapshot in ancestors_of(&table.metadata_ref(), current) {
            if Some(snapshot.snapshot_id()) == self.snapshot {
                return match (appended, replaced) {
                    (_, false) => Way::Appended,
                    (false, true) => Way::Replaced,
                    (true, true) => Way::ReplacedAndAppended,
                };
            }
            match snapshot.summary().operation {
                Operation::Append => appended = true,
                Operation::Replace => replaced = true,
                Operation::Overwrite | Operation::Delete => return Way::Deleted,
            }
        }
        Way::Unknown
    }

    fn text(&mut self, value: &str) -> Arc<str> {
        if let Some(held) = self.texts.get(value) {
            return Arc::clone(held);
        }
        let text: Arc<str> = Arc::from(value);
        self.texts.insert(Arc::clone(&text));
        text
    }

    fn entry(&mut self, table: &Table, file: &DataFile) -> Arc<FileEntry> {
        let schema = table.metadata().current_schema();
        let spans = self.key_columns.iter().map(|name| {
            let bounds = schema
                .field_id_by_name(name)
                .and_then(|id| Some((file.lower_bounds().get(&id)?, file.upper_bounds().get(&id)?)));
            match bounds.map(|(low, high)| (low.literal(), high.literal())) {
                Some((PrimitiveLiteral::String(low), PrimitiveLiteral::String(high))) => {
                    Span::Text(self.text(low), self.text(high))
                }
                Some((PrimitiveLiteral::Long(low), PrimitiveLiteral::Long(high))) => Span::Number(*low, *high),
                Some((PrimitiveLiteral::Int(low), PrimitiveLiteral::Int(high))) => {
                    Span::Number(i64::from(*low), i64::from(*high))
                }
                _ => Span::Unknown,
            }
        });
        let spans = spans.collect();
        Arc::new(FileEntry { path: file.file_path().into(), size: file.file_size_in_bytes(), spans })
    }
}

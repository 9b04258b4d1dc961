//! The place of backups: a marker, a folder of records and a folder of files.
//!
//! ```text
//! rva-backup.json                               says that this is one
//! backups/20260131T080000.000Z-0011aabb-….json.zst  a record each
//! files/TABLE'S UUID/data/…                     the files, under the names that they had in the table's folder
//! ```
//!
//! Names of files are never used twice by those who write tables, so one that is here already is the same file.

use crate::backup::record::{Backup, RECORD_ENDING};
use crate::errors::{is_not_found, lake_error};
use crate::seam::{LakeError, LakeErrorKind};
use crate::storage::{LakeStorage, StoredFile, make_folder, normal, plain};
use async_recursion::async_recursion as boxed;
use iceberg::io::{InputFile, OutputFile, Storage};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MARKER: &str = "rva-backup.json";
const MARKER_TEXT: &str = "{\"form\":1}\n";
const RECORDS: &str = "backups";
const FILES: &str = "files";
const LOCK: &str = "lock";

/// The age at which files that no record names go: a backup that is being made names its files when it is done.
const UNNAMED_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder, or a prefix of an object store, with backups.
#[derive(Debug, Clone)]
pub struct BackupStore {
    storage: LakeStorage,
    /// The location, without a slash at its end.
    root: String,
}

/// The files that were removed of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The ids of the backups that went.
    pub backups: Vec<String>,
    /// The number of files that went.
    pub files: u64,
    /// The bytes of those files.
    pub bytes: u64,
}

fn refused(text: String) -> LakeError {
    LakeError::new(LakeErrorKind::Permanent, text)
}

impl BackupStore {
    /// Names a place: a path, or `s3://BUCKET/PREFIX`. Nothing is looked at.
    ///
    /// # Errors
    /// Returns `Permanent` for a text that is neither.
    pub fn at(storage: LakeStorage, place: &str) -> Result<Self, LakeError> {
        let location = if place.contains("://") {
            place.trim_end_matches('/').to_owned()
        } else {
            let path = std::path::absolute(place)
                .map_err(|error| refused(format!("could not find folder {place:?}: {error}")))?;
            format!("file://{}", path.display().to_string().trim_end_matches('/'))
        };
        if normal(&location).is_none() || location.matches('/').count() < 3 {
            let text = format!("found {place:?}, wanted a folder, or s3://BUCKET/PREFIX, for backups");
            return Err(refused(text));
        }
        Ok(Self { storage, root: location })
    }

    /// Returns its location.
    pub fn location(&self) -> &str {
        &self.root
    }

    fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// Returns the folder on this machine, where it is one.
    fn folder(&self) -> Option<PathBuf> {
        self.root.strip_prefix("file://").map(PathBuf::from)
    }

    /// Returns the place of a file of a table.
    pub(crate) fn file(&self, table_folder: &str, path: &str) -> String {
        self.place(&format!("{FILES}/{table_folder}/{path}"))
    }

    pub(crate) fn input(&self, location: &str) -> Result<InputFile, LakeError> {
        self.storage.new_input(location).map_err(|error| lake_error(format_args!("read {location}"), error))
    }

    pub(crate) fn output(&self, location: &str) -> Result<OutputFile, LakeError> {
        self.storage.new_output(location).map_err(|error| lake_error(format_args!("write {location}"), error))
    }

    async fn list(&self, path: &str) -> Result<Vec<StoredFile>, LakeError> {
        let place = self.place(path);
        self.storage.list(&place).await.map_err(|error| lake_error(format_args!("list {place}"), error))
    }

    pub(crate) async fn is_marked(&self) -> Result<bool, LakeError> {
        let place = self.place(MARKER);
        self.storage.exists(&place).await.map_err(|error| lake_error(format_args!("look for {place}"), error))
    }

    /// Takes the place for a new backup: it holds backups already, or nothing.
    pub(crate) async fn begin(&self) -> Result<Option<File>, LakeError> {
        if !self.is_marked().await? {
            let found = self.storage.list(&self.root).await;
            let found = found.map_err(|error| lake_error(format_args!("list {}", self.root), error))?;
            // The lock, or the marker of a backup that was cut off as it began.
            let is_ours = |file: &&StoredFile| {
                let name = file.location.rsplit('/').next().unwrap_or_default();
                plain(&file.location) == plain(&self.place(LOCK)) || name.starts_with(&format!(".{MARKER}."))
            };
            let others = found.iter().filter(|file| !is_ours(file));
            if let Some(file) = others.min_by(|one, other| one.location.cmp(&other.location)) {
                let text = format!(
                    "found {} and no {MARKER} in {}, wanted an empty folder or one with backups: nothing was written; \
                     name another one",
                    file.location, self.root
                );
                return Err(refused(text));
            }
            let place = self.place(MARKER);
            let written = self.storage.write(&place, MARKER_TEXT.into()).await;
            written.map_err(|error| lake_error(format_args!("write {place}"), error))?;
        }
        self.lock()
    }

    /// Takes the lock of a folder, for as long as the file is held. A prefix of an object store has none: whoever
    /// removes backups there leaves alone what is younger than a day.
    fn lock(&self) -> Result<Option<File>, LakeError> {
        let Some(folder) = self.folder() else { return Ok(None) };
        let path = folder.join(LOCK);
        let failed = |error: std::io::Error| crate::embedded::folder_error("lock", &path, error);
        make_folder(&folder).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => {
                let text = format!("another program backs up into {}: wait until it has ended", folder.display());
                Err(LakeError::new(LakeErrorKind::Transient, text))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    async fn wants_marker(&self) -> Result<(), LakeError> {
        if self.is_marked().await? {
            return Ok(());
        }
        let text = format!("found no {MARKER} in {}, wanted a folder or prefix that `rva backup` wrote", self.root);
        Err(refused(text))
    }

    /// Returns the names of the records' files, oldest first.
    pub(crate) async fn record_names(&self) -> Result<Vec<String>, LakeError> {
        self.wants_marker().await?;
        let beginning = format!("{}/", plain(&self.place(RECORDS)));
        let found = self.list(RECORDS).await?;
        let names = found.iter().filter_map(|file| plain(&file.location).strip_prefix(&beginning).map(str::to_owned));
        let mut names: Vec<String> = names.filter(|name| is_record(name)).collect();
        names.sort();
        Ok(names)
    }

    /// Reads a record.
    pub(crate) async fn record(&self, name: &str) -> Result<Backup, LakeError> {
        let place = self.place(&format!("{RECORDS}/{name}"));
        let packed = self.storage.read(&place).await;
        Backup::unpacked(name, &packed.map_err(|error| lake_error(format_args!("read {place}"), error))?)
    }

    pub(crate) async fn put_record(&self, backup: &Backup) -> Result<(), LakeError> {
        let (name, packed) = backup.packed()?;
        let place = self.place(&format!("{RECORDS}/{name}"));
        let written = self.storage.write(&place, packed.into()).await;
        written.map_err(|error| lake_error(format_args!("write {place}"), error))
    }

    /// Returns the backups, oldest first.
    ///
    /// # Errors
    /// Returns `Permanent` where there are none, or for a damaged record, which is named; else it fails as the storage
    /// does.
    #[boxed]
    pub async fn backups(&self) -> Result<Vec<Backup>, LakeError> {
        let mut backups = Vec::new();
        for name in self.record_names().await? {
            backups.push(self.record(&name).await?);
        }
        Ok(backups)
    }

    /// Returns one backup: that of an id or of the beginning of one, or the newest.
    ///
    /// # Errors
    /// Returns `Permanent` where there is no such backup, or it is damaged; else it fails as the storage does.
    #[boxed]
    pub async fn backup(&self, id: Option<&str>) -> Result<Backup, LakeError> {
        let names = self.record_names().await?;
        let hits: Vec<&String> = match id {
            Some(id) => names.iter().filter(|name| name.starts_with(id)).collect(),
            None => names.last().into_iter().collect(),
        };
        match hits[..] {
            [name] => self.record(name).await,
            [] => {
                let wanted = id.map_or_else(|| "one".to_owned(), |id| format!("backup {id}"));
                let text = format!("found {} backups in {}, wanted {wanted}", names.len(), self.root);
                Err(refused(text))
            }
            _ => {
                let found = hits.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                Err(refused(format!("found several backups that begin so ({found}), wanted more of the id")))
            }
        }
    }

    /// Returns the size of each file that is here, by its place in plain spelling.
    pub(crate) async fn present(&self) -> Result<HashMap<String, StoredFile>, LakeError> {
        let found = self.list(FILES).await?;
        Ok(found.into_iter().map(|file| (plain(&file.location), file)).collect())
    }

    /// Returns the locations in the store that are neither ours nor named by a record.
    pub(crate) async fn foreign(&self) -> Result<Vec<String>, LakeError> {
        let found = self.storage.list(&self.root).await;
        let found = found.map_err(|error| lake_error(format_args!("list {}", self.root), error))?;
        let root = format!("{}/", plain(&self.root));
        let is_ours = |path: &str| {
            let record = path.strip_prefix(RECORDS).and_then(|rest| rest.strip_prefix('/'));
            path == MARKER || path == LOCK || path.starts_with("files/") || record.is_some_and(is_record)
        };
        let paths = found.iter().map(|file| plain(&file.location));
        Ok(paths.filter(|place| place.strip_prefix(&root).is_none_or(|path| !is_ours(path))).collect())
    }

    /// Removes all but the newest `keep` backups, and the files that only they named. What no backup ever named goes
    /// too, once it is a day old: a backup that was cut off left it. Files beside those of backups stay.
    ///
    /// # Errors
    /// Returns an error for a damaged record: what it names isn't known, so nothing goes. Else it fails as the storage
    /// does.
    #[boxed]
    pub async fn prune(&self, keep: usize) -> Result<Pruned, LakeError> {
        let _lock = self.lock()?;
        self.prune_locked(keep).await
    }

    pub(crate) async fn prune_locked(&self, keep: usize) -> Result<Pruned, LakeError> {
        let names = self.record_names().await?;
        let (old, kept) = names.split_at(names.len().saturating_sub(keep.max(1)));
        let mut needed = HashSet::new();
        for name in kept {
            needed.extend(self.places_of(&self.record(name).await?));
        }
        let (mut pruned, mut named) = (Pruned::default(), HashSet::new());
        for name in old {
            let backup = self.record(name).await?;
            named.extend(self.places_of(&backup));
            // The record goes first: what is left of a removal that was cut off is named by nobody.
            self.delete(&self.place(&format!("{RECORDS}/{name}"))).await?;
            pruned.backups.push(backup.id);
        }
        let now = SystemTime::now();
        for (place, file) in self.present().await? {
            let is_old = now.duration_since(file.modified).is_ok_and(|age| age > UNNAMED_AGE);
            if !needed.contains(&place) && (named.contains(&place) || is_old) {
                self.delete(&file.location).await?;
                pruned.files += 1;
                pruned.bytes += file.size;
            }
        }
        Ok(pruned)
    }

    /// Returns the places of a backup's files.
    pub(crate) fn places_of(&self, backup: &Backup) -> Vec<String> {
        let tables = backup.tables.iter();
        let places = tables.flat_map(|table| {
            let folder = table.folder();
            table.files.iter().map(move |file| plain(&self.file(&folder, &file.path)))
        });
        places.collect()
    }

    async fn delete(&self, place: &str) -> Result<(), LakeError> {
        match self.storage.delete(place).await {
            Err(error) if !is_not_found(&error) => Err(lake_error(format_args!("delete {place}"), error)),
            _ => Ok(()),
        }
    }
}

fn is_record(name: &str) -> bool {
    name.ends_with(RECORD_ENDING) && !name.contains('/') && !Path::new(name).is_absolute()
}

//! Making a backup.

use crate::backup::capture::{Captured, CapturedTable};
use crate::backup::copy::{COPIES_AT_ONCE, Content, copy};
use crate::backup::record::{Backup, FileBackup, FileKind, RECORD_VERSION, TableBackup};
use crate::backup::store::{BackupStore, Pruned};
use crate::definition::NAMESPACE;
use crate::errors::lake_error;
use crate::lake::Lake;
use crate::seam::{LakeError, LakeErrorKind};
use crate::state::StateKeys;
use crate::storage::{StoredFile, plain};
use async_recursion::async_recursion as boxed;
use futures::{StreamExt, TryStreamExt};
use iceberg::NamespaceIdent;
use iceberg::spec::{Manifest, ManifestList};
use iceberg::table::Table;
use rva_types::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// The number of times that the tables are looked at anew because a file had gone meanwhile.
const LOOKS_MAX: u32 = 5;

/// The outcome of a backup.
#[derive(Debug, Clone)]
pub struct BackupMade {
    /// The backup.
    pub backup: Backup,
    /// The number of files that were copied: those that the store lacked.
    pub files_copied: u64,
    /// The bytes of those files.
    pub bytes_copied: u64,
    /// The number of times that the tables were looked at.
    pub looks: u32,
    /// The older backups that went because only so many are kept.
    pub pruned: Option<Pruned>,
}

/// The files that a store has, by the place in it.
struct Known {
    content: HashMap<String, Content>,
    present: HashMap<String, StoredFile>,
}

impl Known {
    /// Returns what is known of a file that is there whole.
    fn of(&self, place: &str) -> Option<&Content> {
        let place = plain(place);
        let content = self.content.get(&place)?;
        self.present.get(&place).filter(|file| file.size == content.size)?;
        Some(content)
    }
}

#[derive(Default)]
struct Copied {
    files: u64,
    bytes: u64,
}

impl Lake {
    /// Backs up every table of namespace `rva`, as they are at one point in time, while whoever writes goes on. Only
    /// files that the store lacks are copied. With `keep`, older backups than that many go afterwards.
    ///
    /// Tables are looked at in the order in which they follow each other, gold first, so that no position is beyond what
    /// the backup holds of its input. Where a file goes before it was copied (snapshots that expire), the tables are
    /// looked at anew.
    ///
    /// # Errors
    /// Returns `Permanent` for a place that holds something else, or a table that can't be backed up; `Transient` for
    /// no space left, or a folder into which another program backs up. Backups that were made before stay whole.
    #[boxed(?Send)]
    pub async fn back_up(&self, store: &BackupStore, keep: Option<usize>) -> Result<BackupMade, LakeError> {
        let _lock = store.begin().await?;
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        let mut known = known(store).await?;
        let mut copied = Copied::default();
        let mut looks = 0;
        let captured = loop {
            looks += 1;
            let captured = self.capture(&namespace).await?;
            match copy_all(store, &captured, &mut known, &mut copied).await {
                Ok(tables) => break (captured, tables),
                Err(error) if error.kind() == LakeErrorKind::Conflict && looks < LOOKS_MAX => {
                    tracing::info!(%error, "a file went while it was backed up, looks at the tables anew");
                }
                Err(error) => return Err(error),
            }
        };
        let (captured, tables) = captured;
        let backup = Backup {
            version: RECORD_VERSION,
            id: id_of(captured.made_ms),
            made_ms: captured.made_ms,
            namespace: NAMESPACE.to_owned(),
            properties: captured.properties,
            tables,
            left_out: captured.left_out,
        };
        store.put_record(&backup).await?;
        let pruned = match keep {
            Some(keep) => Some(store.prune_locked(keep).await?),
            None => None,
        };
        Ok(BackupMade { backup, files_copied: copied.files, bytes_copied: copied.bytes, looks, pruned })
    }
}

/// Returns the id of a backup: `20260131T080000.000Z-0011aabb`, in order of time.
fn id_of(made_ms: i64) -> String {
    let time = Timestamp::from_micros(made_ms.saturating_mul(1000)).to_string();
    let digits: String = time.chars().take(23).filter(|c| !matches!(c, '-' | ':')).collect();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{digits}Z-{}", random.get(..8).unwrap_or(&random))
}

/// Returns when a backup of this id was made, in milliseconds since 1970; `None` for what is no id.
fn made_ms_of(id: &str) -> Option<i64> {
    let (day, time) = id.split_once('T')?;
    let (year, month, day) = (day.get(..4)?, day.get(4..6)?, day.get(6..)?);
    let (hour, minute, second) = (time.get(..2)?, time.get(2..4)?, time.get(4..10)?);
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    Timestamp::parse(&text).ok().map(|time| time.as_micros() / 1000)
}

impl BackupStore {
    /// Returns when the newest backup was made, in milliseconds since 1970, by the names of the records alone; `None`
    /// where there is none.
    ///
    /// # Errors
    /// Fails as the storage does.
    pub async fn newest_made_ms(&self) -> Result<Option<i64>, LakeError> {
        if !self.is_marked().await? {
            return Ok(None);
        }
        Ok(self.record_names().await?.iter().rev().find_map(|name| made_ms_of(name)))
    }
}

async fn known(store: &BackupStore) -> Result<Known, LakeError> {
    let mut content = HashMap::new();
    let names = store.record_names().await?;
    let newest = match names.last() {
        Some(name) => store.record(name).await.map_or_else(
            |error| {
                tracing::warn!(%error, "the newest backup's record can't be read, copies every file");
                None
            },
            Some,
        ),
        None => None,
    };
    if let Some(backup) = newest {
        for table in &backup.tables {
            for file in &table.files {
                let place = plain(&store.file(&table.folder(), &file.path));
                content.insert(place, Content { size: file.size, sha256: file.sha256.clone() });
            }
        }
    }
    Ok(Known { content, present: store.present().await? })
}

async fn copy_all(
    store: &BackupStore,
    captured: &Captured,
    known: &mut Known,
    copied: &mut Copied,
) -> Result<Vec<TableBackup>, LakeError> {
    let mut wanted = Vec::new();
    // What says which files there are goes first, so it comes first: data files stay for a day after their last
    // snapshot went.
    for of_table in &captured.tables {
        let mut files = BTreeMap::new();
        for (location, kind) in lists(of_table) {
            files.insert(location, kind);
        }
        let mut done = copy_files(store, of_table, &files, known, copied).await?;
        let manifests = manifests(store, of_table, &done).await?;
        let copies = copy_files(store, of_table, &manifests, known, copied).await?;
        let data = data_files(store, of_table, &copies).await?;
        done.extend(copies);
        wanted.push((done, data));
    }
    let mut tables = Vec::new();
    for (of_table, (mut files, data)) in captured.tables.iter().zip(wanted) {
        files.extend(copy_files(store, of_table, &data, known, copied).await?);
        tables.push(TableBackup {
            name: of_table.table.identifier().name().to_owned(),
            sequence: of_table.metadata.current_snapshot().map_or(0, |snapshot| snapshot.sequence_number()),
            metadata: of_table.metadata.clone(),
            files,
        });
    }
    Ok(tables)
}

/// Returns the files that the metadata names.
fn lists(of_table: &CapturedTable) -> Vec<(String, FileKind)> {
    let mut files = Vec::new();
    for snapshot in of_table.metadata.snapshots() {
        files.push((snapshot.manifest_list().to_owned(), FileKind::ManifestList));
        files.extend(StateKeys::offsets_files(snapshot).into_iter().map(|file| (file, FileKind::Offsets)));
    }
    files
}

async fn manifests(
    store: &BackupStore,
    of_table: &CapturedTable,
    lists: &[FileBackup],
) -> Result<BTreeMap<String, FileKind>, LakeError> {
    let mut found = BTreeMap::new();
    let version = of_table.metadata.format_version();
    for file in lists.iter().filter(|file| file.kind == FileKind::ManifestList) {
        let bytes = read(store, of_table, file).await?;
        let list = ManifestList::parse_with_version(&bytes, version);
        let list = list.map_err(|error| lake_error(format_args!("read {}", file.location), error))?;
        found.extend(list.entries().iter().map(|file| (file.manifest_path.clone(), FileKind::Manifest)));
    }
    Ok(found)
}

async fn data_files(
    store: &BackupStore,
    of_table: &CapturedTable,
    manifests: &[FileBackup],
) -> Result<BTreeMap<String, FileKind>, LakeError> {
    let reading = manifests.iter().map(|file| async move {
        let bytes = read(store, of_table, file).await?;
        let manifest = Manifest::parse_avro(&bytes);
        let manifest = manifest.map_err(|error| lake_error(format_args!("read {}", file.location), error))?;
        let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
        Ok::<_, LakeError>(alive.map(|entry| entry.file_path().to_owned()).collect::<Vec<_>>())
    });
    let reading: Vec<_> = reading.collect();
    let mut reading = futures::stream::iter(reading).buffer_unordered(COPIES_AT_ONCE);
    let mut found = BTreeMap::new();
    while let Some(paths) = reading.try_next().await? {
        found.extend(paths.into_iter().map(|path| (path, FileKind::Data)));
    }
    Ok(found)
}

/// Reads a file of the table as the store has it.
async fn read(store: &BackupStore, of_table: &CapturedTable, file: &FileBackup) -> Result<bytes::Bytes, LakeError> {
    let place = store.file(&of_table.metadata.uuid().to_string(), &file.path);
    let read = store.input(&place)?.read().await;
    read.map_err(|error| lake_error(format_args!("read {place}"), error))
}

async fn copy_files(
    store: &BackupStore,
    of_table: &CapturedTable,
    files: &BTreeMap<String, FileKind>,
    known: &mut Known,
    copied: &mut Copied,
) -> Result<Vec<FileBackup>, LakeError> {
    let folder = of_table.metadata.uuid().to_string();
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for (location, kind) in files {
        let path = path_of(of_table.metadata.location(), location);
        let place = store.file(&folder, &path);
        let file = |content: &Content| FileBackup {
            location: location.clone(),
            path: path.clone(),
            kind: *kind,
            size: content.size,
            sha256: content.sha256.clone(),
        };
        match known.of(&place) {
            Some(content) => done.push(file(content)),
            None => missing.push((location.clone(), path.clone(), place, *kind)),
        }
    }
    let copies = missing.into_iter().map(|(location, path, place, kind)| async move {
        let content = copy_in(store, &of_table.table, &location, &place).await?;
        Ok::<_, LakeError>((location, path, place, kind, content))
    });
    let copies: Vec<_> = copies.collect();
    let mut copies = futures::stream::iter(copies).buffer_unordered(COPIES_AT_ONCE);
    while let Some((location, path, place, kind, content)) = copies.try_next().await? {
        copied.files += 1;
        copied.bytes += content.size;
        let stored = StoredFile { location: place.clone(), size: content.size, modified: std::time::SystemTime::now() };
        known.present.insert(plain(&place), stored);
        known.content.insert(plain(&place), content.clone());
        done.push(FileBackup { location, path, kind, size: content.size, sha256: content.sha256 });
    }
    done.sort_by(|one, other| one.location.cmp(&other.location));
    Ok(done)
}

async fn copy_in(store: &BackupStore, table: &Table, location: &str, place: &str) -> Result<Content, LakeError> {
    let failed = |error| {
        let ident = table.identifier();
        lake_error(format_args!("back up {location} of {ident} as {place}"), error)
    };
    let input = table.file_io().new_input(location).map_err(failed)?;
    copy(&input, &store.output(place)?, None).await.map_err(failed)
}

/// Returns the path of a file in its table's folder; a file that another engine put elsewhere has one of its own.
fn path_of(table: &str, location: &str) -> String {
    let inside = plain(location).strip_prefix(&plain(table)).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
    inside.unwrap_or_else(|| {
        let digest = crate::backup::record::digest(plain(location).as_bytes());
        let name = location.rsplit('/').next().unwrap_or(location);
        format!("elsewhere/{}/{name}", digest.get(..16).unwrap_or(&digest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_path_in_the_tables_folder_and_one_outside_has_a_path_of_its_own() {
        assert_eq!(path_of("s3://lake/t", "s3a://lake/t/data/x=1/f.parquet"), "data/x=1/f.parquet");
        assert_eq!(path_of("file:///w/t", "/w/t/metadata/m.avro"), "metadata/m.avro");
        let (one, other) = (path_of("/w/t", "/w/t2/f"), path_of("/w/t", "/w/t3/f"));
        assert!(one.starts_with("elsewhere/") && one.ends_with("/f") && one != other, "{one} {other}");
    }

    #[test]
    fn ids_are_in_the_order_of_their_times() {
        let ids = [0, 999, 1_000, 86_400_000, 1_769_846_400_000].map(id_of);
        assert!(ids[4].starts_with("20260131T080000.000Z-") && ids[4].len() == 29, "{}", ids[4]);
        assert!(ids[0] < ids[1] && ids[1] < ids[2] && ids[2] < ids[3] && ids[3] < ids[4]);
        let times = ids.each_ref().map(|id| made_ms_of(id));
        assert_eq!(times, [0, 999, 1_000, 86_400_000, 1_769_846_400_000].map(Some));
        assert_eq!(["", "T", "2026T08", "20261331T080000.000Z-0011aabb", "äöüßT"].map(made_ms_of), [None; 5]);
    }
}

//! Erases a table's past for good: old snapshots, and every file that only they name.
//!
//! Files go before the snapshots that name them: data files, then manifests, then lists. Whoever is killed half-way
//! leaves snapshots that can't be read and that say what is still to go, so that the same call ends what it began. The
//! snapshots that stay are whole at each step.

use super::matching::Matcher;
use super::rows::rows_of;
use crate::errors::{is_not_found, lake_error};
use crate::followers::furthest_behind;
use crate::housekeeping::{gc_enabled, referenced};
use crate::lake::Lake;
use crate::neighbours::{Look, Neighbours};
use crate::offsets::OFFSETS_ENDING;
use crate::places::TablePlaces;
use crate::seam::LakeError;
use crate::snapshots::{covering, metadata_files};
use crate::state::REFINE_JOB;
use crate::state::StateKeys;
use crate::storage::{StoredFile, plain};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, ManifestContentType, SnapshotRef};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Result, TableIdent};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The number of files that are deleted at the same time.
const DELETES_AT_ONCE: usize = 16;

/// The number of times that the expiry is tried while others commit.
const ATTEMPTS_MAX: u32 = 8;

/// The part of a table's past that went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErasedPast {
    /// The table's name, without the namespace.
    pub table: String,
    /// The snapshots that can't be read back to any more.
    pub snapshots: u64,
    /// The files that went: data, manifests, lists, metadata.
    pub files: u64,
    /// The bytes of the data files among them.
    pub bytes: u64,
    /// Files that stay and may hold chosen rows, and why, in words.
    pub left: Vec<String>,
}

/// The files that some snapshots name, by their place in plain spelling.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub lists: BTreeMap<String, String>,
    pub manifests: BTreeMap<String, String>,
    /// Whether a file is alive in one of them, and the file.
    pub files: BTreeMap<String, (bool, DataFile)>,
    /// Whether a list or a manifest has gone already.
    pub is_broken: bool,
}

impl Named {
    /// Reads lists and manifests, but for manifests that are known.
    pub(super) async fn of(table: &Table, snapshots: &[SnapshotRef], known: &HashSet<String>) -> Result<Self> {
        let mut named = Self::default();
        for snapshot in snapshots {
            let location = snapshot.manifest_list();
            named.lists.insert(plain(location), location.to_owned());
            let list = match table.manifest_list_reader(snapshot).load().await {
                Ok(list) => list,
                Err(error) if is_not_found(&error) => {
                    named.is_broken = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            for manifest in list.entries() {
                let place = plain(&manifest.manifest_path);
                if known.contains(&place) || named.manifests.contains_key(&place) {
                    continue;
                }
                named.manifests.insert(place, manifest.manifest_path.clone());
                let loaded = match manifest.load_manifest(table.file_io()).await {
                    Ok(loaded) => loaded,
                    Err(error) if is_not_found(&error) => {
                        named.is_broken = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for entry in loaded.entries() {
                    let file = named.files.entry(plain(entry.file_path()));
                    let held = file.or_insert_with(|| (false, entry.data_file().clone()));
                    held.0 |= entry.is_alive();
                }
            }
        }
        Ok(named)
    }
}

/// The past of a table, as far as chosen rows may lie in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Past {
    /// The files that aren't alive any more, that something still names, and that hold chosen rows, or can't be read.
    pub files: u64,
    /// Whether an erasure was cut off.
    pub is_broken: bool,
}

impl Past {
    pub(super) fn is_clean(&self) -> bool {
        self.files == 0 && !self.is_broken
    }
}

/// Looks for chosen rows in the past of a table: in files that its snapshots name and the newest doesn't have alive. It
/// stops at the first one unless all are to be `counted`.
///
/// # Errors
/// Fails as the storage does.
pub(super) async fn past(table: &Table, matcher: &Matcher, counted: bool) -> std::result::Result<Past, LakeError> {
    let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
    let metadata = table.metadata();
    let Some(current) = metadata.current_snapshot() else { return Ok(Past::default()) };
    let now = Named::of(table, std::slice::from_ref(current), &HashSet::new()).await.map_err(failed)?;
    let known: HashSet<String> = now.manifests.keys().cloned().collect();
    let older: Vec<SnapshotRef> =
        covering(metadata).into_iter().filter(|snapshot| snapshot.snapshot_id() != current.snapshot_id()).collect();
    let older = Named::of(table, &older, &known).await.map_err(failed)?;
    let is_alive = |place: &String| now.files.get(place).is_some_and(|(is_alive, _)| *is_alive);
    let schema = metadata.current_schema();
    let gone: BTreeMap<&String, &str> = now
        .files
        .iter()
        .chain(&older.files)
        .filter(|(place, (_, file))| !is_alive(place) && matcher.may_hold(file, schema))
        .map(|(place, (_, file))| (place, file.file_path()))
        .collect();
    let mut past = Past { files: 0, is_broken: now.is_broken || older.is_broken };
    // One after the other: a file is in memory whole.
    for path in gone.into_values() {
        past.files += u64::from(rows_of(table, path, matcher).await != Some(0));
        if past.files > 0 && !counted {
            break;
        }
    }
    Ok(past)
}

/// Returns whether the newest snapshot names files that have gone: their bounds stand in its manifests.
pub(super) async fn names_gone(table: &Table) -> Result<bool> {
    let Some(current) = table.metadata().current_snapshot() else { return Ok(false) };
    let list = table.manifest_list_reader(current).load().await?;
    let data = list.entries().iter().filter(|manifest| manifest.content == ManifestContentType::Data);
    Ok(data.into_iter().any(|manifest| manifest.has_deleted_files()))
}

async fn deleted(io: FileIO, file: String) -> Result<()> {
    io.delete(file).await
}

/// One table whose past goes.
pub(super) struct Erasing<'a> {
    pub lake: &'a Lake,
    pub ident: TableIdent,
    pub matcher: &'a Matcher,
    /// The number of the first snapshot that stays; `None` where the past holds no chosen rows, and stays.
    pub first_kept: Option<i64>,
}

impl ErasedPast {
    /// Returns whether nothing went, and nothing stays that should go.
    pub(super) fn is_nothing(&self) -> bool {
        self.snapshots + self.files == 0 && self.left.is_empty()
    }
}

impl Erasing<'_> {
    pub(super) async fn load(&self) -> Result<Table> {
        self.lake.catalog.load_table(&self.ident).await
    }

    /// Deletes files in the table's own places, many at the same time.
    async fn delete(&self, table: &Table, places: &TablePlaces, files: &[String]) -> Result<u64> {
        let own: Vec<String> = files.iter().filter(|file| places.hold(file)).cloned().collect();
        let count = own.len() as u64;
        let deleting: Vec<_> = own.into_iter().map(|file| deleted(table.file_io().clone(), file)).collect();
        futures::stream::iter(deleting).buffer_unordered(DELETES_AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(count)
    }

    /// Erases the past of the table, or says why something stays.
    ///
    /// # Errors
    /// Fails as catalog and storage do. What has gone has gone, and the same call ends what it began.
    pub(super) async fn run(&self) -> std::result::Result<ErasedPast, LakeError> {
        let failed = |error| lake_error(format_args!("erase the past of {}", self.ident), error);
        let mut erased = ErasedPast { table: self.ident.name().to_owned(), ..ErasedPast::default() };
        let table = self.load().await.map_err(failed)?;
        let places = TablePlaces::of(table.metadata(), &self.lake.options.allowed);
        if let Some(first_kept) = self.first_kept {
            if let Some(why) = self.hindered(&table, &places).await? {
                erased.left.push(why);
                return Ok(erased);
            }
            self.snapshots(&table, &places, first_kept, &mut erased).await.map_err(failed)?;
            let table = self.load().await.map_err(failed)?;
            self.metadata(&table, &places, &mut erased).await.map_err(failed)?;
        }
        self.strangers(&places, &mut erased).await?;
        Ok(erased)
    }

    /// Returns why nothing of the table's past may go.
    pub(super) async fn hindered(
        &self,
        table: &Table,
        places: &TablePlaces,
    ) -> std::result::Result<Option<String>, LakeError> {
        let failed = |error| lake_error(format_args!("erase the past of {}", self.ident), error);
        if !gc_enabled(table.metadata()) {
            return Ok(Some("its property gc.enabled is false: set it to true, then ask again".to_owned()));
        }
        for job in [&self.lake.options.job, &REFINE_JOB] {
            let stored = StateKeys::of_job(job).read(table).await?;
            let held = stored.held.as_ref().map_or(0, |state| state.sequence);
            // Afterwards a job's state is that of the property alone: it must be the one that holds.
            if stored.rolled_back_from.is_some() || held > stored.mirror_sequence {
                return Ok(Some(format!(
                    "it was rolled back, and {job} hasn't gone on since: run `rva {job} --drain`, then ask again"
                )));
            }
        }
        let catalog = self.lake.catalog.as_ref();
        let mut neighbours = Neighbours::knowing(self.lake.options.homes.clone());
        let pointing = neighbours.pointing(catalog, table, places, Look::Everything).await;
        if let Some(why) = pointing.map_err(failed)? {
            return Ok(Some(format!("{why}: drop it, then ask again")));
        }
        let first = self.first_kept.and_then(|first| u64::try_from(first).ok()).unwrap_or(0);
        let follower = furthest_behind(catalog, table).await?.filter(|follower| follower.position < first);
        Ok(follower.map(|follower| {
            format!("rva.{} hasn't read what came since: run `rva refine --drain`, then ask again", follower.name)
        }))
    }

    /// Deletes what only old snapshots name, and expires them.
    async fn snapshots(
        &self,
        table: &Table,
        places: &TablePlaces,
        first_kept: i64,
        erased: &mut ErasedPast,
    ) -> Result<()> {
        let held = referenced(table.metadata());
        let is_old = |snapshot: &&SnapshotRef| snapshot.sequence_number() < first_kept;
        let all: Vec<SnapshotRef> = table.metadata().snapshots().cloned().collect();
        let pinned = all.iter().filter(is_old).filter(|snapshot| held.contains(&snapshot.snapshot_id())).count();
        if pinned > 0 {
            let text = format!("a branch or a tag keeps {pinned} old snapshots: drop it, then ask again");
            erased.left.push(text);
        }
        let (old, kept): (Vec<SnapshotRef>, Vec<SnapshotRef>) =
            all.into_iter().partition(|snapshot| is_old(&snapshot) && !held.contains(&snapshot.snapshot_id()));
        if old.is_empty() {
            return Ok(());
        }
        let kept_names = Named::of(table, &kept, &HashSet::new()).await?;
        let known: HashSet<String> = kept_names.manifests.keys().cloned().collect();
        let names = Named::of(table, &old, &known).await?;
        let data = names.files.iter().filter(|(place, _)| !kept_names.files.contains_key(*place));
        let (mut paths, mut bytes) = (Vec::new(), 0);
        for (_, (_, file)) in data {
            bytes += file.file_size_in_bytes();
            paths.push(file.file_path().to_owned());
        }
        erased.files += self.delete(table, places, &paths).await?;
        let manifests: Vec<String> = names.manifests.values().cloned().collect();
        erased.files += self.delete(table, places, &manifests).await?;
        let lists = names.lists.iter().filter(|(place, _)| !kept_names.lists.contains_key(*place));
        let lists: Vec<String> = lists.map(|(_, location)| location.clone()).collect();
        erased.files += self.delete(table, places, &lists).await?;
        erased.bytes += bytes;
        let beside = beside(table, &old, &kept);
        self.expire(&old).await?;
        erased.files += self.delete(table, places, &beside).await?;
        erased.snapshots += old.len() as u64;
        Ok(())
    }

    /// Expires snapshots, however many attempts others make of it.
    async fn expire(&self, old: &[SnapshotRef]) -> Result<()> {
        let mut last = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(self.lake.options.retry.wait_first).await;
            }
            let table = self.load().await?;
            let left = old.iter().map(|snapshot| snapshot.snapshot_id());
            let left: Vec<i64> = left.filter(|id| table.metadata().snapshot_by_id(*id).is_some()).collect();
            if left.is_empty() {
                return Ok(());
            }
            let transaction = Transaction::new(&table);
            let action = transaction.expire_snapshots().expire_older_than_ms(0).expire_snapshot_ids(left);
            // Its outcome is as unknown as that of any commit: the next look says it.
            last = action.apply(transaction)?.commit(self.lake.catalog.as_ref()).await.err();
        }
        let table = self.load().await?;
        match last.filter(|_| old.iter().any(|one| table.metadata().snapshot_by_id(one.snapshot_id()).is_some())) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Deletes the metadata files before the newest: those that the log names, and those that fell out of it.
    async fn metadata(&self, table: &Table, places: &TablePlaces, erased: &mut ErasedPast) -> Result<()> {
        let current = table.metadata_location().unwrap_or_default();
        let mut old: BTreeMap<String, String> = metadata_files(table).map(|at| (plain(at), at.to_owned())).collect();
        for file in self.listed(table).await.unwrap_or_default() {
            // A commit that is on its way has a larger number than the table.
            if version(&file.location).zip(version(current)).is_some_and(|(found, now)| found <= now) {
                old.insert(plain(&file.location), file.location);
            }
        }
        old.remove(&plain(current));
        let mut there = Vec::new();
        for location in old.into_values() {
            if location.ends_with(".metadata.json") && table.file_io().exists(&location).await? {
                there.push(location);
            }
        }
        erased.files += self.delete(table, places, &there).await?;
        Ok(())
    }

    pub(super) async fn listed(&self, table: &Table) -> Result<Vec<StoredFile>> {
        self.lake.options.lister.storage().list(table.metadata().location()).await
    }
}

/// Returns the number in the name of a metadata file, `00012-….metadata.json`.
fn version(location: &str) -> Option<u64> {
    let name = location.rsplit('/').next()?.strip_suffix(".metadata.json")?;
    name.split_once('-')?.0.parse().ok()
}

/// Returns the files beside the metadata that only old snapshots name: maps of offsets, statistics.
fn beside(table: &Table, old: &[SnapshotRef], kept: &[SnapshotRef]) -> Vec<String> {
    let maps = |snapshots: &[SnapshotRef]| -> BTreeSet<String> {
        snapshots.iter().flat_map(|snapshot| StateKeys::offsets_files(snapshot)).collect()
    };
    let mut files: Vec<String> =
        maps(old).difference(&maps(kept)).filter(|file| file.ends_with(OFFSETS_ENDING)).cloned().collect();
    for snapshot in old {
        let id = snapshot.snapshot_id();
        files.extend(table.metadata().statistics_for_snapshot(id).map(|file| file.statistics_path.clone()));
        files.extend(table.metadata().partition_statistics_for_snapshot(id).map(|file| file.statistics_path.clone()));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_files_are_told_by_the_number_in_their_names() {
        assert_eq!(version("file:///t/metadata/00012-0190.metadata.json"), Some(12));
        for other in ["/t/metadata/v3.metadata.json", "/t/metadata/00012-x.avro", "x", ""] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}

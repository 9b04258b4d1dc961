//! Housekeeping, part of the job: files that nothing references any more go, or metadata eats the disk.
//!
//! Only files in the table's own folders are ever deleted, and only while no other table points into them: a renamed
//! table, or a copy that was registered, shares them.
//!
//! Our own appends make this cheap. Their manifest list holds every manifest of the parent's, so a snapshot whose child
//! is ours can expire without reading a list: only its own list becomes unreferenced.

use crate::errors::lake_error;
use crate::files::{FileList, named_files};
use crate::followers::{Follower, furthest_behind};
use crate::neighbours::{Homes, Look, Neighbours};
use crate::offsets::OFFSETS_ENDING;
use crate::options::{CommitStep, HousekeepingLimits, LakeOptions};
use crate::orphans::{Verdict, is_all_young, judge};
use crate::places::TablePlaces;
use crate::seam::LakeError;
use crate::snapshots::{covering, ends, metadata_files};
use crate::state::StateKeys;
use crate::storage::{StoredFile, plain};
use iceberg::spec::{ManifestFile, SnapshotRef, TableMetadata};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::util::snapshot::ancestors_of;
use iceberg::{Catalog, Result};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The multiple of the wanted number of snapshots from which on a follower that holds more back is warned of: each
/// makes every commit a little slower.
const HELD_TIMES: usize = 4;

/// Returns the current snapshot and its ancestors, newest first.
fn lineage(table: &Table) -> Vec<SnapshotRef> {
    let metadata = table.metadata_ref();
    metadata.current_snapshot_id().map(|id| ancestors_of(&metadata, id).collect()).unwrap_or_default()
}

/// Returns the snapshots that a branch or a tag besides `main` still needs.
pub(crate) fn referenced(metadata: &TableMetadata) -> HashSet<i64> {
    // iceberg doesn't list refs; they are in the metadata's own form.
    let json = serde_json::to_value(metadata).unwrap_or_default();
    let heads = json.get("refs").and_then(|refs| refs.as_object()).into_iter().flatten();
    let mut needed = HashSet::new();
    for (name, reference) in heads {
        let mut next = (name != "main").then(|| reference.get("snapshot-id").and_then(|id| id.as_i64())).flatten();
        while let Some(snapshot) = next.and_then(|id| metadata.snapshot_by_id(id)) {
            if !needed.insert(snapshot.snapshot_id()) {
                break;
            }
            next = snapshot.parent_snapshot_id();
        }
    }
    needed
}

fn made(snapshot: &SnapshotRef) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(snapshot.timestamp_ms()).unwrap_or(0))
}

/// Names the property of a table with the milliseconds for which its snapshots stay, as every engine knows it.
const AGE_MAX: &str = "history.expire.max-snapshot-age-ms";

/// Names the property of a table with the number of snapshots that stay however old they are.
const KEPT_MIN: &str = "history.expire.min-snapshots-to-keep";

/// Returns the limits of one table: what its own properties say goes before the configuration. With one that
/// isn't a number the expiry itself fails, and says so.
fn limits_of(table: &Table, limits: HousekeepingLimits) -> HousekeepingLimits {
    let number = |name: &str| table.metadata().properties().get(name)?.trim().parse::<u64>().ok();
    let kept_max = match table.identifier().name().starts_with("gold_") {
        true => limits.snapshots_kept.min(limits.gold_snapshots_kept),
        false => limits.snapshots_kept,
    };
    let snapshots_age = number(AGE_MAX).map_or(limits.snapshots_age, Duration::from_millis);
    let kept_min = number(KEPT_MIN).map(|kept| usize::try_from(kept).unwrap_or(usize::MAX));
    let snapshots_min = kept_min.unwrap_or(limits.snapshots_min);
    HousekeepingLimits { snapshots_age, snapshots_min, snapshots_kept: kept_max.max(snapshots_min), ..limits }
}

/// Returns the number of snapshots of a lineage, newest first, that stay: the newest, as far as they aren't old. One is
/// as old as the one that took its place, since a query may have begun on it until then.
fn young(lineage: &[SnapshotRef], limits: &HousekeepingLimits, now: SystemTime) -> usize {
    let followed = lineage.iter().take_while(|snapshot| age_of(made(snapshot), now) <= limits.snapshots_age).count();
    limits.snapshots_kept.min(followed + 1).max(limits.snapshots_min).min(lineage.len()).max(1)
}

/// The plan of an expiry.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    pub expired: Vec<SnapshotRef>,
    /// The properties that lead to snapshots which stay although their descendants go.
    pub anchors: Vec<(String, String)>,
}

/// Plans the snapshots to expire: those of the lineage that are old or beyond the newest, and old ones outside it. The newest that
/// carries a job's map always stays, and so does one that the table was rolled back from: it is how a rollback is told.
/// What a follower hasn't read, and what it read last, stays too.
pub(crate) fn expiry(
    table: &Table,
    limits: &HousekeepingLimits,
    now: SystemTime,
    follower: Option<&Follower>,
) -> Expiry {
    let metadata = table.metadata();
    let lineage = lineage(table);
    let newest = young(&lineage, limits, now);
    let mut kept = referenced(metadata);
    kept.extend(lineage.iter().take(newest).map(|snapshot| snapshot.snapshot_id()));
    let (mut jobs, mut anchors) = (HashSet::new(), Vec::new());
    for (at, snapshot) in lineage.iter().enumerate() {
        for keys in StateKeys::of_snapshot(snapshot) {
            if jobs.insert(keys.anchor_key().to_owned()) {
                kept.insert(snapshot.snapshot_id());
                if at >= newest {
                    anchors.push((keys.anchor_key().to_owned(), snapshot.snapshot_id().to_string()));
                }
            }
        }
    }
    for snapshot in metadata.snapshots() {
        for keys in StateKeys::of_snapshot(snapshot) {
            let anchored = keys.anchored(metadata).map(|anchor| anchor.snapshot_id());
            let needed = !jobs.contains(keys.anchor_key()) && anchored == Some(snapshot.snapshot_id());
            if needed || keys.is_mirrored(metadata, snapshot) {
                kept.insert(snapshot.snapshot_id());
            }
        }
    }
    let ours: HashSet<i64> = lineage.iter().map(|snapshot| snapshot.snapshot_id()).collect();
    let too_old = |snapshot: &SnapshotRef| age_of(made(snapshot), now) > limits.orphan_age;
    let is_read = |snapshot: &SnapshotRef| {
        let number = u64::try_from(snapshot.sequence_number()).unwrap_or(0);
        follower.is_none_or(|follower| number < follower.position)
    };
    let expired = metadata
        .snapshots()
        .filter(|snapshot| is_read(snapshot))
        .filter(|snapshot| !kept.contains(&snapshot.snapshot_id()))
        .filter(|snapshot| ours.contains(&snapshot.snapshot_id()) || too_old(snapshot))
        .cloned()
        .collect();
    Expiry { expired, anchors }
}

async fn manifests_of(table: &Table, snapshots: &[SnapshotRef]) -> Result<HashMap<String, ManifestFile>> {
    let mut manifests = HashMap::new();
    for snapshot in snapshots {
        let list = table.manifest_list_reader(snapshot).load().await?;
        manifests.extend(list.consume_entries().into_iter().map(|file| (plain(&file.manifest_path), file)));
    }
    Ok(manifests)
}

/// A housekeeper that keeps one table's folder in bounds.
#[derive(Debug, Default)]
pub(crate) struct Housekeeper {
    /// The metadata.json files that were in the table's log; those that fell out of it are deleted.
    metadata_seen: BTreeSet<String>,
    walked: Option<SystemTime>,
    /// The number of snapshots that the last expiry left, as far as they are more than it wanted to.
    held_back: usize,
    neighbours: Neighbours,
    /// The reason why nothing may be deleted, and the time when it was found.
    shared: Option<(String, SystemTime)>,
}

impl Housekeeper {
    /// Makes one that knows of other tables what all of a lake know together.
    pub(crate) fn knowing(homes: Homes) -> Self {
        Self { neighbours: Neighbours::knowing(homes), ..Self::default() }
    }

    /// Does what is due after a known commit, most times nothing.
    ///
    /// # Errors
    /// Fails as catalog and storage do. Work that was not done is done later, by this process or the walk of another.
    pub(crate) async fn after_commit(
        &mut self,
        catalog: &Arc<dyn Catalog>,
        table: &Table,
        files: &mut FileList,
        options: &LakeOptions,
    ) -> std::result::Result<(), LakeError> {
        let limits = limits_of(table, options.housekeeping);
        let now = SystemTime::now();
        let fallen = self.fallen_out(table);
        let is_due = |last: Option<SystemTime>| last.is_none_or(|last| age_of(last, now) > limits.walk_every);
        let walk = is_due(self.walked);
        let snapshots = table.metadata().snapshots().len();
        let many = snapshots > limits.snapshots_kept.max(self.held_back).saturating_add(limits.snapshots_slack);
        let old = snapshots - young(&lineage(table), &limits, now).min(snapshots);
        let expire = many || old > self.held_back.saturating_add(limits.snapshots_slack) || (walk && old > 0);
        let shared = self.shared.as_ref().is_some_and(|(_, when)| !is_due(Some(*when)));
        let sweep = fallen.len() > limits.snapshots_slack && !shared;
        if !(expire || walk || sweep) || !gc_enabled(table.metadata()) {
            return Ok(());
        }
        options.step(CommitStep::Housekeeping);
        let failed = |error| lake_error(format_args!("keep house in {}", table.identifier()), error);
        let places = TablePlaces::of(table.metadata(), &options.allowed);
        let alone = !shared && self.is_alone(catalog, table, &places, Look::Metadata).await.map_err(failed)?;
        if sweep && alone {
            for location in &fallen {
                if places.hold(location) && location.ends_with(".metadata.json") {
                    table.file_io().delete(location).await.map_err(failed)?;
                }
                self.metadata_seen.remove(location);
            }
        }
        let mut table = table.clone();
        if expire {
            let deleting = alone.then_some(&places);
            let follower = furthest_behind(catalog.as_ref(), &table).await?;
            table = self.expire(catalog, &table, &limits, now, deleting, follower.as_ref()).await.map_err(failed)?;
            self.held_back = table.metadata().snapshots().len();
            if let Some(follower) =
                follower.filter(|_| self.held_back > limits.snapshots_kept.saturating_mul(HELD_TIMES))
            {
                tracing::warn!(
                    table = %table.identifier(),
                    follower = follower.name,
                    snapshots = self.held_back,
                    "keeps snapshots that a follower hasn't read: run `rva refine`, or drop the table that follows"
                );
            }
        }
        if walk {
            // Even if it fails it isn't repeated at every commit.
            self.walked = Some(now);
            self.walk(catalog, &table, files, options).await?;
        }
        Ok(())
    }

    /// Returns whether no other table needs what is in our folders. Says once why not.
    async fn is_alone(
        &mut self,
        catalog: &Arc<dyn Catalog>,
        table: &Table,
        places: &TablePlaces,
        look: Look,
    ) -> Result<bool> {
        let Some(why) = self.neighbours.pointing(catalog.as_ref(), table, places, look).await? else {
            self.shared = None;
            return Ok(true);
        };
        if self.shared.as_ref().is_none_or(|(said, _)| *said != why) {
            tracing::info!(table = %table.identifier(), reason = %why, "deletes no old files of the table");
        }
        self.shared = Some((why, SystemTime::now()));
        Ok(false)
    }

    /// Notes the metadata files of the log, and returns those that were in it and aren't any more.
    fn fallen_out(&mut self, table: &Table) -> Vec<String> {
        let log: HashSet<&str> = metadata_files(table).collect();
        for location in &log {
            if !self.metadata_seen.contains(*location) {
                self.metadata_seen.insert((*location).to_owned());
            }
        }
        self.metadata_seen.iter().filter(|location| !log.contains(location.as_str())).cloned().collect()
    }

    /// Expires snapshots that every follower has read, and deletes what only they needed where `deleting` holds it.
    async fn expire(
        &mut self,
        catalog: &Arc<dyn Catalog>,
        table: &Table,
        limits: &HousekeepingLimits,
        now: SystemTime,
        deleting: Option<&TablePlaces>,
        follower: Option<&Follower>,
    ) -> Result<Table> {
        let Expiry { expired, anchors } = expiry(table, limits, now, follower);
        if expired.is_empty() {
            return Ok(table.clone());
        }
        let ids: HashSet<i64> = expired.iter().map(|snapshot| snapshot.snapshot_id()).collect();
        // Their manifests can become unreferenced only where the child isn't ours.
        let children = covering(table.metadata());
        let read: Vec<_> = children.into_iter().filter(|snapshot| ids.contains(&snapshot.snapshot_id())).collect();
        let mut unreferenced = manifests_of(table, &read).await?;
        let transaction = Transaction::new(table);
        let action = transaction.expire_snapshots().expire_older_than_ms(0).expire_snapshot_ids(ids.iter().copied());
        let mut transaction = action.apply(transaction)?;
        if !anchors.is_empty() {
            let properties = transaction.update_table_properties();
            let properties = anchors.into_iter().fold(properties, |all, (key, value)| all.set(key, value));
            transaction = properties.apply(transaction)?;
        }
        let answer = transaction.commit(catalog.as_ref()).await;
        // Its outcome is as unknown as that of any commit: only what is gone from the table loses its files.
        let table = catalog.load_table(table.identifier()).await?;
        let gone = expired.iter().filter(|snapshot| table.metadata().snapshot_by_id(snapshot.snapshot_id()).is_none());
        let gone: Vec<_> = gone.collect();
        if gone.len() < expired.len() {
            return answer.map(|_| table);
        }
        self.fallen_out(&table);
        let Some(places) = deleting else { return Ok(table) };
        if !unreferenced.is_empty() {
            let remaining = manifests_of(&table, &covering(table.metadata())).await?;
            unreferenced.retain(|location, _| !remaining.contains_key(location));
        }
        let maps: Vec<String> = gone.iter().flat_map(|snapshot| StateKeys::offsets_files(snapshot)).collect();
        for file in maps.iter().filter(|file| places.hold(file) && file.ends_with(OFFSETS_ENDING)) {
            table.file_io().delete(file).await?;
        }
        let lists = gone.into_iter().map(|snapshot| snapshot.manifest_list());
        let manifests = unreferenced.values().map(|manifest| manifest.manifest_path.as_str());
        for location in lists.chain(manifests).filter(|location| places.hold(location) && location.ends_with(".avro")) {
            table.file_io().delete(location).await?;
        }
        Ok(table)
    }

    /// Returns the orphans in the table's folder that may go, or the reason why nothing there may. It deletes nothing.
    ///
    /// # Errors
    /// Fails as catalog and storage do.
    pub(crate) async fn orphans(
        &mut self,
        catalog: &Arc<dyn Catalog>,
        table: &Table,
        files: &mut FileList,
        options: &LakeOptions,
    ) -> std::result::Result<std::result::Result<Vec<StoredFile>, String>, LakeError> {
        let failed = |error| lake_error(format_args!("look for orphans of {}", table.identifier()), error);
        let location = table.metadata().location();
        let places = TablePlaces::of(table.metadata(), &options.allowed);
        if !gc_enabled(table.metadata()) {
            return Ok(Err("its property gc.enabled is false".to_owned()));
        }
        let listed = options.lister.storage().list(location).await.map_err(failed)?;
        files.follow(table).await?;
        let age = options.housekeeping.orphan_age;
        // What is old was there before all snapshots that are younger, so the first and the last of them name it, unless
        // it is an orphan, or came in between from elsewhere. The manifests of all others are read only then.
        let referenced = references(table, files, ends(table.metadata())).await.map_err(failed)?;
        if is_all_young(&listed, &referenced, table, age) {
            return Ok(Ok(Vec::new()));
        }
        let referenced = references(table, files, covering(table.metadata())).await.map_err(failed)?;
        let orphans = match judge(&listed, &referenced, table, age) {
            Verdict::Orphans(orphans) => orphans,
            Verdict::HandsOff(why) => return Ok(Err(why)),
        };
        if orphans.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        if !self.is_alone(catalog, table, &places, Look::Everything).await.map_err(failed)? {
            return Ok(Err(self.shared.as_ref().map(|(why, _)| why.clone()).unwrap_or_default()));
        }
        Ok(Ok(orphans.into_iter().filter(|file| places.hold(&file.location)).cloned().collect()))
    }

    /// Returns the number of snapshots that may expire.
    ///
    /// # Errors
    /// Fails as catalog and storage do.
    pub(crate) async fn expiring(
        catalog: &Arc<dyn Catalog>,
        table: &Table,
        limits: &HousekeepingLimits,
        now: SystemTime,
    ) -> std::result::Result<usize, LakeError> {
        let follower = furthest_behind(catalog.as_ref(), table).await?;
        let limits = limits_of(table, *limits);
        Ok(expiry(table, &limits, now, follower.as_ref()).expired.len())
    }

    /// Looks through the table's folder for orphans, and deletes them where the folder is the table's alone.
    async fn walk(
        &mut self,
        catalog: &Arc<dyn Catalog>,
        table: &Table,
        files: &mut FileList,
        options: &LakeOptions,
    ) -> std::result::Result<(), LakeError> {
        let failed = |error| lake_error(format_args!("delete orphans of {}", table.identifier()), error);
        let orphans = match self.orphans(catalog, table, files, options).await? {
            Ok(orphans) => orphans,
            Err(why) => {
                let location = table.metadata().location();
                tracing::info!(table = %table.identifier(), location, reason = %why, "deletes no orphans in the table's folder");
                return Ok(());
            }
        };
        for orphan in orphans {
            tracing::info!(file = %orphan.location, bytes = orphan.size, "deleting an orphan");
            table.file_io().delete(&orphan.location).await.map_err(failed)?;
        }
        Ok(())
    }
}

fn age_of(time: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_default()
}

pub(crate) fn gc_enabled(metadata: &TableMetadata) -> bool {
    metadata.properties().get("gc.enabled").is_none_or(|value| !value.eq_ignore_ascii_case("false"))
}

/// Returns every location that the table's metadata names, and what the manifests of some of its snapshots do.
async fn references(table: &Table, files: &FileList, snapshots: Vec<SnapshotRef>) -> Result<HashSet<String>> {
    let metadata = table.metadata();
    let mut reached: HashSet<String> = metadata_files(table).map(plain).collect();
    reached.extend(metadata.snapshots().map(|snapshot| plain(snapshot.manifest_list())));
    reached
        .extend(metadata.snapshots().flat_map(|snapshot| StateKeys::offsets_files(snapshot)).map(|file| plain(&file)));
    reached.extend(metadata.statistics_iter().map(|file| plain(&file.statistics_path)));
    reached.extend(metadata.partition_statistics_iter().map(|file| plain(&file.statistics_path)));
    let manifests = manifests_of(table, &snapshots).await?;
    for (location, manifest) in manifests {
        reached.insert(location);
        if !files.holds(&manifest) {
            reached.extend(named_files(table, &manifest).await?.iter().map(|path| plain(path)));
        }
    }
    reached.extend(files.iter().map(|file| plain(&file.path)));
    Ok(reached)
}

#[cfg(test)]
mod tests;

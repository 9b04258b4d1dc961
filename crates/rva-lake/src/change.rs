//! A change of files: data files go, others come, in one snapshot.
//!
//! The crate's transactions build appends alone, and their commit can't be made from outside. Everything that a change
//! needs is public: the writers of manifests and their list, snapshots, and the updates and requirements of a commit.
//! It is made here once, for every table whose rows are replaced, and sent through [`SwapMetadata`].
//!
//! A change is built on one snapshot and requires it: a faster one makes it fail, and then it is planned again.

use crate::errors::lake_error;
use crate::manifest::ManifestBuilder;
use crate::seam::{LakeError, LakeErrorKind};
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestEntryRef, ManifestFile,
    ManifestListWriter, Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result, TableIdent, TableRequirement, TableUpdate};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

/// The bytes from which on a manifest is left as it is when others are merged.
const MERGED_BYTES_MAX: i64 = 4 << 20;

/// The number of manifests that are read at the same time.
const MANIFESTS_AT_ONCE: usize = 8;

/// Names the count, in a summary, of manifests that were written anew. It tells housekeeping that such a snapshot isn't
/// one that only adds.
pub(crate) const MANIFESTS_REPLACED: &str = "manifests-replaced";

/// A catalog that applies updates to a table where it meets the requirements, which the crate lets only its own
/// transactions ask for.
#[async_trait::async_trait]
pub trait SwapMetadata: Debug + Send + Sync {
    /// Checks, applies and swaps, in one step.
    async fn swap(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<()>;

    /// Returns whether it can. Where it can't, rows are appended by the crate's own transactions, which never merge
    /// manifests.
    fn can_swap(&self) -> bool {
        true
    }
}

/// A catalog that can't change files.
#[derive(Debug)]
pub(crate) struct NoSwap(pub &'static str);

#[async_trait::async_trait]
impl SwapMetadata for NoSwap {
    async fn swap(&self, table: &TableIdent, _: Vec<TableRequirement>, _: Vec<TableUpdate>) -> Result<()> {
        let text =
            format!("found {} with table {table}, wanted a lake that is opened to write to change files", self.0);
        Err(Error::new(ErrorKind::FeatureUnsupported, text))
    }

    fn can_swap(&self) -> bool {
        false
    }
}

/// Names, in a snapshot's summary, that its rows went because they were old.
const AGED: &str = "rva.aged";

/// Returns whether a snapshot took rows away because they were old: followers keep what they made of them.
pub(crate) fn is_aged(snapshot: &Snapshot) -> bool {
    snapshot.summary().additional_properties.contains_key(AGED)
}

/// The files that go and the files that come.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// `Overwrite` where rows change, `Replace` where they are the same, `Append` where none go.
    pub operation: Operation,
    /// The files that come, written under the partition spec whose id is `spec`: the table's default, or where rows stay
    /// the same the one that they had.
    pub added: Vec<DataFile>,
    pub spec: i32,
    /// The paths of the live data files that go.
    pub removed: BTreeSet<String>,
    /// Whether rows of the files that go come again in those that come, under the partition spec that they had.
    pub moves_rows: bool,
    /// Whether manifests that still name files which went before are written anew without them.
    pub cleans: bool,
    /// Whether rows go because they are old: what was worked out of them stays.
    pub ages: bool,
}

/// The requirements and updates that are sent for a change.
pub(crate) struct Built {
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
}

/// One manifest of the table, read where its entries are needed.
struct Loaded {
    file: ManifestFile,
    entries: Vec<ManifestEntryRef>,
}

struct Builder<'a> {
    table: &'a Table,
    id: i64,
    sequence: i64,
    name: uuid::Uuid,
    written: usize,
}

fn damaged(text: String) -> Error {
    Error::new(ErrorKind::DataInvalid, text)
}

impl Builder<'_> {
    fn location(&self, name: &str) -> String {
        // Beside the metadata, wherever another engine put it.
        let beside = self.table.metadata_location().and_then(|location| location.rsplit_once('/'));
        let folder = beside
            .map_or_else(|| format!("{}/metadata", self.table.metadata().location()), |(folder, _)| folder.to_owned());
        format!("{folder}/{name}")
    }

    fn manifest(&mut self, spec: i32) -> Result<ManifestBuilder> {
        let metadata = self.table.metadata();
        let output =
            self.table.file_io().new_output(self.location(&format!("{}-m{}.avro", self.name, self.written)))?;
        self.written += 1;
        let spec = metadata.partition_spec_by_id(spec).ok_or_else(|| damaged(format!("found no spec {spec}")))?;
        let schema = metadata.current_schema().clone();
        Ok(ManifestBuilder::new(output, self.id, schema, spec.as_ref().clone(), metadata.format_version()))
    }

    async fn added(&mut self, change: &Change) -> Result<ManifestFile> {
        let mut manifest = self.manifest(change.spec)?;
        for file in &change.added {
            manifest.add(file.clone(), self.sequence);
        }
        manifest.write().await
    }

    /// Writes the live entries of some manifests of one spec into one, and those that go as deleted; `None` where
    /// nothing is left.
    async fn again(
        &mut self,
        spec: i32,
        manifests: &[Loaded],
        removed: &BTreeSet<String>,
    ) -> Result<Option<ManifestFile>> {
        let mut manifest = self.manifest(spec)?;
        for entry in manifests.iter().flat_map(|manifest| &manifest.entries).filter(|entry| entry.is_alive()) {
            let (Some(snapshot), Some(sequence)) = (entry.snapshot_id(), entry.sequence_number()) else {
                return Err(damaged(format!("found no sequence number of {}", entry.file_path())));
            };
            let file_sequence = entry.file_sequence_number.unwrap_or(sequence);
            let file = entry.data_file().clone();
            if removed.contains(entry.file_path()) {
                manifest.delete(file, sequence, file_sequence);
            } else {
                manifest.keep(file, snapshot, sequence, file_sequence);
            }
        }
        if manifest.is_empty() { Ok(None) } else { manifest.write().await.map(Some) }
    }

    async fn list(&self, manifests: Vec<ManifestFile>) -> Result<(String, Option<u64>)> {
        let metadata = self.table.metadata();
        let location = self.location(&format!("snap-{}-0-{}.avro", self.id, self.name));
        let output = self.table.file_io().new_output(&location)?.writer().await?;
        let parent = metadata.current_snapshot_id();
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(output, self.id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, self.id, parent, self.sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(output, self.id, parent, self.sequence, Some(metadata.next_row_id()))
            }
        };
        writer.add_manifests(manifests.into_iter())?;
        let next_row = writer.next_row_id();
        writer.close().await?;
        Ok((location, next_row))
    }
}

async fn load(table: &Table, file: ManifestFile) -> Result<Loaded> {
    let entries = file.load_manifest(table.file_io()).await?.entries().to_vec();
    Ok(Loaded { file, entries })
}

/// The parent's manifests, as a change sees them.
#[derive(Default)]
struct Sorted {
    /// The manifests that stay as they are.
    kept: Vec<ManifestFile>,
    /// The manifests that are written anew.
    again: Vec<Loaded>,
    /// The number of manifests in which nothing is alive: they are left out.
    left_out: usize,
}

fn is_alive(file: &ManifestFile) -> bool {
    file.has_added_files() || file.has_existing_files()
}

/// Returns the paths of the manifests that are merged, those of each partition spec with one another, once there are
/// `many`.
fn merged(all: &[ManifestFile], many: usize) -> HashSet<String> {
    let small = all.iter().filter(|file| {
        file.content == ManifestContentType::Data && is_alive(file) && file.manifest_length < MERGED_BYTES_MAX
    });
    let mut by_spec: BTreeMap<i32, Vec<&ManifestFile>> = BTreeMap::new();
    for file in small {
        by_spec.entry(file.partition_spec_id).or_default().push(file);
    }
    // One more comes with the change.
    let specs = by_spec.into_values().filter(|files| files.len() + 1 >= many);
    let merged = specs.flat_map(|files| {
        let sizes = files.iter().map(|file| file.manifest_length).collect();
        worth_merging(sizes).into_iter().map(move |at| files[at].manifest_path.clone()).collect::<Vec<_>>()
    });
    merged.collect()
}

/// Returns the places of the sizes that are merged: the smaller ones, up to the largest that weighs no more than all the
/// others together. What is left weighs at least twice as much each time, so it is few; and what is merged lies in
/// something at least twice as large afterwards, so an entry is written again a number of times that grows with the
/// logarithm of their number, and a commit costs the same however many there were before.
fn worth_merging(sizes: Vec<i64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|at| sizes[*at]);
    let mut sum: i64 = sizes.iter().sum();
    while let Some(largest) = order.last().map(|at| sizes[*at]).filter(|largest| 2 * largest > sum) {
        sum -= largest;
        order.pop();
    }
    if order.len() < 2 { Vec::new() } else { order }
}

async fn sorted(table: &Table, change: &Change, many: usize) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    let Some(current) = table.metadata().current_snapshot() else { return Ok(sorted) };
    let all: Vec<ManifestFile> =
        table.manifest_list_reader(current).load().await?.consume_entries().into_iter().collect();
    let merged = merged(&all, many);
    let is_merged = |file: &ManifestFile| merged.contains(&file.manifest_path);
    let mut asked = Vec::new();
    for file in all {
        if file.content != ManifestContentType::Data {
            sorted.kept.push(file);
        } else if !is_alive(&file) {
            sorted.left_out += 1;
        } else if is_merged(&file) || !change.removed.is_empty() || (change.cleans && file.has_deleted_files()) {
            asked.push(file);
        } else {
            sorted.kept.push(file);
        }
    }
    let mut loading =
        futures::stream::iter(asked.into_iter().map(|file| load(table, file))).buffered(MANIFESTS_AT_ONCE);
    while let Some(loaded) = loading.try_next().await? {
        let goes = |entry: &ManifestEntryRef| entry.is_alive() && change.removed.contains(entry.file_path());
        let is_unclean = change.cleans && loaded.entries.iter().any(|entry| !entry.is_alive());
        if is_merged(&loaded.file) || is_unclean || loaded.entries.iter().any(goes) {
            sorted.again.push(loaded);
        } else {
            sorted.kept.push(loaded.file);
        }
    }
    Ok(sorted)
}

/// Returns the files that go, found alive. One that isn't says that somebody else took it.
fn going(loaded: &[Loaded], change: &Change) -> Result<Vec<DataFile>> {
    let alive = loaded.iter().flat_map(|manifest| &manifest.entries).filter(|entry| entry.is_alive());
    let data = alive.filter(|entry| entry.content_type() == DataContentType::Data);
    let found: Vec<DataFile> = data
        .filter(|entry| change.removed.contains(entry.file_path()))
        .map(|entry| entry.data_file().clone())
        .collect();
    match change.removed.iter().find(|path| !found.iter().any(|file| file.file_path() == path.as_str())) {
        Some(path) => Err(damaged(format!("found {path} gone, wanted it in the snapshot that the change is built on"))),
        None => Ok(found),
    }
}

fn summary(
    table: &Table,
    change: &Change,
    gone: &[DataFile],
    replaced: usize,
    ours: HashMap<String, String>,
) -> Summary {
    let sums = |files: &[DataFile]| {
        let rows: u64 = files.iter().map(DataFile::record_count).sum();
        let bytes: u64 = files.iter().map(DataFile::file_size_in_bytes).sum();
        (files.len() as u64, rows, bytes)
    };
    let (added, went) = (sums(&change.added), sums(gone));
    let before = table.metadata().current_snapshot().map(|snapshot| &snapshot.summary().additional_properties);
    let total = |name: &str, plus: u64, minus: u64| {
        let held = match before {
            Some(before) => before.get(name)?.parse::<u64>().ok()?,
            None => 0,
        };
        Some((name.to_owned(), (held + plus).saturating_sub(minus).to_string()))
    };
    let mut all = ours;
    all.extend(
        [
            total("total-data-files", added.0, went.0),
            total("total-records", added.1, went.1),
            total("total-files-size", added.2, went.2),
            total("total-delete-files", 0, 0),
            total("total-position-deletes", 0, 0),
            total("total-equality-deletes", 0, 0),
        ]
        .into_iter()
        .flatten(),
    );
    let counts = [
        ("added-data-files", added.0),
        ("added-records", added.1),
        ("added-files-size", added.2),
        ("deleted-data-files", went.0),
        ("deleted-records", went.1),
        ("removed-files-size", went.2),
        (MANIFESTS_REPLACED, replaced as u64),
    ];
    all.extend(
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count.to_string())),
    );
    if change.ages {
        all.insert(AGED.to_owned(), true.to_string());
    }
    Summary { operation: change.operation.clone(), additional_properties: all }
}

/// Returns a number that no snapshot of the table has.
fn snapshot_id(table: &Table) -> i64 {
    loop {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        let id = ((high ^ low) >> 1).cast_signed();
        if table.metadata().snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// Returns the manifest of a delete file that is alive: it hides rows by the order of commits, so the rows of a data
/// file that moves into a newer one would be there again.
fn hiding(kept: &[ManifestFile]) -> Option<&ManifestFile> {
    kept.iter().find(|file| file.content == ManifestContentType::Deletes && is_alive(file))
}

/// Writes manifests and their list, and returns the updates that make them the table's newest snapshot. `base` is the
/// table whose files stay, `ours` are properties of the snapshot, `properties` of the table. Some small manifests are
/// merged where there are `manifests_max`.
///
/// # Errors
/// Fails as the storage does; returns `Conflict` where a file that is to go isn't there any more, or where files are
/// merged and another engine hides rows of them.
pub(crate) async fn build(
    table: &Table,
    base: &Table,
    change: &Change,
    ours: HashMap<String, String>,
    properties: HashMap<String, String>,
    manifests_max: usize,
) -> std::result::Result<Built, LakeError> {
    let metadata = table.metadata();
    let doing = if change.operation == Operation::Append { "commit to" } else { "change files of" };
    let failed = |error| lake_error(format_args!("{doing} {}", table.identifier()), error);
    let Sorted { kept: mut manifests, again, left_out } = sorted(base, change, manifests_max).await.map_err(failed)?;
    if change.moves_rows
        && let Some(file) = hiding(&manifests)
    {
        let text = format!("found delete files in {}, wanted none where rows move", file.manifest_path);
        return Err(LakeError::new(LakeErrorKind::Conflict, text));
    }
    let gone = going(&again, change).map_err(|error| LakeError::new(LakeErrorKind::Conflict, error.to_string()))?;
    let replaced = again.len() + left_out;
    let mut builder = Builder {
        table,
        id: snapshot_id(table),
        sequence: metadata.next_sequence_number(),
        name: uuid::Uuid::now_v7(),
        written: 0,
    };
    let mut by_spec: BTreeMap<i32, Vec<Loaded>> = BTreeMap::new();
    for loaded in again {
        by_spec.entry(loaded.file.partition_spec_id).or_default().push(loaded);
    }
    for (spec, of_spec) in by_spec {
        manifests.extend(builder.again(spec, &of_spec, &change.removed).await.map_err(failed)?);
    }
    if !change.added.is_empty() {
        manifests.push(builder.added(change).await.map_err(failed)?);
    }
    let (list, next_row) = builder.list(manifests).await.map_err(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The format wants no snapshot older than the last change by more than a minute; ours is never older at all.
    let timestamp = i64::try_from(now.as_millis()).unwrap_or(i64::MAX).max(metadata.last_updated_ms());
    let snapshot = Snapshot::builder()
        .with_snapshot_id(builder.id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(builder.sequence)
        .with_timestamp_ms(timestamp)
        .with_manifest_list(list)
        .with_schema_id(metadata.current_schema_id())
        .with_summary(summary(table, change, &gone, replaced, ours));
    let snapshot = match next_row {
        Some(next) => {
            let first = metadata.next_row_id();
            snapshot.with_row_range(first, next.saturating_sub(first)).build()
        }
        None => snapshot.build(),
    };
    let main = SnapshotReference::new(builder.id, SnapshotRetention::branch(None, None, None));
    let mut updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference: main },
    ];
    if !properties.is_empty() {
        updates.push(TableUpdate::SetProperties { updates: properties });
    }
    // New rows belong under the spec that is the default then; the same rows may stay under an older one.
    let stays = change.moves_rows || change.cleans;
    let default_spec = if stays { metadata.default_partition_spec_id() } else { change.spec };
    let requirements = vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: metadata.current_snapshot_id(),
        },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: default_spec },
    ];
    Ok(Built { requirements, updates })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ones_are_merged_and_one_that_outweighs_them_waits() {
        assert_eq!(worth_merging(vec![5; 3]), [0, 1, 2]);
        assert_eq!(worth_merging(vec![100, 5, 5]), [1, 2]);
        assert_eq!(worth_merging(vec![10, 5, 5]), [1, 2, 0]);
        assert_eq!(worth_merging(vec![8, 4, 2, 1]), [0_usize; 0], "each outweighs the smaller ones");
        assert_eq!(worth_merging(vec![7]), [0_usize; 0]);
        assert_eq!(worth_merging(Vec::new()), [0_usize; 0]);
    }

    const MANIFESTS_MAX: usize = 24;

    /// Commits one entry after another, as `build` merges them.
    fn after(commits: usize, rule: impl Fn(Vec<i64>) -> Vec<usize>) -> (usize, i64) {
        let (mut manifests, mut written, mut most) = (Vec::<i64>::new(), 0, 0);
        for _ in 0..commits {
            if manifests.len() + 1 >= MANIFESTS_MAX {
                let merged = rule(manifests.clone());
                let sum: i64 = merged.iter().map(|at| manifests[*at]).sum();
                let mut at = 0..;
                manifests.retain(|_| !merged.contains(&at.next().unwrap()));
                manifests.push(sum);
                written += sum;
            }
            manifests.push(1);
            written += 1;
            most = most.max(manifests.len());
        }
        (most, written)
    }

    #[test]
    fn however_many_commits_there_were_manifests_are_few_and_entries_are_seldom_written_again() {
        for commits in [200, 8_000, 100_000] {
            let (most, written) = after(commits, worth_merging);
            let often = written / i64::try_from(commits).unwrap();
            println!("{commits} commits: at most {most} manifests, each entry is written {often} times");
            assert!(most <= MANIFESTS_MAX && often <= 20, "{commits}: {most} manifests, {often} times");
        }
        let (_, all) = after(8_000, |sizes| (0..sizes.len()).collect());
        assert!(all > 10 * after(8_000, worth_merging).1, "merging all each time costs more, the more there are");
    }
}

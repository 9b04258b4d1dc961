//! The files of a table that are worth merging: a plan is made of what the manifests say, and reads no data file.

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Struct};
use iceberg::table::Table;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The limits of a merge of small files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeLimits {
    /// The bytes of the files that come of it, about. A file of at least three quarters of it stays as it is.
    pub file_bytes: u64,
    /// The least number of files that are merged at once: fewer aren't worth writing their rows again.
    pub files_min: usize,
    /// The age from which on a file counts as one that nobody adds to. Where a job replaces its own rows (gold), no
    /// file of the partition may be younger.
    pub age_min: Duration,
    /// The bytes of rows that are held to be sorted; more are sorted in files.
    pub memory: usize,
    /// The folder of those files; the system's for temporary files where there is none.
    pub spill_dir: Option<std::path::PathBuf>,
    /// Time for which rows of a table stay, by its name without the namespace; those of others stay for ever.
    pub retention: BTreeMap<String, Duration>,
}

impl Default for MergeLimits {
    fn default() -> Self {
        Self {
            file_bytes: 128 << 20,
            files_min: 8,
            age_min: Duration::from_secs(60 * 60),
            memory: 64 << 20,
            spill_dir: None,
            retention: BTreeMap::new(),
        }
    }
}

/// A live data file.
#[derive(Debug, Clone)]
pub(crate) struct LiveFile {
    pub file: DataFile,
    pub spec: i32,
    /// The time since which the table has it, in milliseconds since 1970.
    pub since_ms: u64,
}

/// The live files of a table.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub files: Vec<LiveFile>,
    /// A file by which another engine hides rows.
    pub hiding: Option<String>,
}

/// Files of one partition that are merged into one, or a few.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub spec: i32,
    pub partition: Struct,
    pub files: Vec<DataFile>,
}

impl Group {
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(DataFile::file_size_in_bytes).sum()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().map(DataFile::record_count).sum()
    }
}

/// Returns the time since which the table has a file: that of its snapshot, else the one in the name that we gave it.
fn since_ms(table: &Table, snapshot: Option<i64>, path: &str) -> u64 {
    let known = snapshot.and_then(|id| table.metadata().snapshot_by_id(id));
    if let Some(snapshot) = known {
        return u64::try_from(snapshot.timestamp_ms()).unwrap_or(0);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let id = name.split('.').next().and_then(|stem| Uuid::try_parse(stem).ok());
    // A snapshot that has expired is no young one.
    id.and_then(|id| id.get_timestamp()).map_or(0, |time| {
        let (seconds, nanos) = time.to_unix();
        seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000)
    })
}

/// Reads which files a table has now.
///
/// # Errors
/// Fails as the storage does.
pub(crate) async fn live(table: &Table) -> iceberg::Result<Live> {
    let mut live = Live::default();
    let Some(current) = table.metadata().current_snapshot() else { return Ok(live) };
    let list = table.manifest_list_reader(current).load().await?;
    for manifest in list.entries() {
        let loaded = manifest.load_manifest(table.file_io()).await?;
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            if entry.content_type() != DataContentType::Data {
                live.hiding.get_or_insert_with(|| entry.file_path().to_owned());
                continue;
            }
            let file = entry.data_file().clone();
            let since_ms = since_ms(table, entry.snapshot_id(), file.file_path());
            live.files.push(LiveFile { file, spec: manifest.partition_spec_id, since_ms });
        }
    }
    Ok(live)
}

/// Returns the groups of files to merge, those of a partition spec after those of another. `is_known` says whether rows can
/// be written under a spec, `replaces` that the table's job replaces its own rows.
pub(super) fn groups(
    live: &Live,
    is_known: impl Fn(i32) -> bool,
    replaces: bool,
    limits: &MergeLimits,
    now: SystemTime,
) -> Vec<Group> {
    if live.hiding.is_some() {
        return Vec::new();
    }
    let is_young = |file: &LiveFile| {
        let since = UNIX_EPOCH + Duration::from_millis(file.since_ms);
        // A file of a clock that is ahead is young too.
        now.duration_since(since).map_or(true, |age| age < limits.age_min)
    };
    // By what a partition is called, so that the order doesn't change from one plan to the next.
    let mut partitions: BTreeMap<(i32, String), Vec<&LiveFile>> = BTreeMap::new();
    for file in live.files.iter().filter(|file| is_known(file.spec)) {
        partitions.entry((file.spec, format!("{:?}", file.file.partition()))).or_default().push(file);
    }
    let closed = partitions.into_iter().filter(|(_, files)| !(replaces && files.iter().any(|file| is_young(file))));
    let is_small = |file: &DataFile| file.file_size_in_bytes() < limits.file_bytes / 4 * 3;
    let is_ours = |file: &DataFile| file.file_format() == DataFileFormat::Parquet;
    closed
        .flat_map(|((spec, _), files)| {
            let old = files.into_iter().filter(|file| !is_young(file)).map(|file| &file.file);
            packed(spec, old.filter(|file| is_small(file) && is_ours(file)).collect(), limits)
        })
        .collect()
}

/// Packs files of one partition, the smallest first, up to the size of a file that comes of them. A file is written
/// again only with others that weigh as much as it does: so each row is written again a number of times that grows with
/// the logarithm of the table's size, however few rows come at a time.
fn packed(spec: i32, mut files: Vec<&DataFile>, limits: &MergeLimits) -> Vec<Group> {
    files.sort_by_key(|file| (file.file_size_in_bytes(), file.file_path().to_owned()));
    let mut groups: Vec<Vec<&DataFile>> = Vec::new();
    let mut room = 0;
    for file in files {
        let bytes = file.file_size_in_bytes();
        match groups.last_mut() {
            Some(group) if bytes <= room => group.push(file),
            _ => {
                room = limits.file_bytes;
                groups.push(vec![file]);
            }
        }
        room = room.saturating_sub(bytes);
    }
    let least = limits.files_min.max(2);
    let worth = groups.into_iter().filter_map(|mut group| {
        let mut bytes: u64 = group.iter().map(|file| file.file_size_in_bytes()).sum();
        while group.last().is_some_and(|largest| 2 * largest.file_size_in_bytes() > bytes && group.len() > 1) {
            bytes -= group.pop().map_or(0, DataFile::file_size_in_bytes);
        }
        let partition = group.first()?.partition().clone();
        (group.len() >= least).then(|| Group { spec, partition, files: group.into_iter().cloned().collect() })
    });
    worth.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iceberg::spec::{DataFileBuilder, Literal};

    const NOW_MS: u64 = 1_700_000_000_000;

    fn file(store: &str, number: usize, bytes: u64, age: Duration) -> LiveFile {
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("/t/{store}/{number:04}.parquet"))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter([Some(Literal::string(store))]))
            .partition_spec_id(0)
            .record_count(10)
            .file_size_in_bytes(bytes)
            .build()
            .unwrap();
        LiveFile { file, spec: 0, since_ms: NOW_MS - u64::try_from(age.as_millis()).unwrap() }
    }

    fn limits() -> MergeLimits {
        MergeLimits { file_bytes: 1000, files_min: 4, age_min: Duration::from_secs(60), ..MergeLimits::default() }
    }

    fn planned(files: Vec<LiveFile>, replaces: bool) -> Vec<Vec<u64>> {
        let now = UNIX_EPOCH + Duration::from_millis(NOW_MS);
        let found = groups(&Live { files, hiding: None }, |spec| spec < 2, replaces, &limits(), now);
        found.iter().map(|group| group.files.iter().map(DataFile::file_size_in_bytes).collect()).collect()
    }

    const OLD: Duration = Duration::from_secs(100);
    const YOUNG: Duration = Duration::from_secs(10);

    #[test]
    fn small_old_files_of_one_partition_are_packed_up_to_the_size() {
        let mut files: Vec<_> = (0..9).map(|at| file("a", at, 200, OLD)).collect();
        files.extend((0..4).map(|at| file("b", at, 10, OLD)));
        files.push(file("a", 20, 750, OLD));
        files.push(file("a", 21, 200, YOUNG));
        assert_eq!(planned(files, false), [vec![200; 5], vec![200; 4], vec![10; 4]]);
    }

    #[test]
    fn few_files_stay_and_a_large_one_waits_for_as_much_as_it_weighs() {
        assert!(planned((0..3).map(|at| file("a", at, 10, OLD)).collect(), false).is_empty());
        let with = |count: usize| {
            let mut files: Vec<_> = (0..count).map(|at| file("a", at, 10, OLD)).collect();
            files.push(file("a", 99, 100, OLD));
            planned(files, false)
        };
        assert_eq!(with(5), [vec![10; 5]]);
        let mut all = vec![10; 10];
        all.push(100);
        assert_eq!(with(10), [all]);
    }

    #[test]
    fn where_rows_are_replaced_a_partition_rests_first() {
        let mut files: Vec<_> = (0..5).map(|at| file("a", at, 10, OLD)).collect();
        files.push(file("a", 9, 10, YOUNG));
        assert_eq!(planned(files.clone(), false), [vec![10; 5]]);
        assert!(planned(files, true).is_empty());
    }

    #[test]
    fn files_of_the_future_and_beside_hidden_rows_stay() {
        let now = UNIX_EPOCH + Duration::from_millis(NOW_MS);
        let mut files: Vec<_> = (0..5).map(|at| file("a", at, 10, OLD)).collect();
        for file in &mut files {
            file.since_ms = NOW_MS + 1000;
        }
        assert!(planned(files, false).is_empty());
        let files: Vec<_> = (0..5).map(|at| file("a", at, 10, OLD)).collect();
        let hidden = Live { files, hiding: Some("d".into()) };
        assert!(groups(&hidden, |_| true, false, &limits(), now).is_empty());
    }

    #[test]
    fn files_of_each_spec_are_merged_among_themselves_and_those_of_one_that_is_gone_stay() {
        let mut files: Vec<_> = (0..9).map(|at| file("a", at, 10, OLD)).collect();
        for (at, file) in files.iter_mut().enumerate() {
            file.spec = if at < 4 { 0 } else { 1 };
        }
        assert_eq!(planned(files.clone(), false), [vec![10; 4], vec![10; 5]]);
        files.iter_mut().for_each(|file| file.spec += 1);
        assert_eq!(planned(files, false), [vec![10; 4]]);
    }
}

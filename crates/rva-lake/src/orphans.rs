//! Orphans, the files that crashed or failed attempts left in a table's folder. They are ours to delete once they are
//! older than the orphan age and nothing references them (I7), and only if the folder is the table's alone.

use crate::definition::MADE;
use crate::offsets::OFFSETS_ENDING;
use crate::storage::{StoredFile, plain};
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The least age of manifests and metadata files that go, whatever the orphan age: they have the same names whoever
/// writes them, and one that is being committed is never older than this.
const SHARED_NAMES_AGE_MIN: Duration = Duration::from_secs(60 * 60);

/// The characters of a UUID.
const UUID_CHARS: usize = 36;

/// The verdict of a look into a table's folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// These files may go, if no other table needs them.
    Orphans(Vec<&'a StoredFile>),
    /// The folder isn't the table's alone, or nobody can tell.
    HandsOff(String),
}

/// Returns the files in a table's folder that may go. The store's own time decides what is old, since the clock here
/// may be ahead: a file that was just written by our own commit tells it.
pub(crate) fn judge<'a>(
    listed: &'a [StoredFile],
    referenced: &HashSet<String>,
    table: &Table,
    age: Duration,
) -> Verdict<'a> {
    let unreferenced: Vec<_> = listed
        .iter()
        .filter(|file| is_of_a_table(&file.location) && !referenced.contains(&plain(&file.location)))
        .collect();
    if unreferenced.is_empty() {
        return Verdict::Orphans(Vec::new());
    }
    let Some(now) = store_time(listed, table) else {
        return Verdict::HandsOff("found no file of the last commit in it, whose time would be the store's".to_owned());
    };
    let Some(made) = made_at(table.metadata()) else {
        return Verdict::HandsOff("nobody can tell when the table was made".to_owned());
    };
    if let Some(older) = unreferenced.iter().find(|file| file.modified < made) {
        return Verdict::HandsOff(format!("it holds {}, which is older than the table", older.location));
    }
    let is_old = |file: &StoredFile, age| now.duration_since(file.modified).is_ok_and(|found| found > age);
    let orphans = unreferenced.into_iter();
    let orphans = orphans.filter(|file| age_to_go(&file.location, age).is_some_and(|age| is_old(file, age)));
    Verdict::Orphans(orphans.collect())
}

/// Returns whether each file of a table that isn't named is younger than `age`, so that nothing can be an orphan yet,
/// whoever else names it.
pub(crate) fn is_all_young(listed: &[StoredFile], named: &HashSet<String>, table: &Table, age: Duration) -> bool {
    let Some(now) = store_time(listed, table) else { return false };
    let is_old = |file: &StoredFile| now.duration_since(file.modified).is_ok_and(|found| found > age);
    !listed.iter().any(|file| is_old(file) && is_of_a_table(&file.location) && !named.contains(&plain(&file.location)))
}

/// Returns the time when our last commit wrote its files, by the store's clock.
fn store_time(listed: &[StoredFile], table: &Table) -> Option<SystemTime> {
    let list = table.metadata().current_snapshot().map(|snapshot| snapshot.manifest_list());
    let own: HashSet<String> = list.into_iter().chain(table.metadata_location()).map(plain).collect();
    listed.iter().filter(|file| own.contains(&plain(&file.location))).map(|file| file.modified).max()
}

/// Returns the time when the table was made: as we noted it, as its id tells it, or as its log does while it is whole.
fn made_at(metadata: &TableMetadata) -> Option<SystemTime> {
    let millis = |millis: i64| Some(UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).ok()?));
    if let Some(noted) = metadata.properties().get(MADE).and_then(|text| text.parse().ok()) {
        return millis(noted);
    }
    if metadata.uuid().get_version_num() == 7 {
        let (seconds, nanos) = metadata.uuid().get_timestamp()?.to_unix();
        return Some(UNIX_EPOCH + Duration::new(seconds, nanos));
    }
    match metadata.metadata_log().first() {
        None => millis(metadata.last_updated_ms()),
        Some(first) => is_first_version(&first.metadata_file).then(|| millis(first.timestamp_ms)).flatten(),
    }
}

/// Returns whether a location is of the form `00000-….metadata.json`.
fn is_first_version(location: &str) -> bool {
    let name = location.rsplit('/').next().unwrap_or(location);
    name.split_once('-').is_some_and(|(version, _)| !version.is_empty() && version.bytes().all(|byte| byte == b'0'))
}

/// Returns whether a file is of a kind that table writers make; anything else in the folder is somebody's own.
fn is_of_a_table(location: &str) -> bool {
    let endings = [".parquet", ".avro", ".orc", ".puffin", ".stats", ".metadata.json", OFFSETS_ENDING, ".tmp"];
    endings.iter().any(|ending| location.ends_with(ending))
}

/// The maker of files of such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    /// We make `UUIDv7.parquet`, files of offsets, and their temporary names before they are whole.
    Us,
    /// Anybody makes manifests, manifest lists and metadata files.
    Anybody,
    Others,
}

/// Returns the age that a file which nothing names must have to go, by its name; `None` for one that others made.
pub(crate) fn age_to_go(location: &str, orphan_age: Duration) -> Option<Duration> {
    match maker(location) {
        Maker::Us => Some(orphan_age),
        Maker::Anybody => Some(orphan_age.max(SHARED_NAMES_AGE_MIN)),
        Maker::Others => None,
    }
}

/// Returns whether a file has the name of one that isn't whole yet, which we give and nobody else.
pub(crate) fn is_unfinished(location: &str) -> bool {
    location.ends_with(".tmp") && maker(location) != Maker::Others
}

/// Returns whether a file has a name that this crate gives. A manifest's begins with a time: Java and Python give random
/// numbers.
pub(crate) fn is_our_name(location: &str) -> bool {
    let name = location.rsplit('/').next().unwrap_or(location);
    let is_timed = |text: &str| Uuid::try_parse(text).is_ok_and(|id| id.get_version_num() == 7);
    let is_our_manifest = || name.strip_suffix(".avro").and_then(|stem| stem.get(..UUID_CHARS)).is_some_and(is_timed);
    maker(location) == Maker::Us || is_unfinished(location) || is_our_manifest()
}

fn maker(location: &str) -> Maker {
    let name = location.rsplit('/').next().unwrap_or(location);
    if name.ends_with(".avro") || name.ends_with(".metadata.json") {
        return Maker::Anybody;
    }
    // A local file is called `.NAME.ID.tmp` until it is whole.
    let whole = name.strip_prefix('.').filter(|_| name.ends_with(".tmp")).unwrap_or(name);
    let stem = whole.split('.').next().unwrap_or(whole);
    let is_ours = Uuid::try_parse(stem).is_ok_and(|id| id.get_version_num() == 7);
    let is_temporary = name.ends_with(".tmp") && (whole.contains(".avro.") || whole.contains(".metadata.json."));
    let is_ours = (is_ours && whole.contains(".parquet")) || whole.contains(OFFSETS_ENDING);
    match (is_ours, is_temporary) {
        (true, _) => Maker::Us,
        (_, true) => Maker::Anybody,
        _ => Maker::Others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_ours() {
        let ours = Uuid::now_v7();
        for (name, wanted) in [
            (format!("s3://b/t/data/store_id=x/{ours}.parquet"), Maker::Us),
            (format!("file:///t/data/.{ours}.parquet.17.tmp"), Maker::Us),
            (format!("/t/metadata/{ours}-0123456789abcdef.offsets.zst"), Maker::Us),
            (format!("/t/metadata/{}-m0.avro", Uuid::new_v4()), Maker::Anybody),
            (format!("/t/metadata/.{ours}-m0.avro.17.tmp"), Maker::Anybody),
            (format!("/t/metadata/00012-{ours}.metadata.json"), Maker::Anybody),
            (format!("/t/data/00000-0-{ours}.parquet"), Maker::Others),
            (format!("/t/data/{}.parquet", Uuid::new_v4()), Maker::Others),
            ("/t/data/part-0001.parquet".to_owned(), Maker::Others),
            ("/t/data/notes.tmp".to_owned(), Maker::Others),
            (format!("/t/metadata/{ours}.puffin"), Maker::Others),
        ] {
            assert_eq!(maker(&name), wanted, "{name}");
        }
    }

    #[test]
    fn manifests_and_unfinished_files_of_this_crate_are_told_from_those_of_others() {
        let (ours, random) = (Uuid::now_v7(), Uuid::new_v4());
        for (name, wanted) in [
            (format!("/t/metadata/{ours}-m0.avro"), true),
            (format!("/t/metadata/.{ours}-m0.avro.17.tmp"), true),
            (format!("/t/metadata/.{random}-m0.avro.17.tmp"), true),
            (format!("/t/data/{ours}.parquet"), true),
            (format!("/t/metadata/{random}-m0.avro"), false),
            (format!("/t/metadata/snap-17-0-{random}.avro"), false),
            (format!("/t/data/.{random}.parquet.17.tmp"), false),
            ("/t/metadata/ä.avro".to_owned(), false),
        ] {
            assert_eq!(is_our_name(&name), wanted, "{name}");
        }
    }

    #[test]
    fn the_first_metadata_file_is_told_by_its_number() {
        assert!(is_first_version("s3://b/t/metadata/00000-0190.metadata.json"));
        for other in ["/t/metadata/00001-0190.metadata.json", "/t/metadata/v1.metadata.json", "-x", ""] {
            assert!(!is_first_version(other), "{other}");
        }
    }
}

//! Backups of a data folder: made while everything writes, restored elsewhere, gone on from exactly once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../bad_input/world.rs"]
mod world;

mod bad_days;

use common::{command, rva, workspace};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};
use world::{Key, World, keys, records};

/// The files of a folder, each with its inode and size: a file that was written again has another.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_owned();
                found.insert(name, (metadata.ino(), metadata.len()));
            }
        }
    }
    found
}

/// The files of a store of backups that are the tables'.
fn stored(store: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    files(&store.join("files"))
}

/// Puts records into the log.
fn replay(world: &World, name: &str, keys: &BTreeSet<Key>) {
    world.write(name, records(keys));
    world.rva(&["replay", name]).exits(0);
}

/// The same folder under another name, for `World`'s own words.
fn rows(folder: &Path, data: &str) -> BTreeSet<Key> {
    let sql = "SELECT pipeline_run_id, camera_id, frame_index FROM bronze_raw";
    let csv = rva(folder, &["query", sql, "--format", "csv", "--data-dir", data]).exits(0).stdout;
    let mut rows = BTreeSet::new();
    for line in csv.lines().skip(1) {
        let [run, camera, frame] = line.split(',').collect::<Vec<_>>()[..] else { panic!("wanted a key: {line}") };
        let key = (run.to_owned(), camera.to_owned(), frame.parse().unwrap());
        assert!(rows.insert(key.clone()), "{key:?} is there twice");
    }
    rows
}

fn count(folder: &Path, data: &str, table: &str) -> String {
    let sql = format!("SELECT count(*) FROM {table}");
    let csv = rva(folder, &["query", &sql, "--format", "csv", "--data-dir", data]).exits(0).stdout;
    csv.lines().nth(1).unwrap().to_owned()
}

#[test]
fn the_configured_place_is_written_to_listed_watched_and_asked_when_rows_are_forgotten() {
    let world = World::new();
    world.seed();
    world.rva(&["backup"]).exits(2).says(&["found no place of backups", "backup.to"]);
    world.write("rva.yaml", "backup:\n  to: store\n");
    // Nothing was backed up yet: there is nothing to name.
    world.rva(&["forget", "--camera", "door", "--dry-run"]).exits(0);
    assert!(!world.path().join("store").exists());
    let made = world.rva(&["backup"]).exits(0);
    let line = made.stderr.lines().find_map(|line| line.strip_prefix("backup ")).unwrap();
    let id = line.split(' ').next().unwrap().to_owned();
    assert!(!stored(&world.path().join("store")).is_empty());
    let listed = rva(world.path(), &["backup", "list", "--format", "csv"]).exits(0).stdout;
    assert!(listed.lines().nth(1).unwrap().starts_with(&id), "{listed}");
    rva(world.path(), &["backup", "verify"]).exits(0);
    let planned = world.rva(&["forget", "--camera", "door", "--dry-run"]).exits(0).stdout;
    assert!(planned.contains(&format!("backup {id} in store holds rows of it: bronze_raw 6")), "{planned}");
}

#[test]
fn what_is_backed_up_while_everything_writes_goes_on_elsewhere_exactly_once() {
    let world = World::new();
    let folder = world.path();
    let mut all = world.seed();
    world.rva(&["refine", "--drain"]).exits(0);
    let mut ingest = world.start(&["ingest", "--commit-interval", "100ms"]);
    ingest.wait_until_it_says(&["following"]);
    let refine = command(folder, &["refine", "--data-dir", "d"]).env("RVA_REFINE_INTERVAL", "200ms").spawn().unwrap();
    let mut refine = Guard(refine);

    let mut ids = Vec::new();
    for round in 0..4_u64 {
        let more = keys(&format!("run{round}"), "till", 1..=40);
        replay(&world, "more.ndjson", &more);
        all.extend(more);
        // One line that is no record: a dead letter.
        world.write("bad.ndjson", format!("no record {round}\n"));
        world.rva(&["replay", "bad.ndjson"]);
        let made = world.rva(&["backup", "store"]).exits(0);
        let line = made.stderr.lines().find_map(|line| line.strip_prefix("backup ")).unwrap();
        ids.push(line.split(' ').next().unwrap().to_owned());
    }
    ingest.wait_for("a row of the last round", |_| world.rows().iter().any(|key| key.0 == "run3"));
    world.rva(&["backup", "store"]).exits(0).says(&["tables"]);
    let verified = rva(folder, &["backup", "verify", "store"]).exits(0).says(&["5 backups", "all are what they were"]);
    assert_eq!(verified.stdout, "");

    // The disk is lost, the log survives, with more in it than the tables ever had.
    ingest.signal("-KILL");
    assert_eq!(ingest.end().code, 137);
    refine.0.kill().unwrap();
    refine.0.wait().unwrap();
    let late = keys("late", "door", 1..=30);
    replay(&world, "late.ndjson", &late);
    all.extend(late);
    fs::rename(world.data().join("log"), folder.join("log")).unwrap();
    fs::remove_dir_all(world.data()).unwrap();

    // Every backup is one point in time from which everything goes on.
    for (at, id) in ids.iter().map(Some).chain([None]).enumerate() {
        let data = format!("restored{at}");
        let from = id.map_or_else(Vec::new, |id| vec!["--backup", id]);
        let restored = rva(folder, &[&["restore", "store", "--to", &data][..], &from].concat()).exits(0);
        assert!(restored.stderr.contains(" tables, "), "{}", restored.stderr);
        assert!(!folder.join(&data).join(".restoring").exists());
        copy_folder(&folder.join("log"), &folder.join(&data).join("log"));
        let before = rows(folder, &data);
        assert!(before.is_subset(&all), "{before:?}");
        rva(folder, &["ingest", "--drain", "--data-dir", &data]).exits(0);
        assert_eq!(rows(folder, &data), all, "restored from {id:?}");
        assert_eq!(count(folder, &data, "bronze_dead_letters"), "4");
        rva(folder, &["refine", "--drain", "--data-dir", &data]).exits(0);
        rva(folder, &["verify", "--data-dir", &data]).exits(0).says(&["silver is what bronze says"]);
        rva(folder, &["refine", "--drain", "--data-dir", &data]).exits(0).says(&["0 commits"]);
        rva(folder, &["maintain", "--once", "--data-dir", &data]).exits(0);
        // What was restored can be backed up itself, into the same place.
        rva(folder, &["backup", "store", "--data-dir", &data]).exits(0);
    }
    rva(folder, &["backup", "verify", "store"]).exits(0).says(&["10 backups", "all are what they were"]);
}

/// A process that ends with the test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_second_backup_copies_only_the_files_that_are_new_and_old_ones_go_with_keep() {
    let world = World::seeded();
    let folder = world.path();
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["backup", "store"]).exits(0).says(&["new"]);
    let first = stored(&folder.join("store"));
    world.rva(&["backup", "store"]).exits(0).says(&["files of", " 0 of them new (0 B)"]);
    assert_eq!(stored(&folder.join("store")), first);

    let more = keys("more", "till", 1..=20);
    replay(&world, "more.ndjson", &more);
    world.rva(&["ingest", "--drain"]).exits(0);
    world.rva(&["backup", "store"]).exits(0);
    let second = stored(&folder.join("store"));
    let new: Vec<_> = second.keys().filter(|path| !first.contains_key(*path)).collect();
    let kind = |ending: &str| new.iter().filter(|path| path.to_string_lossy().ends_with(ending)).count();
    // Bronze's commit alone: its file, its manifest and its list.
    assert_eq!((kind(".parquet"), kind(".avro"), new.len()), (1, 2, 3), "{new:?}");
    assert!(first.iter().all(|(path, file)| second.get(path) == Some(file)), "a file was written again");

    let list = rva(folder, &["backup", "list", "store"]).exits(0).stdout;
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.lines().all(|line| line.contains(" tables  ")), "{list}");
    let ids: Vec<&str> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(ids.is_sorted(), "{ids:?}");

    // Gold changes; what only the older backups need goes, what the newest needs stays.
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["maintain", "--once"]).exits(0);
    world.rva(&["backup", "store", "--keep", "1"]).exits(0).says(&["removed 3 backups and"]);
    let kept = stored(&folder.join("store"));
    let gone = second.keys().filter(|path| !kept.contains_key(*path)).count();
    assert!(gone > 0, "nothing went");
    rva(folder, &["backup", "verify", "store"]).exits(0).says(&["1 backups", "all are what they were"]);
    rva(folder, &["restore", "store", "--to", "other"]).exits(0);
    assert_eq!(rows(folder, "other"), world.rows());
    rva(folder, &["verify", "--data-dir", "other"]).exits(0);
}

#[test]
fn another_engine_reads_what_was_restored() {
    let python = workspace().join(".venv/bin/python");
    let python = std::env::var_os("RVA_PYTHON").map_or(python, PathBuf::from);
    if !Command::new(&python).args(["-c", "import pyiceberg, pyarrow"]).output().is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: {} has no pyiceberg (make test installs it)", python.display());
        return;
    }
    let world = World::seeded();
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["backup", "store"]).exits(0);
    fs::remove_dir_all(world.data()).unwrap();
    rva(world.path(), &["restore", "store", "--to", "moved"]).exits(0);
    let script = "import sys, pathlib\n\
                  from pyiceberg.catalog.sql import SqlCatalog\n\
                  data = sys.argv[1]\n\
                  catalog = SqlCatalog('lakehouse', uri=f'sqlite:///{data}/catalog.db', warehouse=f'file://{data}')\n\
                  for name in ('bronze_raw', 'silver_detections', 'silver_frames', 'gold_people_per_minute'):\n\
                  \x20   table = catalog.load_table(f'rva.{name}')\n\
                  \x20   rows = table.scan().to_arrow()\n\
                  \x20   files = [task.file.file_path for task in table.scan().plan_files()]\n\
                  \x20   assert all(path.startswith(f'file://{data}/') for path in files), files\n\
                  \x20   print(name, rows.num_rows)\n";
    let moved = world.path().join("moved").canonicalize().unwrap();
    let read = Command::new(&python).args(["-c", script]).arg(moved).output().unwrap();
    let said = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success(), "{said}{}", String::from_utf8_lossy(&read.stderr));
    let wanted = "bronze_raw 6\nsilver_detections 0\nsilver_frames 6\ngold_people_per_minute 1\n";
    assert_eq!(said, wanted);
}

//! What the first state of this repository wrote opens and goes on: configuration, log, catalog and tables.
//! `make_first_state.sh` made `first_state.tar.gz`, and says how.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

use common::{Ran, rva, workspace};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A camera and a frame index.
type Key = (String, u64);

/// The folder of the first state, at a place of this test's own.
struct FirstState {
    _holder: TempDir,
    folder: PathBuf,
}

impl FirstState {
    /// Unpacks the folder. Its tables name their files by absolute paths: each is replaced by one of the same length,
    /// which changes no other byte of a file.
    fn unpack() -> Self {
        let holder = tempfile::tempdir().unwrap();
        let archive = workspace().join("crates/rva/tests/upgrade/first_state.tar.gz");
        let unpacked = holder.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let done = Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&unpacked).status().unwrap();
        assert!(done.success(), "{}", archive.display());
        let then = fs::read_to_string(unpacked.join("path")).unwrap().trim().to_owned();
        fs::remove_file(unpacked.join("path")).unwrap();
        let used = holder.path().as_os_str().len() + 1;
        let folder = holder.path().join("y".repeat(then.len().checked_sub(used).unwrap()));
        fs::rename(&unpacked, &folder).unwrap();
        let now = folder.as_os_str().as_bytes();
        assert_eq!(now.len(), then.len());
        let changed = files(&folder).into_iter().filter(|file| replace(file, then.as_bytes(), now)).count();
        assert!(changed > 20, "{changed} files named the old folder");
        Self { _holder: holder, folder }
    }

    fn rva(&self, arguments: &[&str]) -> Ran {
        rva(&self.folder, &[arguments, &["--config", "rva.yaml"]].concat())
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let csv = self.rva(&["query", sql, "--format", "csv"]).exits(0).stdout;
        csv.lines().skip(1).map(str::to_owned).collect()
    }

    /// The keys of bronze, each there once.
    fn keys(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for line in self.query("SELECT camera_id, frame_index FROM bronze_raw") {
            let (camera, frame) = line.split_once(',').unwrap();
            assert!(keys.insert((camera.to_owned(), frame.parse().unwrap())), "{line} is there twice");
        }
        keys
    }

    /// The newest metadata file of bronze.
    fn metadata(&self) -> PathBuf {
        let sql = "SELECT metadata_location FROM iceberg_tables WHERE table_name = 'bronze_raw'";
        let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
        let catalog = self.folder.join("data/catalog.db");
        let found = Command::new("python3").args(["-c", script]).arg(catalog).arg(sql).output().unwrap();
        let location = String::from_utf8(found.stdout).unwrap();
        PathBuf::from(location.trim().trim_start_matches("file://"))
    }
}

/// The files of a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap().map(Result::unwrap) {
            if entry.metadata().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path());
            }
        }
    }
    found
}

/// Replaces bytes of a file by as many others; returns whether it held them.
fn replace(file: &Path, then: &[u8], now: &[u8]) -> bool {
    let mut bytes = fs::read(file).unwrap();
    let found: Vec<_> = bytes.windows(then.len()).enumerate().filter(|(_, at)| *at == then).map(|(at, _)| at).collect();
    for at in &found {
        bytes[*at..*at + now.len()].copy_from_slice(now);
    }
    if !found.is_empty() {
        fs::write(file, bytes).unwrap();
    }
    !found.is_empty()
}

fn frames(last: u64) -> BTreeSet<Key> {
    ["door", "till"].iter().flat_map(|camera| (1..=last).map(|frame| ((*camera).to_owned(), frame))).collect()
}

#[test]
fn a_folder_of_the_first_state_goes_on_exactly_once_and_all_that_is_newer_comes_of_it() {
    let state = FirstState::unpack();
    state.rva(&["config", "show"]).exits(0);
    // Before anything is written.
    state.rva(&["tables"]).exits(0);
    assert_eq!(state.keys(), frames(60));
    let letters = || state.query("SELECT reason FROM bronze_dead_letters").len();
    assert_eq!(letters(), 3);

    // What was in the log alone comes in, and nothing a second time.
    state.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(state.keys(), frames(80));
    assert_eq!(letters(), 4);
    state.rva(&["replay", "upto-40.ndjson"]).exits(0);
    state.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(state.keys(), frames(80));

    state.rva(&["refine", "--drain"]).exits(0);
    state.rva(&["verify"]).exits(0);
    let people = state.query("SELECT store_id, unique_people FROM gold_people_per_minute ORDER BY store_id, ts_minute");
    assert_eq!(people, ["store_01,1", "store_01,1", "store_02,1", "store_02,1"]);
    state.rva(&["maintain", "--once"]).exits(0);
    state.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(state.keys(), frames(80));
    let backup = state.folder.join("backup").display().to_string();
    state.rva(&["backup", &backup]).exits(0);
    state.rva(&["backup", "verify", &backup]).exits(0);
}

#[test]
fn what_a_later_version_wrote_is_refused_with_the_way_out_and_nothing_is_written() {
    let state = FirstState::unpack();
    let bytes = |state: &FirstState| -> Vec<(PathBuf, Vec<u8>)> {
        let files = files(&state.folder.join("data")).into_iter();
        // SQLite's own, and the lock that says who held it last.
        let files = files.filter(|file| {
            !["db", "db-wal", "db-shm", "lock"].iter().any(|end| file.extension().is_some_and(|found| found == *end))
        });
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    };

    let identity = state.folder.join("data/log/identity");
    let id = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, format!("{id}format 2\n")).unwrap();
    let before = bytes(&state);
    for command in [&["ingest", "--drain"][..], &["replay", "upto-40.ndjson"]] {
        let said = state.rva(command).exits(1).stderr;
        assert!(said.contains("found format 2 in ") && said.contains("go on with that version"), "{command:?}: {said}");
    }
    assert!(bytes(&state) == before);
    fs::write(&identity, id).unwrap();

    let metadata = state.metadata();
    let text = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, text.replacen(r#""properties":{"#, r#""properties":{"rva.format":"2","#, 1)).unwrap();
    let before = bytes(&state);
    let commands: [&[&str]; 6] = [
        &["ingest", "--drain"],
        &["refine", "--drain"],
        &["maintain", "--once"],
        &["tables"],
        &["query", "SELECT count(*) FROM bronze_raw"],
        &["backup", "b"],
    ];
    for command in commands {
        let said = state.rva(command).exits(1).stderr;
        assert!(said.contains("rva.bronze_raw: found rva.format = 2, wanted 1 to 1"), "{command:?}: {said}");
    }
    assert!(bytes(&state) == before);
    fs::write(&metadata, text).unwrap();
    state.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(state.keys(), frames(80));
}

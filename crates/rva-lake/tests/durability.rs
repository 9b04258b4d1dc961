//! What a commit writes is on the disk when it is told: shown by the system calls of a real process.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, quick, row};
use rva_lake::{Lake, TableSink};
use std::collections::{HashMap, HashSet};
use std::process::Command;

const CHILD: &str = "RVA_DURABILITY_CHILD";

/// Run by the test below in a process of its own, under strace.
#[tokio::test]
async fn child_process_commits_once() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let lake = Lake::open_embedded(dir.as_ref(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
}

/// The quoted strings of a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('"').skip(1).step_by(2).collect()
}

#[test]
fn data_files_manifests_metadata_and_their_folders_are_synced_before_the_commit_is_told() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("strace.log"));
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "4096", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_process_commits_once"])
        .env(CHILD, &data)
        .output()
        .unwrap();
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    if !status.status.success() && !log.contains("exited with 0") {
        println!("skipped: strace can't trace here: {}", String::from_utf8_lossy(&status.stderr));
        return;
    }
    let mut synced: HashSet<String> = HashSet::new();
    let mut renamed: HashMap<String, bool> = HashMap::new();
    let mut folders_made: HashMap<String, bool> = HashMap::new();
    for line in log.lines() {
        if line.contains("fsync(") || line.contains("fdatasync(") {
            let Some(path) = line.split('<').nth(1).and_then(|rest| rest.split('>').next()) else { continue };
            synced.insert(path.to_owned());
            // The folder's sync after the rename makes the name durable.
            for (target, done) in renamed.iter_mut().chain(&mut folders_made) {
                *done |= std::path::Path::new(target).parent().unwrap() == std::path::Path::new(path);
            }
        } else if line.contains("rename") && line.contains(" = 0") {
            let names = quoted(line);
            assert!(synced.contains(names[0]), "renamed before it was synced: {line}");
            renamed.insert(names[1].to_owned(), false);
        } else if line.contains("mkdir") && line.contains(" = 0") {
            folders_made.insert(quoted(line)[0].to_owned(), false);
        }
    }
    let of = |ending: &str| renamed.keys().filter(|path| path.ends_with(ending)).count();
    assert_eq!(of(".parquet"), 1, "{renamed:?}");
    assert_eq!(of("-m0.avro"), 1, "{renamed:?}");
    assert_eq!(renamed.keys().filter(|path| path.contains("/snap-")).count(), 1, "{renamed:?}");
    assert_eq!(of(".metadata.json"), 3, "two tables made, one commit: {renamed:?}");
    let lost: Vec<_> = renamed.iter().filter(|(_, done)| !**done).collect();
    assert!(lost.is_empty(), "names that a power loss could take: {lost:?}");
    let lost: Vec<_> = folders_made.iter().filter(|(_, done)| !**done).collect();
    assert!(lost.is_empty(), "folders that a power loss could take: {lost:?}");
    let wanted = ["warehouse", "bronze_raw", "data", "metadata", "store_id=store_01"];
    for name in wanted {
        // A table's folder has an id behind its name.
        let is_it = |folder: &str| folder == name || folder.starts_with(&format!("{name}-"));
        let made = folders_made.keys().filter_map(|path| path.rsplit('/').next());
        assert!(made.into_iter().any(is_it), "{name}: {folders_made:?}");
    }
    assert!(synced.iter().any(|path| path.contains("catalog.db")), "{synced:?}");
}

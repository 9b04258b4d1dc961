//! Disks without room, while spooling and while committing: it stops reading, says so, and goes on when there is room.

use crate::common::rva;
use crate::world::{Key, World, keys, records};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A small disk of its own at a folder; it goes with the test.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self { at: at.to_owned() });
        }
        eprintln!("skipped: no right to mount a tmpfs");
        None
    }

    /// Takes all the room but about `left` bytes.
    fn fill(&self, left: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        for piece in [1 << 16, 1 << 12, 1] {
            let bytes = vec![7; piece];
            while ballast.write_all(&bytes).is_ok() {}
        }
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length - left).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    fn remount_read_only(&self) -> bool {
        let mount = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.at).status();
        mount.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn many() -> BTreeSet<Key> {
    keys("many", "till", 1..=1500)
}

/// Files that were begun and not finished.
fn leftovers(world: &World) -> Vec<PathBuf> {
    let files = world.files(Path::new(""));
    files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "tmp")).collect()
}

#[test]
fn a_replay_onto_a_full_disk_says_so_waits_and_loses_nothing() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.data().join("log"), "4m") else { return };
    let earlier = world.seed();
    let many = many();
    world.write("many.ndjson", records(&many));
    disk.fill(64 << 10);
    let mut replay = world.start(&["replay", "many.ndjson"]);
    let segment = world.data().canonicalize().unwrap().join("log/till");
    replay.wait_until_it_says(&["No space left on device", "wanted room on that disk", segment.to_str().unwrap()]);
    assert!(world.logged("till").len() < many.len(), "the disk was not full");
    assert_eq!(world.rows(), earlier);
    disk.make_room();
    replay.end().exits(0).says(&["1500 records put into"]);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["1500 rows committed"]);
    assert_eq!(world.rows(), &earlier | &many);
}

#[test]
fn a_run_onto_a_full_disk_stops_reading_says_so_and_goes_on_when_there_is_room() {
    let world = World::new();
    let Some(clip) = world.clip(40) else { return };
    let Some(disk) = SmallDisk::mount(&world.data().join("log"), "1m") else { return };
    let earlier = world.seed();
    disk.fill(16 << 10);
    let mut run = world.start_run(&clip, &["--commit-interval", "300ms", "--conf", "0.1"]);
    let segment = world.data().canonicalize().unwrap().join("log/cam_01");
    run.wait_until_it_says(&["reading stops", "No space left on device", segment.to_str().unwrap()]);
    assert!(world.logged("cam_01").len() < 40, "the disk was not full");
    disk.make_room();
    run.end().exits(0).says(&["40 rows committed", "takes records again"]);
    let rows = world.rows();
    let new: BTreeSet<Key> = rows.difference(&earlier).cloned().collect();
    assert_eq!(crate::world::last_without_hole(&new), 40);
    assert!(rows.is_superset(&earlier));
}

#[test]
fn an_ingest_onto_a_full_disk_says_so_waits_and_commits_everything_once_there_is_room() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.data().join("warehouse"), "4m") else { return };
    let earlier = world.seed();
    let many = many();
    world.write("many.ndjson", records(&many));
    world.rva(&["replay", "many.ndjson"]).exits(0);
    disk.fill(0);
    let mut ingest = world.start(&["ingest", "--drain"]);
    let warehouse = world.data().canonicalize().unwrap().join("warehouse/rva/bronze_raw");
    ingest.wait_until_it_says(&["bronze_raw", "No space left on device", warehouse.to_str().unwrap(), "reading stops"]);
    assert_eq!(world.rows(), earlier);
    disk.make_room();
    ingest.end().exits(0).says(&["1500 rows committed", "works again"]);
    assert_eq!(world.rows(), &earlier | &many);
    assert_eq!(leftovers(&world), [] as [PathBuf; 0]);
}

#[test]
fn a_run_whose_tables_have_no_room_commits_every_frame_once_there_is_some() {
    let world = World::new();
    let Some(clip) = world.clip(20) else { return };
    let Some(disk) = SmallDisk::mount(&world.data().join("warehouse"), "4m") else { return };
    let earlier = world.seed();
    disk.fill(0);
    let mut run = world.start_run(&clip, &["--commit-interval", "300ms"]);
    run.wait_until_it_says(&["bronze_raw", "No space left on device"]);
    assert_eq!(world.rows(), earlier);
    // The log takes the frames all the same.
    run.wait_for("all frames in the log", |_| world.logged("cam_01").len() == 20);
    disk.make_room();
    run.end().exits(0).says(&["20 rows committed"]);
    assert_eq!(world.rows(), &earlier | &world.logged("cam_01"));
}

#[test]
fn a_refine_whose_tables_have_no_room_says_so_and_goes_on_when_there_is_some() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.data().join("warehouse"), "8m") else { return };
    world.seed();
    world.rva(&["refine", "--drain"]).exits(0);
    world.write("many.ndjson", records(&many()));
    world.rva(&["replay", "many.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    disk.fill(0);
    let mut refine = world.start(&["refine"]);
    refine.wait_until_it_says(&["No space left on device", "tries again"]);
    world.rva(&["verify"]).exits(1).says(&["bring the tables up"]);
    disk.make_room();
    let is_behind = |line: &str| line.contains(" behind)") && !line.contains("(0 behind)");
    refine.wait_for("silver at bronze's end", |_| !world.rva(&["tables"]).exits(0).stdout.lines().any(is_behind));
    refine.signal("-INT");
    refine.end().exits(0);
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["verify"]).exits(0).says(&["silver is what bronze says"]);
}

#[test]
fn an_ingest_whose_catalog_has_no_room_goes_on_when_there_is_some() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.data(), "8m") else { return };
    // The log has a disk of its own, so that records come in while the catalog's is full.
    let Some(_log) = SmallDisk::mount(&world.data().join("log"), "8m") else { return };
    let earlier = world.seed();
    let many = many();
    world.write("many.ndjson", records(&many));
    let mut ingest = world.start(&["ingest", "--commit-interval", "200ms"]);
    ingest.wait_until_it_says(&["following"]);
    disk.fill(0);
    world.rva(&["replay", "many.ndjson"]).exits(0);
    let folder = world.data().canonicalize().unwrap();
    ingest.wait_until_it_says(&["bronze_raw", "No space left on device", folder.to_str().unwrap()]);
    disk.make_room();
    ingest.wait_until_it_says(&["works again"]);
    ingest.signal("-INT");
    ingest.end().exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(world.rows(), &earlier | &many);
    assert_eq!(leftovers(&world), [] as [PathBuf; 0]);
}

#[test]
fn a_data_folder_on_a_read_only_disk_can_be_queried_and_refuses_the_rest() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.data(), "8m") else { return };
    let earlier = world.seed();
    world.write("more.ndjson", records(&keys("more", "till", 1..=3)));
    if !disk.remount_read_only() {
        eprintln!("skipped: no right to mount a tmpfs read-only");
        return;
    }
    let folder = world.data().canonicalize().unwrap().display().to_string();
    for arguments in [&["replay", "more.ndjson"][..], &["ingest", "--drain"]] {
        world.rva(arguments).exits(1).says(&[&folder, "Read-only file system", "wanted a folder that can be written"]);
    }
    if let Some(clip) = world.clip(2) {
        world.run(&clip, &[]).exits(1).says(&[&folder, "Read-only file system", "wanted a folder that can be written"]);
    }
    assert_eq!(world.rows(), earlier);
}

#[test]
fn a_backup_onto_a_full_disk_says_so_and_the_one_before_stays_whole() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.path().join("store"), "4m") else { return };
    let earlier = world.seed();
    world.rva(&["backup", "store"]).exits(0);
    world.write("many.ndjson", records(&many()));
    world.rva(&["replay", "many.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    disk.fill(0);
    world.rva(&["backup", "store"]).exits(1).says(&["No space left on device", "store", "make room"]);
    rva(world.path(), &["restore", "store", "--to", "whole"]).exits(0);
    disk.make_room();
    world.rva(&["backup", "store"]).exits(0);
    rva(world.path(), &["backup", "verify", "store"]).exits(0).says(&["2 backups", "all are what they were"]);
    rva(world.path(), &["restore", "store", "--to", "other"]).exits(0);
    let sql = "SELECT count(*) FROM bronze_raw";
    let counted = rva(world.path(), &["query", sql, "--format", "csv", "--data-dir", "other"]).exits(0).stdout;
    assert_eq!(counted.lines().nth(1), Some((earlier.len() + many().len()).to_string().as_str()));
}

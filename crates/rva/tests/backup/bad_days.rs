//! Bad days: places that hold something else, files that are damaged, cut off or lost, targets that hold something,
//! a kill at any moment.

use crate::{
    common::{command, rva},
    files, rows, stored,
    world::{World, keys, records},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

/// A folder with tables and one backup of them in `store`.
fn backed_up() -> World {
    let world = World::seeded();
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["backup", "store"]).exits(0);
    world
}

/// The first file of the store that ends so, and whose path holds this.
fn file_of(store: &Path, ending: &str) -> PathBuf {
    let found = stored(store);
    let path = found.keys().find(|path| path.to_string_lossy().ends_with(ending)).unwrap();
    store.join("files").join(path)
}

#[test]
fn a_folder_that_holds_something_else_is_refused_and_foreign_files_beside_backups_are_left_alone() {
    let world = World::seeded();
    let folder = world.path();
    fs::create_dir_all(folder.join("photos")).unwrap();
    fs::write(folder.join("photos/cat.jpg"), "cat").unwrap();
    world.rva(&["backup", "photos"]).exits(1).says(&["cat.jpg", "wanted an empty folder or one with backups"]);
    rva(folder, &["backup", "verify", "photos"]).exits(1).says(&["found no rva-backup.json", "photos"]);
    rva(folder, &["restore", "photos", "--to", "other"]).exits(1).says(&["found no rva-backup.json"]);
    assert_eq!(files(&folder.join("photos")).len(), 1);

    world.rva(&["backup", "store"]).exits(0);
    fs::write(folder.join("store/cat.jpg"), "cat").unwrap();
    fs::write(folder.join("store/backups/notes.txt"), "mine").unwrap();
    world.rva(&["backup", "store", "--keep", "1"]).exits(0);
    rva(folder, &["backup", "verify", "store"]).exits(0).says(&["cat.jpg is no file of a backup", "notes.txt is no"]);
    assert_eq!(fs::read_to_string(folder.join("store/cat.jpg")).unwrap(), "cat");
    assert_eq!(fs::read_to_string(folder.join("store/backups/notes.txt")).unwrap(), "mine");
    rva(folder, &["restore", "store", "--to", "other"]).exits(0);
}

#[test]
fn a_file_that_is_damaged_cut_off_or_lost_is_named_and_nothing_is_restored_from_it() {
    let world = backed_up();
    let folder = world.path();
    let store = folder.join("store");
    let (data, manifest) = (file_of(&store, ".parquet"), file_of(&store, "-m0.avro"));
    for path in [&data, &manifest] {
        let whole = fs::read(path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        let cut = whole[..whole.len() / 2].to_vec();
        for (bytes, said) in [(Some(damaged), "damaged"), (Some(cut), "cut off"), (None, "missing")] {
            match &bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let verified = rva(folder, &["backup", "verify", "store"]).exits(1).says(&["1 are not what they were"]);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(verified.stdout.contains(name) && verified.stdout.contains(said), "{}", verified.stdout);
            let restored = rva(folder, &["restore", "store", "--to", "other"]).exits(1);
            assert!(restored.stderr.contains(name), "{}", restored.stderr);
            assert!(!folder.join("other/catalog.db").exists());
            fs::write(path, &whole).unwrap();
        }
    }
    rva(folder, &["restore", "store", "--to", "other"]).exits(0);
    assert_eq!(rows(folder, "other"), world.rows());

    // What is cut off or lost the next backup copies anew.
    let whole = fs::read(&data).unwrap();
    File::options().write(true).open(&data).unwrap().set_len(10).unwrap();
    fs::remove_file(&manifest).unwrap();
    world.rva(&["backup", "store"]).exits(0).says(&[" 2 of them new"]);
    assert_eq!(fs::read(&data).unwrap(), whole);
    rva(folder, &["backup", "verify", "store"]).exits(0);
}

#[test]
fn a_record_that_is_damaged_is_named_and_the_other_backups_stay_usable() {
    let world = backed_up();
    let folder = world.path();
    std::thread::sleep(Duration::from_millis(1100));
    world.rva(&["backup", "store"]).exits(0);
    let mut records: Vec<PathBuf> =
        fs::read_dir(folder.join("store/backups")).unwrap().map(|entry| entry.unwrap().path()).collect();
    records.sort();
    let name = records[1].file_name().unwrap().to_str().unwrap().to_owned();
    File::options().write(true).open(&records[1]).unwrap().set_len(100).unwrap();
    let verified = rva(folder, &["backup", "verify", "store"]).exits(1);
    assert!(verified.stdout.contains(&name), "{}", verified.stdout);
    rva(folder, &["restore", "store", "--to", "other"]).exits(1).says(&[&name, "damaged or cut off"]);
    assert!(!folder.join("other").exists());
    let first = records[0].file_name().unwrap().to_str().unwrap()[..16].to_owned();
    rva(folder, &["restore", "store", "--backup", &first, "--to", "other"]).exits(0);
    // A new one copies everything again rather than trust it; nothing is removed on its word.
    world.rva(&["backup", "store"]).exits(0).says(&["the newest backup's record can't be read"]);
    world.rva(&["backup", "store", "--keep", "3"]).exits(1).says(&[&name]);
    fs::remove_file(&records[1]).unwrap();
    world.rva(&["backup", "store", "--keep", "2"]).exits(0);
    rva(folder, &["backup", "verify", "store"]).exits(0);
    rva(folder, &["restore", "store", "--backup", "1999", "--to", "third"]).exits(1).says(&["wanted backup 1999"]);
}

#[test]
fn nothing_is_restored_over_something_that_is_there() {
    let world = backed_up();
    let folder = world.path();
    let before = files(&world.data());
    world.rva(&["restore", "store"]).exits(1).says(&["catalog.db already", "nothing was written"]);
    fs::create_dir_all(folder.join("other/warehouse")).unwrap();
    fs::write(folder.join("other/warehouse/mine.parquet"), "mine").unwrap();
    rva(folder, &["restore", "store", "--to", "other"]).exits(1).says(&["warehouse already", "nothing was written"]);
    assert_eq!(files(&folder.join("other")).len(), 1);
    assert_eq!(files(&world.data()).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

#[test]
fn a_restore_that_is_killed_anywhere_leaves_no_catalog_and_begins_again() {
    let world = backed_up();
    let folder = world.path();
    for at in 0..12_u64 {
        let mut child = command(folder, &["restore", "store", "--to", "other"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(at * 15));
        let _ = child.kill();
        let ended = child.wait().unwrap();
        if folder.join("other/catalog.db").exists() {
            assert_eq!(rows(folder, "other"), world.rows(), "a catalog that is there is whole");
            if ended.success() {
                fs::remove_dir_all(folder.join("other")).unwrap();
                continue;
            }
            let _ = fs::remove_dir_all(folder.join("other"));
        }
    }
    rva(folder, &["restore", "store", "--to", "other"]).exits(0);
    assert_eq!(rows(folder, "other"), world.rows());
    rva(folder, &["verify", "--data-dir", "other"]).exits(0);
}

#[test]
fn a_backup_that_is_killed_anywhere_harms_no_other_and_the_next_one_is_whole() {
    let world = backed_up();
    let folder = world.path();
    for at in 0..10_u64 {
        world.write("more.ndjson", records(&keys(&format!("run{at}"), "till", 1..=3)));
        world.rva(&["replay", "more.ndjson"]).exits(0);
        world.rva(&["ingest", "--drain"]).exits(0);
        let mut child = world.command(&["backup", "store"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(at * 12));
        let _ = child.kill();
        child.wait().unwrap();
        rva(folder, &["backup", "verify", "store"]).exits(0);
    }
    world.rva(&["backup", "store"]).exits(0);
    rva(folder, &["restore", "store", "--to", "other"]).exits(0);
    assert_eq!(rows(folder, "other"), world.rows());
}

#[test]
fn two_backups_at_once_into_one_folder_are_told_apart() {
    let world = backed_up();
    let lock = File::options().write(true).open(world.path().join("store/lock")).unwrap();
    lock.lock().unwrap();
    world.rva(&["backup", "store"]).exits(1).says(&["another program backs up into"]);
    drop(lock);
    world.rva(&["backup", "store"]).exits(0);
}

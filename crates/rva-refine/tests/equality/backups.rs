//! Backups beside a writer and a refiner: each is one point in time, from which both go on elsewhere.

use crate::block_on;
use crate::world::{Bronze, Random, T0, assert_equal, draw, film, open, quick, refine, shape, sql};
use rva_lake::{BackupStore, BronzeRow, Lake, RestoreTarget, storage::LakeStorageFactory};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::tempdir;

fn parts() -> Vec<Vec<BronzeRow>> {
    let mut random = Random(23);
    let mut rows = Vec::new();
    for (store, camera, run, start) in
        [("a", "door", "run-1", T0), ("b/é", "door", "run-3", T0), ("a", "door", "run-0", T0 - 3_600_000_000)]
    {
        rows.extend(film(&mut random, store, camera, run, start, 240.0));
    }
    rows.chunks(rows.len().div_ceil(24)).map(<[_]>::to_vec).collect()
}

fn store_in(folder: &Path) -> BackupStore {
    BackupStore::at(LakeStorageFactory::default().storage(), &folder.display().to_string()).unwrap()
}

async fn keys(lake: &Lake) -> Vec<Vec<String>> {
    sql(lake, "SELECT pipeline_run_id, camera_id, frame_index FROM bronze_raw").await
}

#[test]
fn a_backup_beside_a_writer_and_a_refiner_is_a_point_in_time_from_which_both_go_on_exactly_once() {
    block_on(async {
        let folder = tempdir().unwrap();
        let lake = open(&folder.path().join("d")).await;
        let middle = shape("door", "middle", "line", "[[0.5,0.05],[0.45,0.95]]", 0, None);
        draw(&lake, vec![middle]).await;
        let all = parts();
        let store = store_in(&folder.path().join("store"));

        let done = Arc::new(AtomicBool::new(false));
        let (mut bronze, parts, ended) = (Bronze::of(&lake), all.clone(), Arc::clone(&done));
        let writer = tokio::spawn(async move {
            for part in parts {
                bronze.append(part).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            ended.store(true, Ordering::SeqCst);
        });
        let mut job = refine(&lake).await;
        let ended = Arc::clone(&done);
        let refiner = tokio::spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                job.drain().await.unwrap();
            }
        });
        while !done.load(Ordering::SeqCst) {
            let made = lake.back_up(&store, None).await.unwrap();
            println!("{} files, {} new, {} looks", made.backup.size().0, made.files_copied, made.looks);
        }
        writer.await.unwrap();
        refiner.await.unwrap();
        assert_eq!(store.verify(None).await.unwrap().findings, []);
        let backups = store.backups().await.unwrap();
        assert!(backups.len() >= 3, "{} backups while it was written show nothing", backups.len());
        std::fs::remove_dir_all(folder.path().join("d")).unwrap();

        let mut sizes = BTreeSet::new();
        for (at, backup) in backups.iter().enumerate().step_by((backups.len() / 4).max(1)) {
            let target = folder.path().join(format!("restored{at}"));
            store.restore(backup, &RestoreTarget::Folder(target.clone()), &quick()).await.unwrap();
            let lake = open(&target).await;
            let held = keys(&lake).await;
            sizes.insert(held.len());
            // Whoever was behind reads the snapshots between; nothing is worked out anew.
            let mut job = refine(&lake).await;
            job.drain().await.unwrap();
            assert_eq!(job.counters.corrections, 0, "{at}: {:?}", job.counters);
            assert_equal(&lake, &format!("backup {at}")).await;
            // The log gives everything from its beginning: what is there is known.
            let mut bronze = Bronze::of(&lake);
            bronze.resume().await;
            for part in &all {
                bronze.append(part.clone()).await;
            }
            let found = keys(&lake).await;
            assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "{at}: an event is there twice");
            assert_eq!(found.len(), all.iter().map(Vec::len).sum::<usize>(), "{at}");
            job.drain().await.unwrap();
            let compared = assert_equal(&lake, &format!("backup {at}, gone on")).await;
            assert!(compared > 20, "{compared} rows show nothing");
        }
        assert!(sizes.len() > 1, "the backups hold the same: {sizes:?}");
    });
}

#[test]
fn a_second_backup_copies_the_files_that_are_new_and_no_other() {
    block_on(async {
        let folder = tempdir().unwrap();
        let lake = open(&folder.path().join("d")).await;
        let (all, store) = (parts(), store_in(&folder.path().join("store")));
        let mut bronze = Bronze::of(&lake);
        bronze.append(all[0].clone()).await;
        refine(&lake).await.drain().await.unwrap();
        let first = lake.back_up(&store, None).await.unwrap();
        assert_eq!(first.files_copied, first.backup.size().0);
        let same = lake.back_up(&store, None).await.unwrap();
        assert_eq!((same.files_copied, same.bytes_copied), (0, 0));

        bronze.append(all[1].clone()).await;
        refine(&lake).await.drain().await.unwrap();
        let second = lake.back_up(&store, None).await.unwrap();
        let files = |made: &rva_lake::BackupMade| -> HashMap<String, u64> {
            let files = made.backup.tables.iter().flat_map(|table| &table.files);
            files.map(|file| (file.location.clone(), file.size)).collect()
        };
        let (before, after) = (files(&first), files(&second));
        let new: Vec<_> = after.iter().filter(|(location, _)| !before.contains_key(*location)).collect();
        assert_eq!(second.files_copied, new.len() as u64);
        assert_eq!(second.bytes_copied, new.iter().map(|(_, size)| **size).sum::<u64>());
        assert!(new.len() < after.len(), "bronze's first file is in both");

        // Only the newest is kept: what the others alone named goes.
        let last = lake.back_up(&store, Some(1)).await.unwrap();
        let pruned = last.pruned.unwrap();
        assert_eq!(pruned.backups.len(), 3);
        assert!(pruned.files > 0, "gold's first files are named by nobody");
        let verified = store.verify(None).await.unwrap();
        assert_eq!((verified.findings.len(), verified.unnamed, verified.backups.len()), (0, 0, 1));
        let target = RestoreTarget::Folder(folder.path().join("other"));
        store.restore(&last.backup, &target, &quick()).await.unwrap();
        let refused = store.restore(&last.backup, &target, &quick()).await.unwrap_err().to_string();
        assert!(refused.contains("catalog.db already") && refused.contains("nothing was written"), "{refused}");
        assert_equal(&open(&folder.path().join("other")).await, "restored").await;
    });
}

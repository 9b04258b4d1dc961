//! The map of many cameras isn't in every snapshot, and is never silently lost.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, change_metadata, keys_of, quick, row, table_keys};
use iceberg::{TableIdent, table::Table};
use rva_lake::{CommitOutcome, Lake, LakeErrorKind, LakeOptions, TableSink};
use rva_types::{OffsetMap, Position};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

async fn bronze(lake: &Lake) -> Table {
    lake.catalog().load_table(&TableIdent::from_strs(["rva", "bronze_raw"]).unwrap()).await.unwrap()
}

/// The files with maps in a table's metadata folder.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    // A table's folder has an id in its name.
    let tables = std::fs::read_dir(dir.join("warehouse/rva")).unwrap().map(|entry| entry.unwrap().path());
    let bronze = tables.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("bronze_raw"));
    let found = bronze.flat_map(|table| std::fs::read_dir(table.join("metadata")).unwrap());
    let paths = found.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().ends_with(".offsets.zst")).collect()
}

fn cameras(count: u64, number: u64) -> OffsetMap {
    let mut map = OffsetMap::new();
    for camera in 0..count {
        map.advance(
            format!("store_{:03}_cam_{camera:05}", camera % 100),
            Position::of_record(number * 150 + camera % 7),
        );
    }
    map
}

fn inline(bytes_max: usize) -> LakeOptions {
    let mut options = quick();
    options.offsets_inline_max = bytes_max;
    options
}

fn in_files() -> LakeOptions {
    inline(0)
}

/// Three commits of one row each; the file of each commit's map, and its snapshot.
async fn three_commits(dir: &Path, lake: &Lake) -> Vec<(PathBuf, i64)> {
    let mut sink = lake.bronze_sink().unwrap();
    let (mut from, mut made) = (at(&[]), Vec::new());
    for number in 1..=3 {
        let before = files(dir);
        let to = at(&[("a", number)]);
        sink.commit(&batch(from, to.clone(), vec![row("run", i64::try_from(number).unwrap())])).await.unwrap();
        let new: Vec<_> = files(dir).difference(&before).cloned().collect();
        assert_eq!(new.len(), 1, "a file a commit");
        made.push((new[0].clone(), bronze(lake).await.metadata().current_snapshot_id().unwrap()));
        from = to;
    }
    made
}

async fn roll_back(dir: &Path, lake: &Lake, snapshot: i64) {
    let retention = iceberg::spec::SnapshotRetention::branch(None, None, None);
    let reference = iceberg::spec::SnapshotReference::new(snapshot, retention);
    change_metadata(dir, &*lake.catalog(), |builder| builder.set_ref("main", reference)).await;
}

#[tokio::test]
async fn a_lost_file_halts_what_needs_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), in_files()).await.unwrap();
    let made = three_commits(dir.path(), &lake).await;
    // The newest map is in the table itself: no file is needed to go on.
    let aside = dir.path().join("aside");
    for (file, _) in &made {
        std::fs::rename(file, aside.with_extension(file.file_name().unwrap())).unwrap();
    }
    let resume = lake.bronze_sink().unwrap().resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence, resume.rolled_back_from), (at(&[("a", 3)]), 3, None));
    // Rolled back, it is; and to begin without it would be to read the log from its oldest record.
    roll_back(dir.path(), &lake, made[1].1).await;
    let error = lake.bronze_sink().unwrap().resume_point().await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent, "{error}");
    let name = made[1].0.file_name().unwrap().to_str().unwrap();
    for part in ["found nothing at", name, "wanted the offsets of 1 partitions", "restore that file"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let refused = lake.bronze_sink().unwrap().commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await;
    assert_eq!(refused.unwrap_err().kind(), LakeErrorKind::Permanent);
    for wrong in [&b"garbage"[..], &std::fs::read(aside.with_extension(made[0].0.file_name().unwrap())).unwrap()] {
        std::fs::write(&made[1].0, wrong).unwrap();
        let error = lake.bronze_sink().unwrap().resume_point().await.unwrap_err();
        assert_eq!(error.kind(), LakeErrorKind::Permanent, "{error}");
        assert!(error.to_string().contains("found other bytes") || error.to_string().contains("found another map"));
    }
    std::fs::copy(aside.with_extension(name), &made[1].0).unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let resume = sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence, resume.rolled_back_from), (at(&[("a", 2)]), 2, Some(3)));
    let outcome = sink.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), vec![row("run", 3)])).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 1, rows_known: 0 });
    assert_eq!(table_keys(&lake).await, keys_of("run", 1..=3));
}

#[tokio::test]
async fn maps_in_summaries_and_maps_in_files_follow_each_other_in_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let (mut from, mut number) = (at(&[]), 0);
    // As before an update, after it, and with another bound.
    for inline_max in [usize::MAX, 0, usize::MAX, 0, 1024] {
        let options = inline(inline_max);
        let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        assert_eq!(sink.resume_point().await.unwrap().offsets, from);
        number += 1;
        let to = at(&[("a", number)]);
        sink.commit(&batch(from, to.clone(), vec![row("run", i64::try_from(number).unwrap())])).await.unwrap();
        from = to;
    }
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    assert_eq!(table_keys(&lake).await, keys_of("run", 1..=5));
}

#[tokio::test]
async fn files_of_expired_snapshots_go_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = in_files();
    options.housekeeping.snapshots_kept = 3;
    options.housekeeping.snapshots_slack = 1;
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=20 {
        let to = at(&[("a", number)]);
        sink.commit(&batch(from, to.clone(), vec![row("run", i64::try_from(number).unwrap())])).await.unwrap();
        from = to;
    }
    let snapshots = bronze(&lake).await.metadata().snapshots().len();
    assert_eq!(files(dir.path()).len(), snapshots, "a file a snapshot that is kept");
    assert!(snapshots <= 4, "{snapshots}");
}

/// Size of the current metadata.json after so many commits of so many cameras.
async fn metadata_bytes(count: u64, commits: u64, inline_max: usize) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let options = inline(inline_max);
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=commits {
        let to = cameras(count, number);
        sink.commit(&batch(from, to.clone(), Vec::new())).await.unwrap();
        from = to;
    }
    assert_eq!(lake.bronze_sink().unwrap().resume_point().await.unwrap().offsets, cameras(count, commits));
    let table = bronze(&lake).await;
    std::fs::metadata(table.metadata_location().unwrap().strip_prefix("file://").unwrap()).unwrap().len()
}

#[tokio::test]
async fn what_a_commit_adds_to_the_metadata_does_not_grow_with_the_cameras() {
    for (count, first, commits) in [(450, 5, 25), (20_000, 2, 5)] {
        for (name, inline_max) in [("in every summary", usize::MAX), ("in files", 1024)] {
            let few = metadata_bytes(count, first, inline_max).await;
            let more = metadata_bytes(count, commits, inline_max).await;
            let each = (more - few) / (commits - first);
            println!("{count} cameras, maps {name}: {few} bytes after {first} commits, {each} more for each");
            assert!(inline_max == usize::MAX || each < 2048, "{each}");
            assert!(inline_max == 1024 || each > 10_000, "the comparison has lost its sense: {each}");
        }
    }
}

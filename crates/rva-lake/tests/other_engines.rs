//! What other engines do to our tables and beside them: nothing of theirs is deleted, what they deleted stays deleted.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/replace.rs"]
mod replace;

use common::{at, batch, keys_of, quick, row, table_keys};
use engine::Engine;
use rva_lake::{CommitOutcome, Lake, LakeErrorKind, LakeOptions, TableSink};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const BRONZE: &str = "rva.bronze_raw";

/// Everything that could be deleted is deleted at once.
fn greedy() -> LakeOptions {
    let mut options = quick();
    options.housekeeping.orphan_age = Duration::ZERO;
    options.housekeeping.snapshots_kept = 1;
    options.housekeeping.snapshots_slack = 0;
    options.housekeeping.walk_every = Duration::ZERO;
    options
}

/// Commits frames of a run, as a process of its own.
async fn ingest(dir: &Path, options: LakeOptions, run: &str, frames: std::ops::RangeInclusive<i64>) {
    let lake = Lake::open_embedded(dir, options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    for frame in frames {
        let from = sink.resume_point().await.unwrap().offsets;
        let next = from.get("a").map_or(1, |position| position.entry + 1);
        let outcome = sink.commit(&batch(from, at(&[("a", next)]), vec![row(run, frame)])).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }
}

fn all_files(dir: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![dir.join("warehouse")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

fn make_old(paths: impl IntoIterator<Item = PathBuf>) {
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    for path in paths {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(two_days_ago).unwrap();
    }
}

#[tokio::test]
async fn a_table_that_was_renamed_copied_moved_or_dropped_keeps_its_files_and_rows() {
    let Some(engine) = Engine::find() else { return };
    for (case, new) in [
        ("rename", "rva.bronze_2026"),
        ("rename", "archive.bronze_raw"),
        ("register", "rva.copy"),
        ("drop", "rva.back"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        ingest(dir, quick(), "old", 1..=5).await;
        let files: BTreeSet<_> = all_files(dir);
        let mut dropped = None;
        match case {
            "drop" => dropped = Some(engine.tells(dir, &["drop", BRONZE])),
            _ => drop(engine.does(dir, &[case, BRONZE, new])),
        }
        make_old(all_files(dir));
        ingest(dir, greedy(), "new", 1..=30).await;
        if let Some(location) = dropped {
            engine.does(dir, &["register-at", new, &location]);
        }
        let gone: Vec<_> = files.difference(&all_files(dir)).cloned().collect();
        assert_eq!(gone, Vec::<PathBuf>::new(), "{case}");
        assert_eq!(engine.does(dir, &["missing", new]), json!([]), "{case}");
        assert_eq!(engine.does(dir, &["rows", new, "frame_index"]), json!([1, 2, 3, 4, 5]), "{case}");
        if case != "register" {
            let place = |name| engine.tells(dir, &["location", name]);
            assert_ne!(place(BRONZE), place(new), "{case}: a new table has a folder of its own");
            let lake = Lake::open_embedded(dir, quick()).await.unwrap();
            assert_eq!(table_keys(&lake).await, keys_of("new", 1..=30), "{case}");
        }
    }
}

#[tokio::test]
async fn nothing_is_deleted_where_another_table_lies_within_or_an_older_one_lay() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ingest(dir, quick(), "run", 1..=3).await;
    let place = engine.tells(dir, &["location", BRONZE]);
    engine.does(dir, &["make", "other.nested", &format!("{place}/nested")]);
    let files = all_files(dir);
    make_old(all_files(dir));
    ingest(dir, greedy(), "run", 4..=30).await;
    assert_eq!(files.difference(&all_files(dir)).count(), 0, "the folder is shared");
    assert_eq!(engine.does(dir, &["rows", "other.nested", "number"]), json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));

    // Somebody makes the table anew in the same folder, and may want the old one back.
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ingest(dir, quick(), "run", 1..=3).await;
    let old = engine.tells(dir, &["metadata-location", BRONZE]);
    let files = all_files(dir);
    engine.does(dir, &["remake", BRONZE]);
    ingest(dir, greedy(), "new", 1..=30).await;
    assert_eq!(files.difference(&all_files(dir)).count(), 0, "it holds what is older than the table");
    engine.does(dir, &["register-at", "rva.back", &old]);
    assert_eq!(engine.does(dir, &["rows", "rva.back", "frame_index"]), json!([1, 2, 3]));
}

#[tokio::test]
async fn a_folder_that_is_somebodys_is_refused_when_a_table_is_made() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    ingest(dir.path(), quick(), "run", 1..=3).await;
    let place = engine.tells(dir.path(), &["location", BRONZE]);
    engine.does(dir.path(), &["rename", BRONZE, "rva.old"]);
    let before = all_files(dir.path());
    let catalog = rva_lake::embedded_catalog(dir.path(), quick().storage).await.unwrap();
    let catalog = std::sync::Arc::new(rva_lake::Layered(Careless { inner: catalog, place: place.clone() }));
    let error = Lake::from_parts(catalog, quick()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent);
    for part in ["rva.bronze_raw", place.as_str(), "holds files already", "`location` property"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let after = all_files(dir.path());
    assert_eq!(before.difference(&after).count(), 0);
    assert_eq!(engine.does(dir.path(), &["rows", "rva.old", "frame_index"]), json!([1, 2, 3]));
}

/// Gives every table the same folder.
#[derive(Debug)]
struct Careless {
    inner: std::sync::Arc<dyn iceberg::Catalog>,
    place: String,
}

#[async_trait::async_trait]
impl rva_lake::CatalogLayer for Careless {
    fn inner(&self) -> &dyn iceberg::Catalog {
        &*self.inner
    }

    async fn load_table(&self, table: &iceberg::TableIdent) -> iceberg::Result<iceberg::table::Table> {
        self.inner.load_table(table).await
    }

    async fn update_table(&self, commit: iceberg::TableCommit) -> iceberg::Result<iceberg::table::Table> {
        self.inner.update_table(commit).await
    }

    async fn create_table(
        &self,
        namespace: &iceberg::NamespaceIdent,
        mut creation: iceberg::TableCreation,
    ) -> iceberg::Result<iceberg::table::Table> {
        creation.location = Some(self.place.clone());
        self.inner.create_table(namespace, creation).await
    }
}

/// Replays frames of a run and returns how many came into the table.
async fn replay(dir: &Path, run: &str, frames: std::ops::RangeInclusive<i64>) -> u64 {
    let lake = Lake::open_embedded(dir, quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let from = sink.resume_point().await.unwrap().offsets;
    let next = from.get("a").map_or(1, |position| position.entry + 1);
    let rows = frames.map(|frame| row(run, frame)).collect();
    match sink.commit(&batch(from, at(&[("a", next)]), rows)).await.unwrap() {
        CommitOutcome::Committed { rows_appended, .. } => rows_appended,
        fenced => panic!("{fenced:?}"),
    }
}

async fn keys(dir: &Path) -> Vec<(String, String, i64)> {
    table_keys(&Lake::open_embedded(dir, quick()).await.unwrap()).await
}

#[tokio::test]
async fn what_another_engine_deleted_stays_deleted_when_it_is_replayed_also_after_expiry() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(replay(dir, "run", 1..=10).await, 10);
    assert_eq!(replay(dir, "other", 1..=4).await, 4);
    // A part of a file, by copy on write; then a whole one.
    engine.does(dir, &["delete", BRONZE, "pipeline_run_id == 'run' and frame_index >= 3 and frame_index <= 5"]);
    engine.does(dir, &["delete", BRONZE, "pipeline_run_id == 'other'"]);
    let mut left: Vec<_> = keys_of("run", [1, 2, 6, 7, 8, 9, 10]);
    assert_eq!(keys(dir).await, left);
    assert_eq!(replay(dir, "run", 1..=12).await, 2, "what was never there comes in, what was deleted doesn't");
    left = keys_of("run", [1, 2, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(keys(dir).await, left);
    // Nothing of the deletion is left in the table but what we noted.
    engine.does(dir, &["expire", BRONZE]);
    assert_eq!(replay(dir, "run", 1..=12).await, 0);
    assert_eq!(replay(dir, "other", 1..=5).await, 1);
    left.splice(0..0, keys_of("other", [5]));
    assert_eq!(keys(dir).await, left);
}

#[tokio::test]
async fn what_an_overwrite_left_out_stays_out_and_what_it_wrote_stays_single() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // One process holds its index over the overwrite.
    let lake = Lake::open_embedded(dir, quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let rows = |frames: std::ops::RangeInclusive<i64>| frames.map(|frame| row("run", frame)).collect::<Vec<_>>();
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), rows(1..=8))).await.unwrap();
    engine.does(dir, &["overwrite", BRONZE, "pipeline_run_id == 'run' and frame_index <= 6"]);
    let wanted = keys_of("run", [2, 4, 6, 7, 8]);
    assert_eq!(keys(dir).await, wanted);
    let outcome = sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), rows(1..=8))).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 8 });
    assert_eq!(keys(dir).await, wanted);
}

#[tokio::test]
async fn a_rollback_of_a_deletion_is_no_deletion() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lake = Lake::open_embedded(dir, quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let rows = |frames: std::ops::RangeInclusive<i64>| frames.map(|frame| row("run", frame)).collect::<Vec<_>>();
    let first = at(&[("a", 1)]);
    sink.commit(&batch(at(&[]), first.clone(), rows(1..=1))).await.unwrap();
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let start = lake.catalog().load_table(&ident).await.unwrap().metadata().current_snapshot_id().unwrap();
    sink.commit(&batch(first, at(&[("a", 2)]), rows(2..=4))).await.unwrap();
    engine.does(dir, &["delete", BRONZE, "frame_index == 3"]);
    sink.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), rows(1..=5))).await.unwrap();
    assert_eq!(keys(dir).await, keys_of("run", [1, 2, 4, 5]));
    common::change_metadata(dir, lake.catalog().as_ref(), |builder| {
        builder.set_ref(
            "main",
            iceberg::spec::SnapshotReference::new(start, iceberg::spec::SnapshotRetention::branch(None, None, None)),
        )
    })
    .await;
    let mut sink = lake.bronze_sink().unwrap();
    let point = sink.resume_point().await.unwrap();
    assert!(point.rolled_back_from.is_some());
    sink.commit(&batch(point.offsets, at(&[("a", 3)]), rows(1..=5))).await.unwrap();
    assert_eq!(keys(dir).await, keys_of("run", 1..=5), "the deletion was rolled back too");
}

#[tokio::test]
async fn the_ingest_goes_on_over_paths_and_columns_of_another_engine() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ingest(dir, quick(), "run", 1..=2).await;
    let metadata = format!("file://{}/metadata-of-ours", elsewhere.path().display());
    engine.does(dir, &["set-property", BRONZE, "write.metadata.path", &metadata]);
    engine.does(dir, &["set-property", BRONZE, "write.data.path", &format!("{}/data", elsewhere.path().display())]);
    ingest(dir, quick(), "run", 3..=4).await;
    assert!(engine.tells(dir, &["metadata-location", BRONZE]).starts_with(&metadata), "the property is kept to");
    engine.does(dir, &["add-columns", BRONZE]);
    ingest(dir, quick(), "run", 5..=6).await;
    engine.does(dir, &["widen", "rva.bronze_dead_letters", "partition"]);
    let lake = Lake::open_embedded(dir, quick()).await.unwrap();
    let mut dead = lake.dead_letter_sink().unwrap();
    let letter = rva_types::DeadLetter {
        topic: "embedded/a".into(),
        partition: 7,
        message_id: "0:9:-1".into(),
        publish_ts: rva_types::Timestamp::from_micros(1),
        reason: rva_types::RejectionReason::ALL[0],
        detail: "x".into(),
        raw: vec![1],
        properties: Default::default(),
        ingest_ts: rva_types::Timestamp::from_micros(2),
    };
    let letters = rva_lake::Batch {
        source: common::SOURCE.into(),
        from: at(&[]),
        to: at(&[("a", 9)]),
        rows: vec![letter.clone(), letter],
    };
    let outcome = dead.commit(&letters).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 1, rows_known: 1 });
    assert_eq!(engine.does(dir, &["rows", "rva.bronze_dead_letters", "partition"]), json!([7]));
    assert_eq!(engine.does(dir, &["rows", BRONZE, "frame_index"]), json!([1, 2, 3, 4, 5, 6]));
    assert_eq!(keys(dir).await, keys_of("run", 1..=6));
}

#[tokio::test]
async fn a_property_that_cannot_be_read_stops_only_the_commit_that_reads_it_with_the_way_out() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    ingest(dir.path(), quick(), "run", 1..=1).await;
    engine.does(dir.path(), &["set-property", BRONZE, "commit.retry.num-retries", "x"]);
    // Our own commits have retries of their own.
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("run", 2)])).await.unwrap();
    assert_eq!(keys(dir.path()).await, keys_of("run", 1..=2));
    // A catalog that takes the crate's transactions alone: those read the property.
    let catalog = rva_lake::embedded_catalog(dir.path(), quick().storage).await.unwrap();
    let lake = Lake::from_parts(catalog, quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let error = sink.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), vec![row("run", 3)])).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent, "{error}");
    assert!(error.to_string().contains("num-retries") && error.to_string().contains("take back"), "{error}");
}

#[tokio::test]
async fn a_replace_by_another_engine_costs_no_key_and_a_foreign_commit_with_our_marks_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.housekeeping.snapshots_kept = 2;
    options.housekeeping.snapshots_slack = 1;
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=3 {
        let to = at(&[("a", number)]);
        sink.commit(&batch(from, to.clone(), vec![row("run", i64::try_from(number).unwrap())])).await.unwrap();
        from = to;
    }
    replace::replace_files(dir.path(), lake.catalog().as_ref()).await;
    let (reads, loads) = (sink.key_counts().files_read, sink.key_counts().blocks_loaded);
    for number in 4..=12 {
        let to = at(&[("a", number)]);
        let rows = (1..=i64::try_from(number).unwrap()).map(|frame| row("run", frame)).collect();
        let outcome = sink.commit(&batch(from, to.clone(), rows)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 1, rows_known: number - 1 });
        from = to;
    }
    let counts = sink.key_counts();
    assert_eq!((counts.files_read, counts.blocks_loaded), (reads, loads), "the same keys are in other files");
    assert_eq!(table_keys(&lake).await, keys_of("run", 1..=12));
}

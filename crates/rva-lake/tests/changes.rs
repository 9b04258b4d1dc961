//! Changes of files: whoever plans one on a table that isn't the newest any more is fenced, an unknown outcome is
//! decided by the table, and other engines read what stands there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/hours.rs"]
mod hours;

use common::{at, quick};
use engine::Engine;
use futures::TryStreamExt;
use hours::{manifests, planned, put, rows};
use iceberg::TableIdent;
use rva_lake::{CommitOutcome, HourByCam, Lake, LakeErrorKind, LakeOptions};
use rva_testkit::lake::{FaultyCatalog, RequestFault, Script, race};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TABLE: &str = "rva.gold_hour_by_cam";

async fn lake_with(dir: &Path, options: LakeOptions) -> Lake {
    Lake::open_embedded(dir, options).await.unwrap().for_job(rva_lake::REFINE_JOB)
}

/// Gives the same lake behind a catalog to whose requests this happens.
fn faulty(lake: &Lake, fault: RequestFault, times: usize) -> Lake {
    let plan = Script::default();
    plan.on_requests(vec![Some(fault); times]);
    lake.clone().with_swap(Arc::new(FaultyCatalog::of(lake, plan)))
}

#[tokio::test]
async fn rows_are_replaced_and_the_position_moves_in_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake_with(dir.path(), quick()).await;
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    put(&mut *table, &[1, 2, 30], 1).await;
    put(&mut *table, &[2], 2).await;
    assert_eq!(rows(&lake).await, [(1, 1), (2, 2), (30, 1)]);
    let resume = table.resume_point().await.unwrap();
    assert_eq!((resume.sequence, resume.offsets), (2, at(&[("in", 2)])));
    let summary = lake.tables().await.unwrap().into_iter().find(|table| table.name == TABLE).unwrap();
    assert_eq!((summary.rows, summary.files), (3, 2), "totals follow what went and what came");
}

#[tokio::test]
async fn whatever_the_catalog_answers_the_table_decides() {
    for fault in [RequestFault::RequestLost, RequestFault::ResponseLost, RequestFault::Lie, RequestFault::Conflict] {
        for times in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            let lake = lake_with(dir.path(), quick()).await;
            put(&mut *lake.refined::<HourByCam>().await.unwrap(), &[1, 2], 1).await;
            let faulty = faulty(&lake, fault, times);
            let mut table = faulty.refined::<HourByCam>().await.unwrap();
            put(&mut *table, &[2, 3], 2).await;
            assert_eq!(rows(&lake).await, [(1, 1), (2, 2), (3, 2)], "{fault:?} {times}");
            assert_eq!(table.resume_point().await.unwrap().sequence, 2, "{fault:?} {times}: once");
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_given_up_is_taken_up_again_and_lands_once() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake_with(dir.path(), quick()).await;
    let attempts = quick().retry.attempts_max as usize;
    let faulty = faulty(&lake, RequestFault::RequestLost, attempts);
    let mut table = faulty.refined::<HourByCam>().await.unwrap();
    let (view, change) = planned(&mut *table, &[1], 1).await;
    assert_eq!(table.commit(&view, &change).await.unwrap_err().kind(), LakeErrorKind::Transient);
    assert_eq!(rows(&lake).await, []);
    assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Committed { .. }));
    assert_eq!(rows(&lake).await, [(1, 1)]);
    // The same once more is known to be there: its position is behind the table's.
    assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Fenced(_)));
    assert_eq!(rows(&lake).await, [(1, 1)]);
}

#[tokio::test]
async fn of_two_that_planned_on_one_table_the_slower_is_fenced_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake_with(dir.path(), quick()).await;
    let (mut one, mut two) = (lake.refined::<HourByCam>().await.unwrap(), lake.refined::<HourByCam>().await.unwrap());
    put(&mut *one, &[1, 2], 1).await;
    // One appends an hour, the other replaces one: each was planned before the other committed.
    for (first, second) in [([7], [1]), ([1], [8])] {
        let (view_one, change_one) = planned(&mut *one, &first, 5).await;
        let (view_two, change_two) = planned(&mut *two, &second, 6).await;
        assert!(matches!(one.commit(&view_one, &change_one).await.unwrap(), CommitOutcome::Committed { .. }));
        assert!(matches!(two.commit(&view_two, &change_two).await.unwrap(), CommitOutcome::Fenced(_)));
        put(&mut *two, &second, 6).await;
    }
    assert_eq!(rows(&lake).await, [(1, 5), (2, 1), (7, 5), (8, 6)]);
}

#[tokio::test]
async fn many_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut workers = Vec::new();
    for worker in 0..4 {
        let lake = lake_with(dir.path(), quick()).await;
        workers.push((worker, lake.refined::<HourByCam>().await.unwrap()));
    }
    race(workers, 6, async |(worker, table), round| {
        let (view, change) = planned(&mut **table, &[*worker], round).await;
        table.commit(&view, &change).await
    })
    .await;
    let lake = lake_with(dir.path(), quick()).await;
    assert_eq!(rows(&lake).await, [(0, 5), (1, 5), (2, 5), (3, 5)]);
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    assert_eq!(table.resume_point().await.unwrap().sequence, 24, "every commit once");
}

#[tokio::test]
async fn manifests_stay_few_and_housekeeping_takes_nothing_that_a_snapshot_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.housekeeping.snapshots_kept = 5;
    options.housekeeping.snapshots_slack = 0;
    options.housekeeping.orphan_age = Duration::ZERO;
    options.housekeeping.walk_every = Duration::ZERO;
    let lake = lake_with(dir.path(), options).await;
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    for count in 0..40 {
        // An hour that is hot, and one that comes new.
        put(&mut *table, &[3, 100 + count], count).await;
        assert!(manifests(&lake).await <= 30, "{count}: {}", manifests(&lake).await);
        let ident = TableIdent::from_strs(["rva", "gold_hour_by_cam"]).unwrap();
        let found = lake.catalog().load_table(&ident).await.unwrap();
        for snapshot in found.metadata().snapshots() {
            let scan = found.scan().snapshot_id(snapshot.snapshot_id()).select_all().build().unwrap();
            let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
            let held: usize = batches.iter().map(|batch| batch.num_rows()).sum();
            let total = &snapshot.summary().additional_properties["total-records"];
            assert_eq!(held.to_string(), *total, "{count}: snapshot {}", snapshot.snapshot_id());
        }
    }
    let wanted: Vec<_> = [(3, 39)].into_iter().chain((0..40).map(|count| (100 + count, count))).collect();
    assert_eq!(rows(&lake).await, wanted);
}

#[tokio::test]
async fn other_engines_read_what_was_replaced_and_compact_it_and_we_go_on() {
    let Some(engine) = Engine::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let lake = lake_with(dir.path(), quick()).await;
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    for count in 0..30 {
        put(&mut *table, &[1, 2 + count % 3], count).await;
    }
    let counts = json!([27, 28, 29, 29]);
    assert_eq!(engine.does(dir.path(), &["rows", TABLE, "detection_count"]), counts);
    assert_eq!(engine.does(dir.path(), &["missing", TABLE]), json!([]));
    // Another engine takes away what it can without reading rows; a change that was planned before is fenced.
    let (view, change) = planned(&mut *table, &[4], 99).await;
    engine.does(dir.path(), &["delete", TABLE, "store_id == 'a'"]);
    assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Fenced(_)));
    put(&mut *table, &[4], 99).await;
    assert_eq!(engine.does(dir.path(), &["rows", TABLE, "detection_count"]), json!([99]));
}

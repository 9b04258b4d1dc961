//! Manifests are merged in the commit that adds to them: their number stays small, and nothing else changes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/engine.rs"]
mod engine;

use common::{at, batch, dead_letters, folder, opened, quick, row_of, table_keys};
use engine::Engine;
use futures::TryStreamExt;
use iceberg::TableIdent;
use iceberg::spec::ManifestFile;
use rva_lake::{CommitOutcome, Lake, LakeOptions, MergeLimits, TableSink};
use rva_types::{DeadLetter, RejectionReason, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

const COMMITS: u64 = 200;
const SHOPS: [&str; 2] = ["berlin", "ulm/süd"];

fn rows_of(number: u64) -> Vec<rva_lake::BronzeRow> {
    let number = i64::try_from(number).unwrap();
    SHOPS.iter().zip(0..).map(|(shop, at)| row_of(shop, "cam", "run", number * 10 + at)).collect()
}

fn map(number: u64) -> rva_types::OffsetMap {
    if number == 0 { at(&[]) } else { at(&[("a", number)]) }
}

async fn commit(sink: &mut impl TableSink<rva_lake::BronzeRow>, number: u64) {
    let outcome = sink.commit(&batch(map(number - 1), map(number), rows_of(number))).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 2, rows_known: 0 }, "{number}");
}

fn wanted(commits: u64) -> Vec<(String, String, i64)> {
    let mut keys: Vec<_> = (1..=i64::try_from(commits).unwrap())
        .flat_map(|number| [number * 10, number * 10 + 1])
        .map(|frame| ("run".to_owned(), "cam".to_owned(), frame))
        .collect();
    keys.sort();
    keys
}

async fn table(lake: &Lake, name: &str) -> iceberg::table::Table {
    lake.catalog().load_table(&TableIdent::from_strs(["rva", name]).unwrap()).await.unwrap()
}

async fn manifests(lake: &Lake, name: &str) -> Vec<ManifestFile> {
    let table = table(lake, name).await;
    let list = table.manifest_list_reader(table.metadata().current_snapshot().unwrap()).load().await.unwrap();
    list.consume_entries().into_iter().collect()
}

/// The files of a table's metadata folder that nothing reaches, but for metadata files, and those that are reached and
/// aren't there.
async fn strays(lake: &Lake, name: &str) -> (Vec<String>, Vec<String>) {
    let table = table(lake, name).await;
    let mut named = BTreeSet::new();
    for snapshot in table.metadata().snapshots() {
        named.insert(snapshot.manifest_list().to_owned());
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        named.extend(list.entries().iter().map(|manifest| manifest.manifest_path.clone()));
    }
    let plain = |path: &str| path.trim_start_matches("file://").to_owned();
    let named: BTreeSet<_> = named.iter().map(|path| plain(path)).collect();
    let folder = format!("{}/metadata", plain(table.metadata().location()));
    let there: BTreeSet<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
    let is_avro = |path: &&String| path.ends_with(".avro");
    (there.difference(&named).filter(is_avro).cloned().collect(), named.difference(&there).cloned().collect())
}

#[tokio::test]
async fn after_two_hundred_commits_manifests_are_few_and_every_reader_finds_the_rows() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    let mut most = 0;
    for number in 1..=COMMITS {
        commit(&mut sink, number).await;
        most = most.max(manifests(&lake, "bronze_raw").await.len());
    }
    println!("at most {most} manifests");
    assert!(most <= LakeOptions::default().manifests_max, "{most} manifests");
    assert_eq!(table_keys(&lake).await, wanted(COMMITS));
    if let Some(engine) = Engine::find() {
        assert_eq!(engine.does(dir.path(), &["missing", "rva.bronze_raw"]), json!([]));
        let frames = engine.does(dir.path(), &["rows", "rva.bronze_raw", "frame_index"]);
        let mut wanted: Vec<_> = wanted(COMMITS).into_iter().map(|(_, _, frame)| frame).collect();
        wanted.sort_unstable();
        assert_eq!(frames, json!(wanted));
    }
    // Every key is known: to who committed it, and to one who begins.
    for sink in [&mut sink, &mut lake.bronze_sink().unwrap()] {
        let again = (1..=COMMITS).flat_map(rows_of).collect();
        let number = sink.resume_point().await.unwrap().offsets.get("a").unwrap().entry;
        let outcome = sink.commit(&batch(map(number), map(number + 1), again)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 2 * COMMITS });
    }
    // Snapshots that are kept can be read as they were.
    let table = table(&lake, "bronze_raw").await;
    for snapshot in table.metadata().snapshots().filter(|snapshot| snapshot.sequence_number() % 23 == 0) {
        let scan = table.scan().snapshot_id(snapshot.snapshot_id()).select(["frame_index"]).build().unwrap();
        let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        let said = &snapshot.summary().additional_properties["total-records"];
        assert_eq!(rows.to_string(), *said, "snapshot {}", snapshot.sequence_number());
    }
}

#[tokio::test]
async fn keys_are_known_after_a_merge_of_manifests_that_another_commit_followed() {
    for lag in 1..=4 {
        let dir = folder();
        let mut options = quick();
        options.manifests_max = 4;
        let lake = opened(dir.path(), options).await;
        let mut sink = lake.bronze_sink().unwrap();
        let limits = MergeLimits { files_min: 2, age_min: Duration::ZERO, ..MergeLimits::default() };
        for number in 1..=16 {
            commit(&mut sink, number).await;
            // Between these the list of files follows the table by what it wrote itself; then it reads manifests again.
            if number % (lag * 3) == 0 {
                let soon = SystemTime::now() + Duration::from_secs(1);
                lake.merge_files(Some("bronze_raw"), &limits, soon).await.unwrap();
            }
        }
        let again = (1..=16).flat_map(rows_of).collect();
        let outcome = sink.commit(&batch(map(16), map(17), again)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 32 }, "lag {lag}");
        assert_eq!(table_keys(&lake).await, wanted(16), "lag {lag}");
    }
}

#[tokio::test]
async fn what_snapshots_with_merged_manifests_leave_goes_with_them_and_what_others_need_stays() {
    let dir = folder();
    let mut options = quick();
    options.manifests_max = 4;
    options.housekeeping.snapshots_kept = 7;
    options.housekeeping.snapshots_slack = 2;
    options.housekeeping.orphan_age = Duration::ZERO;
    let lake = opened(dir.path(), options).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=60 {
        commit(&mut sink, number).await;
        assert_eq!(strays(&lake, "bronze_raw").await, (vec![], vec![]), "commit {number}");
    }
    assert_eq!(table_keys(&lake).await, wanted(60));
}

#[tokio::test]
async fn dead_letters_merge_their_manifests_too() {
    let dir = folder();
    let mut options = quick();
    options.manifests_max = 5;
    let lake = opened(dir.path(), options).await;
    let mut sink = lake.dead_letter_sink().unwrap();
    for number in 1..=30 {
        let letter = DeadLetter {
            topic: "events".into(),
            partition: 0,
            message_id: format!("1:{number}:-1"),
            publish_ts: Timestamp::from_micros(1_700_000_000_000_000),
            reason: RejectionReason::ALL[0],
            detail: "bad".into(),
            raw: vec![0, 255],
            properties: [("k".to_owned(), "v".to_owned())].into(),
            ingest_ts: Timestamp::from_micros(1_700_000_000_000_001),
        };
        let (from, to) = (map(number - 1), map(number));
        let one = rva_lake::Batch { source: common::SOURCE.into(), from, to, rows: vec![letter] };
        assert!(matches!(sink.commit(&one).await.unwrap(), CommitOutcome::Committed { rows_appended: 1, .. }));
        let count = manifests(&lake, "bronze_dead_letters").await.len();
        assert!(count <= 8, "{count} manifests after {number} commits");
    }
    let ids: BTreeSet<_> = dead_letters(&lake).await.into_iter().map(|letter| letter.message_id).collect();
    assert_eq!(ids, (1..=30).map(|number| format!("1:{number}:-1")).collect());
}

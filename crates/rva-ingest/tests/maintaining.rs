//! Maintenance beside a writer: files get few, nothing is lost, nobody waits.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use futures::TryStreamExt;
use iceberg::TableIdent;
use rva_ingest::Maintaining;
use rva_lake::{Batch, BronzeRow, BronzeSink, CommitOutcome, Lake, LakeOptions, TableSink};
use rva_service::tables::merge_limits;
use rva_service::{Health, MaintainConfig};
use rva_types::{BronzeEvent, CameraId, EventKey, OffsetMap, Position, RunId, StoreId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

fn config(enabled: bool) -> MaintainConfig {
    MaintainConfig {
        enabled,
        interval: Duration::from_millis(200),
        snapshots_max: 500,
        gold_snapshots_max: 100,
        snapshots_age: Duration::from_secs(3600),
        file_size: 128 << 20,
        files_min: 2,
        age_min: Duration::ZERO,
        memory_max: 64 << 20,
        retention: BTreeMap::new(),
    }
}

fn at(number: u64) -> OffsetMap {
    let mut map = OffsetMap::new();
    if number > 0 {
        map.advance("a", Position::of_record(number));
    }
    map
}

fn row(frame_index: i64) -> BronzeRow {
    let key = EventKey { run: RunId::parse("run").unwrap(), camera: CameraId::parse("cam").unwrap(), frame_index };
    let store = StoreId::parse("store").unwrap();
    let event = BronzeEvent { schema_version: "1.0".into(), key, payload: "{}".into(), store };
    BronzeRow { event, ingest_ts: Timestamp::from_micros(1) }
}

async fn commit(sink: &mut BronzeSink, number: u64) {
    let rows = (0..5).map(|row_at| row(i64::try_from(number).unwrap() * 5 + row_at)).collect();
    let batch = Batch { source: "embedded|test".into(), from: at(number - 1), to: at(number), rows };
    let outcome = sink.commit(&batch).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 5, rows_known: 0 }, "commit {number}");
}

/// The rows of bronze, and the number of its files.
async fn found(lake: &Lake) -> (Vec<i64>, u64) {
    use arrow::{array::AsArray, datatypes::Int64Type};
    let table = lake.catalog().load_table(&TableIdent::from_strs(["rva", "bronze_raw"]).unwrap()).await.unwrap();
    let stream = table.scan().select(["frame_index"]).build().unwrap().to_arrow().await.unwrap();
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    let rows = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let summary = lake.tables().await.unwrap().into_iter().find(|table| table.name == "rva.bronze_raw").unwrap();
    (rows.collect(), summary.files)
}

fn started(dir: &Path, config: &MaintainConfig, health: &Health) -> Option<Maintaining> {
    let root = dir.to_owned();
    let open = async move || Ok(Lake::open_embedded(&root, LakeOptions::default()).await?);
    Maintaining::start(config, merge_limits(config, None), health, open).unwrap()
}

async fn metrics(health: &Health) -> String {
    let server = health.listen(Some("127.0.0.1:0".parse().unwrap())).await.unwrap().unwrap();
    reqwest::get(format!("http://{}/metrics", server.address())).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_writer_files_get_few_and_every_row_is_there_once() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let lake = Lake::open_embedded(dir.path(), LakeOptions::default()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let health = Health::new();
    let maintaining = started(dir.path(), &config(true), &health).unwrap();
    let (began, mut number) = (Instant::now(), 0);
    // Until it has merged something twice, or for a while.
    let merges = loop {
        number += 1;
        commit(&mut sink, number).await;
        // A few at once, then a commit a second; slower where the machine is so busy that no merge gets through.
        let pause = if number < 12 { 0 } else { 1_000 + 100 * (number - 12) };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let told = metrics(&health).await;
        let line = told.lines().find_map(|line| line.strip_prefix("rva_maintain_commits_total{table=\"bronze_raw\"} "));
        let merges: u64 = line.map_or(0, |count| count.parse().unwrap());
        if merges >= 2 || began.elapsed() > Duration::from_secs(120) {
            break merges;
        }
    };
    println!("{merges} merges beside {number} commits in {:?}", began.elapsed());
    assert!(merges >= 2, "{merges} merges beside {number} commits: {}", metrics(&health).await);
    let stopping = Instant::now();
    drop(maintaining);
    assert!(stopping.elapsed() < Duration::from_secs(5), "it ends when it is told to: {:?}", stopping.elapsed());
    let (rows, files) = found(&lake).await;
    let wanted: BTreeSet<i64> = (5..5 * (i64::try_from(number).unwrap() + 1)).collect();
    assert_eq!((rows.len(), rows.into_iter().collect::<BTreeSet<_>>()), (wanted.len(), wanted));
    assert!(files < number, "{files} files after {number} commits");
    assert!(metrics(&health).await.contains("rva_maintain_failures_total 0"));
}

#[tokio::test]
async fn where_it_is_not_wanted_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    assert!(started(dir.path(), &config(false), &Health::new()).is_none());
}

#[tokio::test]
async fn a_folder_that_cannot_be_opened_is_a_trouble_that_is_told_and_passes() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let catalog = dir.path().join("catalog.db");
    std::fs::create_dir(&catalog).unwrap();
    let health = Health::new();
    let _maintaining = started(dir.path(), &config(true), &health).unwrap();
    let failed = async {
        while !metrics(&health).await.lines().any(|line| {
            line.strip_prefix("rva_maintain_failures_total ").is_some_and(|count| count.parse::<u64>().unwrap() > 0)
        }) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), failed).await.unwrap();
    std::fs::remove_dir(&catalog).unwrap();
    let looked = async {
        // The first look that succeeds makes the tables.
        while !dir.path().join("warehouse/rva").exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looked).await.unwrap();
}

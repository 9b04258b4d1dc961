//! Whoever partitions a table anew, every row lies in a file whose partition is the row's own.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{SOURCE, at, batch, dead_letters, quick, row_of, table_keys};
use rva_lake::{Batch, BronzeRow, BronzeSink, CommitOutcome, CommitStep, DeadLetterSink, Lake, TableSink};
use rva_types::{DeadLetter, RejectionReason, Timestamp};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What another engine adds: column, transform, name; and what it removes.
type Change = (&'static [(&'static str, &'static str, &'static str)], &'static [&'static str]);

const BRONZE: &[Change] = &[
    (&[], &[]),
    (&[("camera_id", "identity", "camera")], &[]),
    (&[("camera_id", "bucket[3]", "camera_bucket")], &[]),
    (&[("frame_index", "bucket[4]", "frame_bucket")], &[]),
    (&[("camera_id", "truncate[3]", "camera_start")], &[]),
    (&[("frame_index", "truncate[10]", "frame_ten")], &[]),
    (&[("ingest_ts", "year", "year")], &[]),
    (&[("ingest_ts", "month", "month")], &[]),
    (&[("ingest_ts", "day", "day")], &[]),
    (&[("ingest_ts", "hour", "hour")], &[]),
    (&[("ingest_ts", "identity", "moment")], &[]),
    (&[("ingest_ts", "bucket[5]", "time_bucket")], &[]),
    (&[("camera_id", "void", "nothing")], &[]),
    (&[("camera_id", "identity", "camera"), ("ingest_ts", "day", "day"), ("frame_index", "bucket[2]", "half")], &[]),
    (&[], &["store_id"]),
    (&[("camera_id", "void", "nothing")], &["store_id"]),
    (&[("ingest_ts", "hour", "hour")], &["store_id"]),
];

const DEAD: &[Change] = &[
    (&[("topic", "identity", "topic_is")], &[]),
    (&[("partition", "truncate[2]", "pair"), ("publish_ts", "day", "day")], &[]),
    (&[("raw", "bucket[4]", "raw_bucket")], &[]),
    (&[("raw", "truncate[1]", "raw_start")], &[]),
    (&[("raw", "identity", "raw_is")], &[]),
    (&[("ingest_ts", "hour", "hour"), ("reason", "identity", "why")], &[]),
];

fn foreign(python: &Path, action: &str, cases: &[Value]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/partitions.py");
    let mut child =
        Command::new(python).arg(script).arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(serde_json::to_string(cases).unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{action}");
}

/// Rows over three stores, four cameras and moments that are years, days, hours and microseconds apart.
fn bronze_rows(run: &str, first: i64) -> Vec<BronzeRow> {
    let moments = [-90_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_001, 1_700_003_600_000_000];
    (first..first + 36)
        .map(|number| {
            let place = |of: i64| usize::try_from(number.rem_euclid(of)).unwrap();
            let store = ["store_01", "../x", "Zürich & Söhne"][place(3)];
            let camera = ["door", "dock", "é1", "c/a b"][place(4)];
            let mut row = row_of(store, camera, run, number);
            row.ingest_ts = Timestamp::from_micros(moments[place(7) % 4] + 86_400_000_000 * (number / 12));
            row
        })
        .collect()
}

fn dead_rows(first: u64) -> Vec<DeadLetter> {
    (first..first + 24)
        .map(|number| DeadLetter {
            topic: format!("embedded/cam_{}", number % 3),
            partition: i32::try_from(number % 5).unwrap(),
            message_id: format!("0:{number}:-1"),
            publish_ts: Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(number).unwrap() * 20_000_000_000),
            reason: [RejectionReason::ALL[0], RejectionReason::ALL[1]][usize::try_from(number % 2).unwrap()],
            detail: "found x, wanted y".into(),
            raw: vec![u8::try_from(number % 4).unwrap() | 0xf0, 0xfe, 0x00],
            properties: [("key".to_owned(), number.to_string())].into(),
            ingest_ts: Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(number).unwrap() * 900_000_000),
        })
        .collect()
}

fn bronze_case(folder: &Path, (change, remove): Change, rows: &[BronzeRow]) -> Value {
    let rows = rows.iter().map(|row| {
        let key = &row.event.key;
        json!({
            "pipeline_run_id": key.run.as_str(), "camera_id": key.camera.as_str(), "frame_index": key.frame_index,
            "store_id": row.event.store.as_str(), "ingest_ts": row.ingest_ts.as_micros(),
        })
    });
    json!({
        "folder": folder, "table": "rva.bronze_raw", "change": change, "remove": remove,
        "key": ["pipeline_run_id", "camera_id", "frame_index"], "rows": rows.collect::<Vec<_>>(),
        "filters": ["camera_id", "store_id", "frame_index", "ingest_ts"],
    })
}

fn dead_case(folder: &Path, (change, remove): Change, rows: &[DeadLetter]) -> Value {
    let rows = rows.iter().map(|row| {
        json!({
            "topic": row.topic, "partition": row.partition, "message_id": row.message_id,
            "reason": row.reason.code(), "ingest_ts": row.ingest_ts.as_micros(),
        })
    });
    json!({
        "folder": folder, "table": "rva.bronze_dead_letters", "change": change, "remove": remove,
        "key": ["topic", "partition", "message_id"], "rows": rows.collect::<Vec<_>>(),
        "filters": ["topic", "partition", "reason", "ingest_ts"],
    })
}

fn appended(rows: usize) -> CommitOutcome {
    CommitOutcome::Committed { rows_appended: rows as u64, rows_known: 0 }
}

struct BronzeWorld {
    dir: tempfile::TempDir,
    lake: Lake,
    sink: BronzeSink,
    rows: Vec<BronzeRow>,
}

impl BronzeWorld {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        let rows = bronze_rows("0190a", 1);
        sink.commit(&batch(at(&[]), at(&[("a", 1)]), rows.clone())).await.unwrap();
        Self { dir, lake, sink, rows }
    }

    /// The running ingest goes on, and another begins anew: what either sent before is known.
    async fn go_on(&mut self) {
        let later = bronze_rows("0190a", 37);
        let (one, two) = (at(&[("a", 1)]), at(&[("a", 2)]));
        assert_eq!(self.sink.commit(&batch(one, two.clone(), later.clone())).await.unwrap(), appended(later.len()));
        self.rows.extend(later);
        let mut restarted = self.lake.bronze_sink().unwrap();
        let all = CommitOutcome::Committed { rows_appended: 0, rows_known: self.rows.len() as u64 };
        assert_eq!(restarted.commit(&batch(two, at(&[("a", 3)]), self.rows.clone())).await.unwrap(), all);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_lie_under_their_own_partition_whatever_transform_another_engine_adds() {
    let Some(python) = rva_testkit::python_with(&["pyiceberg", "duckdb"]) else { return };
    let mut worlds = Vec::new();
    for _ in BRONZE {
        worlds.push(BronzeWorld::new().await);
    }
    let cases = |worlds: &[BronzeWorld]| -> Vec<Value> {
        worlds.iter().zip(BRONZE).map(|(world, change)| bronze_case(world.dir.path(), *change, &world.rows)).collect()
    };
    foreign(&python, "evolve", &cases(&worlds));
    for world in &mut worlds {
        world.go_on().await;
        let keys: BTreeSet<_> = table_keys(&world.lake).await.into_iter().collect();
        assert_eq!(keys.len(), world.rows.len());
    }
    foreign(&python, "check", &cases(&worlds));
    for world in &worlds {
        assert!(!world.dir.path().join("warehouse/rva/bronze_raw/x").exists(), "no value leaves its folder");
        sql_finds_by_every_value(world).await;
    }
}

#[cfg(feature = "sql")]
async fn sql_finds_by_every_value(world: &BronzeWorld) {
    use arrow::array::AsArray;
    type Value = fn(&BronzeRow) -> String;
    let columns: [(&str, Value); 2] =
        [("camera_id", |row| row.event.key.camera.to_string()), ("store_id", |row| row.event.store.to_string())];
    for (column, value) in columns {
        for found in world.rows.iter().map(value).collect::<BTreeSet<_>>() {
            let query = format!("SELECT count(*) FROM rva.bronze_raw WHERE {column} = '{found}'");
            let answer = world.lake.sql(&query).await.unwrap().collect().await.unwrap();
            let rows: i64 =
                answer.iter().map(|batch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)).sum();
            let wanted = world.rows.iter().filter(|row| value(row) == found).count();
            assert_eq!(usize::try_from(rows).unwrap(), wanted, "{query}");
        }
    }
}

#[cfg(not(feature = "sql"))]
async fn sql_finds_by_every_value(_: &BronzeWorld) {}

struct DeadWorld {
    dir: tempfile::TempDir,
    lake: Lake,
    sink: DeadLetterSink,
    rows: Vec<DeadLetter>,
}

impl DeadWorld {
    async fn commit(&mut self, number: u64, rows: Vec<DeadLetter>) -> CommitOutcome {
        let (from, to) = (at(&[("a", number - 1)]), at(&[("a", number)]));
        let from = if number == 1 { at(&[]) } else { from };
        let batch = Batch { source: SOURCE.into(), from, to, rows };
        self.sink.commit(&batch).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_lie_under_their_own_partition_too() {
    let Some(python) = rva_testkit::python_with(&["pyiceberg", "duckdb"]) else { return };
    let mut worlds = Vec::new();
    for _ in DEAD {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let sink = lake.dead_letter_sink().unwrap();
        let mut world = DeadWorld { dir, lake, sink, rows: dead_rows(1) };
        assert_eq!(world.commit(1, dead_rows(1)).await, appended(24));
        worlds.push(world);
    }
    let cases = |worlds: &[DeadWorld]| -> Vec<Value> {
        worlds.iter().zip(DEAD).map(|(world, change)| dead_case(world.dir.path(), *change, &world.rows)).collect()
    };
    foreign(&python, "evolve", &cases(&worlds));
    for world in &mut worlds {
        assert_eq!(world.commit(2, dead_rows(25)).await, appended(24));
        world.rows.extend(dead_rows(25));
        assert_eq!(dead_letters(&world.lake).await.len(), world.rows.len());
    }
    foreign(&python, "check", &cases(&worlds));
}

/// The names of the fields of the table's spec, and the number of live files under each spec.
async fn specs(lake: &Lake) -> (Vec<String>, std::collections::BTreeMap<i32, usize>) {
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let names = table.metadata().default_partition_spec().fields().iter().map(|field| field.name.clone()).collect();
    let mut files = std::collections::BTreeMap::new();
    if let Some(snapshot) = table.metadata().current_snapshot() {
        for manifest in table.manifest_list_reader(snapshot).load().await.unwrap().consume_entries() {
            let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
            let alive = loaded.entries().iter().filter(|entry| entry.is_alive()).count();
            *files.entry(manifest.partition_spec_id).or_default() += alive;
        }
    }
    (names, files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_day_becomes_a_field_of_a_living_table_by_configuration_and_rows_of_both_specs_are_read_and_merged() {
    let mut world = BronzeWorld::new().await;
    let commit = async |sink: &mut BronzeSink, number: u64, rows: Vec<BronzeRow>| {
        let count = rows.len();
        let batch = batch(at(&[("a", number)]), at(&[("a", number + 1)]), rows);
        assert_eq!(sink.commit(&batch).await.unwrap(), appended(count));
    };
    for number in 1..4 {
        let rows = bronze_rows("0190a", 1 + 36 * i64::try_from(number).unwrap());
        commit(&mut world.sink, number, rows.clone()).await;
        world.rows.extend(rows);
    }
    let position = world.lake.view("bronze_raw").await.unwrap().unwrap().sequence();
    assert_eq!(specs(&world.lake).await.0, ["store_id"]);
    let mut options = quick();
    options.partition_by_day = true;
    let by_day = Lake::open_embedded(world.dir.path(), options.clone()).await.unwrap();
    assert_eq!(specs(&by_day).await.0, ["store_id", "ingest_ts_day"]);
    let place = async || {
        let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
        by_day.catalog().load_table(&ident).await.unwrap().metadata_location().unwrap().to_owned()
    };
    let before = place().await;
    Lake::open_embedded(world.dir.path(), options).await.unwrap();
    assert_eq!(place().await, before, "once is enough");
    // The sink that was open before goes on, and so does a new one.
    let rows = bronze_rows("0190a", 145);
    commit(&mut world.sink, 4, rows.clone()).await;
    world.rows.extend(rows);
    let mut restarted = by_day.bronze_sink().unwrap();
    let rows = bronze_rows("0190a", 181);
    commit(&mut restarted, 5, rows.clone()).await;
    world.rows.extend(rows);
    // Another run on the same days: a second file of each.
    let rows = bronze_rows("0190b", 181);
    commit(&mut restarted, 6, rows.clone()).await;
    let came = 3 * rows.len();
    world.rows.extend(rows);
    let known = CommitOutcome::Committed { rows_appended: 0, rows_known: world.rows.len() as u64 };
    let again = batch(at(&[("a", 7)]), at(&[("a", 8)]), world.rows.clone());
    assert_eq!(restarted.commit(&again).await.unwrap(), known);
    let view = by_day.view("bronze_raw").await.unwrap().unwrap();
    let rva_lake::Since::Appended(files) = view.since(Some(position)).await.unwrap() else {
        panic!("wanted new files")
    };
    assert_eq!(files.iter().map(rva_lake::ChangedFile::rows).sum::<u64>(), came as u64, "a follower goes on over both");
    let (_, before) = specs(&by_day).await;
    let (keys, python) = (table_keys(&by_day).await, rva_testkit::python_with(&["pyiceberg", "duckdb"]));
    let case = |world: &BronzeWorld| [bronze_case(world.dir.path(), (&[], &[]), &world.rows)];
    python.iter().for_each(|python| foreign(python, "check", &case(&world)));
    let merged = by_day.merge_files(Some("bronze_raw"), &common::all(), common::soon()).await.unwrap().remove(0);
    assert_eq!((merged.left.as_deref(), merged.lost), (None, 0));
    let (_, after) = specs(&by_day).await;
    println!("files by spec before {before:?} and after {after:?}");
    assert_eq!(before.len(), 2);
    assert_eq!(after[&0], 3, "one for each store");
    assert!(after[&1] < before[&1], "those by day too, among themselves");
    assert_eq!(table_keys(&by_day).await, keys);
    python.iter().for_each(|python| foreign(python, "check", &case(&world)));
    // Who doesn't ask for it leaves the table as it is.
    let plain = Lake::open_embedded(world.dir.path(), quick()).await.unwrap();
    assert_eq!(specs(&plain).await.0, ["store_id", "ingest_ts_day"]);
}

#[tokio::test]
async fn a_new_table_is_partitioned_by_day_from_its_first_row_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.partition_by_day = true;
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let rows = bronze_rows("0190a", 1);
    let mut sink = lake.bronze_sink().unwrap();
    assert_eq!(sink.commit(&batch(at(&[]), at(&[("a", 1)]), rows.clone())).await.unwrap(), appended(rows.len()));
    let (names, files) = specs(&lake).await;
    assert_eq!(names, ["store_id", "ingest_ts_day"]);
    assert_eq!(files.keys().copied().collect::<Vec<_>>(), [1]);
    if let Some(python) = rva_testkit::python_with(&["pyiceberg", "duckdb"]) {
        foreign(&python, "check", &[bronze_case(dir.path(), (&[], &[]), &rows)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_staged_under_the_old_spec_is_written_anew() {
    let Some(python) = rva_testkit::python_with(&["pyiceberg", "duckdb"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let rows = bronze_rows("0190a", 1);
    let change: Change = (&[("camera_id", "identity", "camera"), ("ingest_ts", "day", "day")], &["store_id"]);
    let case = [bronze_case(dir.path(), change, &rows)];
    let (is_changed, evolving) = (Arc::new(AtomicBool::new(false)), case.clone());
    let mut options = quick();
    options.observer = {
        let python = python.clone();
        Arc::new(move |step| {
            if step == CommitStep::FilesClosed && !is_changed.swap(true, Ordering::SeqCst) {
                foreign(&python, "evolve", &evolving);
            }
        })
    };
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    assert_eq!(sink.commit(&batch(at(&[]), at(&[("a", 1)]), rows.clone())).await.unwrap(), appended(rows.len()));
    foreign(&python, "check", &case);
}

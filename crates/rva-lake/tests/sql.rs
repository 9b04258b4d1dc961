//! SQL over the tables, and the ready queries.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/engine.rs"]
mod engine;

use arrow::array::AsArray;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use common::{at, batch, quick, row, row_of};
use rva_lake::{BronzeRow, Lake, LakeErrorKind, TableSink};

/// A tokio worker's 2 MiB of stack are too few for the planner in a debug build.
fn run<F: Future>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    thread.unwrap().join().unwrap();
}

fn record(store: &str, run: &str, frame: i64, second: u32, detections: &str) -> BronzeRow {
    let mut row = row_of(store, "cam_01", run, frame);
    row.event.payload = format!(
        r#"{{"capture_ts":"2026-01-31T08:{:02}:{:02}.000000+00:00","frame_index":{frame},"detections":[{detections}]}}"#,
        second / 60,
        second % 60
    )
    .into();
    row
}

fn person(id: &str, track: &str) -> String {
    format!(
        r#"{{"det_id":"{id}","class":"person","class_id":0,"conf":0.5,"bbox":{{"x1":1.5,"y1":2,"x2":3,"y2":4}},"track_id":{track}}}"#
    )
}

async fn filled() -> (tempfile::TempDir, Lake) {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let bag = r#"{"det_id":"2-1","class":"bag","class_id":7,"conf":0.9,"bbox":{"x1":1,"y1":1,"x2":2,"y2":2},"track_id":null}"#;
    let rows = vec![
        record("store_01", "run", 1, 0, ""),
        record("store_01", "run", 2, 1, &format!("{},{bag}", person("2-0", "1"))),
        record("store_01", "run", 3, 61, &format!("{},{}", person("3-0", "1"), person("3-1", "null"))),
    ];
    sink.commit(&batch(at(&[]), at(&[("a", 3)]), rows)).await.unwrap();
    let rows = vec![record("store_02", "run2", 1, 2, &person("1-0", "4"))];
    sink.commit(&batch(at(&[("a", 3)]), at(&[("a", 3), ("b", 1)]), rows)).await.unwrap();
    (dir, lake)
}

async fn lines(lake: &Lake, query: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in lake.sql(query).await.unwrap().collect().await.unwrap() {
        let options = FormatOptions::default().with_null("-");
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for at in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|column| column.value(at).to_string()).collect();
            lines.push(cells.join(" "));
        }
    }
    lines
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../data/queries/{name}.sql", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_table_answers_to_its_three_names_and_counts_without_columns() {
    run(|| async {
        let (_dir, lake) = filled().await;
        for name in ["bronze_raw", "rva.bronze_raw", "lakehouse.rva.bronze_raw"] {
            assert_eq!(lines(&lake, &format!("SELECT count(*) FROM {name}")).await, ["4"]);
        }
        assert_eq!(lines(&lake, "SELECT count(*) FROM bronze_dead_letters").await, ["0"]);
        assert_eq!(lines(&lake, "SELECT frame_index FROM bronze_raw ORDER BY payload LIMIT 1").await, ["1"]);
    });
}

#[test]
fn filters_find_the_rows_that_they_name() {
    run(|| async {
        let (_dir, lake) = filled().await;
        let query = "SELECT store_id, frame_index FROM bronze_raw WHERE store_id = 'store_01' AND frame_index >= 2 \
                     AND payload LIKE '%person%' ORDER BY 2";
        assert_eq!(lines(&lake, query).await, ["store_01 2", "store_01 3"]);
        let query = "SELECT payload->>'frame_index', json_get_int(payload, 'frame_index') FROM bronze_raw \
                     WHERE pipeline_run_id = 'run2'";
        assert_eq!(lines(&lake, query).await, ["1 1"]);
        assert!(lines(&lake, "SELECT 1 FROM bronze_raw WHERE store_id = 'nowhere'").await.is_empty());
        let query = "SELECT frame_index FROM bronze_raw WHERE ingest_ts > TIMESTAMP '2000-01-01' AND frame_index = 3";
        assert_eq!(lines(&lake, query).await, ["3"]);
    });
}

#[test]
fn people_per_minute_counts_persons_and_frames_without_any() {
    run(|| async {
        let (_dir, lake) = filled().await;
        let wanted = [
            "store_01 cam_01 2026-01-31T08:00:00 2 1 1 0.5",
            "store_02 cam_01 2026-01-31T08:00:00 1 1 1 1.0",
            "store_01 cam_01 2026-01-31T08:01:00 1 1 2 2.0",
        ];
        assert_eq!(lines(&lake, &shipped("people_per_minute")).await, wanted);
    });
}

#[test]
fn detections_gives_a_row_for_each_detection() {
    run(|| async {
        let (_dir, lake) = filled().await;
        let wanted = [
            "store_01 cam_01 run 2 2026-01-31T08:00:01 2-0 person 0 0.5 1.5 2.0 3.0 4.0 1",
            "store_01 cam_01 run 2 2026-01-31T08:00:01 2-1 bag 7 0.9 1.0 1.0 2.0 2.0 -",
            "store_01 cam_01 run 3 2026-01-31T08:01:01 3-0 person 0 0.5 1.5 2.0 3.0 4.0 1",
            "store_01 cam_01 run 3 2026-01-31T08:01:01 3-1 person 0 0.5 1.5 2.0 3.0 4.0 -",
            "store_02 cam_01 run2 1 2026-01-31T08:00:02 1-0 person 0 0.5 1.5 2.0 3.0 4.0 4",
        ];
        assert_eq!(lines(&lake, &shipped("detections")).await, wanted);
    });
}

/// Adds records as an ingest took them before it looked at capture times, and texts that are no records at all.
async fn add_odd_rows(lake: &Lake) {
    let mut payloads: Vec<String> = [
        "\"\"",
        "1769846400",
        "\"1769846400\"",
        "\"2026-01-31T08:00Z\"",
        "\"9999-12-31T23:59:59Z\"",
        "\"infinity\"",
        "\"99999-01-01T00:00:00Z\"",
        "null",
        "\"1969-01-01T00:00:00Z\"",
        "[1]",
        "{}",
        "true",
        "\"epoch\"",
    ]
    .into_iter()
    .map(|found| format!(r#"{{"capture_ts":{found},"detections":[{}]}}"#, person("0-0", "9")))
    .collect();
    payloads.extend(["no json", "[]", "5", "null", "{}"].map(str::to_owned));
    let time = r#""capture_ts":"2026-01-31T08:00:09Z""#;
    for detections in ["5", "\"x\"", "{\"a\":1}", "null"] {
        payloads.push(format!(r#"{{{time},"detections":{detections}}}"#));
    }
    let rows = (1..).zip(&payloads).map(|(frame, payload)| {
        let mut row = row_of("store_03", "cam_01", "odd", frame);
        row.event.payload = payload.as_str().into();
        row
    });
    let (from, to) = (at(&[("a", 3), ("b", 1)]), at(&[("a", 3), ("b", 1), ("c", 1)]));
    lake.bronze_sink().unwrap().commit(&batch(from, to, rows.collect())).await.unwrap();
}

const ODD_FRAMES: usize = 4;
const ODD_ROWS: usize = 13 + 5 + ODD_FRAMES;

#[test]
fn rows_with_odd_capture_times_break_no_shipped_query() {
    run(|| async {
        let (_dir, lake) = filled().await;
        let queries = ["people_per_minute", "detections", "rows_per_camera"].map(shipped);
        let mut before = Vec::new();
        for query in &queries {
            before.push(lines(&lake, query).await);
        }
        add_odd_rows(&lake).await;
        for (query, before) in queries.iter().zip(before) {
            let found = lines(&lake, query).await;
            let others: Vec<_> = found.iter().filter(|line| !line.contains("store_03")).cloned().collect();
            assert_eq!(others, before, "what other cameras hold is as it was");
        }
        let found = lines(&lake, &shipped("rows_per_camera")).await;
        assert_eq!(found[2], format!("store_03 cam_01 {ODD_ROWS} 2026-01-31T08:00:09 2026-01-31T08:00:09"));
        let found = lines(&lake, &shipped("detections")).await;
        let odd: Vec<_> = found.iter().filter(|line| line.starts_with("store_03")).collect();
        assert_eq!(odd.len(), 13);
        assert!(odd.iter().all(|line| line.contains(" - 0-0 person")), "the time of each is null: {odd:?}");
        let found = lines(&lake, &shipped("people_per_minute")).await;
        assert!(found.contains(&format!("store_03 cam_01 2026-01-31T08:00:00 {ODD_FRAMES} 0 0 0.0")), "{found:?}");
    });
}

#[test]
fn duckdb_gives_the_same_answers_over_rows_with_odd_capture_times() {
    let Some(python) = rva_testkit::python_with(&["duckdb"]) else { return };
    run(move || async move {
        let (dir, lake) = filled().await;
        add_odd_rows(&lake).await;
        let script = r#"
import sys, glob, duckdb
queries, *files = sys.argv[1:]
duckdb.execute("SET TimeZone='UTC'")
duckdb.execute("CREATE VIEW bronze_raw AS SELECT * FROM read_parquet(" + repr(files) + ", hive_partitioning=false)")
for name in ("people_per_minute", "detections", "rows_per_camera"):
    for row in duckdb.execute(open(f"{queries}/{name}.sql").read()).fetchall():
        print(*["-" if cell is None else str(cell).replace(" ", "T").replace("+00:00", "") for cell in row])
"#;
        let query = "SELECT DISTINCT 1 FROM bronze_raw";
        assert_eq!(lines(&lake, query).await.len(), 1);
        let files = walked(&dir.path().join("warehouse"));
        let queries = format!("{}/../../data/queries/duckdb", env!("CARGO_MANIFEST_DIR"));
        let output = std::process::Command::new(python).args(["-c", script, &queries]).args(files).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        let mut wanted = Vec::new();
        for name in ["people_per_minute", "detections", "rows_per_camera"] {
            wanted.extend(lines(&lake, &shipped(name)).await);
        }
        assert_eq!(found, wanted);
    });
}

/// Every Parquet file of bronze below a folder.
fn walked(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walked(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found.retain(|path| path.to_string_lossy().contains("bronze_raw"));
    found
}

/// Two commits whose rows differ in camera and time of ingest, and the data files of the second one.
async fn two_files() -> (tempfile::TempDir, Lake, Vec<std::path::PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let row = |camera: &str, frame: i64, day: i64| {
        let mut row = row_of("store_01", camera, "run", frame);
        row.ingest_ts = rva_types::Timestamp::from_micros(1_700_000_000_000_000 + day * 86_400_000_000);
        row
    };
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("door_1", 1, 0)])).await.unwrap();
    let before: std::collections::BTreeSet<_> = walked(dir.path()).into_iter().collect();
    sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("till_1", 2, 5)])).await.unwrap();
    let second = walked(dir.path()).into_iter().filter(|path| !before.contains(path)).collect();
    (dir, lake, second)
}

#[test]
fn moments_and_the_starts_of_texts_prune_files() {
    run(|| async {
        let (_dir, lake, second) = two_files().await;
        assert_eq!(second.len(), 1);
        // A file that isn't there any more can only be left unread.
        std::fs::remove_file(&second[0]).unwrap();
        let pruning = [
            "ingest_ts < '2023-11-16T00:00:00Z'",
            "ingest_ts <= TIMESTAMP '2023-11-16 00:00:00'",
            "ingest_ts BETWEEN '2023-11-14T00:00:00Z' AND '2023-11-16T00:00:00Z'",
            "ingest_ts = to_timestamp(1700000000)",
            "TIMESTAMP '2023-11-16 00:00:00' > ingest_ts AND payload LIKE '%pad%'",
            "camera_id LIKE 'door%'",
            "camera_id LIKE 'door__'",
            "starts_with(camera_id, 'door')",
        ];
        for filter in pruning {
            let found = lake.sql(&format!("SELECT frame_index FROM bronze_raw WHERE {filter}")).await.unwrap();
            let rows = found.collect().await.unwrap_or_else(|error| panic!("{filter}: {error}"));
            assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1, "{filter}");
        }
        for filter in ["ingest_ts > '2023-11-16T00:00:00Z'", "camera_id LIKE '%1'", "camera_id NOT LIKE 'door%'"] {
            let found = lake.sql(&format!("SELECT frame_index FROM bronze_raw WHERE {filter}")).await.unwrap();
            assert!(found.collect().await.is_err(), "{filter} needs the file");
        }
    });
}

#[test]
fn an_arrow_on_a_bare_column_reads_the_payload_and_binds_stronger_than_a_comparison() {
    run(|| async {
        let (_dir, lake) = filled().await;
        let query = "SELECT payload->'detections'->0->>'det_id' FROM bronze_raw WHERE payload->>'frame_index' = '3'";
        assert_eq!(lines(&lake, query).await, ["3-0"]);
        let query = "SELECT count(*) FROM bronze_raw WHERE (payload->>'frame_index') = '3'";
        assert_eq!(lines(&lake, query).await, ["1"]);
        let query = "SELECT * EXCLUDE (payload, ingest_ts) FROM bronze_raw WHERE frame_index = 3";
        assert_eq!(lines(&lake, query).await, ["1.0 run 3 cam_01 store_01"], "what only the other dialect knows");
        let error = lake.sql("SELECT 1; SELECT 2").await.unwrap_err().to_string();
        assert!(error.contains("found 2 statements"), "{error}");
    });
}

#[test]
fn a_query_that_needs_more_memory_than_it_may_have_goes_on_on_disk_and_leaves_nothing_there() {
    run(|| async {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        let one = |frame: i64| {
            let run = format!("0190f3a1b2c37d4e8f90a1b2c3d4e{:03x}", frame % 500);
            record(
                "store_01",
                &run,
                frame,
                u32::try_from(frame % 3000).unwrap(),
                &person("1-0", &format!("{}", frame % 40)),
            )
        };
        sink.commit(&batch(at(&[]), at(&[("a", 1)]), (1..=60_000).map(one).collect())).await.unwrap();
        let query = shipped("people_per_minute");
        let wanted = lines(&lake, &query).await;
        let spill = tempfile::tempdir().unwrap();
        let options = rva_lake::SqlOptions {
            memory_max_bytes: 20 << 20,
            spill_dir: Some(spill.path().to_owned()),
            ..rva_lake::SqlOptions::default()
        };
        let found = lake.sql_with(&query, &options).await.unwrap();
        let found = found.collect().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.iter().map(|batch| batch.num_rows()).sum::<usize>(), wanted.len());
        assert_eq!(std::fs::read_dir(spill.path()).unwrap().count(), 0, "found files in the folder, wanted none left");
        let none = rva_lake::SqlOptions { spill_max_bytes: 1, ..options };
        let error = lake.sql_with(&query, &none).await.unwrap().collect().await.unwrap_err().to_string();
        assert!(error.contains("query.memory_max"), "it did go to disk: {error}");
    });
}

#[test]
fn a_join_whose_sides_are_larger_than_the_memory_goes_on_on_disk() {
    run(|| async {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        let rows = (1..=60_000).map(|frame| record("store_01", "0190f3a1b2c37d4e8f90a1b2c3d4e5f6", frame, 0, ""));
        sink.commit(&batch(at(&[]), at(&[("a", 1)]), rows.collect())).await.unwrap();
        let spill = tempfile::tempdir().unwrap();
        let options = rva_lake::SqlOptions {
            memory_max_bytes: 8 << 20,
            spill_dir: Some(spill.path().to_owned()),
            ..rva_lake::SqlOptions::default()
        };
        // Either side is 60,000 rows of some 130 bytes, and each row has its own partner alone.
        for on in ["USING (pipeline_run_id, frame_index)", "USING (pipeline_run_id, frame_index, ingest_ts)"] {
            let query = format!(
                "SELECT count(*), sum(one.frame_index), sum(strpos(other.payload, '{{')), \
                 count(CASE WHEN one.ingest_ts = other.ingest_ts THEN 1 END) FROM bronze_raw AS one \
                 JOIN bronze_raw AS other {on}"
            );
            let found = lake.sql_with(&query, &options).await.unwrap().collect().await;
            let found = found.unwrap_or_else(|error| panic!("{on}: {error}"));
            let cell = |column: usize| found[0].column(column).as_primitive::<arrow::datatypes::Int64Type>().value(0);
            assert_eq!((cell(0), cell(1), cell(2), cell(3)), (60_000, 60_000 * 60_001 / 2, 60_000, 60_000), "{on}");
            let left = std::fs::read_dir(spill.path()).unwrap().count();
            assert_eq!(left, 0, "{on}: found files in the folder, wanted none left");
        }
    });
}

#[test]
fn tables_are_read_as_they_were() {
    run(|| async {
        let (_dir, lake) = filled().await;
        let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
        let table = lake.catalog().load_table(&ident).await.unwrap();
        let mut snapshots: Vec<_> = table.metadata().snapshots().cloned().collect();
        snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
        let first = &snapshots[0];
        let as_of = |moment| rva_lake::SqlOptions { as_of: Some(moment), ..rva_lake::SqlOptions::default() };
        let count = async |moment| {
            let answer = lake.sql_with("SELECT count(*) FROM bronze_raw", &as_of(moment)).await?;
            let rows = answer.collect().await?;
            let column = rows[0].column(0).clone();
            Ok::<_, rva_lake::LakeError>(arrow::util::display::array_value_to_string(&column, 0).unwrap())
        };
        let at_millis = |millis: i64| rva_lake::AsOf::Time(rva_types::Timestamp::from_micros(millis * 1000));
        assert_eq!(count(rva_lake::AsOf::Snapshot(first.snapshot_id())).await.unwrap(), "3");
        assert_eq!(count(rva_lake::AsOf::Snapshot(snapshots[1].snapshot_id())).await.unwrap(), "4");
        assert_eq!(count(at_millis(first.timestamp_ms())).await.unwrap(), "3");
        assert_eq!(count(at_millis(first.timestamp_ms() - 1)).await.unwrap(), "0", "before its first rows");
        assert_eq!(count(at_millis(first.timestamp_ms() + 3_600_000)).await.unwrap(), "4");
        let error = count(rva_lake::AsOf::Snapshot(5)).await.unwrap_err().to_string();
        assert!(error.contains("snapshot 5") && error.contains(&first.snapshot_id().to_string()), "{error}");
    });
}

#[test]
fn nothing_can_be_written_and_errors_name_what_is_wrong() {
    run(|| async {
        let (dir, lake) = filled().await;
        let path = dir.path().join("out.csv");
        for query in [
            "DROP TABLE bronze_raw".to_owned(),
            "CREATE TABLE t AS SELECT 1".to_owned(),
            "INSERT INTO bronze_raw SELECT * FROM bronze_raw".to_owned(),
            "DELETE FROM bronze_raw".to_owned(),
            format!("COPY bronze_raw TO '{}'", path.display()),
            "SET datafusion.execution.batch_size = 1".to_owned(),
            format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'", dir.path().display()),
        ] {
            let error = lake.sql(&query).await.unwrap_err();
            assert_eq!(error.kind(), LakeErrorKind::Permanent, "{query}: {error}");
        }
        assert!(!path.exists());
        let error = lake.sql("SELECT frame FROM bronze_raw").await.unwrap_err().to_string();
        assert!(error.contains("frame") && error.contains("frame_index"), "{error}");
        let error = lake.sql("SELECT 1 FROM silver").await.unwrap_err().to_string();
        assert!(error.contains("silver"), "{error}");
        let error = lake.sql("SELEKT").await.unwrap_err().to_string();
        assert!(error.contains("SELEKT"), "{error}");
    });
}

#[test]
fn a_query_through_a_read_only_lake_reads_the_same_rows() {
    run(|| async {
        let (dir, lake) = filled().await;
        let read = Lake::open_embedded_read_only(dir.path(), quick()).await.unwrap();
        let query = "SELECT pipeline_run_id, frame_index FROM bronze_raw ORDER BY 1, 2";
        assert_eq!(lines(&read, query).await, lines(&lake, query).await);
        let tables = read.tables().await.unwrap();
        let bronze = tables.iter().find(|table| table.name == "rva.bronze_raw").unwrap();
        assert_eq!((bronze.rows, bronze.files, bronze.snapshots), (4, 2, 2));
        assert_eq!(bronze.offsets, at(&[("a", 3), ("b", 1)]));
        assert!(bronze.last_commit.is_some() && bronze.bytes > 0);
    });
}

async fn answer(lake: &Lake, query: &str) -> Result<String, String> {
    let batches = match lake.sql(query).await {
        Ok(answer) => answer.collect().await.map_err(|error| error.to_string())?,
        Err(error) => return Err(error.to_string()),
    };
    Ok(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string())
}

#[test]
fn columns_of_every_kind_that_another_engine_adds_can_be_read_before_and_after_the_next_commit() {
    let Some(engine) = engine::Engine::find() else { return };
    run(async move || {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        sink.commit(&batch(at(&[]), at(&[("a", 2)]), vec![row("run", 1), row("run", 2)])).await.unwrap();
        engine.does(dir.path(), &["add-columns", "rva.bronze_raw"]);
        let all = answer(&lake, "SELECT * FROM bronze_raw ORDER BY frame_index").await.unwrap();
        assert!(all.contains("note") && all.contains("parts") && all.lines().count() == 6, "{all}");
        let null =
            answer(&lake, "SELECT count(*), count(note), count(pairs) FROM bronze_raw WHERE frame_index > 1").await;
        assert!(null.as_ref().unwrap().lines().nth(3).unwrap().contains("| 1        | 0 "), "{null:?}");
        let only = answer(&lake, "SELECT note, items FROM bronze_raw").await.unwrap();
        assert_eq!(only.lines().count(), 6, "{only}");
        engine.does(dir.path(), &["fill-columns", "rva.bronze_raw"]);
        let query =
            "SELECT frame_index, note, bytes, four, id, time, price, items, pairs, parts FROM bronze_raw ORDER BY 1";
        let all = answer(&lake, query).await.unwrap();
        let last = all.lines().nth(5).unwrap();
        for value in [
            "by another engine",
            "00ff",
            "666f7572",
            "000102030405060708090a0b0c0d0e0f",
            "01:02:03",
            "12.50",
            "[a, b]",
            "{k: v}",
            "{a: x}",
        ] {
            assert!(last.contains(value), "{value}: {last}");
        }
        engine.does(dir.path(), &["rename-column", "rva.bronze_raw", "note", "remark"]);
        let renamed = answer(&lake, "SELECT remark FROM bronze_raw WHERE frame_index = 999").await.unwrap();
        assert!(renamed.contains("by another engine"), "{renamed}");
    });
}

#[test]
fn a_table_that_is_broken_or_lies_elsewhere_stops_only_those_who_ask_for_it() {
    let Some(engine) = engine::Engine::find() else { return };
    run(async move || {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
        let place = |name: &str| elsewhere.path().join(name).display().to_string();
        engine.does(dir.path(), &["make", "rva.elsewhere", &place("warehouse")]);
        engine.does(dir.path(), &["make", "rva.broken", &place("broken")]);
        let metadata = engine.tells(dir.path(), &["metadata-location", "rva.broken"]);
        std::fs::write(metadata.trim_start_matches("file://"), "{").unwrap();
        for lake in [
            Lake::open_embedded(dir.path(), quick()).await.unwrap(),
            Lake::open_embedded_read_only(dir.path(), quick()).await.unwrap(),
        ] {
            assert!(answer(&lake, "SELECT count(*) FROM bronze_raw").await.unwrap().contains("| 1 "));
            assert!(answer(&lake, "SELECT sum(number) FROM elsewhere").await.unwrap().contains("| 45 "));
            let error = answer(&lake, "SELECT * FROM broken").await.unwrap_err();
            assert!(error.contains("rva.broken"), "{error}");
            let names: Vec<_> =
                lake.tables().await.unwrap().into_iter().map(|table| (table.name, table.rows)).collect();
            let wanted = [("rva.bronze_dead_letters", 0), ("rva.bronze_raw", 1), ("rva.elsewhere", 10)];
            assert_eq!(names, wanted.map(|(name, rows)| (name.to_owned(), rows)));
        }
        sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("run", 2)])).await.unwrap();
    });
}

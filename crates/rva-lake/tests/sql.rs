//! SQL over the tables, and the ready queries.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/engine.rs"]
mod engine;

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

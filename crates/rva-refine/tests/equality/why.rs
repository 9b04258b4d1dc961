//! The queries that say why a count is what it is, on a scene that was counted by hand.

use crate::world::{Bronze, T0, draw, open, refine, row, shape, sql};
use rva_lake::{BronzeRow, Lake};
use rva_types::Timestamp;
use std::path::Path;

const NAMES: [&str; 3] = ["why_people_per_minute", "why_line_crossings", "why_zone_visits"];

fn text(dialect: &str, name: &str) -> String {
    let path = format!("{}/../../data/queries/{dialect}/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// A person of 40 x 100 pixels who stands at a place of a picture of 1000 x 1000 pixels.
fn person(frame: i64, j: usize, track: &str, (x, y): (i64, i64)) -> String {
    let (x1, y1, x2) = (x - 20, y - 100, x + 20);
    format!(
        r#"{{"det_id":"{frame}-{j}","class":"person","class_id":0,"conf":0.9,"bbox":{{"x1":{x1},"y1":{y1},"x2":{x2},"y2":{y}}},"track_id":{track}}}"#
    )
}

fn frame(number: i64, second: f64, detections: &[String]) -> BronzeRow {
    let at = Timestamp::from_micros(T0 + (second * 1e6) as i64);
    let seen = detections.join(",");
    let payload =
        format!(r#"{{"capture_ts":"{at}","image_size":{{"width":1000,"height":1000}},"detections":[{seen}]}}"#);
    row("a", "door", "run", number, payload)
}

/// Track 7 walks from the left to the right over the line in the middle, which is `out`, stays in the zone at the right
/// and goes back. Beside it there are somebody without a track, a bag and an unsure detection; frame 5 is empty.
fn scene() -> Vec<BronzeRow> {
    let bag = r#"{"det_id":"3-1","class":"bag","conf":0.9,"bbox":{"x1":1,"y1":1,"x2":50,"y2":60}}"#.to_owned();
    let unsure = person(4, 1, "9", (100, 500)).replace("0.9,", "0.2,");
    vec![
        frame(1, 57.0, &[person(1, 0, "7", (300, 500))]),
        frame(2, 58.0, &[person(2, 0, "7", (400, 500)), person(2, 1, "null", (900, 900))]),
        frame(3, 59.0, &[person(3, 0, "7", (505, 500)), bag]),
        // The next minute.
        frame(4, 60.0, &[person(4, 0, "7", (700, 500)), unsure]),
        frame(5, 60.5, &[]),
        frame(6, 61.0, &[person(6, 0, "7", (750, 500))]),
        frame(7, 62.0, &[person(7, 0, "7", (450, 500))]),
        frame(8, 63.0, &[person(8, 0, "7", (440, 500))]),
    ]
}

async fn filled(folder: &Path) -> Lake {
    let lake = open(folder).await;
    draw(
        &lake,
        vec![
            shape("door", "middle", "line", "[[0.5,0.1],[0.5,0.9]]", 0, None),
            shape("door", "till", "zone", "[[0.6,0.2],[0.9,0.2],[0.9,0.8],[0.6,0.8]]", 0, None),
            shape("door", "till", "line", "[[0.1,0.1],[0.2,0.2]]", -10, Some(0)),
        ],
    )
    .await;
    let mut bronze = Bronze::of(&lake);
    bronze.append(scene()).await;
    refine(&lake).await.drain().await.unwrap();
    lake
}

/// The asked columns of a query's rows, in their order.
async fn asked(lake: &Lake, name: &str, columns: &str, order: &str) -> Vec<String> {
    let numbered =
        format!("SELECT row_number() OVER (ORDER BY {order}) + 100, {columns} FROM ({}) AS why", text("", name));
    sql(lake, &numbered).await.into_iter().map(|cells| cells[1..].join(" ")).collect()
}

#[test]
fn a_minute_is_explained_by_its_frames_and_people_whose_shares_add_up_to_it() {
    crate::block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let lake = filled(folder.path()).await;
        let columns = "frame_index, people_in_frame, det_id, track_id, adds_frames, adds_detections, adds_unique_people, \
                       pipeline_run_id, length(payload) > 50";
        let found = asked(&lake, "why_people_per_minute", columns, "frame_index, det_id").await;
        let wanted = [
            "1 1 1-0 7 1 1 1 run true",
            "2 2 2-0 7 1 1 0 run true",
            "2 2 2-1 null 0 1 0 run true",
            "3 1 3-0 7 1 1 0 run true",
            "4 1 4-0 7 1 1 1 run true",
            "5 0 null null 1 0 0 run true",
            "6 1 6-0 7 1 1 0 run true",
            "7 1 7-0 7 1 1 0 run true",
            "8 1 8-0 7 1 1 0 run true",
        ];
        assert_eq!(found, wanted);
        let sums = "SELECT ts_minute, frames, sum(adds_frames), detections, sum(adds_detections), unique_people, \
                    sum(adds_unique_people), people_max, max(people_in_frame)";
        let why = text("", "why_people_per_minute");
        let sums =
            format!("{sums} FROM ({why}) AS why GROUP BY ts_minute, frames, detections, unique_people, people_max");
        let wanted = ["2026-01-31T22:50:00Z 3 3 4 4 1 1 2 2", "2026-01-31T22:51:00Z 5 5 4 4 1 1 1 1"];
        let found: Vec<_> = sql(&lake, &sums).await.into_iter().map(|cells| cells.join(" ")).collect();
        assert_eq!(found, wanted);
        let payload =
            format!("SELECT payload FROM ({why}) AS why WHERE frame_index = 5 AND ts_minute > '2026-01-31T22:50:30Z'");
        let empty = scene()[4].event.payload.to_string();
        assert_eq!(sql(&lake, &payload).await, [[empty]], "bronze's record of that frame");
    });
}

#[test]
fn a_crossing_is_explained_by_the_path_on_both_sides_and_the_detection_that_dates_it() {
    crate::block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let lake = filled(folder.path()).await;
        let columns =
            "crossing, direction, frame_index, round(distance, 4), side, adds_crossings, points, length(payload) > 50";
        let found = asked(&lake, "why_line_crossings", columns, "crossing, frame_index").await;
        let line = "[[0.5,0.1],[0.5,0.9]] true";
        let wanted = [
            // 200 of 1,414 pixels, to the right hand of somebody who looks down the picture.
            format!("1 out 1 0.1414 in 0 {line}"),
            format!("1 out 2 0.0707 in 0 {line}"),
            format!("1 out 3 -0.0035 neither 0 {line}"),
            format!("1 out 4 -0.1414 out 1 {line}"),
            format!("1 out 6 -0.1768 out 0 {line}"),
            format!("1 out 7 0.0354 in 0 {line}"),
            format!("2 in 4 -0.1414 out 0 {line}"),
            format!("2 in 6 -0.1768 out 0 {line}"),
            format!("2 in 7 0.0354 in 1 {line}"),
            format!("2 in 8 0.0424 in 0 {line}"),
        ];
        assert_eq!(found, wanted);
        let sums = format!(
            "SELECT crossing, crossed_at, sum(adds_crossings), max(CASE WHEN adds_crossings = 1 THEN capture_ts END) \
             FROM ({}) AS why GROUP BY crossing, crossed_at",
            text("", "why_line_crossings")
        );
        let wanted = [
            ["1", "2026-01-31T22:51:00Z", "1", "2026-01-31T22:51:00Z"],
            ["2", "2026-01-31T22:51:02Z", "1", "2026-01-31T22:51:02Z"],
        ];
        assert_eq!(sql(&lake, &sums).await, wanted);
    });
}

#[test]
fn a_visit_is_explained_by_the_detections_before_during_and_after_it() {
    crate::block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let lake = filled(folder.path()).await;
        let columns = "zone, visit, frame_index, x, y, part, dwell_seconds, length(payload) > 50";
        let found = asked(&lake, "why_zone_visits", columns, "frame_index").await;
        let wanted = [
            "till 1 2 0.4 0.5 before 1.0 true",
            "till 1 3 0.505 0.5 before 1.0 true",
            "till 1 4 0.7 0.5 during 1.0 true",
            "till 1 6 0.75 0.5 during 1.0 true",
            "till 1 7 0.45 0.5 after 1.0 true",
            "till 1 8 0.44 0.5 after 1.0 true",
        ];
        assert_eq!(found, wanted);
    });
}

/// The texts differ in the names of the tables and in how a number is read out of a JSON array, in nothing else.
#[test]
fn every_engine_is_asked_the_same() {
    for name in NAMES {
        let own = text("", name);
        for (dialect, [before, between, after]) in [
            ("trino", ["CAST(json_extract_scalar(points, '$[", "][", "]') AS double)"]),
            ("spark", ["CAST(get_json_object(points, '$[", "][", "]') AS double)"]),
            ("duckdb", ["CAST(points->>'$[", "][", "]' AS double)"]),
        ] {
            let mut other = text(dialect, name).replace("lakehouse.rva.", "");
            for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let number = format!("{before}{i}{between}{j}{after}");
                other = other.replace(&number, &format!("json_get_float(points, {i}, {j})"));
            }
            assert_eq!(other, own, "{dialect}: {name}");
            let tables = ["silver_", "gold_", "bronze_", "zones"];
            let is_qualified = |line: &&str| {
                let rest = line.split_once("FROM ").or_else(|| line.split_once("JOIN ")).map(|(_, rest)| rest);
                !rest.is_some_and(|rest| tables.iter().any(|table| rest.starts_with(table)))
            };
            let lines = text(dialect, name);
            let bare: Vec<_> = lines.lines().filter(|line| !is_qualified(line)).collect();
            assert_eq!(bare.is_empty(), dialect != "duckdb", "{dialect}: {name}: {bare:?}");
        }
    }
}

#[test]
fn duckdb_explains_as_datafusion_does() {
    let Some(python) = rva_testkit::python_with(&["duckdb"]) else { return };
    crate::block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let lake = filled(folder.path()).await;
        // One commit a table, so each file that is there is alive.
        let script = r#"
import sys, duckdb
queries, warehouse = sys.argv[1:]
duckdb.execute("SET TimeZone='UTC'")
for name in ("bronze_raw", "zones", "silver_frames", "silver_detections",
             "gold_people_per_minute", "gold_line_crossings", "gold_zone_visits"):
    duckdb.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{warehouse}/rva/{name}*/data/**/*.parquet', "
                   "hive_partitioning=false)")
for name in ("why_people_per_minute", "why_line_crossings", "why_zone_visits"):
    for row in duckdb.execute(f"SELECT * EXCLUDE payload FROM ({open(f'{queries}/{name}.sql').read()}) AS why").fetchall():
        cells = [c.isoformat(timespec="milliseconds").removesuffix("+00:00").removesuffix(".000")
                 if hasattr(c, "isoformat") else c for c in row]
        print(*["null" if cell is None else f"{cell:.9f}" if isinstance(cell, float) else cell for cell in cells])
"#;
        let queries = format!("{}/../../data/queries/duckdb", env!("CARGO_MANIFEST_DIR"));
        let warehouse = folder.path().join("warehouse");
        let output = std::process::Command::new(python).args(["-c", script, &queries]).arg(warehouse).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        let mut wanted = Vec::new();
        for name in NAMES {
            for cells in sql(&lake, &format!("SELECT * EXCLUDE (payload) FROM ({}) AS why", text("", name))).await {
                let cell = |cell: &String| match cell.parse::<f64>() {
                    Ok(number) if cell.contains('.') => format!("{number:.9}"),
                    _ => cell.strip_suffix('Z').unwrap_or(cell).to_owned(),
                };
                wanted.push(cells.iter().map(cell).collect::<Vec<_>>().join(" "));
            }
        }
        found.sort();
        wanted.sort();
        assert!(wanted.len() > 20, "{wanted:#?}");
        assert_eq!(found, wanted);
    });
}

//! From NDJSON to rows and back out through SQL, without a video.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Ran, command, record, rva};
use serde_json::json;
use std::{collections::BTreeSet, fs, path::Path};
use tempfile::tempdir;

/// Keys of `bronze_raw` as SQL gives them; each may be there once only.
fn keys(folder: &Path) -> BTreeSet<String> {
    let sql = "SELECT pipeline_run_id, camera_id, frame_index FROM bronze_raw";
    let csv = rva(folder, &["query", sql, "--format", "csv"]).exits(0).stdout;
    let lines: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
    let set: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(set.len(), lines.len(), "a key is there twice: {csv}");
    set
}

/// 20 records of each of two cameras, and two lines that are none.
fn write_records(path: &Path) -> BTreeSet<String> {
    let (mut text, mut keys) = (String::new(), BTreeSet::new());
    for frame in 1..=20 {
        for camera in ["door", "till"] {
            let run = format!("run-{camera}");
            text.push_str(&record(&run, camera, frame));
            text.push('\n');
            keys.insert(format!("{run},{camera},{frame}"));
        }
        if frame == 5 {
            text.push_str("not json\n{\"pipeline_run_id\":\"r\"}\n");
        }
    }
    fs::write(path, text).unwrap();
    keys
}

#[test]
fn replayed_records_are_rows_once_and_bad_lines_are_dead_letters_with_their_number() {
    let folder = tempdir().unwrap();
    let wanted = write_records(&folder.path().join("a.ndjson"));
    let replay =
        rva(folder.path(), &["replay", "a.ndjson"]).exits(0).says(&["42 records", "2 of them", "rva ingest --drain"]);
    assert_eq!(replay.stdout, "");
    rva(folder.path(), &["ingest", "--drain"]).exits(0).says(&["40 rows", "2 dead letters"]);
    assert_eq!(keys(folder.path()), wanted);

    let sql = "SELECT reason, detail, properties['replay_line'] AS line FROM bronze_dead_letters ORDER BY line";
    let dead = rva(folder.path(), &["query", sql, "--format", "json"]).exits(0).stdout;
    let dead: Vec<serde_json::Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<_> =
        dead.iter().map(|row| (row["reason"].as_str().unwrap(), row["line"].as_str().unwrap())).collect();
    assert_eq!(found, [("invalid_json", "11"), ("missing_field", "12")]);

    rva(folder.path(), &["replay", "a.ndjson"]).exits(0);
    rva(folder.path(), &["ingest", "--drain"]).exits(0).says(&["0 rows", "40 were there already"]);
    assert_eq!(keys(folder.path()), wanted, "the same file a second time adds nothing");
    rva(folder.path(), &["ingest", "--drain"]).exits(0).says(&["0 rows"]);
}

#[test]
fn small_files_are_merged_on_request_and_a_plan_changes_nothing() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    rva(folder, &["maintain", "--plan"]).exits(1).says(&["found no catalog.db"]);
    let mut wanted = BTreeSet::new();
    for part in 0..5 {
        let frames = part * 10 + 1..part * 10 + 11;
        let lines: Vec<String> = frames.clone().map(|frame| record("run", "door", frame)).collect();
        wanted.extend(frames.map(|frame| format!("run,door,{frame}")));
        fs::write(folder.join("part.ndjson"), lines.join("\n")).unwrap();
        rva(folder, &["replay", "part.ndjson"]).exits(0);
        rva(folder, &["ingest", "--drain"]).exits(0);
    }
    // Nobody merges what has just come.
    let young = rva(folder, &["maintain", "--plan"]).exits(0).stdout;
    assert!(young.contains("rva.bronze_raw\n  files  5 (") && young.contains("after  the same"), "{young}");
    fs::write(folder.join("rva.yaml"), "maintain: {age_min: 0s, files_min: 2}\n").unwrap();
    for _ in 0..2 {
        let plan = rva(folder, &["maintain", "rva.bronze_raw", "--plan", "--format", "json"]).exits(0).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        assert_eq!((&plan["files"], &plan["files_after"]), (&json!(5), &json!(1)), "{plan}");
        let merge = &plan["merges"][0];
        assert_eq!((&merge["files"], &merge["rows"]), (&json!(5), &json!(50)), "{plan}");
    }
    rva(folder, &["maintain", "--once"]).exits(0).says(&["rva.bronze_raw: 5 files of 50 rows are 1 now"]);
    assert_eq!(keys(folder), wanted);
    rva(folder, &["maintain", "--once"]).exits(0).says(&["nothing to merge"]);
    rva(folder, &["replay", "part.ndjson"]).exits(0);
    rva(folder, &["ingest", "--drain"]).exits(0).says(&["0 rows", "10 were there already"]);
    assert_eq!(keys(folder), wanted, "the ingest goes on where it was, and knows every key");
    rva(folder, &["maintain", "bronze", "--once"]).exits(2).says(&["found table \"bronze\"", "bronze_raw"]);
    rva(folder, &["maintain", "--once", "--plan"]).exits(2);
    // Nobody listens there.
    let elsewhere = "catalog: {kind: rest}\niceberg: {catalog_uri: \"http://127.0.0.1:9\"}\n";
    fs::write(folder.join("rva.yaml"), elsewhere).unwrap();
    rva(folder, &["maintain", "--once"]).exits(1).says(&["could not open catalog", "127.0.0.1:9"]);
}

#[test]
fn init_makes_the_tables_once_and_says_where() {
    let folder = tempdir().unwrap();
    for _ in 0..2 {
        rva(folder.path(), &["init", "--data-dir", "shop"]).exits(0).says(&["the tables in shop", "set up"]);
    }
    let tables = rva(folder.path(), &["tables", "--data-dir", "shop"]).exits(0).stdout;
    assert!(tables.contains("bronze_raw") && tables.contains("bronze_dead_letters"), "{tables}");
    rva(folder.path(), &["init", "--bus", "kafka"]).exits(2).says(&["bus.kind", "kafka", "log, pulsar"]);
    // Nobody listens there.
    let refused = ["init", "--catalog", "rest", "--data-dir", "other"];
    let mut refused = command(folder.path(), &refused);
    let ran: Ran = refused.env("ICEBERG_CATALOG_URI", "http://127.0.0.1:9").output().unwrap().into();
    ran.exits(1).says(&["127.0.0.1:9"]);
}

#[test]
fn a_query_is_written_as_table_csv_or_json_lines() {
    let folder = tempdir().unwrap();
    write_records(&folder.path().join("a.ndjson"));
    rva(folder.path(), &["replay", "a.ndjson"]).exits(0);
    rva(folder.path(), &["ingest", "--drain"]).exits(0);
    let sql = "SELECT camera_id, count(*) AS frames, sum(json_length(payload, 'detections')) AS people \
               FROM rva.bronze_raw GROUP BY camera_id ORDER BY camera_id";
    let query = |format: &str| rva(folder.path(), &["query", sql, "--format", format]).exits(0).stdout;
    assert_eq!(query("csv"), "camera_id,frames,people\ndoor,20,20\ntill,20,20\n");
    let json =
        "{\"camera_id\":\"door\",\"frames\":20,\"people\":20}\n{\"camera_id\":\"till\",\"frames\":20,\"people\":20}\n";
    assert_eq!(query("json"), json);
    assert!(query("table").contains("| door      | 20     | 20     |"), "{}", query("table"));

    let none = rva(folder.path(), &["query", "SELECT frame_index FROM bronze_raw WHERE false", "--format", "csv"]);
    assert_eq!(none.exits(0).stdout, "frame_index\n");
    rva(folder.path(), &["query", "SELECT nothing FROM bronze_raw"]).exits(1).says(&["nothing"]);
    rva(folder.path(), &["query", "SELEC 1"]).exits(1).says(&["SELEC"]);
    rva(folder.path(), &["query", "DROP TABLE bronze_raw"]).exits(1);
    assert_eq!(keys(folder.path()).len(), 40, "a query changes nothing");
}

#[test]
fn the_tables_are_listed_with_rows_and_offsets() {
    let folder = tempdir().unwrap();
    write_records(&folder.path().join("a.ndjson"));
    rva(folder.path(), &["replay", "a.ndjson", "--data-dir", "d"]).exits(0);
    rva(folder.path(), &["ingest", "--drain", "--data-dir", "d"]).exits(0);
    let json = rva(folder.path(), &["tables", "--format", "json", "--data-dir", "d"]).exits(0).stdout;
    let tables: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let raw = tables.iter().find(|table| table["name"] == "rva.bronze_raw").unwrap();
    assert_eq!(raw["rows"], 40);
    assert_eq!((&raw["offsets"]["door"], &raw["offsets"]["till"]), (&"0:20:-1".into(), &"0:20:-1".into()));
    let text = rva(folder.path(), &["tables", "--data-dir", "d"]).exits(0).stdout;
    assert!(
        text.contains("rva.bronze_raw") && text.contains("rva.bronze_dead_letters") && text.contains("door 0:20:-1"),
        "{text}"
    );
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let folder = tempdir().unwrap();
    write_records(&folder.path().join("a.ndjson"));
    rva(folder.path(), &["replay", "a.ndjson"]).exits(0);
    rva(folder.path(), &["ingest", "--drain"]).exits(0);
    let sql = "SELECT repeat(payload, 500) AS long FROM bronze_raw";
    let mut child = common::command(folder.path(), &["query", sql, "--format", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran: common::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.exits(0).stderr, "");
}

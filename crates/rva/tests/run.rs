//! From a video to rows, with the demo's model.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Ran, clip, command, demo_model, footage, record, rva};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::tempdir;

/// What two runs over the same frames must have in common: everything but the run.
fn without_run(record: &str) -> Value {
    let mut value: Value = serde_json::from_str(record).unwrap();
    value.as_object_mut().unwrap().remove("pipeline_run_id");
    value
}

fn payloads(folder: &Path, data_dir: &str) -> BTreeMap<(String, u64), Value> {
    let sql = "SELECT camera_id, frame_index, payload FROM bronze_raw";
    let json = rva(folder, &["query", sql, "--format", "json", "--data-dir", data_dir]).exits(0).stdout;
    let mut rows = BTreeMap::new();
    for line in json.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let key = (row["camera_id"].as_str().unwrap().to_owned(), row["frame_index"].as_u64().unwrap());
        let known = rows.insert(key.clone(), without_run(row["payload"].as_str().unwrap()));
        assert!(known.is_none(), "{key:?} is there twice");
    }
    rows
}

/// Waits for something that must come; the time is only a bound for a broken test.
#[track_caller]
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < Duration::from_secs(240), "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn started(folder: &Path, arguments: &[&str]) -> Child {
    command(folder, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whole records in the segments of a partition.
fn logged(folder: &Path, data_dir: &str, camera: &str) -> BTreeSet<u64> {
    let Ok(entries) = fs::read_dir(folder.join(data_dir).join("log").join(camera)) else { return BTreeSet::new() };
    let mut frames = BTreeSet::new();
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "ndjson"))
    {
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            if let Ok(value) = serde_json::from_str::<Value>(line) {
                frames.extend(value["rec"]["frame_index"].as_u64());
            }
        }
    }
    frames
}

#[test]
fn every_frame_of_two_videos_is_a_row_once_and_says_what_detect_says() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 40) else { return };
    let (clip, model) = (clip.display().to_string(), demo_model().display().to_string());
    let start = ["--start-time", "2026-01-31T08:00:00Z"];
    let detect = [&["detect", &clip, "--model", &model, "--output", "-"], &start[..]].concat();
    let detected = rva(folder.path(), &detect).exits(0).stdout;
    let detected: BTreeMap<u64, Value> = detected
        .lines()
        .map(|line| (serde_json::from_str::<Value>(line).unwrap()["frame_index"].as_u64().unwrap(), without_run(line)))
        .collect();
    assert_eq!(detected.keys().copied().collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert!(detected.values().any(|record| record["detections"][0]["track_id"].is_u64()), "nobody was followed");

    let run = [&["run", &clip, &clip, "--model", &model, "--data-dir", "d", "--save"], &start[..]].concat();
    let ran = rva(folder.path(), &run).exits(0).says(&[
        "80 rows committed",
        "d/annotated/cam_01.mp4",
        "rva query",
        "rva tables",
    ]);
    assert_eq!(ran.stdout, "");
    let next = ran.stderr.lines().find_map(|line| line.trim().strip_prefix("rva query \"")?.split('"').next()).unwrap();
    let people = rva(folder.path(), &["query", next, "--format", "csv", "--data-dir", "d"]).exits(0).stdout;
    let lines: Vec<&str> = people.lines().collect();
    assert_eq!(lines[0], "minute,camera_id,people");
    assert!(lines[1].starts_with("2026-01-31T08:00:00,cam_01,") && lines[2].contains(",cam_02,"), "{people}");
    let rows = payloads(folder.path(), "d");
    let wanted: BTreeSet<_> = ["cam_01", "cam_02"].iter().flat_map(|c| (1..=40).map(|n| (c.to_string(), n))).collect();
    assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    for frame in 1..=40 {
        assert_eq!(rows[&("cam_01".to_owned(), frame)], detected[&frame], "frame {frame}");
    }
    for file in
        ["catalog.db", "warehouse", "log", "annotated/cam_01.mp4", "annotated/cam_01.jpg", "annotated/cam_02.mp4"]
    {
        assert!(folder.path().join("d").join(file).exists(), "{file}");
    }
}

#[test]
fn a_second_run_on_a_data_folder_is_refused_and_a_first_interrupt_commits_what_was_decoded() {
    let folder = tempdir().unwrap();
    if clip(folder.path(), 1).is_none() {
        return;
    }
    let (video, model) = (footage().unwrap().display().to_string(), demo_model().display().to_string());
    let arguments = ["run", &video, "--model", &model, "--data-dir", "d"];
    let first = started(folder.path(), &arguments);
    wait_for("the first records", || logged(folder.path(), "d", "cam_01").len() > 5);
    let before = logged(folder.path(), "d", "cam_01");
    let pid = first.id().to_string();
    rva(folder.path(), &arguments).exits(4).says(&[&pid, "writer"]);
    assert!(before.is_subset(&logged(folder.path(), "d", "cam_01")), "the second took something away");

    signal(&first, "-INT");
    let ran: Ran = first.wait_with_output().unwrap().into();
    ran.exits(130).says(&["rows committed"]);
    let decoded = logged(folder.path(), "d", "cam_01");
    let committed: BTreeSet<u64> = payloads(folder.path(), "d").into_keys().map(|(_, frame)| frame).collect();
    assert_eq!(committed, decoded);
    assert_eq!(committed, (1..=committed.len() as u64).collect(), "no frame is missing in between");
    assert!(committed.len() < 795, "the interrupt came after the end");
}

#[test]
fn an_ingest_that_follows_commits_what_a_replay_brings_and_a_second_one_stands_by() {
    let folder = tempdir().unwrap();
    let lines = |from: u64| (from..from + 5).map(|frame| record("r", "door", frame) + "\n").collect::<String>();
    fs::write(folder.path().join("a.ndjson"), lines(1)).unwrap();
    fs::write(folder.path().join("b.ndjson"), lines(6)).unwrap();
    rva(folder.path(), &["replay", "a.ndjson", "--data-dir", "d"]).exits(0);
    let first = started(folder.path(), &["ingest", "--data-dir", "d", "--commit-interval", "100ms"]);
    let lock = folder.path().join("d/ingest.lock");
    let pid = first.id().to_string();
    wait_for("the first ingest", || fs::read_to_string(&lock).is_ok_and(|text| text.trim() == pid));
    let second = started(folder.path(), &["ingest", "--data-dir", "d"]);
    rva(folder.path(), &["replay", "b.ndjson", "--data-dir", "d"]).exits(0);
    let frames = || {
        let ran =
            rva(folder.path(), &["query", "SELECT frame_index FROM bronze_raw", "--format", "csv", "--data-dir", "d"]);
        ran.stdout.lines().skip(1).filter_map(|line| line.parse().ok()).collect::<Vec<u64>>()
    };
    wait_for("ten rows", || frames().len() >= 10);
    signal(&first, "-TERM");
    let ran: Ran = first.wait_with_output().unwrap().into();
    ran.exits(0).says(&["10 rows committed"]);
    let took_over = |text: String| !text.trim().is_empty() && text.trim() != pid;
    wait_for("the standby", || fs::read_to_string(&lock).is_ok_and(took_over));
    signal(&second, "-INT");
    let ran: Ran = second.wait_with_output().unwrap().into();
    ran.exits(0).says(&["standby", &pid]);
    assert_eq!(frames().into_iter().collect::<BTreeSet<_>>(), (1..=10).collect());
}

#[test]
fn an_unknown_class_names_the_nearest_and_a_missing_video_is_named() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 2) else { return };
    let (clip, model) = (clip.display().to_string(), demo_model().display().to_string());
    let run = |source: &str, more: &[&str]| {
        rva(folder.path(), &[&["run", source, "--model", &model, "--data-dir", "d"], more].concat())
    };
    run(&clip, &["--classes", "persn"]).exits(2).says(&["persn", "person"]);
    run(&clip, &["--onnxruntime", "none.so"]).exits(1).says(&["none.so", "1.31"]);
    run("none.mp4", &[]).exits(1).says(&["none.mp4"]);
    assert!(!folder.path().join("d").exists(), "nothing is made for what can't start");
    let ran = run(&clip, &["--classes", "person", "--quiet", "--vid-stride", "2"]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "quiet");
    assert_eq!(payloads(folder.path(), "d").into_keys().map(|(_, frame)| frame).collect::<Vec<_>>(), [1]);
}

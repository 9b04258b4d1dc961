//! Cameras that are kept running: streams that break off, the configuration edited, more than the machine can.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "../../rva-vision/tests/rtsp_server/mod.rs"]
mod rtsp_server;

use common::{clip, command, demo_model, rva};
use rtsp_server::{PASSWORD, PASSWORD_ENCODED, RtspServer, USER};
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

/// Short pauses, and time-outs that a busy machine keeps.
const CAPTURE: &str = "capture: {reconnect_min: 100ms, reconnect_max: 1s, open_timeout: 15s, read_timeout: 15s}\n";

/// Ends with the test, also when it panics.
struct Running(Option<Child>);

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let stderr = fs::File::create(folder.join("stderr")).unwrap();
        Self(Some(command(folder, arguments).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()))
    }

    fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Its exit code, once it has ended.
    fn code(mut self) -> Option<i32> {
        self.0.take().unwrap().wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for something that must come; the time is only a bound for a broken test.
#[track_caller]
fn wait_for(folder: &Path, what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        let said = || fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain for {what}:\n{}", said());
        sleep(Duration::from_millis(50));
    }
}

fn said(folder: &Path) -> String {
    fs::read_to_string(folder.join("stderr")).unwrap()
}

/// Frame indexes by camera and run, in the order of the file.
fn runs(ndjson: &Path) -> BTreeMap<String, Vec<(String, Vec<u64>)>> {
    let mut runs: BTreeMap<String, Vec<(String, Vec<u64>)>> = BTreeMap::new();
    for line in fs::read_to_string(ndjson).unwrap_or_default().lines() {
        // The last line may be half written.
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (run, camera) = (text(&record["pipeline_run_id"]), text(&record["source"]["camera_id"]));
        let (own, index) = (runs.entry(camera).or_default(), record["frame_index"].as_u64().unwrap());
        match own.iter_mut().find(|(known, _)| *known == run) {
            Some((_, indexes)) => indexes.push(index),
            None => own.push((run, vec![index])),
        }
    }
    runs
}

#[track_caller]
fn hides(text: &str) {
    for secret in [USER, PASSWORD, PASSWORD_ENCODED, "s3cret", "wr0ng"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn a_camera_that_is_killed_and_comes_back_goes_on_as_another_run_and_its_password_is_nowhere() {
    let folder = tempdir().unwrap();
    // What it needs besides a server.
    if clip(folder.path(), 1).is_none() {
        return;
    }
    let Some(server) = RtspServer::start("digest", &["door=test"]) else { return };
    fs::write(folder.path().join("rva.yaml"), CAPTURE).unwrap();
    let (url, port, model) = (server.url("door"), server.port.to_string(), demo_model().display().to_string());
    let output = folder.path().join("out.ndjson");
    let wrong = url.replace("s3cret", "wr0ng");
    let refused = rva(folder.path(), &["detect", &wrong, "--model", &model, "--output", "no.ndjson"]);
    let refused = refused.exits(1).says(&["refused (401)", &server.shown("door")]);
    hides(&(refused.stdout + &refused.stderr));
    assert!(!folder.path().join("no.ndjson").exists(), "nothing was begun");

    let detect = ["detect", &url, "--model", &model, "--output", "out.ndjson", "--log-level", "debug"];
    let running = Running::start(folder.path(), &detect);
    let lengths = || runs(&output).remove("cam_01").unwrap_or_default().iter().map(|r| r.1.len()).collect::<Vec<_>>();
    wait_for(folder.path(), "the first run", || lengths().first().is_some_and(|frames| *frames >= 10));
    drop(server);
    wait_for(folder.path(), "the end of it", || said(folder.path()).contains("it is opened again after the pause"));
    let again = RtspServer::start_with(&["--port", &port, "--auth", "digest"], &["door=test"]).unwrap();
    wait_for(folder.path(), "a second run", || lengths().get(1).is_some_and(|frames| *frames >= 10));
    running.signal("-INT");
    assert_eq!(running.code(), Some(0), "a live source has no end of its own: {}", said(folder.path()));
    drop(again);
    let found = runs(&output).remove("cam_01").unwrap();
    assert_eq!(found.len(), 2);
    for (_, indexes) in &found {
        assert!(indexes.is_sorted_by(|a, b| a < b), "in order, with gaps where a newer one came first");
    }
    hides(&said(folder.path()));
    hides(&fs::read_to_string(&output).unwrap());
    assert!(said(folder.path()).contains("opened 2 times"), "{}", said(folder.path()));
}

/// Rows by camera and run.
fn rows(folder: &Path) -> BTreeMap<String, BTreeMap<String, Vec<u64>>> {
    let sql = "SELECT camera_id, pipeline_run_id AS run, frame_index FROM bronze_raw ORDER BY frame_index";
    let json = rva(folder, &["query", sql, "--format", "json"]).exits(0).stdout;
    let mut rows: BTreeMap<String, BTreeMap<String, Vec<u64>>> = BTreeMap::new();
    for line in json.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (camera, run) = (row["camera_id"].as_str().unwrap(), row["run"].as_str().unwrap());
        let index = row["frame_index"].as_u64().unwrap();
        rows.entry(camera.to_owned()).or_default().entry(run.to_owned()).or_default().push(index);
    }
    rows
}

#[test]
fn cameras_are_added_changed_and_removed_by_editing_the_file_and_the_others_notice_nothing() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 3000) else { return };
    let model = demo_model().display().to_string();
    let write = |cameras: &str| {
        let head = format!("detector: {{model: {model:?}, vid_stride: 5}}\ncapture: {{realtime: true}}\n");
        fs::write(folder.path().join("rva.yaml"), head + "cameras:\n" + cameras).unwrap();
    };
    let source = clip.display();
    let camera = |id: &str, more: &str| format!("  {id}: {{source: {source}{more}}}\n");
    write(&(camera("same", "") + &camera("changes", "") + &camera("goes", "")));
    let running = Running::start(folder.path(), &["run", "--commit-interval", "500ms"]);
    let has = |camera: &str, runs: usize| {
        let ran = rva(folder.path(), &["query", "SELECT count(*) FROM bronze_raw"]);
        ran.code == 0 && rows(folder.path()).get(camera).is_some_and(|found| found.len() >= runs)
    };
    wait_for(folder.path(), "rows", || ["same", "changes", "goes"].iter().all(|id| has(id, 1)));

    write(&(camera("same", "") + &camera("changes", ", konf: 0.5") + "  empty:\n"));
    running.signal("-HUP");
    wait_for(folder.path(), "the refusal", || said(folder.path()).contains("nothing is changed"));
    let text = said(folder.path());
    assert!(text.contains("konf") && text.contains("nearest is conf") && text.contains("cameras.empty"), "{text}");

    write(&(camera("same", "") + &camera("changes", ", conf: 0.5") + &camera("comes", "") + &camera("absent", ".no")));
    running.signal("-HUP");
    wait_for(folder.path(), "the new ones", || has("comes", 1) && has("changes", 2));
    running.signal("-TERM");
    assert_eq!(running.code(), Some(1), "one camera's file isn't there: {}", said(folder.path()));
    assert!(said(folder.path()).contains("no such file"), "{}", said(folder.path()));
    let rows = rows(folder.path());
    assert_eq!(rows.keys().map(String::as_str).collect::<Vec<_>>(), ["changes", "comes", "goes", "same"]);
    assert_eq!(rows["same"].len(), 1, "one run, before and after");
    assert_eq!((rows["changes"].len(), rows["goes"].len()), (2, 1));
    for (camera, runs) in &rows {
        for indexes in runs.values() {
            assert!(indexes.is_sorted_by(|a, b| a < b), "{camera} has a frame twice");
            assert!(indexes.iter().all(|index| index % 5 == 1), "{camera} leaves the stride");
        }
    }
}

#[test]
fn two_hundred_cameras_on_a_machine_that_cannot_are_all_looked_at_and_it_says_what_it_manages() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 60) else { return };
    let mut text = format!("detector: {{model: {:?}}}\ncapture: {{realtime: true}}\ncameras:\n", demo_model());
    for number in 1..=200 {
        text.push_str(&format!("  cam_{number:03}: {{source: {}}}\n", clip.display()));
    }
    fs::write(folder.path().join("rva.yaml"), text).unwrap();
    let ran = rva(folder.path(), &["run", "--stats=1h", "--log-format", "json"]).exits(0);
    assert!(ran.stderr.contains("cameras, managed"), "{}", &ran.stderr[..ran.stderr.len().min(4000)]);
    let stats: Vec<Value> = ran
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line.to_string().contains("\"stats\""))
        .collect();
    assert_eq!(stats.len(), 200, "one line a camera, at the end");
    let field = |line: &Value, name: &str| {
        line["fields"][name].as_u64().or_else(|| line[name].as_u64()).unwrap_or_else(|| panic!("no {name} in {line}"))
    };
    let mut superseded = 0;
    for line in &stats {
        let count = |name| field(line, name);
        let skipped = count("skipped_stride") + count("skipped_overload") + count("skipped_superseded");
        assert_eq!((count("decoded"), count("processed") + skipped), (60, 60), "{line}");
        assert_eq!(count("records"), count("processed"));
        superseded += count("skipped_superseded");
    }
    assert!(superseded > 0, "a machine that can isn't what this is about");
    let rows = rows(folder.path());
    assert_eq!(rows.len(), 200, "none was forgotten");
    let processed: u64 = stats.iter().map(|line| field(line, "processed")).sum();
    let indexes = rows.values().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>() as u64;
    assert_eq!(indexes, processed);
    for (camera, runs) in rows {
        let indexes: BTreeSet<u64> = runs.into_values().flatten().collect();
        assert!(indexes.len() >= 2, "{camera}: {indexes:?}");
    }
}

//! `rva status` beside what really runs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{clip, command, demo_model, record, rva};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::tempdir;

/// Ends with the test, also when it panics.
struct Running(Child);

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let stderr = fs::File::create(folder.join("stderr")).unwrap();
        Self(command(folder, arguments).stdout(Stdio::null()).stderr(stderr).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer is as wanted, which must come; the time is only a bound for a broken test.
#[track_caller]
fn status_when(folder: &Path, what: &str, is_there: impl Fn(&Value) -> bool) -> (i32, Value) {
    let start = Instant::now();
    loop {
        let ran = rva(folder, &["status", "--format", "json"]);
        let status = serde_json::from_str(&ran.stdout).unwrap_or_default();
        if is_there(&status) {
            return (ran.code, status);
        }
        let said = || fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        assert!(start.elapsed() < Duration::from_secs(120), "waited for {what}: {status:#}\n{}{}", ran.stderr, said());
        sleep(Duration::from_millis(100));
    }
}

/// Returns what is wrong but for the machine's own troubles, which a test can't choose.
fn alerts(status: &Value) -> Vec<String> {
    const OF_THE_MACHINE: [&str; 3] = ["DiskFilling", "MemoryHigh", "OpenFilesHigh"];
    let findings = status["findings"].as_array().unwrap().iter();
    let found = findings.map(|finding| format!("{} {}", finding["alert"].as_str().unwrap(), finding["text"]));
    found.filter(|text| !OF_THE_MACHINE.iter().any(|alert| text.starts_with(alert))).collect()
}

/// Returns the exit code that a status must have.
fn code_of(status: &Value) -> i32 {
    i32::from(!status["findings"].as_array().unwrap().is_empty())
}

#[test]
fn a_run_is_seen_without_any_address_with_its_cameras_and_the_dark_one_is_what_is_wrong() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 600) else { return };
    let text = format!(
        "detector: {{model: {:?}, vid_stride: 5}}\ncapture: {{realtime: true, reconnect_max: 200ms}}\ncameras:\n  \
         door: {{source: {clip:?}}}\n  dead: {{source: \"rtsp://127.0.0.1:1/x\"}}\n",
        demo_model()
    );
    fs::write(folder.path().join("rva.yaml"), text).unwrap();
    let running = Running::start(folder.path(), &["run", "--commit-interval", "500ms"]);
    let camera = |status: &Value, at: usize| status["services"][0]["cameras"][at].clone();
    let (code, status) = status_when(folder.path(), "frames and rows", |status| {
        camera(status, 1)["fps"].as_f64() > Some(0.0)
            && status["services"][0]["is_ready"] == true
            && status["services"][0]["ingest"]["rows"].as_f64() > Some(0.0)
            && status["tables"].as_array().is_some_and(|tables| tables.len() > 10)
    });
    assert_eq!(code, 1, "a camera is dark");
    let (dead, door) = (camera(&status, 0), camera(&status, 1));
    assert_eq!((&dead["camera"], &dead["is_running"]), (&"dead".into(), &false.into()));
    assert_eq!((&door["camera"], &door["is_running"]), (&"door".into(), &true.into()));
    assert!(door["picture_age_seconds"].as_f64().unwrap() < 60.0, "{door}");
    assert!(dead["trouble"].as_str().unwrap().contains("127.0.0.1"), "{dead}");
    let service = &status["services"][0];
    assert_eq!((&service["service"], &service["is_ready"]), (&"run".into(), &true.into()));
    assert!(service["refine"]["lag_snapshots"].is_number() && service["disk_free_bytes"].is_number(), "{service}");
    let found = alerts(&status);
    assert!(found.len() == 1 && found[0].contains("CameraDark") && found[0].contains("dead"), "{found:?}");
    let text = rva(folder.path(), &["status"]).exits(1).stdout;
    assert!(text.contains("CAMERA") && text.contains("door") && text.contains("rva.gold_people_per_minute"), "{text}");

    // Another user's processes aren't answered; of the folder, another one says nothing.
    let other = tempdir().unwrap();
    rva(other.path(), &["status"]).exits(1).says(&["found no service that works in", "wanted `rva run`"]);
    drop(running);
    let is_over = |status: &Value| status["services"] == Value::Array(Vec::new());
    let (code, status) = status_when(folder.path(), "the end", is_over);
    assert!(status["tables"].as_array().unwrap().len() > 10, "tables stay: {status:#}");
    assert_eq!((code, alerts(&status)), (code_of(&status), Vec::new()), "what has ended on purpose is not wrong");
}

#[test]
fn an_ingest_that_follows_is_seen_and_a_service_that_is_away_is_what_is_wrong() {
    let folder = tempdir().unwrap();
    let records: String = (0..30).map(|frame| record("run-1", "cam_01", frame) + "\n").collect();
    fs::write(folder.path().join("r.ndjson"), records).unwrap();
    rva(folder.path(), &["replay", "r.ndjson"]).exits(0);
    let _running = Running::start(folder.path(), &["ingest", "--commit-interval", "200ms"]);
    let rows = |status: &Value| status["services"][0]["ingest"]["rows"].as_f64();
    let (code, status) = status_when(folder.path(), "30 rows", |status| rows(status) == Some(30.0));
    assert_eq!((code, alerts(&status)), (code_of(&status), Vec::new()), "{status:#}");
    assert_eq!(status["services"][0]["service"], "ingest");
    assert!(status["services"][0]["ingest"]["last_commit_age_seconds"].as_f64().unwrap() < 120.0, "{status:#}");

    let away = rva(folder.path(), &["status", "--url", "127.0.0.1:1", "--format", "json"]).exits(1).stdout;
    let away: Value = serde_json::from_str(&away).unwrap();
    assert_eq!((away["findings"][0]["alert"].as_str(), &away["tables"]), (Some("ServiceDown"), &Value::Array(vec![])));
    rva(folder.path(), &["status", "--url", "ftp://x"]).exits(2).says(&["wanted an address like"]);
}

#[test]
fn a_watch_goes_on_until_it_is_stopped() {
    let folder = tempdir().unwrap();
    rva(folder.path(), &["init"]).exits(0);
    let mut watch = command(folder.path(), &["status", "--watch", "1", "--format", "json"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut looks = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    for _ in 0..2 {
        let look: Value = serde_json::from_str(&looks.next().unwrap().unwrap()).unwrap();
        assert!(!look["tables"].as_array().unwrap().is_empty(), "{look}");
    }
    assert!(Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}

//! The service as a process: cameras of a file to NDJSON and to the log, and what it refuses.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A clip of moving pictures and a library to run with, or a line that says what is missing.
fn clip(folder: &Path) -> Option<PathBuf> {
    let library = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    if library.is_none() && !root().join("data/cache/onnxruntime").is_dir() {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
        return None;
    }
    let clip = folder.join("clip.avi");
    let pictures = "testsrc2=size=320x240:rate=25:duration=1";
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", pictures, "-c:v", "mjpeg", "-threads", "1"])
        .arg(&clip)
        .status();
    assert!(made.unwrap().success());
    Some(clip)
}

fn detector(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva-detector"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RVA_") {
            command.env_remove(name);
        }
    }
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        command.env("ORT_DYLIB_PATH", root().join("data/cache/onnxruntime"));
    }
    command.current_dir(folder).args(arguments).output().unwrap()
}

fn frames(ndjson: &str) -> BTreeMap<String, BTreeSet<u64>> {
    let mut frames: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in ndjson.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let camera = record["source"]["camera_id"].as_str().unwrap().to_owned();
        assert!(frames.entry(camera).or_default().insert(record["frame_index"].as_u64().unwrap()), "twice: {line}");
    }
    frames
}

#[test]
fn cameras_of_a_file_become_records_each_frame_once_and_a_missing_one_keeps_no_other_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let model = root().join("data/models/demo-person-416.onnx");
    let text = format!(
        "detector: {{model: {}}}\ncameras:\n  a: {{source: {clip}}}\n  b: {{source: {clip}, vid_stride: 5}}\n  \
         gone: {{source: gone.avi}}\n  off: {{source: {clip}, enabled: false}}\n",
        model.display(),
        clip = clip.display()
    );
    fs::write(folder.path().join("rva.yaml"), text).unwrap();
    let ran = detector(folder.path(), &["--output", "-", "--log-format", "json"]);
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("gone.avi") && stderr.contains("no such file"), "{stderr}");
    let all: BTreeSet<u64> = (1..=25).collect();
    let found = frames(&String::from_utf8_lossy(&ran.stdout));
    assert_eq!(found, BTreeMap::from([("a".into(), all), ("b".into(), BTreeSet::from([1, 6, 11, 16, 21]))]));

    let into_log =
        ["--data-dir", "d", &*clip.to_string_lossy(), "--camera-id", "a", "--model", &*model.to_string_lossy()];
    let ran = detector(folder.path(), &into_log);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let segments = fs::read_dir(folder.path().join("d/log/a")).unwrap().flatten();
    let lines: usize = segments
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "ndjson"))
        .map(|entry| {
            fs::read_to_string(entry.path()).unwrap().lines().filter(|line| line.contains("frame_index")).count()
        })
        .sum();
    assert_eq!(lines, 25);
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_said_at_once_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let text = "detector: {konf: 0.5}\ncameras:\n  a: {sauce: a.mp4}\n  b: {source: b.mp4, capture: newest}\n";
    fs::write(folder.path().join("rva.yaml"), text).unwrap();
    let ran = detector(folder.path(), &[]);
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{stderr}");
    for wanted in ["detector.konf", "nearest is conf", "sauce", "nearest is source", "newest", "latest, every_nth"] {
        assert!(stderr.contains(wanted), "wanted {wanted} in:\n{stderr}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

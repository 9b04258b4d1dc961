//! The service as a process: cameras of a file to NDJSON and to the log, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A clip of moving pictures and a library to run with, or a line that says what is missing.
fn clip(folder: &Path) -> Option<PathBuf> {
    clip_of(folder, 1)
}

fn clip_of(folder: &Path, seconds: u32) -> Option<PathBuf> {
    let library = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    if library.is_none() && !root().join("data/cache/onnxruntime").is_dir() {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
        return None;
    }
    let clip = folder.join("clip.avi");
    let pictures = format!("testsrc2=size=320x240:rate=25:duration={seconds}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &pictures, "-c:v", "mjpeg", "-threads", "1"])
        .arg(&clip)
        .status();
    assert!(made.unwrap().success());
    Some(clip)
}

fn detector(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva-detector"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RVA_") {
            command.env_remove(name);
        }
    }
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        command.env("ORT_DYLIB_PATH", root().join("data/cache/onnxruntime"));
    }
    command.current_dir(folder).args(arguments);
    command
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

/// A service that is asked how it is; killed when it is dropped.
struct Asked {
    child: Child,
    folder: PathBuf,
}

impl Asked {
    fn start(folder: &Path) -> Self {
        let arguments = ["--output", "/dev/null", "--health-address", "127.0.0.1:0"];
        let stderr = fs::File::create(folder.join("stderr")).unwrap();
        let child = command(folder, &arguments).stderr(stderr).spawn().unwrap();
        Self { child, folder: folder.to_owned() }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// Status line and body of a path, when the service listens.
    fn get(&self, path: &str) -> Option<String> {
        let said = self.said();
        let address: String =
            said.split_once("on http://")?.1.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn until(&self, path: &str, wanted: &[&str]) -> String {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(text) = self.get(path) {
                if wanted.iter().all(|wanted| text.contains(wanted)) {
                    return text;
                }
                last = text;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("wanted {wanted:?} at {path}, found {last}\n{}", self.said());
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_camera_that_is_away_degrades_the_service_and_one_that_is_alone_makes_it_unready() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip_of(folder.path(), 60) else { return };
    let model = root().join("data/models/demo-person-416.onnx");
    // Nobody listens on the port of a listener that is gone.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = format!("rtsp://me:hush@127.0.0.1:{port}/x");
    let head = format!("detector: {{model: {}}}\ncapture: {{open_timeout: 1s}}\ncameras:\n", model.display());
    let write = |cameras: &str| fs::write(folder.path().join("rva.yaml"), format!("{head}{cameras}")).unwrap();

    write(&format!("  away: {{source: \"{away}\"}}\n"));
    let service = Asked::start(folder.path());
    let text = service.until("/ready", &["503", "\"cameras\":\"none of 1 runs; away: ", "refuses the connection"]);
    assert!(!text.contains("hush") && !service.said().contains("hush"), "{text}");
    assert!(service.get("/live").unwrap().starts_with("HTTP/1.1 200 "));
    drop(service);

    let lasting = format!("  here: {{source: {}, realtime: true}}\n", clip.display());
    write(&format!("{lasting}  away: {{source: \"{away}\"}}\n"));
    let service = Asked::start(folder.path());
    let text = service.until("/ready", &["200", "\"ready\":true", "\"camera away\":", "refuses the connection"]);
    assert!(!text.contains("\"cameras\"") && !text.contains("camera here"), "{text}");
    let running = |id: &str, value: u8| format!("rva_detector_camera_running{{camera_id=\"{id}\"}} {value}\n");
    let text = service.until("/metrics", &[&running("here", 1), &running("away", 0)]);
    let value = |name: &str| -> u64 {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.trim().parse().unwrap()
    };
    assert!(value("rva_detector_openings_failed_total{camera_id=\"away\"}") >= 1, "{text}");
    assert_eq!(value("rva_detector_openings_total{camera_id=\"here\"}"), 1, "{text}");
    assert_eq!(value("rva_detector_frames_decoded_total{camera_id=\"away\"}"), 0, "{text}");
}

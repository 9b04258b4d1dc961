//! Known secrets in every shape through the service's errors, with everything logged: none is in what it says, writes,
//! answers or shows in the process list.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_testkit::program::{self, Service};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Stands in every secret, and in nothing else.
const MARK: &str = "Zq7xW9kV3Bt";

/// `admin:Zq7xW9kV3Bt` and `admin:/Zq7xW9kV3Bt@` as the Basic scheme sends them.
const BASIC: [&str; 2] = ["YWRtaW46WnE3eFc5a1YzQnQ=", "YWRtaW46L1pxN3hXOWtWM0J0QA=="];

/// Cameras whose secrets stand in all places; `HOST` is a server that refuses, and repeats what it was sent. A new
/// shape is a line.
const SOURCES: &[&str] = &[
    "rtsp://admin:MARK@HOST/1",
    "rtsp://admin:%2FMARK%40@HOST/1",
    "rtsp://MARK@HOST/1",
    "RTSP://admin:MARK@HOST/1?channel=1&token=MARK",
    "rtsp://HOST/user=admin_password=MARK_channel=1/x",
    "rtsp://HOST/MARK",
    "rtsp://admin:12/MARK@HOST/1",
    "rtsp:/admin:MARK@HOST/1",
    "rtsp:rtsp://admin:MARK@HOST/1",
    "admin:MARK@HOST/1",
    "http://admin:MARK@HOST/v.mjpg",
    "http://HOST/v.mjpg?user=admin&pwd=MARK&w=640",
    "http://HOST/v.mjpg?MARK",
    "http://HOST/v.mjpg?token=a/MARK",
    "http://HOST/v.m3u8#MARK",
    "https://admin:MARK@HOST/v.m3u8",
    "rtmp://HOST/live/MARK",
    "srt://HOST?passphrase=MARK",
    "gopher://admin:MARK@HOST/",
    "gst:rtspsrc location=rtsp://admin:MARK@HOST/1 user-id=admin user-pw=MARK ! decodebin ! appsink",
    "gst:souphttpsrc location = \"http://HOST/a MARK\" user-pw=\"a MARK\" ! decodebin ! appsink",
    "gst:souphttpsrc location=http://HOST/ extra-headers=\"a,authorization=MARK\" cookies=MARK ! nosuchelement ! appsink",
    "gst:rtspsrc location=rtsp://admin:MARK@HOST/1 user-pw=MARK ! fakesink",
    "/nowhere/rtsp://admin:MARK@HOST/clip.mp4",
];

/// Answers everybody with a refusal that repeats the request, until the test ends.
fn refusing_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        let asked = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let said = asked.replace(['\r', '\n'], " ");
        let (protocol, sequence) = match asked.contains("RTSP/1.0") {
            true => ("RTSP/1.0", asked.lines().find(|line| line.starts_with("CSeq")).unwrap_or("CSeq: 1")),
            false => ("HTTP/1.1", "Connection: keep-alive"),
        };
        let refusal =
            if asked.contains("uthorization: ") { format!("403 {said}") } else { "401 Unauthorized".to_owned() };
        let text = format!(
            "{protocol} {refusal}\r\n{sequence}\r\nWWW-Authenticate: Basic realm=\"cam\"\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        );
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Starts the service with everything logged.
fn start(folder: &Path, arguments: &[&str]) -> Service {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva-detector"));
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        command.env("ORT_DYLIB_PATH", root().join("data/cache/onnxruntime"));
    }
    command.args(arguments);
    Service::start(folder, command, &["RVA_"])
}

/// Fails where a secret is in a text, with the line that holds it.
#[track_caller]
fn holds_no_secret(what: &str, text: &str) {
    let line = text.lines().find(|line| line.contains(MARK) || BASIC.iter().any(|basic| line.contains(basic)));
    assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
}

/// Every file below a folder, but for those of the test itself.
fn files(folder: &Path) -> Vec<PathBuf> {
    let found = program::files(folder).into_iter();
    found.filter(|path| !path.ends_with("rva.yaml") && !path.ends_with("password")).collect()
}

fn has_library() -> bool {
    let has = std::env::var_os("ORT_DYLIB_PATH").is_some() || root().join("data/cache/onnxruntime").is_dir();
    if !has {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
    }
    has
}

#[test]
fn no_secret_of_a_camera_is_in_logs_answers_files_or_the_process_list() {
    if !has_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let host = refusing_server().to_string();
    let model = root().join("data/models/demo-person-416.onnx");
    fs::write(folder.path().join("password"), MARK).unwrap();
    let of = |source: &str| source.replace("MARK", MARK).replace("HOST", &host);
    // What can't even be read keeps the service from starting: one of these at a time.
    let (mut cameras, mut refused) = (String::new(), Vec::new());
    for (index, source) in SOURCES.iter().enumerate() {
        let line = format!("  c{index}: {{source: {:?}}}\n", of(source));
        if rva_vision::SourceSpec::parse(&of(source)).is_ok() { cameras.push_str(&line) } else { refused.push(line) }
    }
    assert!(refused.len() >= 3 && cameras.lines().count() >= 15, "{refused:?}\n{cameras}");
    cameras.push_str(&format!("  file: {{source: \"rtsp://{host}/1\", user: admin, password_file: password}}\n"));
    let write = |cameras: &str| {
        let text = format!(
            "detector: {{model: {:?}}}\ncapture: {{open_timeout: 2s, reconnect_min: 100ms}}\ncameras:\n{cameras}",
            model.display()
        );
        fs::write(folder.path().join("rva.yaml"), text).unwrap();
    };
    for line in &refused {
        write(line);
        let mut service = start(folder.path(), &["--output", "out.ndjson"]);
        assert_eq!(service.child.wait().unwrap().code(), Some(2), "{line}{}", service.said());
        holds_no_secret("a refusal", &service.said());
    }
    write(&cameras);
    let service = start(folder.path(), &["--data-dir", "data", "--health-address", "127.0.0.1:0"]);
    let started = Instant::now();
    let (mut ready, mut metrics) = (String::new(), String::new());
    while started.elapsed() < Duration::from_secs(60) {
        if let (Some(now), Some(counted)) = (service.get("/ready"), service.get("/metrics")) {
            (ready, metrics) = (now, counted);
        }
        holds_no_secret("/ready", &ready);
        holds_no_secret("/metrics", &metrics);
        // Each camera has failed once: what its shape is answered with is there.
        let said = service.said();
        let ids = cameras.lines().filter_map(|line| line.trim().split(':').next());
        let failed: Vec<&str> = said
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .filter_map(|line| line.split_once("camera_id=")?.1.split_whitespace().next())
            .collect();
        if ids.clone().all(|id| failed.contains(&id)) && ready.contains("403") {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(ready.contains("403") && service.said().contains("camera_id=file"), "{ready}\n{}", service.said());
    let process = fs::read(format!("/proc/{}/cmdline", service.child.id())).unwrap();
    holds_no_secret("the process list", &String::from_utf8_lossy(&process));
    drop(service);
    let all = files(folder.path());
    assert!(all.iter().any(|path| path.ends_with("log/writer.lock")), "{all:?}");
    for path in all {
        holds_no_secret(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap()));
    }
}

#[test]
fn a_password_on_the_command_line_is_warned_about_once_and_not_repeated() {
    if !has_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = root().join("data/models/demo-person-416.onnx");
    let source = format!("rtsp://admin:{MARK}@{}/1", refusing_server());
    let arguments = [&source, "--model", &*model.to_string_lossy(), "--data-dir", "data"];
    let mut service = start(folder.path(), &arguments);
    service.child.wait().unwrap();
    let said = service.said();
    assert_eq!(said.matches("found a password on the command line").count(), 1, "{said}");
    assert!(said.contains("password_file") && said.contains("RVA_CAPTURE_PASSWORD"), "{said}");
    for path in files(folder.path()) {
        holds_no_secret(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap()));
    }
}

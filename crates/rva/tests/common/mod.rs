//! Running the program, and what of the world a test needs.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part; a panic is how a test fails")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What a call of `rva` gave.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Fails with everything that was said, unless the code is the wanted one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails unless stderr holds all of these.
    #[track_caller]
    pub fn says(self, wanted: &[&str]) -> Self {
        for text in wanted {
            assert!(self.stderr.contains(text), "wanted {text:?} in:\n{}", self.stderr);
        }
        self
    }
}

/// `rva` in a folder of its own, with no configuration from outside.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RVA_") {
            command.env_remove(name);
        }
    }
    for name in [
        "STORE_ID",
        "CAMERA_ID",
        "STREAM_ID",
        "MODEL_NAME",
        "VIDEO_PATH",
        "TRACKER_TYPE",
        "CONF_THRES",
        "CLASS_FILTER",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    if let Some(library) = runtime_library() {
        command.env("ORT_DYLIB_PATH", library);
    }
    command.current_dir(folder).args(arguments);
    command
}

/// Runs it to its end.
pub fn rva(folder: &Path, arguments: &[&str]) -> Ran {
    command(folder, arguments).output().unwrap().into()
}

/// The checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The ONNX Runtime library: named, fetched by `make setup`, or of the Python package.
pub fn runtime_library() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH") {
        return Some(PathBuf::from(named));
    }
    let cache = workspace().join("data/cache/onnxruntime");
    if cache.is_dir() {
        return Some(cache);
    }
    let script = "import onnxruntime, os; print(os.path.join(os.path.dirname(onnxruntime.__file__), 'capi'))";
    let python = Command::new("python3").args(["-c", script]).output().ok().filter(|o| o.status.success())?;
    let folder = PathBuf::from(String::from_utf8(python.stdout).ok()?.trim());
    folder.is_dir().then_some(folder)
}

/// The demo's model.
pub fn demo_model() -> PathBuf {
    workspace().join("data/models/demo-person-416.onnx")
}

/// The demo's footage, from the cache of `make setup` or Debian's `opencv-doc`.
pub fn footage() -> Option<PathBuf> {
    let places = ["data/cache/vtest.avi", "/usr/share/doc/opencv-doc/examples/data/vtest.avi"];
    places.iter().map(|place| workspace().join(place)).find(|path| path.is_file())
}

/// The first frames of the footage as a video of their own, or a line that says why there is none.
pub fn clip(folder: &Path, frames: u32) -> Option<PathBuf> {
    let Some(footage) = footage() else {
        eprintln!("skipped: vtest.avi is absent (make setup fetches it)");
        return None;
    };
    if runtime_library().is_none() {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
        return None;
    }
    let clip = folder.join("clip.avi");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(&footage)
        .args(["-frames:v", &frames.to_string(), "-c:v", "mjpeg", "-q:v", "3"])
        .arg(&clip)
        .status();
    match made {
        Ok(status) if status.success() => Some(clip),
        _ => {
            eprintln!("skipped: no ffmpeg to cut a clip with");
            None
        }
    }
}

/// A record as `rva detect` writes it, with one person.
pub fn record(run: &str, camera: &str, frame: u64) -> String {
    format!(
        r#"{{"schema_version":"1.0","pipeline_run_id":"{run}","source":{{"store_id":"store_01","camera_id":"{camera}","stream_id":"stream_01"}},"frame_index":{frame},"capture_ts":"2026-01-31T08:00:{:02}.000000+00:00","image_size":{{"width":640,"height":480}},"detections":[{{"det_id":"{frame}-0","class":"person","class_id":0,"conf":0.9,"track_id":{}}}],"runtime":{{}},"source_uri":null}}"#,
        frame % 60,
        frame % 3 + 1
    )
}

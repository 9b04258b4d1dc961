//! `rva doctor`: each prerequisite, found or missing, its version and where it is.

use crate::{
    exit::Exit,
    folder::{Checks, absolute},
    output::to_stdout,
};
use rva_detector::configured::models;
use rva_service::{Config, Loaded, format_bytes};
use rva_vision::{
    DetectOptions, Detector, FoundLibrary, OpenCvDescription, YoloDetector, devices, find_library, opencv_description,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// The room below which a run soon stops reading, in bytes.
const SPACE_BYTES_MIN: u64 = 1 << 30;

/// The verdict that stands at the beginning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It is good to know; nothing fails for it.
    Note,
    /// It is missing, and `rva run` won't work.
    Missing,
}

struct Finding {
    verdict: Verdict,
    what: &'static str,
    text: String,
}

impl Finding {
    fn new(verdict: Verdict, what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict, what, text: text.into() }
    }
}

/// Prints every finding; the exit code is 1 when something needed is missing.
///
/// # Errors
/// Returns an error where stdout can't be written.
pub fn run(loaded: Loaded) -> anyhow::Result<Exit> {
    let findings = findings(&loaded.config);
    let mut text = format!("rva {}\n", env!("CARGO_PKG_VERSION"));
    for finding in &findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Missing => "missing",
        };
        text.push_str(&format!("{verdict:<8} {:<13} {}\n", finding.what, finding.text));
    }
    to_stdout(&text)?;
    let is_missing = findings.iter().any(|finding| finding.verdict == Verdict::Missing);
    Ok(if is_missing { Exit::Failure } else { Exit::Done })
}

fn findings(config: &Config) -> Vec<Finding> {
    let mut all = vec![];
    opencv(&mut all);
    let library = find_library(config.detector.onnxruntime.as_deref());
    match &library {
        Ok(found) => {
            let text = format!("{}, {}", found.version, found.path.display());
            all.push(Finding::new(Verdict::Ok, "ONNX Runtime", text));
            all.push(device_list(found));
        }
        Err(error) => all.push(Finding::new(Verdict::Missing, "ONNX Runtime", error.to_string())),
    }
    all.push(model(config, library.as_ref().ok()));
    folder(config, &mut all);
    all
}

fn opencv(all: &mut Vec<Finding>) {
    let found = opencv_description();
    all.push(Finding::new(Verdict::Ok, "OpenCV", format!("{}{}", found.version, loaded_from("libopencv_core"))));
    all.push(match found.avcodec {
        Some(ref version) => {
            Finding::new(Verdict::Ok, "FFmpeg", format!("libavcodec {version}, OpenCV's own{}", loaded_from("libavcodec")))
        }
        None => Finding::new(
            Verdict::Missing,
            "FFmpeg",
            "OpenCV was built without FFmpeg, wanted one that opens video files: libopencv-videoio-dev of Debian has it",
        ),
    });
    optional_parts(&found, all);
}

/// Adds the parts of OpenCV that are only needed for some sources.
fn optional_parts(found: &OpenCvDescription, all: &mut Vec<Finding>) {
    all.push(if found.has_gstreamer {
        Finding::new(Verdict::Ok, "GStreamer", "pipelines can be sources (gst:…)")
    } else {
        Finding::new(Verdict::Note, "GStreamer", "OpenCV was built without it: pipelines (gst:…) can't be sources")
    });
    let devices: Vec<String> = render_devices();
    all.push(if devices.is_empty() {
        Finding::new(
            Verdict::Note,
            "decoding",
            "by the processor: no /dev/dri/renderD* for hw_acceleration vaapi or mfx",
        )
    } else {
        Finding::new(Verdict::Ok, "decoding", format!("hw_acceleration vaapi or mfx can try {}", devices.join(", ")))
    });
}

/// Returns the devices that may decode video.
fn render_devices() -> Vec<String> {
    let entries = fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    let mut devices: Vec<String> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("renderD"))
        .map(|entry| entry.path().display().to_string())
        .collect();
    devices.sort();
    devices
}

/// Returns where a library of this process lies, as far as the system tells.
fn loaded_from(name: &str) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| Path::new(path).file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)));
    path.map(|path| format!(", {path}")).unwrap_or_default()
}

fn device_list(library: &FoundLibrary) -> Finding {
    match devices(library) {
        Ok(devices) => {
            let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
            Finding::new(Verdict::Ok, "devices", names.join(", "))
        }
        Err(error) => Finding::new(Verdict::Missing, "devices", error.to_string()),
    }
}

/// Loads the configured model; without one, lists the files that `--model` could name.
fn model(config: &Config, library: Option<&FoundLibrary>) -> Finding {
    let Some(named) = &config.detector.model else {
        let there: Vec<String> = models::available().iter().map(|path| path.display().to_string()).collect();
        return match there.is_empty() {
            false => {
                Finding::new(Verdict::Ok, "model", format!("none configured; --model can name {}", there.join(", ")))
            }
            true => Finding::new(
                Verdict::Missing,
                "model",
                models::find(None).err().map(|e| e.to_string()).unwrap_or_default(),
            ),
        };
    };
    let path = match models::find(Some(named)) {
        Ok(path) => path,
        Err(error) => return Finding::new(Verdict::Missing, "model", error.to_string()),
    };
    let Some(library) = library else {
        return Finding::new(
            Verdict::Note,
            "model",
            format!("{}, not loaded: there is no ONNX Runtime", path.display()),
        );
    };
    match YoloDetector::load(library, &path, &DetectOptions::default()) {
        Ok(model) => {
            let found = model.description();
            let classes = found.class_names.iter().filter(|name| !name.is_empty()).count();
            let size = found.input_size;
            let text = format!("{}, {classes} classes, input {} x {}", path.display(), size.width, size.height);
            Finding::new(Verdict::Ok, "model", text)
        }
        Err(error) => Finding::new(Verdict::Missing, "model", error.to_string()),
    }
}

fn folder(config: &Config, all: &mut Vec<Finding>) {
    let folder = match absolute(&config.data_dir) {
        Ok(folder) => folder,
        Err(error) => return all.push(Finding::new(Verdict::Missing, "data folder", format!("{error:#}"))),
    };
    // A folder that isn't there yet is made where its nearest parent lies.
    let Some(there) = folder.root().ancestors().find(|path| path.exists()) else { return };
    let will = if there == folder.root() { "can be written" } else { "can be made" };
    all.push(match absolute(there).and_then(|there| there.make_writable()) {
        Ok(()) => Finding::new(Verdict::Ok, "data folder", format!("{}, {will}", folder.root().display())),
        Err(error) => Finding::new(Verdict::Missing, "data folder", format!("{error:#}")),
    });
    if let Some(mode) = open_to_others(folder.root()) {
        let text = format!(
            "found rights {mode:03o} of {root}: everybody on this machine can read what cameras saw; `chmod o= {root}` ends that",
            root = folder.root().display()
        );
        all.push(Finding::new(Verdict::Note, "rights", text));
    }
    all.push(match fs4::available_space(there) {
        Ok(bytes) if bytes < SPACE_BYTES_MIN => {
            let text = format!(
                "{} free, wanted {}: a run stops reading when there is none",
                format_bytes(bytes),
                format_bytes(SPACE_BYTES_MIN)
            );
            Finding::new(Verdict::Note, "disk space", text)
        }
        Ok(bytes) => Finding::new(Verdict::Ok, "disk space", format!("{} free", format_bytes(bytes))),
        Err(error) => Finding::new(Verdict::Note, "disk space", format!("unknown: {error}")),
    });
}

/// Returns the rights of a folder that not only its owner and its group can enter.
fn open_to_others(folder: &Path) -> Option<u32> {
    let mode = fs::metadata(folder).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then_some(mode)
}

//! What the tests of files and pictures share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use opencv::{
    core::{Mat, Scalar, Size},
    imgcodecs,
    prelude::*,
    videoio::VideoWriter,
};
use rva_vision::{FoundLibrary, OpenOptions, SourceSpec, VisionError, VisionErrorKind, find_library, open};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Opens and reads to the end: media times in microseconds, and the error that ended it.
pub fn read_all(source: &str) -> Result<(Vec<i64>, Option<VisionError>), VisionError> {
    let mut source = open(&SourceSpec::parse(source)?, &OpenOptions::default())?;
    let mut times = Vec::new();
    loop {
        match source.next_frame() {
            Ok(Some(frame)) => {
                assert!(frame.index > times.len() as u64, "indices count from 1; only what is left out leaves a gap");
                times.push(frame.media_time.as_micros());
            }
            Ok(None) => return Ok((times, None)),
            Err(error) => {
                assert!(source.next_frame().unwrap().is_none(), "an error is said once, then it is over");
                return Ok((times, Some(error)));
            }
        }
    }
}

pub fn whole(path: &Path) -> Vec<i64> {
    let (times, error) = read_all(text(path)).unwrap();
    assert!(error.is_none(), "{}: {}", path.display(), error.unwrap());
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{}: {times:?}", path.display());
    times
}

#[track_caller]
pub fn refused(source: &str, kind: VisionErrorKind, wanted: &[&str]) {
    let error = read_all(source).map(|(times, error)| (times.len(), error)).expect_err("it should not open");
    names(&error, kind, wanted);
}

#[track_caller]
pub fn names(error: &VisionError, kind: VisionErrorKind, wanted: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in wanted {
        assert!(error.to_string().contains(part), "{error} should name {part:?}");
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A picture with a brighter stripe for each frame, so that frames differ.
pub fn picture(size: Size, at: i32) -> Mat {
    let mut mat =
        Mat::new_rows_cols_with_default(size.height, size.width, opencv::core::CV_8UC3, Scalar::all(40.0)).unwrap();
    let mut stripe = mat.roi_mut(opencv::core::Rect::new((at * 3) % (size.width - 8), 0, 8, size.height)).unwrap();
    stripe.set_to_def(&Scalar::new(0.0, 200.0, 255.0, 0.0)).unwrap();
    mat
}

pub fn image(path: &Path, width: i32) {
    assert!(imgcodecs::imwrite_def(text(path), &picture(Size::new(width, 32), 0)).unwrap());
}

/// A clip by OpenCV's own writer.
pub fn clip(path: &Path, codec: [char; 4], fps: f64, frames: i32) {
    let size = Size::new(160, 120);
    let fourcc = VideoWriter::fourcc(codec[0], codec[1], codec[2], codec[3]).unwrap();
    let mut writer =
        VideoWriter::new_with_backend(text(path), opencv::videoio::CAP_FFMPEG, fourcc, fps, size, true).unwrap();
    assert!(writer.is_opened().unwrap(), "{codec:?} should be writable");
    for at in 0..frames {
        writer.write(&picture(size, at)).unwrap();
    }
    writer.release().unwrap();
}

pub fn python() -> PathBuf {
    let own = rva_testkit::repository().join(".venv/bin/python");
    match std::env::var_os("RVA_PYTHON") {
        Some(python) => python.into(),
        None if own.exists() => own,
        None => "python3".into(),
    }
}

/// The library as the product finds it, in the project's cache, or inside Python's package.
pub fn library() -> Option<FoundLibrary> {
    static FOUND: OnceLock<Option<FoundLibrary>> = OnceLock::new();
    let find = || {
        let cache = rva_testkit::repository().join("data/cache/onnxruntime");
        if let Ok(found) = find_library(None).or_else(|_| find_library(Some(&cache))) {
            return Some(found);
        }
        let code = "import onnxruntime, os; print(os.path.join(os.path.dirname(onnxruntime.__file__), 'capi'))";
        let output = Command::new(python()).args(["-c", code]).output().ok()?;
        find_library(Some(Path::new(String::from_utf8(output.stdout).ok()?.trim()))).ok()
    };
    let found = FOUND.get_or_init(find).clone();
    if found.is_none() {
        eprintln!("skipped: no ONNX Runtime library");
    }
    found
}

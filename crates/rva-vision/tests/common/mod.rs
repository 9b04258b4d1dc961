//! What the tests of files and pictures share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use opencv::{
    core::{Mat, Scalar, Size},
    imgcodecs,
    prelude::*,
};
use rva_vision::{OpenOptions, SourceSpec, VisionError, VisionErrorKind, open};
use std::path::{Path, PathBuf};

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

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

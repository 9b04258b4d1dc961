//! The way from a decoded picture to blue, green and red.

use super::orientation::Orientation;
use crate::{Image, VisionError, VisionErrorKind, image::opencv_failed};
use ffmpeg_next::{self as ffmpeg, ffi, format::Pixel, frame, software::scaling};
use opencv::core::{CV_8UC3, Mat};

/// A converter of pictures, with the colours that they say they have.
#[derive(Default)]
pub(super) struct Converter {
    scaler: Option<(PictureFormat, scaling::Context)>,
}

/// The kind of pictures that a scaler was made for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PictureFormat {
    format: Pixel,
    width: u32,
    height: u32,
    space: ffmpeg::color::Space,
    range: ffmpeg::color::Range,
}

// SAFETY: a scaler has no ties to a thread; it is used by whoever owns the converter.
#[allow(unsafe_code, reason = "ffmpeg-next doesn't say so of its scaler")]
unsafe impl Send for Converter {}

impl Converter {
    /// Returns the picture as a viewer sees it.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Unreadable`] where FFmpeg has no way from its pixel format.
    pub(super) fn convert(&mut self, frame: &frame::Video, turn: Orientation) -> Result<Image, VisionError> {
        let kind = PictureFormat {
            format: frame.format(),
            width: frame.width(),
            height: frame.height(),
            space: frame.color_space(),
            range: frame.color_range(),
        };
        let failed = |error: ffmpeg::Error| {
            VisionError::new(
                VisionErrorKind::Unreadable,
                format!("found a picture in pixel format {:?} ({error}), wanted one that FFmpeg converts", kind.format),
            )
        };
        if self.scaler.as_ref().is_none_or(|(before, _)| *before != kind) {
            self.scaler = Some((kind, scaler(kind).map_err(failed)?));
        }
        let mut bgr = frame::Video::empty();
        if let Some((_, scaler)) = &mut self.scaler {
            scaler.run(frame, &mut bgr).map_err(failed)?;
        }
        Image::from_mat(upright(&bgr, turn).map_err(opencv_failed)?)
    }
}

#[allow(unsafe_code, reason = "ffmpeg-next can't set the colours of a scaler")]
fn scaler(kind: PictureFormat) -> Result<scaling::Context, ffmpeg::Error> {
    let PictureFormat { format, width, height, space, range } = kind;
    let flags = scaling::Flags::BICUBIC;
    let mut scaler = scaling::Context::get(format, width, height, Pixel::BGR24, width, height, flags)?;
    let is_full = range == ffmpeg::color::Range::JPEG || format!("{format:?}").starts_with("YUVJ");
    let space: ffi::AVColorSpace = space.into();
    // SAFETY: the scaler was made just now; the tables are FFmpeg's own, and the numbers are its defaults.
    unsafe {
        let table = ffi::sws_getCoefficients(space as i32);
        let usual = ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT);
        // A format without such colours says no, and needs none.
        ffi::sws_setColorspaceDetails(scaler.as_mut_ptr(), table, is_full.into(), usual, 1, 0, 1 << 16, 1 << 16);
    }
    Ok(scaler)
}

#[allow(unsafe_code, reason = "the pixels of a frame are borrowed, and copied once")]
fn upright(bgr: &frame::Video, turn: Orientation) -> opencv::Result<Mat> {
    let (rows, columns) = (bgr.height() as i32, bgr.width() as i32);
    // SAFETY: a BGR24 frame has one plane of `rows` lines, `stride` bytes apart, each with 3 bytes a column; OpenCV
    // only reads them, and the frame lives until the copy is made.
    let borrowed = unsafe {
        let pixels = bgr.data(0).as_ptr().cast_mut().cast();
        Mat::new_rows_cols_with_data_unsafe(rows, columns, CV_8UC3, pixels, bgr.stride(0))?
    };
    turn.turned(&borrowed)
}

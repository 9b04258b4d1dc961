//! Frame sources: webcams and GStreamer pipelines through OpenCV, files and streams through FFmpeg's own libraries,
//! images.
//!
//! [`open`] decodes the first frame, so an open source has a size and at least one frame, and any trouble with it is
//! said at once. Nothing is kept of frames that were given: memory doesn't grow with the length of a source.

mod capture;
mod changes;
mod complaints;
mod container;
mod file;
mod gst;
mod images;
mod link;
mod listing;
pub(crate) mod noise;
mod opening;
pub(crate) mod orientation;
mod origin;
mod pace;
mod picture;
mod probe;
mod reader;
mod spec;
mod stream;
mod timeline;
mod videos;
mod watch;

use crate::{FrameSource, VisionError, VisionErrorKind};
use rva_types::{HwAcceleration, RtspTransport};
use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use watch::{Limits, watched};

pub use gst::GstPipeline;
pub use listing::{IMAGE_EXTENSIONS, VIDEO_EXTENSIONS};
pub use spec::{SourceSpec, StreamUrl};
pub use watch::{AbandonedCaptures, abandoned_captures};

/// The range of time-outs.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// The most pixels of a picture by default, 64 megapixels: more than any camera of today, and 192 MB when it is
/// decoded.
pub const PIXELS_MAX: u64 = 64 << 20;

/// The settings that a source is opened with.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// The images a second of a folder, above 0 and at most 1000: media time between two is one over this.
    pub image_fps: f64,
    /// The time that a stream may take to connect, to answer and to announce itself. A longer one waits out slower
    /// cameras.
    pub open_timeout: Duration,
    /// The time for which a stream may be silent before it counts as stalled.
    pub read_timeout: Duration,
    /// The way in which the pictures of an RTSP stream travel.
    pub transport: RtspTransport,
    /// The most pixels of a picture: larger ones are refused before they are decoded, since a small file can hold a
    /// huge one.
    pub pixels_max: u64,
    /// The hardware that decodes. One that isn't there is said in a log line, and the processor decodes.
    pub hw_acceleration: HwAcceleration,
    /// Whose word is taken for what a server of an encrypted stream is.
    pub certificates: Certificates,
}

/// Whose word is taken for what a server of an encrypted stream is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Certificates {
    /// The server's own, which is warned about: cameras sign their certificates themselves.
    #[default]
    Unchecked,
    /// The server's own, as somebody decided; that is told, too.
    Insecure,
    /// Those who are in this file of PEM: an authority, or the camera's own certificate. Names are checked as well.
    SignedBy(PathBuf),
}

impl Default for OpenOptions {
    /// Returns one image a second; streams have ten seconds to connect and ten seconds between frames; TCP; no
    /// hardware.
    fn default() -> Self {
        Self {
            image_fps: 1.0,
            open_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            transport: RtspTransport::default(),
            pixels_max: PIXELS_MAX,
            hw_acceleration: HwAcceleration::default(),
            certificates: Certificates::default(),
        }
    }
}

/// Opens a source and decodes its first frame.
///
/// # Errors
/// - [`VisionErrorKind::NotFound`]: no such file, folder, camera or path of a stream, or nothing matches the pattern;
/// - [`VisionErrorKind::Unreadable`]: not a video or not an image, or a stream that answers and can't be decoded;
/// - [`VisionErrorKind::Unreachable`], [`VisionErrorKind::Refused`], [`VisionErrorKind::Unauthorized`],
///   [`VisionErrorKind::NotAStream`], [`VisionErrorKind::Stalled`]: what is wrong with a stream;
/// - [`VisionErrorKind::Exhausted`]: too many captures hang inside the video library;
/// - [`VisionErrorKind::Empty`]: a folder without images or videos, a video without frames;
/// - [`VisionErrorKind::Config`]: an option outside its range, a folder with images and videos;
/// - [`VisionErrorKind::Io`]: the operating system refused to read it.
pub fn open(spec: &SourceSpec, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    if !(options.image_fps > 0.0 && options.image_fps <= 1000.0) {
        return Err(VisionError::new(
            VisionErrorKind::Config,
            format!("found image_fps {}, wanted a number above 0 and at most 1000", options.image_fps),
        ));
    }
    for (name, value) in [("open_timeout", options.open_timeout), ("read_timeout", options.read_timeout)] {
        if !TIMEOUTS.contains(&value) {
            return Err(VisionError::new(
                VisionErrorKind::Config,
                format!("found {name} {value:?}, wanted {:?} to {:?}", TIMEOUTS.start(), TIMEOUTS.end()),
            ));
        }
    }
    let limits = Limits::of(options.open_timeout, options.read_timeout);
    let (uri, options) = (spec.to_string(), options.clone());
    Ok(match spec.clone() {
        SourceSpec::Path(text) => return open_path(&text, &options),
        // What isn't a file on disk can hang inside a library.
        SourceSpec::Webcam(index) => Box::new(watched(&uri, limits, move || opening::webcam(index, &options))?),
        SourceSpec::Stream(url) => Box::new(watched(&uri, limits, move || stream::StreamSource::open(&url, &options))?),
        SourceSpec::Pipeline(pipeline) => {
            Box::new(watched(&uri, limits, move || opening::pipeline(&pipeline, &options))?)
        }
    })
}

fn open_path(text: &str, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    let path = Path::new(text);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if spec::is_pattern(text) => {
            return listing::open_pattern(text, options);
        }
        Err(error) => return Err(io_failed(text, error)),
    };
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(VisionError::new(
            VisionErrorKind::Unreadable,
            format!("{text}: found a device, pipe or socket, wanted a file, a folder, a webcam index or a URL"),
        ));
    }
    if metadata.is_dir() {
        listing::open_folder(text, options)
    } else if listing::is_image(path) {
        Ok(Box::new(images::ImageSource::of_file(text, options)?))
    } else {
        Ok(Box::new(file::FileSource::open(text, options)?))
    }
}

/// Turns the operating system's error about a path into one of this crate.
fn io_failed(path: &str, error: std::io::Error) -> VisionError {
    let (kind, text) = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => (
            VisionErrorKind::NotFound,
            "found no such file or folder, wanted a video, an image, a folder of either, a webcam index or a URL"
                .to_owned(),
        ),
        _ => (VisionErrorKind::Io, format!("can't read it ({error}), wanted a readable file or folder")),
    };
    VisionError::new(kind, format!("{path}: {text}")).with_source(error)
}

//! Frame sources: video files, images, webcams and streams, through OpenCV.
//!
//! [`open`] decodes the first frame, so an open source has a size and at least one frame, and what is wrong with it is
//! said at once. Nothing is kept of frames that were given: memory doesn't grow with the length of a source.

mod capture;
mod container;
mod images;
pub(crate) mod noise;
mod spec;
mod timeline;

use crate::{FrameSource, VisionError, VisionErrorKind};
use std::{fs, path::Path, time::Duration};

pub use images::IMAGE_EXTENSIONS;
pub use spec::{SourceSpec, StreamUrl};

/// How a source is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// Media time between images of a folder is one over this, in images a second, above 0 and at most 1000.
    pub image_fps: f64,
    /// How long a stream may take to connect, to answer and to announce itself. Longer waits out slower cameras.
    pub open_timeout: Duration,
    /// How long a stream may be silent before it counts as stalled.
    pub read_timeout: Duration,
    /// How the pictures of an RTSP stream travel.
    pub transport: RtspTransport,
    /// Which hardware decodes. One that isn't there is said in a log line, and the processor decodes.
    pub hw_acceleration: HwAcceleration,
}

/// How the pictures of an RTSP stream travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RtspTransport {
    /// In the connection that controls it: passes firewalls, and nothing is lost.
    #[default]
    Tcp,
    /// As datagrams: lower delay on a good network, damaged pictures on a bad one. FFmpeg goes back to TCP where the
    /// camera or the network refuses.
    Udp,
}

/// Names and values of an option.
macro_rules! named {
    ($type:ty, $what:literal, { $($name:literal => $value:expr),+ $(,)? }) => {
        impl std::str::FromStr for $type {
            type Err = VisionError;
            fn from_str(text: &str) -> Result<Self, VisionError> {
                match text.to_ascii_lowercase().as_str() {
                    $($name => Ok($value),)+
                    _ => Err(VisionError::new(
                        VisionErrorKind::Config,
                        format!("found {} {text:?}, wanted one of {}", $what, [$($name),+].join(", ")),
                    )),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(if *self == $value { return f.write_str($name); })+
                Ok(())
            }
        }
    };
}

named!(RtspTransport, "transport", { "tcp" => Self::Tcp, "udp" => Self::Udp });

/// Hardware that decodes video, of OpenCV's FFmpeg back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HwAcceleration {
    /// The processor decodes.
    #[default]
    None,
    /// Whatever is found first.
    Any,
    /// Linux: VA-API of Intel and AMD.
    Vaapi,
    /// Intel's Media SDK.
    Mfx,
    /// Windows: Direct3D 11.
    D3d11,
}

named!(HwAcceleration, "hw_acceleration", {
    "none" => Self::None, "any" => Self::Any, "vaapi" => Self::Vaapi, "mfx" => Self::Mfx, "d3d11" => Self::D3d11,
});

impl Default for OpenOptions {
    /// One image a second; streams have ten seconds to connect and ten seconds between frames; TCP; no hardware.
    fn default() -> Self {
        Self {
            image_fps: 1.0,
            open_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            transport: RtspTransport::default(),
            hw_acceleration: HwAcceleration::default(),
        }
    }
}

/// Opens a source and decodes its first frame.
///
/// # Errors
/// - [`VisionErrorKind::NotFound`]: no such file, folder or camera, or nothing matches the pattern;
/// - [`VisionErrorKind::Unreadable`]: not a video or not an image, or the stream can't be connected to;
/// - [`VisionErrorKind::Empty`]: a folder without images, a video without frames;
/// - [`VisionErrorKind::Config`]: an option outside its range;
/// - [`VisionErrorKind::Io`]: the operating system refused to read it.
pub fn open(spec: &SourceSpec, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    if !(options.image_fps > 0.0 && options.image_fps <= 1000.0) {
        return Err(VisionError::new(
            VisionErrorKind::Config,
            format!("found image_fps {}, wanted a number above 0 and at most 1000", options.image_fps),
        ));
    }
    match spec {
        SourceSpec::Webcam(index) => Ok(Box::new(capture::CaptureSource::webcam(*index)?)),
        SourceSpec::Stream(url) => Ok(Box::new(capture::CaptureSource::stream(url, options)?)),
        SourceSpec::Path(text) => open_path(text, options),
    }
}

fn open_path(text: &str, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    let path = Path::new(text);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if spec::is_pattern(text) => {
            return Ok(Box::new(images::ImageSource::of_pattern(text, options.image_fps)?));
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
        Ok(Box::new(images::ImageSource::of_folder(text, options.image_fps)?))
    } else if images::is_image(path) {
        Ok(Box::new(images::ImageSource::of_file(text, options.image_fps)?))
    } else {
        Ok(Box::new(capture::CaptureSource::file(text)?))
    }
}

/// What the operating system said about a path.
fn io_failed(path: &str, error: std::io::Error) -> VisionError {
    let (kind, text) = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => (
            VisionErrorKind::NotFound,
            "found no such file or folder, wanted a video, an image, a folder of images, a webcam index or a URL"
                .to_owned(),
        ),
        _ => (VisionErrorKind::Io, format!("can't read it ({error}), wanted a readable file or folder")),
    };
    VisionError::new(kind, format!("{path}: {text}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_by_the_names_that_they_show() {
        for name in ["tcp", "udp"] {
            assert_eq!(name.parse::<RtspTransport>().unwrap().to_string(), name);
        }
        for name in ["none", "any", "vaapi", "mfx", "d3d11"] {
            assert_eq!(name.parse::<HwAcceleration>().unwrap().to_string(), name);
        }
        let error = "cuda".parse::<HwAcceleration>().unwrap_err();
        assert_eq!(error.to_string(), "found hw_acceleration \"cuda\", wanted one of none, any, vaapi, mfx, d3d11");
    }
}

//! Video through OpenCV's `VideoCapture`: files, streams and webcams.
//!
//! Files and URLs are opened by the FFmpeg back end alone: the others print URLs with their passwords, and know neither
//! timeouts nor media times.

use super::{
    OpenOptions, StreamUrl,
    container::Head,
    io_failed, noise,
    timeline::{Announcement, Timeline},
};
use crate::{Frame, FrameSource, Image, SourceDescription, VisionError, VisionErrorKind, image::opencv_failed};
use opencv::{
    core::{Mat, Vector},
    prelude::*,
    videoio::{self, VideoCapture},
};
use rva_types::{ImageSize, MediaTime};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Rates above are no rates but time bases that FFmpeg couldn't do better than.
const FPS_MAX: f64 = 1000.0;

/// How frames get their media time.
enum Clock {
    /// By the container.
    Container(Timeline),
    /// By the wall, from the opening of a live source on.
    Wall { opened: Instant, last_micros: i64 },
}

/// An open video.
pub(super) struct CaptureSource {
    capture: VideoCapture,
    description: SourceDescription,
    announced: Option<Announcement>,
    clock: Clock,
    /// Frames decoded or skipped.
    decoded: u64,
    /// The first frame, decoded when the source was opened.
    first: Option<Frame>,
    /// The demuxer complained that the file ends early.
    is_cut_off: bool,
    is_ended: bool,
    url: Option<StreamUrl>,
}

impl CaptureSource {
    /// A video file.
    pub(super) fn file(path: &str) -> Result<Self, VisionError> {
        let head = Head::read(path).map_err(|error| io_failed(path, error))?;
        // FFmpeg takes `name:rest` for a protocol; an absolute path can't be taken for one.
        let absolute = std::path::absolute(path).map_err(|error| io_failed(path, error))?;
        let (capture, lines) = noise::listen(|| VideoCapture::from_file(&absolute, videoio::CAP_FFMPEG));
        match capture {
            Ok(capture) if capture.is_opened().unwrap_or(false) => {
                Self::new(capture, path.to_owned(), None, head.has_estimated_count())
            }
            _ => Err(not_a_video(path, &head, &lines)),
        }
    }

    /// A stream, or a remote file.
    pub(super) fn stream(url: &StreamUrl, options: &OpenOptions) -> Result<Self, VisionError> {
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX).max(1);
        let timeouts = Vector::from_slice(&[
            videoio::CAP_PROP_OPEN_TIMEOUT_MSEC,
            millis(options.open_timeout),
            videoio::CAP_PROP_READ_TIMEOUT_MSEC,
            millis(options.read_timeout),
        ]);
        let started = Instant::now();
        let (capture, lines) =
            noise::listen(|| VideoCapture::from_file_with_params(url.secret(), videoio::CAP_FFMPEG, &timeouts));
        match capture {
            Ok(capture) if capture.is_opened().unwrap_or(false) => {
                Self::new(capture, url.shown().to_owned(), Some(url.clone()), true)
            }
            _ => Err(not_connected(url, &lines, started.elapsed(), options.open_timeout)),
        }
    }

    /// A local camera.
    pub(super) fn webcam(index: u32) -> Result<Self, VisionError> {
        let uri = format!("webcam:{index}");
        let (backend, device) = if cfg!(target_os = "linux") {
            (videoio::CAP_V4L2, Some(format!("/dev/video{index}")))
        } else {
            (videoio::CAP_ANY, None)
        };
        if let Some(device) = device.filter(|device| !std::path::Path::new(device).exists()) {
            return Err(VisionError::new(
                VisionErrorKind::NotFound,
                format!("{uri}: found no {device}, wanted a camera there (in a container: pass the device in)"),
            ));
        }
        let (capture, lines) = noise::listen(|| VideoCapture::new(index as i32, backend));
        match capture {
            Ok(capture) if capture.is_opened().unwrap_or(false) => Self::new(capture, uri, None, true),
            _ => Err(VisionError::new(
                VisionErrorKind::Unreadable,
                format!(
                    "{uri}: can't open it{}, wanted a camera that gives pictures and isn't in use",
                    because(&lines)
                ),
            )),
        }
    }

    fn new(capture: VideoCapture, uri: String, url: Option<StreamUrl>, is_estimate: bool) -> Result<Self, VisionError> {
        let number = |property| capture.get(property).ok().filter(|value| value.is_finite() && *value > 0.0);
        let fps = number(videoio::CAP_PROP_FPS).filter(|fps| *fps <= FPS_MAX);
        let frame_count = number(videoio::CAP_PROP_FRAME_COUNT).map(|count| count.round() as u64);
        let is_file = uri_is_file(&uri, url.as_ref(), frame_count);
        let clock = if is_file {
            Clock::Container(Timeline::new(fps))
        } else {
            Clock::Wall { opened: Instant::now(), last_micros: -1 }
        };
        let mut source = Self {
            capture,
            description: SourceDescription {
                uri,
                size: ImageSize { width: 1, height: 1 },
                fps,
                frame_count: frame_count.filter(|_| is_file),
                is_live: !is_file,
                hw_acceleration: crate::HwAcceleration::None,
            },
            announced: None,
            clock,
            decoded: 0,
            first: None,
            is_cut_off: false,
            is_ended: false,
            url,
        };
        let Some(first) = source.decode()? else {
            return Err(VisionError::new(
                VisionErrorKind::Empty,
                format!(
                    "{}: found a video with 0 frames{}, wanted at least 1",
                    source.description.uri,
                    frame_count.map(|count| format!(" of {count} announced")).unwrap_or_default()
                ),
            ));
        };
        source.description.size = first.image.size();
        source.first = Some(first);
        source.announced = match (source.description.frame_count, fps) {
            (Some(frames), Some(fps)) => Some(Announcement { frames, fps, is_estimate }),
            _ => None,
        };
        Ok(source)
    }

    /// The next frame from the decoder, into a picture of its own: earlier ones may still be looked at.
    fn decode(&mut self) -> Result<Option<Frame>, VisionError> {
        let Some(media_time) = self.advance()? else {
            return Ok(None);
        };
        let mut mat = Mat::default();
        let is_retrieved = self.capture.retrieve(&mut mat, 0).map_err(opencv_failed)?;
        if !is_retrieved || mat.empty() {
            self.is_ended = true;
            return Err(VisionError::new(
                VisionErrorKind::Incomplete,
                format!("{}: found frame {} without pixels, wanted a picture", self.description.uri, self.decoded),
            ));
        }
        Ok(Some(Frame { index: self.decoded, media_time, image: Arc::new(Image::from_mat(mat)?) }))
    }

    /// Goes on by one frame and says where it is; `None` at the end.
    fn advance(&mut self) -> Result<Option<MediaTime>, VisionError> {
        if self.is_ended {
            return Ok(None);
        }
        let asked = Instant::now();
        let (is_there, lines) = noise::listen(|| self.capture.grab());
        self.is_cut_off |= lines.iter().any(|line| line.contains("partial file") || line.contains("prematurely"));
        if !matches!(is_there, Ok(true)) {
            self.is_ended = true;
            return self.end(&lines, asked.elapsed()).map(|()| None);
        }
        self.decoded += 1;
        let media_time = match &mut self.clock {
            Clock::Container(timeline) => {
                let reported_ms = self.capture.get(videoio::CAP_PROP_POS_MSEC).unwrap_or_default();
                timeline.place(reported_ms)
            }
            Clock::Wall { opened, last_micros } => {
                *last_micros = (opened.elapsed().as_micros() as i64).max(*last_micros + 1);
                MediaTime::from_micros(*last_micros)
            }
        };
        Ok(Some(media_time))
    }

    /// Whether this end, which came after waiting a while for a frame, is the right one.
    fn end(&self, lines: &[String], waited: Duration) -> Result<(), VisionError> {
        let uri = &self.description.uri;
        let hidden: Vec<String> = match &self.url {
            Some(url) => lines.iter().map(|line| url.hide(line)).collect(),
            None => lines.to_vec(),
        };
        match (&self.clock, self.announced) {
            (Clock::Wall { last_micros, .. }, _) => Err(VisionError::new(
                VisionErrorKind::Incomplete,
                format!(
                    "{uri}: found its end after {} frames in {:.2} s, the last {:.2} s without one{}, wanted it to go on",
                    self.decoded,
                    (*last_micros).max(0) as f64 / 1e6,
                    waited.as_secs_f64(),
                    because(&hidden)
                ),
            )),
            (Clock::Container(timeline), Some(announced))
                if announced.is_broken_off(self.decoded, timeline, self.is_cut_off) =>
            {
                Err(VisionError::new(
                    VisionErrorKind::Incomplete,
                    format!(
                        "{uri}: found {} frames up to {:.2} s, wanted {} frames and {:.2} s as announced: \
                         the video breaks off{}",
                        self.decoded,
                        timeline.last_secs(),
                        announced.frames,
                        announced.secs(),
                        because(&hidden)
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

impl FrameSource for CaptureSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.decode(),
        }
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        match self.first.take() {
            Some(_) => Ok(true),
            None => Ok(self.advance()?.is_some()),
        }
    }
}

/// A path is a file; a URL is one where it may be and says how many frames it has.
fn uri_is_file(uri: &str, url: Option<&StreamUrl>, frame_count: Option<u64>) -> bool {
    match url {
        Some(url) => url.may_be_file() && frame_count.is_some(),
        None => !uri.starts_with("webcam:"),
    }
}

fn because(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
}

fn not_a_video(path: &str, head: &Head, lines: &[String]) -> VisionError {
    let found = head.describe();
    // The container was read without a complaint: what it lacks is pictures.
    if head.container().is_some() && lines.is_empty() {
        return VisionError::new(
            VisionErrorKind::Empty,
            format!("{path}: found {found} with no video frames, wanted at least 1"),
        );
    }
    VisionError::new(
        VisionErrorKind::Unreadable,
        format!(
            "{path}: found {found}{}, wanted a whole video file (MP4, AVI, MKV, MOV, …), an image or a folder of images",
            because(lines)
        ),
    )
}

fn not_connected(url: &StreamUrl, lines: &[String], waited: Duration, timeout: Duration) -> VisionError {
    let lines: Vec<String> = lines.iter().map(|line| url.hide(line)).collect();
    let found = if waited >= timeout {
        format!("found no answer within {:.1} s", timeout.as_secs_f64())
    } else {
        "can't open it".to_owned()
    };
    VisionError::new(
        VisionErrorKind::Unreadable,
        format!(
            "{}: {found}{}, wanted a stream of video that can be reached and, where it asks, the right credentials",
            url.shown(),
            because(&lines)
        ),
    )
}

//! Webcams and GStreamer pipelines through OpenCV's `VideoCapture`. The way each is opened is in
//! [`opening`](super::opening).

use super::{StreamUrl, changes::RateWatch, complaints::Complaints, noise::Ear};
use crate::{Frame, FrameSource, HwAcceleration, Image, SourceCounts, SourceDescription, VisionError, VisionErrorKind};
use opencv::{
    core::Mat,
    prelude::*,
    videoio::{self, VideoCapture},
};
use rva_types::{ImageSize, MediaTime, redact};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The frame rate above which one is none but a time base that FFmpeg couldn't do better than.
const FPS_MAX: f64 = 1000.0;
/// The number of damaged packets in a row that are passed over. OpenCV fails for each, and goes on with the next.
const DAMAGED_MAX: u32 = 1000;
/// The number of frames that a decoder may still hold when its data end: OpenCV gives them after the call that waited
/// in vain.
const HELD_FRAMES: u64 = 32;
/// The parts that [`CaptureSource::new`] needs of a capture that is open.
pub(super) struct Opened {
    /// The library's capture.
    pub(super) capture: VideoCapture,
    /// The ear that hears the libraries on the threads of this capture.
    pub(super) ear: Arc<Ear>,
    /// The name that it is called by; no credentials.
    pub(super) uri: String,
    /// The URL to hide in the libraries' lines.
    pub(super) url: Option<StreamUrl>,
    /// The time for which it may be silent.
    pub(super) read_timeout: Duration,
    /// The most pixels of a picture.
    pub(super) pixels_max: u64,
}

/// A video that is open.
pub(super) struct CaptureSource {
    capture: VideoCapture,
    ear: Arc<Ear>,
    description: SourceDescription,
    opened: Instant,
    /// The media time of the last frame, by the wall, in microseconds.
    last_micros: i64,
    /// The number of frames decoded or skipped.
    decoded: u64,
    /// The first frame, decoded when the source was opened.
    first: Option<Frame>,
    is_ended: bool,
    url: Option<StreamUrl>,
    read_timeout: Duration,
    rate: RateWatch,
    /// The number of frames before the last call that waited for the whole time-out.
    waited_at: Option<u64>,
    /// The number of pictures that the decoder gave without pixels.
    empty: u64,
    complaints: Complaints,
}

impl CaptureSource {
    /// Decodes the first frame and makes a source of the capture.
    pub(super) fn new(opened: Opened) -> Result<Self, VisionError> {
        let Opened { capture, ear, uri, url, read_timeout, pixels_max } = opened;
        let number = |property| capture.get(property).ok().filter(|value| value.is_finite() && *value > 0.0);
        let side = |property| number(property).map_or(0, |side| side as u64);
        let (width, height) = (side(videoio::CAP_PROP_FRAME_WIDTH), side(videoio::CAP_PROP_FRAME_HEIGHT));
        if width.saturating_mul(height) > pixels_max {
            return Err(VisionError::new(
                VisionErrorKind::Unreadable,
                format!(
                    "{uri}: found pictures of {width} x {height} pixels, wanted at most {pixels_max} (capture.pixels_max)"
                ),
            ));
        }
        let fps = number(videoio::CAP_PROP_FPS).filter(|fps| *fps <= FPS_MAX);
        let mut source = Self {
            capture,
            ear,
            description: SourceDescription {
                uri,
                size: ImageSize { width: 1, height: 1 },
                fps,
                frame_count: None,
                is_live: true,
                is_part: false,
                hw_acceleration: HwAcceleration::None,
            },
            opened: Instant::now(),
            last_micros: -1,
            decoded: 0,
            first: None,
            is_ended: false,
            url,
            read_timeout,
            rate: RateWatch::default(),
            waited_at: None,
            empty: 0,
            complaints: Complaints::default(),
        };
        let Some(first) = source.decode()? else {
            return Err(VisionError::new(
                VisionErrorKind::Empty,
                format!("{}: found a video with 0 frames, wanted at least 1", source.description.uri),
            ));
        };
        source.description.size = first.image.size();
        source.first = Some(first);
        Ok(source)
    }

    /// Decodes the next frame, into a picture of its own: earlier ones may still be looked at.
    fn decode(&mut self) -> Result<Option<Frame>, VisionError> {
        for _ in 0..DAMAGED_MAX {
            let Some(media_time) = self.advance()? else {
                return Ok(None);
            };
            let mut mat = Mat::default();
            let is_retrieved = self.capture.retrieve(&mut mat, 0);
            if !matches!(is_retrieved, Ok(true)) || mat.empty() {
                // It keeps its place in time and its index.
                self.empty += 1;
                continue;
            }
            let image = Image::from_mat(mat)?;
            if self.decoded > 1 && self.first.is_none() && self.has_size() && image.size() != self.description.size {
                let (before, now) = (self.description.size, image.size());
                let text = |size: ImageSize| format!("{}x{}", size.width, size.height);
                return Err(self.changed(&format!("pictures of {}", text(now)), &text(before)));
            }
            return Ok(Some(Frame { index: self.decoded, media_time, image: Arc::new(image) }));
        }
        self.is_ended = true;
        Err(VisionError::new(
            VisionErrorKind::Unreadable,
            format!("{}: found {DAMAGED_MAX} frames in a row without pixels, wanted pictures", self.description.uri),
        ))
    }

    /// Returns whether the size is known: from the first frame on.
    fn has_size(&self) -> bool {
        self.description.size != ImageSize { width: 1, height: 1 }
    }

    /// Goes on by one frame and returns where it is; `None` at the end.
    fn advance(&mut self) -> Result<Option<MediaTime>, VisionError> {
        if self.is_ended {
            return Ok(None);
        }
        let asked = Instant::now();
        let (mut reason, mut silent) = (Vec::new(), 0);
        for damaged in 0.. {
            let (is_there, lines) = self.ear.listen(|| self.capture.grab());
            silent = if lines.is_empty() { silent + 1 } else { 0 };
            if reason.is_empty() {
                reason = lines;
            }
            if asked.elapsed() >= self.read_timeout {
                self.waited_at = Some(self.decoded);
            }
            if matches!(is_there, Ok(true)) {
                break;
            }
            // OpenCV fails for a damaged packet as it does at the end; only after the first there is a next one. The
            // decoder's threads may have complained of it some packets earlier, while another frame was asked for.
            let silence = if self.ear.errors() == 0 { 0 } else { HELD_FRAMES };
            if silent > silence || damaged == DAMAGED_MAX || asked.elapsed() >= self.read_timeout {
                self.is_ended = true;
                return self.end(&reason, asked.elapsed()).map(|()| None);
            }
        }
        self.decoded += 1;
        self.complaints.say(&self.description.uri, self.ear.errors() + self.empty, self.decoded, || {
            reason.first().map(|line| hidden(self.url.as_ref(), line)).unwrap_or_default()
        });
        self.last_micros = (self.opened.elapsed().as_micros() as i64).max(self.last_micros + 1);
        let media_time = MediaTime::from_micros(self.last_micros);
        let reported_ms = self.capture.get(videoio::CAP_PROP_POS_MSEC).unwrap_or_default();
        if let Some((before, now)) = self.rate.see(reported_ms) {
            return Err(self.changed(&format!("{now:.1} frames a second"), &format!("{before:.1}")));
        }
        Ok(Some(media_time))
    }

    fn changed(&mut self, found: &str, wanted: &str) -> VisionError {
        self.is_ended = true;
        VisionError::new(
            VisionErrorKind::SourceChanged,
            format!(
                "{}: found {found} after {} frames, wanted {wanted} as at its opening: what follows is another run",
                self.description.uri, self.decoded
            ),
        )
    }

    /// Returns whether the last frames were only those that the decoder still held.
    fn has_stalled(&self) -> bool {
        self.waited_at.is_some_and(|at| self.decoded - at <= HELD_FRAMES)
    }

    /// Judges whether this end, which came after waiting a while for a frame, is the right one.
    fn end(&self, lines: &[String], waited: Duration) -> Result<(), VisionError> {
        let uri = &self.description.uri;
        let lines: Vec<String> = lines.iter().map(|line| hidden(self.url.as_ref(), line)).collect();
        let errors = self.counts().decode_errors;
        if errors > 0 {
            tracing::warn!(source = %uri, complaints = errors, frames = self.decoded, "found damaged data until the end");
        }
        if self.has_stalled() {
            return Err(VisionError::new(
                VisionErrorKind::Stalled,
                format!(
                    "{uri}: found no frame within {:.1} s after {} frames{}, wanted it to go on",
                    self.read_timeout.as_secs_f64(),
                    self.decoded,
                    because(&lines)
                ),
            ));
        }
        Err(VisionError::new(
            VisionErrorKind::Incomplete,
            format!(
                "{uri}: found its end after {} frames in {:.2} s, the last {:.2} s without one{}, wanted it to go on",
                self.decoded,
                self.last_micros.max(0) as f64 / 1e6,
                waited.as_secs_f64(),
                because(&lines)
            ),
        ))
    }
}

impl FrameSource for CaptureSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts { decode_errors: self.ear.errors() + self.empty, times_replaced: 0 }
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

/// Returns a line of the libraries without credentials.
fn hidden(url: Option<&StreamUrl>, line: &str) -> String {
    url.map_or_else(|| redact(line), |url| url.hide(line))
}

/// Returns the libraries' lines, in brackets.
pub(super) fn because(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
}

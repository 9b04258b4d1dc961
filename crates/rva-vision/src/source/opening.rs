//! How each kind of stream is opened.
//!
//! URLs are opened by the FFmpeg back end alone: the others print URLs with their passwords, and know neither
//! timeouts nor media times.

use super::{
    GstPipeline, HwAcceleration, OpenOptions, StreamUrl,
    capture::{CaptureSource, Kind, Opened, because},
    noise::Ear,
    probe,
};
use crate::{VisionError, VisionErrorKind};
use opencv::{
    core::Vector,
    prelude::*,
    videoio::{self, VideoCapture},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The library has at least this long for its own opening, also where the probe has used up the time.
const OPEN_TIME_MIN: Duration = Duration::from_secs(1);

/// A server that serves few clients may refuse the library (503) while it is still closing the probe's connection: then
/// it is asked once more after that long.
const PROBE_CLOSES: Duration = Duration::from_millis(500);

/// A stream, or a remote file. It is probed first, since OpenCV can't say what is wrong with it.
pub(super) fn stream(url: &StreamUrl, options: &OpenOptions) -> Result<CaptureSource, VisionError> {
    let started = Instant::now();
    let doubt = probe::probe(url, options.open_timeout)?;
    let left = options.open_timeout.saturating_sub(started.elapsed()).max(OPEN_TIME_MIN);
    let timeouts = [
        videoio::CAP_PROP_OPEN_TIMEOUT_MSEC,
        millis(left),
        videoio::CAP_PROP_READ_TIMEOUT_MSEC,
        millis(options.read_timeout),
    ];
    let ear = Ear::new();
    let asked = Instant::now();
    let text = url.for_library(options.transport);
    let open = || {
        with_ffmpeg(&ear, url.shown(), options.hw_acceleration, |parameters| {
            let parameters = [&timeouts, parameters].concat();
            VideoCapture::from_file_with_params(&text, videoio::CAP_FFMPEG, &Vector::from_slice(&parameters))
        })
    };
    let (mut capture, mut lines) = open();
    if capture.is_none() && asked.elapsed() + PROBE_CLOSES < left {
        std::thread::sleep(PROBE_CLOSES);
        (capture, lines) = open();
    }
    let Some(capture) = capture else {
        let doubt = doubt.map(|doubt| doubt.to_string());
        let lines: Vec<String> = doubt.into_iter().chain(lines.iter().map(|line| url.hide(line))).collect();
        return Err(not_opened(url.shown(), &lines, asked.elapsed(), left));
    };
    CaptureSource::new(Opened {
        capture,
        ear,
        uri: url.shown().to_owned(),
        url: Some(url.clone()),
        kind: if url.may_be_file() { Kind::PerhapsFile } else { Kind::Live },
        read_timeout: options.read_timeout,
        pixels_max: options.pixels_max,
    })
}

/// A GStreamer pipeline.
pub(super) fn pipeline(pipeline: &GstPipeline, options: &OpenOptions) -> Result<CaptureSource, VisionError> {
    pipeline.check(options.open_timeout)?;
    let ear = Ear::new();
    let asked = Instant::now();
    let (capture, lines) = ear.listen_to_opening(|| VideoCapture::from_file(pipeline.secret(), videoio::CAP_GSTREAMER));
    let url = pipeline.stream();
    let Some(capture) = opened(capture) else {
        let lines: Vec<String> = lines.iter().map(|line| pipeline.hide(line)).collect();
        return Err(not_opened(pipeline.shown(), &lines, asked.elapsed(), options.open_timeout));
    };
    CaptureSource::new(Opened {
        capture,
        ear,
        uri: pipeline.shown().to_owned(),
        url,
        kind: Kind::Live,
        read_timeout: options.read_timeout,
        pixels_max: options.pixels_max,
    })
}

/// A local camera.
pub(super) fn webcam(index: u32, options: &OpenOptions) -> Result<CaptureSource, VisionError> {
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
    let ear = Ear::new();
    let (capture, lines) = ear.listen_to_opening(|| VideoCapture::new(index as i32, backend));
    let Some(capture) = opened(capture) else {
        return Err(VisionError::new(
            VisionErrorKind::Unreadable,
            format!("{uri}: can't open it{}, wanted a camera that gives pictures and isn't in use", because(&lines)),
        ));
    };
    CaptureSource::new(Opened {
        capture,
        ear,
        uri,
        url: None,
        kind: Kind::Live,
        read_timeout: options.read_timeout,
        pixels_max: options.pixels_max,
    })
}

fn opened(capture: opencv::Result<VideoCapture>) -> Option<VideoCapture> {
    capture.ok().filter(|capture| capture.is_opened().unwrap_or(false))
}

/// Opens with the hardware that is asked for, or without any where it isn't there.
fn with_ffmpeg(
    ear: &Arc<Ear>,
    uri: &str,
    hw_acceleration: HwAcceleration,
    open: impl Fn(&[i32]) -> opencv::Result<VideoCapture>,
) -> (Option<VideoCapture>, Vec<String>) {
    let wanted = match hw_acceleration {
        HwAcceleration::None => None,
        HwAcceleration::Any => Some(videoio::VIDEO_ACCELERATION_ANY),
        HwAcceleration::Vaapi => Some(videoio::VIDEO_ACCELERATION_VAAPI),
        HwAcceleration::Mfx => Some(videoio::VIDEO_ACCELERATION_MFX),
        HwAcceleration::D3d11 => Some(videoio::VIDEO_ACCELERATION_D3D11),
    };
    if let Some(wanted) = wanted {
        let parameters = [videoio::CAP_PROP_HW_ACCELERATION, wanted];
        let (capture, _) = ear.listen_to_opening(|| open(&parameters));
        let capture = opened(capture);
        let is_hardware = capture
            .as_ref()
            .is_some_and(|capture| capture.get(videoio::CAP_PROP_HW_ACCELERATION).is_ok_and(|used| used > 0.0));
        if !is_hardware {
            tracing::warn!(source = uri, wanted = %hw_acceleration, "found no such hardware decoder; the processor decodes");
        }
        if capture.is_some() {
            return (capture, Vec::new());
        }
    }
    let (capture, lines) = ear.listen_to_opening(|| open(&[videoio::CAP_PROP_HW_ACCELERATION, 0]));
    (opened(capture), lines)
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX).max(1)
}

fn not_opened(shown: &str, lines: &[String], waited: Duration, timeout: Duration) -> VisionError {
    let (kind, found) = if lines.iter().any(|line| line.contains("401 Unauthorized")) {
        (VisionErrorKind::Unauthorized, "that FFmpeg's login is refused (401)".to_owned())
    } else if waited >= timeout {
        (VisionErrorKind::Stalled, format!("no pictures within {:.1} s", timeout.as_secs_f64()))
    } else {
        (VisionErrorKind::Unreadable, "that FFmpeg can't open it".to_owned())
    };
    VisionError::new(
        kind,
        format!("{shown}: found {found}{}, wanted a stream of video that FFmpeg can decode", because(lines)),
    )
}

//! Opening of pipelines and webcams, by OpenCV.

use super::{
    GstPipeline, OpenOptions,
    capture::{CaptureSource, Opened, because},
    noise::Ear,
};
use crate::{VisionError, VisionErrorKind};
use opencv::{
    prelude::*,
    videoio::{self, VideoCapture},
};
use std::time::{Duration, Instant};

/// Opens a GStreamer pipeline.
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
        read_timeout: options.read_timeout,
        pixels_max: options.pixels_max,
    })
}

/// Opens a local camera.
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
        read_timeout: options.read_timeout,
        pixels_max: options.pixels_max,
    })
}

fn opened(capture: opencv::Result<VideoCapture>) -> Option<VideoCapture> {
    capture.ok().filter(|capture| capture.is_opened().unwrap_or(false))
}

fn not_opened(shown: &str, lines: &[String], waited: Duration, timeout: Duration) -> VisionError {
    let (kind, found) = if waited >= timeout {
        (VisionErrorKind::Stalled, format!("no pictures within {:.1} s", timeout.as_secs_f64()))
    } else {
        (VisionErrorKind::Unreadable, "that GStreamer can't play it".to_owned())
    };
    VisionError::new(kind, format!("{shown}: found {found}{}, wanted a pipeline that gives pictures", because(lines)))
}

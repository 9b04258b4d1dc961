//! Frame sources, detection, cues for trackers, and the pipeline that joins them.
//!
//! A camera gives more frames than a machine may be able to look at, and never waits. So decoding, preparing, inference
//! and tracking each run on a thread of their own, a budget bounds the frames between them, and a [`CapturePolicy`]
//! says which frames are left out when there are too many; those are counted, never lost silently.
//!
//! [`open`] gives a [`FrameSource`] for a video file, images, a webcam or a stream (FFmpeg, OpenCV); [`YoloDetector`]
//! finds objects (ONNX Runtime), alone or shared by many cameras ([`SharedModel`]); [`run_pipeline`] joins both with a
//! tracker; [`Annotator`] draws what was found, and [`AnnotatedWriter`] makes a video of it. Neither `cv::Mat` nor ONNX values leave this crate: a picture is
//! an [`Image`], an error a [`VisionError`].
//!
//! ```no_run
//! use rva_vision::{DetectOptions, Detector, OpenOptions, SourceSpec, YoloDetector, find_library, open};
//!
//! let mut source = open(&SourceSpec::parse("people.mp4")?, &OpenOptions::default())?;
//! let model = std::path::Path::new("data/models/yolov8n.onnx");
//! let mut detector = YoloDetector::load(&find_library(None)?, model, &DetectOptions::default())?;
//! let mut preparer = detector.preparer();
//! while let Some(frame) = source.next_frame()? {
//!     let found = detector.infer(&[preparer.prepare(&frame.image)?])?;
//!     println!("frame {}: {} objects", frame.index, found[0].len());
//! }
//! # Ok::<(), rva_vision::VisionError>(())
//! ```
#![warn(unreachable_pub)]

// The unit tests of this crate see another `FrameSource` than the crates beside it do, so they compile the fakes anew.
#[cfg(test)]
extern crate self as rva_vision;

mod annotate;
mod cues;
mod detector;
mod error;
#[cfg(test)]
#[path = "../../rva-testkit/src/vision/fake.rs"]
#[allow(dead_code, unreachable_pub, reason = "the unit tests use a part of it")]
mod fake;
mod image;
mod input_buffer;
mod libraries;
mod pipeline;
mod seam;
mod source;

pub use annotate::{AnnotateOptions, AnnotatedWriter, Annotator};
pub use cues::{
    Appearance, CAMERA_MOTION_IS_BUILT_IN, CameraMotion, CueFinder, Embedder, EmbedderOptions, FindCues, FrameCues,
};
pub use detector::{
    BatchModel, BatchOptions, DetectOptions, FoundLibrary, LetterboxPreparer, Preparers, Selection, SharedDetector,
    SharedModel, YoloDetector, devices, find_library, parse_imgsz, resolve_classes,
};
pub use error::{Reopen, VisionError, VisionErrorKind};
pub use image::Image;
pub use input_buffer::{InputBuffer, InputBuffers};
pub use libraries::{OpenCvDescription, opencv_description};
pub use pipeline::{
    End, FrameCounters, FrameCounts, FramesSkipped, PipelineControl, PipelineOptions, PipelineOutcome, Stage,
    StageMarks, StageTimes, TrackedFrame, WatchStages, run_pipeline,
};
pub use rva_types::{CapturePolicy, Device, HwAcceleration, RtspTransport, StopFlag};
pub use seam::{Detector, Frame, FrameSource, ModelDescription, Prepare, Prepared, SourceCounts, SourceDescription};
pub use source::{
    AbandonedCaptures, Certificates, GstPipeline, IMAGE_EXTENSIONS, OpenOptions, PIXELS_MAX, SourceSpec, StreamUrl,
    VIDEO_EXTENSIONS, abandoned_captures, open,
};

//! Frame sources (OpenCV), detection (ONNX Runtime), what trackers want to know besides, and the pipeline that joins them.
//!
//! [`open`] gives a [`FrameSource`] for a video file, images, a webcam or a stream; [`AnnotatedWriter`] draws what was
//! found. Neither `cv::Mat` nor ONNX values leave this crate: a picture is an [`Image`], an error a [`VisionError`].

mod annotate;
mod cues;
mod detector;
mod error;
mod image;
mod input_buffer;
mod libraries;
mod named;
mod pipeline;
mod seam;
mod source;

pub use annotate::{AnnotateOptions, AnnotatedWriter};
pub use cues::{
    Appearance, CAMERA_MOTION_IS_BUILT_IN, CameraMotion, CueFinder, Embedder, EmbedderOptions, FindCues, FrameCues,
};
pub use detector::{
    BatchModel, BatchOptions, DetectOptions, Device, FoundLibrary, LetterboxPreparer, Preparers, Selection,
    SharedDetector, SharedModel, YoloDetector, devices, find_library, parse_imgsz, resolve_classes,
};
pub use error::{Reopen, VisionError, VisionErrorKind};
pub use image::Image;
pub use input_buffer::{InputBuffer, InputBuffers};
pub use libraries::{OpenCvDescription, opencv_description};
#[doc(hidden)]
pub use pipeline::fake;
pub use pipeline::{
    CapturePolicy, End, FrameCounters, FrameCounts, FramesSkipped, PipelineControl, PipelineOptions, PipelineOutcome,
    StageTimes, StopFlag, TrackedFrame, run_pipeline,
};
pub use seam::{Detector, Frame, FrameSource, ModelDescription, Prepare, Prepared, SourceCounts, SourceDescription};
pub use source::{
    AbandonedCaptures, GstPipeline, HwAcceleration, IMAGE_EXTENSIONS, OpenOptions, PIXELS_MAX, RtspTransport,
    SourceSpec, StreamUrl, abandoned_captures, open,
};

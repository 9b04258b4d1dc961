//! From what was asked for to a camera that is open.

use crate::{OpenCamera, RetryPace, RunSettings, detector_floor};
use rva_track::{Tracker, TrackerChoice};
use rva_types::{RunId, SourceIdentity, Timestamp};
use rva_vision::{
    CueFinder, DetectOptions, Detector, Embedder, EmbedderOptions, FindCues, FoundLibrary, OpenOptions,
    PipelineOptions, SourceSpec, VisionError, VisionErrorKind, YoloDetector, find_library, open, resolve_classes,
};
use std::{path::PathBuf, time::SystemTime};

/// A camera: where its frames come from and what they are called.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSetup {
    /// A file, images, a webcam or a stream.
    pub source: SourceSpec,
    /// How it is opened.
    pub open: OpenOptions,
    /// Where its frames are seen.
    pub identity: SourceIdentity,
    /// Capture time of a file's media time 0; `None` is the moment of opening. A live source ignores it.
    pub start_time: Option<Timestamp>,
}

/// What looks at frames.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSetup {
    /// A YOLOv8 detection model in ONNX.
    pub model: PathBuf,
    /// The ONNX Runtime library; `None` looks in the usual places.
    pub library: Option<PathBuf>,
    /// Detections of a record are at or above this confidence, in [0, 1].
    pub conf: f64,
    /// Classes to keep, ids or names; `None` keeps all.
    pub classes: Option<Vec<String>>,
    /// The rest about detection. Its `conf` and `classes` are not looked at: they follow from the two above, the
    /// tracker and the model.
    pub options: DetectOptions,
    /// The tracker and its parameters.
    pub tracker: TrackerChoice,
    /// An appearance model in ONNX for trackers that look at it (BoT-SORT `with_reid`, DeepSORT); others don't load it.
    pub reid_model: Option<PathBuf>,
    /// Stride, batch and bounds.
    pub pipeline: PipelineOptions,
}

/// Opens the source, loads the model and mints a run id: each call is a run of its own.
///
/// # Errors
/// What [`open`] and [`YoloDetector::load`] refuse; [`VisionErrorKind::Config`] for a confidence outside [0, 1],
/// parameters that the tracker refuses, and classes that the model doesn't have; what [`CueFinder::for_tracker`] refuses.
pub fn open_camera(camera: &CameraSetup, detector: &DetectorSetup) -> Result<(OpenCamera, RunSettings), VisionError> {
    let refused = |text: String| VisionError::new(VisionErrorKind::Config, text);
    if !(0.0..=1.0).contains(&detector.conf) {
        return Err(refused(format!("found conf {}, wanted a number from 0 to 1", detector.conf)));
    }
    let tracker = detector.tracker.build().map_err(|error| refused(error.to_string()).with_source(error))?;
    let source = open(&camera.source, &camera.open)?;
    let opened_at = Timestamp::from(SystemTime::now());
    let library = find_library(detector.library.as_deref())?;
    let cues = find_cues(&*tracker, detector, &library)?;
    let mut options =
        DetectOptions { conf: detector_floor(detector.conf, &*tracker), classes: None, ..detector.options.clone() };
    let mut model = YoloDetector::load(&library, &detector.model, &options)?;
    if let Some(wanted) = &detector.classes {
        // Only the loaded model knows its names, and only a model that is loaded with ids keeps to them.
        options.classes = Some(resolve_classes(wanted, &model.description().class_names)?);
        model = YoloDetector::load(&library, &detector.model, &options)?;
    }
    let settings = RunSettings {
        identity: camera.identity.clone(),
        run: RunId::from_uuid(uuid::Uuid::now_v7()),
        start_time: camera.start_time.unwrap_or(opened_at),
        conf: detector.conf,
        class_filter: options.classes,
        pipeline: detector.pipeline.clone(),
        retry: RetryPace::default(),
    };
    Ok((OpenCamera { source, detector: Box::new(model), tracker, cues }, settings))
}

/// What looks at frames for the tracker besides the detector; nothing where boxes are enough.
///
/// # Errors
/// A tracker that looks at appearance without a model for it, and what [`CueFinder::for_tracker`] refuses.
fn find_cues(
    tracker: &dyn Tracker,
    detector: &DetectorSetup,
    library: &FoundLibrary,
) -> Result<Option<Box<dyn FindCues>>, VisionError> {
    let embedder = || {
        let Some(model) = &detector.reid_model else {
            let text = format!(
                "found tracker {} that looks at appearance and no model for it, wanted --reid-model FILE (or `model:` in \
                 the tracker's YAML): an ONNX model from [batch, 3, height, width] to [batch, numbers], or with_reid: false",
                tracker.name()
            );
            return Err(VisionError::new(VisionErrorKind::Config, text));
        };
        let DetectOptions { device, intra_threads, .. } = detector.options;
        // `half` speaks of the detector's file; an appearance model is used as it is.
        Embedder::load(library, model, EmbedderOptions { device, intra_threads, ..EmbedderOptions::default() })
    };
    let finder = CueFinder::for_tracker(tracker.cues(), embedder)?;
    Ok(finder.map(|finder| Box::new(finder) as Box<dyn FindCues>))
}

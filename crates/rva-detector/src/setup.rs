//! The way from a request to a camera that is open.

use crate::{OpenCamera, RetryPace, RunSettings, detector_floor};
use rva_track::{Tracker, TrackerChoice};
use rva_types::{RunId, SourceIdentity, Timestamp};
use rva_vision::{
    BatchOptions, CapturePolicy, CueFinder, DetectOptions, Detector, Device, Embedder, EmbedderOptions, FindCues,
    FrameSource, OpenOptions, PipelineOptions, Selection, SharedModel, SourceSpec, VisionError, VisionErrorKind,
    YoloDetector, find_library, open, resolve_classes,
};
use std::{num::NonZeroUsize, path::PathBuf, thread::available_parallelism, time::SystemTime};

/// A camera: the source of its frames and the names that they are given.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSetup {
    /// The source: a file, images, a webcam or a stream.
    pub source: SourceSpec,
    /// The settings that it is opened with.
    pub open: OpenOptions,
    /// The place where its frames are seen.
    pub identity: SourceIdentity,
    /// The capture time of a file's media time 0; `None` is the moment of opening. A live source ignores it.
    pub start_time: Option<Timestamp>,
    /// The frames that are processed when there are too many; `None` stands for [`CapturePolicy::Latest`] for a live
    /// source and one that is played in real time, [`CapturePolicy::All`] for any other.
    pub capture: Option<CapturePolicy>,
    /// Plays a file at its own speed. A live source ignores it.
    pub realtime: bool,
}

/// The models and settings that look at frames.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSetup {
    /// A YOLOv8 detection model in ONNX.
    pub model: PathBuf,
    /// The ONNX Runtime library; `None` looks in the usual places.
    pub library: Option<PathBuf>,
    /// The confidence in [0, 1] that detections of a record reach or exceed.
    pub conf: f64,
    /// The classes to keep, ids or names; `None` keeps all.
    pub classes: Option<Vec<String>>,
    /// The other options of detection. Its `conf` and `classes` are not looked at: they follow from the two above, the
    /// tracker and the model.
    pub options: DetectOptions,
    /// The tracker and its parameters.
    pub tracker: TrackerChoice,
    /// An appearance model in ONNX for trackers that look at it (BoT-SORT `with_reid`, DeepSORT); others don't load it.
    pub reid_model: Option<PathBuf>,
    /// The inferences at the same time for a camera with a model of its own ([`open_camera`]); they share the threads.
    /// `None` stands for one where the newest frame counts; where all frames do, as many as the processor has threads
    /// for, at most [`PARALLEL_MAX`]. Raising it gives more frames a second and makes each wait longer; memory grows
    /// with it.
    pub parallel: Option<NonZeroUsize>,
    /// The stride, batch and bounds; which frames are left out is the camera's.
    pub pipeline: PipelineOptions,
    /// The way in which cameras share calls of a [shared model](load_shared).
    pub batch: BatchOptions,
}

/// The most inferences at the same time, unless more are asked for: each has memory of its own.
pub const PARALLEL_MAX: usize = 4;

/// A source that is open, before anything looks at it.
pub struct OpenSource {
    source: Box<dyn FrameSource>,
    opened_at: Timestamp,
}

/// Opens the source alone.
///
/// # Errors
/// Fails as [`open`] does.
pub fn open_source(camera: &CameraSetup) -> Result<OpenSource, VisionError> {
    let source = open(&camera.source, &camera.open)?;
    Ok(OpenSource { source, opened_at: Timestamp::from(SystemTime::now()) })
}

/// Opens the source, loads a model for this camera alone and mints a run id: each call is a run of its own.
///
/// # Errors
/// Fails as [`open`] and [`YoloDetector::load`] do; returns [`VisionErrorKind::Config`] for a confidence outside [0,
/// 1], parameters that the tracker refuses, and classes that the model doesn't have; fails as
/// [`CueFinder::for_tracker`] does.
pub fn open_camera(camera: &CameraSetup, detector: &DetectorSetup) -> Result<(OpenCamera, RunSettings), VisionError> {
    let following = tracker(detector)?;
    let source = open_source(camera)?;
    let capture = capture(camera, &*source.source);
    let mut models = load_each(detector, &threads(detector, capture))?;
    let Some(first) = models.first() else { return Err(refused("found no detector, wanted at least one".into())) };
    let selection = selection(detector, &*following.0, &first.description().class_names)?;
    models.iter_mut().try_for_each(|model| model.select(selection.clone()))?;
    let models = models.into_iter().map(|model| Box::new(model) as Box<dyn Detector>).collect();
    Ok(ready(camera, detector, source, models, following, selection.classes))
}

/// Loads the model once, for any number of cameras.
///
/// # Errors
/// Fails as [`open_camera`] does about the model.
pub fn load_shared(detector: &DetectorSetup) -> Result<SharedModel, VisionError> {
    let model = load(detector, detector.options.intra_threads)?;
    SharedModel::start(Box::new(model), detector.batch)
}

/// Joins an open source with a model that other cameras use too, and mints a run id.
///
/// # Errors
/// Fails as [`open_camera`] does about confidence, tracker and classes.
pub fn join_camera(
    camera: &CameraSetup,
    detector: &DetectorSetup,
    source: OpenSource,
    model: &SharedModel,
) -> Result<(OpenCamera, RunSettings), VisionError> {
    let following = tracker(detector)?;
    let selection = selection(detector, &*following.0, &model.description().class_names)?;
    let classes = selection.classes.clone();
    let model = model.detector(selection)?;
    Ok(ready(camera, detector, source, vec![Box::new(model)], following, classes))
}

fn refused(text: String) -> VisionError {
    VisionError::new(VisionErrorKind::Config, text)
}

/// A tracker, and the finder that looks at frames for it.
type Following = (Box<dyn Tracker>, Option<Box<dyn FindCues>>);

fn tracker(detector: &DetectorSetup) -> Result<Following, VisionError> {
    if !(0.0..=1.0).contains(&detector.conf) {
        return Err(refused(format!("found conf {}, wanted a number from 0 to 1", detector.conf)));
    }
    let tracker = detector.tracker.build().map_err(|error| refused(error.to_string()).with_source(error))?;
    let cues = find_cues(&*tracker, detector)?;
    Ok((tracker, cues))
}

fn capture(camera: &CameraSetup, source: &dyn FrameSource) -> CapturePolicy {
    let is_live = source.description().is_live;
    camera.capture.unwrap_or(if is_live || camera.realtime { CapturePolicy::Latest } else { CapturePolicy::All })
}

/// Returns the threads of each of the inferences at the same time.
///
/// Two inferences on a thread each take less time than one after the other on both: the network's small operators gain
/// nothing from a second thread, and all of them wait for each other.
fn threads(detector: &DetectorSetup, capture: CapturePolicy) -> Vec<Option<usize>> {
    let all = detector.options.intra_threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from)).max(1);
    let usual = match (detector.options.device, capture) {
        (Device::Cpu, CapturePolicy::All) => all.min(PARALLEL_MAX),
        _ => 1,
    };
    match detector.parallel.map_or(usual, usize::from) {
        1 => vec![detector.options.intra_threads],
        parallel => shared(all, parallel).map(Some).collect(),
    }
}

/// Returns the threads for each of `parallel` inferences: as equal as they can be, at least one.
fn shared(threads: usize, parallel: usize) -> impl Iterator<Item = usize> {
    (0..parallel).map(move |n| (threads / parallel + usize::from(n < threads % parallel)).max(1))
}

fn load_each(detector: &DetectorSetup, threads: &[Option<usize>]) -> Result<Vec<YoloDetector>, VisionError> {
    threads.iter().map(|&threads| load(detector, threads)).collect()
}

fn load(detector: &DetectorSetup, intra_threads: Option<usize>) -> Result<YoloDetector, VisionError> {
    let library = find_library(detector.library.as_deref())?;
    // Each user selects for itself.
    let options =
        DetectOptions { conf: detector.conf as f32, classes: None, intra_threads, ..detector.options.clone() };
    YoloDetector::load(&library, &detector.model, &options)
}

/// Returns the selection that a camera's tracker and records need; only a loaded model knows the names of its classes.
fn selection(detector: &DetectorSetup, tracker: &dyn Tracker, names: &[String]) -> Result<Selection, VisionError> {
    let classes = detector.classes.as_ref().map(|wanted| resolve_classes(wanted, names)).transpose()?;
    Ok(Selection { conf: detector_floor(detector.conf, tracker), classes })
}

fn ready(
    camera: &CameraSetup,
    setup: &DetectorSetup,
    OpenSource { source, opened_at }: OpenSource,
    detectors: Vec<Box<dyn Detector>>,
    (tracker, cues): Following,
    class_filter: Option<Vec<u32>>,
) -> (OpenCamera, RunSettings) {
    let is_live = source.description().is_live;
    let realtime = camera.realtime && !is_live;
    let capture = capture(camera, &*source);
    let settings = RunSettings {
        identity: camera.identity.clone(),
        run: RunId::from_uuid(uuid::Uuid::now_v7()),
        start_time: camera.start_time.unwrap_or(opened_at),
        conf: setup.conf,
        class_filter,
        pipeline: PipelineOptions { capture, realtime, ..setup.pipeline.clone() },
        retry: RetryPace::default(),
    };
    (OpenCamera { source, detectors, tracker, cues }, settings)
}

/// Makes the finder that looks at frames for the tracker besides the detector; none where boxes are enough.
///
/// # Errors
/// Returns an error for a tracker that looks at appearance without a model for it, and fails as
/// [`CueFinder::for_tracker`] does.
fn find_cues(tracker: &dyn Tracker, detector: &DetectorSetup) -> Result<Option<Box<dyn FindCues>>, VisionError> {
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
        let library = find_library(detector.library.as_deref())?;
        // `half` speaks of the detector's file; an appearance model is used as it is.
        Embedder::load(&library, model, EmbedderOptions { device, intra_threads, ..EmbedderOptions::default() })
    };
    let finder = CueFinder::for_tracker(tracker.cues(), embedder)?;
    Ok(finder.map(|finder| Box::new(finder) as Box<dyn FindCues>))
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn inferences_share_the_threads() {
        for (threads, parallel, wanted) in
            [(2, 2, vec![1, 1]), (8, 4, vec![2; 4]), (6, 4, vec![2, 2, 1, 1]), (1, 3, vec![1; 3])]
        {
            assert_eq!(shared(threads, parallel).collect::<Vec<_>>(), wanted, "{threads} among {parallel}");
        }
    }
}

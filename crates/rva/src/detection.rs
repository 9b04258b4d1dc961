//! From the configuration to cameras that are open, with everything checked before anything is made.

use crate::{cameras::CameraPlan, exit::Refusal, models, trackers};
use anyhow::Context;
use rva_detector::{
    CameraSetup, DetectorSetup, OpenCamera, RunSettings, join_camera, load_shared, open_camera, open_source,
};
use rva_service::Config;
use rva_types::Timestamp;
use rva_vision::{
    BatchOptions, DetectOptions, Device, OpenOptions, PipelineOptions, SourceDescription, SourceSpec, parse_imgsz,
};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// A camera that is open, and what its records will say.
pub struct ReadyCamera {
    /// Source, detector, tracker.
    pub camera: OpenCamera,
    /// Identity, run, thresholds.
    pub settings: RunSettings,
    /// What is known of the source.
    pub source: SourceDescription,
    /// Class names of the model.
    pub class_names: Vec<String>,
}

/// Checks tracker, device, thresholds, sizes and times, finds model and library, then opens every source and loads
/// the model, once for all. Blocks: on files, on networks, on loading.
///
/// # Errors
/// The first thing that is wrong or missing, with found and wanted; what was open is closed again.
pub fn open_all(config: &Config, plans: &[CameraPlan]) -> anyhow::Result<Vec<ReadyCamera>> {
    let cameras = plans.iter().map(|plan| setup(config, plan)).collect::<anyhow::Result<Vec<_>>>()?;
    let detector = detector_setup(config)?;
    if let [camera] = &cameras[..] {
        // Nobody to share with: a model of its own spares a copy of each picture.
        return Ok(vec![ready(open_camera(camera, &detector).with_context(|| named(camera))?)]);
    }
    let sources = cameras.iter().map(|camera| open_source(camera).with_context(|| named(camera)));
    let sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    let model = load_shared(&detector)?;
    let joined = cameras.iter().zip(sources).map(|(camera, source)| {
        join_camera(camera, &detector, source, &model).map(ready).with_context(|| named(camera))
    });
    joined.collect()
}

fn named(camera: &CameraSetup) -> String {
    format!("camera {}", camera.identity.camera_id)
}

fn setup(config: &Config, plan: &CameraPlan) -> anyhow::Result<CameraSetup> {
    let start_time = config.start_time.as_deref().map(Timestamp::parse).transpose();
    Ok(CameraSetup {
        source: SourceSpec::parse(&plan.source)?,
        open: OpenOptions::default(),
        identity: plan.identity.clone(),
        start_time: start_time.map_err(|error| Refusal::usage(error.to_string()))?,
    })
}

fn detector_setup(config: &Config) -> anyhow::Result<DetectorSetup> {
    let detector = &config.detector;
    let options = DetectOptions {
        conf: detector.conf as f32,
        iou: detector.iou as f32,
        classes: None,
        max_det: detector.max_det as usize,
        agnostic_nms: detector.agnostic_nms,
        imgsz: detector.imgsz.as_deref().map(parse_imgsz).transpose()?,
        half: detector.half,
        device: Device::parse(&detector.device)?,
        intra_threads: None,
    };
    options.validate()?;
    let tracker = trackers::choose(&detector.tracker)?;
    let reid_model = trackers::reid_model(detector.reid_model.as_deref(), &detector.tracker, &tracker)?;
    let model = models::find(detector.model.as_deref())?;
    let vid_stride = NonZeroU32::new(detector.vid_stride).unwrap_or(NonZeroU32::MIN);
    Ok(DetectorSetup {
        model,
        library: detector.onnxruntime.clone(),
        conf: detector.conf,
        classes: detector.classes.clone(),
        options,
        tracker,
        reid_model,
        pipeline: PipelineOptions { vid_stride, ..PipelineOptions::default() },
        batch: BatchOptions {
            max_batch: NonZeroUsize::new(detector.max_batch as usize).unwrap_or(NonZeroUsize::MIN),
            max_wait: Duration::from_millis(detector.max_wait_ms.into()),
        },
    })
}

fn ready((camera, settings): (OpenCamera, RunSettings)) -> ReadyCamera {
    let source = camera.source.description().clone();
    let class_names = camera.detector.description().class_names.clone();
    ReadyCamera { camera, settings, source, class_names }
}

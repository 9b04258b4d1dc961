//! From the configuration to cameras that are open, with everything checked before anything is made.

use crate::{cameras::CameraPlan, exit::Refusal, models, trackers};
use anyhow::Context;
use rva_detector::{CameraSetup, DetectorSetup, OpenCamera, RunSettings, open_camera};
use rva_service::Config;
use rva_types::Timestamp;
use rva_vision::{DetectOptions, Device, OpenOptions, PipelineOptions, SourceDescription, SourceSpec, parse_imgsz};
use std::num::NonZeroU32;

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
/// the model for each. Blocks: on files, on networks, on loading.
///
/// # Errors
/// The first thing that is wrong or missing, with found and wanted; what was open is closed again.
pub fn open_all(config: &Config, plans: &[CameraPlan]) -> anyhow::Result<Vec<ReadyCamera>> {
    let cameras = plans.iter().map(|plan| setup(config, plan)).collect::<anyhow::Result<Vec<_>>>()?;
    let detector = detector_setup(config, plans.len())?;
    cameras.iter().map(|camera| open(camera, &detector)).collect()
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

fn detector_setup(config: &Config, cameras: usize) -> anyhow::Result<DetectorSetup> {
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
        intra_threads: Some(threads_for(cameras)),
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
    })
}

fn open(setup: &CameraSetup, detector: &DetectorSetup) -> anyhow::Result<ReadyCamera> {
    let (camera, settings) =
        open_camera(setup, detector).with_context(|| format!("camera {}", setup.identity.camera_id))?;
    let source = camera.source.description().clone();
    let class_names = camera.detector.description().class_names.clone();
    Ok(ReadyCamera { camera, settings, source, class_names })
}

/// Cores are shared by the cameras.
fn threads_for(cameras: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / cameras.max(1)).max(1)
}

//! The way from the configuration to cameras, which is checked before anything is opened.

use super::{CameraPlan, models, refused, trackers};
use crate::{
    CameraSetup, CameraSpec, DetectorSetup, OpenCamera, ReconnectPace, RunSettings, SharedModelOpener, join_camera,
    load_shared, open_camera, open_source,
};
use anyhow::Context;
use rva_service::{CaptureConfig, Config, Secret};
use rva_vision::{BatchOptions, Certificates, DetectOptions, OpenOptions, PipelineOptions, SourceSpec, parse_imgsz};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// Checks sources, trackers, devices, thresholds, sizes and times, and finds model and library. Opens nothing.
///
/// # Errors
/// Returns everything that is wrong or missing, of all cameras, with found and wanted.
pub fn specs(plans: &[CameraPlan]) -> anyhow::Result<Vec<CameraSpec>> {
    let (mut specs, mut errors) = (Vec::new(), Vec::new());
    for plan in plans {
        match spec(plan) {
            Ok(spec) => specs.push(spec),
            Err(error) => errors.push((plan, error)),
        }
    }
    let Some((plan, first)) = errors.first() else { return Ok(specs) };
    // What is wrong with all of them alike is said once.
    let first_text = format!("{first:#}");
    if errors.len() == plans.len() && errors.iter().all(|(_, error)| format!("{error:#}") == first_text) {
        return Err(errors.remove(0).1);
    }
    if errors.len() == 1 {
        let named = format!("camera {}", plan.identity.camera_id);
        return Err(errors.remove(0).1.context(named));
    }
    let mut text = format!("found {} cameras that can't be set up:", errors.len());
    for (plan, error) in &errors {
        text.push_str(&format!("\n  camera {}: {error:#}", plan.identity.camera_id));
    }
    Err(refused(text).into())
}

fn spec(plan: &CameraPlan) -> anyhow::Result<CameraSpec> {
    Ok(CameraSpec { camera: camera(plan)?, detector: detector_setup(&plan.config)? })
}

/// A camera that is open, and the specification that it was opened from.
pub type OpenSpec = (CameraSpec, OpenCamera, RunSettings);

/// Opens every source and loads the model, once for all. It blocks: on files, on networks, on loading.
///
/// # Errors
/// Returns the first thing that is wrong or missing; sources that were open are closed again.
pub fn open_all(specs: Vec<CameraSpec>) -> anyhow::Result<(Vec<OpenSpec>, SharedModelOpener)> {
    let named = |spec: &CameraSpec| format!("camera {}", spec.camera.identity.camera_id);
    if let [spec] = &specs[..] {
        // Nobody to share with: a model of its own spares a copy of each picture.
        let (camera, settings) = open_camera(&spec.camera, &spec.detector).with_context(|| named(spec))?;
        return Ok((vec![(spec.clone(), camera, settings)], SharedModelOpener::default()));
    }
    let sources = specs.iter().map(|spec| open_source(&spec.camera).with_context(|| named(spec)));
    let sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    let Some(first) = specs.first() else { return Ok((Vec::new(), SharedModelOpener::default())) };
    let model = load_shared(&first.detector)?;
    let joined = specs.iter().zip(sources).map(|(spec, source)| {
        let (camera, settings) =
            join_camera(&spec.camera, &spec.detector, source, &model).with_context(|| named(spec))?;
        Ok((spec.clone(), camera, settings))
    });
    let joined = joined.collect::<anyhow::Result<Vec<_>>>()?;
    Ok((joined, SharedModelOpener::with(model)))
}

/// Returns the pauses before a source is opened again.
pub fn reconnect_pace(config: &Config) -> ReconnectPace {
    let (first, max) = (config.capture.reconnect_min, config.capture.reconnect_max);
    ReconnectPace { first, max: max.max(first) }
}

fn source(plan: &CameraPlan) -> anyhow::Result<SourceSpec> {
    let spec = SourceSpec::parse(plan.source.expose())?;
    let capture = &plan.config.capture;
    let password = capture.password.as_ref().map(Secret::expose);
    Ok(match (capture.user.as_deref(), password) {
        (None, None) => spec,
        (user, password) => spec.with_login(user.unwrap_or_default(), password.unwrap_or_default()),
    })
}

fn camera(plan: &CameraPlan) -> anyhow::Result<CameraSetup> {
    let capture = &plan.config.capture;
    Ok(CameraSetup {
        source: source(plan)?,
        open: OpenOptions {
            open_timeout: capture.open_timeout,
            read_timeout: capture.read_timeout,
            transport: capture.transport,
            pixels_max: capture.pixels_max,
            hw_acceleration: capture.hw_acceleration,
            certificates: certificates(capture)?,
            ..OpenOptions::default()
        },
        identity: plan.identity.clone(),
        start_time: plan.config.start_time,
        capture: capture.policy.policy(),
        realtime: capture.realtime,
    })
}

fn certificates(capture: &CaptureConfig) -> anyhow::Result<Certificates> {
    match (&capture.tls_ca, capture.tls_insecure) {
        (Some(_), true) => Err(refused("found tls_ca and tls_insecure: true, wanted one of them".to_owned()).into()),
        (Some(path), false) => Ok(Certificates::SignedBy(path.clone())),
        (None, true) => Ok(Certificates::Insecure),
        (None, false) => Ok(Certificates::Unchecked),
    }
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
        pixels_max: config.capture.pixels_max,
        half: detector.half,
        device: detector.device,
        intra_threads: detector.threads.map(|threads| threads as usize),
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
        parallel: detector.parallel.and_then(|parallel| NonZeroUsize::new(parallel as usize)),
        pipeline: PipelineOptions { vid_stride, ..PipelineOptions::default() },
        batch: BatchOptions {
            max_batch: NonZeroUsize::new(detector.max_batch as usize).unwrap_or(NonZeroUsize::MIN),
            max_wait: Duration::from_millis(detector.max_wait_ms.into()),
        },
    })
}

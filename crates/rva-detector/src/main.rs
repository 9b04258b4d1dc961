//! `rva-detector`: cameras to the embedded log, or to NDJSON.

use anyhow::Context;
use clap::Parser;
use rva_bus::NdjsonSink;
use rva_detector::{
    CameraEnd, CameraSummary, Fleet, FleetView, Publisher, SharedSink,
    configured::{CaptureArgs, DetectionArgs, IdentityArgs, plan},
    open_log, reread,
};
use rva_service::{
    BusKind, ConfigError, Given, Health, Loaded, ServiceArgs, SourceText, init_telemetry, stop_on_signals,
    warn_of_plain_text,
};
use rva_track::TrackError;
use rva_vision::{VisionError, VisionErrorKind};
use std::{path::PathBuf, process::ExitCode};

/// Names the model as a part of the service's health.
const MODEL: &str = "model";

const AFTER: &str = "\
Cameras of the configuration file are kept running: what breaks off is opened again, and SIGHUP reads the file again
without touching the cameras that it leaves as they are. The process ends when every camera has ended, or on SIGTERM.

Exit codes: 0 done or stopped, 1 failure, 2 usage, 3 a source broke off.";

/// Detects and tracks what cameras see, and writes a record for each frame.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER)]
struct Cli {
    /// Video files, folders or patterns of images or videos, webcam indexes, stream URLs [default: the configured cameras]
    #[arg(value_name = "SOURCE")]
    sources: Vec<SourceText>,
    #[command(flatten)]
    service: ServiceArgs,
    /// Write NDJSON to this file instead of the embedded log; - is stdout
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    output: Option<PathBuf>,
    /// Data folder whose log/ is written to [default: rva-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    #[command(flatten)]
    detection: DetectionArgs,
    #[command(flatten)]
    capture: CaptureArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

impl Cli {
    fn load(&self) -> Result<Loaded, ConfigError> {
        let mut given = Given::default();
        given.text("data_dir", "--data-dir", self.data_dir.as_ref());
        self.detection.give(&mut given);
        self.capture.give(&mut given);
        self.identity.give(&mut given);
        self.service.load(given)
    }
}

fn main() -> ExitCode {
    rva_service::raise_open_files();
    start(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("error: {}", rva_service::scrub(&format!("{error:#}")));
        ExitCode::from(if is_usage(&error) { 2 } else { 1 })
    })
}

/// Returns whether a request makes no sense; nothing was started then.
fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<VisionError>().map(VisionError::kind);
        cause.is::<ConfigError>()
            || cause.is::<TrackError>()
            || matches!(kind, Some(VisionErrorKind::Config | VisionErrorKind::Device))
    })
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let loaded = cli.load()?;
    init_telemetry(&loaded.config.telemetry, std::io::stderr)?;
    warn_of_plain_text(&loaded.config);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(cli, loaded))
}

async fn run(cli: Cli, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signals().context("install signal actions")?;
    let health = Health::new();
    health.not_ready(MODEL, "not loaded yet");
    let config = &loaded.config;
    let _server = health.listen(config.health.address).await?;
    if cli.output.is_some() && config.detector.publish == BusKind::Pulsar {
        let text = "found --output and detector.publish pulsar, wanted one of them";
        return Err(VisionError::new(VisionErrorKind::Config, text).into());
    }
    let fleet = Fleet::of(&plan(&cli.sources, &loaded)?).await?;
    health.ready(MODEL);
    let sink = match &cli.output {
        Some(file) => SharedSink::new(NdjsonSink::create(file)?),
        None => open_log(config.data_folder().log(), config, &health).await?,
    };
    let publisher = Publisher::start(config, &health).await?;
    let mut fleet = fleet.start(sink, config, Vec::new());
    let reload = reread(cli.sources.clone(), Box::new(move || cli.load()), |_, _| Ok(()));
    let summaries = fleet
        .watch(FleetView {
            health: Some(&health),
            reload: Some(reload),
            stop: &stop,
            on_change: &mut |_| {},
            on_look: &mut || publisher.tell(&health),
        })
        .await?;
    publisher.finish(&stop).await?;
    // A failure outweighs a source that broke off.
    let codes: Vec<u8> = summaries.iter().map(conclude).collect();
    let worst = [1, 2, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0);
    Ok(ExitCode::from(worst))
}

/// Logs what a camera did; returns its exit code.
fn conclude(summary: &CameraSummary) -> u8 {
    let CameraSummary { camera_id, counts, detections, tracks, elapsed, .. } = summary;
    let (seconds, frames_decoded, records) = (elapsed.as_secs_f64(), counts.frames.decoded, counts.records);
    tracing::info!(%camera_id, frames_decoded, records, detections, tracks, seconds, "the camera has ended");
    match &summary.end {
        CameraEnd::Finished | CameraEnd::Stopped => 0,
        CameraEnd::Incomplete(error) => {
            tracing::error!(%camera_id, %error, "the source broke off; everything decoded is written");
            3
        }
        CameraEnd::NotOpened(error) | CameraEnd::Failed(error) => {
            tracing::error!(%camera_id, %error, "the camera has failed");
            1
        }
        CameraEnd::SinkFailed(error) => {
            tracing::error!(%camera_id, %error, "the sink has failed");
            1
        }
    }
}

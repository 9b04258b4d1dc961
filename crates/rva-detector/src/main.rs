//! `rva-detector`: one camera to the embedded log, or to NDJSON.

use anyhow::Context;
use clap::{Args, Parser};
use rva_bus::{EventSink, LogOptions, LogWriter, NdjsonSink};
use rva_detector::{CameraEnd, CameraReport, CameraSetup, DetectorSetup, Observers, open_camera, run_camera};
use rva_service::{LogFormat, StopFlag, TelemetryConfig, init_telemetry};
use rva_track::TrackerChoice;
use rva_types::{CameraId, SourceIdentity, StoreId, StreamId, Timestamp};
use rva_vision::{
    BatchOptions, DetectOptions, Device, OpenOptions, PipelineOptions, SourceSpec, VisionError, VisionErrorKind,
};
use std::{num::NonZeroU32, path::PathBuf, process::ExitCode};

/// Detects and tracks what one camera sees, and writes a record for each frame.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit codes: 0 done or stopped, 1 failure, 2 usage, 3 the source broke off.")]
struct Cli {
    /// A video file, a folder or pattern of images, a webcam's index, a stream's URL
    source: String,
    /// YOLOv8 detection model in ONNX
    #[arg(long, env = "MODEL_NAME")]
    model: PathBuf,
    #[command(flatten)]
    target: Target,
    /// ONNX Runtime library; the usual places where it isn't given
    #[arg(long, env = "RVA_ONNXRUNTIME")]
    onnxruntime: Option<PathBuf>,
    #[arg(long, env = "STORE_ID", default_value = "store_01")]
    store_id: StoreId,
    #[arg(long, env = "CAMERA_ID", default_value = "cam_01")]
    camera_id: CameraId,
    #[arg(long, env = "STREAM_ID", default_value = "stream_01")]
    stream_id: StreamId,
    /// Capture time of a file's first frame, RFC 3339; now where it isn't given
    #[arg(long, value_parser = Timestamp::parse)]
    start_time: Option<Timestamp>,
    /// Confidence from which a detection is in a record, 0 to 1
    #[arg(long, env = "CONF_THRES", default_value_t = 0.25)]
    conf: f64,
    /// Classes to keep, ids or names, separated by commas
    #[arg(long, env = "CLASS_FILTER", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    #[arg(long, default_value = "cpu")]
    device: String,
    #[arg(long, env = "TRACKER_TYPE", default_value = "steady")]
    tracker: String,
    /// Appearance model in ONNX, for trackers that look at it
    #[arg(long, value_name = "FILE")]
    reid_model: Option<PathBuf>,
    /// Process every n-th frame
    #[arg(long, default_value = "1")]
    vid_stride: NonZeroU32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// Write NDJSON to this file; - is stdout
    #[arg(long)]
    output: Option<PathBuf>,
    /// Write to the embedded log in this data folder
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    start(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        match error.downcast_ref::<VisionError>().map(VisionError::kind) {
            Some(VisionErrorKind::Config | VisionErrorKind::Device) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let telemetry = TelemetryConfig { log_format: LogFormat::Text, log_level: "info".into(), quiet: false };
    init_telemetry(&telemetry, std::io::stderr)?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(cli))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let stop = StopFlag::on_signals().context("install signal actions")?;
    let camera = CameraSetup {
        source: SourceSpec::parse(&cli.source)?,
        open: OpenOptions::default(),
        identity: SourceIdentity { store_id: cli.store_id, camera_id: cli.camera_id, stream_id: cli.stream_id },
        start_time: cli.start_time,
        capture: None,
        realtime: false,
    };
    let detector = DetectorSetup {
        model: cli.model,
        library: cli.onnxruntime,
        conf: cli.conf,
        classes: cli.classes,
        options: DetectOptions { device: Device::parse(&cli.device)?, ..DetectOptions::default() },
        tracker: TrackerChoice::by_name(&cli.tracker)?,
        reid_model: cli.reid_model,
        pipeline: PipelineOptions { vid_stride: cli.vid_stride, ..PipelineOptions::default() },
        batch: BatchOptions::default(),
    };
    let (open, settings) = open_camera(&camera, &detector)?;
    let mut sink: Box<dyn EventSink> = match (cli.target.output, cli.target.data_dir) {
        (Some(file), _) => Box::new(NdjsonSink::create(file)?),
        (None, dir) => Box::new(LogWriter::open(dir.unwrap_or_default().join("log"), LogOptions::default())?),
    };
    let report = run_camera(open, settings, &mut *sink, Observers::default(), stop.shared().into()).await;
    conclude(report)
}

fn conclude(report: CameraReport) -> anyhow::Result<ExitCode> {
    let CameraReport { run, frames, records, detections, tracks, elapsed, .. } = report;
    let seconds = elapsed.as_secs_f64();
    tracing::info!(%run, frames_decoded = frames.decoded, records, detections, tracks, seconds, "the run is over");
    match report.end {
        CameraEnd::Finished | CameraEnd::Stopped => Ok(ExitCode::SUCCESS),
        CameraEnd::Incomplete(error) => {
            tracing::error!(%error, "the source broke off; everything decoded is written");
            Ok(ExitCode::from(3))
        }
        CameraEnd::Failed(error) | CameraEnd::NotOpened(error) => Err(error.into()),
        CameraEnd::SinkFailed(error) => Err(error.into()),
    }
}

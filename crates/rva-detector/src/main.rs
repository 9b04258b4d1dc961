//! `rva-detector`: cameras to the embedded log, or to NDJSON.

use anyhow::Context;
use clap::Parser;
use rva_bus::{LogWriter, NdjsonSink};
use rva_detector::{
    CameraEnd, CameraHealth, CameraSummary, Reload, SharedModelOpener, SharedSink, Supervisor, Watching,
    configured::{
        CaptureArgs, DetectionArgs, Given, IdentityArgs, Plan, log_options, open_all, plan, reconnect_pace, specs,
    },
    load_shared, log_totals, watch_cameras,
};
use rva_service::{
    BusKind, Config, ConfigError, Health, Loaded, Override, SourceText, StopFlag, init_telemetry, load_of_process,
    warn_of_plain_text,
};
use rva_track::TrackError;
use rva_vision::{VisionError, VisionErrorKind};
use std::{path::PathBuf, process::ExitCode, sync::Arc};

/// Parts of the service's health.
const MODEL: &str = "model";
#[cfg(feature = "pulsar")]
const BROKER: &str = "broker";

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
    /// Configuration file [default: rva.yaml, where there is one]
    #[arg(long, env = "RVA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write NDJSON to this file instead of the embedded log; - is stdout
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    output: Option<PathBuf>,
    /// Data folder whose log/ is written to [default: rva-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where /live, /ready and /metrics answer, like 0.0.0.0:8080 [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    health_address: Option<String>,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug, trace, or directives
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    detection: DetectionArgs,
    #[command(flatten)]
    capture: CaptureArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

impl Cli {
    fn overrides(&self) -> Vec<Override> {
        let mut given = Given::default();
        given.text("telemetry.log_format", "--log-format", self.log_format.as_ref());
        given.text("telemetry.log_level", "--log-level", self.log_level.as_ref());
        given.text("health.address", "--health-address", self.health_address.as_ref());
        given.text("data_dir", "--data-dir", self.data_dir.as_ref());
        self.detection.give(&mut given);
        self.capture.give(&mut given);
        self.identity.give(&mut given);
        given.overrides()
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load_of_process(self.config.as_deref(), self.overrides())
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
    let stop = StopFlag::on_signals().context("install signal actions")?;
    let health = Health::new();
    health.not_ready(MODEL, "not loaded yet");
    let _server = health.listen(loaded.config.health.address).await?;
    let Plan { cameras, is_from_file } = plan(&cli.sources, &loaded)?;
    let wanted = specs(&cameras)?;
    let config = &loaded.config;
    // Opening and loading block.
    let (open, later, opener) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        if is_from_file {
            let model = wanted.first().map(|spec| load_shared(&spec.detector)).transpose()?;
            return Ok((Vec::new(), wanted, model.map_or_else(SharedModelOpener::default, SharedModelOpener::with)));
        }
        let (open, opener) = open_all(wanted)?;
        Ok((open, Vec::new(), opener))
    })
    .await??;
    health.ready(MODEL);
    let sink = match &cli.output {
        Some(file) => SharedSink::new(NdjsonSink::create(file)?),
        None => {
            let log = LogWriter::open(config.data_folder().log(), log_options(config))?;
            health.show(log_totals(&log));
            SharedSink::new(log)
        }
    };
    let publishing = publishing(&cli, config).await?;
    publishing.show(&health);
    let mut supervisor = Supervisor::new(Arc::new(opener), sink, reconnect_pace(config), None);
    for (spec, camera, settings) in open {
        supervisor.start(spec, camera, settings);
    }
    if is_from_file {
        supervisor.apply(later);
    }
    let stats_interval = config.detector.stats_interval;
    let reload: Option<Reload> =
        is_from_file.then(|| Box::new(move || specs(&plan(&cli.sources, &cli.load()?)?.cameras)) as Reload);
    let mut cameras = CameraHealth::new(health.clone());
    let mut on_look = |supervisor: &Supervisor| {
        cameras.look(supervisor);
        publishing.tell(&health);
    };
    let watching = Watching { reload, stats_interval, stop: &stop, on_change: &mut |_| {}, on_look: &mut on_look };
    let summaries = watch_cameras(&mut supervisor, watching).await?;
    publishing.finish(&stop).await?;
    // A failure outweighs a source that broke off.
    let codes: Vec<u8> = summaries.iter().map(conclude).collect();
    let worst = [1, 2, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0);
    Ok(ExitCode::from(worst))
}

#[cfg(feature = "pulsar")]
struct Publisher(Option<rva_detector::Publishing>);

#[cfg(feature = "pulsar")]
impl Publisher {
    fn show(&self, health: &Health) {
        if let Some(publishing) = &self.0 {
            health.show(publishing.totals());
        }
    }

    /// Tells the health what keeps records from the broker, for which the spool stands in.
    fn tell(&self, health: &Health) {
        match self.0.as_ref().and_then(rva_detector::Publishing::trouble) {
            Some(text) => health.degraded(BROKER, text),
            None => health.ready(BROKER),
        }
    }

    async fn finish(self, stop: &StopFlag) -> anyhow::Result<()> {
        match self.0 {
            Some(publishing) => publishing.finish(stop).await.context("publish to Pulsar"),
            None => Ok(()),
        }
    }
}

/// Starts to send the log to the topic, where that is wanted.
#[cfg(feature = "pulsar")]
async fn publishing(cli: &Cli, config: &Config) -> anyhow::Result<Publisher> {
    use rva_bus::pulsar::{ForwarderOptions, PulsarConnection};
    if !is_publishing(cli, config)? {
        return Ok(Publisher(None));
    }
    let pulsar = &config.pulsar;
    let connection = PulsarConnection {
        token: pulsar.token.as_ref().map(|token| token.expose().to_owned()),
        ca_file: pulsar.ca_file.clone(),
        ..PulsarConnection::new(&pulsar.service_url, &pulsar.admin_url)
    };
    let options = ForwarderOptions::new(config.data_folder().log(), pulsar.topic.parse()?);
    let started = rva_detector::Publishing::start(connection, options).await;
    Ok(Publisher(Some(started.with_context(|| format!("publish to {} at {}", pulsar.topic, pulsar.service_url))?)))
}

#[cfg(not(feature = "pulsar"))]
struct Publisher;

#[cfg(not(feature = "pulsar"))]
impl Publisher {
    fn show(&self, _: &Health) {}

    fn tell(&self, _: &Health) {}

    async fn finish(self, _: &StopFlag) -> anyhow::Result<()> {
        Ok(())
    }
}

#[cfg(not(feature = "pulsar"))]
async fn publishing(cli: &Cli, config: &Config) -> anyhow::Result<Publisher> {
    if is_publishing(cli, config)? {
        let text =
            "found detector.publish pulsar, wanted a build with it: cargo build -p rva-detector --features pulsar";
        return Err(VisionError::new(VisionErrorKind::Config, text).into());
    }
    Ok(Publisher)
}

fn is_publishing(cli: &Cli, config: &Config) -> anyhow::Result<bool> {
    let is_wanted = config.detector.publish == BusKind::Pulsar;
    if is_wanted && cli.output.is_some() {
        let text = "found --output and detector.publish pulsar, wanted one of them";
        return Err(VisionError::new(VisionErrorKind::Config, text).into());
    }
    Ok(is_wanted)
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

//! Frames a second of the bare model beside those of the whole pipeline, in turns, in one run.
//!
//! `bare` runs the model on one picture that is already prepared, as often as the video has frames. `null` is the
//! whole pipeline (decode, letterbox, infer, track, record) into a sink that forgets; `log` the same into the embedded
//! log, synced as in production; `run` is the whole command `rva run`, from its start to its last commit. The turns
//! alternate, so that a machine that gets slower does so for all.
//!
//! `cargo run --release -p rva-detector --example bench_detect -- --model M.onnx --video V [--rva RVA] [--turns 5]`

use anyhow::{Context, bail};
use clap::Parser;
use rva_bus::{BusError, EventSink, LogOptions, LogWriter, OutgoingMessage};
use rva_detector::{CameraEnd, CameraReport, CameraSetup, DetectorSetup, Observers, open_camera, run_camera};
use rva_track::TrackerChoice;
use rva_types::{CameraId, SourceIdentity, StoreId, StreamId};
use rva_vision::{DetectOptions, OpenOptions, PipelineOptions, SourceSpec, StopFlag};
use std::{fmt::Write, path::PathBuf, time::Instant};

#[derive(Debug, Parser)]
struct Cli {
    /// YOLOv8 detection model in ONNX
    #[arg(long)]
    model: PathBuf,
    /// The video, read to its end in each turn
    #[arg(long)]
    video: String,
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// The `rva` program; without it `run` is left out
    #[arg(long)]
    rva: Option<PathBuf>,
    /// Threads of one inference; all cores where it isn't given
    #[arg(long)]
    intra_threads: Option<usize>,
    /// Where the raw figures go too
    #[arg(long)]
    csv: Option<PathBuf>,
}

const KINDS: [&str; 4] = ["bare", "null", "log", "run"];

struct Forgetful;

#[async_trait::async_trait]
impl EventSink for Forgetful {
    async fn send(&mut self, _message: OutgoingMessage) -> Result<(), BusError> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let setup = setups(&cli)?;
    let mut csv = String::from("turn,kind,frames,seconds,fps,decode_s,prepare_s,infer_s,track_s,deliver_s\n");
    let mut rates = KINDS.map(|_| Vec::new());
    // As many frames for the bare model as the pipeline had.
    let mut frames = 0;
    for turn in 1..=cli.turns {
        // The pipeline first, for its number of frames; the order turns around each time.
        let mut order = vec![1, 2, 0];
        if cli.rva.is_some() {
            order.insert(1, 3);
        }
        if turn % 2 == 0 {
            order.reverse();
        }
        for kind in order {
            let line = if kind == 0 {
                let seconds = bare(&setup, frames)?;
                figures(frames, seconds, &[0.0, 0.0, seconds, 0.0, 0.0])
            } else if kind == 3 {
                figures(frames, command(&cli)?, &[0.0; 5])
            } else {
                let report = runtime.block_on(whole(&setup, KINDS[kind] == "log"))?;
                frames = report.records;
                let t = report.times;
                let times = [t.decode, t.prepare, t.infer, t.track, t.deliver].map(|time| time.as_secs_f64());
                figures(frames, report.elapsed.as_secs_f64(), &times)
            };
            rates[kind].push(line.0);
            writeln!(csv, "{turn},{},{}", KINDS[kind], line.1)?;
            eprintln!("turn {turn}: {:>4} {:7.2} frames a second", KINDS[kind], line.0);
        }
    }
    print!("{csv}");
    let medians = rates.map(median);
    for (kind, rate) in KINDS.iter().zip(medians).filter(|(_, rate)| rate.is_finite()) {
        eprintln!("median {kind:>4}: {rate:.2} frames a second, {:.3} of bare", rate / medians[0]);
    }
    if let Some(file) = cli.csv {
        std::fs::write(&file, csv).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn setups(cli: &Cli) -> anyhow::Result<(CameraSetup, DetectorSetup)> {
    let identity = SourceIdentity {
        store_id: StoreId::parse("store_01")?,
        camera_id: CameraId::parse("cam_01")?,
        stream_id: StreamId::parse("stream_01")?,
    };
    let source = SourceSpec::parse(&cli.video)?;
    let camera = CameraSetup { source, open: OpenOptions::default(), identity, start_time: None };
    let detector = DetectorSetup {
        model: cli.model.clone(),
        library: None,
        conf: 0.25,
        classes: None,
        options: DetectOptions { intra_threads: cli.intra_threads, ..DetectOptions::default() },
        tracker: TrackerChoice::by_name("bytetrack")?,
        pipeline: PipelineOptions::default(),
    };
    Ok((camera, detector))
}

/// Seconds for inference alone, box decoding and non-maximum suppression included, on the video's first frame.
fn bare((camera, detector): &(CameraSetup, DetectorSetup), frames: u64) -> anyhow::Result<f64> {
    let (mut open, _) = open_camera(camera, detector)?;
    let Some(first) = open.source.next_frame()? else { bail!("found no frame in the video") };
    let prepared = [open.detector.preparer().prepare(&first.image)?];
    let started = Instant::now();
    for _ in 0..frames {
        std::hint::black_box(open.detector.infer(&prepared)?);
    }
    Ok(started.elapsed().as_secs_f64())
}

async fn whole((camera, detector): &(CameraSetup, DetectorSetup), log: bool) -> anyhow::Result<CameraReport> {
    let folder = tempfile::tempdir()?;
    let (open, settings) = open_camera(camera, detector)?;
    let mut sink: Box<dyn EventSink> =
        if log { Box::new(LogWriter::open(folder.path(), LogOptions::default())?) } else { Box::new(Forgetful) };
    let report = run_camera(open, settings, &mut *sink, Observers::default(), StopFlag::new()).await;
    match report.end {
        CameraEnd::Finished => Ok(report),
        end => bail!("found a run that ended with {end:?}, wanted a whole one"),
    }
}

/// Seconds for the whole command, start and last commit included.
fn command(cli: &Cli) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let program = cli.rva.as_deref().context("found no --rva, wanted the program")?;
    let mut command = std::process::Command::new(program);
    command.args(["run", &cli.video, "--quiet", "--model"]).arg(&cli.model).arg("--data-dir").arg(folder.path());
    let started = Instant::now();
    let status = command.status().with_context(|| format!("start {}", program.display()))?;
    if !status.success() {
        bail!("found {status} from {}, wanted success", program.display());
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Frames a second and the rest of the line.
fn figures(frames: u64, seconds: f64, times: &[f64]) -> (f64, String) {
    let rate = frames as f64 / seconds;
    let times: Vec<_> = times.iter().map(|time| format!("{time:.3}")).collect();
    (rate, format!("{frames},{seconds:.3},{rate:.2},{}", times.join(",")))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

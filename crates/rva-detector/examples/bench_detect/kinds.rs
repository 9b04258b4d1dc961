//! The kinds of measurements, each alone in its process.

use crate::Cli;
use anyhow::{Context, bail};
use ort::{
    session::{Session, builder::GraphOptimizationLevel},
    value::TensorRef,
};
use rva_bus::{BusError, EventSink, LogOptions, LogWriter, OutgoingMessage};
use rva_detector::{CameraEnd, CameraReport, CameraSetup, DetectorSetup, Observers, open_camera, run_camera};
use rva_track::TrackerChoice;
use rva_types::{CameraId, ImageSize, SourceIdentity, StoreId, StreamId};
use rva_vision::{
    DetectOptions, LetterboxPreparer, OpenOptions, PipelineOptions, Prepare, SourceSpec, StopFlag, find_library,
};
use std::{
    fmt,
    process::{Child, Command, ExitStatus},
    str::FromStr,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Bare,
    Null,
    Log,
    Run,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare",
            Self::Null => "null",
            Self::Log => "log",
            Self::Run => "run",
        })
    }
}

/// One measurement: its frames, seconds, peak of resident memory in KiB, and the seconds of each stage.
#[derive(Debug, Clone)]
pub struct Figures {
    frames: u64,
    seconds: f64,
    peak_kib: u64,
    stages: [f64; 5],
}

impl Figures {
    pub const HEADER: &str = "frames,seconds,fps,peak_kib,decode_s,prepare_s,infer_s,track_s,deliver_s";

    pub fn rate(&self) -> f64 {
        self.frames as f64 / self.seconds
    }

    pub fn peak_mb(&self) -> f64 {
        self.peak_kib as f64 * 1024.0 / 1e6
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{:.4},{:.3},{}", self.frames, self.seconds, self.rate(), self.peak_kib)?;
        self.stages.iter().try_for_each(|seconds| write!(f, ",{seconds:.4}"))
    }
}

impl FromStr for Figures {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let wanted = || format!("found {line:?}, wanted {}", Self::HEADER);
        let values: Vec<f64> = line.split(',').map(str::parse).collect::<Result<_, _>>().with_context(wanted)?;
        let &[frames, seconds, _, peak_kib, decode, prepare, infer, track, deliver] = values.as_slice() else {
            bail!(wanted());
        };
        let stages = [decode, prepare, infer, track, deliver];
        Ok(Self { frames: frames as u64, seconds, peak_kib: peak_kib as u64, stages })
    }
}

pub fn measure(kind: Kind, cli: &Cli) -> anyhow::Result<Figures> {
    let threads = cli.threads.first().copied().filter(|&threads| threads > 0);
    match kind {
        Kind::Bare => bare(cli, threads),
        Kind::Run => command(cli),
        Kind::Null | Kind::Log => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let report = runtime.block_on(whole(cli, threads, kind == Kind::Log))?;
            let t = report.times;
            let stages = [t.decode, t.prepare, t.infer, t.track, t.deliver].map(|time| time.as_secs_f64());
            let seconds = report.elapsed.as_secs_f64();
            Ok(Figures { frames: report.records, seconds, peak_kib: peak_kib("self")?, stages })
        }
    }
}

fn setups(cli: &Cli, intra_threads: Option<usize>) -> anyhow::Result<(CameraSetup, DetectorSetup)> {
    let identity = SourceIdentity {
        store_id: StoreId::parse("store_01")?,
        camera_id: CameraId::parse("cam_01")?,
        stream_id: StreamId::parse("stream_01")?,
    };
    let source = SourceSpec::parse(&cli.video)?;
    let camera = CameraSetup {
        source,
        open: OpenOptions::default(),
        identity,
        start_time: None,
        capture: None,
        realtime: false,
    };
    let detector = DetectorSetup {
        model: cli.model.clone(),
        library: None,
        conf: 0.25,
        classes: None,
        options: DetectOptions { intra_threads, ..DetectOptions::default() },
        tracker: TrackerChoice::by_name("bytetrack")?,
        reid_model: None,
        parallel: None,
        pipeline: PipelineOptions::default(),
        batch: rva_vision::BatchOptions::default(),
    };
    Ok((camera, detector))
}

/// A session of its own, with the options of the product's, on the video's first frame.
fn bare(cli: &Cli, intra_threads: Option<usize>) -> anyhow::Result<Figures> {
    let mut session = session(cli, intra_threads)?;
    let input = &session.inputs()[0];
    let name = input.name().to_owned();
    let dims = input.dtype().tensor_shape().context("found no shape of the input")?.to_vec();
    let &[_, 3, height, width] = dims.as_slice() else {
        bail!("found an input {dims:?}, wanted [1, 3, height, width]")
    };
    let side = |dim: i64| u32::try_from(dim).unwrap_or(640);
    let size = ImageSize { width: side(width), height: side(height) };
    let (prepared, announced) = {
        let mut source = rva_vision::open(&SourceSpec::parse(&cli.video)?, &OpenOptions::default())?;
        let Some(first) = source.next_frame()? else { bail!("found no frame in the video") };
        (LetterboxPreparer::new(size).prepare(&first.image)?, source.description().frame_count)
    };
    let frames = cli.frames.or(announced).context("found no number of frames in the video, wanted --frames")?;
    let shape = [1, 3, size.height as usize, size.width as usize];
    let chw = &*prepared.chw;
    // What ONNX Runtime allocates in its first run it keeps.
    session.run(ort::inputs![name.as_str() => TensorRef::from_array_view((shape, chw))?])?;
    let started = Instant::now();
    for _ in 0..frames {
        std::hint::black_box(session.run(ort::inputs![name.as_str() => TensorRef::from_array_view((shape, chw))?])?);
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Figures { frames, seconds, peak_kib: peak_kib("self")?, stages: [0.0, 0.0, seconds, 0.0, 0.0] })
}

fn session(cli: &Cli, intra_threads: Option<usize>) -> anyhow::Result<Session> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let environment = ort::init_from(find_library(None)?.path)?.with_telemetry(false).build()?;
    environment.set_log_level(ort::logging::LogLevel::Error);
    let refused = |error: &dyn fmt::Display| anyhow::anyhow!("set up a session: {error}");
    Session::builder(&environment)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| refused(&error))?
        .with_intra_threads(intra_threads.unwrap_or_else(cores))
        .map_err(|error| refused(&error))?
        .with_intra_op_spinning(false)
        .map_err(|error| refused(&error))?
        .commit_from_file(&cli.model)
        .map_err(|error| refused(&error))
}

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

async fn whole(cli: &Cli, intra_threads: Option<usize>, log: bool) -> anyhow::Result<CameraReport> {
    let folder = tempfile::tempdir()?;
    let (camera, setup) = setups(cli, intra_threads)?;
    let (open, settings) = open_camera(&camera, &setup)?;
    let mut sink: Box<dyn EventSink> =
        if log { Box::new(LogWriter::open(folder.path(), LogOptions::default())?) } else { Box::new(Forgetful) };
    let stop = StopFlag::new();
    let mut observers = Observers::default();
    if let Some(frames) = cli.frames {
        let (stop, mut seen) = (stop.clone(), 0);
        observers.taps.push(Box::new(move |_| {
            seen += 1;
            if seen == frames {
                stop.stop();
            }
        }));
    }
    let report = run_camera(open, settings, &mut *sink, observers, stop).await;
    match report.end {
        CameraEnd::Finished | CameraEnd::Stopped => Ok(report),
        end => bail!("found a run that ended with {end:?}, wanted a whole one"),
    }
}

/// The whole command, start and last commit included.
fn command(cli: &Cli) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let program = cli.rva.as_deref().context("found no --rva, wanted the program")?;
    let mut command = Command::new(program);
    command.args(["run", &cli.video, "--quiet", "--model"]).arg(&cli.model).arg("--data-dir").arg(folder.path());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let (status, peak_kib) = watched(&mut child)?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("found {status} from {}, wanted success", program.display());
    }
    let (camera, _) = setups(cli, None)?;
    let source = rva_vision::open(&camera.source, &camera.open)?;
    let frames = source.description().frame_count.context("found no number of frames in the video")?;
    Ok(Figures { frames, seconds, peak_kib, stages: [0.0; 5] })
}

/// Waits for a process and reads its peak on the way: it is gone with the process.
fn watched(child: &mut Child) -> anyhow::Result<(ExitStatus, u64)> {
    let id = child.id().to_string();
    let mut peak = 0;
    loop {
        peak = peak_kib(&id).unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait()? {
            return Ok((status, peak));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The peak of resident memory of a process, as Linux knows it.
fn peak_kib(process: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("found no VmHWM, wanted Linux")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

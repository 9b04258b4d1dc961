//! `rva run`: cameras to log to tables, in one process.

use crate::{
    annotated::{Saved, SavedFiles, Saving},
    cameras::{self, CameraPlan},
    cli::RunArgs,
    commands::{ingest, query::PEOPLE_PER_MINUTE},
    detection::{ReadyCamera, open_all},
    embedded::{Ingesting, RowsCommitted},
    exit::{Exit, Refusal},
    folder::DataFolder,
    output::with_causes,
    progress::{ProgressView, Watched},
    terminal::Terminal,
};
use rva_bus::{LogOptions, LogWriter, SizePolicy};
use rva_detector::{CameraEnd, CameraReport, FrameTap, Observers, SharedSink, run_camera};
use rva_ingest::{IngestLease, IngestReport};
use rva_service::{Config, Loaded, StopFlag};
use rva_vision::VisionErrorKind;
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet};

/// How often a run looks whether its ingest still lives.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Everything from the sources to the committed rows.
///
/// # Errors
/// What kept the run from starting. What happens later is said, and in the exit code.
pub async fn run(args: RunArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let config = &loaded.config;
    let plans = cameras::plan(&args.sources, &loaded)?;
    let folder = DataFolder::at(&config.data_dir)?;
    let saving = Saving::plan(args.detection.save.as_deref(), &folder.annotated(), plans.len())?;
    let ready = open_cameras(config, plans).await?;

    let stop = StopFlag::on_signals()?;
    folder.make_writable()?;
    let log = folder.log();
    let options = log_options(config);
    let writer = tokio::task::spawn_blocking(move || LogWriter::open(log, options)).await??;
    let lease = IngestLease::try_acquire(folder.root())?.map_err(|held| {
        let who = held.pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        let text = format!(
            "{who} ingests into {}, wanted a data folder of its own for `rva run`: end that process, or name another --data-dir",
            folder.root().display()
        );
        Refusal::in_use(text)
    })?;
    let rows = RowsCommitted::default();
    let ingest = Ingesting::start(&folder, config, false, lease, rows.clone()).await?;

    let sink = SharedSink::new(writer);
    let mut running = Running::default();
    for (camera, saving) in begin_saving(ready, &saving)? {
        running.start(camera, sink.clone(), saving, &stop);
    }
    let view = ProgressView::start(terminal, std::mem::take(&mut running.watched), Some(rows));
    let (reports, saved) = running.finish(&ingest, &stop).await?;
    drop(view);
    let mut exit = reports.iter().map(|report| end_of(report, terminal)).fold(Exit::Done, Exit::worse);
    let ingested = ingest.drain(&stop).await;
    // The writer goes last: until everything is committed another run must not start.
    drop(sink);
    let (files, saved_exit) = finish_saving(saved, terminal).await?;
    exit = exit.worse(saved_exit);
    match ingested {
        Ok(report) => summary(&reports, &files, &report, &folder, terminal),
        Err(error) => {
            terminal.say_error(&with_causes(&error));
            exit = exit.worse(Exit::Failure);
        }
    }
    Ok(exit)
}

/// Opening blocks: on files, on networks, on loading a model.
pub async fn open_cameras(config: &Config, plans: Vec<CameraPlan>) -> anyhow::Result<Vec<ReadyCamera>> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || open_all(&config, &plans)).await?
}

/// The log's options as configured.
pub fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        sync_interval: config.log.flush_interval,
        segment_bytes_max: config.log.segment_size,
        size_bytes_max: config.log.size_max,
        size_policy: if config.log.when_full == "drop_oldest" { SizePolicy::DropOldest } else { SizePolicy::Block },
        retention: config.log.retention,
        ..LogOptions::default()
    }
}

/// A camera, and its annotated video where one is wanted.
pub type StartedCamera = (ReadyCamera, Option<(FrameTap, Saved)>);

/// Every video is begun before any camera runs: one that can't be made stops the run before it has done anything.
pub fn begin_saving(cameras: Vec<ReadyCamera>, saving: &Saving) -> anyhow::Result<Vec<StartedCamera>> {
    cameras
        .into_iter()
        .map(|camera| {
            let saving = saving.start(&camera)?;
            Ok((camera, saving))
        })
        .collect()
}

/// Ends the videos; one that failed is said, the rows are committed all the same.
pub async fn finish_saving(saved: Vec<Saved>, terminal: &Terminal) -> anyhow::Result<(Vec<SavedFiles>, Exit)> {
    let finished = tokio::task::spawn_blocking(|| saved.into_iter().map(Saved::finish).collect::<Vec<_>>()).await?;
    let (mut files, mut exit) = (Vec::new(), Exit::Done);
    for finished in finished {
        match finished {
            Ok(file) => files.push(file),
            // No frame, no video: why there was none is said by the camera.
            Err(error) if error.kind() == VisionErrorKind::Empty => {}
            Err(error) => {
                terminal.say_error(&format!("annotated video: {error}"));
                exit = Exit::Failure;
            }
        }
    }
    Ok((files, exit))
}

/// The cameras that run.
#[derive(Default)]
struct Running {
    tasks: JoinSet<(CameraReport, Option<Saved>)>,
    watched: Vec<Watched>,
}

impl Running {
    fn start(&mut self, ready: ReadyCamera, sink: SharedSink, saving: Option<(FrameTap, Saved)>, stop: &StopFlag) {
        let name = ready.settings.identity.camera_id.to_string();
        let (tap, saved) = saving.map_or((None, None), |(tap, saved)| (Some(tap), Some(saved)));
        let progress = rva_detector::Progress { frames_total: ready.source.frame_count, ..Default::default() };
        let (told, heard) = watch::channel(progress);
        let vid_stride = ready.settings.pipeline.vid_stride.get();
        self.watched.push(Watched { name, progress: heard, vid_stride });
        let stop = stop.shared().into();
        let ReadyCamera { camera, settings, .. } = ready;
        self.tasks.spawn(async move {
            let mut sink = sink;
            let report = run_camera(camera, settings, &mut sink, Observers { tap, progress: told }, stop).await;
            (report, saved)
        });
    }

    /// Waits for every camera. Without an ingest there is no use in reading on.
    async fn finish(mut self, ingest: &Ingesting, stop: &StopFlag) -> anyhow::Result<(Vec<CameraReport>, Vec<Saved>)> {
        let (mut reports, mut saved) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    None => return Ok((reports, saved)),
                    Some(ended) => {
                        let (report, file) = ended?;
                        reports.push(report);
                        saved.extend(file);
                    }
                },
                () = tokio::time::sleep(LOOK_EVERY), if ingest.is_over() => stop.stop(),
                () = tokio::time::sleep(LOOK_EVERY), if !ingest.is_over() => {}
            }
        }
    }
}

/// Says why a camera ended, where that is not its own end, and what it means for the exit code.
pub fn end_of(report: &CameraReport, terminal: &Terminal) -> Exit {
    let failed = |error: &(dyn std::error::Error + Send + Sync), exit: Exit| {
        // A source's own errors begin with its name.
        let (uri, text) = (&report.source.uri, error.to_string());
        terminal.say_error(&if text.starts_with(uri) { text } else { format!("{uri}: {text}") });
        exit
    };
    match &report.end {
        CameraEnd::Finished => Exit::Done,
        CameraEnd::Stopped if report.source.is_live => Exit::Done,
        CameraEnd::Stopped => Exit::Interrupted,
        CameraEnd::Incomplete(error) => failed(error, Exit::Incomplete),
        CameraEnd::Failed(error) => failed(error, Exit::Failure),
        CameraEnd::SinkFailed(error) => failed(error, Exit::Failure),
    }
}

/// One line for each camera.
pub fn camera_lines(reports: &[CameraReport], terminal: &Terminal) {
    for report in reports {
        let seconds = report.elapsed.as_secs_f64();
        let fps = report.records as f64 / seconds.max(0.001);
        let mut text = format!(
            "{}: {} frames in {seconds:.1} s ({fps:.1} frames/s), {} detections, {} tracks",
            report.source.uri, report.records, report.detections, report.tracks
        );
        let skipped = report.frames_skipped;
        if skipped.by_stride + skipped.by_overload > 0 {
            text.push_str(&format!(
                ", {} skipped by the stride, {} by overload",
                skipped.by_stride, skipped.by_overload
            ));
        }
        if report.records_rejected > 0 {
            text.push_str(&format!(", {} records refused by the log", report.records_rejected));
        }
        terminal.say(&text);
    }
}

fn summary(
    reports: &[CameraReport],
    files: &[SavedFiles],
    report: &IngestReport,
    folder: &DataFolder,
    terminal: &Terminal,
) {
    camera_lines(reports, terminal);
    ingest::summary(report, terminal);
    for file in files {
        file.say(terminal);
    }
    let dir = shell_word(&shown(folder.root()));
    terminal.say(&format!(
        "\nTables: {dir}/catalog.db (Iceberg catalog `lakehouse`) and {dir}/warehouse\n\nNext:\n  \
         rva query \"{PEOPLE_PER_MINUTE}\" --data-dir {dir}\n  \
         rva tables --data-dir {dir}\n  \
         rva query \"SELECT payload FROM bronze_raw LIMIT 3\" --format json --data-dir {dir}"
    ));
}

/// Relative to the working directory, where it lies below it.
pub fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(path).display().to_string()
}

/// A text as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

//! `rva run`: cameras to log to tables, in one process.

use crate::{
    annotated::{SavedFiles, Saving, Videos},
    cli::RunArgs,
    commands::{ingest, query::PEOPLE_PER_MINUTE},
    embedded::{self, RowsCommitted},
    exit::{Exit, Refusal, of_vision},
    folder::{Checks, absolute},
    output::with_causes,
    progress::ProgressView,
    terminal::Terminal,
};
use rva_detector::{
    CameraEnd, CameraSummary, Fleet, FleetView,
    configured::{CameraPlan, plan},
    open_log, reread,
};
use rva_ingest::{IngestReport, Phase};
use rva_refine::service::{Drawings, RefineView, Refining};
use rva_service::{BusKind, Config, Health, LoadAgain, Loaded, Role, stop_on_signals, tables::TableSettings};
use rva_types::{CameraId, DataFolder, StoreId};
use rva_vision::VisionErrorKind;
use std::time::Duration;

/// The interval at which a run looks whether its ingest still lives.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs everything from the sources to the committed rows.
///
/// # Errors
/// Returns an error that kept the run from starting. Later troubles are said, and are in the exit code.
pub async fn run(
    args: RunArgs,
    mut loaded: Loaded,
    load_again: LoadAgain,
    terminal: &Terminal,
) -> anyhow::Result<Exit> {
    check_publish(&loaded.config)?;
    let folder = absolute(&loaded.config.data_dir)?;
    loaded.config.data_dir = folder.root().to_owned();
    let config = &loaded.config;
    let plan = plan(&args.sources, &loaded)?;
    let saving = Saving::plan(args.saving.save.as_deref(), &folder.annotated(), plan.cameras.len())?;
    let videos = Videos::new(saving);
    // Before the first frame: what is drawn holds for all of this run.
    let drawings = Drawings::of(&loaded, &ids_of(&plan.cameras))?;
    let fleet = open(Fleet::of(&plan), &videos).await?;

    let stop = stop_on_signals()?;
    folder.make_writable()?;
    let health = Health::new();
    let sink = open_log(folder.log(), config, &health).await?;
    let host = embedded::host(&loaded, &health)?;
    let refine_view = (!args.no_refine).then(|| RefineView::of(&health));
    let host = host.try_claim()?.map_err(|held| {
        let text = format!(
            "{} ingests into {}, wanted a data folder of its own for `rva run`: end that process, or name another --data-dir",
            held.who(),
            folder.root().display()
        );
        Refusal::in_use(text)
    })?;
    let _server = health.listen(config.health.address).await?;
    let _near = health.listen_locally(Role::Run, folder.root());
    let rows = RowsCommitted::default();
    let Some(ingesting) = host.start(Phase::Follow, false, rows.clone(), &stop).await? else {
        return Ok(Exit::Interrupted);
    };
    let tables = TableSettings::of(&loaded)?;
    let refining = match refine_view {
        Some(view) => Some(Refining::start(&tables, config, &drawings, view).await?),
        None => {
            drawings.write(&tables).await?;
            None
        }
    };

    let mut fleet = fleet.start(sink, config, videos.taps());
    let mut view = Some(ProgressView::start(terminal, fleet.views(), Some(rows.clone())));
    let reload = reread(args.sources, load_again, move |loaded, cameras| Ok(drawings.take(loaded, &ids_of(cameras))?));
    let summaries = {
        let mut on_change = |cameras| {
            // The old one's bars go first.
            view = None;
            view = Some(ProgressView::start(terminal, cameras, Some(rows.clone())));
        };
        let mut on_look = || {};
        let watching = fleet.watch(FleetView {
            health: Some(&health),
            reload: Some(reload),
            stop: &stop,
            on_change: &mut on_change,
            on_look: &mut on_look,
        });
        // Without an ingest there is no use in reading on.
        let ingest_lives = async {
            while !ingesting.is_over() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            stop.stop();
            std::future::pending().await
        };
        tokio::select! {
            summaries = watching => summaries?,
            () = ingest_lives => Vec::new(),
        }
    };
    drop(view);
    let mut exit = summaries.iter().map(|summary| end_of(summary, terminal)).fold(Exit::Done, Exit::worse);
    let ingested = ingesting.drain(config.ingest.stop_timeout, &stop).await;
    // The writer goes last: until everything is committed another run must not start.
    drop(fleet);
    if let Some(refining) = refining
        && let Err(error) = refining.drain(&stop).await
    {
        // Bronze is whole; `rva refine` goes on from where the tables are.
        terminal.say_error(&with_causes(&error));
        exit = exit.worse(Exit::Failure);
    }
    let (files, saved_exit) = finish_saving(videos, terminal).await?;
    exit = exit.worse(saved_exit);
    match ingested {
        Ok(report) => print_summary(&summaries, &files, &report, &folder, terminal),
        Err(error) => {
            terminal.say_error(&with_causes(&error));
            exit = exit.worse(Exit::Failure);
        }
    }
    Ok(exit)
}

/// Refuses one log for both: the log that a broker is fed from forgets what the broker has, and the one that tables are
/// fed from what they have.
fn check_publish(config: &Config) -> Result<(), Refusal> {
    match config.detector.publish {
        BusKind::Log => Ok(()),
        BusKind::Pulsar => Err(Refusal::usage(
            "found detector.publish pulsar, wanted log: `rva run` commits to the data folder's own tables; \
             rva-detector is the program that publishes",
        )),
    }
}

/// Waits for cameras that are made ready, and begins the video of each that is open. A source or video that can't be
/// opened or made stops the command before it has done anything.
///
/// # Errors
/// Returns the errors of the fleet, and an error for a video that can't be made.
pub async fn open(fleet: impl Future<Output = anyhow::Result<Fleet>>, videos: &Videos) -> anyhow::Result<Fleet> {
    let fleet = fleet.await?;
    for (camera, settings) in fleet.opened() {
        videos.tap(camera, settings)?;
    }
    Ok(fleet)
}

/// Returns whose zones and lines are drawn before there is a row of them.
fn ids_of(cameras: &[CameraPlan]) -> Vec<(StoreId, CameraId)> {
    cameras.iter().map(|camera| (camera.identity.store_id.clone(), camera.identity.camera_id.clone())).collect()
}

/// Ends the videos; one that failed is said, the rows are committed all the same.
pub async fn finish_saving(videos: Videos, terminal: &Terminal) -> anyhow::Result<(Vec<SavedFiles>, Exit)> {
    let finished = tokio::task::spawn_blocking(move || videos.finish()).await?;
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

/// Says why a camera ended, where that is not its own end, and what it means for the exit code.
pub fn end_of(summary: &CameraSummary, terminal: &Terminal) -> Exit {
    let failed = |error: &(dyn std::error::Error + Send + Sync), exit: Exit| {
        // A source's own errors begin with its name.
        let (uri, text) = (&summary.uri, error.to_string());
        terminal.say_error(&if text.starts_with(uri) { text } else { format!("{uri}: {text}") });
        exit
    };
    match &summary.end {
        CameraEnd::Finished => Exit::Done,
        CameraEnd::Stopped if summary.is_live => Exit::Done,
        CameraEnd::Stopped => Exit::Interrupted,
        CameraEnd::Incomplete(error) => failed(error, Exit::Incomplete),
        CameraEnd::NotOpened(error) => failed(error, of_vision(error)),
        CameraEnd::Failed(error) => failed(error, Exit::Failure),
        CameraEnd::SinkFailed(error) => failed(error, Exit::Failure),
    }
}

/// Says one line for each camera.
pub fn camera_lines(summaries: &[CameraSummary], terminal: &Terminal) {
    for summary in summaries {
        let (counts, seconds) = (&summary.counts, summary.elapsed.as_secs_f64());
        let fps = counts.records as f64 / seconds.max(0.001);
        let mut text = format!(
            "{}: {} frames in {seconds:.1} s ({fps:.1} frames/s), {} detections, {} tracks",
            summary.uri, counts.records, summary.detections, summary.tracks
        );
        let skipped = counts.frames.skipped;
        for (count, why) in [
            (skipped.by_stride, "skipped by the stride"),
            (skipped.by_overload, "skipped by overload"),
            (skipped.superseded, "superseded by newer ones"),
            (counts.records_rejected, "records refused by the log"),
            (counts.frames.times_replaced, "times that couldn't be right"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {why}"));
            }
        }
        if counts.openings + counts.openings_failed > 1 {
            text.push_str(&format!(", opened {} times, {} tries failed", counts.openings, counts.openings_failed));
        }
        if summary.is_live && counts.records > 0 {
            text.push_str(&format!(", from decoding to the log {}", counts.latency));
        }
        terminal.say(&text);
    }
}

fn print_summary(
    summaries: &[CameraSummary],
    files: &[SavedFiles],
    report: &IngestReport,
    folder: &DataFolder,
    terminal: &Terminal,
) {
    camera_lines(summaries, terminal);
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

/// Returns a path relative to the working directory, where it lies below it.
pub fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(path).display().to_string()
}

/// Returns a text as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

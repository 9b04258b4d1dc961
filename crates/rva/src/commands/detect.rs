//! `rva detect`: one source to NDJSON.

use crate::{
    annotated::Saving,
    cameras,
    cli::DetectArgs,
    commands::run::{begin_saving, camera_lines, end_of, finish_saving, open_cameras},
    exit::{Exit, Refusal},
    progress::{ProgressView, Watched},
    terminal::Terminal,
};
use rva_bus::NdjsonSink;
use rva_detector::{Observers, Progress, run_camera};
use rva_service::{Loaded, StopFlag};
use std::path::Path;
use tokio::sync::watch;

/// Detects, tracks, and writes one record a frame.
///
/// # Errors
/// What kept it from starting. What happens later is said, and in the exit code.
pub async fn run(args: DetectArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let sources: Vec<String> = args.source.into_iter().collect();
    let plans = cameras::plan(&sources, &loaded)?;
    if plans.len() > 1 {
        let text =
            format!("found {} cameras, wanted one source for `rva detect`; `rva run` takes several", plans.len());
        return Err(Refusal::usage(text).into());
    }
    let beside = args.output.parent().unwrap_or(Path::new("")).to_owned();
    let saving = Saving::plan(args.detection.save.as_deref(), &beside, plans.len())?;
    let ready = open_cameras(&loaded.config, plans).await?;

    let stop = StopFlag::on_signals()?;
    let mut sink = NdjsonSink::create(&args.output)?;
    let mut started = begin_saving(ready, &saving)?;
    let Some((camera, saving)) = started.pop() else { return Ok(Exit::Done) };
    let (tap, saved) = saving.map_or((None, None), |(tap, saved)| (Some(tap), Some(saved)));
    let (told, heard) = watch::channel(Progress { frames_total: camera.source.frame_count, ..Progress::default() });
    let watched = Watched {
        name: camera.settings.identity.camera_id.to_string(),
        progress: heard,
        vid_stride: camera.settings.pipeline.vid_stride.get(),
    };
    let view = ProgressView::start(terminal, vec![watched], None);
    let observers = Observers { tap, progress: told };
    let report = run_camera(camera.camera, camera.settings, &mut sink, observers, stop.shared().into()).await;
    drop(view);
    let exit = end_of(&report, terminal);
    let (files, saved_exit) = finish_saving(saved.into_iter().collect(), terminal).await?;
    camera_lines(std::slice::from_ref(&report), terminal);
    if args.output != Path::new("-") {
        terminal.say(&format!("{} records in {}", report.records, args.output.display()));
    }
    for file in files {
        file.say(terminal);
    }
    Ok(exit.worse(saved_exit))
}

//! `rva detect`: one source to NDJSON.

use crate::{
    annotated::{Saving, Videos},
    cli::DetectArgs,
    commands::run::{Ready, camera_lines, end_of, finish_saving},
    exit::{Exit, Refusal},
    progress::ProgressView,
    terminal::Terminal,
};
use rva_bus::NdjsonSink;
use rva_detector::{
    SharedSink, Watching,
    configured::{plan, specs},
    watch_cameras,
};
use rva_service::{Loaded, StopFlag};
use std::path::Path;

/// Detects, tracks, and writes one record a frame.
///
/// # Errors
/// Returns an error that kept it from starting. Later troubles are said, and are in the exit code.
pub async fn run(args: DetectArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let sources: Vec<_> = args.source.into_iter().collect();
    let cameras = plan(&sources, &loaded)?.cameras;
    if cameras.len() > 1 {
        let text =
            format!("found {} cameras, wanted one source for `rva detect`; `rva run` takes several", cameras.len());
        return Err(Refusal::usage(text).into());
    }
    let beside = args.output.parent().unwrap_or(Path::new("")).to_owned();
    let videos = Videos::new(Saving::plan(args.saving.save.as_deref(), &beside, cameras.len())?);
    let ready = Ready::now(specs(&cameras)?, &videos).await?;

    let stop = StopFlag::on_signals()?;
    let sink = SharedSink::new(NdjsonSink::create(&args.output)?);
    let mut supervisor = ready.start(sink, &loaded.config, &videos);
    let view = ProgressView::start(terminal, supervisor.views(), None);
    let stats_interval = loaded.config.detector.stats_interval;
    let watching = Watching { reload: None, stats_interval, stop: &stop, on_change: &mut |_| {}, on_look: &mut |_| {} };
    let summaries = watch_cameras(&mut supervisor, watching).await?;
    drop(view);
    let exit = summaries.iter().map(|summary| end_of(summary, terminal)).fold(Exit::Done, Exit::worse);
    let (files, saved_exit) = finish_saving(videos, terminal).await?;
    camera_lines(&summaries, terminal);
    if args.output != Path::new("-") {
        let records: u64 = summaries.iter().map(|summary| summary.counts.records).sum();
        terminal.say(&format!("{records} records in {}", args.output.display()));
    }
    for file in files {
        file.say(terminal);
    }
    Ok(exit.worse(saved_exit))
}

//! `rva detect`: one source to NDJSON.

use crate::{
    annotated::{Saving, Videos},
    cli::DetectArgs,
    commands::run::{camera_lines, end_of, finish_saving, open},
    exit::{Exit, Refusal},
    progress::ProgressView,
    terminal::Terminal,
};
use rva_bus::NdjsonSink;
use rva_detector::{Fleet, FleetView, SharedSink, configured::plan};
use rva_service::{Loaded, stop_on_signals};
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
    let fleet = open(Fleet::open(&cameras), &videos).await?;

    let stop = stop_on_signals()?;
    let sink = SharedSink::new(NdjsonSink::create(&args.output)?);
    let mut fleet = fleet.start(sink, &loaded.config, videos.taps());
    let view = ProgressView::start(terminal, fleet.views(), None);
    let watching = FleetView { health: None, reload: None, stop: &stop, on_change: &mut |_| {}, on_look: &mut || {} };
    let summaries = fleet.watch(watching).await?;
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

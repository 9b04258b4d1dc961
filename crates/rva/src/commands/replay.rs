//! `rva replay`: NDJSON files into the log.

use crate::{
    cli::ReplayArgs,
    commands::run::{shell_word, shown},
    exit::Exit,
    folder::DataFolder,
    terminal::Terminal,
};
use anyhow::Context;
use rva_bus::{LogWriter, ReplayOptions, ReplayReport, replay_file};
use rva_detector::configured::log_options;
use rva_service::{Loaded, StopFlag};
use std::fs::File;

/// Puts every line into the log. Lines that are no records become dead letters when they are ingested.
///
/// # Errors
/// A file can't be read, or the log can't be written.
pub async fn run(args: ReplayArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let folder = DataFolder::at(&loaded.config.data_dir)?;
    for path in &args.files {
        let file = File::open(path).with_context(|| format!("replay {}", path.display()))?;
        if file.metadata()?.is_dir() {
            anyhow::bail!("replay {}: found a folder, wanted an NDJSON file", path.display());
        }
    }
    let stop = StopFlag::on_signals()?;
    folder.make_writable()?;
    let (log, options) = (folder.log(), log_options(&loaded.config));
    let mut writer = tokio::task::spawn_blocking(move || LogWriter::open(log, options)).await??;
    let mut total = ReplayReport::default();
    for path in &args.files {
        let report = tokio::select! {
            report = replay_file(path, &mut writer, ReplayOptions::default()) => report?,
            () = stop.stopped() => {
                terminal.say(&format!("stopped in {}; what was read is in the log", path.display()));
                return Ok(Exit::Interrupted);
            }
        };
        total.lines += report.lines;
        total.sent += report.sent;
        total.bad += report.bad;
    }
    terminal.say(&format!(
        "{} lines read, {} records put into {}, {} of them can't be rows and will be dead letters\n\
         commit them with: rva ingest --drain --data-dir {}",
        total.lines,
        total.sent,
        folder.log().display(),
        total.bad,
        shell_word(&shown(folder.root()))
    ));
    Ok(Exit::Done)
}

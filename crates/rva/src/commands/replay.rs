//! `rva replay`: records of files into the log.

use crate::{
    cli::ReplayArgs,
    commands::run::{shell_word, shown},
    exit::{Exit, Refusal},
    folder::{Checks, absolute},
    terminal::Terminal,
};
use anyhow::Context;
use rva_bus::{LogWriter, ReplayOptions, Replayed, replay_file, replay_stream};
use rva_detector::configured::log_options;
use rva_service::{Loaded, stop_on_signals, stopped};
use std::{fs::File, path::Path};

/// The name of standard input, where a file is asked for.
const STDIN: &str = "-";

/// Puts every record into the log. A line that is none becomes a dead letter when it is ingested; where most of a file
/// is none, that is said with a guess what the file is.
///
/// # Errors
/// Returns an error where a file can't be read, or the log can't be written.
pub async fn run(args: ReplayArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let folder = absolute(&loaded.config.data_dir)?;
    check(&args)?;
    let stop = stop_on_signals()?;
    folder.make_writable()?;
    let (log, options) = (folder.log(), log_options(&loaded.config));
    let mut writer = tokio::task::spawn_blocking(move || LogWriter::open(log, options)).await??;
    let (mut lines, mut sent, mut bad) = (0, 0, 0);
    let mut exit = Exit::Done;
    for path in &args.files {
        let name = name_of(path);
        let replayed = tokio::select! {
            replayed = replay_one(path, &mut writer) => replayed?,
            () = stopped(&stop) => {
                terminal.say(&format!("stopped in {name}; what was read is in the log"));
                return Ok(Exit::Interrupted);
            }
        };
        lines += replayed.report.lines;
        sent += replayed.report.sent;
        bad += replayed.report.bad;
        if let Some(complaint) = complaint(&name, &replayed) {
            terminal.say_error(&complaint);
            exit = Exit::NoRecords;
        }
    }
    terminal.say(&format!(
        "{lines} lines read, {sent} records put into {}, {bad} of them can't be rows and will be dead letters\n\
         commit them with: rva ingest --drain --data-dir {}",
        folder.log().display(),
        shell_word(&shown(folder.root()))
    ));
    Ok(exit)
}

/// Checks the files: nothing is put into the log where one of the list can't be read.
fn check(args: &ReplayArgs) -> anyhow::Result<()> {
    if args.files.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Refusal::usage("found - more than once, wanted standard input once").into());
    }
    for path in args.files.iter().filter(|path| !is_stdin(path)) {
        let metadata = std::fs::metadata(path).with_context(|| format!("replay {}", path.display()))?;
        if metadata.is_dir() {
            anyhow::bail!("replay {}: found a folder, wanted an NDJSON file", path.display());
        }
        // A pipe is opened once, by who reads it.
        if metadata.is_file() {
            File::open(path).with_context(|| format!("replay {}", path.display()))?;
        }
    }
    Ok(())
}

async fn replay_one(path: &Path, writer: &mut LogWriter) -> Result<Replayed, rva_bus::BusError> {
    let options = ReplayOptions::default();
    if is_stdin(path) {
        return replay_stream(std::io::stdin(), STDIN, writer, options).await;
    }
    replay_file(path, writer, options).await
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

fn name_of(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Returns what is wrong with a file as a whole.
fn complaint(name: &str, replayed: &Replayed) -> Option<String> {
    let Replayed { report, looks_like, is_refused } = replayed;
    if *is_refused {
        let what = looks_like.unwrap_or("something else");
        return Some(format!("{name}: found {what}, wanted frame records; nothing of it was put into the log"));
    }
    if !report.is_mostly_bad() {
        return None;
    }
    let guess = looks_like.map_or_else(String::new, |what| format!("; it looks like {what}"));
    let place = "SELECT reason, detail, properties FROM bronze_dead_letters";
    Some(format!(
        "{name}: found {} records that are none among {}, wanted frame records{guess}; they will be dead letters: see \
         `rva query \"{place}\"` after the ingest",
        report.bad, report.sent
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_bus::ReplayReport;

    #[test]
    fn a_file_is_complained_about_where_most_of_it_is_no_record() {
        let of = |sent, bad| {
            let report = ReplayReport { lines: sent, sent, bad };
            complaint("x", &Replayed { report, looks_like: Some("CSV"), is_refused: false })
        };
        assert_eq!((of(0, 0), of(2, 1), of(100, 50)), (None, None, None));
        let text = of(3, 2).unwrap();
        assert!(text.contains("2 records that are none among 3") && text.contains("looks like CSV"), "{text}");
        assert!(of(1, 1).is_some());
    }
}

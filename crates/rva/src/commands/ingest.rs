//! `rva ingest`: the log into the tables.

use crate::{
    cli::IngestArgs,
    embedded,
    exit::Exit,
    folder::{Checks, absolute},
    terminal::Terminal,
};
use rva_ingest::{HeldBy, IngestEnd, IngestReport, Phase};
use rva_service::{Health, Loaded, Role, stop_on_signals};

/// Follows the log, or brings it to its end with `--drain`.
///
/// # Errors
/// Returns an error where folder, log or tables can't be used, or they don't fit together.
pub async fn run(args: IngestArgs, mut loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let folder = absolute(&loaded.config.data_dir)?;
    folder.wants_log()?;
    folder.make_writable()?;
    loaded.config.data_dir = folder.root().to_owned();
    let health = Health::new();
    let host = embedded::host(&loaded, &health)?;
    let stop = stop_on_signals()?;
    let say = |held: HeldBy| terminal.say(&format!("standby: {}", held.waiting_for(folder.root())));
    let Some(host) = host.claim(&stop, say).await? else { return Ok(Exit::Done) };
    let _server = health.listen(loaded.config.health.address).await?;
    let _near = health.listen_locally(Role::Ingest, folder.root());
    let phase = if args.drain { Phase::Drain } else { Phase::Follow };
    let Some(ingesting) = host.start(phase, false, (), &stop).await? else { return Ok(Exit::Done) };
    let report = if args.drain {
        ingesting.drain(loaded.config.ingest.stop_timeout, &stop).await?
    } else {
        terminal.say(&format!("following {}; Ctrl-C commits what was read and ends", folder.log().display()));
        ingesting.follow(&stop).await?
    };
    summary(&report, terminal);
    let is_cut_off = args.drain && report.end == IngestEnd::Stopped;
    Ok(if is_cut_off { Exit::Interrupted } else { Exit::Done })
}

/// Says what an ingest did, each reason for which a message didn't become a row included.
pub fn summary(report: &IngestReport, terminal: &Terminal) {
    let counters = &report.counters;
    let mut text = format!("{} rows committed to rva.bronze_raw in {} commits", counters.rows, counters.commits);
    if counters.rows_known > 0 {
        text.push_str(&format!(", {} were there already", counters.rows_known));
    }
    if counters.dead_letters_total() > 0 {
        let reasons: Vec<String> = counters.dead_letters.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let (total, reasons) = (counters.dead_letters_total(), reasons.join(", "));
        text.push_str(&format!("; {total} dead letters in rva.bronze_dead_letters ({reasons})"));
    }
    if counters.records_lost > 0 {
        text.push_str(&format!("; {} records were lost before they were read", counters.records_lost));
    }
    terminal.say(&text);
}

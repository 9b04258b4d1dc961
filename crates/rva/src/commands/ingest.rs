//! `rva ingest`: the log into the tables.

use crate::{
    cli::IngestArgs,
    embedded::{Ingesting, RowsCommitted, maintaining},
    exit::Exit,
    folder::{Checks, absolute},
    terminal::Terminal,
};
use rva_bus::settle;
use rva_detector::configured::log_options;
use rva_ingest::{HeldBy, IngestEnd, IngestLease, IngestReport, service::ServiceView};
use rva_service::{Health, Loaded, StopFlag};
use rva_types::DataFolder;

/// Follows the log, or brings it to its end with `--drain`.
///
/// # Errors
/// Returns an error where folder, log or tables can't be used, or they don't fit together.
pub async fn run(args: IngestArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let folder = absolute(&loaded.config.data_dir)?;
    folder.wants_log()?;
    folder.make_writable()?;
    let stop = StopFlag::on_signals()?;
    let say = |held: HeldBy| terminal.say(&standby_text(held, &folder));
    let lease = tokio::select! {
        lease = IngestLease::acquire(folder.root(), say) => lease?,
        () = stop.stopped() => return Ok(Exit::Done),
    };
    settle(folder.log(), log_options(&loaded.config)).await?;
    let health = Health::new();
    let _server = health.listen(loaded.config.health.address).await?;
    let view = ServiceView::of(health.clone());
    let rows = RowsCommitted::default();
    let ingest = Ingesting::start(&folder, &loaded.config, args.accept_gap, lease, rows, view).await?;
    let _maintenance = if args.drain { None } else { maintaining(&folder, &loaded.config, &health)? };
    if !args.drain {
        terminal.say(&format!("following {}; Ctrl-C commits what was read and ends", folder.log().display()));
    }
    let report = if args.drain { ingest.drain(&stop).await? } else { ingest.follow(&stop).await? };
    summary(&report, terminal);
    let is_cut_off = args.drain && report.end == IngestEnd::Stopped;
    Ok(if is_cut_off { Exit::Interrupted } else { Exit::Done })
}

fn standby_text(held: HeldBy, folder: &DataFolder) -> String {
    let who = held.pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    format!("standby: {who} ingests into {}; this one takes over when it ends", folder.root().display())
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

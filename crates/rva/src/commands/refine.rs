//! `rva refine`: silver and gold from bronze.

use crate::{
    cli::RefineArgs,
    exit::{Exit, Refusal},
    folder::table_settings_to_write,
    terminal::Terminal,
};
use rva_refine::{
    Rebuild, RefineCounters,
    service::{Asked, serve},
};
use rva_service::{LoadAgain, Loaded, stop_on_signals};

/// Follows bronze, brings the tables to its end with `--drain`, or works some out again with `--rebuild`.
///
/// # Errors
/// Returns why folder or tables can't be used, or what of the arguments is refused.
pub async fn run(args: RefineArgs, loaded: Loaded, load_again: LoadAgain, terminal: &Terminal) -> anyhow::Result<Exit> {
    let asked = match &args.rebuild {
        Some(table) => {
            let rebuild = Rebuild::parse(table, args.from.as_deref(), args.to.as_deref());
            Asked::Rebuild(rebuild.map_err(Refusal::usage)?)
        }
        None if args.drain => Asked::Drain,
        None => Asked::Follow,
    };
    let settings = table_settings_to_write(&loaded)?;
    let stop = stop_on_signals()?;
    let started = || terminal.say(&format!("following {}; Ctrl-C ends", settings.tables));
    let Some(counters) = serve(&settings, &loaded, asked, load_again, &stop, started).await? else {
        return Ok(Exit::Interrupted);
    };
    summary(&counters, terminal);
    Ok(Exit::Done)
}

/// Says what a refinement did: rows read, hours worked out, commits, and rejects where there are any.
fn summary(counters: &RefineCounters, terminal: &Terminal) {
    let commits: u64 = counters.commits.values().sum();
    let mut text = format!(
        "{} rows of bronze, {} hours of cameras worked out, {commits} commits",
        counters.bronze_rows, counters.hours
    );
    let rejects: u64 = counters.rejects.values().sum();
    if rejects > 0 {
        let reasons: Vec<String> =
            counters.rejects.iter().map(|(reason, count)| format!("{} {count}", reason.code())).collect();
        text.push_str(&format!("; {rejects} rejects in rva.silver_rejects ({})", reasons.join(", ")));
    }
    terminal.say(&text);
}

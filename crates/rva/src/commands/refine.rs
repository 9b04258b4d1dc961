//! `rva refine`: silver and gold from bronze.

use super::run::LoadAgain;
use crate::{
    cli::RefineArgs,
    drawings::Drawings,
    exit::{Exit, Refusal},
    folder::DataFolder,
    refining::{Refining, open},
    terminal::Terminal,
};
use rva_refine::{METRICS, Rebuild, RebuildTables, RefineCounters};
use rva_service::{Health, Loaded, StopFlag, Totals};
use rva_types::Timestamp;
use std::convert::Infallible;
use tokio::signal::unix::{SignalKind, signal};

/// The name of the loop as a part of the health.
const REFINE: &str = "refine";

/// Follows bronze, brings the tables to its end with `--drain`, or works some out again with `--rebuild`.
///
/// # Errors
/// Returns why folder or tables can't be used, or what of the arguments is refused.
pub async fn run(args: RefineArgs, loaded: Loaded, load_again: LoadAgain, terminal: &Terminal) -> anyhow::Result<Exit> {
    let rebuild = rebuild(&args)?;
    let folder = DataFolder::at(&loaded.config.data_dir)?;
    folder.wants_tables()?;
    folder.make_writable()?;
    let stop = StopFlag::on_signals()?;
    let drawings = Drawings::of(&loaded, &[])?;
    if let Some(rebuild) = rebuild {
        let mut refine = open(&folder, &loaded.config, drawings.newest()).await?;
        tokio::select! {
            done = refine.rebuild(&rebuild) => done?,
            () = stop.stopped() => return Ok(Exit::Interrupted),
        }
        summary(&refine.counters, terminal);
        return Ok(Exit::Done);
    }
    let health = Health::new();
    let totals = Totals::of(METRICS);
    health.show(totals.clone());
    health.not_ready(REFINE, "not started yet");
    let _server = health.listen(loaded.config.health.address).await?;
    let told = move |counters: &RefineCounters, trouble: Option<&str>| {
        totals.latest().clone_from(counters);
        match trouble {
            Some(trouble) => health.not_ready(REFINE, trouble.to_owned()),
            None => health.ready(REFINE),
        }
    };
    let refining = Refining::start_telling(&folder, &loaded.config, &drawings, Box::new(told)).await?;
    let counters = if args.drain {
        refining.drain(&stop).await?
    } else {
        terminal.say(&format!("following {}; Ctrl-C ends", folder.catalog().display()));
        tokio::select! {
            counters = refining.follow(&stop) => counters?,
            never = redraw(load_again, drawings) => match never? {},
        }
    };
    summary(&counters, terminal);
    Ok(if args.drain && stop.is_stopped() { Exit::Interrupted } else { Exit::Done })
}

/// Takes zones and lines anew whenever SIGHUP says that the configuration is another one. A file with a problem changes
/// nothing.
async fn redraw(load_again: LoadAgain, drawings: Drawings) -> std::io::Result<Infallible> {
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        if hangup.recv().await.is_none() {
            return std::future::pending().await;
        }
        let taken = load_again().map_err(anyhow::Error::from).and_then(|loaded| Ok(drawings.take(&loaded, &[])?));
        if let Err(error) = taken {
            let error = format!("{error:#}");
            tracing::error!(%error, "found a configuration that can't be used, nothing is changed");
        }
    }
}

/// Returns a day's first moment and its end, in microseconds since 1970.
///
/// # Errors
/// Returns a refusal that names the flag, where the text isn't a day like 2026-01-31.
pub fn day(flag: &str, text: &str) -> Result<(i64, i64), Refusal> {
    const DAY_US: i64 = 86_400_000_000;
    let start = Timestamp::parse(&format!("{text}T00:00:00Z"));
    let start = start.map_err(|_| Refusal::usage(format!("{flag}: found {text:?}, wanted a day like 2026-01-31")))?;
    Ok((start.as_micros(), start.as_micros() + DAY_US))
}

fn rebuild(args: &RefineArgs) -> Result<Option<Rebuild>, Refusal> {
    let Some(name) = &args.rebuild else { return Ok(None) };
    let tables = RebuildTables::parse(name).ok_or_else(|| {
        Refusal::usage(format!("--rebuild: found {name:?}, wanted one of {}", RebuildTables::names().join(", ")))
    })?;
    let span = match &args.from {
        None => None,
        Some(from) => {
            let first = day("--from", from)?;
            let last = args.to.as_ref().map_or(Ok(first), |to| day("--to", to))?;
            if last.1 <= first.0 {
                let text =
                    format!("--to: found {}, wanted a day that isn't before {from}", args.to.as_deref().unwrap_or(""));
                return Err(Refusal::usage(text));
            }
            Some((first.0, last.1))
        }
    };
    Ok(Some(Rebuild { tables, span }))
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

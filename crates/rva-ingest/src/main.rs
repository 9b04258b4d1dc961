//! `rva-ingest`: from the embedded log or Pulsar into bronze tables, embedded or in a REST catalog.

use anyhow::Context;
use clap::Parser;
use rva_ingest::service::{Arguments, Asked, Settings, serve};
use rva_service::{ConfigError, Loaded, init_telemetry, raise_open_files, stop_on_signals};
use std::{process::ExitCode, time::Duration};

// A row is a few short strings and a long one: with glibc's allocator a fifth of the time went into making and freeing
// them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time that the runtime may still hold things when all is done: a name being looked up, a file being read.
const LEFTOVERS_MAX: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A huge page is held for whatever is left in it: a quarter of the memory under a full load. Where it can't be had,
    // nothing is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let (loaded, settings) = match configuration(&arguments) {
        Ok(configuration) => configuration,
        Err(error) => {
            eprintln!("rva-ingest: {}", rva_service::scrub(&error.to_string()));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = init_telemetry(&loaded.config.telemetry, std::io::stderr) {
        eprintln!("rva-ingest: {error}");
        return ExitCode::from(2);
    }
    rva_service::warn_of_plain_text(&loaded.config);
    raise_open_files();
    match run(&arguments, settings, &loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(arguments: &Arguments) -> Result<(Loaded, Settings), ConfigError> {
    let loaded = arguments.load()?;
    #[cfg_attr(not(feature = "mutants"), expect(unused_mut, reason = "only a mutant changes them"))]
    let mut settings = Settings::of(&loaded)?;
    #[cfg(feature = "mutants")]
    if let Some(mutant) = arguments.mutant {
        mutant.apply(&mut settings);
    }
    Ok((loaded, settings))
}

fn run(arguments: &Arguments, settings: Settings, loaded: &Loaded) -> anyhow::Result<()> {
    // Before anything else: a signal that comes early stops cleanly too.
    let stop = stop_on_signals().context("install the signal actions")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let asked = Asked { init: arguments.init, drain: arguments.drain, step_pause: arguments.step_pause };
    let result = runtime.block_on(serve(settings, asked, loaded.config.health.address, stop));
    runtime.shutdown_timeout(LEFTOVERS_MAX);
    let Some(report) = result? else { return Ok(()) };
    let counters = &report.counters;
    tracing::info!(
        rows = counters.rows,
        rows_known = counters.rows_known,
        dead_letters = counters.dead_letters_total(),
        commits = counters.commits,
        "{:?}: offsets {}",
        report.end,
        report.offsets.to_text()
    );
    Ok(())
}

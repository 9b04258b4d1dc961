//! `rva-refine`: silver and gold from bronze, in a data folder or a REST catalog.

use anyhow::Context;
use clap::Parser;
use rva_refine::service::{Arguments, Asked, serve};
use rva_service::{Loaded, init_telemetry, raise_open_files, stop_on_signals, tables::TableSettings};
use std::{process::ExitCode, time::Duration};

// Rows are short strings and lists of cells, made and freed by the million.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time that the runtime may still hold things when all is done: a name being looked up, a file being read.
const LEFTOVERS_MAX: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (loaded, tables, asked) = match configuration(&arguments) {
        Ok(configuration) => configuration,
        Err(error) => {
            eprintln!("rva-refine: {}", rva_service::scrub(&format!("{error:#}")));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = init_telemetry(&loaded.config.telemetry, std::io::stderr) {
        eprintln!("rva-refine: {error}");
        return ExitCode::from(2);
    }
    rva_service::warn_of_plain_text(&loaded.config);
    raise_open_files();
    match run(arguments, &loaded, &tables, asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(arguments: &Arguments) -> anyhow::Result<(Loaded, TableSettings, Asked)> {
    let asked = arguments.asked().map_err(anyhow::Error::msg)?;
    let loaded = arguments.load()?;
    let tables = TableSettings::of(&loaded)?;
    Ok((loaded, tables, asked))
}

fn run(arguments: Arguments, loaded: &Loaded, tables: &TableSettings, asked: Asked) -> anyhow::Result<()> {
    // Before anything else: a signal that comes early stops cleanly too.
    let stop = stop_on_signals().context("install the signal actions")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let load_again = Box::new(move || arguments.load());
    let started = || tracing::info!(tables = %tables.tables, "following bronze");
    let result = runtime.block_on(serve(tables, loaded, asked, load_again, &stop, started));
    runtime.shutdown_timeout(LEFTOVERS_MAX);
    match result? {
        Some(counters) => tracing::info!(
            bronze_rows = counters.bronze_rows,
            hours = counters.hours,
            commits = counters.commits.values().sum::<u64>(),
            rejects = counters.rejects.values().sum::<u64>(),
            position = counters.position,
            "done"
        ),
        None => tracing::info!("stopped before it was done; each table stays at its position"),
    }
    Ok(())
}

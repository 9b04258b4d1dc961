//! `rva init`: topic, subscription and tables, each where it is missing.

use crate::{cli::InitArgs, exit::Exit, terminal::Terminal};
use anyhow::Context;
use rva_ingest::service::{Asked, Settings, serve};
use rva_service::{BusKind, Loaded, stop_on_signals};

/// Makes everything that is missing and touches nothing that is there.
///
/// # Errors
/// Returns an error for a server that can't be reached or refuses, and for a thing that is there and doesn't fit.
pub async fn run(_: InitArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let settings = Settings::of(&loaded)?;
    let tables = settings.tables.tables.to_string();
    let stop = stop_on_signals().context("install the signal actions")?;
    serve(settings, Asked { init: true, ..Asked::default() }, None, stop.clone()).await?;
    if stop.is_set() {
        return Ok(Exit::Interrupted);
    }
    let config = &loaded.config;
    let bus = match config.bus.kind {
        BusKind::Log => format!("the log in {}", config.data_dir.display()),
        BusKind::Pulsar => format!("{} at {}", config.pulsar.topic, config.pulsar.service_url),
    };
    terminal.say(&format!("{bus} and {tables} are set up"));
    Ok(Exit::Done)
}

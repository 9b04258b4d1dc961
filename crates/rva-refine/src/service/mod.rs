//! The service around the loop: configuration, opening, health, stopping.

mod args;
mod drawings;
mod refining;

pub use args::Arguments;
pub use drawings::Drawings;
pub use refining::{RefineView, Refining, bring_up, open, rules_of};

use crate::{Rebuild, RefineCounters};
use anyhow::Context;
use rva_service::{
    Health, LoadAgain, Loaded, Role, StopFlag, stopped,
    tables::{TableSettings, Tables},
};
use std::convert::Infallible;
use tokio::signal::unix::{SignalKind, signal};

/// The request of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Follows bronze until it is stopped.
    Follow,
    /// Brings every table to bronze's end.
    Drain,
    /// Works tables out again.
    Rebuild(Rebuild),
}

/// Opens the tables and does what was asked for; `None` where it was stopped before that was done. `started` is called
/// once tables are followed.
///
/// # Errors
/// Returns why the tables can't be opened, or what ended the work; each table stays at its position.
pub async fn serve(
    tables: &TableSettings,
    loaded: &Loaded,
    asked: Asked,
    load_again: LoadAgain,
    stop: &StopFlag,
    started: impl FnOnce(),
) -> anyhow::Result<Option<RefineCounters>> {
    let config = &loaded.config;
    let drawings = Drawings::of(loaded, &[])?;
    if let Asked::Rebuild(rebuild) = asked {
        let mut refine = open(tables, config, drawings.newest()).await.context("open the tables")?;
        return tokio::select! {
            done = refine.rebuild(&rebuild) => {
                done?;
                Ok(Some(refine.counters))
            }
            () = stopped(stop) => Ok(None),
        };
    }
    let health = Health::new();
    let view = RefineView::of(&health);
    let _near = match &tables.tables {
        Tables::Embedded(folder) => {
            health.show_disk(folder);
            health.listen_locally(Role::Refine, folder)
        }
        _ => None,
    };
    let _server = health.listen(config.health.address).await?;
    let refining = tokio::select! {
        refining = Refining::start(tables, config, &drawings, view) => refining?,
        () = stopped(stop) => return Ok(None),
    };
    if asked == Asked::Drain {
        let counters = refining.drain(stop).await?;
        return Ok((!stop.is_set()).then_some(counters));
    }
    started();
    tokio::select! {
        counters = refining.follow(stop) => counters.map(Some),
        never = redraw(load_again, drawings) => match never? {},
    }
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
            tracing::error!("found a configuration that can't be used, nothing is changed: {error:#}");
        }
    }
}

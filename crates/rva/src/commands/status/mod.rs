//! `rva status`: how everything is, on one screen.
//!
//! A service is asked twice for what it tells Prometheus, a second apart: counts become rates, and what the alerting
//! rules would find is found here ([`judge`]). The tables are looked at beside it.

mod ask;
mod judge;
mod samples;
mod screen;
mod service;

use crate::{
    exit::{Exit, Refusal},
    folder::{absolute, lake_to_read},
    output::to_stdout,
    shared_args::FolderArgs,
};
use anyhow::Context;
use ask::Service;
use clap::{Args, ValueEnum};
use futures::future::join_all;
use judge::Finding;
use rva_service::{CatalogKind, Loaded, stop_on_signals, stopped};
use rva_types::DataFolder;
use serde::Serialize;
use service::{Look, ServiceStatus};
use std::{
    io::{self, IsTerminal},
    time::{Duration, SystemTime},
};

/// Text below its help.
pub const HELP: &str = "\
Asks `rva run`, `rva ingest` and `rva refine` that work in the data folder, and whatever answers at health.address or at
the addresses of --url: every service has the same /ready and /metrics. Names of what is wrong are those of the alerts
(docs/runbooks.md). Exit code: 0 where nothing is wrong, 1 where something is.";

/// The time between two looks at the services.
const BETWEEN: Duration = Duration::from_secs(1);

/// The form in which a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// A screen, for people
    Table,
    /// One object a look, on a line
    Json,
}

/// `rva status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// A service that is asked, like http://detector:8080; may be given several times [default: those of the data folder
    /// and of health.address]
    #[arg(long, value_name = "URL")]
    pub url: Vec<String>,
    /// Look again every so many seconds, until Ctrl-C; in place on a terminal
    #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub watch: Option<u32>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,
    /// Where the tables are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// The state of everything.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    pub services: Vec<ServiceStatus>,
    pub tables: Vec<TableStatus>,
    pub disk_free_bytes: Option<f64>,
    pub disk_size_bytes: Option<f64>,
    /// What would alert if it stayed.
    pub findings: Vec<Finding>,
}

/// The state of a table.
#[derive(Debug, Default, Serialize)]
pub struct TableStatus {
    pub table: String,
    pub rows: u64,
    pub files: u64,
    pub bytes: u64,
    pub snapshots: u64,
    pub last_commit_age_seconds: Option<f64>,
}

/// Shows how everything is, once or again and again.
///
/// # Errors
/// Returns an error for an address that is none, where there is neither a service nor a table to look at, and where
/// tables can't be read.
pub async fn run(args: StatusArgs, loaded: Loaded) -> anyhow::Result<Exit> {
    let folder = absolute(&loaded.config.data_dir)?;
    let asked = args.url.iter().map(|url| Service::at(url)).collect::<Result<Vec<_>, _>>();
    let asked = asked.map_err(|error| Refusal::usage(format!("{error:#}")))?;
    let stop = stop_on_signals()?;
    let every = args.watch.map(|seconds| Duration::from_secs(seconds.into()));
    let in_place = args.format == StatusFormat::Table && every.is_some() && io::stdout().is_terminal();
    loop {
        // Who works in the folder may be another one now.
        let services = if asked.is_empty() { near(&loaded, &folder).await? } else { asked.clone() };
        let looking = async {
            let before = look(&services).await;
            tokio::time::sleep(every.map_or(BETWEEN, |every| every.min(BETWEEN))).await;
            (before, look(&services).await)
        };
        let (before, now) = tokio::select! {
            looks = looking => looks,
            () = stopped(&stop) => return Ok(if every.is_some() { Exit::Done } else { Exit::Interrupted }),
        };
        let status = status(&services, &before, &now, &loaded, &folder, asked.is_empty()).await?;
        to_stdout(&match args.format {
            StatusFormat::Json => format!("{}\n", serde_json::to_string(&status)?),
            StatusFormat::Table if in_place => redrawn(&screen::as_text(&status)),
            StatusFormat::Table => screen::as_text(&status),
        })?;
        let Some(every) = every else {
            return Ok(if status.findings.is_empty() { Exit::Done } else { Exit::Failure });
        };
        tokio::select! {
            () = tokio::time::sleep(every.saturating_sub(BETWEEN)) => {}
            () = stopped(&stop) => return Ok(Exit::Done),
        }
    }
}

/// Returns a screen that takes the place of the one before: from the upper left corner on, each line to its end.
fn redrawn(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\u{1b}[K\n")).collect();
    format!("\u{1b}[H{lines}\u{1b}[J")
}

/// Returns the services that the configuration tells of.
async fn near(loaded: &Loaded, folder: &DataFolder) -> anyhow::Result<Vec<Service>> {
    let mut services = Service::in_folder(folder.root()).await?;
    if let Some(address) = loaded.config.health.address.filter(|_| services.is_empty()) {
        services.push(Service::at(&address.to_string())?);
    }
    Ok(services)
}

async fn look(services: &[Service]) -> Vec<Look> {
    join_all(services.iter().map(Look::at)).await
}

async fn status(
    services: &[Service],
    before: &[Look],
    now: &[Look],
    loaded: &Loaded,
    folder: &DataFolder,
    with_tables: bool,
) -> anyhow::Result<Status> {
    let looks = services.iter().zip(before.iter().zip(now));
    let services: Vec<_> =
        looks.map(|(service, (before, now))| ServiceStatus::of(&service.name, before, now)).collect();
    let findings = services.iter().flat_map(judge::findings).collect();
    let mut status = Status { services, findings, ..Status::default() };
    let is_embedded = loaded.config.catalog.kind == CatalogKind::Embedded;
    // Services elsewhere have their tables elsewhere.
    let has_tables = with_tables && (!is_embedded || folder.catalog().exists());
    if has_tables {
        let lake = lake_to_read(loaded).await?;
        let now = SystemTime::now().into();
        let age = |commit: rva_types::Timestamp| micros_between(commit, now) as f64 / 1e6;
        let of = |table: rva_lake::TableSummary| TableStatus {
            table: table.name,
            rows: table.rows,
            files: table.files,
            bytes: table.bytes,
            snapshots: table.snapshots,
            last_commit_age_seconds: table.last_commit.map(age),
        };
        status.tables = lake.tables().await?.into_iter().map(of).collect();
        if is_embedded {
            let room = fs4::statvfs(folder.root()).context("look at the disk of the data folder")?;
            status.disk_free_bytes = Some(room.available_space() as f64);
            status.disk_size_bytes = Some(room.total_space() as f64);
        }
    }
    if status.services.is_empty() && status.tables.is_empty() {
        anyhow::bail!(
            "found no service that works in {} and no tables there, wanted `rva run` to have begun there, or the address \
             of a service (--url, health.address)",
            folder.root().display()
        );
    }
    Ok(status)
}

fn micros_between(before: rva_types::Timestamp, after: rva_types::Timestamp) -> i64 {
    after.as_micros().saturating_sub(before.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_the_one_before() {
        assert_eq!(redrawn("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }
}

//! The command line.

use clap::Parser;
use rva_service::{ConfigError, Given, Loaded, ServiceArgs, parse_duration};
use std::time::Duration;

const AFTER: &str = "\
Everything else is configuration: rva.yaml or --config, or the environment (docs/ingest.md; `rva config show` prints it).

Exit codes: 0 done, or stopped by one signal; 1 failure; 2 usage or configuration, nothing was started; 130 and 143
stopped at once by a second signal.";

/// Reads records from the embedded log or from Pulsar into Iceberg tables, every event once.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER)]
pub struct Arguments {
    #[command(flatten)]
    service: ServiceArgs,
    /// Where records are: log or pulsar [default: log]
    #[arg(long, value_name = "KIND")]
    bus: Option<String>,
    /// Where the tables are: embedded or rest [default: embedded]
    #[arg(long, value_name = "KIND")]
    catalog: Option<String>,
    /// The data folder: holds `log/`, `catalog.db` and `warehouse/` [default: rva-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Make topic, subscription and tables where they are missing, and end
    #[arg(long, conflicts_with = "drain")]
    pub init: bool,
    /// Stop when everything in the log is committed
    #[arg(long)]
    pub drain: bool,
    /// Longest time between reading a message and committing it [default: 10s]
    #[arg(long, value_name = "DURATION")]
    commit_interval: Option<String>,
    /// Commit when this much was read [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    commit_bytes: Option<String>,
    /// Most that is held in memory [default: 96MiB]
    #[arg(long, value_name = "SIZE")]
    buffered_bytes_max: Option<String>,
    /// When the table was rolled back: rewind (read the log again from there) or halt [default: rewind]
    #[arg(long, value_name = "POLICY")]
    on_rollback: Option<String>,
    /// Go on where the log has lost records that the table lacks, or may have
    #[arg(long)]
    accept_gap: bool,
    /// Age at which a data file that no snapshot names is removed [default: 1d]
    #[arg(long, value_name = "DURATION")]
    orphan_age: Option<String>,
    /// Pause after each step of a commit, so that a test can hit every one of them
    #[arg(long, hide = true, default_value = "0", value_parser = parse_duration)]
    pub step_pause: Duration,
    /// Break a rule of exactly once, so that a test can show that it notices; only in a build for tests
    #[cfg(feature = "mutants")]
    #[arg(long, hide = true, value_enum)]
    pub mutant: Option<super::Mutant>,
}

impl Arguments {
    /// Loads the merged configuration.
    ///
    /// # Errors
    /// Returns all its problems.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut given = Given::default();
        for (path, flag, text) in [
            ("bus.kind", "--bus", &self.bus),
            ("catalog.kind", "--catalog", &self.catalog),
            ("data_dir", "--data-dir", &self.data_dir),
            ("ingest.commit_interval", "--commit-interval", &self.commit_interval),
            ("ingest.commit_bytes", "--commit-bytes", &self.commit_bytes),
            ("ingest.buffered_bytes_max", "--buffered-bytes-max", &self.buffered_bytes_max),
            ("ingest.on_rollback", "--on-rollback", &self.on_rollback),
            ("ingest.orphan_age", "--orphan-age", &self.orphan_age),
        ] {
            given.text(path, flag, text.as_ref());
        }
        given.on("ingest.accept_gap", "--accept-gap", self.accept_gap);
        self.service.load(given)
    }
}

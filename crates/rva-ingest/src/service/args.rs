//! The command line. The configuration's table of keys says which values are allowed, so that a flag, a variable and a
//! file are checked alike.

use clap::Parser;
use rva_service::{ConfigError, Loaded, Override, load_of_process, parse_duration};
use std::{path::PathBuf, time::Duration};

const AFTER: &str = "\
Everything else is configuration: rva.yaml or --config, or the environment (docs/ingest.md; `rva config show` prints it).

Exit codes: 0 done, or stopped by one signal; 1 failure; 2 usage or configuration, nothing was started; 130 and 143
stopped at once by a second signal.";

/// Reads records from the embedded log or from Pulsar into Iceberg tables, every event once.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER)]
pub struct Arguments {
    /// Configuration file [default: rva.yaml, where there is one]
    #[arg(long, env = "RVA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
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
    /// Where /live, /ready and /metrics answer, like 0.0.0.0:8080 [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    health_address: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug, trace, or directives like `info,rva_lake=debug` [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Arguments {
    /// Loads the merged configuration.
    ///
    /// # Errors
    /// Returns all its problems.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let accept_gap = self.accept_gap.then(|| "true".to_owned());
        let given = [
            ("bus.kind", "--bus", &self.bus),
            ("catalog.kind", "--catalog", &self.catalog),
            ("data_dir", "--data-dir", &self.data_dir),
            ("ingest.commit_interval", "--commit-interval", &self.commit_interval),
            ("ingest.commit_bytes", "--commit-bytes", &self.commit_bytes),
            ("ingest.buffered_bytes_max", "--buffered-bytes-max", &self.buffered_bytes_max),
            ("ingest.on_rollback", "--on-rollback", &self.on_rollback),
            ("ingest.accept_gap", "--accept-gap", &accept_gap),
            ("ingest.orphan_age", "--orphan-age", &self.orphan_age),
            ("health.address", "--health-address", &self.health_address),
            ("telemetry.log_format", "--log-format", &self.log_format),
            ("telemetry.log_level", "--log-level", &self.log_level),
        ];
        let overrides = given.into_iter().filter_map(|(path, flag, text)| {
            Some(Override { path, flag, text: text.clone()? }) //
        });
        load_of_process(self.config.as_deref(), overrides.collect())
    }
}

//! Flags that stand for keys of the configuration, as all programs have them. The table of keys says which values are
//! allowed, so that a flag, a variable and a file are checked alike and all problems are reported at once.

use crate::{ConfigError, Loaded, Override, load_of_process};
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Gathers the flags that were given.
#[derive(Debug, Default)]
pub struct Given(Vec<Override>);

impl Given {
    /// Takes a flag with a value.
    pub fn text(&mut self, path: &'static str, flag: &'static str, value: Option<&String>) {
        self.0.extend(value.map(|text| Override { path, flag, text: text.clone() }));
    }

    /// Takes a flag without one.
    pub fn on(&mut self, path: &'static str, flag: &'static str, is_on: bool) {
        self.text(path, flag, is_on.then(|| "true".to_owned()).as_ref());
    }

    /// Returns all that were given.
    pub fn overrides(self) -> Vec<Override> {
        self.0
    }
}

/// The flags of every program: where the configuration is, and how log lines look.
#[derive(Debug, Clone, Args)]
pub struct ProgramArgs {
    /// Configuration file [default: rva.yaml, where there is one]
    #[arg(long, global = true, env = "RVA_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// How log lines look: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug, trace, or directives like info,rva_lake=debug [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl ProgramArgs {
    /// Adds those that were given.
    pub fn give(&self, given: &mut Given) {
        given.text("telemetry.log_format", "--log-format", self.log_format.as_ref());
        given.text("telemetry.log_level", "--log-level", self.log_level.as_ref());
    }
}

/// The flags of every service.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// Where the configuration is, and how log lines look
    #[command(flatten)]
    pub program: ProgramArgs,
    /// Where /live, /ready and /metrics answer, like 0.0.0.0:8080 [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    pub health_address: Option<String>,
}

impl ServiceArgs {
    /// Loads the merged configuration, with these flags and those that were `given` besides.
    ///
    /// # Errors
    /// Returns all its problems.
    pub fn load(&self, mut given: Given) -> Result<Loaded, ConfigError> {
        self.program.give(&mut given);
        given.text("health.address", "--health-address", self.health_address.as_ref());
        load_of_process(self.program.config.as_deref(), given.overrides())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogFormat, load};
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        service: ServiceArgs,
    }

    #[test]
    fn flags_of_a_service_stand_for_known_keys_and_the_table_checks_their_values() {
        let program = |line: &str| Program::try_parse_from(line.split(' ')).unwrap().service;
        let service = program("x --health-address 127.0.0.1:8080 --log-format json --log-level debug");
        let mut given = Given::default();
        given.on("ingest.accept_gap", "--accept-gap", true);
        let config = service.load(given).unwrap().config;
        assert_eq!(config.health.address.map(|address| address.port()), Some(8080));
        assert_eq!((config.telemetry.log_format, config.telemetry.log_level.as_str()), (LogFormat::Json, "debug"));
        assert!(config.ingest.accept_gap);
        let mut given = Given::default();
        program("x --log-format xml").program.give(&mut given);
        let error = load(&crate::Layers { overrides: given.overrides(), ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("--log-format"), "{error}");
    }
}

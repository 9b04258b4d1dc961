//! The command line.

use super::Asked;
use crate::Rebuild;
use clap::Parser;
use rva_service::{ConfigError, Given, Loaded, ServiceArgs};

const AFTER: &str = "\
Everything else is configuration: rva.yaml or --config, or the environment (docs/refine.md; `rva config show` prints it).
SIGHUP reads zones and lines of the configuration again.

Exit codes: 0 done, or stopped by one signal; 1 failure; 2 usage or configuration, nothing was started; 130 and 143
stopped at once by a second signal.";

/// Keeps silver and gold current from bronze, in a data folder or a REST catalog.
#[derive(Debug, Clone, Parser)]
#[command(name = "rva-refine", version, after_help = AFTER)]
pub struct Arguments {
    #[command(flatten)]
    service: ServiceArgs,
    /// Where the tables are: embedded or rest [default: embedded]
    #[arg(long, value_name = "KIND")]
    catalog: Option<String>,
    /// The data folder: holds `catalog.db` and `warehouse/` [default: rva-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Stop once every table is as new as bronze
    #[arg(long, conflicts_with = "rebuild")]
    drain: bool,
    /// Work these tables out again whatever stands there, and stop: silver, gold, or one table of gold
    #[arg(long, value_name = "TABLE")]
    rebuild: Option<String>,
    /// First day that is worked out again, like 2026-01-31
    #[arg(long, value_name = "DAY", requires = "rebuild")]
    from: Option<String>,
    /// Last day that is worked out again [default: that of --from]
    #[arg(long, value_name = "DAY", requires = "from")]
    to: Option<String>,
    /// Time between two looks at bronze [default: 10s]
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,
}

impl Arguments {
    /// Loads the merged configuration.
    ///
    /// # Errors
    /// Returns all its problems.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut given = Given::default();
        given.text("catalog.kind", "--catalog", self.catalog.as_ref());
        given.text("data_dir", "--data-dir", self.data_dir.as_ref());
        given.text("refine.interval", "--interval", self.interval.as_ref());
        self.service.load(given)
    }

    /// Returns what is asked for.
    ///
    /// # Errors
    /// Returns found and wanted for a table or a day that is none.
    pub fn asked(&self) -> Result<Asked, String> {
        match &self.rebuild {
            Some(table) => Rebuild::parse(table, self.from.as_deref(), self.to.as_deref()).map(Asked::Rebuild),
            None if self.drain => Ok(Asked::Drain),
            None => Ok(Asked::Follow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RebuildTables;

    fn asked(arguments: &[&str]) -> Result<Asked, String> {
        Arguments::try_parse_from(["rva-refine"].iter().chain(arguments)).map_err(|error| error.to_string())?.asked()
    }

    #[test]
    fn what_is_asked_for_is_one_thing() {
        assert_eq!(asked(&[]), Ok(Asked::Follow));
        assert_eq!(asked(&["--drain"]), Ok(Asked::Drain));
        let all = Rebuild { tables: RebuildTables::Silver, span: None };
        assert_eq!(asked(&["--rebuild", "silver"]), Ok(Asked::Rebuild(all)));
        for (arguments, told) in [
            (&["--drain", "--rebuild", "gold"][..], "cannot be used with"),
            (&["--rebuild", "nothing"], "--rebuild: found \"nothing\", wanted one of silver, gold, gold_"),
            (&["--from", "2026-01-31"], "required"),
            (
                &["--rebuild", "gold", "--from", "yesterday"],
                "--from: found \"yesterday\", wanted a day like 2026-01-31",
            ),
        ] {
            let text = asked(arguments).unwrap_err();
            assert!(text.contains(told), "{arguments:?}: {text}");
        }
    }
}

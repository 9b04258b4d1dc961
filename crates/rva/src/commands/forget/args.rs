//! The command line of `rva forget`.

use crate::shared_args::FolderArgs;
use clap::{Args, ValueHint};

/// Text below its help.
pub const HELP: &str = "\
Takes the records out of bronze, dead letters, silver and gold, and their bytes with them: older snapshots can't be read
any more, files are deleted at once, records of the log are written over. It can run beside `rva run`, `rva ingest` and
`rva refine`, and be repeated after whatever broke it off. What stays is said, with exit code 1. A record's time is its
capture time. More in docs/forget.md.

  rva forget --camera entrance --from 2026-01-31 --to 2026-01-31 --dry-run
  rva forget --store berlin --yes --backups /mnt/backup";

/// `rva forget`
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Only records of this store
    #[arg(long, value_name = "ID")]
    pub store: Option<String>,
    /// Only records of this camera
    #[arg(long, value_name = "ID")]
    pub camera: Option<String>,
    /// The first day, like 2026-01-31 (UTC), or the first moment, like 2026-01-31T08:00:00Z
    #[arg(long, value_name = "DAY|TIME")]
    pub from: Option<String>,
    /// The last day, which is included, or the moment of the end, which isn't
    #[arg(long, value_name = "DAY|TIME")]
    pub to: Option<String>,
    /// Say what would go, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,
    /// Where backups are kept, a folder or s3://BUCKET/PREFIX: those that hold such records are named; can be repeated
    /// [default: backup.to]
    #[arg(long, value_name = "FROM", value_hint = ValueHint::DirPath)]
    pub backups: Vec<String>,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
}

//! The arguments of `rva backup` and `rva restore`.

use crate::shared_args::{FolderArgs, RowFormat};
use clap::{Args, Subcommand, ValueHint};
use std::num::NonZeroUsize;

/// Text below the help of `rva backup`.
pub const BACKUP_HELP: &str = "\
Can run beside `rva run`, `rva ingest`, `rva refine` and `rva maintain`. Only files that the last backup lacks are copied.
TO is a folder, or s3://BUCKET/PREFIX with the keys of s3.*; it is empty, or holds backups already [default: backup.to of
the configuration, whose newest backup the ingest looks for]:

  rva backup /mnt/backup --keep 30       makes one, and leaves the newest 30
  rva backup list /mnt/backup
  rva backup verify /mnt/backup          reads every file, and compares it with its digest
  rva restore /mnt/backup --to DIR

The log isn't part of it: docs/backup.md says how ingest and refine go on.";

/// Text below the help of `rva restore`.
pub const RESTORE_HELP: &str = "\
--to is a data folder where catalog.kind is embedded, and a namespace of the catalog where it is rest [default: the
configured data folder; the namespace that was backed up]. Nothing is written over: the tables must not be there.";

/// `rva backup`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackupArgs {
    /// What to do with backups that there are
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// Where backups are kept: a folder, or s3://BUCKET/PREFIX [default: backup.to]
    #[arg(value_name = "TO", value_hint = ValueHint::DirPath)]
    pub to: Option<String>,
    /// Remove all but the newest N backups afterwards, and the files that only they needed
    #[arg(long, value_name = "N")]
    pub keep: Option<NonZeroUsize>,
    /// Where the tables are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// The commands for backups that there are.
#[derive(Debug, Subcommand)]
pub enum BackupAction {
    /// The backups of a folder or prefix, oldest first
    List {
        /// Where backups are kept [default: backup.to]
        #[arg(value_name = "FROM", value_hint = ValueHint::DirPath)]
        from: Option<String>,
        /// How rows are written
        #[arg(long, value_enum, default_value_t = RowFormat::Table)]
        format: RowFormat,
    },
    /// Read every file, and name those that are damaged, cut off or missing; exit code 1 where there are any
    Verify {
        /// Where backups are kept [default: backup.to]
        #[arg(value_name = "FROM", value_hint = ValueHint::DirPath)]
        from: Option<String>,
        /// The one backup that is read, by its id or the beginning of it [default: all]
        #[arg(long, value_name = "ID")]
        backup: Option<String>,
    },
}

impl BackupArgs {
    /// Returns where the tables are.
    pub fn folder(&self) -> &FolderArgs {
        &self.folder
    }
}

/// `rva restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Where backups are kept: a folder, or s3://BUCKET/PREFIX
    #[arg(value_name = "FROM", value_hint = ValueHint::DirPath)]
    pub from: String,
    /// The backup, by its id or the beginning of it [default: the newest]
    #[arg(long, value_name = "ID")]
    pub backup: Option<String>,
    /// Where the tables are made: a data folder, or a namespace of the catalog
    #[arg(long, value_name = "DIR|NAMESPACE", value_hint = ValueHint::DirPath)]
    pub to: Option<String>,
    /// Where the tables are made, too
    #[command(flatten)]
    pub folder: FolderArgs,
}

//! Arguments that several commands have.

use clap::{Args, ValueEnum, ValueHint};

/// Where the tables and the log are.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// Folder of catalog.db, warehouse/ and log/ [default: rva-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<String>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowFormat {
    /// Columns in a frame, for people
    Table,
    /// A header line, then one line a row
    Csv,
    /// One object a line
    Json,
}

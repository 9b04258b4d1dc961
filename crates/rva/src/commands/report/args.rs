//! The arguments of `rva report`.

use crate::shared_args::FolderArgs;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Text below its help.
pub const HELP: &str = "\
Visitors are crossings in of the lines that are drawn; without any, tracks. html is one page that loads nothing else:

  rva report --day 2026-01-31 --time-zone Europe/Berlin -o report.html

json is one object, csv has one number a row. Rows are those of gold, which `rva run` and `rva refine` keep current.";

/// The form in which a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Tables in frames, for people
    Table,
    /// A header line, then one number a row
    Csv,
    /// One object
    Json,
    /// One page with plots, which loads nothing else
    Html,
}

/// `rva report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The store [default: the only one]
    #[arg(long, visible_alias = "store", value_name = "ID")]
    pub store_id: Option<String>,
    /// A camera; several with commas, or the flag again [default: all of the store]
    #[arg(long, visible_alias = "camera", value_name = "ID", value_delimiter = ',')]
    pub camera_id: Vec<String>,
    /// The one day that is reported, like 2026-01-31 [default: all of time]
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    pub day: Option<String>,
    /// First day, like 2026-01-31, or a time like 2026-01-31T08:00:00Z
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Last day, or the time at which it ends
    #[arg(long, value_name = "DAY")]
    pub to: Option<String>,
    /// The time zone of days and hours, like Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// A line whose crossings in are visitors [default: every line]
    #[arg(long, value_name = "NAME")]
    pub line: Vec<String>,
    /// A picture below the heatmap, as FILE or CAMERA=FILE [default: that of `rva run --save`]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub frame: Vec<String>,
    /// No picture below the heatmap but those of --frame
    #[arg(long)]
    pub no_frame: bool,
    /// How it is written [default: as the file's name ends, else table]
    #[arg(long, value_enum)]
    pub format: Option<ReportFormat>,
    /// The file to write; - is stdout [default: -]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Where the tables are
    #[command(flatten)]
    pub folder: FolderArgs,
}

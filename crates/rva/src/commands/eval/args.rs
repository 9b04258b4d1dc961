//! The command line of `rva eval`.

use crate::shared_args::RowFormat;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// `rva eval`
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// What is scored
    #[command(subcommand)]
    pub command: EvalCommand,
}

/// The commands of `rva eval`.
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Tracks against MOTChallenge ground truth: HOTA, MOTA, IDF1, as TrackEval scores them
    #[command(after_help = TRACKS_HELP)]
    Tracks(TracksArgs),
    /// Detections against COCO ground truth: AP50, AP50:95, as pycocotools scores them
    Detections(DetectionsArgs),
    /// People counted against people counted by hand
    #[command(after_help = FOOTFALL_HELP)]
    Footfall(FootfallArgs),
}

const TRACKS_HELP: &str = "\
Shares are in percent. Scored are the detector's own boxes of confirmed tracks. Rows named COMBINED add the counts of a
--gt folder's sequences up.

  rva eval tracks --gt MOT17/train --tracker all             run trackers on the sequences' public detections
  rva eval tracks --gt MOT17/train --tracks results/         score result files, one SEQUENCE.txt each
  rva eval tracks --gt door/gt/gt.txt --tracks door.ndjson   score what `rva detect` wrote";

const FOOTFALL_HELP: &str = "\
The hand count is CSV with a header: camera_id,from,to,people counts different people seen in an interval;
camera_id,from,to,people,line,direction counts those who cross a line (x1 y1 x2 y2 in shares of the picture) in or out:
`in` is to the right hand of somebody who looks from the first point to the second.

With --gt, trackers run on the public detections of MOTChallenge sequences, and their crossings of nine lines and visits of three zones
are compared with those of the true tracks, by the code that makes gold. error_percent: missed and extra crossings in
percent of the true ones; interval_mae: of a line, a direction and 5 s; people_mae: people in a zone in a frame.

  rva eval footfall --by-hand hand.csv --records door.ndjson
  rva eval footfall --gt MOT17/train --tracker all";

/// `rva eval tracks`
#[derive(Debug, Args)]
pub struct TracksArgs {
    /// A MOTChallenge sequence, a folder of them, or a gt.txt; may be given again
    #[arg(long, value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub gt: Vec<PathBuf>,
    /// Results: a MOTChallenge file, a folder of SEQUENCE.txt, or NDJSON records
    #[arg(long, value_name = "PATH", conflicts_with = "tracker", value_hint = ValueHint::AnyPath)]
    pub tracks: Option<PathBuf>,
    /// Run this tracker on the public detections: a name, a tracker YAML file, or all; may be given again
    #[arg(long, value_name = "TRACKER", required_unless_present = "tracks")]
    pub tracker: Vec<String>,
    /// Folders of public detections in a sequence; the first that is there counts
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "det")]
    pub detections: Vec<String>,
    /// How scores are written
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub format: RowFormat,
    /// Write the trackers' results as MOTChallenge files: DIR/TRACKER/SEQUENCE.txt
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub save: Option<PathBuf>,
    /// Fail when a combined score is below its floor (CSV: group,tracker,metric,floor)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub floors: Option<PathBuf>,
    /// Write the floors anew: HOTA, MOTA and IDF1 as they are now
    #[arg(long, requires = "floors")]
    pub record_floors: bool,
}

/// `rva eval detections`
#[derive(Debug, Args)]
pub struct DetectionsArgs {
    /// COCO ground truth (instances_*.json)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub gt: PathBuf,
    /// COCO results: a list of image_id, category_id, bbox, score; or NDJSON records, whose frame index is the image id
    /// and whose class id is the category id
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub detections: PathBuf,
    /// How scores are written
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub format: RowFormat,
}

/// `rva eval footfall`
#[derive(Debug, Args)]
pub struct FootfallArgs {
    /// The hand count
    #[arg(long, value_name = "FILE", requires = "records", required_unless_present = "gt", value_hint = ValueHint::FilePath)]
    pub by_hand: Option<PathBuf>,
    /// NDJSON records as `rva detect` writes them
    #[arg(long, value_name = "FILE", requires = "by_hand", value_hint = ValueHint::FilePath)]
    pub records: Option<PathBuf>,
    /// A MOTChallenge sequence folder, or a folder of them; may be given again
    #[arg(long, value_name = "PATH", conflicts_with = "by_hand", requires = "tracker", value_hint = ValueHint::AnyPath)]
    pub gt: Vec<PathBuf>,
    /// Run this tracker on the public detections: a name, a tracker YAML file, or all; may be given again
    #[arg(long, value_name = "TRACKER", requires = "gt")]
    pub tracker: Vec<String>,
    /// Folders of public detections in a sequence; the first that is there counts
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "det")]
    pub detections: Vec<String>,
    /// Fail when a combined error is above its ceiling (CSV: group,tracker,error_percent_max)
    #[arg(long, value_name = "FILE", requires = "gt", value_hint = ValueHint::FilePath)]
    pub ceilings: Option<PathBuf>,
    /// Write the ceilings anew, a little above the errors as they are now
    #[arg(long, requires = "ceilings")]
    pub record_ceilings: bool,
    /// Write each crossing, of the truth and of every tracker, as CSV: group,sequence,tracker,line,x1,y1,x2,y2,direction,seconds
    #[arg(long, value_name = "FILE", requires = "gt", value_hint = ValueHint::FilePath)]
    pub crossings: Option<PathBuf>,
    /// How counts are written
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub format: RowFormat,
}

//! The command line: names and help texts. What a value may be is said by the configuration's table of keys, so that
//! a flag, a variable and a file are checked alike and all problems are reported at once.

use crate::commands::{
    backup::args::{BackupArgs, RestoreArgs},
    eval::args::EvalArgs,
    forget::args::ForgetArgs,
    maintain::MaintainArgs,
    report::args::ReportArgs,
    status::StatusArgs,
};
use crate::shared_args::{FolderArgs, RowFormat};
use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use rva_detector::configured::{CaptureArgs, DetectionArgs, IdentityArgs};
use rva_service::{Given, Override, ProgramArgs, SourceText};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  rva run video.mp4 --model yolov8n.onnx             detect, track, log and commit, in one process
  rva run rtsp://camera/1 --model yolov8n.onnx       the same, until Ctrl-C
  rva query \"SELECT count(*) FROM bronze_raw\"        SQL over the committed rows
  rva doctor                                         what is installed, and what is missing

Settings come from a complete default, then rva.yaml, then the environment (RVA_DETECTOR_CONF, CONF_THRES, …),
then flags: `rva config show` prints each with its origin. Exit codes: `rva help exit-codes`.

There is no --show: servers have no display, and a window would need a graphical OpenCV. Use --save, which writes
an annotated video and a picture.";

/// Retail video analytics on one machine: from a video to committed rows, exactly once
#[derive(Debug, Parser)]
#[command(name = "rva", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    /// Flags of every command
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Where the configuration is, and how log lines look
    #[command(flatten)]
    pub program: ProgramArgs,
    /// No progress and no summary; only warnings and errors are logged
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Detect, track, log and commit, in one process
    #[command(after_help = "Data folder: catalog.db (the Iceberg catalog `lakehouse`), warehouse/ and log/.")]
    Run(RunArgs),
    /// Detect and track, and write one JSON record a frame
    Detect(DetectArgs),
    /// Make topic, subscription and tables where they are missing; nothing that is there is changed
    #[command(after_help = INIT_HELP)]
    Init(InitArgs),
    /// Commit what is in the log to the tables
    Ingest(IngestArgs),
    /// Keep silver and gold current from bronze
    #[command(after_help = REFINE_HELP)]
    Refine(RefineArgs),
    /// Work silver and gold out again and compare them with the tables, row by row
    Verify(VerifyArgs),
    /// Put the records of NDJSON files or of standard input into the log; commit them with `rva ingest --drain`
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// SQL over the tables
    #[command(after_help = QUERY_HELP)]
    Query(QueryArgs),
    /// Visitors, people at once, hours, zones and lines of a store and a time, as a page or as rows
    #[command(after_help = crate::commands::report::args::HELP)]
    Report(ReportArgs),
    /// How cameras, services, tables and disk are, and what is wrong
    #[command(after_help = crate::commands::status::HELP)]
    Status(StatusArgs),
    /// Rows, files, size, last commit and offsets of each table
    Tables(TablesArgs),
    /// Scores against ground truth: tracks, detections, people counted
    Eval(EvalArgs),
    /// Merge the small files of tables, so that they stay as fast as on the first day
    #[command(after_help = crate::commands::maintain::HELP)]
    Maintain(MaintainArgs),
    /// Copy the tables, as they are at one point in time, to a folder or under an S3 prefix
    #[command(after_help = crate::commands::backup::args::BACKUP_HELP)]
    Backup(BackupArgs),
    /// Make the tables of a backup anew, in a data folder or a catalog that has none of them
    #[command(after_help = crate::commands::backup::args::RESTORE_HELP)]
    Restore(RestoreArgs),
    /// Take records out of the tables and their bytes with them: of a store, a camera, a time
    #[command(after_help = crate::commands::forget::args::HELP)]
    Forget(ForgetArgs),
    /// Each prerequisite: found, version, where
    Doctor(DoctorArgs),
    /// The merged configuration
    Config(ConfigArgs),
    /// Write a completion script to stdout
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print this help, that of a command, or `exit-codes`
    Help {
        /// A command, or exit-codes
        topic: Option<String>,
    },
}

const QUERY_HELP: &str = "\
Tables: bronze_raw and bronze_dead_letters, silver_… and gold_… (`rva tables` lists them), in namespace rva. JSON functions work on payload:

  rva query \"SELECT json_length(payload, 'detections') AS people, frame_index FROM bronze_raw LIMIT 5\"

json writes one object a line, csv has a header line. --as-of and --snapshot read the tables as they were. What doesn't
fit into query.memory_max goes on in query.spill_dir.";

const REFINE_HELP: &str = "\
`rva run` does this by itself. --rebuild silver works everything out again from bronze, --rebuild gold all of gold from
silver; days are in UTC and the last one is included. health.address is where /metrics and /ready answer.";

const REPLAY_HELP: &str = "\
Files may be packed (gzip, zstd), in UTF-8 or UTF-16, one record a line, spread over lines, or in a JSON array. A file of
another kind, or one most of whose lines are no records, makes exit code 5.";

const INIT_HELP: &str = "\
The broker, the catalog and the object store are those of the configuration: bus.kind and catalog.kind, pulsar.*,
iceberg.*, s3.* (`rva config show`). Can be repeated.";

/// `rva init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where records are: log or pulsar [default: log]
    #[arg(long, value_name = "KIND")]
    pub bus: Option<String>,
    /// Where the tables are: embedded or rest [default: embedded]
    #[arg(long, value_name = "KIND")]
    pub catalog: Option<String>,
    /// Where tables and log are, as far as they are embedded
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// The annotated video.
#[derive(Debug, Args)]
#[command(next_help_heading = "Detection")]
pub struct SaveArgs {
    /// Write an annotated video and a picture, with boxes, ids and trails
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub save: Option<String>,
}

/// When the tables are committed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Commits")]
pub struct CommitArgs {
    /// Longest time between two commits while there is something new [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub commit_interval: Option<String>,
    /// Size at which a commit doesn't wait for the interval [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub commit_bytes: Option<String>,
}

/// `rva run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A video file, a folder or glob of images or videos, a webcam index or a stream URL [default: the configured cameras]
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<SourceText>,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
    /// Detection
    #[command(flatten)]
    pub detection: DetectionArgs,
    /// The annotated video
    #[command(flatten)]
    pub saving: SaveArgs,
    /// Capture
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Identity
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Commits
    #[command(flatten)]
    pub commit: CommitArgs,
    /// Leave silver and gold alone; `rva refine` brings them up later
    #[arg(long, help_heading = "Commits")]
    pub no_refine: bool,
}

/// `rva detect`
#[derive(Debug, Args)]
pub struct DetectArgs {
    /// A video file, a folder or glob of images or videos, a webcam index or a stream URL
    #[arg(value_name = "SOURCE")]
    pub source: Option<SourceText>,
    /// The NDJSON file to write; - is stdout
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Detection
    #[command(flatten)]
    pub detection: DetectionArgs,
    /// The annotated video
    #[command(flatten)]
    pub saving: SaveArgs,
    /// Capture
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Identity
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// `rva ingest`
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Stop at the log's end
    #[arg(long)]
    pub drain: bool,
    /// Go on where the log no longer holds records that the table lacks; they are counted as lost
    #[arg(long)]
    pub accept_gap: bool,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
    /// Commits
    #[command(flatten)]
    pub commit: CommitArgs,
}

/// `rva refine`
#[derive(Debug, Args)]
pub struct RefineArgs {
    /// Stop once every table is as new as bronze
    #[arg(long, conflicts_with = "rebuild")]
    pub drain: bool,
    /// Work these tables out again whatever stands there, and stop: silver, gold, or one table of gold
    #[arg(long, value_name = "TABLE")]
    pub rebuild: Option<String>,
    /// First day that is worked out again, like 2026-01-31
    #[arg(long, value_name = "DAY", requires = "rebuild")]
    pub from: Option<String>,
    /// Last day that is worked out again [default: that of --from]
    #[arg(long, value_name = "DAY", requires = "from")]
    pub to: Option<String>,
    /// Where the tables are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `rva verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The one day that is compared, like 2026-01-31, in UTC [default: all of time]
    #[arg(long, value_name = "DAY")]
    pub day: Option<String>,
    /// Where the tables are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `rva replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// NDJSON files as `rva detect` writes them, - for standard input; bad lines go to the dead letters with their
    /// number
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `rva query`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// One SELECT
    // A file of SQL begins with a comment, which looks like a flag.
    #[arg(value_name = "SQL", allow_hyphen_values = true)]
    pub sql: String,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub format: RowFormat,
    /// The tables as they were at a time, like 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "snapshot")]
    pub as_of: Option<String>,
    /// A table as of one of its snapshots, the others as of when it was made
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<i64>,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `rva tables`
#[derive(Debug, Args)]
pub struct TablesArgs {
    /// How rows are written
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub format: RowFormat,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `rva doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// A YOLOv8 detection export (ONNX) to look at
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub model: Option<String>,
    /// The ONNX Runtime library
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub onnxruntime: Option<String>,
    /// Where the tables and the log are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `rva config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do with it
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The commands of `rva config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting and where it came from; secrets are hidden
    Show {
        /// yaml reads back as a configuration file
        #[arg(long, value_enum, default_value_t = ConfigFormat::Yaml)]
        format: ConfigFormat,
    },
}

/// The form in which the configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    /// Origins as comments
    Yaml,
    /// Settings and origins as one object
    Json,
}

fn give_folder(given: &mut Given, args: &FolderArgs) {
    given.text("data_dir", "--data-dir", args.data_dir.as_ref());
}

fn give_commit(given: &mut Given, args: &CommitArgs) {
    given.text("ingest.commit_interval", "--commit-interval", args.commit_interval.as_ref());
    given.text("ingest.commit_bytes", "--commit-bytes", args.commit_bytes.as_ref());
}

impl Cli {
    /// Returns the flags given that stand for configuration keys.
    pub fn overrides(&self) -> Vec<Override> {
        let mut given = Given::default();
        self.common.program.give(&mut given);
        given.on("telemetry.quiet", "--quiet", self.common.quiet);
        match &self.command {
            Command::Run(args) => {
                give_folder(&mut given, &args.folder);
                args.detection.give(&mut given);
                args.identity.give(&mut given);
                args.capture.give(&mut given);
                give_commit(&mut given, &args.commit);
            }
            Command::Detect(args) => {
                args.detection.give(&mut given);
                args.identity.give(&mut given);
                args.capture.give(&mut given);
            }
            Command::Init(args) => {
                give_folder(&mut given, &args.folder);
                given.text("bus.kind", "--bus", args.bus.as_ref());
                given.text("catalog.kind", "--catalog", args.catalog.as_ref());
            }
            Command::Ingest(args) => {
                give_folder(&mut given, &args.folder);
                given.on("ingest.accept_gap", "--accept-gap", args.accept_gap);
                give_commit(&mut given, &args.commit);
            }
            Command::Refine(args) => give_folder(&mut given, &args.folder),
            Command::Verify(args) => give_folder(&mut given, &args.folder),
            Command::Replay(args) => give_folder(&mut given, &args.folder),
            Command::Query(args) => give_folder(&mut given, &args.folder),
            Command::Report(args) => give_folder(&mut given, &args.folder),
            Command::Status(args) => give_folder(&mut given, &args.folder),
            Command::Tables(args) => give_folder(&mut given, &args.folder),
            Command::Maintain(args) => give_folder(&mut given, &args.folder),
            Command::Backup(args) => give_folder(&mut given, args.folder()),
            Command::Restore(args) => give_folder(&mut given, &args.folder),
            Command::Forget(args) => give_folder(&mut given, &args.folder),
            Command::Doctor(args) => {
                give_folder(&mut given, &args.folder);
                given.text("detector.model", "--model", args.model.as_ref());
                given.text("detector.onnxruntime", "--onnxruntime", args.onnxruntime.as_ref());
            }
            Command::Eval(_) | Command::Config(_) | Command::Completions { .. } | Command::Help { .. } => {}
        }
        given.overrides()
    }
}

impl Cli {
    /// Reads the command line. `--save out.mp4`, with a blank for the equals sign, is refused: the name would be
    /// another source.
    ///
    /// # Errors
    /// Returns clap's error, or the hint.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let parsed = Self::try_parse_from(&arguments);
        let Some(target) = target_after_save(&arguments) else {
            return parsed.map_err(|error| several_sources(error, &arguments));
        };
        let is_wrong = match &parsed {
            // One source alone may be any file that is there.
            Ok(cli) => cli.sources_to_save().is_some_and(|sources| sources > 1 || !Path::new(target).exists()),
            Err(error) => error.kind() == ErrorKind::UnknownArgument,
        };
        if !is_wrong {
            return parsed;
        }
        let text =
            format!("found --save and, behind a blank, {target}: wanted --save={target}, or the source before --save");
        Err(Self::command().error(ErrorKind::NoEquals, text))
    }

    /// Returns the number of sources where what is seen is saved without a name; else `None`.
    fn sources_to_save(&self) -> Option<usize> {
        let (sources, save) = match &self.command {
            Command::Run(args) => (args.sources.len(), &args.saving.save),
            Command::Detect(args) => (usize::from(args.source.is_some()), &args.saving.save),
            _ => return None,
        };
        save.as_deref().is_some_and(str::is_empty).then_some(sources)
    }
}

/// Returns the error of `rva detect` about a second source with the way to name several: the shell makes several of a
/// pattern without quotes.
fn several_sources(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let is_detect = arguments.get(1).is_some_and(|command| command == "detect");
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(second))
            if is_detect && error.kind() == ErrorKind::UnknownArgument && !second.starts_with('-') =>
        {
            let text = format!(
                "found a second source, {}: wanted one for `rva detect`; a folder, or a pattern in quotes, is one \
                 whose videos follow each other, and `rva run` takes several cameras",
                rva_types::shown_source(second)
            );
            Cli::command().error(ErrorKind::TooManyValues, text)
        }
        _ => error,
    }
}

/// Returns the argument behind `--save` and a blank, where it is called as a video is.
fn target_after_save(arguments: &[OsString]) -> Option<&str> {
    let at = arguments.iter().position(|argument| argument == "--save")?;
    let target = arguments.get(at + 1)?.to_str()?;
    let extension = Path::new(target).extension()?.to_str()?.to_ascii_lowercase();
    let is_video = ["mp4", "m4v", "mov", "avi", "mkv", "webm"].contains(&extension.as_str());
    (is_video && !target.starts_with('-') && !target.contains("://")).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_stands_for_a_known_key() {
        let line = "rva --quiet --log-format json --log-level debug run a.mp4 --data-dir d --model m --conf 0.1 \
             --iou 0.2 --classes person --imgsz 640 --max-det 3 --agnostic-nms --half --device cpu --tracker bytetrack --reid-model o.onnx \
             --vid-stride 2 --onnxruntime lib.so --store-id s --camera-id c --stream-id t \
             --start-time 2026-01-31T08:00:00Z --commit-interval 5s --commit-bytes 1MiB --save --capture latest --realtime --stats=5s";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let overrides = cli.overrides();
        assert_eq!(overrides.len(), 26);
        let layers = rva_service::Layers { overrides, ..Default::default() };
        let config = rva_service::load(&layers).unwrap().config;
        assert_eq!(config.camera_id.as_deref(), Some("c"));
        assert_eq!(config.detector.vid_stride, 2);
        assert!(config.detector.half && config.telemetry.quiet);
    }

    #[test]
    fn sql_may_begin_with_a_comment_and_flags_are_still_flags() {
        let line = ["rva", "query", "--format", "csv", "-- people\nSELECT 1", "--data-dir", "d"];
        let Command::Query(args) = Cli::try_parse_from(line).unwrap().command else { panic!("not query") };
        assert_eq!((args.sql.as_str(), args.format), ("-- people\nSELECT 1", RowFormat::Csv));
        assert_eq!(args.folder.data_dir.as_deref(), Some("d"));
    }

    #[test]
    fn a_second_source_of_detect_is_refused_with_the_way_to_name_several() {
        let read = |line: &str| Cli::read(line.split_whitespace().map(Into::into).collect());
        let error = read("rva detect a.mp4 b.mp4 c.mp4 -o x.ndjson").unwrap_err();
        assert!(error.to_string().contains("found a second source, b.mp4: wanted one"), "{error}");
        assert!(error.to_string().contains("a pattern in quotes"), "{error}");
        assert_eq!(error.exit_code(), 2);
        let other = read("rva detect a.mp4 -o x.ndjson --konf 3").unwrap_err();
        assert!(!other.to_string().contains("second source"), "{other}");
    }

    #[test]
    fn a_target_after_save_and_a_blank_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there.mp4").to_str().unwrap().to_owned();
        std::fs::write(&there, "x").unwrap();
        let read = |line: &str| Cli::read(line.replace("THERE", &there).split_whitespace().map(Into::into).collect());
        for line in [
            "rva run clip.mp4 --save no-out.mp4",
            "rva run --save no-out.MKV",
            "rva run rtsp://cam/1 --save THERE",
            "rva detect clip.mp4 --save no-out.mp4",
            "rva detect clip.mp4 --save THERE",
            "rva detect --save no-out.avi clip.mp4",
            "rva detect 0 -o x.ndjson --save no-out.mp4 --conf 0.5",
        ] {
            let error = read(line).err().unwrap_or_else(|| panic!("{line} should be refused"));
            let target = if line.contains("THERE") { there.as_str() } else { "no-out." };
            assert!(error.to_string().contains(&format!("wanted --save={target}")), "{line}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
        for line in [
            "rva run --save THERE",
            "rva run --save rtsp://cam/1.mp4",
            "rva run clip.mp4 --save=no-out.mp4",
            "rva run clip.mp4 --save",
            "rva run clip.mp4 --save --conf 0.5",
            "rva detect -o x.ndjson --save THERE",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn save_takes_its_path_after_an_equals_sign_only() {
        let parse = |line: &str| match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Run(args) => (args.sources, args.saving.save),
            _ => panic!("not run"),
        };
        assert_eq!(parse("rva run --save a.mp4"), (vec!["a.mp4".into()], Some(String::new())));
        assert_eq!(parse("rva run a.mp4 --save=x.avi"), (vec!["a.mp4".into()], Some("x.avi".into())));
        assert_eq!(parse("rva run a.mp4"), (vec!["a.mp4".into()], None));
    }
}

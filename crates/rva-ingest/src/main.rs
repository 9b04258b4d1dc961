//! `rva-ingest`: from the embedded log of a data folder into its bronze tables.

use anyhow::Context;
use clap::{Parser, ValueEnum};
use rva_bus::{BusErrorKind, LogOptions, LogReader, settle};
use rva_ingest::{
    IngestCounters, IngestEvent, IngestLease, IngestOptions, IngestReport, Phase, RollbackPolicy, SystemClock,
    run_ingest,
};
use rva_lake::{Lake, LakeOptions};
use rva_service::{LogFormat, StopFlag, TelemetryConfig, init_telemetry, parse_bytes, parse_duration};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// How often a follower looks whether a writer has made the log.
const LOG_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Reads the log of a data folder into its Iceberg tables, every event once.
///
/// Exit codes: 0 done, or stopped by one signal; 1 failure; 2 usage; 130 and 143 stopped at once by a second signal.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The data folder: holds `log/`, `catalog.db` and `warehouse/`.
    #[arg(long, env = "RVA_DATA_DIR")]
    data_dir: PathBuf,
    /// Stop when everything in the log is committed.
    #[arg(long)]
    drain: bool,
    /// Longest time between reading a message and committing it.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    commit_interval: Duration,
    /// Commit when this much was read.
    #[arg(long, default_value = "128MiB", value_parser = parse_size)]
    commit_bytes: usize,
    /// Most that is held in memory.
    #[arg(long, default_value = "192MiB", value_parser = parse_size)]
    buffered_bytes_max: usize,
    /// When the table was rolled back: read the log again from there, or stop.
    #[arg(long, value_enum, default_value_t = OnRollback::Rewind)]
    on_rollback: OnRollback,
    /// Go on where the log has lost records that the table lacks.
    #[arg(long)]
    accept_gap: bool,
    /// Age at which a data file that no snapshot names is removed.
    #[arg(long, default_value = "1d", value_parser = parse_duration)]
    orphan_age: Duration,
    /// Pause after each step of a commit, so that a test can hit every one of them.
    #[arg(long, hide = true, default_value = "0", value_parser = parse_duration)]
    step_pause: Duration,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// A level, or directives like `info,rva_lake=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log_level: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnRollback {
    Rewind,
    Halt,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("found {text:?}, wanted at least 1 byte"))
}

impl Arguments {
    fn ingest_options(&self) -> IngestOptions {
        IngestOptions {
            commit_interval: self.commit_interval,
            commit_bytes: self.commit_bytes,
            buffered_bytes_max: self.buffered_bytes_max,
            on_rollback: match self.on_rollback {
                OnRollback::Rewind => RollbackPolicy::Rewind,
                OnRollback::Halt => RollbackPolicy::Halt,
            },
            accept_gap: self.accept_gap,
            ..IngestOptions::default()
        }
    }

    fn telemetry(&self) -> TelemetryConfig {
        TelemetryConfig {
            log_format: match self.log_format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
            log_level: self.log_level.clone(),
            quiet: false,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = init_telemetry(&arguments.telemetry(), std::io::stderr) {
        eprintln!("rva-ingest: {error}");
        return ExitCode::from(2);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything else: a signal that comes early stops cleanly too.
    let stop = StopFlag::on_signals().context("install the signal actions")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let report = runtime.block_on(ingest(arguments, stop))?;
    let Some(report) = report else { return Ok(()) };
    let counters = &report.counters;
    tracing::info!(
        rows = counters.rows,
        rows_known = counters.rows_known,
        dead_letters = counters.dead_letters_total(),
        commits = counters.commits,
        "{:?}: offsets {}",
        report.end,
        report.offsets.to_json()
    );
    Ok(())
}

/// `None`: stopped before there was anything to do.
async fn ingest(arguments: &Arguments, stop: StopFlag) -> anyhow::Result<Option<IngestReport>> {
    let dir = arguments.data_dir.as_path();
    std::fs::create_dir_all(dir).with_context(|| format!("make data folder {}", dir.display()))?;
    let standby = |held: rva_ingest::HeldBy| {
        let pid = held.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
        tracing::warn!("process {pid} ingests into {}: waiting as a standby until it ends", dir.display());
    };
    let lease = tokio::select! {
        lease = IngestLease::acquire(dir, standby) => lease?,
        () = stop.stopped() => return Ok(None),
    };
    let Some(mut log) = open_log(&dir.join("log"), arguments.drain, &stop).await? else { return Ok(None) };
    settle(dir.join("log"), LogOptions::default()).await.context("open the log")?;
    let mut options = LakeOptions::default();
    options.housekeeping.orphan_age = arguments.orphan_age;
    if !arguments.step_pause.is_zero() {
        let (pause, trace) = (arguments.step_pause, Arc::clone(&options.observer));
        options.observer = Arc::new(move |step| {
            trace(step);
            std::thread::sleep(pause);
        });
    }
    let lake = Lake::open_embedded(dir, options).await.context("open the tables")?;
    let (mut bronze, mut dead) = (lake.bronze_sink()?, lake.dead_letter_sink()?);
    let (set_phase, phase) = watch::channel(if arguments.drain { Phase::Drain } else { Phase::Follow });
    let stopper = tokio::spawn(async move {
        stop.stopped().await;
        tracing::info!("stopping: what was read is committed first; a second signal stops at once");
        set_phase.send_replace(Phase::Stop);
        // The sender must live as long as the phase may still be asked for.
        set_phase.closed().await;
    });
    let ingest_options = arguments.ingest_options();
    let clock = SystemClock::new();
    let mut observer = log_commits;
    let result = run_ingest(&mut log, &mut bronze, &mut dead, &ingest_options, &clock, phase, &mut observer).await;
    stopper.abort();
    drop(lease);
    Ok(Some(result?))
}

fn log_commits(event: &IngestEvent, counters: &IngestCounters) {
    if let IngestEvent::Committed { rows, offsets } = event {
        tracing::info!(
            rows,
            rows_total = counters.rows,
            dead_letters_total = counters.dead_letters_total(),
            "committed up to {}",
            offsets.to_json()
        );
    }
}

/// The log; a follower waits for the writer that makes it. `None`: stopped meanwhile.
async fn open_log(dir: &Path, drain: bool, stop: &StopFlag) -> anyhow::Result<Option<LogReader>> {
    let mut said = false;
    loop {
        match LogReader::open(dir) {
            Ok(log) => return Ok(Some(log)),
            Err(error) if error.kind() == BusErrorKind::Transient && !drain => {
                if !said {
                    tracing::warn!("{error}: waiting for it");
                    said = true;
                }
            }
            Err(error) => return Err(error).context("open the log"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOG_LOOK_EVERY) => {}
            () = stop.stopped() => return Ok(None),
        }
    }
}

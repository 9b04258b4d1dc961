//! What a person sees on stderr: log lines, progress, the summary.

use indicatif::MultiProgress;
use rva_service::{LogFormat, TelemetryConfig, TelemetryError, init_telemetry, scrub};
use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
use tracing_subscriber::fmt::MakeWriter;

/// Stderr of this process.
#[derive(Clone, Default)]
pub struct Terminal {
    bars: MultiProgress,
    is_quiet: Arc<AtomicBool>,
    /// Set when logging runs.
    format: Arc<OnceLock<LogFormat>>,
}

impl Terminal {
    /// Before anything is configured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts logging.
    ///
    /// # Errors
    /// The filter doesn't parse.
    pub fn start(&self, config: &TelemetryConfig) -> Result<(), TelemetryError> {
        init_telemetry(config, BesideBars(self.bars.clone()))?;
        self.is_quiet.store(config.quiet, Ordering::Relaxed);
        let _ = self.format.set(config.log_format);
        Ok(())
    }

    /// Where bars are drawn.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether bars make sense: a terminal that isn't asked for quiet or for JSON.
    pub fn shows_bars(&self) -> bool {
        io::stderr().is_terminal() && !self.is_quiet() && !self.is_json()
    }

    /// Neither progress nor summary.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed)
    }

    /// Every line of stderr is a JSON object.
    pub fn is_json(&self) -> bool {
        self.format.get() == Some(&LogFormat::Json)
    }

    /// A line for people, after the progress. Nothing when quiet; as JSON it is a log line.
    pub fn say(&self, text: &str) {
        if self.is_quiet() {
            return;
        }
        if self.is_json() {
            tracing::info!("{text}");
        } else {
            self.bars.suspend(|| eprintln!("{}", scrub(text)));
        }
    }

    /// Why the command failed.
    pub fn say_error(&self, text: &str) {
        if self.is_json() {
            tracing::error!("{text}");
        } else {
            self.bars.suspend(|| eprintln!("error: {}", scrub(text)));
        }
    }
}

/// Log lines that step around the bars.
struct BesideBars(MultiProgress);

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = LineBesideBars;

    fn make_writer(&'a self) -> Self::Writer {
        LineBesideBars(self.0.clone())
    }
}

/// The writer of one log line.
struct LineBesideBars(MultiProgress);

impl Write for LineBesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

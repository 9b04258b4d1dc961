//! The text that a person sees on stderr: log lines, progress, the summary.

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

/// Returns a text without characters that steer a terminal: they are written as escapes. Words that others sent stand
/// in names, values and errors.
pub fn plain(text: &str) -> String {
    if !text.contains(rva_types::steers) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if rva_types::steers(character) { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// Does so for a text of several lines, which stay.
fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// The stderr of this process.
#[derive(Clone, Default)]
pub struct Terminal {
    bars: MultiProgress,
    is_quiet: Arc<AtomicBool>,
    /// The format of log lines, set when logging runs.
    format: Arc<OnceLock<LogFormat>>,
}

impl Terminal {
    /// Makes a terminal before anything is configured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts logging.
    ///
    /// # Errors
    /// Returns an error where the filter doesn't parse.
    pub fn start(&self, config: &TelemetryConfig) -> Result<(), TelemetryError> {
        init_telemetry(config, BesideBars(self.bars.clone()))?;
        self.is_quiet.store(config.quiet, Ordering::Relaxed);
        let _ = self.format.set(config.log_format);
        Ok(())
    }

    /// Returns the place where bars are drawn.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Returns whether bars make sense: a terminal that isn't asked for quiet or for JSON.
    pub fn shows_bars(&self) -> bool {
        io::stderr().is_terminal() && !self.is_quiet() && !self.is_json()
    }

    /// Returns whether neither progress nor summary is wanted.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed)
    }

    /// Returns whether every line of stderr is a JSON object.
    pub fn is_json(&self) -> bool {
        self.format.get() == Some(&LogFormat::Json)
    }

    /// Says a line to people, after the progress. It says nothing when quiet; as JSON it is a log line.
    pub fn say(&self, text: &str) {
        if self.is_quiet() {
            return;
        }
        if self.is_json() {
            tracing::info!("{text}");
        } else {
            self.bars.suspend(|| eprintln!("{}", plain_lines(&scrub(text))));
        }
    }

    /// Says why the command failed.
    pub fn say_error(&self, text: &str) {
        if self.is_json() {
            tracing::error!("{text}");
        } else {
            self.bars.suspend(|| eprintln!("error: {}", plain_lines(&scrub(text))));
        }
    }
}

/// A writer of log lines that steps around the bars.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_steers_no_terminal_and_keeps_its_lines() {
        assert_eq!(plain_lines("a\n\u{1b}]0;title\u{7}\r\nb\u{9b}2J é"), "a\n\\u{1b}]0;title\\u{7}\\r\nb\\u{9b}2J é");
        assert_eq!(plain("a\nb"), "a\\nb");
    }
}

//! Logging to stderr.

use crate::{TelemetryConfig, repeats::Repeats, scrub};
use serde::Deserialize;
use std::io::{self, Write};
use tracing_subscriber::{EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Writes lines for people.
    Text,
    /// Writes one JSON object a line.
    Json,
}

/// An error that says why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A filter that doesn't parse.
    #[error(
        "found log level {found:?} ({cause}), wanted error, warn, info, debug, trace or directives like info,rva_lake=debug"
    )]
    Filter {
        /// The filter's text, cut to 64 characters.
        found: String,
        /// The parser's error.
        cause: String,
    },
    /// Logging that was started before in this process.
    #[error("logs are set up already: {0}")]
    Twice(String),
}

/// Returns the filter of a configuration. A bare level is meant for our own crates; libraries stay at `warn` unless
/// directives say otherwise. Pulsar's client warns of each first attempt, and calls it an error that another reader has
/// the log, which we wait for and say ourselves.
fn filter_text(config: &TelemetryConfig) -> String {
    let level = if config.quiet { "warn" } else { config.log_level.trim() };
    match level.to_ascii_lowercase().as_str() {
        "trace" | "debug" | "info" => format!("warn,pulsar::retry_op=off,rva={level}"),
        "warn" | "error" => format!("{level},pulsar::retry_op=off"),
        _ => level.to_owned(),
    }
}

/// Parses a level or a list of directives.
///
/// # Errors
/// Returns an error for a text that is neither.
pub(crate) fn check_filter(text: &str) -> Result<(), TelemetryError> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    let failed = |cause: String| TelemetryError::Filter { found: text.chars().take(64).collect(), cause };
    // A single unknown word would parse as the name of a target and switch everything else off.
    if !text.contains(['=', ',']) && !known.contains(&text.trim().to_ascii_lowercase().as_str()) {
        return Err(failed("not a level".to_owned()));
    }
    EnvFilter::try_new(text).map(|_| ()).map_err(|error| failed(error.to_string()))
}

/// Starts logging through `writer` (stderr, or a writer that steps around a progress bar).
///
/// # Errors
/// Returns an error where the filter doesn't parse, or logging runs already.
pub fn init_telemetry<W>(config: &TelemetryConfig, writer: W) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    check_filter(&config.log_level)?;
    let text = filter_text(config);
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| TelemetryError::Filter { found: text.clone(), cause: error.to_string() })?;
    let writer = Scrubbed(writer);
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match config.log_format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let lines = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer);
            registry.with(lines.with_filter(Repeats::default())).try_init()
        }
        LogFormat::Json => {
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer);
            registry.with(lines.with_filter(Repeats::default())).try_init()
        }
    };
    outcome.map_err(|error| TelemetryError::Twice(error.to_string()))
}

/// A writer that takes secrets out of every line, whoever logs it. The subscriber writes a line with one call.
struct Scrubbed<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Scrubbed<W> {
    type Writer = ScrubbedLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        ScrubbedLine(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        ScrubbedLine(self.0.make_writer_for(meta))
    }
}

/// The writer of one log line.
struct ScrubbedLine<W>(W);

impl<W: Write> Write for ScrubbedLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(scrub(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(log_level: &str, quiet: bool) -> TelemetryConfig {
        let (otlp_endpoint, trace_ratio) = (None, 0.0);
        TelemetryConfig { log_format: LogFormat::Text, log_level: log_level.into(), quiet, otlp_endpoint, trace_ratio }
    }

    #[test]
    fn a_bare_level_is_for_our_own_crates() {
        assert_eq!(filter_text(&config("debug", false)), "warn,pulsar::retry_op=off,rva=debug");
        assert_eq!(filter_text(&config("error", false)), "error,pulsar::retry_op=off");
        assert_eq!(filter_text(&config("info,iceberg=debug", false)), "info,iceberg=debug");
        assert_eq!(filter_text(&config("debug", true)), "warn,pulsar::retry_op=off");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        let error = check_filter("verbose").unwrap_err().to_string();
        assert!(error.contains("verbose") && error.contains("debug"), "{error}");
        assert!(check_filter("info,rva_lake=loud").is_err());
        assert!(check_filter("info,rva_lake=debug").is_ok());
    }
}

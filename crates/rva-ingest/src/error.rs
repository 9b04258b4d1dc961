//! Errors that end an ingest before its log ends.

use crate::Halt;
use rva_bus::BusError;
use rva_lake::LakeError;

/// An error that ended an ingest before its log did. Nothing is lost: what was not committed is still in the log.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A log and a table that do not fit together; an operator decides.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// A log that can't be read.
    #[error("the log can't be read: {}", with_causes(.0))]
    Log(BusError),
    /// A table that can't be written.
    #[error("table {table} can't be written: {}", with_causes(.error))]
    Table {
        /// The table's name: `bronze_raw` or `bronze_dead_letters`.
        table: &'static str,
        /// The sink's own error.
        error: LakeError,
    },
    /// A request to stop while a table could not be written.
    #[error("stopped before {rows} rows were committed to {table}, the log keeps them: {}", with_causes(.error))]
    Stopped {
        /// The table's name: `bronze_raw` or `bronze_dead_letters`.
        table: &'static str,
        /// The number of rows that were read and are not committed.
        rows: usize,
        /// The error that kept the last attempt from committing.
        error: LakeError,
    },
    /// A request to come to an end while something was away all the time.
    #[error("{place} has not worked for {seconds} s, the log keeps what is not committed: {text}")]
    Overdue {
        /// The place that was away: `log`, `bronze_raw` or `bronze_dead_letters`.
        place: &'static str,
        /// The time that it was away, in seconds.
        seconds: u64,
        /// The last error, and what can be done.
        text: String,
    },
    /// A log entry that alone does not fit into memory.
    #[error(
        "partition {partition}: found an entry of more than {bytes} bytes, wanted at most {bytes_max} (buffered_bytes_max)"
    )]
    EntryTooLarge {
        /// The partition's name.
        partition: String,
        /// The bytes that were read of it.
        bytes: usize,
        /// The most bytes that fit.
        bytes_max: usize,
    },
    /// A log that contradicts itself again and again.
    #[error("the log contradicts itself, {attempts} attempts changed nothing: {text}")]
    Contradiction {
        /// The number of rebuilds without progress.
        attempts: u32,
        /// A text with found and wanted.
        text: String,
    },
}

/// Returns the text of an error and of its causes, each once.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

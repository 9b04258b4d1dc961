//! Why an ingest ended before its log did.

use crate::Halt;
use rva_bus::BusError;
use rva_lake::LakeError;

/// Why an ingest ended before its log did. Nothing is lost: what was not committed is still in the log.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Log and table do not fit together; an operator decides.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// The log can't be read.
    #[error("the log can't be read: {}", with_causes(.0))]
    Log(BusError),
    /// A table can't be written.
    #[error("table {table} can't be written: {}", with_causes(.error))]
    Table {
        /// `bronze_raw` or `bronze_dead_letters`.
        table: &'static str,
        /// The sink's own words.
        error: LakeError,
    },
    /// Asked to stop while a table could not be written.
    #[error("stopped before {rows} rows were committed to {table}, the log keeps them: {}", with_causes(.error))]
    Stopped {
        /// `bronze_raw` or `bronze_dead_letters`.
        table: &'static str,
        /// Rows that were read and are not committed.
        rows: usize,
        /// What kept the last attempt from committing.
        error: LakeError,
    },
    /// Asked to come to an end, and something was away all the time.
    #[error("{place} has not worked for {seconds} s, the log keeps what is not committed: {text}")]
    Overdue {
        /// `log`, `bronze_raw` or `bronze_dead_letters`.
        place: &'static str,
        /// How long.
        seconds: u64,
        /// What was said last, and what can be done.
        text: String,
    },
    /// One log entry alone does not fit into memory.
    #[error(
        "partition {partition}: found an entry of more than {bytes} bytes, wanted at most {bytes_max} (buffered_bytes_max)"
    )]
    EntryTooLarge {
        /// The partition.
        partition: String,
        /// Bytes read of it.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The log contradicts itself again and again.
    #[error("the log contradicts itself, {attempts} attempts changed nothing: {text}")]
    Contradiction {
        /// Rebuilds without progress.
        attempts: u32,
        /// What was found and wanted.
        text: String,
    },
}

/// The text of an error and of what caused it, each once.
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

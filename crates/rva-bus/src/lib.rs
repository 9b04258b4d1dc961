//! Event sinks and sources: the embedded log, NDJSON files.

pub mod log;
mod seam;

pub use log::{CutTail, LogCounters, LogOptions, LogReader, LogWriter, SizePolicy};
pub use seam::{BusError, BusErrorKind, EventSink, EventSource, Message, OutgoingMessage, PartitionRange};

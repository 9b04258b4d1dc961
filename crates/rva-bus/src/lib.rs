//! Event sinks and sources: the embedded log, Pulsar (feature `pulsar`), NDJSON files, and a log in memory for tests.

pub mod log;
pub mod memory;
mod ndjson;
#[cfg(feature = "pulsar")]
pub mod pulsar;
mod replay;
mod seam;

pub use log::{CutTail, LogCounters, LogMeter, LogOptions, LogReader, LogWriter, SizePolicy, settle};
pub use ndjson::NdjsonSink;
pub use replay::{
    REPLAY_FILE, REPLAY_LINE, REPLAY_LINE_BYTES, REPLAY_PARTITION, ReplayOptions, ReplayReport, Replayed, replay,
    replay_file, replay_stream,
};
pub use seam::{BusError, BusErrorKind, EventSink, EventSource, Message, OutgoingMessage, PartitionRange};

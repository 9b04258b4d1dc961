//! Event sinks and sources: the embedded log, NDJSON files.

mod seam;

pub use seam::{
    BusError, BusErrorKind, EventSink, EventSource, Message, OutgoingMessage, PartitionRange,
};

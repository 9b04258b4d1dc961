//! Sinks and sources of events: the embedded log, Pulsar (feature `pulsar`) and NDJSON files.
//!
//! Between the cameras and the tables stands a **log**: it takes each record once, keeps it durably, and gives it to
//! whoever reads as often as they need. The table remembers how far it holds the log, and a reader goes on behind that
//! position ([`EventSource::seek`]), so a process may be killed at any moment without a record being lost or stored
//! twice.
//!
//! A log has partitions, in which order holds, and an identity, without which positions mean nothing. [`EventSink`] and
//! [`EventSource`] are the same for every log; one suite of tests runs over them all, the fake too.
//!
//! ```
//! use rva_bus::{EventSink, EventSource, LogOptions, LogReader, LogWriter, OutgoingMessage};
//! use std::{collections::BTreeMap, time::Duration};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let mut log = LogWriter::open(folder.path(), LogOptions::default())?;
//! let mut reader = LogReader::open(folder.path())?;
//! let message = OutgoingMessage {
//!     partition_key: "door".to_owned(),
//!     properties: BTreeMap::new(),
//!     event_time: None,
//!     body: r#"{"frame_index":1}"#.into(),
//! };
//! log.send(message).await?;
//! // The message is accepted but not yet durable, and a reader sees only what is durable.
//! assert!(reader.poll(1 << 20, Duration::ZERO).await?.is_empty());
//! log.flush().await?;
//! let messages = reader.poll(1 << 20, Duration::ZERO).await?;
//! assert_eq!((messages[0].partition.as_str(), messages[0].position.to_string()), ("door", "0:1:-1".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(unreachable_pub)]

pub mod log;
mod ndjson;
#[cfg(feature = "pulsar")]
pub mod pulsar;
mod replay;
mod seam;

pub use log::{
    CutTail, LogBacklog, LogCounters, LogForgotten, LogMeter, LogOptions, LogReader, LogWriter, SizePolicy,
    forget_records, settle,
};
pub use ndjson::NdjsonSink;
pub use replay::{
    REPLAY_FILE, REPLAY_LINE, REPLAY_LINE_BYTES, REPLAY_PARTITION, ReplayOptions, ReplayReport, Replayed, replay,
    replay_file, replay_stream,
};
pub use seam::{BusError, BusErrorKind, EventSink, EventSource, Message, OutgoingMessage, PartitionRange};

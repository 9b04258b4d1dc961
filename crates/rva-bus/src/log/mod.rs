//! The embedded log: append-only NDJSON segments in a folder, one partition for each camera.
//!
//! ```text
//! log/
//!   identity                 a random UUID, made with the log; positions of different identities can't be compared
//!   writer.lock              locked while a writer runs; names its process
//!   cam_01/                  a partition: its key, with every byte but letters, digits, - and _ as %XX
//!     00000000000000000001.ndjson   a segment, named by its first record's number
//!     durable                number of the newest durable record, its segment, the offset behind it, crc
//!     committed              how far the table holds the partition: a hint for retention
//! ```
//!
//! # A line
//!
//! ```text
//! {"crc":"6f3c…","n":17,"ts":"2026-01-31T08:00:00.000000+00:00","event_ts":"…","props":{"store_id":"s"},"rec":{…}}
//! ```
//!
//! `crc` is CRC-32C (Castagnoli) as 8 lower-case hex digits, over the bytes of the line from its 18th (the comma
//! behind the crc field, counted from 1) up to the closing brace, the newline not included. `n` counts from 1 in each
//! partition, without gaps, and is never used twice. `ts` is when the log accepted the record, `event_ts` (optional)
//! its capture time. The body is `rec` where it is JSON on one line, byte for byte, always the last field; any other
//! body is `raw`, in base64. `jq -c .rec` and `tail -f` read it.
//!
//! # Durability
//!
//! `send` returns when the operating system has the record: a killed process loses nothing that was accepted.
//! Records are synced together every [`LogOptions::sync_interval`] (200 ms) or [`LogOptions::sync_bytes`], whichever
//! comes first: a power loss takes at most that. After the sync the partition's durable mark moves, and readers see
//! nothing beyond it, so a position that was read can't be used again by another record.
//!
//! A failed fsync leaves unknown what is on the disk: the writer then refuses everything with a permanent error. Open
//! a new one; it writes the undecided tail again before it syncs.
//!
//! # Damage
//!
//! A torn tail beyond the mark is cut at open, logged and listed by [`LogWriter::recovered`]; where whole records lie
//! behind the damage (a power loss writes pages in any order), they go into `SEGMENT.cut-OFFSET` beside it. Damage at
//! or below the mark is never cut: the reader fails with [`BusErrorKind::Permanent`](crate::BusErrorKind) and names
//! file, byte, found and wanted checksum. Ways out: restore the file from a copy, or move the segment out of the folder
//! and [`seek`](crate::EventSource::seek) behind the gap. A file that ends before the mark is "log shortened".
//!
//! # Retention
//!
//! A segment goes when all its records are committed and older than [`LogOptions::retention`] (72 h). Over
//! [`LogOptions::size_bytes_max`] younger committed segments go too, and then the [`SizePolicy`] decides: wait, or drop
//! the oldest records and count them. A reader whose next record is gone gets a permanent error until it seeks behind
//! the gap.
//!
//! # Forgetting
//!
//! [`forget_records`] writes lines that say nothing over chosen records that are committed: as long, with the same
//! number and time, no properties, and the body `0`. Numbers and offsets stay.

mod backlog;
mod files;
mod folder;
mod forget;
mod line;
mod options;
mod partition;
mod reader;
mod recovery;
mod retention;
mod scan;
mod settle;
mod state;
mod writer;

pub(crate) use folder::io_error;
#[cfg(feature = "pulsar")]
pub(crate) use folder::{own_file, replace};

#[cfg(feature = "pulsar")]
pub(crate) use forget::REFUSED_FILE;

pub use backlog::LogBacklog;
pub use files::{OsFiles, SegmentFile, SegmentFiles};
pub use forget::{LogForgotten, forget_records};
pub use options::{LogOptions, SizePolicy};
pub use reader::LogReader;
pub use settle::settle;
pub use state::LogCounters;
pub use writer::{CutTail, LogMeter, LogWriter};

//! Rows of the bronze tables. Column names and order are fixed: other systems read them.

use crate::{CameraId, RunId, StoreId, Timestamp};
use bytestring::ByteString;
use std::{collections::BTreeMap, sync::Arc};

/// The columns of `rva.bronze_raw`, in order; field ids count from 1.
pub const BRONZE_COLUMNS: [&str; 7] =
    ["schema_version", "pipeline_run_id", "frame_index", "payload", "camera_id", "store_id", "ingest_ts"];

/// The columns of `rva.bronze_dead_letters`, in order; field ids count from 1.
pub const DEAD_LETTER_COLUMNS: [&str; 9] =
    ["topic", "partition", "message_id", "publish_ts", "reason", "detail", "raw", "properties", "ingest_ts"];

/// The key of an event: two messages of one key are the same event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// The run's id.
    pub run: RunId,
    /// The camera's id.
    pub camera: CameraId,
    /// The frame's number, from 1 in ours, any integer in foreign ones.
    pub frame_index: i64,
}

/// A row of `rva.bronze_raw` before its ingest time is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BronzeEvent {
    /// The schema version that the message told.
    pub schema_version: Arc<str>,
    /// The run, camera and frame.
    pub key: EventKey,
    /// The frame record, byte for byte as received.
    pub payload: ByteString,
    /// The shop's id.
    pub store: StoreId,
}

/// A row of `rva.bronze_dead_letters`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The topic's name; `embedded/<camera>` for a partition of the embedded log.
    pub topic: String,
    /// The number of the partition in its topic; 0 in the embedded log.
    pub partition: i32,
    /// The message's position as text, `ledger:entry:batch_index`.
    pub message_id: String,
    /// The time at which the log accepted the message.
    pub publish_ts: Timestamp,
    /// The reason, of a closed set.
    pub reason: crate::RejectionReason,
    /// A line that says what was found and what was wanted.
    pub detail: String,
    /// The message's bytes as they came.
    pub raw: Vec<u8>,
    /// The message's properties.
    pub properties: BTreeMap<String, String>,
    /// The time at which ingest received it.
    pub ingest_ts: Timestamp,
}

//! Rows of the bronze tables. Column names and order are fixed: other systems read them.

use crate::{CameraId, RunId, StoreId, Timestamp};
use bytestring::ByteString;
use std::{collections::BTreeMap, sync::Arc};

/// Columns of `rva.bronze_raw`, in order; field ids count from 1.
pub const BRONZE_COLUMNS: [&str; 7] =
    ["schema_version", "pipeline_run_id", "frame_index", "payload", "camera_id", "store_id", "ingest_ts"];

/// Columns of `rva.bronze_dead_letters`, in order; field ids count from 1.
pub const DEAD_LETTER_COLUMNS: [&str; 9] =
    ["topic", "partition", "message_id", "publish_ts", "reason", "detail", "raw", "properties", "ingest_ts"];

/// What makes two messages the same event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// The run.
    pub run: RunId,
    /// The camera.
    pub camera: CameraId,
    /// The frame, from 1 in ours, any integer in foreign ones.
    pub frame_index: i64,
}

/// A row of `rva.bronze_raw` before its ingest time is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BronzeEvent {
    /// Of the message.
    pub schema_version: Arc<str>,
    /// Run, camera and frame.
    pub key: EventKey,
    /// The frame record, byte for byte as received.
    pub payload: ByteString,
    /// The shop.
    pub store: StoreId,
}

/// A row of `rva.bronze_dead_letters`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The topic; `embedded/<camera>` for a partition of the embedded log.
    pub topic: String,
    /// The number of the partition in its topic; 0 in the embedded log.
    pub partition: i32,
    /// The message's position as text, `ledger:entry:batch_index`.
    pub message_id: String,
    /// When the log accepted the message.
    pub publish_ts: Timestamp,
    /// A code of the closed set.
    pub reason: crate::RejectionReason,
    /// What was found and what was wanted.
    pub detail: String,
    /// The message's bytes.
    pub raw: Vec<u8>,
    /// The message's properties.
    pub properties: BTreeMap<String, String>,
    /// When ingest received it.
    pub ingest_ts: Timestamp,
}

//! The nouns of retail video analytics, and the bytes that other languages read.
//!
//! A camera makes **frames**, a detector makes **detections** of a frame, a tracker joins them to **tracks**, and all
//! that was seen in one frame travels as one [`FrameRecord`], a line of JSON. On a topic the record lies in an
//! [`Envelope`]; in the table it is a [`BronzeEvent`], its text byte for byte as it came. Other systems read those
//! bytes, so their names, order and rounding are fixed here and nowhere else.
//!
//! A value of one of these types is already checked: text and bytes from outside become one through a parser that
//! says what it found and what it wanted. A message that can't become a row becomes a [`Rejection`] and is kept.
//!
//! The crate is pure: it has no clock, no files and no network.
//!
//! ```
//! use rva_types::decode_message;
//! use std::collections::BTreeMap;
//!
//! let record = r#"{"schema_version":"1.0","pipeline_run_id":"run","frame_index":1,
//!     "source":{"store_id":"berlin","camera_id":"door"}}"#;
//! let event = decode_message(record.as_bytes(), &BTreeMap::new())?;
//! assert_eq!((event.store.as_str(), event.key.camera.as_str()), ("berlin", "door"));
//! assert_eq!(event.payload, record);
//!
//! let rejection = decode_message(b"[]", &BTreeMap::new()).unwrap_err();
//! assert_eq!(rejection.to_string(), "wrong_shape: found message that is an array, wanted a JSON object");
//! # Ok::<(), rva_types::Rejection>(())
//! ```
#![warn(unreachable_pub)]

mod capture;
mod choice;
mod envelope;
mod error;
mod fields;
mod folder;
mod forgetting;
mod geometry;
mod ids;
mod job;
mod position;
mod record;
mod redact;
mod rejection;
mod rows;
mod stop;
mod time;
mod wait;

pub use choice::{CaptureChoice, CapturePolicy, ChoiceError, Device, HwAcceleration, RtspTransport};
pub use envelope::{
    Envelope, MessageDecoder, PULSAR_SCHEMA_DEFINITION, PULSAR_SCHEMA_NAME, PropertyName, decode_message,
};
pub use error::SeamError;
pub use fields::RecordHead;
pub use folder::DataFolder;
pub use forgetting::RecordChoice;
pub use geometry::{BBox, ImageSize, Point};
pub use ids::{CameraId, IdError, RunId, SourceIdentity, StoreId, StreamId};
pub use job::JobName;
pub use position::{OffsetMap, PartitionName, Position, PositionError};
pub use record::{
    Detection, FrameRecord, FrameRecordInput, RecordBox, RecordDetection, RecordNorm, RecordPixel, RecordPoint,
    RecordSize, RecordSource, RuntimeDescription, SCHEMA_VERSION, TrackedDetection,
};
pub use redact::{HIDDEN, forms_of, pipeline_properties, redact, secrets_of, shown_source};
pub use rejection::{Rejection, RejectionReason, one_line, steers};
pub use rows::{BRONZE_COLUMNS, BronzeEvent, DEAD_LETTER_COLUMNS, DeadLetter, EventKey};
pub use stop::StopFlag;
pub use time::{MediaTime, Timestamp, TimestampError};
pub use wait::DoublingWait;

//! The nouns of retail video analytics, and the bytes that other languages read.
//!
//! Pure: no clock, no files, no network. A value of one of these types is already checked; text and bytes from
//! outside become one through a parser that says what it found and what it wanted.

mod capture;
mod envelope;
mod fields;
mod geometry;
mod ids;
mod position;
mod record;
mod redact;
mod rejection;
mod rows;
mod time;

pub use envelope::{
    Envelope, MessageDecoder, PULSAR_SCHEMA_DEFINITION, PULSAR_SCHEMA_NAME, PropertyName, decode_message,
};
pub use fields::RecordHead;
pub use geometry::{BBox, ImageSize, Point};
pub use ids::{CameraId, IdError, RunId, SourceIdentity, StoreId, StreamId};
pub use position::{OffsetMap, PartitionName, Position, PositionError};
pub use record::{
    Detection, FrameRecord, FrameRecordInput, RecordBox, RecordDetection, RecordNorm, RecordPixel, RecordPoint,
    RecordSize, RecordSource, RuntimeDescription, SCHEMA_VERSION, TrackedDetection,
};
pub use redact::{HIDDEN, forms_of, pipeline_properties, redact, secrets_of, shown_source};
pub use rejection::{Rejection, RejectionReason, one_line, steers};
pub use rows::{BRONZE_COLUMNS, BronzeEvent, DEAD_LETTER_COLUMNS, DeadLetter, EventKey};
pub use time::{MediaTime, Timestamp, TimestampError};

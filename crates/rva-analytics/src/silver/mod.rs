//! Bronze to silver: each row of bronze becomes one frame and its detections, or rejects that say why not.

mod explode;
mod json;

pub use explode::explode;

use rva_types::{CameraId, RunId, StoreId, Timestamp};
use std::sync::Arc;

/// A row of `rva.bronze_raw`, as far as silver needs it.
#[derive(Debug, Clone, Copy)]
pub struct BronzeRow<'a> {
    /// The version that the message told.
    pub schema_version: &'a str,
    /// The run's id.
    pub run: &'a RunId,
    /// The frame's index in its run.
    pub frame_index: i64,
    /// The frame record as JSON.
    pub payload: &'a str,
    /// The camera's id.
    pub camera: &'a CameraId,
    /// The shop's id.
    pub store: &'a StoreId,
    /// The time at which the ingest received it.
    pub ingest_ts: Timestamp,
}

/// The key that all rows of one frame have in common. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey {
    /// The shop's id.
    pub store: StoreId,
    /// The camera's id.
    pub camera: CameraId,
    /// The run's id.
    pub run: RunId,
    /// The frame's index in its run.
    pub frame_index: i64,
}

/// A row of `rva.silver_frames` without its processing time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilverFrame {
    /// The key of the frame.
    pub key: FrameKey,
    /// The time at which it was captured.
    pub capture_ts: Timestamp,
    /// The width of the picture in pixels, at least 1.
    pub img_w: i32,
    /// The height of the picture in pixels, at least 1.
    pub img_h: i32,
    /// The number of kept detections of class `person`.
    pub people: i32,
    /// The number of all kept detections.
    pub detections: i32,
}

/// A row of `rva.silver_detections`, without the columns of its frame.
#[derive(Debug, Clone, PartialEq)]
pub struct SilverDetection {
    /// The detection's id, unique in its frame.
    pub det_id: Arc<str>,
    /// The label that the model gave, if any.
    pub class_name: Option<Arc<str>>,
    /// The class's number, if any.
    pub class_id: Option<i32>,
    /// The confidence in [0, 1], at least the threshold.
    pub conf: f64,
    /// The box's left, top, right and bottom in whole pixels, inside the picture, with an area.
    pub bbox: [i32; 4],
    /// The confirmed track, if any.
    pub track_id: Option<i64>,
}

impl SilverDetection {
    /// Returns whether it is a person.
    pub fn is_person(&self) -> bool {
        self.class_name.as_deref() == Some(crate::PERSON)
    }
}

/// A frame with its detections.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRows {
    /// The frame.
    pub frame: SilverFrame,
    /// Its kept detections, in the record's order.
    pub detections: Vec<SilverDetection>,
}

/// A reason why a frame or a detection isn't in silver. The codes are a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The record is of another version than 1.
    SchemaVersion,
    /// The record is no JSON object with a picture's size and a list of detections.
    PayloadShape,
    /// The record has no capture time that can be read.
    NoCaptureTime,
    /// The capture time is before 2000, or more than a day after the ingest time.
    AbsurdCaptureTime,
    /// A detection is no JSON object.
    DetectionShape,
    /// A detection has no `det_id`.
    NoDetId,
    /// A detection's `det_id` stands twice in its frame.
    DuplicateDetId,
    /// A detection has no confidence in [0, 1].
    NoConf,
    /// A detection has no box of four numbers.
    NoBox,
    /// A box has no area.
    EmptyBox,
    /// A box lies outside the picture.
    BoxOutside,
}

impl RejectReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::SchemaVersion,
        Self::PayloadShape,
        Self::NoCaptureTime,
        Self::AbsurdCaptureTime,
        Self::DetectionShape,
        Self::NoDetId,
        Self::DuplicateDetId,
        Self::NoConf,
        Self::NoBox,
        Self::EmptyBox,
        Self::BoxOutside,
    ];

    /// Returns the code that the table holds.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SchemaVersion => "schema_version",
            Self::PayloadShape => "payload_shape",
            Self::NoCaptureTime => "no_capture_ts",
            Self::AbsurdCaptureTime => "absurd_capture_ts",
            Self::DetectionShape => "detection_shape",
            Self::NoDetId => "no_det_id",
            Self::DuplicateDetId => "duplicate_det_id",
            Self::NoConf => "no_conf",
            Self::NoBox => "no_bbox",
            Self::EmptyBox => "empty_bbox",
            Self::BoxOutside => "bbox_outside",
        }
    }
}

/// A row of `rva.silver_rejects` without its processing time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The key of the frame.
    pub key: FrameKey,
    /// The id of the detection; `None` where the whole frame is rejected.
    pub det_id: Option<String>,
    /// The reason.
    pub reason: RejectReason,
    /// A line that says what was found and what was wanted.
    pub detail: String,
}

/// The rows that one row of bronze becomes. Either `rows` is there, or `rejects` holds one for the whole frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Exploded {
    /// The frame and its detections.
    pub rows: Option<FrameRows>,
    /// The frame's or the detections' rejects.
    pub rejects: Vec<Reject>,
    /// The number of detections under the threshold: no rejects, but counted.
    pub under_threshold: u64,
}

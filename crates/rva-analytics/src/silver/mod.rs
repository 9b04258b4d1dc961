//! Bronze to silver: each row of bronze becomes one frame and its detections, and what doesn't count becomes a reject.

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
    /// The run.
    pub run: &'a RunId,
    /// The frame in its run.
    pub frame_index: i64,
    /// The frame record as JSON.
    pub payload: &'a str,
    /// The camera.
    pub camera: &'a CameraId,
    /// The shop.
    pub store: &'a StoreId,
    /// When the ingest received it.
    pub ingest_ts: Timestamp,
}

/// What all rows of one frame have in common. Cheap to copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey {
    /// The shop.
    pub store: StoreId,
    /// The camera.
    pub camera: CameraId,
    /// The run.
    pub run: RunId,
    /// The frame in its run.
    pub frame_index: i64,
}

/// A row of `rva.silver_frames` without its processing time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilverFrame {
    /// Which frame.
    pub key: FrameKey,
    /// When it was captured.
    pub capture_ts: Timestamp,
    /// Width of the picture in pixels, at least 1.
    pub img_w: i32,
    /// Height of the picture in pixels, at least 1.
    pub img_h: i32,
    /// Kept detections of class `person`.
    pub people: i32,
    /// All kept detections.
    pub detections: i32,
}

/// A row of `rva.silver_detections`, beside what its frame tells.
#[derive(Debug, Clone, PartialEq)]
pub struct SilverDetection {
    /// Unique in its frame.
    pub det_id: Arc<str>,
    /// The label that the model gave, if any.
    pub class_name: Option<Arc<str>>,
    /// The class's number, if any.
    pub class_id: Option<i32>,
    /// Confidence in [0, 1], at least the threshold.
    pub conf: f64,
    /// Left, top, right, bottom in whole pixels, inside the picture, with an area.
    pub bbox: [i32; 4],
    /// The confirmed track, if any.
    pub track_id: Option<i64>,
}

impl SilverDetection {
    /// Whether it is somebody.
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

/// Why a frame or a detection isn't in silver. The codes are a closed set.
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
    /// Every reason.
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

    /// Returns the code in the table.
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
    /// Which frame.
    pub key: FrameKey,
    /// Which detection; `None`: the whole frame.
    pub det_id: Option<String>,
    /// Why.
    pub reason: RejectReason,
    /// What was found and what was wanted, on one line.
    pub detail: String,
}

/// What one row of bronze becomes. Either `rows` is there, or `rejects` holds one for the whole frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Exploded {
    /// The frame and its detections.
    pub rows: Option<FrameRows>,
    /// What doesn't count.
    pub rejects: Vec<Reject>,
    /// Detections under the threshold: no rejects, but counted.
    pub under_threshold: u64,
}

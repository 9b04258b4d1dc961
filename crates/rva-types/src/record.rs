//! The frame record, version 1.0: one JSON object for each processed frame.

use crate::{BBox, ImageSize, RunId, SourceIdentity, Timestamp};
use serde::{Deserialize, Serialize};

/// The version that our records carry.
pub const SCHEMA_VERSION: &str = "1.0";

/// A box that a detector saw, how sure it is, and the model's class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The box, in source pixels, xyxy.
    pub bbox: BBox,
    /// The confidence in [0, 1].
    pub conf: f32,
    /// The index into the model's class names.
    pub class_id: u32,
}

/// A detection and the track it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackedDetection {
    /// The detector's own measurement, never a tracker's estimate.
    pub detection: Detection,
    /// The confirmed track, from 1; `None` while there is none.
    pub track_id: Option<u64>,
}

/// The model and settings that made a record.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeDescription {
    /// The model's file name.
    pub model_name: String,
    /// The tracker's name: `steady`, `bytetrack`, `sort`, …
    pub tracker_type: String,
    /// The confidence in [0, 1] that detections of a record reach or exceed.
    pub conf_thres: f64,
    /// The class ids that were kept; `None` for all.
    pub class_filter: Option<Vec<u32>>,
}

/// The parts that a frame record is made of.
#[derive(Debug, Clone, Copy)]
pub struct FrameRecordInput<'a> {
    /// The id of this opening of the source.
    pub run: &'a RunId,
    /// The place where the frame was seen.
    pub source: &'a SourceIdentity,
    /// The frame's number from 1, counting decoded frames.
    pub frame_index: u64,
    /// The time at which the frame was captured.
    pub capture_ts: Timestamp,
    /// The size of the source frame in pixels.
    pub image_size: ImageSize,
    /// The detections in the detector's order; those under `conf_thres` are left out of the record.
    pub detections: &'a [TrackedDetection],
    /// The class names by class id.
    pub class_names: &'a [String],
    /// The model and settings that make the record.
    pub runtime: &'a RuntimeDescription,
    /// The source of the frames, credentials removed.
    pub source_uri: Option<&'a str>,
}

/// A frame record. Numbers are rounded half away from zero so that the same input gives the same bytes: confidence to
/// 4 decimals, pixels to 2, normalised values to 6.
///
/// Reading one takes what a reader can't do without; fields that it lacks are empty. Rows of a table are read with
/// [`MessageDecoder`](crate::MessageDecoder), which keeps the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// The version of the record's schema: `1.0`.
    #[serde(default)]
    pub schema_version: String,
    /// The id of this opening of the source.
    pub pipeline_run_id: String,
    /// The place where the frame was seen.
    pub source: RecordSource,
    /// The frame's number from 1, counting decoded frames.
    pub frame_index: u64,
    /// The time at which the frame was captured, in RFC 3339.
    pub capture_ts: String,
    /// The size of the source frame in pixels.
    pub image_size: RecordSize,
    /// The detections that the record holds, in the detector's order.
    pub detections: Vec<RecordDetection>,
    /// The model and settings that made the record.
    #[serde(default)]
    pub runtime: RuntimeDescription,
    /// The source of the frames, credentials removed.
    #[serde(default)]
    pub source_uri: Option<String>,
}

/// The place where a frame was seen, as texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordSource {
    /// The shop's id.
    #[serde(default)]
    pub store_id: String,
    /// The camera's id.
    pub camera_id: String,
    /// The id of one of its streams.
    #[serde(default)]
    pub stream_id: String,
}

/// The size of the source frame, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSize {
    /// The number of columns.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
}

/// A detection of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordDetection {
    /// The id `<frame_index>-<j>`, where j counts from 0 in the frame.
    #[serde(default)]
    pub det_id: String,
    /// The label of the class.
    pub class: Option<String>,
    /// The index into the model's labels.
    pub class_id: i64,
    /// The confidence in [0, 1].
    pub conf: f64,
    /// The box in source pixels, clipped to the frame.
    pub bbox: RecordBox,
    /// The box's top left corner and size, over width and height of the frame.
    #[serde(default)]
    pub bbox_norm: RecordNorm,
    /// The centre of the box in pixels, rounded.
    #[serde(default)]
    pub centroid: RecordPixel,
    /// The centre of the box in parts of the frame, in [0, 1].
    #[serde(default)]
    pub centroid_norm: RecordPoint,
    /// The confirmed track, from 1.
    pub track_id: Option<u64>,
}

/// The corners of a box in source pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecordBox {
    /// The left side.
    pub x1: f64,
    /// The top side.
    pub y1: f64,
    /// The right side.
    pub x2: f64,
    /// The bottom side.
    pub y2: f64,
}

impl RecordBox {
    /// Returns left, top, width and height.
    pub fn ltwh(self) -> [f64; 4] {
        [self.x1, self.y1, self.x2 - self.x1, self.y2 - self.y1]
    }
}

/// A box in parts of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RecordNorm {
    /// The left side.
    pub x: f64,
    /// The top side.
    pub y: f64,
    /// The width.
    pub w: f64,
    /// The height.
    pub h: f64,
}

/// A place in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordPixel {
    /// The distance from the left.
    pub x: i64,
    /// The distance from the top.
    pub y: i64,
}

/// A place in parts of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RecordPoint {
    /// The distance from the left.
    pub x: f64,
    /// The distance from the top.
    pub y: f64,
}

/// Rounds half away from zero; never returns a negative zero.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale + 0.0
}

impl FrameRecord {
    /// Builds the record. It leaves out detections under `conf_thres`, boxes that aren't finite, and boxes without any
    /// area inside the frame. `det_id` counts those that stay.
    pub fn new(input: &FrameRecordInput<'_>) -> Self {
        let mut detections = Vec::with_capacity(input.detections.len());
        for tracked in input.detections {
            if let Some(bbox) = recorded_box(&tracked.detection, input.image_size, input.runtime.conf_thres) {
                detections.push(recorded(input, tracked, bbox, detections.len()));
            }
        }
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            pipeline_run_id: input.run.to_string(),
            source: RecordSource {
                store_id: input.source.store_id.to_string(),
                camera_id: input.source.camera_id.to_string(),
                stream_id: input.source.stream_id.to_string(),
            },
            frame_index: input.frame_index,
            capture_ts: input.capture_ts.to_string(),
            image_size: RecordSize { width: input.image_size.width, height: input.image_size.height },
            detections,
            runtime: input.runtime.clone(),
            source_uri: input.source_uri.map(str::to_owned),
        }
    }

    /// Reads a record from its JSON.
    ///
    /// # Errors
    /// Returns an error for a text that is no record: what was found, and where.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns the record as one line of JSON without a line end.
    pub fn to_json(&self) -> String {
        // No map with foreign keys and no foreign Serialize: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the number of detections that the record holds.
    pub fn detection_count(&self) -> usize {
        self.detections.len()
    }
}

impl Detection {
    /// Returns whether a record of a frame of this size holds the detection: with a confidence of at least
    /// `conf_thres`, and a finite box that has an area within the frame. Raising the threshold records fewer.
    pub fn is_recorded(&self, image_size: ImageSize, conf_thres: f64) -> bool {
        recorded_box(self, image_size, conf_thres).is_some()
    }
}

/// Returns the box that a record holds of a detection, or `None`; what a record holds is decided here alone.
fn recorded_box(detection: &Detection, image_size: ImageSize, conf_thres: f64) -> Option<RecordBox> {
    let Detection { bbox, conf, class_id: _ } = *detection;
    // The detector counts in 32 bits: there 0.25 is the same threshold, and 0.3 another number.
    let is_sure = conf.is_finite() && conf >= conf_thres as f32;
    if !is_sure || !bbox.is_finite() {
        return None;
    }
    let clipped = bbox.clipped(image_size);
    let [x1, y1, x2, y2] = [clipped.x1, clipped.y1, clipped.x2, clipped.y2].map(|v| rounded(f64::from(v), 2));
    (x2 > x1 && y2 > y1).then_some(RecordBox { x1, y1, x2, y2 })
}

fn recorded(
    input: &FrameRecordInput<'_>,
    tracked: &TrackedDetection,
    bbox: RecordBox,
    index: usize,
) -> RecordDetection {
    let Detection { bbox: _, conf, class_id } = tracked.detection;
    let RecordBox { x1, y1, x2, y2 } = bbox;
    let (width, height) = (f64::from(input.image_size.width), f64::from(input.image_size.height));
    let (center_x, center_y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
    let class = input.class_names.get(class_id as usize).cloned().unwrap_or_else(|| class_id.to_string());
    RecordDetection {
        det_id: format!("{}-{index}", input.frame_index),
        class: Some(class),
        class_id: class_id.into(),
        conf: rounded(f64::from(conf), 4),
        bbox,
        bbox_norm: RecordNorm {
            x: rounded(x1 / width, 6),
            y: rounded(y1 / height, 6),
            w: rounded((x2 - x1) / width, 6),
            h: rounded((y2 - y1) / height, 6),
        },
        centroid: RecordPixel { x: center_x.round() as i64, y: center_y.round() as i64 },
        centroid_norm: RecordPoint { x: rounded(center_x / width, 6), y: rounded(center_y / height, 6) },
        track_id: tracked.track_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CameraId, StoreId, StreamId};

    const SIZE: ImageSize = ImageSize { width: 768, height: 576 };

    struct Given {
        run: RunId,
        source: SourceIdentity,
        names: Vec<String>,
        runtime: RuntimeDescription,
    }

    fn given() -> Given {
        Given {
            run: RunId::parse("0190f3a1b2c37d4e8f90a1b2c3d4e5f6").unwrap(),
            source: SourceIdentity {
                store_id: StoreId::parse("store_01").unwrap(),
                camera_id: CameraId::parse("cam_01").unwrap(),
                stream_id: StreamId::parse("stream_01").unwrap(),
            },
            names: vec!["person".into(), "bicycle".into()],
            runtime: RuntimeDescription {
                model_name: "yolov8n.onnx".into(),
                tracker_type: "bytetrack".into(),
                conf_thres: 0.25,
                class_filter: None,
            },
        }
    }

    fn record(given: &Given, detections: &[TrackedDetection]) -> FrameRecord {
        FrameRecord::new(&FrameRecordInput {
            run: &given.run,
            source: &given.source,
            frame_index: 12,
            capture_ts: Timestamp::from_micros(1_700_000_000_100_000),
            image_size: SIZE,
            detections,
            class_names: &given.names,
            runtime: &given.runtime,
            source_uri: Some("vtest.avi"),
        })
    }

    fn seen(x1: f32, y1: f32, x2: f32, y2: f32, conf: f32, track_id: Option<u64>) -> TrackedDetection {
        TrackedDetection { detection: Detection { bbox: BBox::new(x1, y1, x2, y2), conf, class_id: 0 }, track_id }
    }

    #[test]
    fn the_bytes_of_a_record_are_promised() {
        let given = given();
        let detections =
            [seen(10.126, 20.0, 110.5, 220.25, 0.912_345, Some(3)), seen(-5.0, 560.0, 40.0, 600.0, 0.3, None)];
        let found = record(&given, &detections).to_json();
        assert_eq!(found, include_str!("../tests/golden/frame_record.json").trim_end());
    }

    #[test]
    fn a_record_that_was_written_is_read_and_written_again_byte_for_byte() {
        for text in [
            include_str!("../tests/golden/frame_record.json").trim_end(),
            include_str!("../tests/golden/empty_frame_record.json").trim_end(),
        ] {
            assert_eq!(FrameRecord::parse(text).unwrap().to_json(), text);
        }
    }

    #[test]
    fn a_record_that_lacks_what_nobody_needs_is_read() {
        let text = r#"{"pipeline_run_id":"r","source":{"camera_id":"c"},"frame_index":1,"capture_ts":"2026-01-31T08:00:00Z","image_size":{"width":4,"height":3},"detections":[{"class_id":0,"conf":0.5,"bbox":{"x1":1,"y1":2,"x2":3,"y2":3}}],"later":1}"#;
        let record = FrameRecord::parse(text).unwrap();
        assert_eq!(record.detections[0].bbox.ltwh(), [1.0, 2.0, 2.0, 1.0]);
        assert_eq!((record.detections[0].track_id, record.source.store_id.as_str()), (None, ""));
        let error = FrameRecord::parse(&text.replace("frame_index", "frame")).unwrap_err().to_string();
        assert!(error.contains("frame_index"), "{error}");
    }

    #[test]
    fn a_frame_without_detections_is_still_a_record() {
        let found = record(&given(), &[]).to_json();
        assert_eq!(found, include_str!("../tests/golden/empty_frame_record.json").trim_end());
    }

    #[test]
    fn detections_under_the_threshold_outside_the_frame_or_not_finite_are_left_out() {
        let given = given();
        let detections = [
            seen(0.0, 0.0, 10.0, 10.0, 0.2499, None),
            seen(800.0, 0.0, 900.0, 10.0, 0.9, None),
            seen(f32::NAN, 0.0, 9.0, 10.0, 0.9, None),
            seen(5.0, 5.0, 5.001, 10.0, 0.9, None),
            seen(1.0, 1.0, 9.0, 10.0, 0.25, None),
        ];
        let found = record(&given, &detections);
        let held = detections.iter().filter(|seen| seen.detection.is_recorded(SIZE, given.runtime.conf_thres)).count();
        assert_eq!((found.detection_count(), held), (1, 1), "who counts and who writes decide alike");
        assert_eq!(found.detections[0].det_id, "12-0");
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!(rounded(0.125, 2), 0.13);
        assert_eq!(rounded(-0.125, 2), -0.13);
        assert_eq!(rounded(-0.001, 2).to_bits(), 0.0f64.to_bits());
    }
}

//! The frame record, version 1.0: one JSON object for each processed frame.

use crate::{BBox, ImageSize, RunId, SourceIdentity, Timestamp};
use serde::Serialize;

/// The version that our records carry.
pub const SCHEMA_VERSION: &str = "1.0";

/// What a detector saw: a box, how sure it is, and the model's class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Source pixels, xyxy.
    pub bbox: BBox,
    /// Confidence in [0, 1].
    pub conf: f32,
    /// Index into the model's class names.
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

/// What made a record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuntimeDescription {
    /// The model's file name.
    pub model_name: String,
    /// `steady`, `bytetrack`, `sort`, …
    pub tracker_type: String,
    /// Detections of a record are at or above this confidence, in [0, 1].
    pub conf_thres: f64,
    /// Class ids that were kept, or all.
    pub class_filter: Option<Vec<u32>>,
}

/// All that a frame record is made of.
#[derive(Debug, Clone, Copy)]
pub struct FrameRecordInput<'a> {
    /// This opening of the source.
    pub run: &'a RunId,
    /// Where the frame was seen.
    pub source: &'a SourceIdentity,
    /// From 1, counting decoded frames.
    pub frame_index: u64,
    /// When the frame was captured.
    pub capture_ts: Timestamp,
    /// Of the source frame.
    pub image_size: ImageSize,
    /// In the detector's order; those under `conf_thres` are left out here.
    pub detections: &'a [TrackedDetection],
    /// Class names by class id.
    pub class_names: &'a [String],
    /// What made the record.
    pub runtime: &'a RuntimeDescription,
    /// Where the frames came from, credentials removed.
    pub source_uri: Option<&'a str>,
}

/// The JSON form. Numbers are rounded half away from zero so that the same input gives the same bytes:
/// confidence 4 decimals, pixels 2, normalised values 6.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrameRecord {
    schema_version: &'static str,
    pipeline_run_id: String,
    source: SourceJson,
    frame_index: u64,
    capture_ts: String,
    image_size: SizeJson,
    detections: Vec<DetectionJson>,
    runtime: RuntimeDescription,
    source_uri: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct SourceJson {
    store_id: String,
    camera_id: String,
    stream_id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct SizeJson {
    width: u32,
    height: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct DetectionJson {
    det_id: String,
    class: String,
    class_id: u32,
    conf: f64,
    bbox: BoxJson,
    bbox_norm: NormJson,
    centroid: PixelJson,
    centroid_norm: PointJson,
    track_id: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct BoxJson {
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct NormJson {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct PixelJson {
    x: i64,
    y: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct PointJson {
    x: f64,
    y: f64,
}

/// Rounds half away from zero; never gives a negative zero.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale + 0.0
}

impl FrameRecord {
    /// Builds the record. Left out are detections under `conf_thres`, boxes that aren't finite, and boxes without
    /// any area inside the frame. `det_id` counts those that stay.
    pub fn new(input: &FrameRecordInput<'_>) -> Self {
        let kept =
            input.detections.iter().filter(|d| f64::from(d.detection.conf) >= input.runtime.conf_thres as f32 as f64);
        let mut detections = Vec::with_capacity(input.detections.len());
        for tracked in kept {
            detections.extend(detection_json(input, tracked, detections.len()));
        }
        Self {
            schema_version: SCHEMA_VERSION,
            pipeline_run_id: input.run.to_string(),
            source: SourceJson {
                store_id: input.source.store_id.to_string(),
                camera_id: input.source.camera_id.to_string(),
                stream_id: input.source.stream_id.to_string(),
            },
            frame_index: input.frame_index,
            capture_ts: input.capture_ts.to_string(),
            image_size: SizeJson { width: input.image_size.width, height: input.image_size.height },
            detections,
            runtime: input.runtime.clone(),
            source_uri: input.source_uri.map(str::to_owned),
        }
    }

    /// One line of JSON without a line end.
    pub fn to_json(&self) -> String {
        // No map with foreign keys and no foreign Serialize: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How many detections the record holds.
    pub fn detection_count(&self) -> usize {
        self.detections.len()
    }
}

fn detection_json(input: &FrameRecordInput<'_>, tracked: &TrackedDetection, index: usize) -> Option<DetectionJson> {
    let Detection { bbox, conf, class_id } = tracked.detection;
    if !bbox.is_finite() || !conf.is_finite() {
        return None;
    }
    let clipped = bbox.clipped(input.image_size);
    let [x1, y1, x2, y2] = [clipped.x1, clipped.y1, clipped.x2, clipped.y2].map(|v| rounded(f64::from(v), 2));
    if x2 <= x1 || y2 <= y1 {
        return None;
    }
    let (width, height) = (f64::from(input.image_size.width), f64::from(input.image_size.height));
    let (center_x, center_y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
    Some(DetectionJson {
        det_id: format!("{}-{index}", input.frame_index),
        class: input.class_names.get(class_id as usize).cloned().unwrap_or_else(|| class_id.to_string()),
        class_id,
        conf: rounded(f64::from(conf), 4),
        bbox: BoxJson { x1, y1, x2, y2 },
        bbox_norm: NormJson {
            x: rounded(x1 / width, 6),
            y: rounded(y1 / height, 6),
            w: rounded((x2 - x1) / width, 6),
            h: rounded((y2 - y1) / height, 6),
        },
        centroid: PixelJson { x: center_x.round() as i64, y: center_y.round() as i64 },
        centroid_norm: PointJson { x: rounded(center_x / width, 6), y: rounded(center_y / height, 6) },
        track_id: tracked.track_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CameraId, StoreId, StreamId};

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
            image_size: ImageSize { width: 768, height: 576 },
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
        assert_eq!(found.detection_count(), 1);
        assert_eq!(found.detections[0].det_id, "12-0");
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!(rounded(0.125, 2), 0.13);
        assert_eq!(rounded(-0.125, 2), -0.13);
        assert_eq!(rounded(-0.001, 2).to_bits(), 0.0f64.to_bits());
    }
}

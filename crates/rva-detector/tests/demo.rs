//! The demo's model on real footage, as far as both are here.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_bus::{EventSink, NdjsonSink};
use rva_detector::{CameraEnd, CameraSetup, DetectorSetup, Observers, open_camera, run_camera};
use rva_track::TrackerChoice;
use rva_types::{CameraId, RunId, SourceIdentity, StoreId, StreamId, Timestamp, decode_message};
use rva_vision::{
    BatchOptions, DetectOptions, Frame, FrameSource, OpenOptions, PipelineOptions, SourceDescription, SourceSpec,
    StopFlag, VisionError, find_library,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// Where Debian's `opencv-doc` puts the footage, and where the demo puts its copy.
const VIDEOS: [&str; 2] = ["/usr/share/doc/opencv-doc/examples/data/vtest.avi", "data/cache/vtest.avi"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The setup, or what is missing for it.
fn setup() -> Result<(CameraSetup, DetectorSetup), String> {
    let video = VIDEOS.map(|path| root().join(path)).into_iter().find(|path| path.exists());
    let video = video.ok_or_else(|| format!("no footage at {}", VIDEOS.join(" or ")))?;
    // The test's own folder isn't the workspace's, and the target folder may lie outside of it.
    let cached = root().join("data/cache/onnxruntime");
    let library = (std::env::var_os("ORT_DYLIB_PATH").is_none() && cached.is_dir()).then_some(cached);
    find_library(library.as_deref()).map_err(|error| error.to_string().replace('\n', " "))?;
    let identity = SourceIdentity {
        store_id: StoreId::parse("store_01").unwrap(),
        camera_id: CameraId::parse("cam_01").unwrap(),
        stream_id: StreamId::parse("stream_01").unwrap(),
    };
    let camera = CameraSetup {
        source: SourceSpec::parse(video.to_str().unwrap()).unwrap(),
        open: OpenOptions::default(),
        identity,
        start_time: Some(Timestamp::parse("2026-01-31T08:00:00+00:00").unwrap()),
        capture: None,
        realtime: false,
    };
    let detector = DetectorSetup {
        model: root().join("data/models/demo-person-416.onnx"),
        library,
        conf: 0.4,
        classes: Some(vec!["person".into()]),
        options: DetectOptions::default(),
        tracker: TrackerChoice::by_name("steady").unwrap(),
        reid_model: None,
        parallel: None,
        pipeline: PipelineOptions::default(),
        batch: BatchOptions::default(),
    };
    Ok((camera, detector))
}

struct FirstFrames {
    source: Box<dyn FrameSource>,
    left: u32,
}

impl FrameSource for FirstFrames {
    fn description(&self) -> &SourceDescription {
        self.source.description()
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.source.next_frame()
    }
}

#[tokio::test]
async fn the_demo_gives_a_valid_record_for_each_frame_and_finds_people() {
    let (camera, detector) = match setup() {
        Ok(setup) => setup,
        Err(missing) => return eprintln!("skipped: {missing}"),
    };
    let (mut open, settings) = open_camera(&camera, &detector).unwrap();
    let (_, other) = open_camera(&camera, &detector).unwrap();
    assert_ne!(settings.run, other.run, "every opening is a run of its own");
    open.source = Box::new(FirstFrames { source: open.source, left: 20 });
    let (folder, run) = (tempfile::tempdir().unwrap(), settings.run.clone());
    let file = folder.path().join("detections_output.ndjson");
    let mut sink = NdjsonSink::create(&file).unwrap();
    let report =
        run_camera(open, settings, &mut sink as &mut dyn EventSink, Observers::default(), StopFlag::new()).await;
    assert!(matches!(report.end, CameraEnd::Finished), "{:?}", report.end);

    let text = std::fs::read_to_string(&file).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let indexes: Vec<_> = records.iter().map(|record| record["frame_index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (1..=20).collect::<Vec<_>>());
    for (line, record) in text.lines().zip(&records) {
        assert_eq!(decode_message(line.as_bytes(), &BTreeMap::new()).unwrap().key.run, run);
        check(record);
    }
    let times: Vec<_> = records.iter().map(|r| Timestamp::parse(r["capture_ts"].as_str().unwrap()).unwrap()).collect();
    assert_eq!(times[0], camera.start_time.unwrap());
    assert!(times.is_sorted_by(|a, b| a < b));
    assert!(RunId::parse(run.as_str()).unwrap().as_str().len() == 32);
    // The clip shows several people from its first frame on, and they stay.
    let people = records.iter().map(|record| record["detections"].as_array().unwrap().len());
    assert!(people.clone().all(|n| (2..=20).contains(&n)), "{:?}", people.collect::<Vec<_>>());
    let ids: BTreeSet<_> = detections(&records[19]).filter_map(|d| d["track_id"].as_u64()).collect();
    let before: BTreeSet<_> = detections(&records[9]).filter_map(|d| d["track_id"].as_u64()).collect();
    assert!(ids.intersection(&before).count() >= 2, "a second later ids are {ids:?}, before {before:?}");
}

#[tokio::test]
async fn several_inferences_at_the_same_time_find_what_one_finds() {
    let (camera, detector) = match setup() {
        Ok(setup) => setup,
        Err(missing) => return eprintln!("skipped: {missing}"),
    };
    let mut found = Vec::new();
    for parallel in [1, 3] {
        let detector = DetectorSetup { parallel: NonZeroUsize::new(parallel), ..detector.clone() };
        let (mut open, settings) = open_camera(&camera, &detector).unwrap();
        assert_eq!(open.detectors.len(), parallel);
        open.source = Box::new(FirstFrames { source: open.source, left: 30 });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("detections_output.ndjson");
        let mut sink = NdjsonSink::create(&file).unwrap();
        run_camera(open, settings, &mut sink as &mut dyn EventSink, Observers::default(), StopFlag::new()).await;
        let text = std::fs::read_to_string(&file).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        found.push(
            records.map(|record| (record["frame_index"].clone(), record["detections"].clone())).collect::<Vec<_>>(),
        );
    }
    assert_eq!(found[0].len(), 30);
    for (one, other) in found[0].iter().zip(&found[1]) {
        assert_eq!(one.0, other.0);
        let numbers = |detections: &Value| -> Vec<(Value, Vec<f64>)> {
            let detections = detections.as_array().unwrap().iter();
            let sides = |d: &Value| ["x1", "y1", "x2", "y2"].map(|side| d["bbox"][side].as_f64().unwrap()).to_vec();
            detections.map(|d| (d["track_id"].clone(), sides(d))).collect()
        };
        let (one, other) = (numbers(&one.1), numbers(&other.1));
        assert_eq!(one.len(), other.len());
        for ((id, one), (other_id, other)) in one.iter().zip(&other) {
            assert_eq!(id, other_id);
            // Threads share sums in another order.
            assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 0.05), "{one:?} {other:?}");
        }
    }
}

fn detections(record: &Value) -> impl Iterator<Item = &Value> {
    record["detections"].as_array().unwrap().iter()
}

/// The record's promises, field by field.
fn check(record: &Value) {
    assert_eq!(record["image_size"], serde_json::json!({"width": 768, "height": 576}));
    let runtime = serde_json::json!({
        "model_name": "demo-person-416.onnx", "tracker_type": "steady", "conf_thres": 0.4, "class_filter": [0]
    });
    assert_eq!(record["runtime"], runtime);
    for (j, detection) in detections(record).enumerate() {
        assert_eq!(detection["det_id"], format!("{}-{j}", record["frame_index"]));
        assert_eq!((&detection["class"], &detection["class_id"]), (&Value::from("person"), &Value::from(0)));
        assert!((0.4..=1.0).contains(&detection["conf"].as_f64().unwrap()), "{detection}");
        let [x1, y1, x2, y2] = ["x1", "y1", "x2", "y2"].map(|side| detection["bbox"][side].as_f64().unwrap());
        assert!(0.0 <= x1 && x1 < x2 && x2 <= 768.0 && 0.0 <= y1 && y1 < y2 && y2 <= 576.0, "{detection}");
        assert!(detection["track_id"].is_null() || detection["track_id"].as_u64().unwrap() >= 1);
    }
}

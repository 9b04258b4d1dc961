//! One camera to a sink, over fakes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_bus::{BusError, BusErrorKind, EventSink, OutgoingMessage};
use rva_detector::{
    CameraCounters, CameraEnd, CameraReport, NewestFrame, Observers, OpenCamera, Progress, RetryPace, RunSettings,
    SharedSink, detector_floor, run_camera,
};
use rva_testkit::vision::fake::{FakeDetector, FakeSource, FakeTracker, Fault, person};
use rva_types::{CameraId, Detection, RunId, SourceIdentity, StoreId, StreamId, Timestamp, decode_message};
use rva_vision::{CapturePolicy, PipelineOptions, Stage, StopFlag, TrackedFrame};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Keeps what it accepts, and fails where it is told to.
#[derive(Clone, Default)]
struct ScriptedSink(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    accepted: Vec<OutgoingMessage>,
    /// How many of `accepted` a flush made durable.
    flushed: usize,
    calls: u64,
    flushes: u64,
    fail: Option<fn(u64) -> Option<BusErrorKind>>,
    fail_flush: Option<fn(u64) -> Option<BusErrorKind>>,
}

impl ScriptedSink {
    /// Fails the n-th call of `send`, counted from 1, with the kind that `fail` gives.
    fn failing(fail: fn(u64) -> Option<BusErrorKind>) -> Self {
        Self(Arc::new(Mutex::new(Script { fail: Some(fail), ..Script::default() })))
    }

    fn records(&self) -> Vec<Value> {
        let script = self.0.lock().unwrap();
        script.accepted.iter().map(|message| serde_json::from_slice(&message.body).unwrap()).collect()
    }

    fn indexes(&self) -> Vec<u64> {
        self.records().iter().map(|record| record["frame_index"].as_u64().unwrap()).collect()
    }

    fn flushed(&self) -> usize {
        self.0.lock().unwrap().flushed
    }
}

#[async_trait::async_trait]
impl EventSink for ScriptedSink {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        let mut script = self.0.lock().unwrap();
        script.calls += 1;
        if let Some(kind) = script.fail.and_then(|fail| fail(script.calls)) {
            return Err(BusError::new(kind, "no space left"));
        }
        script.accepted.push(message);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        let mut script = self.0.lock().unwrap();
        script.flushes += 1;
        if let Some(kind) = script.fail_flush.and_then(|fail| fail(script.flushes)) {
            return Err(BusError::new(kind, "no space left"));
        }
        script.flushed = script.accepted.len();
        Ok(())
    }
}

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn settings() -> RunSettings {
    RunSettings {
        identity: SourceIdentity {
            store_id: StoreId::parse("store_07").unwrap(),
            camera_id: CameraId::parse("cam_03").unwrap(),
            stream_id: StreamId::parse("stream_01").unwrap(),
        },
        run: RunId::parse("0190f3a1b2c37d4e8f90a1b2c3d4e5f6").unwrap(),
        start_time: START,
        conf: 0.25,
        class_filter: None,
        pipeline: PipelineOptions::default(),
        retry: RetryPace { wait_first: Duration::from_millis(1), wait_max: Duration::from_millis(2) },
    }
}

fn camera(source: FakeSource, script: impl FnMut(u64) -> Vec<Detection> + Send + 'static) -> OpenCamera {
    OpenCamera {
        source: Box::new(source),
        detectors: vec![Box::new(FakeDetector::new(script))],
        tracker: Box::new(FakeTracker::default()),
        cues: None,
    }
}

/// A person in the odd frames, nobody in the even ones.
fn every_other(index: u64) -> Vec<Detection> {
    if index % 2 == 1 { vec![person(1.0, 0.9)] } else { Vec::new() }
}

async fn run(source: FakeSource, settings: RunSettings, sink: &mut ScriptedSink) -> CameraReport {
    run_camera(camera(source, every_other), settings, sink, Observers::default(), StopFlag::new()).await
}

fn upto(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[tokio::test]
async fn every_frame_becomes_a_record_in_order_also_without_detections() {
    let mut sink = ScriptedSink::default();
    let report = run(FakeSource::new(100).delayed(Duration::from_micros(300)), settings(), &mut sink).await;
    assert!(matches!(report.end, CameraEnd::Finished), "{:?}", report.end);
    assert_eq!(sink.indexes(), upto(100));
    let people: Vec<_> = sink.records().iter().map(|r| r["detections"].as_array().unwrap().len()).collect();
    assert_eq!(people, [1, 0].repeat(50));
    assert_eq!((report.records, report.frames.decoded, report.detections, report.tracks), (100, 100, 50, 1));
    assert_eq!(sink.flushed(), 100);
}

#[tokio::test]
async fn a_message_carries_key_properties_event_time_and_the_bare_record() {
    let mut sink = ScriptedSink::default();
    let settings = RunSettings { class_filter: Some(vec![0]), ..settings() };
    run(FakeSource::new(3), settings, &mut sink).await;
    let message = sink.0.lock().unwrap().accepted[2].clone();
    assert_eq!(message.partition_key, "cam_03");
    let wanted = [("camera_id", "cam_03"), ("store_id", "store_07"), ("stream_id", "stream_01")];
    assert_eq!(message.properties, BTreeMap::from(wanted.map(|(k, v)| (k.to_owned(), v.to_owned()))));
    assert_eq!(message.event_time.map(Timestamp::as_micros), Some(START.as_micros() + 80_000));
    let event = decode_message(&message.body, &BTreeMap::new()).unwrap();
    assert_eq!((event.key.frame_index, event.key.run), (3, RunId::parse("0190f3a1b2c37d4e8f90a1b2c3d4e5f6").unwrap()));
    let record: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(record["capture_ts"], "2023-11-14T22:13:20.080000+00:00");
    assert_eq!(record["source_uri"], "fake.avi");
    assert_eq!(record["image_size"], serde_json::json!({"width": 8, "height": 4}));
    let runtime = serde_json::json!({
        "model_name": "fake.onnx", "tracker_type": "fake", "conf_thres": 0.25, "class_filter": [0]
    });
    assert_eq!(record["runtime"], runtime);
}

#[tokio::test]
async fn a_stride_leaves_gaps_in_the_index_and_keeps_the_times() {
    let mut settings = settings();
    settings.pipeline.vid_stride = NonZeroU32::new(4).unwrap();
    let mut sink = ScriptedSink::default();
    let report = run(FakeSource::new(10), settings, &mut sink).await;
    assert_eq!(sink.indexes(), [1, 5, 9]);
    let times: Vec<_> = sink.records().iter().map(|r| r["capture_ts"].as_str().unwrap()[17..26].to_owned()).collect();
    assert_eq!(times, ["20.000000", "20.160000", "20.320000"]);
    assert_eq!(report.frames.skipped.by_stride, 7);
}

#[tokio::test]
async fn capture_times_of_a_live_source_strictly_increase_and_are_the_present() {
    let before = Timestamp::from(std::time::SystemTime::now());
    let mut sink = ScriptedSink::default();
    let mut settings = settings();
    settings.pipeline.capture = CapturePolicy::Latest;
    let report = run(FakeSource::new(200).live(), settings, &mut sink).await;
    let after = Timestamp::from(std::time::SystemTime::now());
    let messages = sink.0.lock().unwrap().accepted.clone();
    let times: Vec<_> = messages.iter().map(|message| message.event_time.unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b));
    assert!(times[0] >= before && times[0] <= after, "not the start time of a file");
    assert_eq!(report.records + report.frames.skipped.superseded, 200, "an overloaded live source skips and counts");
}

#[test]
fn the_detectors_floor_is_the_lower_of_conf_and_the_trackers() {
    let tracker = FakeTracker::default();
    assert_eq!(detector_floor(0.25, &tracker), 0.1);
    assert_eq!(detector_floor(0.05, &tracker), 0.05);
}

#[tokio::test]
async fn the_work_of_each_stage_is_counted_while_the_run_goes_on() {
    let counters = Arc::new(CameraCounters::default());
    let observers = Observers { counters: counters.clone(), ..Observers::default() };
    let mut sink = ScriptedSink::default();
    let report =
        run_camera(camera(FakeSource::new(30), every_other), settings(), &mut sink, observers, StopFlag::new()).await;
    let counts = |stage| counters.stage_seconds(stage).count();
    // The end of the source is asked for too; batches may hold several frames.
    assert_eq!((counts(Stage::Decode), counts(Stage::Prepare), counts(Stage::Cues)), (31, 30, 0));
    assert_eq!((counts(Stage::Track), counts(Stage::Deliver)), (30, 30));
    assert!((1..=30).contains(&counts(Stage::Infer)), "{}", counts(Stage::Infer));
    // The sum is kept in millionths.
    let (counted, took) = (counters.stage_seconds(Stage::Prepare).sum, report.times.prepare.as_secs_f64());
    assert!((counted - took).abs() < 1e-4, "{counted} and {took}");
}

#[tokio::test]
async fn weak_detections_are_for_the_tracker_alone() {
    let script = |_| vec![person(1.0, 0.9), person(3.0, 0.15), person(5.0, 0.25)];
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (progress, newest) = (tokio::sync::watch::Sender::default(), NewestFrame::default());
    assert!(newest.get().is_none());
    let observers = Observers {
        taps: vec![
            Box::new({
                let seen = seen.clone();
                move |frame: &TrackedFrame| seen.lock().unwrap().push((frame.index, frame.detections.len()))
            }),
            newest.tap(),
        ],
        progress: progress.clone(),
        ..Observers::default()
    };
    let mut sink = ScriptedSink::default();
    run_camera(camera(FakeSource::new(2), script), settings(), &mut sink, observers, StopFlag::new()).await;
    let records = sink.records();
    let found = records[0]["detections"].as_array().unwrap().iter();
    let found: Vec<_> = found.map(|d| (d["conf"].as_f64().unwrap(), d["track_id"].as_u64())).collect();
    assert_eq!(found, [(0.9, Some(1)), (0.25, None)]);
    assert_eq!(*seen.lock().unwrap(), [(1, 2), (2, 2)], "the tap sees what the records hold");
    let newest = newest.get().unwrap();
    assert_eq!((newest.index, newest.detections.len()), (2, 2), "another tap keeps the newest alone");
    assert_eq!(Arc::strong_count(&newest.image), 1, "nobody else holds the picture any more");
    let progress = *progress.borrow();
    let wanted = Progress { frames: 2, frame_index: 2, frames_total: Some(2), people: 2, detections: 2, ..progress };
    assert_eq!(progress, wanted);
    assert_eq!(progress.media_time.as_micros(), 40_000);
}

#[tokio::test]
async fn transient_errors_of_the_sink_lose_nothing() {
    let mut sink = ScriptedSink::failing(|call| (call % 7 > 3).then_some(BusErrorKind::Transient));
    sink.0.lock().unwrap().fail_flush = Some(|flush| (flush < 3).then_some(BusErrorKind::Transient));
    let report = run(FakeSource::new(60), settings(), &mut sink).await;
    assert!(matches!(report.end, CameraEnd::Finished), "{:?}", report.end);
    assert_eq!(sink.indexes(), upto(60));
    assert_eq!((report.records, sink.flushed()), (60, 60));
}

#[tokio::test]
async fn reading_stops_while_the_sink_takes_nothing_and_goes_on_afterwards() {
    let decoded = Arc::new(AtomicU64::new(0));
    let source = FakeSource::new(5_000).on_frame({
        let decoded = decoded.clone();
        move |index| decoded.store(index, Ordering::Relaxed)
    });
    // The first 50 calls fail: the run waits at its first record.
    let mut sink = ScriptedSink::failing(|call| (call <= 50).then_some(BusErrorKind::Transient));
    let (script, decoded_while_away) = (sink.0.clone(), Arc::new(AtomicU64::new(0)));
    let waits = tokio::sync::watch::Sender::default();
    let observers = Observers { progress: waits.clone(), ..Observers::default() };
    let mut watching = waits.subscribe();
    let watch = tokio::spawn({
        let decoded_while_away = decoded_while_away.clone();
        async move {
            let was_away = watching.wait_for(|progress: &Progress| progress.sink_waits).await.is_ok();
            while script.lock().unwrap().accepted.is_empty() {
                decoded_while_away.store(decoded.load(Ordering::Relaxed), Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            was_away
        }
    });
    let camera = camera(source, every_other);
    let report = run_camera(camera, settings(), &mut sink, observers, StopFlag::new()).await;
    assert!(watch.await.unwrap(), "waiting shows in the progress");
    assert!(!waits.borrow().sink_waits, "and so does its end");
    // 16 records in the channel, one in the sink's hand, one blocked, 8 frames in flight, one in the decoder's hand.
    let found = decoded_while_away.load(Ordering::Relaxed);
    assert!(found <= 27, "decoded {found} frames without a place to put them");
    assert_eq!((report.records, sink.indexes()), (5_000, upto(5_000)));
}

#[tokio::test]
async fn a_refused_record_is_counted_and_the_next_goes_on() {
    let mut sink = ScriptedSink::failing(|call| (call == 4).then_some(BusErrorKind::Rejected));
    let report = run(FakeSource::new(6), settings(), &mut sink).await;
    assert_eq!(sink.indexes(), [1, 2, 3, 5, 6]);
    assert_eq!((report.records, report.records_rejected), (5, 1));
    assert!(matches!(report.end, CameraEnd::Finished));
}

#[tokio::test]
async fn a_permanent_error_of_the_sink_ends_the_run_and_is_reported() {
    for kind in [BusErrorKind::Permanent, BusErrorKind::Conflict] {
        let fail = match kind {
            BusErrorKind::Permanent => |call: u64| (call > 20).then_some(BusErrorKind::Permanent),
            _ => |call: u64| (call > 20).then_some(BusErrorKind::Conflict),
        };
        let mut sink = ScriptedSink::failing(fail);
        let report = run(FakeSource::new(u64::MAX), settings(), &mut sink).await;
        let CameraEnd::SinkFailed(error) = report.end else { panic!("{:?}", report.end) };
        assert_eq!(error.kind(), kind);
        assert_eq!((sink.indexes(), sink.flushed()), (upto(20), 20), "what was accepted is flushed");
    }
}

#[tokio::test]
async fn a_failing_flush_is_not_a_finished_run() {
    let mut sink = ScriptedSink::default();
    sink.0.lock().unwrap().fail_flush = Some(|_| Some(BusErrorKind::Permanent));
    let report = run(FakeSource::new(3), settings(), &mut sink).await;
    assert!(matches!(report.end, CameraEnd::SinkFailed(_)), "{:?}", report.end);
}

#[tokio::test]
async fn a_stop_flushes_everything_decoded() {
    let stop = StopFlag::new();
    let source = FakeSource::new(u64::MAX).on_frame({
        let stop = stop.clone();
        move |index| {
            if index == 40 {
                stop.stop();
            }
        }
    });
    let mut sink = ScriptedSink::default();
    let report = run_camera(camera(source, every_other), settings(), &mut sink, Observers::default(), stop).await;
    assert!(matches!(report.end, CameraEnd::Stopped), "{:?}", report.end);
    assert_eq!((sink.indexes(), sink.flushed()), (upto(40), 40));
}

#[tokio::test]
async fn what_was_decoded_before_a_source_broke_off_is_flushed() {
    let mut sink = ScriptedSink::default();
    let report = run(FakeSource::new(100).failing_at(31, Fault::Error), settings(), &mut sink).await;
    assert!(matches!(report.end, CameraEnd::Incomplete(_)), "{:?}", report.end);
    assert_eq!((sink.indexes(), sink.flushed(), report.records), (upto(30), 30, 30));
}

#[tokio::test]
async fn a_panic_in_the_tracker_is_a_failed_run_and_loses_nothing_delivered() {
    let camera = OpenCamera {
        tracker: Box::new(FakeTracker { panics_at: Some(11), ..FakeTracker::default() }),
        ..camera(FakeSource::new(u64::MAX), every_other)
    };
    let mut sink = ScriptedSink::default();
    let report = run_camera(camera, settings(), &mut sink, Observers::default(), StopFlag::new()).await;
    let CameraEnd::Failed(error) = report.end else { panic!("{:?}", report.end) };
    assert!(error.to_string().contains("tracker panics"), "{error}");
    assert_eq!((sink.indexes(), sink.flushed()), (upto(10), 10));
}

#[tokio::test]
async fn cameras_share_a_sink_and_each_keeps_its_order() {
    let inner = ScriptedSink::default();
    let shared = SharedSink::new(inner.clone());
    let runs = ["cam_01", "cam_02"].map(|id| {
        let mut settings = settings();
        settings.identity.camera_id = CameraId::parse(id).unwrap();
        let mut sink = shared.clone();
        tokio::spawn(async move {
            let camera = camera(FakeSource::new(50), every_other);
            run_camera(camera, settings, &mut sink, Observers::default(), StopFlag::new()).await
        })
    });
    for run in runs {
        assert_eq!(run.await.unwrap().records, 50);
    }
    let messages = inner.0.lock().unwrap().accepted.clone();
    for id in ["cam_01", "cam_02"] {
        let own = messages.iter().filter(|message| message.partition_key == id);
        let indexes: Vec<_> = own
            .map(|message| serde_json::from_slice::<Value>(&message.body).unwrap()["frame_index"].as_u64().unwrap())
            .collect();
        assert_eq!(indexes, upto(50), "{id}");
    }
}

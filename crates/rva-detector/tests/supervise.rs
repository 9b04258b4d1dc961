//! Many cameras over fakes: dead ones, reconnecting, changes while the others go on.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_bus::{BusError, EventSink, OutgoingMessage};
use rva_detector::{
    CameraEnd, CameraSetup, CameraSpec, CameraState, CameraSummary, Changes, DetectorSetup, OpenCamera, OpenCameras,
    ReconnectPace, RetryPace, RunSettings, SharedSink, Supervisor,
};
use rva_service::Traces;
use rva_testkit::vision::fake::{FakeDetector, FakeSource, FakeTracker, Fault, person};
use rva_track::TrackerChoice;
use rva_types::{CameraId, RunId, SourceIdentity, StoreId, StreamId, Timestamp};
use rva_vision::{BatchOptions, DetectOptions, OpenOptions, PipelineOptions, SourceSpec, VisionError, VisionErrorKind};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// Keeps what it is given.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<OutgoingMessage>>>);

#[async_trait::async_trait]
impl EventSink for Kept {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}

impl Kept {
    /// Frame indexes by camera and run, in the order of their coming.
    fn runs(&self) -> BTreeMap<String, Vec<(String, Vec<u64>)>> {
        let mut runs: BTreeMap<String, Vec<(String, Vec<u64>)>> = BTreeMap::new();
        for message in self.0.lock().unwrap().iter() {
            let record: Value = serde_json::from_slice(&message.body).unwrap();
            let (run, index) = (record["pipeline_run_id"].as_str().unwrap(), record["frame_index"].as_u64().unwrap());
            let own = runs.entry(message.partition_key.clone()).or_default();
            match own.iter_mut().find(|(known, _)| known == run) {
                Some((_, indexes)) => indexes.push(index),
                None => own.push((run.to_owned(), vec![index])),
            }
        }
        runs
    }

    fn count(&self, camera: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|message| message.partition_key == camera).count()
    }
}

type Script = dyn Fn(&str, usize) -> Result<FakeSource, VisionError> + Send + Sync;

/// Opens what a script says for a camera's id and the number of the try, counted from 1.
struct Scripted {
    script: Box<Script>,
    tries: Mutex<BTreeMap<String, usize>>,
}

impl OpenCameras for Scripted {
    fn open(&self, spec: &CameraSpec) -> Result<(OpenCamera, RunSettings), VisionError> {
        let id = spec.camera.identity.camera_id.to_string();
        let number = {
            let mut tries = self.tries.lock().unwrap();
            let number = tries.entry(id.clone()).or_default();
            *number += 1;
            *number
        };
        let source = (self.script)(&id, number)?;
        let camera = OpenCamera {
            source: Box::new(source),
            detectors: vec![Box::new(FakeDetector::new(|_| vec![person(1.0, 0.9)]))],
            tracker: Box::new(FakeTracker::default()),
            cues: None,
        };
        let settings = RunSettings {
            identity: spec.camera.identity.clone(),
            run: RunId::from_uuid(uuid::Uuid::now_v7()),
            start_time: Timestamp::from_micros(0),
            conf: 0.25,
            class_filter: None,
            pipeline: PipelineOptions::default(),
            retry: RetryPace::default(),
        };
        Ok((camera, settings))
    }
}

const QUICK: ReconnectPace = ReconnectPace { first: Duration::from_millis(2), max: Duration::from_millis(20) };

fn supervisor(
    script: impl Fn(&str, usize) -> Result<FakeSource, VisionError> + Send + Sync + 'static,
) -> (Supervisor, Kept) {
    let kept = Kept::default();
    let opener = Arc::new(Scripted { script: Box::new(script), tries: Mutex::default() });
    (Supervisor::new(opener, SharedSink::new(kept.clone()), QUICK, Vec::new(), Traces::default()), kept)
}

/// A camera whose source is spelt `source`.
fn spec(id: &str, source: &str) -> CameraSpec {
    CameraSpec {
        camera: CameraSetup {
            source: SourceSpec::parse(source).unwrap(),
            open: OpenOptions::default(),
            identity: SourceIdentity {
                store_id: StoreId::parse("s").unwrap(),
                camera_id: CameraId::parse(id).unwrap(),
                stream_id: StreamId::parse("t").unwrap(),
            },
            start_time: None,
            capture: None,
            realtime: false,
        },
        detector: DetectorSetup {
            model: "fake.onnx".into(),
            library: None,
            conf: 0.25,
            classes: None,
            options: DetectOptions::default(),
            tracker: TrackerChoice::by_name("sort").unwrap(),
            reid_model: None,
            parallel: None,
            pipeline: PipelineOptions::default(),
            batch: BatchOptions::default(),
        },
    }
}

fn live(id: &str) -> CameraSpec {
    spec(id, "rtsp://10.0.0.1/1")
}

fn wrong(kind: VisionErrorKind) -> VisionError {
    VisionError::new(kind, "it is away")
}

async fn all_ended(supervisor: &mut Supervisor) -> BTreeMap<String, CameraSummary> {
    let mut summaries = BTreeMap::new();
    while let Some(ended) = supervisor.ended().await {
        let summary = ended.unwrap();
        summaries.insert(summary.camera_id.to_string(), summary);
    }
    summaries
}

/// Waits for something that must come; the time is only a bound for a broken test.
async fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_there() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

fn upto(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

fn ids(ids: &[CameraId]) -> Vec<&str> {
    ids.iter().map(CameraId::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_opened_again_as_another_run() {
    let (mut supervisor, kept) = supervisor(|_, number| match number {
        1 | 4 => Ok(FakeSource::new(100).live().failing_at(11, Fault::Error)),
        2 | 3 => Err(wrong(VisionErrorKind::Unreachable)),
        _ => Ok(FakeSource::new(5).live()),
    });
    supervisor.apply(vec![live("door")]);
    let summary = all_ended(&mut supervisor).await.remove("door").unwrap();
    assert!(matches!(summary.end, CameraEnd::Finished), "{:?}", summary.end);
    assert_eq!((summary.counts.openings, summary.counts.openings_failed, summary.counts.records), (3, 2, 25));
    let runs = kept.runs().remove("door").unwrap();
    let indexes: Vec<_> = runs.iter().map(|(_, indexes)| indexes.clone()).collect();
    assert_eq!(indexes, [upto(10), upto(10), upto(5)], "each run counts from 1, whole");
    assert_eq!(runs.iter().map(|(run, _)| run).collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_pictures_change_goes_on_as_another_run_of_a_tracker_that_has_seen_nothing() {
    let (mut supervisor, kept) = supervisor(|_, number| {
        assert_eq!(number, 1, "it is opened once");
        Ok(FakeSource::new(30).changing_at(21))
    });
    supervisor.apply(vec![spec("door", "joined.ts")]);
    let summary = all_ended(&mut supervisor).await.remove("door").unwrap();
    assert!(matches!(summary.end, CameraEnd::Finished), "{:?}", summary.end);
    assert_eq!((summary.counts.records, summary.counts.openings_failed), (30, 0));
    let runs = kept.runs().remove("door").unwrap();
    assert_eq!(runs.iter().map(|(_, indexes)| indexes.clone()).collect::<Vec<_>>(), [upto(20), upto(10)]);
    assert!(runs[0].0 < runs[1].0, "ids of runs are in the order of time");
    let records: Vec<Value> =
        kept.0.lock().unwrap().iter().map(|message| serde_json::from_slice(&message.body).unwrap()).collect();
    for (at, record) in records.iter().enumerate() {
        let seconds = at as f64 * 0.04;
        let wanted = format!("1970-01-01T00:00:{seconds:09.6}+00:00");
        assert_eq!(record["capture_ts"], wanted, "capture times go on");
        assert_eq!(record["image_size"]["width"], if at < 20 { 8 } else { 16 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_at_a_change_is_a_stop() {
    let (is_there, is_stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (reached, stopped) = (Arc::clone(&is_there), Arc::clone(&is_stopped));
    let (mut supervisor, kept) = supervisor(move |_, _| {
        let (reached, stopped) = (Arc::clone(&reached), Arc::clone(&stopped));
        Ok(FakeSource::new(30).changing_at(11).on_frame(move |index| {
            reached.store(index == 11, SeqCst);
            while index == 11 && !stopped.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }))
    });
    supervisor.apply(vec![spec("door", "joined.ts")]);
    wait_for("the change", || is_there.load(SeqCst)).await;
    supervisor.stop();
    is_stopped.store(true, SeqCst);
    let summary = all_ended(&mut supervisor).await.remove("door").unwrap();
    assert!(matches!(summary.end, CameraEnd::Stopped), "{:?}", summary.end);
    assert_eq!(kept.count("door"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_opening_cures_and_a_file_are_not_tried_again() {
    let (mut supervisor, _) = supervisor(|id, _| match id {
        "config" => Err(wrong(VisionErrorKind::Config)),
        "none" => Err(wrong(VisionErrorKind::NotFound)),
        _ => Ok(FakeSource::new(100).failing_at(4, Fault::Error)),
    });
    supervisor.apply(vec![live("config"), spec("none", "none.mp4"), spec("cut", "cut.mp4")]);
    let summaries = all_ended(&mut supervisor).await;
    for id in ["config", "none"] {
        assert!(matches!(summaries[id].end, CameraEnd::NotOpened(_)), "{:?}", summaries[id].end);
        assert_eq!(summaries[id].counts.openings_failed, 1, "{id}");
    }
    assert!(matches!(summaries["cut"].end, CameraEnd::Incomplete(_)));
    assert_eq!((summaries["cut"].counts.records, summaries["cut"].counts.openings), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_and_hanging_cameras_keep_no_other_waiting_and_a_stop_ends_all() {
    let (mut supervisor, kept) = supervisor(|id, _| match id {
        "dead" => Err(wrong(VisionErrorKind::Refused)),
        "hangs" => {
            std::thread::sleep(Duration::from_secs(3600));
            Err(wrong(VisionErrorKind::Stalled))
        }
        _ => Ok(FakeSource::new(500)),
    });
    supervisor.apply(vec![live("dead"), live("hangs"), spec("a", "a.mp4"), spec("b", "b.mp4")]);
    let mut finished = BTreeSet::new();
    for _ in 0..2 {
        finished.insert(supervisor.ended().await.unwrap().unwrap().camera_id.to_string());
    }
    assert_eq!(finished, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    for id in ["a", "b"] {
        assert_eq!(kept.runs()[id][0].1, upto(500));
    }
    let views = supervisor.views();
    let view = |id: &str| views.iter().find(|view| view.camera_id.as_str() == id).unwrap();
    wait_for("several tries", || view("dead").counters.counts().openings_failed > 3).await;
    assert_eq!(*view("hangs").state.borrow(), CameraState::Opening);
    supervisor.stop();
    let summaries = all_ended(&mut supervisor).await;
    assert_eq!(summaries.keys().collect::<Vec<_>>(), ["dead", "hangs"]);
    assert!(matches!(summaries["hangs"].end, CameraEnd::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_touches_only_the_cameras_that_it_changes() {
    let (mut supervisor, kept) = supervisor(|_, _| Ok(FakeSource::new(u64::MAX).delayed(Duration::from_millis(1))));
    supervisor.apply(vec![live("same"), live("changes"), live("goes")]);
    wait_for("all to run", || ["same", "changes", "goes"].iter().all(|id| kept.count(id) > 5)).await;
    let mut changed = live("changes");
    changed.detector.conf = 0.5;
    let changes = supervisor.apply(vec![live("same"), changed.clone(), live("comes")]);
    let found = (ids(&changes.added), ids(&changes.changed), ids(&changes.removed));
    assert_eq!(found, (vec!["comes"], vec!["changes"], vec!["goes"]));
    let ended = [supervisor.ended().await.unwrap().unwrap(), supervisor.ended().await.unwrap().unwrap()];
    let ended_ids: BTreeSet<_> = ended.iter().map(|summary| summary.camera_id.as_str()).collect();
    assert_eq!(ended_ids, BTreeSet::from(["changes", "goes"]));
    wait_for("the others to run", || {
        kept.count("comes") > 5 && kept.runs()["changes"].len() == 2 && kept.runs()["changes"][1].1.len() > 5
    })
    .await;
    assert!(supervisor.apply(vec![live("same"), changed, live("comes")]).is_empty(), "the same again is nothing");
    supervisor.stop();
    all_ended(&mut supervisor).await;
    let runs = kept.runs();
    assert_eq!(runs["same"].len(), 1, "it ran on");
    for (id, runs) in &runs {
        for (_, indexes) in runs {
            assert_eq!(*indexes, upto(indexes.len() as u64), "{id} has every frame once, in order");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_camera_begins_when_the_old_one_has_gone() {
    /// Set while a source of the camera is there.
    struct There(Arc<AtomicBool>);
    impl Drop for There {
        fn drop(&mut self) {
            self.0.store(false, SeqCst);
        }
    }
    let (there, twice) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let seen = (there.clone(), twice.clone());
    let (mut supervisor, kept) = supervisor(move |_, _| {
        if seen.0.swap(true, SeqCst) {
            seen.1.store(true, SeqCst);
        }
        let there = There(seen.0.clone());
        Ok(FakeSource::new(u64::MAX).delayed(Duration::from_millis(3)).on_frame(move |_| {
            let _ = &there;
        }))
    });
    for round in 1..=10 {
        let mut camera = live("one");
        camera.detector.conf = f64::from(round) / 100.0;
        assert!(!supervisor.apply(vec![camera]).is_empty());
        wait_for("its run", || kept.runs().get("one").is_some_and(|runs| runs.len() == round as usize)).await;
    }
    supervisor.stop();
    all_ended(&mut supervisor).await;
    assert!(!twice.load(SeqCst), "many cameras serve one client");
}

#[test]
fn changes_are_what_differs() {
    let map = |specs: Vec<CameraSpec>| -> BTreeMap<CameraId, CameraSpec> {
        specs.into_iter().map(|spec| (spec.camera.identity.camera_id.clone(), spec)).collect()
    };
    let mut other = live("b");
    other.camera.realtime = true;
    let changes =
        Changes::between(&map(vec![live("a"), live("b"), live("c")]), &map(vec![live("a"), other, live("d")]));
    assert_eq!((ids(&changes.added), ids(&changes.changed), ids(&changes.removed)), (vec!["d"], vec!["b"], vec!["c"]));
    assert!(Changes::between(&map(vec![live("a")]), &map(vec![live("a")])).is_empty());
}

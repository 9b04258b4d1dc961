//! One model shared by several cameras, over a fake network: whose results are whose, order, bounds, fairness, ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_testkit::vision::fake::{FakeDetector, FakeSource, FakeTracker};
use rva_types::{BBox, Detection, ImageSize};
use rva_vision::{
    BatchModel, BatchOptions, Detector, End, ModelDescription, PipelineControl, PipelineOptions, Prepared, Preparers,
    Selection, SharedModel, VisionError, VisionErrorKind, run_pipeline,
};
use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{Arc, Mutex, mpsc},
    thread::{sleep, spawn},
    time::Duration,
};

const SIZE: ImageSize = ImageSize { width: 2, height: 2 };

/// What a fake network does at the picture with the value -1.
#[derive(Clone, Copy, PartialEq)]
enum AtMinusOne {
    Error,
    Panic,
    TooFew,
}

/// A network that finds in a picture its own value, twice: at confidence 0.9 as class 0 and at 0.3 as class 1.
struct FakeNetwork {
    description: ModelDescription,
    batch_fixed: Option<usize>,
    at_minus_one: AtMinusOne,
    takes: Duration,
    /// The values of each call.
    calls: Arc<Mutex<Vec<Vec<f32>>>>,
    /// Hung up at the end of its life.
    _alive: Option<mpsc::Sender<()>>,
}

impl FakeNetwork {
    fn new() -> Self {
        Self {
            description: ModelDescription {
                name: "fake.onnx".into(),
                class_names: vec!["person".into(), "dog".into()],
                input_size: SIZE,
                device: "cpu".into(),
            },
            batch_fixed: None,
            at_minus_one: AtMinusOne::Error,
            takes: Duration::ZERO,
            calls: Arc::default(),
            _alive: None,
        }
    }
}

impl BatchModel for FakeNetwork {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn preparers(&self) -> Preparers {
        Box::new(|| FakeDetector::new(|_| Vec::new()).preparer())
    }

    fn batch_fixed(&self) -> Option<usize> {
        self.batch_fixed
    }

    fn infer_selected(&mut self, batch: &[Prepared], by: &[Selection]) -> Result<Vec<Vec<Detection>>, VisionError> {
        assert_eq!(batch.len(), by.len());
        self.calls.lock().unwrap().push(batch.iter().map(|picture| picture.chw[0]).collect());
        sleep(self.takes);
        if batch.iter().any(|picture| picture.chw[0] == -1.0) {
            match self.at_minus_one {
                AtMinusOne::Error => return Err(VisionError::new(VisionErrorKind::Runtime, "the network is broken")),
                AtMinusOne::Panic => panic!("the network panics"),
                AtMinusOne::TooFew => return Ok(Vec::new()),
            }
        }
        let all = |value: f32| {
            let bbox = BBox::new(value, 0.0, value + 1.0, 1.0);
            [Detection { bbox, conf: 0.9, class_id: 0 }, Detection { bbox, conf: 0.3, class_id: 1 }]
        };
        let kept = |found: &Detection, by: &Selection| {
            found.conf > by.conf && by.classes.as_ref().is_none_or(|classes| classes.contains(&found.class_id))
        };
        let pictures = batch.iter().zip(by);
        Ok(pictures.map(|(p, by)| all(p.chw[0]).into_iter().filter(|found| kept(found, by)).collect()).collect())
    }
}

fn picture(value: f32) -> Prepared {
    let chw = vec![value; 12].into();
    Prepared { chw, input_size: SIZE, source_size: SIZE, scale_x: 1.0, scale_y: 1.0, pad_left: 0.0, pad_top: 0.0 }
}

fn everything() -> Selection {
    Selection { conf: 0.5, classes: None }
}

fn options(max_batch: usize, max_wait_ms: u64) -> BatchOptions {
    let max_batch = NonZeroUsize::new(max_batch).unwrap();
    BatchOptions { max_batch, max_wait: Duration::from_millis(max_wait_ms) }
}

fn share(network: FakeNetwork, max_batch: usize, max_wait_ms: u64) -> SharedModel {
    SharedModel::start(Box::new(network), options(max_batch, max_wait_ms)).unwrap()
}

fn values(found: &[Vec<Detection>]) -> Vec<f32> {
    found.iter().map(|found| found[0].bbox.x1).collect()
}

#[test]
fn every_camera_gets_its_own_results_in_its_own_order() {
    let network = FakeNetwork { takes: Duration::from_micros(200), ..FakeNetwork::new() };
    let calls = network.calls.clone();
    let model = share(network, 4, 2);
    let cameras: Vec<_> = (0..6).map(|camera| (camera, model.detector(everything()).unwrap())).collect();
    let threads: Vec<_> = cameras
        .into_iter()
        .map(|(camera, mut detector)| {
            spawn(move || {
                for n in 0..50 {
                    let wanted: Vec<f32> = (0..1 + n % 3).map(|k| (camera * 1000 + n * 3 + k) as f32).collect();
                    let batch: Vec<Prepared> = wanted.iter().map(|&value| picture(value)).collect();
                    assert_eq!(values(&detector.infer(&batch).unwrap()), wanted);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let calls = calls.lock().unwrap();
    assert!(calls.iter().all(|call| (1..=4).contains(&call.len())), "a call has 1 to 4 pictures");
    assert!(calls.iter().any(|call| call.len() > 1), "cameras share calls");
    let mut seen: Vec<i64> = calls.iter().flatten().map(|&value| value as i64).collect();
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((count, seen.len()), (6 * 99, 6 * 99), "each picture once");
}

#[test]
fn each_camera_has_a_selection_of_its_own() {
    let model = share(FakeNetwork::new(), 8, 1);
    let found = |conf, classes: Option<&[u32]>| {
        let selection = Selection { conf, classes: classes.map(<[u32]>::to_vec) };
        let found = model.detector(selection).unwrap().infer(&[picture(7.0)]).unwrap();
        found[0].iter().map(|detection| detection.class_id).collect::<Vec<_>>()
    };
    assert_eq!(found(0.5, None), [0]);
    assert_eq!(found(0.1, None), [0, 1]);
    assert_eq!(found(0.1, Some(&[1])), [1]);
    for (conf, classes, wanted) in [(1.5, None, "conf 1.5"), (0.5, Some(vec![2]), "id 2, wanted 0 to 1")] {
        let error = model.detector(Selection { conf, classes }).err().unwrap();
        assert_eq!(error.kind(), VisionErrorKind::Config);
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn a_camera_that_never_asks_does_not_stall_another() {
    let model = share(FakeNetwork::new(), 8, 5);
    let _silent = model.detector(everything()).unwrap();
    let mut busy = model.detector(everything()).unwrap();
    for n in 0..20 {
        assert_eq!(values(&busy.infer(&[picture(n as f32)]).unwrap()), [n as f32]);
    }
}

#[test]
fn who_waits_for_a_camera_that_goes_is_answered_at_once() {
    // Nobody would wait an hour: the call runs because the other camera is gone.
    let model = share(FakeNetwork::new(), 8, 3_600_000);
    let silent = model.detector(everything()).unwrap();
    let mut waiting = model.detector(everything()).unwrap();
    let thread = spawn(move || values(&waiting.infer(&[picture(3.0)]).unwrap()));
    sleep(Duration::from_millis(20));
    assert!(!thread.is_finished(), "the picture waits for the other camera");
    drop(silent);
    assert_eq!(thread.join().unwrap(), [3.0]);
}

#[test]
fn a_flooding_camera_leaves_the_others_their_turns() {
    let network = FakeNetwork { takes: Duration::from_millis(2), ..FakeNetwork::new() };
    let calls = network.calls.clone();
    let model = share(network, 2, 0);
    let mut flood = model.detector(everything()).unwrap();
    let mut small = model.detector(everything()).unwrap();
    let flooding = spawn(move || {
        let batch: Vec<Prepared> = (0..200).map(|_| picture(0.0)).collect();
        flood.infer(&batch).unwrap().len()
    });
    while calls.lock().unwrap().is_empty() {
        sleep(Duration::from_micros(100));
    }
    small.infer(&[picture(1.0)]).unwrap();
    let calls_then = calls.lock().unwrap().len();
    assert!(calls_then < 60, "answered amid the flood, after {calls_then} of 101 calls");
    assert_eq!(flooding.join().unwrap(), 200, "and the flood gets all of its own");
}

#[test]
fn a_failure_of_the_model_reaches_every_camera_and_stays() {
    for (at_minus_one, kind, wanted) in [
        (AtMinusOne::Error, VisionErrorKind::Runtime, "the network is broken"),
        (AtMinusOne::Panic, VisionErrorKind::Fault, "panicked: the network panics"),
        (AtMinusOne::TooFew, VisionErrorKind::Fault, "found results for 0 pictures, wanted 1"),
    ] {
        let network = FakeNetwork { at_minus_one, ..FakeNetwork::new() };
        let model = share(network, 1, 0);
        let mut first = model.detector(everything()).unwrap();
        let mut second = model.detector(everything()).unwrap();
        for error in [
            first.infer(&[picture(-1.0)]).unwrap_err(),
            second.infer(&[picture(1.0)]).unwrap_err(),
            first.infer(&[picture(1.0)]).unwrap_err(),
            model.detector(everything()).unwrap().infer(&[picture(1.0)]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}

#[test]
fn a_failure_reaches_a_camera_that_waits_in_a_later_call() {
    let network = FakeNetwork { takes: Duration::from_millis(50), ..FakeNetwork::new() };
    let calls = network.calls.clone();
    let model = share(network, 1, 0);
    let mut first = model.detector(everything()).unwrap();
    let mut second = model.detector(everything()).unwrap();
    let breaking = spawn(move || first.infer(&[picture(-1.0)]).unwrap_err().to_string());
    while calls.lock().unwrap().is_empty() {
        sleep(Duration::from_micros(100));
    }
    let waiting = second.infer(&[picture(1.0)]).unwrap_err().to_string();
    assert_eq!((breaking.join().unwrap(), calls.lock().unwrap().len()), (waiting, 1));
}

#[test]
fn a_wrongly_prepared_picture_is_the_error_of_its_camera_alone() {
    let model = share(FakeNetwork::new(), 8, 0);
    let (mut wrong, mut right) = (model.detector(everything()).unwrap(), model.detector(everything()).unwrap());
    let input_size = ImageSize { width: 9, height: 9 };
    let error = wrong.infer(&[Prepared { input_size, ..picture(1.0) }]).unwrap_err();
    assert!(error.to_string().contains("9x9, wanted 2x2"), "{error}");
    assert_eq!(values(&right.infer(&[picture(2.0)]).unwrap()), [2.0]);
}

#[test]
fn a_model_with_a_fixed_batch_gets_no_larger_calls() {
    let network = FakeNetwork { batch_fixed: Some(1), ..FakeNetwork::new() };
    let calls = network.calls.clone();
    let batch: Vec<Prepared> = (0..5).map(|n| picture(n as f32)).collect();
    let found = share(network, 8, 0).detector(everything()).unwrap().infer(&batch).unwrap();
    assert_eq!(values(&found), [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(*calls.lock().unwrap(), [[0.0], [1.0], [2.0], [3.0], [4.0]]);
}

#[test]
fn the_model_ends_when_its_last_user_goes() {
    let (alive, end) = mpsc::channel();
    let model = share(FakeNetwork { _alive: Some(alive), ..FakeNetwork::new() }, 8, 0);
    let mut detector = model.detector(everything()).unwrap();
    drop(model);
    assert_eq!(values(&detector.infer(&[picture(1.0)]).unwrap()), [1.0]);
    assert_eq!(end.try_recv(), Err(mpsc::TryRecvError::Empty), "it lives");
    drop(detector);
    assert_eq!(end.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected), "it has gone");
}

#[test]
fn pipelines_run_on_shared_detectors_as_on_their_own() {
    let model = share(FakeNetwork::new(), 4, 2);
    let cameras: Vec<_> = (1..=4).map(|n| (n * 20, model.detector(everything()).unwrap())).collect();
    let threads: Vec<_> = cameras
        .into_iter()
        .map(|(frames, detector)| {
            spawn(move || {
                let mut delivered = Vec::new();
                let mut deliver = |frame: rva_vision::TrackedFrame| {
                    assert_eq!(frame.detections[0].detection.bbox.x1, frame.index as f32);
                    delivered.push(frame.index);
                    ControlFlow::Continue(())
                };
                let (mut source, mut tracker) = (FakeSource::new(frames), FakeTracker::default());
                let options = PipelineOptions { batch: NonZeroUsize::new(2).unwrap(), ..PipelineOptions::default() };
                let outcome = run_pipeline(
                    &mut source,
                    &mut [Box::new(detector)],
                    &mut tracker,
                    None,
                    &options,
                    &PipelineControl::default(),
                    &mut deliver,
                );
                assert!(matches!(outcome.end, End::Finished), "{:?}", outcome.end);
                assert_eq!(delivered, (1..=frames).collect::<Vec<_>>());
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

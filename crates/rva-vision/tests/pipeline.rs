//! The pipeline over fakes: order, bounds, ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_testkit::vision::fake::{FakeDetector, FakeSource, FakeTracker, Fault, index_of, person};
use rva_track::{Tracker, TrackerFrame, Warp};
use rva_types::{Detection, TrackedDetection};
use rva_vision::{
    Appearance, CapturePolicy, Detector, End, FindCues, FrameCues, Image, PipelineControl, PipelineOptions,
    PipelineOutcome, StopFlag, TrackedFrame, VisionError, VisionErrorKind, run_pipeline,
};
use std::{
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

fn options(frames_in_flight: usize, batch: usize) -> PipelineOptions {
    PipelineOptions {
        frames_in_flight: NonZeroUsize::new(frames_in_flight).unwrap(),
        batch: NonZeroUsize::new(batch).unwrap(),
        ..PipelineOptions::default()
    }
}

/// One person, whose left edge is the frame's index.
fn detector() -> FakeDetector {
    FakeDetector::new(|index| vec![person(index as f32, 0.9)])
}

/// Runs to the end; what was delivered, and how it ended.
fn run(source: FakeSource, detector: FakeDetector, options: &PipelineOptions) -> (Vec<u64>, PipelineOutcome) {
    run_all(source, vec![detector], options)
}

/// The same with several detectors at the same time.
fn run_all(
    mut source: FakeSource,
    detectors: Vec<FakeDetector>,
    options: &PipelineOptions,
) -> (Vec<u64>, PipelineOutcome) {
    let mut delivered = Vec::new();
    let mut deliver = |frame: TrackedFrame| {
        assert_eq!(index_of(&frame.image), frame.index, "the picture belongs to the index");
        assert_eq!(frame.detections.len(), 1);
        assert_eq!(frame.detections[0].detection.bbox.x1, frame.index as f32, "the detections belong to the picture");
        delivered.push(frame.index);
        ControlFlow::Continue(())
    };
    let mut tracker = FakeTracker::default();
    let mut detectors: Vec<Box<dyn Detector>> = detectors.into_iter().map(|one| Box::new(one) as _).collect();
    let outcome = run_pipeline(
        &mut source,
        &mut detectors,
        &mut tracker,
        None,
        options,
        &PipelineControl::default(),
        &mut deliver,
    );
    (delivered, outcome)
}

fn upto(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[test]
fn frames_come_in_order_whatever_each_stage_takes() {
    for batch in [1, 3] {
        let source = FakeSource::new(200).delayed(Duration::from_micros(600));
        let (delivered, outcome) = run(source, detector().delayed(Duration::from_micros(600)), &options(8, batch));
        assert_eq!(delivered, upto(200));
        assert!(matches!(outcome.end, End::Finished), "{:?}", outcome.end);
        assert_eq!((outcome.counts.decoded, outcome.counts.processed), (200, 200));
        assert!(outcome.times.infer > Duration::ZERO && outcome.times.prepare > Duration::ZERO);
    }
}

#[test]
fn a_slow_end_makes_the_source_wait_within_the_frame_bound() {
    let (full, until_full) = mpsc::channel();
    let mut source = FakeSource::new(300).on_frame(move |index| {
        if index == 6 {
            full.send(()).unwrap()
        }
    });
    let alive_max = source.alive_max();
    let mut deliver = |frame: TrackedFrame| {
        if frame.index == 1 {
            until_full.recv().unwrap();
        }
        ControlFlow::Continue(())
    };
    let mut tracker = FakeTracker::default();
    run_pipeline(
        &mut source,
        &mut [Box::new(detector())],
        &mut tracker,
        None,
        &options(5, 1),
        &PipelineControl::default(),
        &mut deliver,
    );
    assert_eq!(alive_max.load(Ordering::Relaxed), 6, "five in flight and one in the decoder's hand");
}

#[test]
fn the_byte_bound_holds_too() {
    let (full, until_full) = mpsc::channel();
    let mut source = FakeSource::new(100).on_frame(move |index| {
        if index == 3 {
            full.send(()).unwrap()
        }
    });
    let alive_max = source.alive_max();
    // A frame is 8 x 4 x 3 bytes of picture and 2 x 2 x 3 x 4 of input: 144.
    let options = PipelineOptions { bytes_in_flight: NonZeroU64::new(144 * 2 + 143).unwrap(), ..options(50, 1) };
    let mut deliver = |frame: TrackedFrame| {
        if frame.index == 1 {
            until_full.recv().unwrap();
        }
        ControlFlow::Continue(())
    };
    let mut tracker = FakeTracker::default();
    run_pipeline(
        &mut source,
        &mut [Box::new(detector())],
        &mut tracker,
        None,
        &options,
        &PipelineControl::default(),
        &mut deliver,
    );
    assert_eq!(alive_max.load(Ordering::Relaxed), 3, "two in flight and one in hand");
}

#[test]
fn a_hundred_thousand_frames_keep_no_more_alive_than_a_hundred() {
    let source = FakeSource::new(100_000);
    let alive_max = source.alive_max();
    let (delivered, outcome) = run(source, detector(), &options(8, 4));
    assert_eq!(delivered.len(), 100_000);
    assert!(delivered.is_sorted());
    assert!(alive_max.load(Ordering::Relaxed) <= 9, "{alive_max:?}");
    assert_eq!(outcome.counts.processed, 100_000);
}

#[test]
fn a_batch_takes_what_waits_and_never_more() {
    let detector = detector().delayed(Duration::from_millis(2));
    let batch_max = detector.batch_max();
    let (delivered, _) = run(FakeSource::new(60), detector, &options(1, 4));
    assert_eq!(delivered, upto(60));
    let found = batch_max.load(Ordering::Relaxed);
    assert!((2..=4).contains(&found), "two batches fit whatever frames_in_flight says, found batches of {found}");
}

#[test]
fn several_detectors_work_at_the_same_time_and_frames_stay_in_order() {
    for count in 1..=4 {
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let detectors = (0..count).map(|_| {
            let (inside, most) = (inside.clone(), most.clone());
            FakeDetector::new(move |index| {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Late ones come before early ones.
                std::thread::sleep(Duration::from_micros(if index % 5 == 1 { 4000 } else { 500 }));
                inside.fetch_sub(1, Ordering::SeqCst);
                vec![person(index as f32, 0.9)]
            })
        });
        let (delivered, outcome) = run_all(FakeSource::new(120), detectors.collect(), &options(8, 1));
        assert_eq!(delivered, upto(120), "{count} detectors");
        assert!(matches!(outcome.end, End::Finished), "{:?}", outcome.end);
        assert_eq!(most.load(Ordering::SeqCst), count, "all of {count} detectors work");
    }
}

#[test]
fn one_of_several_detectors_that_fails_ends_the_run_behind_what_came_before() {
    for fault in [Fault::Error, Fault::Panic] {
        let detectors = (0..3).map(|_| detector().failing_to_infer(31, fault).delayed(Duration::from_millis(1)));
        let (delivered, outcome) = run_all(FakeSource::new(100_000), detectors.collect(), &options(8, 1));
        assert_eq!(delivered, upto(30), "nothing behind the frame that failed, everything before it");
        let End::Failed(error) = outcome.end else { panic!("{:?}", outcome.end) };
        assert!(error.to_string().contains("detector") && error.to_string().contains("31"), "{error}");
    }
}

#[test]
fn no_detector_is_a_failure_and_reads_nothing() {
    let (delivered, outcome) = run_all(FakeSource::new(3), Vec::new(), &options(8, 1));
    let End::Failed(error) = outcome.end else { panic!("{:?}", outcome.end) };
    assert!(error.to_string().contains("wanted at least one"), "{error}");
    assert_eq!((delivered.len(), outcome.counts.decoded), (0, 0));
}

#[test]
fn a_stop_delivers_everything_decoded() {
    let stop = StopFlag::new();
    let decoded = Arc::new(Mutex::new(0));
    let mut source = FakeSource::new(1_000_000).on_frame({
        let (stop, decoded) = (stop.clone(), decoded.clone());
        move |index| {
            *decoded.lock().unwrap() = index;
            if index == 50 {
                stop.stop();
            }
        }
    });
    let mut delivered = Vec::new();
    let mut deliver = |frame: TrackedFrame| {
        delivered.push(frame.index);
        ControlFlow::Continue(())
    };
    let mut tracker = FakeTracker::default();
    let outcome = run_pipeline(
        &mut source,
        &mut [Box::new(detector())],
        &mut tracker,
        None,
        &options(8, 2),
        &stop.clone().into(),
        &mut deliver,
    );
    assert!(matches!(outcome.end, End::Stopped), "{:?}", outcome.end);
    assert_eq!(delivered, upto(50));
    assert_eq!(*decoded.lock().unwrap(), 50);
    assert_eq!(outcome.counts.decoded, 50);
}

#[test]
fn a_flag_that_is_set_before_the_start_decodes_nothing() {
    let stop = StopFlag::new();
    stop.stop();
    let mut deliver = |_| ControlFlow::Continue(());
    let (mut source, mut tracker) = (FakeSource::new(5), FakeTracker::default());
    let outcome = run_pipeline(
        &mut source,
        &mut [Box::new(detector())],
        &mut tracker,
        None,
        &options(8, 1),
        &stop.clone().into(),
        &mut deliver,
    );
    assert!(matches!(outcome.end, End::Stopped));
    assert_eq!((outcome.counts.decoded, tracker.seen), (0, 0));
}

#[test]
fn what_was_decoded_before_a_source_broke_off_is_delivered() {
    for (fault, text) in [(Fault::Error, "source breaks off at frame 31"), (Fault::Panic, "source panics at frame 31")]
    {
        let (delivered, outcome) = run(FakeSource::new(100).failing_at(31, fault), detector(), &options(8, 1));
        assert_eq!(delivered, upto(30));
        assert_eq!((outcome.counts.decoded, outcome.counts.processed), (30, 30));
        let End::Incomplete(error) = outcome.end else { panic!("{:?}", outcome.end) };
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_failing_stage_ends_the_run_and_names_itself() {
    type Failing = fn(FakeDetector, Fault) -> FakeDetector;
    let stages: [(Failing, &str); 2] = [
        (|detector, fault| detector.failing_to_prepare(31, fault), "prepare"),
        (|detector, fault| detector.failing_to_infer(31, fault), "detector"),
    ];
    for (failing, stage) in stages {
        for fault in [Fault::Error, Fault::Panic] {
            let (delivered, outcome) = run(FakeSource::new(100_000), failing(detector(), fault), &options(4, 1));
            assert_eq!(delivered, upto(30), "what came before is delivered");
            let End::Failed(error) = outcome.end else { panic!("{:?}", outcome.end) };
            assert!(error.to_string().contains(stage) && error.to_string().contains("31"), "{error}");
            assert_eq!(error.kind() == VisionErrorKind::Fault, fault == Fault::Panic);
            assert!(outcome.counts.decoded < 100_000, "decoding ends early");
        }
    }
}

#[test]
fn a_delivery_that_breaks_off_stops_the_others() {
    let mut source = FakeSource::new(u64::MAX);
    let mut delivered = Vec::new();
    let mut deliver = |frame: TrackedFrame| {
        delivered.push(frame.index);
        if frame.index == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut tracker = FakeTracker::default();
    let outcome = run_pipeline(
        &mut source,
        &mut [Box::new(detector())],
        &mut tracker,
        None,
        &options(4, 2),
        &PipelineControl::default(),
        &mut deliver,
    );
    assert!(matches!(outcome.end, End::Abandoned), "{:?}", outcome.end);
    assert_eq!(outcome.counts.processed, 19, "the frame that broke it off isn't counted");
    assert_eq!(delivered, upto(20));
}

#[test]
fn a_panic_in_the_tracker_ends_every_thread() {
    let (ended, when_ended) = mpsc::channel();
    let caller = std::thread::spawn(move || {
        let mut source = FakeSource::new(u64::MAX);
        let mut tracker = FakeTracker { panics_at: Some(10), ..FakeTracker::default() };
        let _ended = ended;
        let mut deliver = |_| ControlFlow::Continue(());
        run_pipeline(
            &mut source,
            &mut [Box::new(detector())],
            &mut tracker,
            None,
            &options(4, 1),
            &PipelineControl::default(),
            &mut deliver,
        )
        .end
    });
    assert_eq!(when_ended.recv_timeout(Duration::from_secs(60)), Err::<(), _>(mpsc::RecvTimeoutError::Disconnected));
    assert!(caller.join().is_err());
}

#[test]
fn a_stride_leaves_gaps_and_counts_them() {
    let options = PipelineOptions { vid_stride: NonZeroU32::new(3).unwrap(), ..PipelineOptions::default() };
    let (delivered, outcome) = run(FakeSource::new(11), detector(), &options);
    assert_eq!(delivered, [1, 4, 7, 10]);
    assert_eq!(
        (outcome.counts.decoded, outcome.counts.skipped.by_stride, outcome.counts.skipped.by_overload),
        (11, 7, 0)
    );
}

#[test]
fn a_pipeline_without_room_leaves_frames_out_and_counts_them() {
    let options = PipelineOptions { capture: CapturePolicy::EveryNth, ..options(2, 1) };
    let (nearly_all, until_nearly_all) = mpsc::channel();
    let (room, until_room) = mpsc::channel();
    let mut source = FakeSource::new(50).on_frame(move |index| match index {
        49 => nearly_all.send(()).unwrap(),
        // The last frame comes when there is room again.
        50 => until_room.recv().unwrap(),
        _ => {}
    });
    let mut delivered = Vec::new();
    let mut tracker = FakeTracker::default();
    let mut deliver = |frame: TrackedFrame| {
        if frame.index == 1 {
            until_nearly_all.recv().unwrap();
        }
        delivered.push(frame.index);
        if delivered.len() == 2 {
            room.send(()).unwrap();
        }
        ControlFlow::Continue(())
    };
    let outcome = run_pipeline(
        &mut source,
        &mut [Box::new(detector())],
        &mut tracker,
        None,
        &options,
        &PipelineControl::default(),
        &mut deliver,
    );
    assert!(matches!(outcome.end, End::Finished));
    assert_eq!(outcome.counts.decoded, 50);
    assert!(outcome.counts.skipped.by_overload >= 46, "two of the first 48 fit");
    assert_eq!(outcome.counts.processed + outcome.counts.skipped.by_overload, 50);
    assert!(delivered.is_sorted());
}

#[test]
fn the_newest_frame_takes_the_place_of_the_one_that_waits() {
    let options = PipelineOptions { capture: CapturePolicy::Latest, ..options(8, 1) };
    let (nearly_all, until_nearly_all) = mpsc::channel();
    let (next, until_next) = mpsc::channel();
    let mut source = FakeSource::new(50).on_frame(move |index| {
        // All but the last wait for nothing; the last comes once the one before was delivered.
        if index == 50 {
            nearly_all.send(()).unwrap();
            until_next.recv().unwrap();
        }
    });
    let alive_max = source.alive_max();
    let (mut delivered, mut tracker) = (Vec::new(), FakeTracker::default());
    let mut deliver = |frame: TrackedFrame| {
        if delivered.is_empty() {
            until_nearly_all.recv().unwrap();
        }
        delivered.push(frame.index);
        if frame.index == 49 {
            next.send(()).unwrap();
        }
        ControlFlow::Continue(())
    };
    let control = PipelineControl::default();
    let outcome =
        run_pipeline(&mut source, &mut [Box::new(detector())], &mut tracker, None, &options, &control, &mut deliver);
    assert!(matches!(outcome.end, End::Finished));
    assert_eq!(delivered[delivered.len() - 2..], [49, 50], "the newest, not the next");
    assert!(delivered.is_sorted());
    assert!(delivered.len() <= 5, "two in flight, the one that waits, and the last: {delivered:?}");
    let skipped = outcome.counts.skipped;
    assert_eq!((skipped.by_overload, skipped.superseded), (0, 50 - delivered.len() as u64));
    assert_eq!(outcome.counts.processed, delivered.len() as u64);
    assert!(alive_max.load(Ordering::Relaxed) <= 4, "two in flight, one that waits, one in the decoder's hand");
    assert_eq!(control.counters.counts(), outcome.counts, "they could be read all the time");
}

#[test]
fn counters_go_on_from_one_pipeline_to_the_next_and_an_outcome_is_its_own() {
    let control = PipelineControl::default();
    for round in 1..=2 {
        let (mut source, mut tracker) = (FakeSource::new(7), FakeTracker::default());
        let mut deliver = |_| ControlFlow::Continue(());
        let outcome = run_pipeline(
            &mut source,
            &mut [Box::new(detector())],
            &mut tracker,
            None,
            &options(4, 1),
            &control,
            &mut deliver,
        );
        assert_eq!((outcome.counts.decoded, outcome.counts.processed), (7, 7));
        assert_eq!(control.counters.counts().processed, 7 * round);
    }
}

#[test]
fn in_real_time_no_frame_comes_before_its_time_and_a_stop_ends_the_waiting() {
    let options = PipelineOptions { realtime: true, ..options(8, 1) };
    let (mut source, mut tracker) = (FakeSource::new(5), FakeTracker::default());
    let (started, mut early) = (Instant::now(), Vec::new());
    let mut deliver = |frame: TrackedFrame| {
        // 25 frames a second.
        let due = Duration::from_millis(40 * (frame.index - 1));
        early.extend((frame.decoded.duration_since(started) < due).then_some(frame.index));
        ControlFlow::Continue(())
    };
    let control = PipelineControl::default();
    run_pipeline(&mut source, &mut [Box::new(detector())], &mut tracker, None, &options, &control, &mut deliver);
    assert_eq!((early, control.counters.counts().processed), (Vec::new(), 5));
    // The second frame's time is after hours; the test's own time-out would tell.
    let stop = control.stop.clone();
    let mut source = FakeSource::new(2).spaced(Duration::from_secs(3600)).on_frame(move |index| {
        if index == 2 {
            stop.stop();
        }
    });
    let outcome =
        run_pipeline(&mut source, &mut [Box::new(detector())], &mut tracker, None, &options, &control, &mut |_| {
            ControlFlow::Continue(())
        });
    assert!(matches!(outcome.end, End::Stopped | End::Finished), "{:?}", outcome.end);
    assert_eq!(outcome.counts.processed, 2, "what was decoded is delivered");
}

/// Says of each frame what its number is, in every way; fails at a frame.
struct NumberCues {
    fault: Option<(u64, Fault)>,
}

impl FindCues for NumberCues {
    fn find(&mut self, image: &Image, detections: &[Detection]) -> Result<FrameCues, VisionError> {
        let index = index_of(image);
        assert_eq!(detections[0].bbox.x1, index as f32, "the detections belong to the picture");
        match self.fault {
            Some((at, Fault::Error)) if at == index => {
                return Err(VisionError::new(VisionErrorKind::Runtime, format!("cues break off at frame {index}")));
            }
            Some((at, Fault::Panic)) if at == index => panic!("cues panic at frame {index}"),
            _ => {}
        }
        std::thread::sleep(Duration::from_micros(index % 7 * 50));
        Ok(FrameCues {
            camera_motion: Some(Warp([[1.0, 0.0, index as f64], [0.0, 1.0, 0.0]])),
            appearance: Some(Appearance { dim: 2, values: vec![index as f32, 0.0] }),
            crops_left_out: 2,
        })
    }
}

/// Checks that the cues belong to the frame, and notes whether there were any.
#[derive(Default)]
struct CueTracker {
    with_cues: u64,
    without: u64,
}

impl Tracker for CueTracker {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        let index = frame.detections[0].bbox.x1;
        match (frame.camera_motion, frame.embeddings) {
            (Some(Warp(warp)), Some(embeddings)) => {
                assert_eq!((warp[0][2] as f32, embeddings.get(0)), (index, Some(&[index, 0.0][..])));
                self.with_cues += 1;
            }
            (None, None) => self.without += 1,
            half => panic!("found {half:?}"),
        }
        tracked.clear();
        tracked.extend(frame.detections.iter().map(|&detection| TrackedDetection { detection, track_id: None }));
    }

    fn name(&self) -> &'static str {
        "cues"
    }

    fn lowest_conf(&self) -> f32 {
        0.1
    }
}

fn run_with_cues(frames: u64, cues: Option<&mut dyn FindCues>) -> (Vec<u64>, CueTracker, PipelineOutcome) {
    let (mut delivered, mut tracker) = (Vec::new(), CueTracker::default());
    let mut deliver = |frame: TrackedFrame| {
        delivered.push(frame.index);
        ControlFlow::Continue(())
    };
    let (mut source, detector) = (FakeSource::new(frames), detector());
    let outcome = run_pipeline(
        &mut source,
        &mut [Box::new(detector)],
        &mut tracker,
        cues,
        &options(6, 2),
        &PipelineControl::default(),
        &mut deliver,
    );
    (delivered, tracker, outcome)
}

#[test]
fn what_was_found_of_a_frame_reaches_the_tracker_with_that_frame() {
    let (delivered, tracker, outcome) = run_with_cues(100, Some(&mut NumberCues { fault: None }));
    assert!(matches!(outcome.end, End::Finished), "{:?}", outcome.end);
    assert_eq!((delivered, tracker.with_cues, tracker.without), (upto(100), 100, 0));
    assert_eq!(outcome.crops_left_out, 200);
    assert!(outcome.times.cues > Duration::ZERO);
    let (delivered, tracker, outcome) = run_with_cues(10, None);
    assert_eq!((delivered, tracker.with_cues, tracker.without), (upto(10), 0, 10));
    assert_eq!((outcome.crops_left_out, outcome.times.cues), (0, Duration::ZERO));
}

#[test]
fn a_failure_in_finding_cues_ends_the_run_and_what_was_found_before_is_delivered() {
    for fault in [Fault::Error, Fault::Panic] {
        let (delivered, _, outcome) = run_with_cues(100_000, Some(&mut NumberCues { fault: Some((31, fault)) }));
        assert_eq!(delivered, upto(30));
        let End::Failed(error) = outcome.end else { panic!("{:?}", outcome.end) };
        assert!(error.to_string().contains("cues") && error.to_string().contains("31"), "{error}");
        assert_eq!(error.kind() == VisionErrorKind::Fault, fault == Fault::Panic);
        assert!(outcome.counts.decoded < 100_000, "decoding ends early");
    }
}

//! The stages behind decoding, and the joints between them.

use super::budget::{Budget, CloseOnDrop, Permit};
use super::decoding::{Decoded, DecodedFrame, Decoding, Way};
use super::in_order::{InOrder, Numbered};
use super::{
    CapturePolicy, End, FrameCounters, PipelineControl, PipelineOptions, PipelineOutcome, Stage, StageClock,
    StageMarks, StageTimes, TrackedFrame,
};
use crate::{Detector, FindCues, Frame, FrameCues, FrameSource, Prepare, Prepared, VisionError, VisionErrorKind};
use crossbeam_channel::{Receiver, Sender, bounded};
use rva_track::{Tracker, TrackerFrame};
use rva_types::Detection;
use std::{
    any::Any,
    fmt,
    ops::ControlFlow,
    thread::{Scope, ScopedJoinHandle},
    time::{Duration, Instant, SystemTime},
};

/// A frame on its way, with its part of the budget.
struct InFlight<'a> {
    frame: Frame,
    decoded_at: SystemTime,
    decoded: Instant,
    marks: StageMarks,
    permit: Permit<'a>,
}

struct PreparedFrame<'a> {
    /// The number of the frame among those prepared, from 0, without gaps.
    number: u64,
    frame: InFlight<'a>,
    prepared: Prepared,
}

struct DetectedFrame<'a> {
    number: u64,
    frame: InFlight<'a>,
    detections: Vec<Detection>,
    /// The cues; none before the stage that finds them.
    cues: FrameCues,
}

impl Numbered for DetectedFrame<'_> {
    fn number(&self) -> u64 {
        self.number
    }
}

type StageResult = Result<(), VisionError>;

pub(super) fn run(
    source: &mut dyn FrameSource,
    detectors: &mut [Box<dyn Detector>],
    tracker: &mut dyn Tracker,
    cues: Option<&mut dyn FindCues>,
    options: &PipelineOptions,
    control: &PipelineControl,
    deliver: &mut dyn FnMut(TrackedFrame) -> ControlFlow<()>,
) -> PipelineOutcome {
    let Some(bounds) = Bounds::of(source, detectors, options) else {
        return PipelineOutcome::failed(fault("infer", format_args!("found no detector, wanted at least one")));
    };
    let budget = &Budget::new(bounds.frames_max, options.bytes_in_flight.get());
    let stages = Stages { budget, options, control, bounds };
    let before = control.counters.counts();
    let told = &mut Told { infer: vec![Duration::ZERO; detectors.len()], ..Told::default() };
    let (mut track, mut delivering) = (Duration::ZERO, Duration::ZERO);
    let (is_abandoned, ended) = std::thread::scope(|scope| {
        let cues = cues.map(|cues| cues as &mut dyn FindCues);
        let (threads, detected) = stages.start(scope, source, detectors, cues, told);
        let mut is_abandoned = false;
        if threads.have_started() {
            let clocks = [(Stage::Track, &mut track), (Stage::Deliver, &mut delivering)]
                .map(|(stage, total)| control.clock(stage, total));
            is_abandoned = track_and_deliver(tracker, deliver, budget, detected, &control.counters, clocks).is_break();
        } else {
            // A thread is missing: the others must not wait for it.
            drop((CloseOnDrop(budget), detected));
        }
        (is_abandoned, threads.join())
    });
    let end = match (is_abandoned, ended.later, ended.decode) {
        (true, ..) => End::Abandoned,
        (_, Err(error), _) => End::Failed(error),
        (_, _, Err(error)) => End::Incomplete(error),
        _ if told.decoded.stopped => End::Stopped,
        _ => End::Finished,
    };
    let Told { decode, prepare, cues, crops_left_out, .. } = *told;
    let times = StageTimes { decode, prepare, infer: told.infer.iter().sum(), cues, track, deliver: delivering };
    PipelineOutcome { end, counts: control.counters.counts() - before, crops_left_out, times }
}

/// The sizes of a run, which follow from its source and its model.
#[derive(Clone, Copy)]
struct Bounds {
    /// The frames that are in flight at the same time.
    frames_max: usize,
    /// The frames that may be prepared and wait: they are large, and the next batch and the one after it keep the
    /// network busy.
    prepared_max: usize,
    /// The bytes of a network input.
    input_bytes: u64,
    /// The bytes that a frame takes when it is its turn, where the newest one counts.
    late_bytes: Option<u64>,
}

impl Bounds {
    /// Returns those of a run; `None` without a detector.
    fn of(source: &dyn FrameSource, detectors: &[Box<dyn Detector>], options: &PipelineOptions) -> Option<Self> {
        let input = detectors.first()?.description().input_size;
        let two_batches = options.batch.get().saturating_mul(2).saturating_mul(detectors.len());
        let is_latest = options.capture == CapturePolicy::Latest;
        let frames_max = if is_latest { two_batches } else { options.frames_in_flight.get().max(two_batches) };
        let input_bytes = u64::from(input.width) * u64::from(input.height) * 3 * size_of::<f32>() as u64;
        let size = source.description().size;
        let picture_bytes = u64::from(size.width) * u64::from(size.height) * 3;
        Some(Self {
            frames_max,
            prepared_max: two_batches.min(frames_max),
            input_bytes,
            late_bytes: is_latest.then_some(picture_bytes + input_bytes),
        })
    }
}

/// The figures that stages on threads of their own keep of their work.
#[derive(Default)]
struct Told {
    decoded: Decoded,
    decode: Duration,
    prepare: Duration,
    /// The time of each detector.
    infer: Vec<Duration>,
    cues: Duration,
    crops_left_out: u64,
}

/// The tools and settings that the stages share.
#[derive(Clone, Copy)]
struct Stages<'env> {
    budget: &'env Budget,
    options: &'env PipelineOptions,
    control: &'env PipelineControl,
    bounds: Bounds,
}

impl<'env> Stages<'env> {
    /// Starts every stage that has a thread of its own, and returns what comes out of the last of them, in order.
    fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        source: &'env mut dyn FrameSource,
        detectors: &'env mut [Box<dyn Detector>],
        cues: Option<&'env mut dyn FindCues>,
        told: &'env mut Told,
    ) -> (Threads<'scope>, Box<dyn Iterator<Item = DetectedFrame<'env>> + 'env>) {
        let Self { budget, options, control, bounds } = self;
        let Told {
            decoded,
            decode: decode_time,
            prepare: prepare_time,
            infer: infer_times,
            cues: cues_time,
            crops_left_out,
        } = told;
        // A queue can take all frames in flight: the budget is the bound, and sending never waits. But for prepared
        // ones.
        let way = Way::new(options.capture, bounds.frames_max);
        let (to_infer, from_prepare) = bounded(bounds.prepared_max);
        let (to_next, from_infer) = bounded(bounds.frames_max);
        let decoding = Decoding { budget, options, control, input_bytes: bounds.input_bytes };
        let preparing = Preparing { budget, frames: way.out_end.clone(), late_bytes: bounds.late_bytes };
        let preparer = detectors.first().map(|first| first.preparer());
        let decode_clock = control.clock(Stage::Decode, decode_time);
        let decode = named(scope, "rva-decode", move || decoding.run(source, way, decoded, decode_clock));
        let prepare_clock = control.clock(Stage::Prepare, prepare_time);
        let prepare = named(scope, "rva-prepare", move || match preparer {
            Some(preparer) => preparing.run(preparer, &to_infer, prepare_clock),
            None => Ok(()),
        });
        let batch = options.batch.get();
        let infer: Vec<_> = detectors
            .iter_mut()
            .zip(infer_times)
            .map(|(detector, total)| {
                let clock = control.clock(Stage::Infer, total);
                // The queues end with the threads that hold them.
                let (from_prepare, to_next) = (from_prepare.clone(), to_next.clone());
                let work = move || infer(&mut **detector, batch, budget, &from_prepare, &to_next, clock);
                named(scope, "rva-infer", work)
            })
            .collect();
        let from_infer = InOrder::new(from_infer);
        let Some(cues) = cues else {
            return (Threads { decode, prepare, infer, cues: None }, Box::new(from_infer));
        };
        let (to_deliver, from_cues) = bounded(bounds.frames_max);
        let clock = control.clock(Stage::Cues, cues_time);
        let work = move || find_cues(cues, budget, from_infer, &to_deliver, crops_left_out, clock);
        let cues = Some(named(scope, "rva-cues", work));
        (Threads { decode, prepare, infer, cues }, Box::new(from_cues.into_iter()))
    }
}

/// The stages that have threads of their own.
struct Threads<'scope> {
    decode: Spawned<'scope>,
    prepare: Spawned<'scope>,
    infer: Vec<Spawned<'scope>>,
    cues: Option<Spawned<'scope>>,
}

/// The ends of those stages.
struct Ended {
    decode: StageResult,
    /// The first error of the stages behind it.
    later: StageResult,
}

impl Threads<'_> {
    /// Returns whether the system gave a thread to each.
    fn have_started(&self) -> bool {
        self.infer.iter().chain([&self.decode, &self.prepare]).chain(&self.cues).all(Result::is_ok)
    }

    /// Waits for all of them.
    fn join(self) -> Ended {
        let prepare = joined("prepare", self.prepare);
        // All are waited for; the first error is told.
        let infer = self.infer.into_iter().map(|infer| joined("infer", infer)).fold(Ok(()), Result::and);
        let cues = self.cues.map_or(Ok(()), |cues| joined("cues", cues));
        Ended { decode: joined("decode", self.decode), later: cues.and(infer).and(prepare) }
    }
}

type Spawned<'scope> = std::io::Result<ScopedJoinHandle<'scope, StageResult>>;

fn named<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> StageResult + Send + 'scope,
) -> Spawned<'scope> {
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)
}

/// Returns the stage's result; a panic, or a thread that couldn't be started, is an error.
fn joined(stage: &'static str, spawned: Spawned<'_>) -> StageResult {
    let handle = spawned.map_err(|error| fault(stage, format_args!("can't start its thread: {error}")))?;
    match handle.join() {
        Ok(result) => result,
        Err(panic) => Err(fault(stage, format_args!("panicked: {}", panic_text(panic.as_ref())))),
    }
}

fn fault(stage: &str, what: fmt::Arguments<'_>) -> VisionError {
    VisionError::new(VisionErrorKind::Fault, format!("stage {stage} of the pipeline: {what}"))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

/// The second stage.
struct Preparing<'a> {
    budget: &'a Budget,
    frames: Receiver<DecodedFrame<'a>>,
    /// The bytes that a frame takes now, where it hasn't been given any yet.
    late_bytes: Option<u64>,
}

impl<'a> Preparing<'a> {
    fn run(
        self,
        mut preparer: Box<dyn Prepare>,
        prepared_frames: &Sender<PreparedFrame<'a>>,
        mut clock: StageClock<'_>,
    ) -> StageResult {
        let _close = CloseOnDrop(self.budget);
        let mut number = 0;
        while let Some(mut frame) = self.next() {
            let (prepared, mark) = clock.time_of(|| preparer.prepare(&frame.frame.image));
            let prepared = prepared?;
            frame.marks.note(Stage::Prepare, mark);
            if prepared_frames.send(PreparedFrame { number, frame, prepared }).is_err() {
                break;
            }
            number += 1;
        }
        Ok(())
    }

    /// Takes a place first, then the frame that is the newest when there is one.
    fn next(&self) -> Option<InFlight<'a>> {
        let permit = match self.late_bytes {
            Some(bytes) => Some(self.budget.acquire(bytes)?),
            None => None,
        };
        let DecodedFrame { frame, decoded_at, decoded, mark, permit: own } = self.frames.recv().ok()?;
        let mut marks = StageMarks::default();
        marks.note(Stage::Decode, mark);
        Some(InFlight { frame, decoded_at, decoded, marks, permit: own.or(permit)? })
    }
}

fn infer<'a>(
    detector: &mut dyn Detector,
    batch_max: usize,
    budget: &Budget,
    frames: &Receiver<PreparedFrame<'a>>,
    detected_frames: &Sender<DetectedFrame<'a>>,
    mut clock: StageClock<'_>,
) -> StageResult {
    let _close = CloseOnDrop(budget);
    while let Ok(first) = frames.recv() {
        let (mut batch, mut inputs) = (vec![(first.number, first.frame)], vec![first.prepared]);
        // Only what is waiting: a live source must not wait for a batch to fill.
        for next in frames.try_iter().take(batch_max - 1) {
            batch.push((next.number, next.frame));
            inputs.push(next.prepared);
        }
        clock.took_batch(batch.len(), frames.len());
        let (detections, mark) = clock.time_of(|| detector.infer(&inputs));
        let detections = detections?;
        if detections.len() != batch.len() {
            let (found, wanted) = (detections.len(), batch.len());
            return Err(fault("infer", format_args!("found results for {found} pictures, wanted {wanted}")));
        }
        for ((number, mut frame), detections) in batch.into_iter().zip(detections) {
            frame.marks.note(Stage::Infer, mark);
            let detected = DetectedFrame { number, frame, detections, cues: FrameCues::default() };
            if detected_frames.send(detected).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn find_cues<'a>(
    cues: &mut dyn FindCues,
    budget: &Budget,
    frames: impl Iterator<Item = DetectedFrame<'a>>,
    looked_at: &Sender<DetectedFrame<'a>>,
    crops_left_out: &mut u64,
    mut clock: StageClock<'_>,
) -> StageResult {
    let _close = CloseOnDrop(budget);
    for mut detected in frames {
        let (found, mark) = clock.time_of(|| cues.find(&detected.frame.frame.image, &detected.detections));
        detected.cues = found?;
        detected.frame.marks.note(Stage::Cues, mark);
        *crops_left_out += detected.cues.crops_left_out;
        if looked_at.send(detected).is_err() {
            break;
        }
    }
    Ok(())
}

fn track_and_deliver<'a>(
    tracker: &mut dyn Tracker,
    deliver: &mut dyn FnMut(TrackedFrame) -> ControlFlow<()>,
    budget: &Budget,
    frames: impl Iterator<Item = DetectedFrame<'a>>,
    counters: &FrameCounters,
    [mut track_clock, mut deliver_clock]: [StageClock<'_>; 2],
) -> ControlFlow<()> {
    let _close = CloseOnDrop(budget);
    for DetectedFrame { frame: InFlight { frame, decoded_at, decoded, mut marks, permit }, detections, cues, .. } in
        frames
    {
        let seen = TrackerFrame {
            image_size: Some(frame.image.size()),
            camera_motion: cues.camera_motion,
            embeddings: cues.embeddings(),
            ..TrackerFrame::of_boxes(&detections, frame.media_time)
        };
        let mut tracked = Vec::with_capacity(detections.len());
        let refused = tracker.new_tracks_refused();
        let ((), mark) = track_clock.time_of(|| tracker.update_into(&seen, &mut tracked));
        marks.note(Stage::Track, mark);
        counters.count_tracks_refused(tracker.new_tracks_refused().saturating_sub(refused));
        let Frame { index, media_time, image } = frame;
        let size = image.size();
        let frame = TrackedFrame { index, media_time, decoded_at, decoded, marks, image, size, detections: tracked };
        let flow = deliver_clock.time(|| deliver(frame));
        drop(permit);
        if flow.is_break() {
            return flow;
        }
        counters.count_processed();
    }
    ControlFlow::Continue(())
}

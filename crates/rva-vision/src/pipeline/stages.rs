//! The stages behind decoding, and the joints between them.

use super::budget::{Budget, CloseOnDrop, Permit};
use super::decoding::{Decoded, DecodedFrame, Decoding, Way};
use super::in_order::{InOrder, Numbered};
use super::{
    CapturePolicy, End, FrameCounters, PipelineControl, PipelineOptions, PipelineOutcome, StageTimes, TrackedFrame,
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
    let Some(first) = detectors.first() else {
        return PipelineOutcome::failed(fault("infer", format_args!("found no detector, wanted at least one")));
    };
    let two_batches = options.batch.get().saturating_mul(2).saturating_mul(detectors.len());
    let is_latest = options.capture == CapturePolicy::Latest;
    let frames_max = if is_latest { two_batches } else { options.frames_in_flight.get().max(two_batches) };
    let budget = &Budget::new(frames_max, options.bytes_in_flight.get());
    let input = first.description().input_size;
    let input_bytes = u64::from(input.width) * u64::from(input.height) * 3 * size_of::<f32>() as u64;
    let preparer = first.preparer();
    let mut infer_times = vec![Duration::ZERO; detectors.len()];
    let (mut times, mut decoded, mut is_abandoned) = (StageTimes::default(), Decoded::default(), false);
    let before = control.counters.counts();
    let size = source.description().size;
    let picture_bytes = u64::from(size.width) * u64::from(size.height) * 3;
    // A queue can take all frames in flight: the budget is the bound, and sending never waits. But for prepared ones,
    // which are large: the next batch and the one after it keep the network busy.
    let way = Way::new(options.capture, frames_max);
    let (to_infer, from_prepare) = bounded(two_batches.min(frames_max));
    let (to_next, from_infer) = bounded(frames_max);
    let mut crops_left_out = 0;

    let (decode_result, later_result) = std::thread::scope(|scope| {
        let StageTimes {
            decode: decode_time,
            prepare: prepare_time,
            infer: _,
            cues: cues_time,
            track,
            deliver: delivering,
        } = &mut times;
        let decoded = &mut decoded;
        let decoding = Decoding { budget, options, control, input_bytes };
        let preparing = Preparing {
            budget,
            frames: way.out_end.clone(),
            late_bytes: is_latest.then_some(picture_bytes + input_bytes),
        };
        let decode = named(scope, "rva-decode", move || decoding.run(source, way, decoded, decode_time));
        let prepare = named(scope, "rva-prepare", move || preparing.run(preparer, &to_infer, prepare_time));
        let batch = options.batch.get();
        let inferring: Vec<_> = detectors
            .iter_mut()
            .zip(&mut infer_times)
            .map(|(detector, busy)| {
                let (from_prepare, to_next) = (from_prepare.clone(), to_next.clone());
                let work = move || infer(&mut **detector, batch, budget, &from_prepare, &to_next, busy);
                named(scope, "rva-infer", work)
            })
            .collect();
        // They end with the threads that hold the others.
        drop((from_prepare, to_next));
        let from_infer = InOrder::new(from_infer);
        let (looking, detected): (_, Box<dyn Iterator<Item = DetectedFrame<'_>>>) = match cues {
            None => (None, Box::new(from_infer)),
            Some(cues) => {
                let (to_deliver, from_cues) = bounded(frames_max);
                let left_out = &mut crops_left_out;
                let work = move || find_cues(cues, budget, from_infer, &to_deliver, left_out, cues_time);
                (Some(named(scope, "rva-cues", work)), Box::new(from_cues.into_iter()))
            }
        };
        let all_started = inferring.iter().chain([&decode, &prepare]).chain(&looking).all(Result::is_ok);
        if all_started {
            let counters = &control.counters;
            is_abandoned =
                track_and_deliver(tracker, deliver, budget, detected, counters, track, delivering).is_break();
        } else {
            // A thread is missing: the others must not wait for it.
            drop((CloseOnDrop(budget), detected));
        }
        let prepare = joined("prepare", prepare);
        // All are waited for; the first error is told.
        let infer = inferring.into_iter().map(|infer| joined("infer", infer)).fold(Ok(()), Result::and);
        let looking = looking.map_or(Ok(()), |looking| joined("cues", looking));
        (joined("decode", decode), looking.and(infer).and(prepare))
    });
    times.infer = infer_times.iter().sum();
    let end = match (is_abandoned, later_result, decode_result) {
        (true, ..) => End::Abandoned,
        (_, Err(error), _) => End::Failed(error),
        (_, _, Err(error)) => End::Incomplete(error),
        _ if decoded.stopped => End::Stopped,
        _ => End::Finished,
    };
    PipelineOutcome { end, counts: control.counters.counts() - before, crops_left_out, times }
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

pub(super) fn timed<T>(busy: &mut Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *busy += started.elapsed();
    result
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
        busy: &mut Duration,
    ) -> StageResult {
        let _close = CloseOnDrop(self.budget);
        let mut number = 0;
        while let Some(frame) = self.next() {
            let prepared = timed(busy, || preparer.prepare(&frame.frame.image))?;
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
        let DecodedFrame { frame, decoded_at, decoded, permit: own } = self.frames.recv().ok()?;
        Some(InFlight { frame, decoded_at, decoded, permit: own.or(permit)? })
    }
}

fn infer<'a>(
    detector: &mut dyn Detector,
    batch_max: usize,
    budget: &Budget,
    frames: &Receiver<PreparedFrame<'a>>,
    detected_frames: &Sender<DetectedFrame<'a>>,
    busy: &mut Duration,
) -> StageResult {
    let _close = CloseOnDrop(budget);
    while let Ok(first) = frames.recv() {
        let (mut batch, mut inputs) = (vec![(first.number, first.frame)], vec![first.prepared]);
        // Only what is waiting: a live source must not wait for a batch to fill.
        for next in frames.try_iter().take(batch_max - 1) {
            batch.push((next.number, next.frame));
            inputs.push(next.prepared);
        }
        let detections = timed(busy, || detector.infer(&inputs))?;
        if detections.len() != batch.len() {
            let (found, wanted) = (detections.len(), batch.len());
            return Err(fault("infer", format_args!("found results for {found} pictures, wanted {wanted}")));
        }
        for ((number, frame), detections) in batch.into_iter().zip(detections) {
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
    busy: &mut Duration,
) -> StageResult {
    let _close = CloseOnDrop(budget);
    for mut detected in frames {
        detected.cues = timed(busy, || cues.find(&detected.frame.frame.image, &detected.detections))?;
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
    track_time: &mut Duration,
    deliver_time: &mut Duration,
) -> ControlFlow<()> {
    let _close = CloseOnDrop(budget);
    for DetectedFrame { frame: InFlight { frame, decoded_at, decoded, permit }, detections, cues, .. } in frames {
        let seen = TrackerFrame {
            image_size: Some(frame.image.size()),
            camera_motion: cues.camera_motion,
            embeddings: cues.embeddings(),
            ..TrackerFrame::of_boxes(&detections, frame.media_time)
        };
        let mut tracked = Vec::with_capacity(detections.len());
        let refused = tracker.new_tracks_refused();
        timed(track_time, || tracker.update_into(&seen, &mut tracked));
        counters.count_tracks_refused(tracker.new_tracks_refused().saturating_sub(refused));
        let Frame { index, media_time, image } = frame;
        let size = image.size();
        let frame = TrackedFrame { index, media_time, decoded_at, decoded, image, size, detections: tracked };
        let flow = timed(deliver_time, || deliver(frame));
        drop(permit);
        if flow.is_break() {
            return flow;
        }
        counters.count_processed();
    }
    ControlFlow::Continue(())
}

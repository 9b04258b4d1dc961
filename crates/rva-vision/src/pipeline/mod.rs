//! The pipeline, in frame order: decode → prepare → infer → find cues (where the tracker wants any) → track and
//! deliver, each on a thread of its own (the last is the caller's).
//!
//! A budget bounds it: a frame takes a place and its bytes from one [budget](PipelineOptions) when it is decoded and
//! gives them back when it was delivered. No stage holds anything else, so memory doesn't depend on the length of a
//! video.

mod budget;
mod counters;
mod decoding;
#[doc(hidden)]
mod in_order;
mod stages;
mod timing;

use crate::{Detector, FindCues, FrameSource, Image, VisionError};
pub use counters::{FrameCounters, FrameCounts, FramesSkipped};
use rva_track::Tracker;
use rva_types::{CapturePolicy, ImageSize, MediaTime, StopFlag, TrackedDetection};
use std::{
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use timing::StageClock;
pub use timing::{Stage, StageMarks, WatchStages};

/// The bounds and choices of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineOptions {
    /// The stride: every n-th frame is processed, beginning with the first; the others leave gaps in the frame index.
    pub vid_stride: NonZeroU32,
    /// The most pictures that go into one call of the detector. Fewer do when no more are waiting.
    pub batch: NonZeroUsize,
    /// The most frames that are decoded and not yet delivered; one more may be in the decoder's hand. At least two
    /// batches are allowed whatever it says, or stages couldn't overlap. [`CapturePolicy::Latest`] allows no more than
    /// that, besides the newest frame that waits: a frame in flight is old already.
    pub frames_in_flight: NonZeroUsize,
    /// The most bytes of pictures and network inputs that are decoded and not yet delivered. A single frame that is
    /// larger passes alone.
    pub bytes_in_flight: NonZeroU64,
    /// The policy at these bounds.
    pub capture: CapturePolicy,
    /// Takes frames at the pace of their media times, as if the source were live; never faster.
    pub realtime: bool,
}

impl Default for PipelineOptions {
    /// Returns every frame, one by one, 8 frames and 256 MiB in flight, waiting, as fast as it goes.
    fn default() -> Self {
        Self {
            vid_stride: NonZeroU32::MIN,
            batch: NonZeroUsize::MIN,
            frames_in_flight: const { NonZeroUsize::new(8).unwrap() },
            bytes_in_flight: const { NonZeroU64::new(256 << 20).unwrap() },
            capture: CapturePolicy::All,
            realtime: false,
        }
    }
}

/// A frame with everything that was found in it.
#[derive(Debug, Clone)]
pub struct TrackedFrame {
    /// The frame's number, which counts decoded frames of this opening from 1; skipped frames leave gaps.
    pub index: u64,
    /// The place on the stream's timeline.
    pub media_time: MediaTime,
    /// The wall clock when the frame came out of the decoder.
    pub decoded_at: SystemTime,
    /// The same moment on a clock that doesn't jump, to measure from.
    pub decoded: Instant,
    /// The work of the stages on it so far.
    pub marks: StageMarks,
    /// The picture.
    pub image: Arc<Image>,
    /// The picture's size in pixels.
    pub size: ImageSize,
    /// The detections, in the detector's order, everything that it gave to the tracker.
    pub detections: Vec<TrackedDetection>,
}

/// The time that each stage spent working, without waiting for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes {
    /// The time in the source.
    pub decode: Duration,
    /// The time in the preparer: letterbox and normalise.
    pub prepare: Duration,
    /// The time in the detectors, added up: inference, box decoding, non-maximum suppression.
    pub infer: Duration,
    /// The time in finding camera motion and appearance for the tracker.
    pub cues: Duration,
    /// The time in the tracker.
    pub track: Duration,
    /// The time in the caller's `deliver`.
    pub deliver: Duration,
}

/// The end of a pipeline.
#[derive(Debug)]
pub enum End {
    /// The source ended.
    Finished,
    /// The [`StopFlag`] was set; everything decoded was delivered.
    Stopped,
    /// The source broke off; everything decoded was delivered.
    Incomplete(VisionError),
    /// A stage behind the source failed or panicked: frames decoded after the last delivered one are lost.
    Failed(VisionError),
    /// `deliver` broke off: frames decoded after it are lost.
    Abandoned,
}

/// The outcome of a pipeline.
#[derive(Debug)]
pub struct PipelineOutcome {
    /// The way in which it ended.
    pub end: End,
    /// The counts of frames that the source gave, that `deliver` took, and that were left out.
    pub counts: FrameCounts,
    /// The number of detections whose appearance wasn't looked at, since their frames had too many.
    pub crops_left_out: u64,
    /// The time that each stage took.
    pub times: StageTimes,
}

impl PipelineOutcome {
    /// Makes the outcome of a pipeline that failed before anything was read.
    pub fn failed(error: VisionError) -> Self {
        let (counts, times) = (FrameCounts::default(), StageTimes::default());
        Self { end: End::Failed(error), counts, crops_left_out: 0, times }
    }
}

/// The handles by which others stop a pipeline that runs, and watch it.
#[derive(Debug, Clone, Default)]
pub struct PipelineControl {
    /// The flag that asks it to stop.
    pub stop: StopFlag,
    /// The counters that it counts with; they may be used by one pipeline after another, and go on then.
    pub counters: Arc<FrameCounters>,
    /// Who hears how long each stage works.
    pub watch: Option<Arc<dyn WatchStages>>,
}

impl PipelineControl {
    /// Returns a clock that adds up the work of a stage, and tells it.
    fn clock<'a>(&'a self, stage: Stage, total: &'a mut Duration) -> StageClock<'a> {
        StageClock { stage, total, watch: self.watch.as_deref() }
    }
}

impl From<StopFlag> for PipelineControl {
    fn from(stop: StopFlag) -> Self {
        Self { stop, ..Self::default() }
    }
}

/// Runs a source to its end, through detector and tracker, and delivers each processed frame in frame order.
/// `detectors` are of the same model; each looks at frames on a thread of its own, at the same time as the others, and
/// what they find is put back in order. `cues` looks at each frame for the tracker, on a thread of its own; without it
/// the tracker is told of boxes only.
///
/// Blocks. `deliver` is called on this thread; while it blocks, the stages before it fill the budget and wait (or skip
/// frames, see [`CapturePolicy`]). It breaks to give up: then the other stages end after the call that they are in.
/// A panic in a stage thread is an [`End::Failed`] (in the source an [`End::Incomplete`]); one in `tracker` or
/// `deliver` goes on in the caller when the threads have ended.
pub fn run_pipeline(
    source: &mut dyn FrameSource,
    detectors: &mut [Box<dyn Detector>],
    tracker: &mut dyn Tracker,
    cues: Option<&mut dyn FindCues>,
    options: &PipelineOptions,
    control: &PipelineControl,
    deliver: &mut dyn FnMut(TrackedFrame) -> ControlFlow<()>,
) -> PipelineOutcome {
    stages::run(source, detectors, tracker, cues, options, control, deliver)
}

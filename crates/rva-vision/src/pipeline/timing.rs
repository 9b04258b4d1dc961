//! The time that stages work.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The source.
    Decode,
    /// Letterbox and normalisation.
    Prepare,
    /// The network, its boxes, and non-maximum suppression.
    Infer,
    /// Camera motion and appearance, where the tracker wants them.
    Cues,
    /// The tracker.
    Track,
    /// The caller's `deliver`.
    Deliver,
}

impl Stage {
    /// All stages, in the order in which a frame passes them.
    pub const ALL: [Self; 6] = [Self::Decode, Self::Prepare, Self::Infer, Self::Cues, Self::Track, Self::Deliver];

    /// Returns the stage's name, as a metric's label has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prepare => "prepare",
            Self::Infer => "infer",
            Self::Cues => "cues",
            Self::Track => "track",
            Self::Deliver => "deliver",
        }
    }
}

/// The work of the stages on one frame: when each began, and how long it took; on a batch, where it was part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageMarks([Option<(Instant, Duration)>; Stage::ALL.len()]);

impl StageMarks {
    /// Returns the stages that are known to have worked on the frame, in the order in which it passes them.
    pub fn worked(&self) -> impl Iterator<Item = (Stage, Instant, Duration)> {
        Stage::ALL.into_iter().zip(self.0).filter_map(|(stage, mark)| mark.map(|(began, took)| (stage, began, took)))
    }

    pub(super) fn note(&mut self, stage: Stage, mark: (Instant, Duration)) {
        self.0[stage as usize] = Some(mark);
    }
}

/// An onlooker of the stages' work.
pub trait WatchStages: fmt::Debug + Send + Sync {
    /// Hears how long a stage worked on a frame; [`Stage::Infer`] on a batch, [`Stage::Decode`] also on a frame that is
    /// left out. It is called on the stage's own thread, which waits for it.
    fn worked(&self, stage: Stage, took: Duration);

    /// Hears how many frames the network takes at a time, and how many more are prepared and wait for it.
    fn took_batch(&self, frames: usize, waiting: usize);
}

/// A clock that adds up the work of one stage.
pub(super) struct StageClock<'a> {
    pub stage: Stage,
    pub total: &'a mut Duration,
    pub watch: Option<&'a dyn WatchStages>,
}

impl StageClock<'_> {
    pub(super) fn took_batch(&self, frames: usize, waiting: usize) {
        if let Some(watch) = self.watch {
            watch.took_batch(frames, waiting);
        }
    }

    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.time_of(work).0
    }

    /// Returns also when the work began, and how long it took.
    pub(super) fn time_of<T>(&mut self, work: impl FnOnce() -> T) -> (T, (Instant, Duration)) {
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        *self.total += took;
        if let Some(watch) = self.watch {
            watch.worked(self.stage, took);
        }
        (result, (started, took))
    }
}

//! The first stage, which takes frames out of the source: it decides at which pace, and which of them.

use super::budget::{Budget, Permit};
use super::{CapturePolicy, FrameCounters, PipelineControl, PipelineOptions, StageClock};
use crate::{Frame, FrameSource, SourceCounts, VisionError};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rva_types::MediaTime;
use std::{
    ops::ControlFlow,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

/// The interval at which a wait for a frame's time looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A frame that is out of the decoder.
pub(super) struct DecodedFrame<'a> {
    pub(super) frame: Frame,
    pub(super) decoded_at: SystemTime,
    pub(super) decoded: Instant,
    /// When decoding began, and how long it took.
    pub(super) mark: (Instant, Duration),
    /// The frame's part of the budget; none where the newest frame waits, which takes its part when it is its turn.
    pub(super) permit: Option<Permit<'a>>,
}

/// The way from decoding to preparing.
pub(super) struct Way<'a> {
    pub(super) in_end: Sender<DecodedFrame<'a>>,
    pub(super) out_end: Receiver<DecodedFrame<'a>>,
}

impl Way<'_> {
    /// Makes a way that holds the newest frame alone, or all in flight: then the budget is the bound, and sending never
    /// waits.
    pub(super) fn new(policy: CapturePolicy, frames_max: usize) -> Self {
        let (in_end, out_end) = bounded(if policy == CapturePolicy::Latest { 1 } else { frames_max });
        Self { in_end, out_end }
    }
}

/// The settings and tools of decoding.
pub(super) struct Decoding<'a> {
    pub(super) budget: &'a Budget,
    pub(super) options: &'a PipelineOptions,
    pub(super) control: &'a PipelineControl,
    /// The bytes of a network input.
    pub(super) input_bytes: u64,
}

/// The outcome of decoding.
#[derive(Default)]
pub(super) struct Decoded {
    pub(super) stopped: bool,
}

impl<'a> Decoding<'a> {
    /// Decodes until the source ends, a stop is asked for, or a later stage has ended.
    pub(super) fn run(
        self,
        source: &mut dyn FrameSource,
        way: Way<'a>,
        decoded: &mut Decoded,
        mut work: StageClock<'_>,
    ) -> Result<(), VisionError> {
        let counters = &self.control.counters;
        let stride = u64::from(self.options.vid_stride.get());
        let (mut index, mut before, mut clock) = (0, SourceCounts::default(), None);
        while !self.budget.is_closed() {
            if self.control.stop.is_set() {
                decoded.stopped = true;
                break;
            }
            let is_wanted = u64::is_multiple_of(index, stride);
            let (next, mark) =
                work.time_of(|| if is_wanted { source.next_frame().map(Next::of) } else { skip(source) });
            let now = source.counts();
            counters.count_decode_errors(now.decode_errors.saturating_sub(before.decode_errors));
            counters.count_times_replaced(now.times_replaced.saturating_sub(before.times_replaced));
            before = now;
            match next? {
                Next::End => break,
                Next::Skipped => {
                    index += 1;
                    counters.count_decoded();
                    counters.count_by_stride();
                }
                Next::Frame(frame) => {
                    // Where damaged frames were passed over the index is further than it was counted here.
                    index = frame.index;
                    counters.count_decoded();
                    if self.options.realtime {
                        self.wait_for(*clock.get_or_insert((Instant::now(), frame.media_time)), frame.media_time);
                    }
                    if !u64::is_multiple_of(index - 1, stride) {
                        counters.count_by_stride();
                    } else if self.pass_on(frame, mark, &way, counters).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until a frame's time has come; a stop shortens it.
    fn wait_for(&self, (began, first): (Instant, MediaTime), media_time: MediaTime) {
        let micros = media_time.as_micros().saturating_sub(first.as_micros()).max(0) as u64;
        let due = began + Duration::from_micros(micros);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.control.stop.is_set() || self.budget.is_closed() {
                return;
            }
            sleep(left.min(LOOK_EVERY));
        }
    }

    /// Sends a frame as the policy says; breaks when a later stage has ended.
    fn pass_on(
        &self,
        frame: Frame,
        mark: (Instant, Duration),
        way: &Way<'a>,
        counters: &FrameCounters,
    ) -> ControlFlow<()> {
        let (decoded_at, decoded) = (SystemTime::now(), Instant::now());
        let bytes = frame.image.bgr_bytes().len() as u64 + self.input_bytes;
        let frame = DecodedFrame { frame, decoded_at, decoded, mark, permit: None };
        let permit = match self.options.capture {
            CapturePolicy::Latest => return replace(frame, way, counters),
            CapturePolicy::All => self.budget.acquire(bytes),
            CapturePolicy::EveryNth => self.budget.try_acquire(bytes),
        };
        if permit.is_none() {
            if self.budget.is_closed() {
                return ControlFlow::Break(());
            }
            counters.count_by_overload();
            return ControlFlow::Continue(());
        }
        match way.in_end.send(DecodedFrame { permit, ..frame }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// The answer of a source.
enum Next {
    Frame(Frame),
    Skipped,
    End,
}

impl Next {
    fn of(frame: Option<Frame>) -> Self {
        frame.map_or(Self::End, Self::Frame)
    }
}

fn skip(source: &mut dyn FrameSource) -> Result<Next, VisionError> {
    Ok(if source.skip_frame()? { Next::Skipped } else { Next::End })
}

/// Puts a frame in the place of the one that still waits.
fn replace<'a>(mut frame: DecodedFrame<'a>, way: &Way<'a>, counters: &FrameCounters) -> ControlFlow<()> {
    loop {
        match way.in_end.try_send(frame) {
            Ok(()) => return ControlFlow::Continue(()),
            Err(TrySendError::Disconnected(_)) => return ControlFlow::Break(()),
            Err(TrySendError::Full(back)) => {
                frame = back;
                // It may have been taken meanwhile.
                if way.out_end.try_recv().is_ok() {
                    counters.count_superseded();
                }
            }
        }
    }
}

//! The progress of a run, for a progress bar.

use rva_types::MediaTime;
use std::time::{Duration, Instant};

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// The number of frames processed.
    pub frames: u64,
    /// The index of the last processed frame; compare this with `frames_total`, since a stride leaves gaps.
    pub frame_index: u64,
    /// The frames of the source as it announces them, an estimate; `None` for live sources.
    pub frames_total: Option<u64>,
    /// The last frame's place on the stream's timeline.
    pub media_time: MediaTime,
    /// The processed frames a second during the last second or so; 0 until the first is over.
    pub fps: f64,
    /// The number of detections of class `person` in the last frame.
    pub people: usize,
    /// The number of all detections in the last frame.
    pub detections: usize,
    /// Set while the sink takes nothing (disk full, broker away): the run waits for it.
    pub sink_waits: bool,
}

/// A counter of frames a second over windows of one second.
#[derive(Debug)]
pub(crate) struct Pace {
    window_start: Instant,
    frames: u32,
    fps: f64,
}

const WINDOW: Duration = Duration::from_secs(1);

impl Pace {
    pub(crate) fn starting(now: Instant) -> Self {
        Self { window_start: now, frames: 0, fps: 0.0 }
    }

    /// Counts a frame; returns the frames a second in the last full window.
    pub(crate) fn frame(&mut self, now: Instant) -> f64 {
        self.frames += 1;
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= WINDOW {
            self.fps = f64::from(self.frames) / elapsed.as_secs_f64();
            self.window_start = now;
            self.frames = 0;
        }
        self.fps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_second() {
        let start = Instant::now();
        let mut pace = Pace::starting(start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!([250, 500, 750].map(|ms| pace.frame(at(ms))), [0.0; 3]);
        assert_eq!(pace.frame(at(1000)), 4.0);
        assert_eq!(pace.frame(at(1500)), 4.0, "until the next second is over");
        assert_eq!(pace.frame(at(3000)), 1.0, "a standstill shows");
    }
}

//! One track: its filter, what it observed, and the re-update when it is found again.

use super::Candidate;
use crate::area_filter::AreaFilter;
use crate::kalman::Rect;
use crate::streak::Streak;
use std::collections::VecDeque;

/// Frames and boxes, oldest first.
pub(super) type Observed = VecDeque<(u64, Rect)>;

#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) id: u64,
    pub(super) streak: Streak,
    /// The filter's box in the latest frame.
    pub(super) rect: Rect,
    pub(super) conf: f32,
    /// The index of the track's detection in the latest frame.
    pub(super) detection: Option<usize>,
    filter: AreaFilter,
    /// The filter as it was after the latest observation, from which a re-update starts.
    settled: AreaFilter,
    /// The latest observation, and those at most `delta_t` frames before it.
    observed: Observed,
    /// The unit vector of the way at the latest observation; zero where there was none.
    direction: [f64; 2],
}

impl Track {
    /// Starts a track at a candidate; `observed` is memory that isn't used any more.
    pub(super) fn new(id: u64, frame: u64, candidate: &Candidate, mut observed: Observed) -> Self {
        let &Candidate { rect, conf, detection, .. } = candidate;
        observed.clear();
        observed.push_back((frame, rect));
        let filter = AreaFilter::new(&rect);
        Self {
            id,
            streak: Streak::default(),
            rect,
            conf,
            detection: Some(detection),
            filter,
            settled: filter,
            observed,
            direction: [0.0; 2],
        }
    }

    /// Ends the track, and returns its memory for another.
    pub(super) fn end(&mut self) -> Observed {
        std::mem::take(&mut self.observed)
    }

    /// Goes one frame on.
    pub(super) fn predict(&mut self) {
        self.filter.predict();
        self.rect = self.filter.rect();
        self.streak.predict();
        self.detection = None;
    }

    /// Returns the frame and box of the latest observation.
    pub(super) fn last_observation(&self) -> (u64, Rect) {
        // There is one from the start on, and the latest is never dropped.
        self.observed.back().copied().unwrap_or((0, self.rect))
    }

    /// Returns the observation that directions start from: the oldest of the last `delta_t` frames, else the latest.
    fn origin(&self, frame: u64, delta_t: u32) -> Rect {
        let recent = self.observed.iter().find(|(at, _)| frame - at <= u64::from(delta_t));
        recent.map_or_else(|| self.last_observation().1, |(_, rect)| *rect)
    }

    /// Returns the agreement of the track's direction with the way to `rect` (section 4.2): the angle between them,
    /// brought from [π, 0] to [-1/2, 1/2]; 0 where one of them is no way.
    pub(super) fn agreement(&self, rect: &Rect, frame: u64, delta_t: u32) -> f64 {
        let way = direction(&self.origin(frame, delta_t), rect);
        let cos = way[0] * self.direction[0] + way[1] * self.direction[1];
        0.5 - cos.clamp(-1.0, 1.0).acos() / std::f64::consts::PI
    }

    /// Takes in an observation of this frame.
    ///
    /// After a gap from frame t1 to t2, the filter goes back to t1 and takes in z(t) = z(t1) + (t - t1) / (t2 - t1)
    /// (z(t2) - z(t1)) in every frame up to t2 (ORU, section 4.1), as if the box had been seen on a straight way.
    /// Without a gap that is the plain update.
    pub(super) fn update(&mut self, frame: u64, rect: Rect, delta_t: u32) {
        let (last, from) = self.last_observation();
        let gap = frame - last;
        let mut filter = self.settled;
        for step in 1..=gap {
            filter.predict();
            filter.update(&from.towards(&rect, step as f64 / gap as f64));
        }
        self.filter = filter;
        self.settled = filter;
        self.rect = filter.rect();
        self.streak.hit();
        self.direction = direction(&self.origin(frame, delta_t), &rect);
        self.observed.push_back((frame, rect));
        while self.observed.front().is_some_and(|(at, _)| frame - at > u64::from(delta_t)) {
            self.observed.pop_front();
        }
    }
}

/// Returns the unit vector from centre to centre; zero where they are one.
fn direction(from: &Rect, to: &Rect) -> [f64; 2] {
    let ([x1, y1], [x2, y2]) = (from.centre(), to.centre());
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = dx.hypot(dy);
    if length > 0.0 { [dx / length, dy / length] } else { [0.0; 2] }
}

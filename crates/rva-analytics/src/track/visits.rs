//! Visits of a zone.
//!
//! Between two detections a track is on the straight way, so a zone that is jumped over between two frames is still
//! visited, and counts don't depend on the frame rate. A visit begins with a stay inside of at least `enter_min` and
//! ends before a stay outside of at least `leave_min`, a gap, or with the track. It is dated by the detections inside;
//! if none fell inside, by the way itself.

use super::{Step, is_joined};
use crate::{Polygon, Rules};
use std::sync::Arc;

/// One visit of a zone by a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The zone's name.
    pub zone: Arc<str>,
    /// Counts the track's visits of the zone from 1.
    pub number: i32,
    /// The time at which it begins, in microseconds since 1970.
    pub entered_us: i64,
    /// The time at which it ends, in microseconds since 1970.
    pub left_us: i64,
}

impl Visit {
    /// Returns the seconds from the beginning to the end.
    pub fn dwell_seconds(&self) -> f64 {
        (self.left_us - self.entered_us) as f64 / 1e6
    }
}

/// A stretch of time inside, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    from_us: i64,
    to_us: i64,
    /// The times of the first and the last detection inside; `None` where none fell inside.
    seen: Option<(i64, i64)>,
}

impl Stay {
    /// Goes on with a stay that begins where this one ends, or later.
    fn extend(&mut self, next: Self) {
        self.to_us = next.to_us;
        self.seen = match (self.seen, next.seen) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

/// Returns the visits of one definition of a zone, in order, without their numbers.
pub(super) fn of_zone(name: &Arc<str>, polygon: &Polygon, steps: &[Step], rules: &Rules) -> Vec<Visit> {
    let joined = steps.chunk_by(|before, after| is_joined(before.at_us, after.at_us, rules));
    let visits = joined.flat_map(|part| visits(&stays(polygon, part), rules));
    visits
        .map(|stay| {
            let (entered_us, left_us) = stay.seen.unwrap_or((stay.from_us, stay.to_us));
            Visit { zone: Arc::clone(name), number: 0, entered_us, left_us }
        })
        .collect()
}

/// Returns the stays inside, in order, of detections without a gap.
fn stays(polygon: &Polygon, steps: &[Step]) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    let mut add = |next: Stay| match stays.last_mut() {
        Some(last) if last.to_us >= next.from_us => last.extend(next),
        _ => stays.push(next),
    };
    for (at, step) in steps.iter().enumerate() {
        if polygon.holds(step.anchor) {
            add(Stay { from_us: step.at_us, to_us: step.at_us, seen: Some((step.at_us, step.at_us)) });
        }
        let Some(next) = steps.get(at + 1) else { break };
        let span = (next.at_us - step.at_us) as f64;
        let moment = |share: f64| step.at_us + (share * span).round() as i64;
        for (from, to) in polygon.parts_inside(step.anchor, next.anchor) {
            add(Stay { from_us: moment(from), to_us: moment(to), seen: None });
        }
    }
    stays
}

/// Joins stays to visits.
fn visits(stays: &[Stay], rules: &Rules) -> Vec<Stay> {
    let mut visits: Vec<Stay> = Vec::new();
    let mut is_open = false;
    for &stay in stays {
        match visits.last_mut() {
            Some(visit) if is_open && stay.from_us - visit.to_us < rules.leave_min_us => visit.extend(stay),
            _ => {
                is_open = stay.to_us - stay.from_us >= rules.enter_min_us;
                if is_open {
                    visits.push(stay);
                }
            }
        }
    }
    visits
}

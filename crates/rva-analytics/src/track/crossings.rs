//! Crossings of a directed line, by one code for gold and for the scores of counting.
//!
//! Detections near the line are on neither side. A side counts once a track has been on it for `side_min`, or ends
//! there, so a flicker of one frame is no crossing. A crossing is dated by the first detection on the new side, and
//! counts only if the path between the two sides passes between the line's ends.

use super::Step;
use crate::{DirectedLine, Direction, Rules, Share};
use std::sync::Arc;

/// One crossing of a line by a track.
#[derive(Debug, Clone, PartialEq)]
pub struct Crossing {
    /// The line's name.
    pub line: Arc<str>,
    /// Counts the track's crossings of the line from 1.
    pub number: i32,
    /// The time of the first detection on the new side, in microseconds since 1970.
    pub at_us: i64,
    /// The direction, which is the new side.
    pub direction: Direction,
    /// The anchor of that detection.
    pub anchor: Share,
}

/// Detections on one side, those on neither side between them left out.
struct Run {
    side: Direction,
    first: usize,
    last: usize,
}

/// Returns the crossings of one definition of a line, in order, without their numbers.
pub(super) fn of_line(name: &Arc<str>, line: &DirectedLine, steps: &[Step], rules: &Rules) -> Vec<Crossing> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let Some(side) = line.side(step.anchor, step.img_w, step.img_h, rules.line_band) else { continue };
        match runs.last_mut() {
            Some(run) if run.side == side => run.last = at,
            _ => runs.push(Run { side, first: at, last: at }),
        }
    }
    let mut crossings = Vec::new();
    let mut side = None;
    for (at, run) in runs.iter().enumerate() {
        let ends_here = at + 1 == runs.len();
        if !ends_here && steps[run.last].at_us - steps[run.first].at_us < rules.side_min_us {
            continue;
        }
        // Sides alternate: the run before is on the other side, counted or not.
        let way = if at > 0 { &steps[runs[at - 1].last..=run.first] } else { &[] };
        let is_passed = way.windows(2).any(|pair| line.is_passed(pair[0].anchor, pair[1].anchor));
        if side.is_some_and(|before| before != run.side) && is_passed {
            let Step { at_us, anchor, .. } = steps[run.first];
            crossings.push(Crossing { line: Arc::clone(name), number: 0, at_us, direction: run.side, anchor });
        }
        side = Some(run.side);
    }
    crossings
}

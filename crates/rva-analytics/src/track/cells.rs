//! Time in the cells of a grid.

use super::{Step, is_joined};
use crate::{Rules, Share, hour_of};
use std::collections::BTreeMap;

/// A cell of the grid: its number across and that down, from 0.
pub type Cell = (u8, u8);

/// The time of one track in one cell and hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellDwell {
    /// The number of visits that begin in this hour.
    pub visits: i64,
    /// The microseconds of steps that begin in this hour.
    pub micros: i64,
}

/// Returns the cell of an anchor.
pub(crate) fn cell_of(anchor: Share, rules: &Rules) -> Cell {
    let of = |share: f64| (share * f64::from(rules.grid)) as u8;
    (of(anchor.x), of(anchor.y))
}

/// Returns the time of a track by hour and cell. The time from one detection to the next belongs to the cell of the
/// first and to the hour in which it begins. A visit is a run of detections in one cell, and counts in the hour in
/// which it begins.
pub(super) fn dwell(steps: &[Step], rules: &Rules) -> BTreeMap<(i64, Cell), CellDwell> {
    let mut dwell: BTreeMap<_, CellDwell> = BTreeMap::new();
    let mut before: Option<(&Step, Cell)> = None;
    for step in steps {
        let cell = cell_of(step.anchor, rules);
        let joined = before.filter(|(last, _)| is_joined(last.at_us, step.at_us, rules));
        if let Some((last, last_cell)) = joined {
            dwell.entry((hour_of(last.at_us), last_cell)).or_default().micros += step.at_us - last.at_us;
        }
        if joined.is_none_or(|(_, last_cell)| last_cell != cell) {
            dwell.entry((hour_of(step.at_us), cell)).or_default().visits += 1;
        }
        before = Some((step, cell));
    }
    dwell
}

//! One track from its first detection to its last, and everything that gold says of it.
//!
//! Dwell, visits and crossings depend on the order of detections, so they are functions of the whole track: a detection
//! that comes late means that the track is computed again, whatever came before.

mod cells;
mod crossings;
mod visits;

pub use cells::{Cell, CellDwell};
pub use crossings::Crossing;
pub use visits::Visit;

pub(crate) use cells::cell_of;

use crate::{CameraZones, DirectedLine, Rules, Share, anchor};
use rva_types::{CameraId, RunId, StoreId};
use std::{collections::BTreeMap, sync::Arc};

/// The key of a track.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackKey {
    /// The shop's id.
    pub store: StoreId,
    /// The camera's id.
    pub camera: CameraId,
    /// The run's id.
    pub run: RunId,
    /// The track's id in its run.
    pub track_id: i64,
}

/// A detection of a track.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackPoint {
    /// The frame's index in the run; points are in its order, then in that of `det_id`.
    pub frame_index: i64,
    /// The detection's id, unique in the frame.
    pub det_id: Arc<str>,
    /// The capture time in microseconds since 1970.
    pub at_us: i64,
    /// The box's left, top, right and bottom in pixels.
    pub bbox: [i32; 4],
    /// The width of the picture in pixels.
    pub img_w: i32,
    /// The height of the picture in pixels.
    pub img_h: i32,
    /// The confidence in [0, 1].
    pub conf: f64,
}

impl TrackPoint {
    /// Returns the bottom centre in shares of the picture.
    pub fn anchor(&self) -> Share {
        anchor(self.bbox, self.img_w, self.img_h)
    }
}

/// The detections of a track, in any order until they are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackPath {
    points: Vec<TrackPoint>,
}

impl TrackPath {
    /// Takes a detection.
    pub fn push(&mut self, point: TrackPoint) {
        self.points.push(point);
    }

    /// Takes the detections of another part of the track. The order of parts doesn't matter.
    pub fn merge(&mut self, other: Self) {
        self.points.extend(other.points);
    }

    /// Returns the number of detections.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Returns the bytes that the detections take in memory, about.
    pub fn memory_bytes(&self) -> usize {
        // An id's text is an allocation of its own, of two counters and a dozen letters.
        self.points.capacity() * (size_of::<TrackPoint>() + 48)
    }

    /// Brings the points in order, and returns them.
    fn ordered(&mut self) -> &[TrackPoint] {
        self.points.sort_by(|a, b| (a.frame_index, &a.det_id).cmp(&(b.frame_index, &b.det_id)));
        &self.points
    }

    /// Computes the track's crossings of one line that was always valid, in order.
    pub fn crossings(&mut self, name: &Arc<str>, line: &DirectedLine, rules: &Rules) -> Vec<Crossing> {
        let steps: Vec<Step> = self.ordered().iter().map(Step::of).collect();
        let mut crossings = crossings::of_line(name, line, &steps, rules);
        number_within(&mut crossings, |crossing| &crossing.line, |crossing, number| crossing.number = number);
        crossings
    }

    /// Computes everything that gold says of the track; `None` where it has no detection.
    pub fn outcome(&mut self, key: TrackKey, zones: &CameraZones, rules: &Rules) -> Option<TrackOutcome> {
        let points = self.ordered();
        let summary = TrackSummary::of(points)?;
        let steps: Vec<Step> = points.iter().map(Step::of).collect();
        let mut visits: Vec<_> = zones
            .zones()
            .flat_map(|(definition, polygon)| {
                let valid = steps.iter().filter(|step| definition.is_valid_at(step.at_us)).cloned();
                visits::of_zone(&definition.name, polygon, &valid.collect::<Vec<_>>(), rules)
            })
            .collect();
        number_within(&mut visits, |visit| &visit.zone, |visit, number| visit.number = number);
        let mut crossings: Vec<_> = zones
            .lines()
            .flat_map(|(definition, line)| {
                let valid = steps.iter().filter(|step| definition.is_valid_at(step.at_us)).cloned();
                crossings::of_line(&definition.name, line, &valid.collect::<Vec<_>>(), rules)
            })
            .collect();
        number_within(&mut crossings, |crossing| &crossing.line, |crossing, number| crossing.number = number);
        let dwell = cells::dwell(&steps, rules);
        Some(TrackOutcome { key, summary, visits, crossings, dwell })
    }
}

/// Counts neighbours of one name from 1. Definitions are in order of name and time, and so are what they gave.
fn number_within<T>(all: &mut [T], name: impl Fn(&T) -> &Arc<str>, mut set: impl FnMut(&mut T, i32)) {
    let mut number = 0;
    for at in 0..all.len() {
        number = if at > 0 && name(&all[at - 1]) == name(&all[at]) { number + 1 } else { 1 };
        set(&mut all[at], number);
    }
}

/// A point as the rules of paths see it: a time, an anchor, and the picture's size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub at_us: i64,
    pub anchor: Share,
    pub img_w: i32,
    pub img_h: i32,
}

impl Step {
    fn of(point: &TrackPoint) -> Self {
        Self { at_us: point.at_us, anchor: point.anchor(), img_w: point.img_w, img_h: point.img_h }
    }
}

/// Returns whether two neighbouring detections belong together: the later one is not earlier, and at most `gap_max`
/// later.
pub(crate) fn is_joined(before_us: i64, after_us: i64, rules: &Rules) -> bool {
    (0..=rules.gap_max_us).contains(&after_us.saturating_sub(before_us))
}

/// Everything that gold says of one track.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackOutcome {
    /// The track's key.
    pub key: TrackKey,
    /// Its row of `gold_track_summary`, but for the key.
    pub summary: TrackSummary,
    /// Its visits of zones, by zone and in order.
    pub visits: Vec<Visit>,
    /// Its crossings of lines, by line and in order.
    pub crossings: Vec<Crossing>,
    /// Its time in cells of the grid, by hour (microseconds since 1970) and cell.
    pub dwell: BTreeMap<(i64, Cell), CellDwell>,
}

/// A track as a whole. Positions are those of its boxes' centres, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackSummary {
    /// The number of frames with a detection of it.
    pub frames: i64,
    /// The earliest capture time, in microseconds since 1970.
    pub start_us: i64,
    /// The latest capture time, in microseconds since 1970.
    pub end_us: i64,
    /// The least x.
    pub min_x: f64,
    /// The greatest x.
    pub max_x: f64,
    /// The least y.
    pub min_y: f64,
    /// The greatest y.
    pub max_y: f64,
    /// The mean x of all detections.
    pub avg_x: f64,
    /// The mean y of all detections.
    pub avg_y: f64,
    /// The mean confidence of all detections, in [0, 1].
    pub avg_conf: f64,
}

impl TrackSummary {
    /// Sums up points, which must be in order; `None` where there are none.
    fn of(points: &[TrackPoint]) -> Option<Self> {
        let twice = |low: i32, high: i32| i64::from(low) + i64::from(high);
        let xs = || points.iter().map(|point| twice(point.bbox[0], point.bbox[2]));
        let ys = || points.iter().map(|point| twice(point.bbox[1], point.bbox[3]));
        let times = || points.iter().map(|point| point.at_us);
        let half = |whole: i64| whole as f64 / 2.0;
        let count = points.len() as f64;
        let frames = 1 + points.windows(2).filter(|pair| pair[0].frame_index != pair[1].frame_index).count();
        Some(Self {
            frames: frames as i64,
            start_us: times().min()?,
            end_us: times().max()?,
            min_x: half(xs().min()?),
            max_x: half(xs().max()?),
            min_y: half(ys().min()?),
            max_y: half(ys().max()?),
            avg_x: xs().sum::<i64>() as f64 / count / 2.0,
            avg_y: ys().sum::<i64>() as f64 / count / 2.0,
            avg_conf: points.iter().map(|point| conf_units(point.conf)).sum::<i64>() as f64 / count / 10_000.0,
        })
    }

    /// Returns the seconds from the first detection to the last.
    pub fn duration_seconds(&self) -> f64 {
        (self.end_us - self.start_us) as f64 / 1e6
    }
}

/// Returns a confidence in ten thousandths, rounded half up: sums of whole numbers are the same in every engine.
pub(crate) fn conf_units(conf: f64) -> i64 {
    (conf * 10_000.0).round() as i64
}

//! People counted at lines and in zones, against the same counts of the true boxes.
//!
//! The ground truth's tracks and a tracker's go through the same code as gold does ([`rva_analytics`]), so any
//! difference is the tracker's doing alone: people it missed, ids it changed, boxes it lost at the line.

use crate::MotRow;
use rva_analytics::{
    CameraZones, Direction, Rules, Shape, TrackKey, TrackOutcome, TrackPath, TrackPoint, ZoneDefinition, Zones,
};
use rva_types::{CameraId, ImageSize, RunId, StoreId};
use std::collections::{BTreeMap, BTreeSet};

/// The lines, from edge to edge at several places and angles: name and ends in shares of the picture.
const LINES: [(&str, [[f64; 2]; 2]); 9] = [
    ("left", [[0.25, 0.0], [0.25, 1.0]]),
    ("middle", [[0.5, 0.0], [0.5, 1.0]]),
    ("right", [[0.75, 0.0], [0.75, 1.0]]),
    ("upper", [[0.0, 0.45], [1.0, 0.45]]),
    ("centre", [[0.0, 0.6], [1.0, 0.6]]),
    ("lower", [[0.0, 0.75], [1.0, 0.75]]),
    ("falling", [[0.1, 0.0], [0.9, 1.0]]),
    ("rising", [[0.1, 1.0], [0.9, 0.0]]),
    ("steep", [[0.4, 0.0], [0.6, 1.0]]),
];

/// The zones: name and corners in shares of the picture.
const ZONES: [(&str, [[f64; 2]; 4]); 3] = [
    ("left half", [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]),
    ("middle", [[0.3, 0.3], [0.7, 0.3], [0.7, 0.9], [0.3, 0.9]]),
    ("lower right", [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]),
];

/// The time, in microseconds, that a counted crossing and a true one of the same line and direction may be apart.
const TOLERANCE_US: i64 = 2_000_000;

/// The length in microseconds of the intervals in which counts are compared.
const INTERVAL_US: i64 = 5_000_000;

/// A sequence's frames as counting sees them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Film {
    /// The number of frames of the sequence.
    pub frames: u32,
    /// The number of frames a second.
    pub frame_rate: f64,
    /// The size of the picture in pixels.
    pub image_size: ImageSize,
}

/// The counts of one sequence, or of several added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CountScores {
    /// Crossings of the true boxes' tracks.
    pub truth: u64,
    /// Crossings of the tracker's tracks.
    pub counted: u64,
    /// True crossings without a counted one.
    pub missed: u64,
    /// Counted crossings without a true one.
    pub extra: u64,
    /// The sum of absolute errors of counts, over lines, directions and intervals.
    pub interval_error: u64,
    /// The number of counts in that sum.
    pub intervals: u64,
    /// The sum of absolute errors of people in a zone, over zones and frames.
    pub people_error: u64,
    /// The number of frames in that sum.
    pub people_frames: u64,
    /// The sum of absolute errors of the time that all visits of a zone took together, in microseconds.
    pub dwell_error_us: u64,
    /// The number of true visits that it is spread over.
    pub visits: u64,
}

impl CountScores {
    /// Compares a tracker's rows with the scored rows of the ground truth.
    pub fn of(film: &Film, truth: &[MotRow], found: &[MotRow]) -> Self {
        let zones = zones();
        let of = |rows| outcomes(film, rows, &zones);
        let (true_outcomes, found_outcomes) = (of(truth), of(found));
        let mut scores = Self::default();
        scores.add_crossings(film, &true_outcomes, &found_outcomes);
        scores.add_people(film, truth, found, &zones);
        scores.add_dwell(&true_outcomes, &found_outcomes);
        scores
    }

    /// Adds the counts of another sequence.
    pub fn add(&mut self, other: &Self) {
        self.truth += other.truth;
        self.counted += other.counted;
        self.missed += other.missed;
        self.extra += other.extra;
        self.interval_error += other.interval_error;
        self.intervals += other.intervals;
        self.people_error += other.people_error;
        self.people_frames += other.people_frames;
        self.dwell_error_us += other.dwell_error_us;
        self.visits += other.visits;
    }

    /// Returns missed and extra crossings as a share of the true ones; `None` where there are none.
    pub fn error_share(&self) -> Option<f64> {
        ratio((self.missed + self.extra) as f64, self.truth)
    }

    /// Returns the mean absolute error of a line's count in one direction in one interval.
    pub fn interval_mae(&self) -> Option<f64> {
        ratio(self.interval_error as f64, self.intervals)
    }

    /// Returns the mean absolute error of the number of people in a zone.
    pub fn people_mae(&self) -> Option<f64> {
        ratio(self.people_error as f64, self.people_frames)
    }

    /// Returns the absolute error of dwell, in seconds a true visit.
    pub fn dwell_mae_seconds(&self) -> Option<f64> {
        ratio(self.dwell_error_us as f64 / 1e6, self.visits)
    }

    fn add_crossings(&mut self, film: &Film, truth: &[TrackOutcome], found: &[TrackOutcome]) {
        let (truth, found) = (by_line(truth), by_line(found));
        let last = moment(film, film.frames.max(1));
        let none = Vec::new();
        for (name, _) in LINES {
            for direction in [Direction::In, Direction::Out] {
                let truth = truth.get(&(name.to_owned(), direction)).unwrap_or(&none);
                let found = found.get(&(name.to_owned(), direction)).unwrap_or(&none);
                let pairs = paired(truth, found);
                self.truth += truth.len() as u64;
                self.counted += found.len() as u64;
                self.missed += (truth.len() - pairs) as u64;
                self.extra += (found.len() - pairs) as u64;
                for begin in (0..=last).step_by(INTERVAL_US as usize) {
                    let within = |times: &[i64]| {
                        times.iter().filter(|at| (begin..begin + INTERVAL_US).contains(at)).count() as u64
                    };
                    self.interval_error += within(truth).abs_diff(within(found));
                    self.intervals += 1;
                }
            }
        }
    }

    fn add_people(&mut self, film: &Film, truth: &[MotRow], found: &[MotRow], zones: &CameraZones) {
        for (_, polygon) in zones.zones() {
            let count = |rows: &[MotRow]| {
                let mut counts = vec![0u64; film.frames as usize];
                for row in rows {
                    let point = point(film, row);
                    if let (true, Some(count)) = (polygon.holds(point.anchor()), counts.get_mut(row.frame as usize - 1))
                    {
                        *count += 1;
                    }
                }
                counts
            };
            let errors = count(truth).into_iter().zip(count(found)).map(|(truth, found)| truth.abs_diff(found));
            self.people_error += errors.sum::<u64>();
            self.people_frames += u64::from(film.frames);
        }
    }

    fn add_dwell(&mut self, truth: &[TrackOutcome], found: &[TrackOutcome]) {
        for (name, _) in ZONES {
            let total = |outcomes: &[TrackOutcome]| {
                let visits = outcomes.iter().flat_map(|outcome| &outcome.visits).filter(|visit| &*visit.zone == name);
                visits.fold((0, 0), |(count, sum), visit| (count + 1, sum + visit.left_us - visit.entered_us))
            };
            let ((visits, of_truth), (_, of_found)) = (total(truth), total(found));
            self.visits += visits;
            self.dwell_error_us += of_truth.abs_diff(of_found);
        }
    }
}

fn ratio(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

fn moment(film: &Film, frame: u32) -> i64 {
    (f64::from(frame - 1) / film.frame_rate * 1e6).round() as i64
}

/// Returns the constants above as shapes. They are checked by a test.
fn zones() -> CameraZones {
    let (store, camera) = (id(StoreId::parse), id(CameraId::parse));
    let json = |points: &[[f64; 2]]| {
        let pairs: Vec<String> = points.iter().map(|[x, y]| format!("[{x},{y}]")).collect();
        format!("[{}]", pairs.join(","))
    };
    let lines = LINES.iter().map(|(name, ends)| (*name, "line", json(ends)));
    let areas = ZONES.iter().map(|(name, corners)| (*name, "zone", json(corners)));
    let definitions = lines.chain(areas).filter_map(|(name, kind, points)| {
        Some(ZoneDefinition {
            store: store.clone(),
            camera: camera.clone(),
            name: name.into(),
            shape: Shape::parse(kind, &points).ok()?,
            valid_from_us: i64::MIN,
            valid_to_us: None,
        })
    });
    Zones::new(definitions).of(&store, &camera).clone()
}

/// Makes an identifier for what has none.
fn id<T, E: std::fmt::Debug>(parse: impl Fn(&'static str) -> Result<T, E>) -> T {
    parse("sequence").expect("the word is an identifier")
}

fn point(film: &Film, row: &MotRow) -> TrackPoint {
    let [left, top, width, height] = row.bbox;
    let (w, h) = (film.image_size.width as i32, film.image_size.height as i32);
    let whole = |value: f64, most: i32| ((value + 0.5).floor() as i32).clamp(0, most);
    TrackPoint {
        frame_index: i64::from(row.frame),
        det_id: row.id.to_string().into(),
        at_us: moment(film, row.frame),
        bbox: [whole(left, w), whole(top, h), whole(left + width, w), whole(top + height, h)],
        img_w: w,
        img_h: h,
        conf: row.conf,
    }
}

fn outcomes(film: &Film, rows: &[MotRow], zones: &CameraZones) -> Vec<TrackOutcome> {
    let mut paths: BTreeMap<i64, TrackPath> = BTreeMap::new();
    for row in rows {
        paths.entry(row.id).or_default().push(point(film, row));
    }
    let (store, camera, run) = (id(StoreId::parse), id(CameraId::parse), id(RunId::parse));
    let key = |track_id| TrackKey { store: store.clone(), camera: camera.clone(), run: run.clone(), track_id };
    paths.into_iter().filter_map(|(track, mut path)| path.outcome(key(track), zones, &Rules::default())).collect()
}

/// A crossing of one of the lines at which counting is scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineCrossing {
    /// The line's name.
    pub line: &'static str,
    /// Its ends in shares of the picture.
    pub ends: [[f64; 2]; 2],
    /// The direction of the crossing.
    pub direction: Direction,
    /// The media time, in microseconds.
    pub at_us: i64,
}

/// Returns the crossings of the tracks of these rows, a tracker's or the truth's, by line, direction and time: the ones
/// that [`CountScores::of`] compares.
pub fn line_crossings(film: &Film, rows: &[MotRow]) -> Vec<LineCrossing> {
    let by_line = by_line(&outcomes(film, rows, &zones()));
    let mut found = Vec::new();
    for (line, ends) in LINES {
        for direction in [Direction::In, Direction::Out] {
            let times = by_line.get(&(line.to_owned(), direction)).into_iter().flatten();
            found.extend(times.map(|&at_us| LineCrossing { line, ends, direction, at_us }));
        }
    }
    found
}

/// Returns the times of crossings by line and direction, in order.
fn by_line(outcomes: &[TrackOutcome]) -> BTreeMap<(String, Direction), Vec<i64>> {
    let mut times: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for crossing in outcomes.iter().flat_map(|outcome| &outcome.crossings) {
        times.entry((crossing.line.to_string(), crossing.direction)).or_default().push(crossing.at_us);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

/// Returns how many of the true times have a counted one of their own within the tolerance. Both are in order, so the
/// earliest that fits is the best.
fn paired(truth: &[i64], found: &[i64]) -> usize {
    let mut free: BTreeSet<usize> = (0..found.len()).collect();
    let mut pairs = 0;
    for &at in truth {
        let fits = free.iter().copied().find(|&index| (found[index] - at).abs() <= TOLERANCE_US);
        if let Some(index) = fits {
            free.remove(&index);
            pairs += 1;
        }
    }
    pairs
}

/// Returns the rows of a ground truth that are scored: people, and not those that are marked to be left out.
pub fn scored_people(truth: &[MotRow]) -> Vec<MotRow> {
    let has_classes = truth.iter().any(|row| row.class > 0);
    truth.iter().filter(|row| row.conf != 0.0 && (!has_classes || row.class == 1)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILM: Film = Film { frames: 100, frame_rate: 10.0, image_size: ImageSize { width: 1000, height: 1000 } };

    /// From left to right at a third of the height, in 100 frames.
    fn walk(id: i64, frames: std::ops::RangeInclusive<u32>) -> Vec<MotRow> {
        frames
            .map(|frame| MotRow { frame, id, bbox: [f64::from(frame) * 9.0, 250.0, 40.0, 100.0], conf: 1.0, class: -1 })
            .collect()
    }

    #[test]
    fn every_shape_is_one() {
        let zones = zones();
        assert_eq!((zones.lines().count(), zones.zones().count()), (LINES.len(), ZONES.len()));
    }

    #[test]
    fn the_truth_against_itself_has_no_error() {
        let truth = [walk(1, 1..=100), walk(2, 20..=90)].concat();
        let scores = CountScores::of(&FILM, &truth, &truth);
        assert!(scores.truth >= 10, "{scores:?}");
        assert_eq!((scores.counted, scores.missed, scores.extra), (scores.truth, 0, 0));
        assert_eq!(
            (scores.error_share(), scores.people_mae(), scores.dwell_mae_seconds()),
            (Some(0.0), Some(0.0), Some(0.0))
        );
    }

    #[test]
    fn a_track_that_breaks_at_a_line_is_a_missed_crossing_and_an_invented_person_an_extra_one() {
        let truth = walk(1, 1..=100);
        // Another id from the middle line on: seen on its far side only.
        let broken = [walk(1, 1..=53), walk(2, 54..=100)].concat();
        let scores = CountScores::of(&FILM, &truth, &broken);
        assert_eq!((scores.missed, scores.extra), (1, 0), "{scores:?}");
        let doubled = [walk(1, 1..=100), walk(2, 1..=100)].concat();
        let scores = CountScores::of(&FILM, &truth, &doubled);
        assert_eq!((scores.missed, scores.extra), (0, scores.truth), "{scores:?}");
        assert!(scores.people_mae().is_some_and(|error| error > 0.0));
    }

    #[test]
    fn the_crossings_that_are_compared_can_be_listed() {
        let found = line_crossings(&FILM, &walk(1, 1..=100));
        let told: Vec<_> = found.iter().map(|one| (one.line, one.direction.word(), one.at_us / 1_000_000)).collect();
        // From left to right: to the left hand of somebody who looks down the picture. The anchor is at 0.02 + 0.009 a
        // frame across, and at 0.35 down.
        let wanted = [
            ("left", "out", 2),
            ("middle", "out", 5),
            ("right", "out", 8),
            ("falling", "out", 4),
            ("rising", "in", 6),
            ("steep", "out", 5),
        ];
        assert_eq!(told, wanted);
        assert_eq!(found.len() as u64, CountScores::of(&FILM, &walk(1, 1..=100), &[]).truth);
    }

    #[test]
    fn each_counted_crossing_is_paired_once() {
        assert_eq!(paired(&[0, 10], &[5]), 1);
        assert_eq!(paired(&[0, 10_000_000], &[9_000_000, 500]), 2);
        assert_eq!(paired(&[0], &[TOLERANCE_US + 1]), 0);
    }
}

//! A sequence made ready for scoring: ids from 0, and the likeness of each true box to each result.

use crate::assignment::best_pairs;
use crate::mot::{MotError, MotRow};
use std::collections::BTreeMap;

/// The tolerance of TrackEval's comparisons (numpy's machine epsilon).
pub(crate) const EPSILON: f64 = f64::EPSILON;

/// The classes of MOT16 and later that a tracker may follow or not: a person on a vehicle, a static person, a
/// distractor, a reflection.
const DISTRACTORS: [i64; 4] = [2, 7, 8, 12];
/// The one more in MOT20: a vehicle without a motor.
const NON_MOTOR_VEHICLE: i64 = 6;
const PEDESTRIAN: i64 = 1;

/// The rules of MOTChallenge that hold for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    /// Leaves out rows of the ground truth that are marked 0 and scores all others; there are no classes.
    Mot15,
    /// Scores pedestrians, and takes away results that lie on a distractor. Holds for MOT16 too.
    Mot17,
    /// Does the same with one more class of distractors.
    Mot20,
}

impl Benchmark {
    /// Chooses by the sequence's ground truth: classes are there from MOT16 on. It can't tell MOT20, see
    /// [`Benchmark::of_named`].
    pub fn of(ground_truth: &[MotRow]) -> Self {
        if ground_truth.iter().any(|row| row.class > 0) { Self::Mot17 } else { Self::Mot15 }
    }

    /// Chooses by the sequence's name too: MOT20's begin with it.
    pub fn of_named(name: &str, ground_truth: &[MotRow]) -> Self {
        match Self::of(ground_truth) {
            Self::Mot17 if name.starts_with("MOT20") => Self::Mot20,
            benchmark => benchmark,
        }
    }

    fn is_distractor(self, class: i64) -> bool {
        DISTRACTORS.contains(&class) || (self == Self::Mot20 && class == NON_MOTOR_VEHICLE)
    }
}

/// One frame: the ids in it, and the IoU of each true box (row) with each result (column).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FrameScores {
    pub truth: Vec<usize>,
    pub found: Vec<usize>,
    pub similarity: Vec<f64>,
}

impl FrameScores {
    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.similarity[row * self.found.len() + column]
    }
}

/// A sequence made ready for scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    pub(crate) frames: Vec<FrameScores>,
    pub(crate) truth_ids: usize,
    pub(crate) found_ids: usize,
}

/// Returns the intersection over union of two boxes (left, top, width, height); 0 for boxes without an area.
pub(crate) fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let overlap = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let (area_a, area_b) = (a[2] * a[3], b[2] * b[3]);
    let intersection = overlap(0) * overlap(1);
    let union = area_a + area_b - intersection;
    if area_a <= EPSILON || area_b <= EPSILON || union <= EPSILON { 0.0 } else { intersection / union }
}

fn by_frame(rows: &[MotRow], frames: u32) -> Vec<Vec<&MotRow>> {
    let mut all = vec![Vec::new(); frames as usize];
    for row in rows {
        if let Some(slot) = all.get_mut(row.frame as usize - 1) {
            slot.push(row);
        }
    }
    all
}

fn check_end(file: &str, rows: &[MotRow], frames: u32) -> Result<(), MotError> {
    match rows.iter().map(|row| row.frame).max() {
        Some(found) if found > frames => Err(MotError::PastEnd { file: file.to_owned(), found, wanted: frames }),
        _ => Ok(()),
    }
}

/// Marks the results that lie on a distractor, by their place.
fn on_distractors(benchmark: Benchmark, truth: &[&MotRow], found: &[&MotRow], similarity: &[f64]) -> Vec<bool> {
    let scores: Vec<f64> = similarity.iter().map(|&s| if s < 0.5 - EPSILON { 0.0 } else { s }).collect();
    let mut removed = vec![false; found.len()];
    for (row, column) in best_pairs(&scores, truth.len(), found.len()) {
        let matched = scores[row * found.len() + column] > EPSILON;
        removed[column] = matched && benchmark.is_distractor(truth[row].class);
    }
    removed
}

impl Sequence {
    /// Prepares ground truth and results of a sequence of so many frames.
    ///
    /// Source: TrackEval's `MotChallenge2DBox.get_preprocessed_seq_data`.
    ///
    /// # Errors
    /// Returns an error for a frame past the end; the files are named as given.
    pub fn prepare(
        benchmark: Benchmark,
        frames: u32,
        truth: (&str, &[MotRow]),
        found: (&str, &[MotRow]),
    ) -> Result<Self, MotError> {
        check_end(truth.0, truth.1, frames)?;
        check_end(found.0, found.1, frames)?;
        let (mut truth_ids, mut found_ids) = (BTreeMap::new(), BTreeMap::new());
        fn number(ids: &mut BTreeMap<i64, usize>, id: i64) -> usize {
            let next = ids.len();
            *ids.entry(id).or_insert(next)
        }
        let pairs = by_frame(truth.1, frames).into_iter().zip(by_frame(found.1, frames));
        let frames = pairs.map(|(truth, mut found)| {
            if benchmark != Benchmark::Mot15 {
                let similarity: Vec<f64> =
                    truth.iter().flat_map(|t| found.iter().map(|f| iou(&t.bbox, &f.bbox))).collect();
                let mut removed = on_distractors(benchmark, &truth, &found, &similarity).into_iter();
                found.retain(|_| removed.next() != Some(true));
            }
            let scored =
                |row: &&&MotRow| row.conf as i64 != 0 && (benchmark == Benchmark::Mot15 || row.class == PEDESTRIAN);
            let truth: Vec<&MotRow> = truth.iter().filter(scored).copied().collect();
            FrameScores {
                similarity: truth.iter().flat_map(|t| found.iter().map(|f| iou(&t.bbox, &f.bbox))).collect(),
                truth: truth.iter().map(|row| number(&mut truth_ids, row.id)).collect(),
                found: found.iter().map(|row| number(&mut found_ids, row.id)).collect(),
            }
        });
        let frames = frames.collect();
        Ok(Self { frames, truth_ids: truth_ids.len(), found_ids: found_ids.len() })
    }

    pub(crate) fn truth_boxes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.truth.len() as u64).sum()
    }

    pub(crate) fn found_boxes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.found.len() as u64).sum()
    }
}

//! HOTA, the higher order tracking accuracy.
//!
//! Source: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking" (IJCV 2021); the numbers
//! are those of TrackEval's `metrics/hota.py`.

use crate::assignment::best_pairs;
use crate::sequence::{EPSILON, Sequence};

/// The number of localisation thresholds: 0.05, 0.10, … 0.95.
pub const ALPHAS: usize = 19;

fn alpha(at: usize) -> f64 {
    0.05 * (at as f64 + 1.0)
}

/// The counts at each threshold. Those of several sequences add up.
#[derive(Debug, Clone, PartialEq)]
pub struct HotaCounts {
    tp: [f64; ALPHAS],
    false_negatives: [f64; ALPHAS],
    false_positives: [f64; ALPHAS],
    /// The sums over the true positives: of the association scores, and of the IoU.
    ass_a: [f64; ALPHAS],
    ass_re: [f64; ALPHAS],
    ass_pr: [f64; ALPHAS],
    loc: [f64; ALPHAS],
}

impl Default for HotaCounts {
    fn default() -> Self {
        let zero = [0.0; ALPHAS];
        Self {
            tp: zero,
            false_negatives: zero,
            false_positives: zero,
            ass_a: zero,
            ass_re: zero,
            ass_pr: zero,
            loc: zero,
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    values.sum::<f64>() / ALPHAS as f64
}

impl HotaCounts {
    pub(crate) fn count(sequence: &Sequence) -> Self {
        let mut counts = Self::default();
        let (truths, founds) = (sequence.truth_ids, sequence.found_ids);
        if sequence.found_boxes() == 0 || sequence.truth_boxes() == 0 {
            counts.false_negatives = [sequence.truth_boxes() as f64; ALPHAS];
            counts.false_positives = [sequence.found_boxes() as f64; ALPHAS];
            return counts;
        }
        let (alignment, truth_count, found_count) = alignment(sequence);
        let mut matches = vec![[0.0f64; ALPHAS]; truths * founds];
        for frame in &sequence.frames {
            let (rows, columns) = (frame.truth.len(), frame.found.len());
            let scores: Vec<f64> = (0..rows * columns)
                .map(|i| alignment[frame.truth[i / columns] * founds + frame.found[i % columns]] * frame.similarity[i])
                .collect();
            let mut paired = [0.0; ALPHAS];
            for (row, column) in best_pairs(&scores, rows, columns) {
                let similarity = frame.at(row, column);
                let track = &mut matches[frame.truth[row] * founds + frame.found[column]];
                for at in (0..ALPHAS).filter(|&at| similarity >= alpha(at) - EPSILON) {
                    paired[at] += 1.0;
                    track[at] += 1.0;
                    counts.loc[at] += similarity;
                }
            }
            for (at, paired) in paired.into_iter().enumerate() {
                counts.tp[at] += paired;
                counts.false_negatives[at] += rows as f64 - paired;
                counts.false_positives[at] += columns as f64 - paired;
            }
        }
        for (i, track) in matches.iter().enumerate() {
            let (truth, found) = (truth_count[i / founds], found_count[i % founds]);
            for (at, &n) in track.iter().enumerate().filter(|(_, n)| **n > 0.0) {
                counts.ass_a[at] += n * n / (truth + found - n).max(1.0);
                counts.ass_re[at] += n * n / truth.max(1.0);
                counts.ass_pr[at] += n * n / found.max(1.0);
            }
        }
        counts
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mine = [
            &mut self.tp,
            &mut self.false_negatives,
            &mut self.false_positives,
            &mut self.ass_a,
            &mut self.ass_re,
            &mut self.ass_pr,
            &mut self.loc,
        ];
        let theirs = [
            &other.tp,
            &other.false_negatives,
            &other.false_positives,
            &other.ass_a,
            &other.ass_re,
            &other.ass_pr,
            &other.loc,
        ];
        for (mine, theirs) in mine.into_iter().zip(theirs) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
    }

    fn det_a_at(&self, at: usize) -> f64 {
        self.tp[at] / (self.tp[at] + self.false_negatives[at] + self.false_positives[at]).max(1.0)
    }

    fn per_match(&self, sums: &[f64; ALPHAS], at: usize) -> f64 {
        sums[at] / self.tp[at].max(1.0)
    }

    /// Returns the geometric mean of detection and association, averaged over the thresholds, in [0, 1] like all here.
    pub fn hota(&self) -> f64 {
        mean((0..ALPHAS).map(|at| (self.det_a_at(at) * self.per_match(&self.ass_a, at)).sqrt()))
    }

    /// Returns the detection accuracy.
    pub fn det_a(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.det_a_at(at)))
    }

    /// Returns the association accuracy.
    pub fn ass_a(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.per_match(&self.ass_a, at)))
    }

    /// Returns the detection recall.
    pub fn det_re(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.tp[at] / (self.tp[at] + self.false_negatives[at]).max(1.0)))
    }

    /// Returns the detection precision.
    pub fn det_pr(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.tp[at] / (self.tp[at] + self.false_positives[at]).max(1.0)))
    }

    /// Returns the association recall.
    pub fn ass_re(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.per_match(&self.ass_re, at)))
    }

    /// Returns the association precision.
    pub fn ass_pr(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.per_match(&self.ass_pr, at)))
    }

    /// Returns the localisation accuracy: the mean IoU of what was matched; 1 where nothing was.
    pub fn loc_a(&self) -> f64 {
        mean((0..ALPHAS).map(|at| self.loc[at].max(1e-10) / self.tp[at].max(1e-10)))
    }
}

/// Returns how well each true id and each found id lie on each other over the whole sequence (Jaccard), and how often
/// each was seen.
fn alignment(sequence: &Sequence) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (truths, founds) = (sequence.truth_ids, sequence.found_ids);
    let (mut potential, mut truth_count, mut found_count) =
        (vec![0.0; truths * founds], vec![0.0; truths], vec![0.0; founds]);
    for frame in &sequence.frames {
        let (rows, columns) = (frame.truth.len(), frame.found.len());
        let of_row: Vec<f64> = (0..rows).map(|r| (0..columns).map(|c| frame.at(r, c)).sum()).collect();
        let of_column: Vec<f64> = (0..columns).map(|c| (0..rows).map(|r| frame.at(r, c)).sum()).collect();
        for (row, truth) in frame.truth.iter().enumerate() {
            truth_count[*truth] += 1.0;
            for (column, found) in frame.found.iter().enumerate() {
                let similarity = frame.at(row, column);
                let union = of_row[row] + of_column[column] - similarity;
                if union > EPSILON {
                    potential[truth * founds + found] += similarity / union;
                }
            }
        }
        for found in &frame.found {
            found_count[*found] += 1.0;
        }
    }
    for (i, value) in potential.iter_mut().enumerate() {
        *value /= truth_count[i / founds] + found_count[i % founds] - *value;
    }
    (potential, truth_count, found_count)
}

//! Identity: the share of each true track that one id explains.
//!
//! Source: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (ECCV 2016
//! workshops); the numbers are those of TrackEval's `metrics/identity.py`.

use crate::assignment::best_pairs;
use crate::sequence::Sequence;

const THRESHOLD: f64 = 0.5;

/// The counts at an IoU of 0.5. Those of several sequences add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityCounts {
    /// Boxes of true tracks that lie under the one id given to them.
    pub true_positives: u64,
    /// Boxes of results that don't lie under such an id.
    pub false_positives: u64,
    /// Boxes of true tracks that don't lie under theirs.
    pub false_negatives: u64,
}

impl IdentityCounts {
    pub(crate) fn count(sequence: &Sequence) -> Self {
        let founds = sequence.found_ids;
        let mut together = vec![0.0; sequence.truth_ids * founds];
        for frame in &sequence.frames {
            for (row, truth) in frame.truth.iter().enumerate() {
                for (column, found) in frame.found.iter().enumerate() {
                    if frame.at(row, column) >= THRESHOLD {
                        together[truth * founds + found] += 1.0;
                    }
                }
            }
        }
        // TrackEval solves for the fewest errors with an unmatched partner for everybody; each pair saves twice the
        // frames that it has together, so the greatest sum of those is the same assignment.
        let pairs = best_pairs(&together, sequence.truth_ids, founds);
        let true_positives: f64 = pairs.into_iter().map(|(truth, found)| together[truth * founds + found]).sum();
        let true_positives = true_positives as u64;
        Self {
            true_positives,
            false_positives: sequence.found_boxes() - true_positives,
            false_negatives: sequence.truth_boxes() - true_positives,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
    }

    /// Returns the harmonic mean of [`idp`](Self::idp) and [`idr`](Self::idr), in [0, 1].
    pub fn idf1(&self) -> f64 {
        let errors = 0.5 * (self.false_positives + self.false_negatives) as f64;
        self.true_positives as f64 / (self.true_positives as f64 + errors).max(1.0)
    }

    /// Returns the share of the results that are true positives, in [0, 1].
    pub fn idp(&self) -> f64 {
        self.true_positives as f64 / ((self.true_positives + self.false_positives) as f64).max(1.0)
    }

    /// Returns the share of the true boxes that are true positives, in [0, 1].
    pub fn idr(&self) -> f64 {
        self.true_positives as f64 / ((self.true_positives + self.false_negatives) as f64).max(1.0)
    }
}

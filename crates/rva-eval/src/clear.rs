//! CLEAR: MOTA, switches, fragments, and the share of each track that was found.
//!
//! Source: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics"
//! (EURASIP 2008), Li et al. (CVPR 2009) for mostly tracked and mostly lost; the numbers are those of TrackEval's
//! `metrics/clear.py`.

use crate::assignment::best_pairs;
use crate::sequence::{EPSILON, Sequence};

const THRESHOLD: f64 = 0.5;

/// The weight of staying with the id of the frame before. Scores must stay exact in whole numbers of 2⁻⁴⁰.
const STAY: f64 = 1000.0;

/// The counts at an IoU of 0.5. Those of several sequences add up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClearCounts {
    /// True boxes that a result was matched with.
    pub true_positives: u64,
    /// Results without a true box.
    pub false_positives: u64,
    /// True boxes without a result.
    pub false_negatives: u64,
    /// Times that a true track changed its id (IDSW).
    pub id_switches: u64,
    /// True tracks found in more than 80 % of their frames (MT).
    pub mostly_tracked: u64,
    /// True tracks found in 20 to 80 % of their frames (PT).
    pub partly_tracked: u64,
    /// True tracks found in less than 20 % of their frames (ML).
    pub mostly_lost: u64,
    /// Times that a true track was found again after it was lost (Frag).
    pub fragments: u64,
    /// The sum of the IoU of what was matched.
    pub similarity: f64,
}

impl ClearCounts {
    pub(crate) fn count(sequence: &Sequence) -> Self {
        let mut counts = Self::default();
        let truths = sequence.truth_ids;
        if sequence.found_boxes() == 0 || sequence.truth_boxes() == 0 {
            counts.false_negatives = sequence.truth_boxes();
            counts.false_positives = sequence.found_boxes();
            counts.mostly_lost = truths as u64;
            return counts;
        }
        let (mut seen, mut matched, mut spells) = (vec![0u64; truths], vec![0u64; truths], vec![0u64; truths]);
        // The id that a true track had last, and in the frame before.
        let (mut last, mut before) = (vec![None; truths], vec![None; truths]);
        for frame in &sequence.frames {
            let (rows, columns) = (frame.truth.len(), frame.found.len());
            for truth in &frame.truth {
                seen[*truth] += 1;
            }
            // As TrackEval has it: a frame with one side empty leaves the frame before as it was.
            if rows == 0 || columns == 0 {
                counts.false_positives += columns as u64;
                counts.false_negatives += rows as u64;
                continue;
            }
            let scores: Vec<f64> = (0..rows * columns)
                .map(|i| {
                    let stays = before[frame.truth[i / columns]] == Some(frame.found[i % columns]);
                    let similarity = frame.similarity[i];
                    let score = similarity + if stays { STAY } else { 0.0 };
                    if similarity < THRESHOLD - EPSILON { 0.0 } else { score }
                })
                .collect();
            let mut now = vec![None; truths];
            let mut pairs = 0;
            for (row, column) in best_pairs(&scores, rows, columns) {
                if scores[row * columns + column] <= EPSILON {
                    continue;
                }
                let (truth, found) = (frame.truth[row], frame.found[column]);
                pairs += 1;
                matched[truth] += 1;
                counts.similarity += frame.at(row, column);
                counts.id_switches += u64::from(last[truth].is_some_and(|id| id != found));
                spells[truth] += u64::from(before[truth].is_none());
                last[truth] = Some(found);
                now[truth] = Some(found);
            }
            before = now;
            counts.true_positives += pairs;
            counts.false_negatives += rows as u64 - pairs;
            counts.false_positives += columns as u64 - pairs;
        }
        for (seen, matched) in seen.iter().zip(&matched) {
            let share = *matched as f64 / (*seen).max(1) as f64;
            let class = if share > 0.8 {
                &mut counts.mostly_tracked
            } else if share >= 0.2 {
                &mut counts.partly_tracked
            } else {
                &mut counts.mostly_lost
            };
            *class += 1;
        }
        counts.fragments = spells.iter().map(|spells| spells.saturating_sub(1)).sum();
        counts
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.id_switches += other.id_switches;
        self.mostly_tracked += other.mostly_tracked;
        self.partly_tracked += other.partly_tracked;
        self.mostly_lost += other.mostly_lost;
        self.fragments += other.fragments;
        self.similarity += other.similarity;
    }

    /// Returns 1 less misses, false alarms and switches over the true boxes: at most 1, without a lower bound.
    pub fn mota(&self) -> f64 {
        let (tp, truth) = (self.true_positives as f64, (self.true_positives + self.false_negatives) as f64);
        (tp - self.false_positives as f64 - self.id_switches as f64) / truth.max(1.0)
    }

    /// Returns the mean IoU of what was matched.
    pub fn motp(&self) -> f64 {
        self.similarity / (self.true_positives as f64).max(1.0)
    }
}

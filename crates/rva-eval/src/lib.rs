//! Scores of tracking, detection and counting against ground truth.
//!
//! Pure: texts go in, scores come out. Tracking is scored as MOTChallenge does it, number for number what TrackEval
//! prints: [`Sequence`] parses and prepares, [`TrackScores`] counts, and counts of several sequences add up.

mod assignment;
mod clear;
mod counting;
mod detections;
mod footfall;
mod hota;
mod identity;
mod mot;
mod scores;
mod sequence;

pub use clear::ClearCounts;
pub use counting::{CountScores, Film, scored_people};
pub use detections::{
    ApScores, DetectionBox, DetectionError, DetectionTruth, ground_truth_from_coco, results_from_coco, score_detections,
};
pub use footfall::{Counted, FootfallError, HandCount, Line, Seen, footfall_from_csv, score_footfall};
pub use hota::{ALPHAS, HotaCounts};
pub use identity::IdentityCounts;
pub use mot::{MotError, MotRow, parse_ground_truth, parse_results, write_results};
pub use scores::{METRICS, TrackScores};
pub use sequence::{Benchmark, Sequence};

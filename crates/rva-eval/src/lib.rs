//! Scores of tracking, detection and counting against ground truth.
//!
//! A change to a model or a tracker is judged by numbers that others can check. So tracking is scored as MOTChallenge
//! does it, number for number what TrackEval prints: a [`Sequence`] holds ground truth and results made ready, the
//! [`TrackScores`] count over it, and counts of several sequences add up. Detections are scored as COCO does it
//! ([`score_detections`]). What shops ask for, people counted, is scored by the same code that makes gold
//! ([`CountScores`], [`score_footfall`]).
//!
//! The crate is pure: texts go in, scores come out.
//!
//! ```
//! use rva_eval::{Benchmark, Sequence, TrackScores, parse_ground_truth, parse_results};
//!
//! // Frame, id, left, top, width, height, confidence: one person in two frames.
//! let truth = parse_ground_truth("gt.txt", "1,1,10,10,50,100,1\n2,1,12,10,50,100,1\n")?;
//! let found = parse_results("found.txt", "1,7,10,10,50,100,0.9\n2,8,12,10,50,100,0.9\n", true)?;
//! let sequence = Sequence::prepare(Benchmark::of(&truth), 2, ("gt.txt", &truth), ("found.txt", &found))?;
//! let scores = TrackScores::of(&sequence);
//! // Both boxes were found, but the second under another id.
//! assert_eq!((scores.value("TP"), scores.value("IDSW")), (Some(2.0), Some(1.0)));
//! assert_eq!(scores.value("MOTA"), Some(0.5));
//! # Ok::<(), rva_eval::MotError>(())
//! ```
#![warn(unreachable_pub)]

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
pub use counting::{CountScores, Film, LineCrossing, line_crossings, scored_people};
pub use detections::{
    ApScores, DetectionBox, DetectionError, DetectionTruth, ground_truth_from_coco, results_from_coco, score_detections,
};
pub use footfall::{Counted, FootfallError, HandCount, Line, Seen, footfall_from_csv, score_footfall};
pub use hota::{ALPHAS, HotaCounts};
pub use identity::IdentityCounts;
pub use mot::{MotError, MotRow, parse_ground_truth, parse_results, write_results};
pub use scores::{METRICS, TrackScores};
pub use sequence::{Benchmark, Sequence};

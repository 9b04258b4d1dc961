//! Counts the work of a refinement.

use rva_analytics::RejectReason;
use std::collections::BTreeMap;

/// The totals of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefineCounters {
    /// The rows of bronze that were read.
    pub bronze_rows: u64,
    /// The detections under the threshold, which silver leaves out.
    pub under_threshold: u64,
    /// The rows of `silver_rejects`, by reason.
    pub rejects: BTreeMap<RejectReason, u64>,
    /// The commits, by table.
    pub commits: BTreeMap<&'static str, u64>,
    /// The hours of cameras that were worked out.
    pub hours: u64,
    /// The changes that were dropped because somebody else was first.
    pub fenced: u64,
    /// The times that rows of an input were changed or taken away by somebody.
    pub corrections: u64,
    /// The attempts repeated after an error that may pass.
    pub retries: u64,
    /// The newest snapshot of bronze that every table holds.
    pub position: u64,
    /// The newest snapshot of bronze.
    pub bronze: u64,
}

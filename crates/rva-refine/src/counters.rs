//! What a refinement did.

use rva_analytics::RejectReason;
use std::collections::BTreeMap;

/// Totals of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefineCounters {
    /// Rows of bronze that were read.
    pub bronze_rows: u64,
    /// Detections under the threshold.
    pub under_threshold: u64,
    /// Rows of `silver_rejects`, by reason.
    pub rejects: BTreeMap<RejectReason, u64>,
    /// Commits, by table.
    pub commits: BTreeMap<&'static str, u64>,
    /// Hours of cameras that were worked out.
    pub hours: u64,
    /// Changes that were dropped because somebody else was first.
    pub fenced: u64,
    /// Times that rows of an input were changed or taken away by somebody.
    pub corrections: u64,
    /// Attempts repeated after an error that may pass.
    pub retries: u64,
    /// The newest snapshot of bronze that every table holds.
    pub position: u64,
    /// The newest snapshot of bronze.
    pub bronze: u64,
}

//! Reports of maintenance: its plan, and its work.

use super::retain::Aged;
use std::time::Duration;

/// The files of one partition that are, or would be, merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    /// The partition: `store_id=berlin/capture_ts_day=2026-01-31`; empty where the table has none.
    pub partition: String,
    /// The number of its files that are merged.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of files that come of them, about.
    pub files_after: u64,
}

/// The plan of one table's maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// The table's name, without the namespace.
    pub table: &'static str,
    /// The number of its data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The merges, by partition.
    pub merges: Vec<MergePlan>,
    /// The reason why nothing is merged although there may be small files.
    pub left: Option<String>,
    /// The rows that are older than the table keeps them; `None` where there are none.
    pub ageing: Option<Aged>,
    /// The number of its snapshots.
    pub snapshots: u64,
    /// The number of those that may expire.
    pub snapshots_expiring: u64,
    /// The files in its folder that nothing names and that may go, the oldest first.
    pub orphans: Vec<Orphan>,
    /// The reason why no such file may go.
    pub orphans_left: Option<String>,
}

/// A file in a table's folder that nothing names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The place of the file.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// The time since it was written.
    pub age: Duration,
}

impl TablePlan {
    /// Returns the number of data files once all is merged, about.
    pub fn files_after(&self) -> u64 {
        let (went, came) =
            self.merges.iter().fold((0, 0), |(went, came), merge| (went + merge.files, came + merge.files_after));
        self.files.saturating_sub(went) + came
    }
}

/// The work that was done in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// The table's name, without the namespace.
    pub table: &'static str,
    /// The number of commits.
    pub commits: u64,
    /// The number of files that went.
    pub files: u64,
    /// The number of files that came.
    pub files_written: u64,
    /// Their rows.
    pub rows: u64,
    /// The bytes of the files that went.
    pub bytes: u64,
    /// The bytes of the files that came.
    pub bytes_written: u64,
    /// The number of merges that others were faster than.
    pub lost: u64,
    /// The rows that went because they were old.
    pub aged: u64,
    /// The reason why nothing, or not everything, was merged.
    pub left: Option<String>,
}

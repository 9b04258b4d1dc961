//! A table that is maintained, and what all commits of maintenance have in common.

use super::plan::MergeLimits;
use crate::change::Change;
use crate::commit::TableJob;
use crate::lake::Lake;
use crate::refined::NoKeys;
use crate::rows::TableRow;
use crate::work::{BuiltOn, FileChange};
use iceberg::table::Table;
use rva_types::{JobName, OffsetMap, Timestamp};
use std::collections::HashSet;
use std::time::Duration;

/// The job whose commits merge files.
pub const MAINTAIN_JOB: JobName = JobName::of_static("maintain");

/// The attempts of a commit: a writer that commits every second is often faster, and what was merged stays mergeable.
const ATTEMPTS_MIN: u32 = 12;

/// The longest wait between them.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// A table that is maintained.
pub(super) struct Maintained<R: TableRow> {
    pub lake: Lake,
    pub limits: MergeLimits,
    pub job: TableJob<R, NoKeys>,
    pub young: Young,
}

/// The files that hold nothing older than a moment.
#[derive(Debug, Default)]
pub(super) struct Young {
    before: Option<Timestamp>,
    files: HashSet<String>,
}

impl Young {
    pub(super) fn at(&mut self, before: Timestamp) -> &mut HashSet<String> {
        if self.before != Some(before) {
            *self = Self { before: Some(before), files: HashSet::new() };
        }
        &mut self.files
    }
}

/// Returns a change of the files of a table that moves no job's position.
pub(crate) fn of_maintenance(table: &Table, change: Change) -> FileChange {
    FileChange {
        source: MAINTAIN_JOB.to_string(),
        from: OffsetMap::new(),
        to: OffsetMap::new(),
        built_on: BuiltOn::Files(table.clone()),
        change,
    }
}

/// Returns the lake for commits that change what writers don't: they have the patience that it takes beside those.
pub(crate) fn patient(lake: &Lake) -> Lake {
    let mut lake = lake.for_job(MAINTAIN_JOB);
    let retry = &mut lake.options.retry;
    retry.attempts_max = retry.attempts_max.max(ATTEMPTS_MIN);
    retry.wait_max = retry.wait_max.min(WAIT_MAX);
    lake
}

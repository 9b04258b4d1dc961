//! The seam between a commit and whatever knows which keys a table holds.

use crate::files::FileList;
use crate::seam::{Batch, LakeError};
use crate::state::StoredState;
use iceberg::table::Table;
use rva_types::PartitionName;
use std::collections::BTreeSet;

/// The rows of a batch that are new: their places, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CheckedRows {
    pub fresh: Vec<usize>,
    /// The places of rows whose key is there with other contents.
    pub conflicts: Vec<usize>,
}

/// A check that finds the rows whose key the table doesn't hold.
pub(crate) trait KeyCheck<R>: Send {
    /// Finds the rows to append: those whose key is neither in the table nor in an earlier row of the batch.
    fn select(
        &mut self,
        table: &Table,
        files: &mut FileList,
        batch: &Batch<R>,
        stored: &StoredState,
    ) -> impl Future<Output = Result<CheckedRows, LakeError>> + Send;

    /// Notes that what was checked last is in the table.
    fn committed(&mut self);

    /// Forgets everything that is held, since none of it can be relied on.
    fn forget(&mut self);

    /// Returns the table properties that go into the commit of what was checked last.
    fn properties(&self) -> Option<(String, String)> {
        None
    }

    /// Returns the partitions whose offsets must be as the batch says, besides those that it moves.
    fn partitions_of(_batch: &Batch<R>) -> BTreeSet<PartitionName> {
        BTreeSet::new()
    }
}

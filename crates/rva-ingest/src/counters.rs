//! Counts of an ingest.

use rva_lake::KeyIndexCounts;
use rva_types::RejectionReason;
use std::collections::BTreeMap;

/// The totals of one call of [`run_ingest`](crate::run_ingest). Every way in which a message does not become a row has
/// its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestCounters {
    /// Messages that the source gave.
    pub messages_read: u64,
    /// Messages at or below the position already read: redelivered.
    pub messages_skipped: u64,
    /// Messages of partitions that belong to another worker.
    pub messages_foreign: u64,
    /// Rows added to bronze.
    pub rows: u64,
    /// Events that bronze held already: sent twice, or a file replayed.
    pub rows_known: u64,
    /// Events whose key bronze held already with another payload; the later ones are dead letters.
    pub conflicts: u64,
    /// Messages committed as dead letters, by reason; a message that is committed again counts again.
    pub dead_letters: BTreeMap<RejectionReason, u64>,
    /// Dead letters that their table held already.
    pub dead_letters_known: u64,
    /// Commits of bronze.
    pub commits: u64,
    /// Commits of the dead letters.
    pub dead_letter_commits: u64,
    /// Attempts repeated after a transient error of the log.
    pub retries_log: u64,
    /// Attempts repeated after a transient error of a table.
    pub retries_table: u64,
    /// Batches dropped because another worker advanced our partitions.
    pub fenced: u64,
    /// Times that reading started again from the stored offsets.
    pub rebuilds: u64,
    /// Records that the log had lost before they were read, as far as positions can tell.
    pub records_lost: u64,
    /// Rollbacks of the table that were accepted.
    pub rollbacks: u64,
    /// Acknowledgements that failed; the next one covers them.
    pub acknowledge_failures: u64,
    /// The cost of looking up which events bronze held already.
    pub keys: KeyIndexCounts,
}

impl IngestCounters {
    /// Returns the number of all dead letters, whatever the reason.
    pub fn dead_letters_total(&self) -> u64 {
        self.dead_letters.values().sum()
    }
}

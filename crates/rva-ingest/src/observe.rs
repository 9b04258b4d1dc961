//! What an onlooker sees of an ingest, and what is left at its end.

use crate::IngestCounters;
use rva_types::OffsetMap;
use std::time::Duration;

/// How an ingest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestEnd {
    /// Everything in the log is committed.
    Drained,
    /// Everything that was read is committed.
    Stopped,
}

/// What an ingest did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestReport {
    /// How it ended.
    pub end: IngestEnd,
    /// The table's offsets at the end.
    pub offsets: OffsetMap,
    /// What was counted.
    pub counters: IngestCounters,
}

/// Something that an onlooker may want to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestEvent {
    /// Reading starts, or starts again, behind these offsets of the table.
    Started {
        /// The table's map.
        offsets: OffsetMap,
    },
    /// Messages were read.
    Read {
        /// How many.
        messages: usize,
    },
    /// A batch is in bronze, known by a reload.
    Committed {
        /// The table's map now.
        offsets: OffsetMap,
        /// Rows that were new.
        rows: u64,
        /// How long the attempt that succeeded took, from the batch in memory to the reload that knows it.
        took: Duration,
    },
    /// The log was told what the table has.
    Acknowledged {
        /// Up to here.
        offsets: OffsetMap,
    },
    /// Another worker advanced our partitions; the batch was dropped.
    Fenced,
    /// A transient error stops reading.
    Waiting {
        /// Where and why.
        text: String,
    },
    /// The transient error is over.
    Recovered,
}

/// Looks on while an ingest runs.
pub trait IngestObserver: Send {
    /// Something happened; `counters` are the totals after it.
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters);
}

/// Looks away.
impl IngestObserver for () {
    fn on_event(&mut self, _: &IngestEvent, _: &IngestCounters) {}
}

impl<F: FnMut(&IngestEvent, &IngestCounters) + Send> IngestObserver for F {
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters) {
        self(event, counters);
    }
}

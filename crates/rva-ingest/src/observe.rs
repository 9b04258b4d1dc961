//! Events that an onlooker sees of an ingest, and the report at its end.

use crate::IngestCounters;
use rva_types::{OffsetMap, Timestamp};
use std::time::Duration;

/// The end of an ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestEnd {
    /// Ended with everything in the log committed.
    Drained,
    /// Ended with everything that was read committed.
    Stopped,
}

/// The report of an ingest that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestReport {
    /// The way in which it ended.
    pub end: IngestEnd,
    /// The table's offsets at the end.
    pub offsets: OffsetMap,
    /// The counts of this call.
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
        /// The number of messages.
        messages: usize,
        /// When the log accepted the oldest and the newest of them.
        published: (Timestamp, Timestamp),
    },
    /// The log had nothing that wasn't read.
    CaughtUp,
    /// A batch is in bronze, known by a reload.
    Committed {
        /// The table's map now.
        offsets: OffsetMap,
        /// The number of rows that were new.
        rows: u64,
        /// The time that the attempt took that succeeded, from the batch in memory to the reload that knows it.
        took: Duration,
    },
    /// The log was told what the table has.
    Acknowledged {
        /// The offsets that it was told.
        offsets: OffsetMap,
    },
    /// Another worker advanced our partitions; the batch was dropped.
    Fenced,
    /// A transient error stops reading.
    Waiting {
        /// The place and the reason.
        text: String,
    },
    /// The transient error is over.
    Recovered,
}

/// A message whose frame is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedMessage<'a> {
    /// The trace, as the message names it.
    pub traceparent: &'a str,
    /// When the log accepted the message.
    pub publish_ts: Timestamp,
}

/// An onlooker of an ingest that runs.
pub trait IngestObserver: Send {
    /// Hears that something happened; `counters` are the totals after it.
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters);

    /// Hears that a batch is about to be committed in which frames are traced, again before each further attempt. Returns
    /// the trace of the commit, which its snapshot is to name.
    fn on_commit(&mut self, _traced: &[TracedMessage<'_>]) -> Option<String> {
        None
    }
}

/// An observer that ignores every event.
impl IngestObserver for () {
    fn on_event(&mut self, _: &IngestEvent, _: &IngestCounters) {}
}

impl<F: FnMut(&IngestEvent, &IngestCounters) + Send> IngestObserver for F {
    fn on_event(&mut self, event: &IngestEvent, counters: &IngestCounters) {
        self(event, counters);
    }
}

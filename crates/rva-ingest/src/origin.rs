//! The message that a row comes from: what is still needed of it when the row is committed, or lost.

use crate::TracedMessage;
use rva_bus::PartitionRange;
use rva_types::{Position, Timestamp};
use std::sync::Arc;

/// The message that a row comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    pub range: Arc<PartitionRange>,
    pub position: Position,
    pub publish_ts: Timestamp,
    /// The trace of its frame, where it names one.
    pub traceparent: Option<String>,
}

impl Origin {
    /// Returns the message as one whose frame is traced, where it is.
    pub(crate) fn traced(&self) -> Option<TracedMessage<'_>> {
        let traceparent = self.traceparent.as_deref()?;
        Some(TracedMessage { traceparent, publish_ts: self.publish_ts })
    }
}

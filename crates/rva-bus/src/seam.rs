//! The seams of the bus: [`EventSink`] and [`EventSource`], the same for the embedded log and for Pulsar.

use bytes::Bytes;
use rva_types::{OffsetMap, PartitionName, Position, Rejection, SeamError, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// The kind of an error, which says what a retry can cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusErrorKind {
    /// The same call may succeed later: no space left, broker away.
    Transient,
    /// Somebody else owns it: the log's writer lock is taken.
    Conflict,
    /// This one message is refused for good; the next may pass.
    Rejected,
    /// Nothing will change by itself: no permission, damage, wrong configuration.
    Permanent,
}

/// An error at the seam.
pub type BusError = SeamError<BusErrorKind>;

/// A message on its way into a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The key that chooses the partition: the camera id. A run stays in one partition for its life.
    pub partition_key: String,
    /// The properties: `store_id`, `camera_id`, `stream_id`, …
    pub properties: BTreeMap<String, String>,
    /// The capture time, where the message has one.
    pub event_time: Option<Timestamp>,
    /// The frame record as bytes; any bytes are accepted.
    pub body: Bytes,
}

/// A message read from a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The partition that it was read from.
    pub partition: PartitionName,
    /// The position in that partition.
    pub position: Position,
    /// Set where its entry ends with it; a batch of the ingest may end only after such a message.
    pub ends_entry: bool,
    /// The time at which the log accepted it.
    pub publish_ts: Timestamp,
    /// The properties that it was sent with.
    pub properties: BTreeMap<String, String>,
    /// The bytes as they were sent; of an entry that can't be unpacked the raw bytes, cut at a bound.
    pub body: Bytes,
    /// The position that it directly follows, where the log knows that nothing between them is a message: markers and
    /// aborted messages of transactions, parts of messages that were put together.
    pub follows: Option<Position>,
    /// The reason why it can't be unpacked; it is a dead letter then, whatever its bytes are.
    pub rejected: Option<Box<Rejection>>,
}

/// The bytes that a message costs in memory beside its own: the structure, its place in queues, allocations. Generous.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// The bytes that a property costs beside its two texts.
const PROPERTY_OVERHEAD_BYTES: usize = 64;

impl Message {
    /// Returns the bytes that it costs in memory, about: its body, its properties with their keys, and a fixed
    /// overhead.
    pub fn memory_bytes(&self) -> usize {
        memory_bytes(self.body.len(), &self.properties)
    }
}

/// Returns the bytes that a message of so many bytes with these properties costs in memory.
pub(crate) fn memory_bytes(body: usize, properties: &BTreeMap<String, String>) -> usize {
    let property = |(key, value): (&String, &String)| key.len() + value.len() + PROPERTY_OVERHEAD_BYTES;
    body + properties.iter().map(property).sum::<usize>() + MESSAGE_OVERHEAD_BYTES
}

/// A partition of a log and the positions that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition's name.
    pub partition: PartitionName,
    /// The topic and the number of the partition, as the dead-letter table has them: (`embedded/cam_01`, 0).
    pub topic: (String, i32),
    /// The oldest record that can still be read, or the entry (batch index -1) that it is the first one of; `None`
    /// where the partition is empty.
    pub first: Option<Position>,
    /// The newest durable record ever written, also where retention has removed it; `None` where none was, or where
    /// everything was removed and the log (Pulsar) no longer knows what.
    pub last: Option<Position>,
    /// The position at which records that are written from now on come, or behind it; all that were written are before
    /// it.
    pub next: Position,
    /// The position up to which the log believes that its reader has everything, where that can be moved by others than
    /// the reader: by an operator who skips what is unread.
    pub skipped_to: Option<Position>,
}

/// A log that takes messages. There is one writer for each log.
#[async_trait::async_trait]
pub trait EventSink: Send {
    /// Accepts a message; returns before it is durable. Waits where a bound is reached (policy `block`).
    ///
    /// # Errors
    /// Returns an error where the message was not accepted.
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError>;

    /// Returns when every accepted message is durable.
    ///
    /// # Errors
    /// Returns an error where that isn't known; the messages stay accepted.
    async fn flush(&mut self) -> Result<(), BusError>;
}

/// A log that gives messages, in order within each partition. Only what is durable is seen.
#[async_trait::async_trait]
pub trait EventSource: Send {
    /// Returns the identity of the log: a random id that was made with it. Positions of different identities can't be
    /// compared.
    fn identity(&self) -> &str;

    /// Returns the partitions that exist now, in name order.
    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError>;

    /// Continues each partition behind `offsets`; one that isn't in the map starts with its oldest record.
    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError>;

    /// Returns the messages that follow, at most about `bytes_max` as [`Message::memory_bytes`] counts (at least one
    /// message, if there is any). No partition starves the others. It waits at most `wait` for the first; then the
    /// answer is empty. New partitions are picked up.
    async fn poll(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError>;

    /// Tells the log that the table holds everything up to `committed`, so that retention may remove it.
    ///
    /// # Errors
    /// Returns an error where the log may not have heard of it; what is told later covers it.
    async fn acknowledge(&mut self, committed: &OffsetMap) -> Result<(), BusError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_and_their_keys_count_as_memory() {
        let bare = Message {
            partition: "0".into(),
            position: Position::of_record(1),
            ends_entry: true,
            publish_ts: Timestamp::from_micros(0),
            properties: BTreeMap::new(),
            body: Bytes::from_static(b"four"),
            follows: None,
            rejected: None,
        };
        assert_eq!(bare.memory_bytes(), 4 + 256);
        let properties = [("key".to_owned(), "v".repeat(1000)), (String::new(), String::new())];
        let full = Message { properties: properties.into(), ..bare };
        assert_eq!(full.memory_bytes(), 4 + 256 + 3 + 1000 + 2 * 64);
    }
}

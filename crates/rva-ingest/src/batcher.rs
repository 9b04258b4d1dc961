//! The way from messages to batches. Pure: it decides what is taken or skipped, when a batch is due, and where it is
//! cut.

use crate::{
    Gap, TracedMessage,
    origin::Origin,
    start::{begins, follows, gap_at_oldest, gap_before, just_before},
};
use rva_bus::{Message, PartitionRange};
use rva_lake::{Batch, BronzeRow};
use rva_types::{
    CameraId, DeadLetter, MessageDecoder, OffsetMap, PartitionName, Position, PropertyName, Rejection, StoreId,
    Timestamp,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// The fate of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It is part of the next batch or of an entry that is not complete yet.
    Taken,
    /// It was read before: redelivered.
    Skipped,
    /// It does not follow what was read; nothing was taken (I8: read again from the stored offsets).
    Gap(Gap),
    /// Its partition, or the oldest record of it, is not known yet; nothing was taken.
    UnknownPartition,
}

/// Rows and dead letters of one stretch of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// The batch for the bronze table, with the maps before and after.
    pub bronze: Batch<BronzeRow>,
    /// The messages of the same stretch that can't be rows.
    pub dead: Vec<DeadLetter>,
    /// The message that each row comes from.
    pub(crate) origins: Vec<Origin>,
}

impl Cut {
    /// Returns the messages that name a trace of their frame.
    pub(crate) fn traced(&self) -> Vec<TracedMessage<'_>> {
        self.origins.iter().filter_map(Origin::traced).collect()
    }
}

/// Rows and dead letters in the order in which they were read, and the bytes that they are counted with.
#[derive(Debug, Default)]
struct Items {
    rows: Vec<BronzeRow>,
    /// The message that each row comes from.
    origins: Vec<Origin>,
    dead: Vec<DeadLetter>,
    bytes: usize,
    /// The shops and cameras that the rows come from: each place may be a partition of the table.
    places: HashSet<(StoreId, CameraId)>,
}

impl Items {
    fn take(&mut self, item: Result<BronzeRow, Box<DeadLetter>>, origin: Origin, bytes: usize) {
        match item {
            Ok(row) => {
                self.places.insert((row.event.store.clone(), row.event.key.camera.clone()));
                self.rows.push(row);
                self.origins.push(origin);
            }
            Err(letter) => self.dead.push(*letter),
        }
        self.bytes += bytes;
    }

    fn append(&mut self, other: Self) {
        self.places.extend(other.places);
        self.rows.extend(other.rows);
        self.origins.extend(other.origins);
        self.dead.extend(other.dead);
        self.bytes += other.bytes;
    }
}

/// Collects messages into batches that are contiguous in each partition and end on entry boundaries (I3).
#[derive(Debug)]
pub struct Batcher {
    source: String,
    /// The table's map, on which the next batch is built.
    committed: OffsetMap,
    /// The positions up to which everything was read, also of open entries and over accepted gaps.
    read: OffsetMap,
    /// The positions that a batch includes which is cut now: up to the last complete entry of each partition.
    complete: OffsetMap,
    decoder: MessageDecoder,
    /// The items of complete entries.
    items: Items,
    /// The entries of the log whose last message was not read yet.
    open: BTreeMap<PartitionName, Items>,
    /// The partitions as the log described them.
    ranges: BTreeMap<PartitionName, Arc<PartitionRange>>,
    /// The time at which the oldest message was taken that is not committed.
    since: Option<Duration>,
}

impl Batcher {
    /// Makes a batcher that continues a log of identity `source` behind `read`, for a table that has `committed`.
    pub fn new(source: &str, committed: OffsetMap, read: OffsetMap) -> Self {
        Self {
            source: source.to_owned(),
            complete: read.clone(),
            committed,
            read,
            decoder: MessageDecoder::of_batches(),
            items: Items::default(),
            open: BTreeMap::new(),
            ranges: BTreeMap::new(),
            since: None,
        }
    }

    /// Takes the log's description of a partition: its topic and number, which dead letters carry, and its oldest
    /// record, which is the first to be taken where nothing was read.
    pub fn learn(&mut self, range: &PartitionRange) {
        self.ranges.insert(range.partition.clone(), Arc::new(range.clone()));
    }

    /// Returns the offsets that everything read is included in.
    pub fn read(&self) -> &OffsetMap {
        &self.read
    }

    /// Returns the table's map, as far as is known.
    pub fn committed(&self) -> &OffsetMap {
        &self.committed
    }

    /// Returns the bytes of memory that complete and open entries take, properties and keys counted.
    pub fn bytes(&self) -> usize {
        self.items.bytes + self.open.values().map(|entry| entry.bytes).sum::<usize>()
    }

    /// Returns the number of cameras of shops that the next batch has rows of: each may become a data file of its own.
    pub fn places(&self) -> usize {
        self.items.places.len()
    }

    /// Returns the partition of an open entry, and its bytes, if there is one.
    pub fn open_entry(&self) -> Option<(&str, usize)> {
        self.open.iter().next().map(|(partition, entry)| (partition.as_str(), entry.bytes))
    }

    /// Returns whether a batch that is cut now would tell the table anything new.
    pub fn has_news(&self) -> bool {
        self.complete != self.committed
    }

    /// Takes a message that was received at `ingest_ts`, at `now` on the loop's timeline; or says why not.
    pub fn offer(&mut self, message: &Message, ingest_ts: Timestamp, now: Duration) -> Offer {
        let previous = self.read.get(&message.partition);
        if previous.is_some_and(|previous| message.position <= previous) {
            return Offer::Skipped;
        }
        let Some(range) = self.ranges.get(&message.partition) else { return Offer::UnknownPartition };
        // The next entry begins where this one has ended, and not before.
        let in_entry =
            |after: Position| (after.ledger, after.entry) == (message.position.ledger, message.position.entry);
        let is_torn = |after: Position| self.open.contains_key(&message.partition) && !in_entry(after);
        // The log knows that nothing between them is a message.
        let is_known = |after: Position| message.follows == Some(after);
        match (previous, range.first) {
            (Some(after), _) if !is_known(after) && (is_torn(after) || !follows(after, message.position)) => {
                return Offer::Gap(gap_before(&message.partition, after, message.position));
            }
            (None, Some(first))
                if message.position > first
                    && !begins(first, message.position)
                    && message.follows.is_none_or(|follows| follows >= first) =>
            {
                return Offer::Gap(gap_at_oldest(&message.partition, first, message.position));
            }
            // It was empty when it was asked for: only a new answer tells which record is its oldest.
            (None, None) => return Offer::UnknownPartition,
            _ => {}
        }
        self.read.advance(&message.partition, message.position);
        self.since.get_or_insert(now);
        let bytes = message.memory_bytes();
        let item = decoded(&mut self.decoder, message, &range.topic, ingest_ts);
        let traceparent = message.properties.get(PropertyName::TRACEPARENT);
        let origin = Origin {
            range: Arc::clone(range),
            position: message.position,
            publish_ts: message.publish_ts,
            traceparent: traceparent.filter(|text| text.len() <= PropertyName::TRACEPARENT_LEN_MAX).cloned(),
        };
        if !message.ends_entry {
            self.open.entry(message.partition.clone()).or_default().take(item, origin, bytes);
            return Offer::Taken;
        }
        if let Some(entry) = self.open.remove(&message.partition) {
            self.items.append(entry);
        }
        self.items.take(item, origin, bytes);
        self.complete.advance(&message.partition, message.position);
        Offer::Taken
    }

    /// Goes on behind a hole that the operator accepts. Items of an entry that the hole tore are dropped with it.
    pub fn accept_gap(&mut self, gap: &Gap) {
        let Some(found) = gap.found else { return };
        self.open.remove(&gap.partition);
        self.read.advance(&gap.partition, just_before(found));
    }

    /// Returns whether a batch is due: by bytes, or because its first message has waited for `interval`.
    pub fn is_due(&self, now: Duration, interval: Duration, commit_bytes: usize) -> bool {
        self.has_news()
            && (self.items.bytes >= commit_bytes
                || self.since.is_some_and(|since| now.saturating_sub(since) >= interval))
    }

    /// Returns the time that the next batch may still wait; `None` while there is none.
    pub fn due_in(&self, now: Duration, interval: Duration) -> Option<Duration> {
        self.since.map(|since| (since + interval).saturating_sub(now))
    }

    /// Cuts a batch of all complete entries; `None` where it would tell nothing new.
    pub fn cut(&mut self) -> Option<Cut> {
        if !self.has_news() {
            return None;
        }
        self.since = None;
        let Items { rows, origins, dead, bytes: _, places: _ } = std::mem::take(&mut self.items);
        Some(Cut {
            bronze: Batch {
                source: self.source.clone(),
                from: self.committed.clone(),
                to: self.complete.clone(),
                rows,
            },
            dead,
            origins,
        })
    }

    /// Notes that the table has `to` now, known by a reload.
    pub fn mark_committed(&mut self, to: &OffsetMap, now: Duration) {
        self.committed = to.clone();
        if !self.open.is_empty() {
            self.since.get_or_insert(now);
        }
    }
}

fn decoded(
    decoder: &mut MessageDecoder,
    message: &Message,
    (topic, number): &(String, i32),
    ingest_ts: Timestamp,
) -> Result<BronzeRow, Box<DeadLetter>> {
    let event = match &message.rejected {
        Some(rejection) => Err(Rejection::clone(rejection)),
        None => decoder.decode(&message.body, &message.properties, ingest_ts),
    };
    event.map(|event| BronzeRow { event, ingest_ts }).map_err(|rejection| {
        Box::new(DeadLetter {
            topic: topic.clone(),
            partition: *number,
            message_id: message.position.to_string(),
            publish_ts: message.publish_ts,
            reason: rejection.reason,
            detail: rejection.detail,
            raw: message.body.to_vec(),
            properties: message.properties.clone(),
            ingest_ts,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::collections::BTreeSet;

    const T0: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn record(camera: &str, frame: u64) -> Bytes {
        let text = format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"r","frame_index":{frame},"source":{{"store_id":"s","camera_id":"{camera}"}}}}"#
        );
        text.into()
    }

    fn message(partition: &str, position: Position, ends_entry: bool, body: Bytes) -> Message {
        let properties = BTreeMap::new();
        Message {
            partition: partition.into(),
            position,
            ends_entry,
            publish_ts: T0,
            properties,
            body,
            follows: None,
            rejected: None,
        }
    }

    fn simple(partition: &str, number: u64) -> Message {
        message(partition, Position::of_record(number), true, record(partition, number))
    }

    fn range(partition: &str, first: u64) -> PartitionRange {
        let (topic, next) = ((format!("embedded/{partition}"), 0), Position::of_record(first + 1));
        let first = Some(Position::of_record(first));
        PartitionRange { partition: partition.into(), topic, first, last: first, next, skipped_to: None }
    }

    fn batcher() -> Batcher {
        let mut batcher = Batcher::new("log-1", OffsetMap::new(), OffsetMap::new());
        for partition in ["a", "b"] {
            batcher.learn(&range(partition, 1));
        }
        batcher
    }

    fn offer(batcher: &mut Batcher, message: &Message) -> Offer {
        batcher.offer(message, T0, Duration::ZERO)
    }

    fn frames(cut: &Cut) -> BTreeSet<(String, i64)> {
        let key = |row: &BronzeRow| (row.event.key.camera.to_string(), row.event.key.frame_index);
        cut.bronze.rows.iter().map(key).collect()
    }

    fn keys(partition: &str, numbers: impl IntoIterator<Item = i64>) -> BTreeSet<(String, i64)> {
        numbers.into_iter().map(|number| (partition.to_owned(), number)).collect()
    }

    #[test]
    fn a_batch_moves_the_map_from_what_the_table_has_to_what_was_read() {
        let mut batcher = batcher();
        for number in 1..=3 {
            assert_eq!(offer(&mut batcher, &simple("a", number)), Offer::Taken);
        }
        let cut = batcher.cut().unwrap();
        assert_eq!((cut.bronze.from.to_json().as_str(), cut.bronze.to.to_json().as_str()), ("{}", r#"{"a":"0:3:-1"}"#));
        assert_eq!(frames(&cut), keys("a", 1..=3));
        batcher.mark_committed(&cut.bronze.to, Duration::ZERO);
        assert_eq!(batcher.cut(), None, "nothing new, no batch");
    }

    #[test]
    fn what_was_read_before_is_skipped_and_what_does_not_follow_is_a_gap() {
        let mut batcher = batcher();
        for number in [1, 2] {
            offer(&mut batcher, &simple("a", number));
        }
        assert_eq!(offer(&mut batcher, &simple("a", 1)), Offer::Skipped);
        assert_eq!(offer(&mut batcher, &simple("a", 2)), Offer::Skipped);
        let Offer::Gap(gap) = offer(&mut batcher, &simple("a", 5)) else { panic!("wanted a gap") };
        assert_eq!(
            (gap.after, gap.found, gap.records),
            (Some(Position::of_record(2)), Some(Position::of_record(5)), 2)
        );
        assert_eq!(offer(&mut batcher, &simple("a", 3)), Offer::Taken, "a gap takes nothing");
        batcher.accept_gap(&Gap {
            partition: "a".into(),
            after: Some(Position::of_record(3)),
            found: Some(Position::of_record(5)),
            records: 1,
        });
        assert_eq!(offer(&mut batcher, &simple("a", 5)), Offer::Taken);
        assert_eq!(frames(&batcher.cut().unwrap()), keys("a", [1, 2, 3, 5]));
    }

    #[test]
    fn a_partition_that_was_never_read_starts_with_its_oldest_record() {
        let mut batcher = batcher();
        batcher.learn(&range("a", 4));
        let Offer::Gap(gap) = offer(&mut batcher, &simple("a", 6)) else { panic!("wanted a gap") };
        assert_eq!((gap.after, gap.records), (None, 2));
        assert_eq!(offer(&mut batcher, &simple("a", 4)), Offer::Taken);
    }

    #[test]
    fn the_oldest_entry_is_a_batch_and_its_first_message_is_the_oldest() {
        let mut batcher = batcher();
        let entry = Position { ledger: 7, entry: 0, batch_index: -1 };
        batcher.learn(&PartitionRange { first: Some(entry), ..range("a", 1) });
        let at = |batch_index| message("a", Position { batch_index, ..entry }, batch_index == 1, record("a", 1));
        assert!(matches!(offer(&mut batcher, &at(1)), Offer::Gap(_)));
        assert_eq!(offer(&mut batcher, &at(0)), Offer::Taken);
        assert_eq!(offer(&mut batcher, &at(1)), Offer::Taken);
    }

    #[test]
    fn i3_a_batch_ends_on_an_entry_boundary() {
        let mut batcher = batcher();
        batcher
            .learn(&PartitionRange { first: Some(Position { ledger: 7, entry: 0, batch_index: 0 }), ..range("a", 1) });
        let part = |entry: u64, index: i32, of: i32| {
            let position = Position { ledger: 7, entry, batch_index: index };
            message("a", position, index == of - 1, record("a", entry * 10 + index as u64))
        };
        for index in 0..3 {
            offer(&mut batcher, &part(0, index, 3));
        }
        for index in 0..2 {
            offer(&mut batcher, &part(1, index, 3));
        }
        let first = batcher.cut().unwrap();
        assert_eq!(first.bronze.to.get("a"), Some(Position { ledger: 7, entry: 0, batch_index: 2 }));
        assert_eq!(frames(&first), keys("a", [0, 1, 2]));
        batcher.mark_committed(&first.bronze.to, Duration::ZERO);
        assert_eq!(batcher.cut(), None, "half an entry is no batch");
        assert_eq!(batcher.open_entry().unwrap().0, "a");
        assert!(matches!(offer(&mut batcher, &part(2, 0, 1)), Offer::Gap(_)), "an entry that did not end is a gap");
        offer(&mut batcher, &part(1, 2, 3));
        let second = batcher.cut().unwrap();
        assert_eq!(frames(&second), keys("a", [10, 11, 12]));
        assert_eq!(second.bronze.from, first.bronze.to);
    }

    #[test]
    fn bad_messages_become_dead_letters_with_place_and_reason() {
        let mut batcher = batcher();
        offer(&mut batcher, &simple("a", 1));
        let bad = message("a", Position::of_record(2), true, Bytes::from_static(b"{"));
        assert_eq!(offer(&mut batcher, &bad), Offer::Taken);
        let cut = batcher.cut().unwrap();
        assert_eq!(frames(&cut), keys("a", [1]));
        let letter = &cut.dead[0];
        assert_eq!((letter.topic.as_str(), letter.message_id.as_str()), ("embedded/a", "0:2:-1"));
        assert_eq!(letter.reason, rva_types::RejectionReason::InvalidJson);
        assert_eq!((letter.raw.as_slice(), cut.bronze.to.get("a")), (&b"{"[..], Some(Position::of_record(2))));
    }

    #[test]
    fn a_message_of_a_partition_that_nobody_listed_is_not_taken() {
        let mut batcher = batcher();
        assert_eq!(offer(&mut batcher, &simple("new", 1)), Offer::UnknownPartition);
        batcher.learn(&PartitionRange { first: None, ..range("new", 1) });
        assert_eq!(offer(&mut batcher, &simple("new", 1)), Offer::UnknownPartition, "it was empty when asked for");
        batcher.learn(&range("new", 1));
        assert_eq!(offer(&mut batcher, &simple("new", 1)), Offer::Taken);
    }

    #[test]
    fn a_batch_is_due_by_time_of_its_first_message_or_by_bytes() {
        let (interval, much) = (Duration::from_secs(10), usize::MAX);
        let at = Duration::from_secs;
        let mut batcher = batcher();
        assert!(!batcher.is_due(at(100), interval, 0), "nothing new is never due");
        batcher.offer(&simple("a", 1), T0, at(5));
        batcher.offer(&simple("a", 2), T0, at(14));
        assert!(!batcher.is_due(at(14), interval, much));
        assert_eq!(batcher.due_in(at(14), interval), Some(at(1)));
        assert!(batcher.is_due(at(15), interval, much));
        assert!(
            batcher.is_due(at(14), interval, batcher.bytes()) && !batcher.is_due(at(14), interval, batcher.bytes() + 1)
        );
        let cut = batcher.cut().unwrap();
        batcher.mark_committed(&cut.bronze.to, at(15));
        assert!(!batcher.is_due(at(99), interval, 0) && batcher.bytes() == 0);
    }
}

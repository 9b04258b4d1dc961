//! The contract of the two seams of the bus, a function a clause. [`log_contract!`](crate::log_contract) makes a test
//! of each.

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use futures::future::BoxFuture;
use rva_bus::{BusErrorKind, EventSink, EventSource, Message, OutgoingMessage, PartitionRange};
use rva_types::{OffsetMap, PartitionName, Position};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// A log as the contract sees it: a sink, and a source at the oldest record whenever it is asked for.
pub struct Log<'a> {
    /// The sink.
    pub sink: Box<dyn EventSink + 'a>,
    /// Opens a source.
    pub source: Box<dyn Fn() -> BoxFuture<'a, Box<dyn EventSource>> + 'a>,
    /// Set where every key is a partition of its own, with records numbered from 1, and a poll gives all that fits.
    pub keys_are_partitions: bool,
}

impl Log<'_> {
    async fn fill(&mut self, key: &str, numbers: RangeInclusive<u64>) {
        for i in numbers {
            self.sink.send(message(key, body(i, 100))).await.unwrap();
        }
        self.sink.flush().await.unwrap();
    }
}

/// Makes a test of each clause of the contract; `$over` runs a clause, an `AsyncFn(&mut Log<'_>)`, over the logs.
#[macro_export]
macro_rules! log_contract {
    ($over:path) => {
        $crate::log_contract!($over:
            flushed_messages_come_back_in_order_with_their_properties
            a_key_that_is_new_is_picked_up_and_ranges_hold_what_was_read
            a_source_continues_behind_the_offsets
            offsets_beyond_the_log_are_refused_and_name_both_positions
            a_poll_gives_about_the_bytes_asked_for_and_at_least_one_message
            an_empty_poll_waits_and_a_message_ends_the_wait
            acknowledging_keeps_what_is_not_committed_and_the_identity_stays
            a_full_partition_does_not_starve_the_others
            any_body_comes_back_byte_for_byte
            a_message_without_a_key_is_rejected_and_the_next_one_passes
        );
    };
    ($over:path: $($clause:ident)*) => {
        $(
            #[tokio::test]
            async fn $clause() {
                $over(async |log: &mut $crate::bus::Log<'_>| $crate::bus::contract::$clause(log).await).await;
            }
        )*
    };
}

/// Makes a message of a camera, whose property says which.
pub fn message(key: &str, body: impl AsRef<[u8]>) -> OutgoingMessage {
    OutgoingMessage {
        partition_key: key.into(),
        properties: BTreeMap::from([("camera_id".into(), key.into())]),
        event_time: None,
        body: Bytes::copy_from_slice(body.as_ref()),
    }
}

/// Makes a JSON body of about `bytes`.
pub fn body(i: u64, bytes: usize) -> String {
    format!("{{\"i\":{i},\"pad\":\"{}\"}}", "x".repeat(bytes))
}

/// Reads until there are so many messages, and a little longer: a surplus shows.
async fn read(source: &mut dyn EventSource, wanted: usize) -> Vec<Message> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while all.len() < wanted && Instant::now() < end {
        all.extend(source.poll(10_000, Duration::from_millis(200)).await.unwrap());
    }
    all.extend(source.poll(10_000, Duration::from_millis(50)).await.unwrap());
    check_positions(&all);
    all
}

/// Positions rise within a partition, and an entry ends with its last message.
fn check_positions(messages: &[Message]) {
    let mut before: BTreeMap<&str, &Message> = BTreeMap::new();
    for message in messages {
        if let Some(before) = before.insert(&message.partition, message) {
            assert!(before.position < message.position, "{} then {}", before.position, message.position);
            let entry = |m: &Message| (m.position.ledger, m.position.entry);
            assert_eq!(before.ends_entry, entry(before) != entry(message), "at {}", before.position);
        }
    }
    assert!(before.values().all(|last| last.ends_entry), "a partition ends within an entry");
}

/// The bodies of a key, in the order of reading.
fn bodies(messages: &[Message], key: &str) -> Vec<String> {
    let of_key = messages.iter().filter(|m| m.properties["camera_id"] == key);
    of_key.map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect()
}

fn wanted(numbers: RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|i| body(i, 100)).collect()
}

/// The identity of a message, in an order that doesn't depend on how partitions interleave.
fn keys(messages: &[Message]) -> BTreeSet<(PartitionName, Position, String)> {
    let key = |m: &Message| (m.partition.clone(), m.position, String::from_utf8_lossy(&m.body).into_owned());
    messages.iter().map(key).collect()
}

fn offsets_behind(messages: &[Message]) -> OffsetMap {
    let mut offsets = OffsetMap::new();
    messages.iter().for_each(|m| offsets.advance(&m.partition, m.position));
    offsets
}

/// Holds that what was flushed is read in order, with its properties.
#[boxed(?Send)]
pub async fn flushed_messages_come_back_in_order_with_their_properties(log: &mut Log<'_>) {
    log.fill("a", 1..=30).await;
    let messages = read(&mut *(log.source)().await, 30).await;
    assert_eq!(bodies(&messages, "a"), wanted(1..=30));
    assert_eq!(messages.len(), 30);
}

/// Holds that a key that is new is read, and that ranges hold what was read.
#[boxed(?Send)]
pub async fn a_key_that_is_new_is_picked_up_and_ranges_hold_what_was_read(log: &mut Log<'_>) {
    log.fill("b", 1..=3).await;
    let mut source = (log.source)().await;
    let mut messages = read(&mut *source, 3).await;
    log.fill("a/../b", 1..=2).await;
    messages.extend(read(&mut *source, 2).await);
    assert_eq!(bodies(&messages, "b"), wanted(1..=3));
    assert_eq!(bodies(&messages, "a/../b"), wanted(1..=2));
    let ranges = source.partitions().await.unwrap();
    assert!(ranges.is_sorted_by(|a, b| a.partition < b.partition));
    for PartitionRange { partition, first, last, next, .. } in &ranges {
        let of_partition = || messages.iter().filter(|m| m.partition == *partition).map(|m| m.position);
        assert_eq!(of_partition().max(), *last, "partition {partition}");
        assert_eq!(first.is_some(), last.is_some());
        assert!(last.is_none_or(|last| last < *next), "partition {partition}: {last:?}, then {next}");
        assert!(of_partition().min() >= *first, "partition {partition}");
    }
    if log.keys_are_partitions {
        let one = Some(Position::of_record(1));
        let found: Vec<_> = ranges.into_iter().map(|r| (r.partition, r.topic, r.first, r.last)).collect();
        assert_eq!(
            found,
            [
                ("a/../b".into(), ("embedded/a/../b".into(), 0), one, Some(Position::of_record(2))),
                ("b".into(), ("embedded/b".into(), 0), one, Some(Position::of_record(3))),
            ]
        );
    }
}

/// Holds that a source goes on behind the offsets that it seeks.
#[boxed(?Send)]
pub async fn a_source_continues_behind_the_offsets(log: &mut Log<'_>) {
    log.fill("a", 1..=12).await;
    log.fill("b", 1..=4).await;
    log.fill("a", 13..=20).await;
    let mut source = (log.source)().await;
    let all = read(&mut *source, 24).await;
    // The cuts lie between any two messages, also of one batch.
    for cut in [0, 1, 2, 5, 11, 12, 13, 17, 23, 24] {
        let (before, behind) = all.split_at(cut);
        for attempt in ["seeking", "seeking back"] {
            source.seek(&offsets_behind(before)).await.unwrap();
            let found = read(&mut *source, behind.len()).await;
            assert_eq!(keys(&found), keys(behind), "{attempt} to cut {cut}");
            assert_eq!(found.len(), behind.len());
        }
    }
}

/// Holds that offsets beyond the log are refused, and the error names both positions.
#[boxed(?Send)]
pub async fn offsets_beyond_the_log_are_refused_and_name_both_positions(log: &mut Log<'_>) {
    log.fill("a", 1..=5).await;
    let mut source = (log.source)().await;
    let last = read(&mut *source, 5).await.pop().unwrap();
    let beyond = Position { entry: last.position.entry + 4, batch_index: -1, ..last.position };
    let mut offsets = OffsetMap::new();
    offsets.advance(&last.partition, beyond);
    let error = source.seek(&offsets).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Permanent);
    let text = error.to_string();
    let names = [last.position.entry.to_string(), beyond.to_string()];
    assert!(text.contains("shortened") && names.iter().all(|name| text.contains(name)), "{text}");
    let mut unknown = OffsetMap::new();
    unknown.advance("other", Position::of_record(1));
    assert!(source.seek(&unknown).await.is_err());
}

/// Holds that a poll gives about the bytes asked for, and at least one message.
#[boxed(?Send)]
pub async fn a_poll_gives_about_the_bytes_asked_for_and_at_least_one_message(log: &mut Log<'_>) {
    log.fill("a", 1..=10).await;
    let mut source = (log.source)().await;
    let wait = Duration::from_secs(20);
    let mut all = source.poll(1, wait).await.unwrap();
    assert_eq!(all.len(), 1);
    // Properties and their keys count too.
    let length = all[0].memory_bytes();
    // Whatever a poll read too far is given by the next one.
    let some = source.poll(3 * length + 1, wait).await.unwrap();
    assert!((1..=3).contains(&some.len()), "found {} messages", some.len());
    assert!(!log.keys_are_partitions || some.len() == 3);
    all.extend(some);
    while all.len() < 10 {
        let more = source.poll(2 * length, wait).await.unwrap();
        assert!((1..=2).contains(&more.len()), "found {} messages", more.len());
        all.extend(more);
    }
    assert_eq!(bodies(&all, "a"), wanted(1..=10));
}

/// Holds that an empty poll waits, and that a message ends the wait.
#[boxed(?Send)]
pub async fn an_empty_poll_waits_and_a_message_ends_the_wait(log: &mut Log<'_>) {
    let mut source = (log.source)().await;
    let started = Instant::now();
    assert!(source.poll(1000, Duration::from_millis(60)).await.unwrap().is_empty());
    assert!(started.elapsed() >= Duration::from_millis(60));
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        log.fill("a", 1..=1).await;
    };
    let (messages, ()) = tokio::join!(source.poll(1000, Duration::from_secs(60)), late);
    assert_eq!(bodies(&messages.unwrap(), "a"), wanted(1..=1));
}

/// Holds that what isn't acknowledged stays, and the identity too.
#[boxed(?Send)]
pub async fn acknowledging_keeps_what_is_not_committed_and_the_identity_stays(log: &mut Log<'_>) {
    log.fill("a", 1..=4).await;
    log.fill("a", 5..=10).await;
    let mut source = (log.source)().await;
    let all = read(&mut *source, 10).await;
    let committed = offsets_behind(&all[..4]);
    source.acknowledge(&committed).await.unwrap();
    source.seek(&committed).await.unwrap();
    assert_eq!(bodies(&read(&mut *source, 6).await, "a"), wanted(5..=10));
    // A table that was rolled back reads again what was acknowledged.
    source.acknowledge(&offsets_behind(&all)).await.unwrap();
    source.seek(&offsets_behind(&all[..2])).await.unwrap();
    assert_eq!(bodies(&read(&mut *source, 8).await, "a"), wanted(3..=10));
    let identity = source.identity().to_owned();
    drop(source);
    assert!(!identity.is_empty());
    assert_eq!(identity, (log.source)().await.identity());
}

/// Holds that no partition starves the others.
#[boxed(?Send)]
pub async fn a_full_partition_does_not_starve_the_others(log: &mut Log<'_>) {
    let keys = ["a", "b", "c", "d", "e", "f"];
    for key in keys {
        log.fill(key, 1..=1).await;
    }
    let mut source = (log.source)().await;
    let first = read(&mut *source, keys.len()).await;
    let partitions: BTreeSet<_> = first.iter().map(|message| message.partition.clone()).collect();
    // The one that a reader without turns would always begin with is full. Each flush makes an entry of its own.
    let of_first = first.iter().min_by_key(|message| &message.partition).unwrap();
    let full = of_first.properties["camera_id"].clone();
    for round in 0..30 {
        log.fill(&full, 3 * round + 1..=3 * round + 3).await;
    }
    for key in keys.into_iter().filter(|key| *key != full) {
        log.fill(key, 2..=2).await;
    }
    source.seek(&offsets_behind(&first)).await.unwrap();
    let mut seen: BTreeMap<PartitionName, usize> = BTreeMap::new();
    for poll in 0..90 {
        for message in source.poll(1, Duration::from_secs(5)).await.unwrap() {
            seen.entry(message.partition).or_insert(poll);
        }
    }
    // An entry is given whole before another partition has its turn.
    let fair = 4 * partitions.len();
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), partitions);
    assert!(seen.values().all(|poll| *poll <= fair), "the first messages of each came at these polls: {seen:?}");
}

/// Holds that any body is read as it was sent.
#[boxed(?Send)]
pub async fn any_body_comes_back_byte_for_byte(log: &mut Log<'_>) {
    let bodies: [&[u8]; 6] = [b"", b"{\"a\": 1.0}", b"\xff\n\r\0", b"{\n}", b"no json", b"null"];
    for body in bodies {
        log.sink.send(message("a", body)).await.unwrap();
    }
    log.sink.flush().await.unwrap();
    let found: Vec<_> = read(&mut *(log.source)().await, 6).await.into_iter().map(|m| m.body).collect();
    assert_eq!(found, bodies);
}

/// Holds that a message without a key is rejected, and the next one passes.
#[boxed(?Send)]
pub async fn a_message_without_a_key_is_rejected_and_the_next_one_passes(log: &mut Log<'_>) {
    let error = log.sink.send(message("", "{}")).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Rejected);
    log.fill("a", 1..=1).await;
    assert_eq!(bodies(&read(&mut *(log.source)().await, 1).await, "a"), wanted(1..=1));
}

//! Entries that are no clean batches of messages: bad ones, chunks, transactions. None stops the others.

use crate::{connection, set_up, source};
use rva_bus::{EventSource, Message, pulsar::PulsarConnection};
use rva_stack::raw::{self, Fields, RawProducer};
use rva_types::{OffsetMap, Position, RejectionReason};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const COMPRESSION: u32 = 8;
const UNCOMPRESSED_SIZE: u32 = 9;
const COUNT: u32 = 11;

const LZ4: u64 = 1;
const ZLIB: u64 = 2;
const ZSTD: u64 = 3;
const SNAPPY: u64 = 4;

fn compressed(kind: u64, size: u64) -> Fields {
    raw::metadata().number(COMPRESSION, kind).number(UNCOMPRESSED_SIZE, size)
}

fn encrypted(metadata: Fields) -> Fields {
    metadata.bytes(13, Fields::default().bytes(1, "key-1").bytes(2, b"k").encoded())
}

fn chunk(uuid: &str, index: u64, of: u64, total: usize, metadata: Fields) -> Fields {
    metadata.bytes(26, uuid).number(27, of).number(28, total as u64).number(29, index)
}

/// Very many empty messages, which compress to next to nothing.
fn empty_messages(count: usize) -> (Fields, Vec<u8>) {
    let payload = raw::batch(&[b""]).repeat(count);
    let metadata = compressed(ZSTD, payload.len() as u64).number(COUNT, count as u64);
    (metadata, zstd::bulk::compress(&payload, 1).unwrap())
}

/// What stopped readers, with the reason that it is to have.
fn bad() -> Vec<(Fields, Vec<u8>, RejectionReason)> {
    use RejectionReason::{BrokenBatch, BrokenCompression, Encrypted, TooLarge, UnknownCompression};
    let two = raw::batch(&[b"one", b"two"]);
    let garbage = b"garbage that is nothing".to_vec();
    let mut bad = vec![
        (compressed(7, 100), garbage.clone(), UnknownCompression),
        (raw::metadata().number(COUNT, 5), two.clone(), BrokenBatch),
        (raw::metadata().number(COUNT, 0), two.clone(), BrokenBatch),
        (raw::metadata().number(COUNT, 0), Vec::new(), BrokenBatch),
        (raw::metadata().signed(COUNT, -3), two.clone(), BrokenBatch),
        (raw::metadata().signed(COUNT, i32::MAX), two.clone(), BrokenBatch),
        (compressed(ZSTD, 1 << 30), raw::zstd_zeros(1 << 30), TooLarge),
        (compressed(ZSTD, 100), raw::zstd_zeros(1 << 30), BrokenCompression),
        (compressed(ZSTD, (1 << 31) - 1), raw::zstd_zeros((1 << 31) - 1), TooLarge),
        (encrypted(raw::metadata()), garbage.clone(), Encrypted),
        (encrypted(compressed(ZSTD, 6).number(COUNT, 2)), raw::zstd(&two), Encrypted),
    ];
    for kind in [LZ4, ZLIB, ZSTD, SNAPPY] {
        bad.push((compressed(kind, 100), garbage.clone(), BrokenCompression));
        bad.push((compressed(kind, 100).number(COUNT, 2), garbage.clone(), BrokenCompression));
        // As compression with delayed delivery made them: not compressed at all.
        bad.push((compressed(kind, garbage.len() as u64).number(19, 1), garbage.clone(), BrokenCompression));
    }
    let (metadata, payload) = empty_messages(5_000_000);
    bad.push((metadata, payload, TooLarge));
    let (metadata, payload) = empty_messages(1_000_000);
    bad.push((metadata, payload, TooLarge));
    bad
}

fn good(partition: u32, number: usize) -> Vec<u8> {
    format!("{{\"partition\":{partition},\"good\":{number}}}").into_bytes()
}

/// Reads until there are so many messages, and a little longer: a surplus shows.
async fn read(source: &mut dyn EventSource, wanted: usize) -> Vec<Message> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while all.len() < wanted && Instant::now() < end {
        all.extend(source.poll(1 << 20, Duration::from_millis(200)).await.unwrap());
    }
    all.extend(source.poll(1 << 20, Duration::from_millis(300)).await.unwrap());
    all
}

fn producer(connection: &PulsarConnection, topic: &str) -> RawProducer {
    RawProducer::open(&connection.service_url, topic)
}

/// Bodies of the good ones of a partition, in order, and the reasons of the others.
fn sorted(messages: &[Message], partition: u32) -> (Vec<Vec<u8>>, Vec<RejectionReason>) {
    let of_partition = messages.iter().filter(|message| message.partition == *partition.to_string());
    let (bad, good): (Vec<_>, Vec<_>) = of_partition.partition(|message| message.rejected.is_some());
    let reasons = bad.iter().filter_map(|message| message.rejected.as_ref()).map(|rejected| rejected.reason);
    (good.iter().map(|message| message.body.to_vec()).collect(), reasons.collect())
}

/// Each message says that it follows the one before, so that the ingest finds no hole.
fn assert_each_follows(messages: &[Message]) {
    let mut before: BTreeMap<&str, Position> = BTreeMap::new();
    for message in messages {
        let previous = before.insert(&message.partition, message.position);
        assert!(previous.is_none() || message.follows == previous, "{} behind {previous:?}", message.position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_stops_the_reading_and_each_bad_one_is_one_message_with_its_reason() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    for partitions in [1, 3] {
        let topic = set_up(&connection, partitions).await;
        let bad = bad();
        for partition in 0..partitions {
            let mut producer = producer(&connection, &topic.partition(partition));
            producer.send(&raw::metadata(), &good(partition, 0));
            for (number, (metadata, payload, _)) in bad.iter().enumerate() {
                producer.send(metadata, payload);
                producer.send(&raw::metadata(), &good(partition, number + 1));
            }
        }
        let mut source = source(&connection, &topic).await;
        let began = Instant::now();
        let all = (2 * bad.len() + 1) * partitions as usize;
        let messages = read(&mut source, all).await;
        println!("measured: {} messages in {:?} on {partitions} partitions", messages.len(), began.elapsed());
        assert_eq!(messages.len(), all);
        assert_each_follows(&messages);
        let reasons: Vec<_> = bad.iter().map(|(.., reason)| *reason).collect();
        for partition in 0..partitions {
            let wanted = (0..=bad.len()).map(|number| good(partition, number)).collect();
            assert_eq!(sorted(&messages, partition), (wanted, reasons.clone()), "partition {partition}");
        }
        // The raw entry, as it is stored: the length of the metadata first.
        let of_garbage = messages.iter().find(|message| message.rejected.is_some()).unwrap();
        assert!(of_garbage.body.starts_with(&[0, 0, 0]) && of_garbage.body.ends_with(b"garbage that is nothing"));
        let rejected = of_garbage.rejected.as_ref().unwrap();
        assert!(rejected.detail.contains("found the compression 7"), "{rejected}");
        // From any place on again.
        let offsets: OffsetMap = messages.iter().take(all / 2).fold(OffsetMap::new(), |mut offsets, message| {
            offsets.advance(&message.partition, message.position);
            offsets
        });
        source.seek(&offsets).await.unwrap();
        let rest = read(&mut source, all - all / 2).await;
        assert_eq!(rest.len(), all - all / 2);
        let ranges = source.partitions().await.unwrap();
        assert!(ranges.iter().all(|range| range.last.is_some()), "a bad entry at the end has a place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_entry_at_the_end_of_a_partition_keeps_nobody_from_starting() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    for (metadata, payload, reason) in bad() {
        let topic = set_up(&connection, 1).await;
        let mut producer = producer(&connection, &topic.partition(0));
        producer.send(&metadata, &payload);
        let mut reading = source(&connection, &topic).await;
        let range = reading.partitions().await.unwrap().remove(0);
        let mut found = reading.poll(1 << 20, Duration::from_secs(2)).await.unwrap();
        if found.is_empty() {
            // The broker keeps a batch of no messages to itself where it is alone. Asked for its end the log tells.
            assert!(reading.partitions().await.unwrap()[0].last.is_some());
            found = read(&mut reading, 1).await;
        }
        let [message] = &found[..] else { panic!("wanted one message for {reason}: {metadata:?} {found:?}") };
        assert_eq!(message.rejected.as_ref().map(|rejected| rejected.reason), Some(reason));
        assert_eq!(
            (range.last.unwrap().ledger, range.last.unwrap().entry),
            (message.position.ledger, message.position.entry)
        );
        let mut offsets = OffsetMap::new();
        offsets.advance("0", message.position);
        reading.seek(&offsets).await.unwrap();
        producer.send(&raw::metadata(), b"behind");
        assert_eq!(read(&mut reading, 1).await.remove(0).body, &b"behind"[..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_of_the_official_clients_is_read_single_and_in_batches() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let mut producer = producer(&connection, &topic.partition(0));
    let body = vec![b'x'; 70_000];
    let bodies: [&[u8]; 3] = [&body, b"", b"third"];
    for (kind, pack) in [(SNAPPY, raw::snappy as fn(&[u8]) -> Vec<u8>), (LZ4, raw::lz4), (ZSTD, raw::zstd)] {
        producer.send(&compressed(kind, body.len() as u64), &pack(&body));
        let batch = raw::batch(&bodies);
        producer.send(&compressed(kind, batch.len() as u64).number(COUNT, 3), &pack(&batch));
    }
    let messages = read(&mut source(&connection, &topic).await, 12).await;
    assert_eq!(
        messages.iter().filter_map(|message| message.rejected.as_ref()).collect::<Vec<_>>(),
        Vec::<&Box<_>>::new()
    );
    let found: Vec<&[u8]> = messages.iter().map(|message| &message.body[..]).collect();
    let wanted = [&body[..]].into_iter().chain(bodies);
    assert_eq!(found, wanted.cycle().take(12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_several_producers_are_put_together_and_what_is_missing_is_one_message() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    for partitions in [1, 3] {
        let topic = set_up(&connection, partitions).await;
        let last = partitions - 1;
        let mut producer = producer(&connection, &topic.partition(last));
        let (a, b) = (vec![b'a'; 300_000], vec![b'b'; 200_000]);
        let (pa, pb) = (raw::zstd(&a), raw::lz4(&b));
        let send = |producer: &mut RawProducer, uuid: &str, kind, size: usize, packed: &[u8], index: usize| {
            let piece = packed.chunks(packed.len().div_ceil(3)).nth(index).unwrap();
            producer.send(&chunk(uuid, index as u64, 3, packed.len(), compressed(kind, size as u64)), piece);
        };
        producer.send(&raw::metadata(), &good(last, 0));
        send(&mut producer, "a", ZSTD, a.len(), &pa, 0);
        producer.send(&raw::metadata(), &good(last, 1));
        send(&mut producer, "b", LZ4, b.len(), &pb, 0);
        send(&mut producer, "a", ZSTD, a.len(), &pa, 1);
        send(&mut producer, "b", LZ4, b.len(), &pb, 1);
        send(&mut producer, "a", ZSTD, a.len(), &pa, 2);
        producer.send(&raw::metadata(), &good(last, 2));
        send(&mut producer, "b", LZ4, b.len(), &pb, 2);
        producer.send(&raw::metadata(), &good(last, 3));
        // One whose second chunk is missing, and one that never ends.
        send(&mut producer, "c", ZSTD, a.len(), &pa, 0);
        send(&mut producer, "c", ZSTD, a.len(), &pa, 2);
        producer.send(&raw::metadata(), &good(last, 4));
        send(&mut producer, "d", ZSTD, a.len(), &pa, 0);
        producer.send(&raw::metadata(), &good(last, 5));
        let mut source = source(&connection, &topic).await;
        let mut messages = read(&mut source, 8).await;
        // Asked for its end, the log says what doesn't wait for chunks any more.
        source.partitions().await.unwrap();
        messages.extend(read(&mut source, 2).await);
        assert_each_follows(&messages);
        let (bodies, reasons) = sorted(&messages, last);
        let wanted = [good(last, 0), good(last, 1), a, good(last, 2), b, good(last, 3), good(last, 4), good(last, 5)];
        let name = |body: &Vec<u8>| (body.len(), body[..body.len().min(30)].to_vec());
        assert_eq!(bodies.iter().map(name).collect::<Vec<_>>(), wanted.iter().map(name).collect::<Vec<_>>());
        assert!(bodies == wanted, "every byte");
        assert_eq!(reasons, [RejectionReason::IncompleteChunks; 2]);
        let ends: Vec<_> = messages.iter().map(|message| message.ends_entry).collect();
        assert_eq!(ends, [true, false, false, false, true, true, true, true, false, true], "no cut within chunks");
        // A table that has everything up to one of the places where a cut is allowed goes on behind it, with all the
        // rest.
        for cut in [0, 4, 7].into_iter().filter(|cut| ends[*cut]) {
            let mut offsets = OffsetMap::new();
            offsets.advance(last.to_string(), messages[cut].position);
            source.seek(&offsets).await.unwrap();
            let wanted: Vec<_> = messages[cut + 1..].iter().map(|message| message.position).collect();
            let mut rest = read(&mut source, wanted.len().saturating_sub(2)).await;
            source.partitions().await.unwrap();
            rest.extend(read(&mut source, 0).await);
            let found: Vec<_> = rest.iter().map(|message| message.position).collect();
            assert_eq!(found, wanted, "behind {}", messages[cut].position);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_leave_holes_in_which_nothing_is_lost() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let mut producer = producer(&connection, &topic.partition(0));
    let mut wanted = BTreeSet::new();
    // The first entry that there is belongs to an aborted one, and the last ones too.
    for round in 0..4 {
        let transaction = producer.begin();
        for number in 0..10 {
            let body = format!("{round}-{number}").into_bytes();
            producer.send_in(Some(transaction), &raw::metadata(), &body);
            if round % 2 == 1 {
                wanted.insert(body);
            }
        }
        producer.finish(transaction, round % 2 == 1);
        if round < 3 {
            let body = format!("{round}-between").into_bytes();
            producer.send(&raw::metadata(), &body);
            wanted.insert(body);
        }
    }
    let transaction = producer.begin();
    producer.send_in(Some(transaction), &raw::metadata(), b"never");
    producer.finish(transaction, false);
    let mut source = source(&connection, &topic).await;
    let messages = read(&mut source, wanted.len()).await;
    let found: BTreeSet<_> = messages.iter().map(|message| message.body.to_vec()).collect();
    assert_eq!((messages.len(), found), (wanted.len(), wanted));
    assert_each_follows(&messages);
    let range = source.partitions().await.unwrap().remove(0);
    let (first, last) = (messages.first().unwrap(), messages.last().unwrap());
    println!("measured: read {} to {}, {range:?}", first.position, last.position);
    assert!(first.follows.unwrap() < range.first.unwrap() && range.first.unwrap() < first.position);
    assert_eq!(range.last, Some(last.position), "what nobody may read isn't promised");
}

//! Entries that no client should write: each is one dead letter, and every good message is in the table, once.

use crate::{
    tables::{scan, text},
    world::{SUBSCRIPTION, World},
};
use iceberg::TableIdent;
use reqwest::Method;
use rva_stack::raw::{self, Fields, RawProducer};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const COMPRESSION: u32 = 8;
const UNCOMPRESSED_SIZE: u32 = 9;
const COUNT: u32 = 11;
const LZ4: u64 = 1;
const ZSTD: u64 = 3;
const SNAPPY: u64 = 4;

fn compressed(kind: u64, size: u64) -> Fields {
    raw::metadata().number(COMPRESSION, kind).number(UNCOMPRESSED_SIZE, size)
}

fn encrypted(metadata: Fields) -> Fields {
    metadata.bytes(13, Fields::default().bytes(1, "key-1").bytes(2, b"k").encoded())
}

/// What stopped an ingest, with the reason of its dead letter.
fn bad() -> Vec<(Fields, Vec<u8>, &'static str)> {
    let (two, garbage) = (raw::batch(&[b"one", b"two"]), b"garbage that is nothing".to_vec());
    let many = |count: u64| raw::metadata().number(COUNT, count);
    vec![
        (compressed(ZSTD, 100), garbage.clone(), "broken_compression"),
        (compressed(LZ4, 100), garbage.clone(), "broken_compression"),
        (compressed(SNAPPY, 23), garbage.clone(), "broken_compression"),
        (compressed(7, 100), garbage.clone(), "unknown_compression"),
        (many(5), two.clone(), "broken_batch"),
        (many(0), two.clone(), "broken_batch"),
        (many(u64::from(u32::MAX >> 1)), two.clone(), "broken_batch"),
        (compressed(ZSTD, 1 << 30), raw::zstd_zeros(1 << 30), "too_large"),
        (compressed(ZSTD, (1 << 31) - 1), raw::zstd_zeros((1 << 31) - 1), "too_large"),
        (compressed(ZSTD, 1000), raw::zstd_zeros(1 << 30), "broken_compression"),
        (encrypted(compressed(ZSTD, 22)).number(COUNT, 2), raw::zstd(&two), "encrypted"),
        // Of a schema that nobody here can read.
        (raw::metadata().bytes(16, 9u64.to_be_bytes()), b"\x02\x06run\xf0".to_vec(), "invalid_utf8"),
    ]
}

impl World<'_> {
    fn producer(&self, partition: u32) -> RawProducer {
        RawProducer::open(self.stack.get("PULSAR_SERVICE_URL"), &self.topic.partition(partition))
    }

    /// Message id and reason of this topic's dead letters.
    async fn dead_letters_by_id(&self) -> BTreeMap<(i32, String), Vec<String>> {
        let ident = TableIdent::from_strs(["rva", "bronze_dead_letters"]).unwrap();
        let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for batch in scan(&self.lake().await, &ident, ["topic", "partition", "message_id", "reason"]).await.unwrap() {
            use arrow::array::AsArray;
            let partitions = batch.column_by_name("partition").unwrap().as_primitive::<arrow::datatypes::Int32Type>();
            for row in (0..batch.num_rows()).filter(|row| text(&batch, "topic", *row).contains(&self.name)) {
                let id = (partitions.value(row), text(&batch, "message_id", row).to_owned());
                found.entry(id).or_default().push(text(&batch, "reason", row).to_owned());
            }
        }
        found
    }

    fn partition_path(&self) -> String {
        format!("{}-partition-0", self.topic.to_string().replace("://", "/"))
    }

    async fn skip_all(&self) {
        let path = format!("{}/subscription/{SUBSCRIPTION}/skip_all", self.partition_path());
        self.order(Method::POST, &path, None).await;
    }

    fn body(&self, camera: &str, frame: i64) -> Vec<u8> {
        self.record(camera, frame).body.to_vec()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_entry_is_one_dead_letter_and_every_good_message_is_there_once() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    for partitions in [1u32, 3] {
        let mut world = World::new(stack);
        world.set("PULSAR_PARTITIONS", partitions.to_string());
        world.run(&["--init"]);
        let (bad, mut wanted) = (bad(), BTreeMap::new());
        let cameras: Vec<String> = (0..partitions).map(|partition| format!("cam_{partition}")).collect();
        for partition in 0..partitions {
            let (camera, mut producer) = (&cameras[partition as usize], world.producer(partition));
            for (frame, (metadata, payload, reason)) in (1..).zip(&bad) {
                // Before it as the official clients compress, single and in a batch; behind it as it is.
                let body = world.body(camera, frame);
                match frame % 3 {
                    0 => producer.send(&compressed(SNAPPY, body.len() as u64), &raw::snappy(&body)),
                    1 => {
                        let batch = raw::batch(&[&body]);
                        producer.send(&compressed(LZ4, batch.len() as u64).number(COUNT, 1), &raw::lz4(&batch))
                    }
                    _ => producer.send(&raw::metadata(), &body),
                };
                let (ledger, entry) = producer.send(metadata, payload);
                let id = (i32::try_from(partition).unwrap(), format!("{ledger}:{entry}:-1"));
                wanted.insert(id, vec![(*reason).to_owned()]);
            }
            let behind = i64::try_from(bad.len()).unwrap() + 1;
            producer.send(&raw::metadata(), &world.body(camera, behind));
        }
        world.run(&["--drain"]);
        let names: Vec<&str> = cameras.iter().map(String::as_str).collect();
        let frames = 1..=i64::try_from(bad.len()).unwrap() + 1;
        assert_eq!(world.table().await, world.keys(&names, frames.clone()), "{partitions} partitions");
        assert_eq!(world.dead_letters_by_id().await, wanted, "{partitions} partitions");
        // Again from where the table is: nothing comes twice.
        world.run(&["--drain"]);
        assert_eq!(world.table().await, world.keys(&names, frames));
        assert_eq!(world.dead_letters_by_id().await, wanted);
    }
}

/// Looks at each entry a few times, as an operator does who peeks at messages. What the broker can't unpack it never
/// answers, and a consumer that reads the entry at that moment may wait for it for ever. Nor does it give such a request
/// up, so there must not be thousands.
fn look(at: Vec<String>) -> Vec<tokio::task::JoinHandle<()>> {
    let client = reqwest::Client::builder().timeout(Duration::from_millis(100)).build().unwrap();
    let look = |url: String| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..15 {
                let _ = client.get(&url).send().await;
            }
        })
    };
    at.into_iter().map(look).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_looks_at_entries_that_cant_be_unpacked_stops_no_reader() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    world.set("PULSAR_PARTITIONS", "1");
    world.run(&["--init"]);
    let mut producer = world.producer(0);
    let (admin, path) = (stack.get("PULSAR_ADMIN_URL").to_owned(), world.partition_path());
    let mut wanted = BTreeMap::new();
    for round in 0..3i64 {
        let mut urls = Vec::new();
        for frame in 1..=8 {
            producer.send(&raw::metadata(), &world.body("cam_1", 10 * round + frame));
            let (ledger, entry) = producer.send(&compressed(ZSTD, 100), b"garbage that is nothing");
            wanted.insert((0, format!("{ledger}:{entry}:-1")), vec!["broken_compression".to_owned()]);
            urls.push(format!("{admin}/admin/v2/{path}/ledger/{ledger}/entry/{entry}"));
        }
        let looking = look(urls);
        let said = world.run(&["--drain"]);
        looking.iter().for_each(tokio::task::JoinHandle::abort);
        let stuck = said.matches("and silence, wanted records up to").count();
        println!("round {round}: a consumer was stuck {stuck} times, and cured");
    }
    let frames: BTreeSet<i64> = (0..3).flat_map(|round| (1..=8).map(move |frame| 10 * round + frame)).collect();
    let found: Vec<i64> = world.table().await.into_iter().map(|(.., frame)| frame).collect();
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (frames.len(), frames));
    assert_eq!(world.dead_letters_by_id().await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_chunks_go_into_the_table_and_what_is_aborted_is_no_loss() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    world.set("PULSAR_PARTITIONS", "1");
    world.run(&["--init"]);
    let mut producer = world.producer(0);
    let mut wanted = BTreeSet::new();
    for round in 0..4i64 {
        let transaction = producer.begin();
        for frame in 1..=5 {
            let frame = 10 * round + frame;
            producer.send_in(Some(transaction), &raw::metadata(), &world.body("cam_1", frame));
            if round % 2 == 0 {
                wanted.insert(frame);
            }
        }
        producer.finish(transaction, round % 2 == 0);
        let packed = raw::zstd(&world.body("cam_1", 10 * round + 9));
        let (size, total) = (packed.len() as u64 - 12, packed.len() as u64);
        for (index, piece) in packed.chunks(packed.len().div_ceil(3)).enumerate() {
            let metadata = compressed(ZSTD, size).bytes(26, format!("m-{round}")).number(27, 3).number(28, total);
            producer.send(&metadata.number(29, index as u64), piece);
        }
        wanted.insert(10 * round + 9);
        // The table goes on behind each of them.
        world.run(&["--drain"]);
        let found: BTreeSet<i64> = world.table().await.into_iter().map(|(.., frame)| frame).collect();
        assert_eq!(found, wanted, "round {round}");
    }
    assert_eq!(world.table().await.len(), wanted.len());
    assert_eq!(world.dead_letters_by_id().await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_skipped_is_read_after_all_or_accepted_and_a_truncated_topic_goes_on_when_that_is() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    world.set("PULSAR_PARTITIONS", "1");
    world.run(&["--init"]);
    let mut producer = world.producer(0);
    let mut send = |frames: std::ops::RangeInclusive<i64>| {
        for frame in frames {
            producer.send(&raw::metadata(), &world.body("cam_1", frame));
        }
    };
    send(1..=5);
    world.run(&["--drain"]);
    send(6..=10);
    world.skip_all().await;
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&["cam_1"], 1..=10), "skipped by mistake, and still there");
    send(11..=15);
    world.skip_all().await;
    send(16..=20);
    let said = world.run(&["--drain", "--accept-gap"]);
    assert!(said.contains("records are lost, which was accepted"), "{said}");
    let wanted: Vec<_> =
        world.keys(&["cam_1"], 1..=20).into_iter().filter(|(.., frame)| !(11..=15).contains(frame)).collect();
    assert_eq!(world.table().await, wanted, "skipped on purpose");
    send(21..=25);
    world.order(Method::DELETE, &format!("{}/truncate", world.partition_path()), None).await;
    send(26..=30);
    let (code, said) = world.start(&["--drain"]).end();
    println!("behind a truncation: {code:?}");
    if code != Some(0) {
        assert!(said.contains("--accept-gap goes on without them"), "{said}");
        world.run(&["--drain", "--accept-gap"]);
    }
    let found = world.table().await;
    let behind = world.keys(&["cam_1"], 26..=30);
    assert!(behind.iter().all(|key| found.contains(key)), "{found:?}");
}

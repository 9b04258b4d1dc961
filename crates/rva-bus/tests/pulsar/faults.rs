//! The broker dies in the middle of sending and of reading.

use crate::{connection, record, set_up, source};
use rva_bus::{
    EventSink, EventSource,
    pulsar::{PulsarConnection, PulsarSink, PulsarSinkOptions},
};
use rva_types::{OffsetMap, PartitionName, decode_message};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const FRAMES: u64 = 4000;
const CAMERAS: [&str; 3] = ["cam_01", "cam_02", "cam_03"];

type Key = (String, i64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_while_it_is_written_and_read_loses_nothing() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 2).await;
    let (sent, given) = (AtomicU64::new(0), AtomicU64::new(0));
    let all = FRAMES * CAMERAS.len() as u64;

    let write = async {
        let options =
            PulsarSinkOptions { retry_for: Duration::from_secs(180), ..PulsarSinkOptions::new(topic.clone()) };
        // Shorter than the broker is away: batches run out of time one after the other, and the sink has to notice.
        let connection = PulsarConnection { request_timeout: Duration::from_secs(2), ..connection.clone() };
        let mut sink = PulsarSink::connect(&connection, options).await.unwrap();
        for frame in 1..=FRAMES {
            for camera in CAMERAS {
                sink.send(record(&format!("run-{camera}"), camera, frame)).await.unwrap();
            }
            sent.fetch_add(CAMERAS.len() as u64, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        sink.flush().await.unwrap();
        sink.counters()
    };

    // As the ingest does: what was read counts from the offsets on, and every error goes back to them.
    let read = async {
        let mut source = source(&connection, &topic).await;
        let mut offsets = OffsetMap::new();
        let mut read: Vec<(PartitionName, Key)> = Vec::new();
        let mut errors = 0;
        let end = Instant::now() + Duration::from_secs(300);
        let mut keys = BTreeSet::new();
        while (keys.len() as u64) < all {
            assert!(Instant::now() < end, "found {} keys of {all} after 300 s, {errors} errors", keys.len());
            match source.poll(64 << 10, Duration::from_millis(500)).await {
                Ok(messages) => {
                    for message in messages {
                        let event = decode_message(&message.body, &message.properties).unwrap();
                        let position = (message.partition.clone(), message.position);
                        assert!(!offsets.includes(&position.0, position.1), "{position:?} was given twice");
                        offsets.advance(&message.partition, message.position);
                        let key = (event.key.camera.as_str().to_owned(), event.key.frame_index);
                        keys.insert(key.clone());
                        read.push((message.partition, key));
                        given.fetch_add(1, Ordering::SeqCst);
                    }
                    // A hint; but that it failed is told, as the ingest counts it.
                    if let Err(error) = source.acknowledge(&offsets).await {
                        println!("acknowledging: {error}");
                    }
                }
                Err(error) => {
                    errors += 1;
                    println!("reading: {error}");
                    while let Err(error) = source.seek(&offsets).await {
                        println!("seeking: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
        (read, errors)
    };

    let kill = async {
        for part in [1, 2] {
            while sent.load(Ordering::SeqCst).min(given.load(Ordering::SeqCst)) < all * part / 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let at = (sent.load(Ordering::SeqCst), given.load(Ordering::SeqCst));
            println!("kill {part}: {} sent, {} read", at.0, at.1);
            tokio::task::spawn_blocking(|| {
                stack.kill("pulsar");
                stack.start("pulsar");
            })
            .await
            .unwrap();
        }
    };

    let (counters, (read, errors), ()) = tokio::join!(write, read, kill);
    let wanted: BTreeSet<Key> =
        CAMERAS.iter().flat_map(|camera| (1..=FRAMES as i64).map(|frame| (camera.to_string(), frame))).collect();
    let found: BTreeSet<Key> = read.iter().map(|(_, key)| key.clone()).collect();
    println!(
        "measured: {} messages read, {} of them twice, {errors} errors, {counters:?}",
        read.len(),
        read.len() - found.len()
    );
    assert_eq!(found, wanted);
    assert_eq!(counters.acknowledged, all);
    // A run is in one partition, and its frames come first in their order.
    let mut last: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
    for (partition, (camera, frame)) in &read {
        let (furthest, of) = last.entry(camera).or_insert((0, partition));
        assert_eq!(*of, partition.as_str(), "{camera} is in two partitions");
        assert!(*frame <= *furthest + 1, "{camera}: frame {frame} came first behind {furthest}");
        *furthest = (*furthest).max(*frame);
    }
}

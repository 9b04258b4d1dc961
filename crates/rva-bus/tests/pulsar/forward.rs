//! The spool in front of the broker: a forwarder that is dropped in the middle, a broker that is killed, a record that
//! is refused.

use crate::{connection, message, record, set_up, source};
use rva_bus::{
    EventSink, EventSource, LogOptions, LogWriter,
    pulsar::{Forwarder, ForwarderOptions, PulsarSinkOptions},
};
use rva_types::decode_message;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const FRAMES: u64 = 2000;
const CAMERAS: [&str; 2] = ["cam_01", "cam_03"];
const TOO_LARGE: usize = 6 << 20;

async fn forward_until_empty(forwarder: &mut Forwarder) {
    while forwarder.forward_some().await.unwrap() > 0 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_is_forwarded_whole_over_restarts_and_a_killed_broker() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 4).await;
    let dir = tempfile::tempdir().unwrap();
    let mut spool = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
    let mut wanted = BTreeSet::new();
    for frame in 1..=FRAMES {
        for camera in CAMERAS {
            spool.send(record(&format!("run-{camera}"), camera, frame)).await.unwrap();
            wanted.insert((camera.to_owned(), frame as i64));
        }
        if frame == FRAMES / 2 {
            spool.send(message("cam_01", vec![b'x'; TOO_LARGE])).await.unwrap();
        }
    }
    spool.flush().await.unwrap();
    let options = ForwarderOptions {
        chunk_bytes: 20_000,
        wait: Duration::from_millis(200),
        sink: PulsarSinkOptions { retry_for: Duration::from_secs(5), ..PulsarSinkOptions::new(topic.clone()) },
        ..ForwarderOptions::new(dir.path(), topic.clone())
    };

    // Dropped in the middle of a chunk, several times, as a kill would leave it: the spool wasn't told.
    let mut cut = 0;
    for milliseconds in [30, 80, 150] {
        let mut forwarder = Forwarder::open(&connection, options.clone()).await.unwrap();
        let some = async { while forwarder.forward_some().await.unwrap() > 0 {} };
        cut += u64::from(tokio::time::timeout(Duration::from_millis(milliseconds), some).await.is_err());
    }
    assert_eq!(cut, 3, "every forwarder was dropped before it was done");
    // The broker dies under the next one, which is left alone.
    let mut forwarder = Forwarder::open(&connection, options.clone()).await.unwrap();
    assert!(forwarder.forward_some().await.unwrap() > 0);
    let kill = tokio::task::spawn_blocking(|| {
        stack.kill("pulsar");
        stack.start("pulsar");
    });
    forward_until_empty(&mut forwarder).await;
    kill.await.unwrap();
    forward_until_empty(&mut forwarder).await;
    println!("measured: {:?}", forwarder.counters());
    // Nothing is left for another one.
    drop(forwarder);
    let mut last = Forwarder::open(&connection, options).await.unwrap();
    forward_until_empty(&mut last).await;
    assert_eq!(last.counters().forwarded, 0);

    let mut source = source(&connection, &topic).await;
    let (mut found, mut partitions, mut messages) = (BTreeSet::new(), BTreeSet::new(), 0);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let more = source.poll(1 << 20, Duration::from_secs(3)).await.unwrap();
        // A partition of a broker that just started may answer late.
        if more.is_empty() && (found.len() >= wanted.len() || Instant::now() > end) {
            break;
        }
        for message in more {
            let event = decode_message(&message.body, &message.properties).unwrap();
            let camera = event.key.camera.as_str().to_owned();
            partitions.insert((camera.clone(), message.partition));
            found.insert((camera, event.key.frame_index));
            messages += 1;
        }
    }
    println!("measured: {messages} messages on the topic, {} of them twice", messages - found.len());
    let missing: Vec<_> = wanted.difference(&found).take(10).collect();
    let foreign: Vec<_> = found.difference(&wanted).take(10).collect();
    assert!(missing.is_empty() && foreign.is_empty(), "missing {missing:?} …, not wanted {foreign:?} …");
    assert_eq!(partitions.len(), CAMERAS.len(), "a run is in one partition: {partitions:?}");

    let refused = std::fs::read_to_string(dir.path().join("refused.ndjson")).unwrap();
    let refused: Vec<serde_json::Value> = refused.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(refused.len(), 1, "wanted the one that is too large, once");
    assert_eq!((&refused[0]["partition"], &refused[0]["n"]), (&"cam_01".into(), &(FRAMES / 2 + 1).into()));
    assert_eq!(refused[0]["raw"].as_str().unwrap().len(), TOO_LARGE.div_ceil(3) * 4);
}

//! What stands on the topic, read by Pulsar's client itself and by the contract's parser.

use crate::{SUBSCRIPTION, connection, message, record, set_up, sink, source};
use futures::TryStreamExt;
use pulsar::{Consumer, ConsumerOptions, Pulsar, SubType, TokioExecutor, consumer::InitialPosition};
use rva_bus::{
    BusErrorKind, EventSink, EventSource, Message,
    pulsar::{PulsarSink, PulsarSinkOptions, RecordCompression, TopicSetup, set_up_topic},
};
use rva_stack::Stack;
use rva_types::{Timestamp, decode_message};
use std::{collections::BTreeSet, time::Duration};

async fn read(source: &mut dyn EventSource, wanted: usize) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < wanted {
        let more = source.poll(1 << 20, Duration::from_secs(20)).await.unwrap();
        assert!(!more.is_empty(), "found {} messages, wanted {wanted}", all.len());
        all.extend(more);
    }
    all
}

async fn foreign_consumer(stack: &Stack, topic: String) -> Consumer<Vec<u8>, TokioExecutor> {
    let client: Pulsar<_> = Pulsar::builder(stack.get("PULSAR_SERVICE_URL"), TokioExecutor).build().await.unwrap();
    let options = ConsumerOptions::default().with_initial_position(InitialPosition::Earliest);
    let consumer = client.consumer().with_topic(topic).with_subscription("foreign").with_options(options);
    consumer.with_subscription_type(SubType::Exclusive).build().await.unwrap()
}

#[tokio::test]
async fn a_record_is_an_envelope_with_key_properties_event_time_and_schema() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let mut sent = record("0192f0c1a2b37c4d8e5f60718293a4b5", "cam_01", 1);
    sent.properties.insert("store_id".into(), "store_01".into());
    sent.event_time = Some(Timestamp::from_micros(1_770_000_000_123_456));
    let mut sink = sink(&connection, &topic).await;
    sink.send(sent.clone()).await.unwrap();
    sink.flush().await.unwrap();

    let got = foreign_consumer(stack, topic.partition(0)).await.try_next().await.unwrap().unwrap();
    let metadata = &got.payload.metadata;
    assert_eq!(metadata.partition_key.as_deref(), Some("cam_01"));
    assert_eq!(metadata.event_time, Some(1_770_000_000_123));
    assert!(metadata.schema_version.is_some(), "the message carries no schema");
    let properties: BTreeSet<_> = metadata.properties.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
    assert_eq!(properties, BTreeSet::from([("camera_id", "cam_01"), ("store_id", "store_01")]));

    let mut source = source(&connection, &topic).await;
    let message = read(&mut source, 1).await.remove(0);
    let event = decode_message(&message.body, &message.properties).unwrap();
    assert_eq!(event.payload.as_bytes(), &sent.body[..], "the record, byte for byte");
    assert_eq!((event.key.camera.as_str(), event.key.frame_index), ("cam_01", 1));
    let registered = reqwest::get(format!(
        "{}/admin/v2/schemas/{}/{}/{}/schema",
        connection.admin_url, topic.tenant, topic.namespace, topic.local
    ));
    let registered: serde_json::Value =
        serde_json::from_slice(&registered.await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!(registered["type"], "JSON");
    let definition: serde_json::Value = serde_json::from_str(registered["data"].as_str().unwrap()).unwrap();
    let wanted: serde_json::Value = serde_json::from_str(rva_types::PULSAR_SCHEMA_DEFINITION).unwrap();
    assert_eq!(definition["fields"], wanted["fields"]);
}

#[tokio::test]
async fn every_compression_comes_back() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    for compression in [RecordCompression::None, RecordCompression::Lz4, RecordCompression::Zstd(1)] {
        let options = PulsarSinkOptions { compression, ..PulsarSinkOptions::new(topic.clone()) };
        let mut sink = PulsarSink::connect(&connection, options).await.unwrap();
        for i in 0..50 {
            sink.send(message("a", format!("{compression:?} {i}"))).await.unwrap();
        }
        sink.flush().await.unwrap();
        assert_eq!(sink.counters().acknowledged, 50);
    }
    let found: BTreeSet<_> =
        read(&mut source(&connection, &topic).await, 150).await.into_iter().map(|m| m.body).collect();
    assert_eq!(found.len(), 150);
}

#[tokio::test]
async fn a_message_over_the_brokers_limit_is_rejected_and_the_next_one_passes() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let mut sink = sink(&connection, &topic).await;
    // Beside the body: the key `a` and the property `camera_id` of the same value, with what the protocol adds to them.
    let limit = (5 << 20) - (192 << 10) - ("a".len() + 64) - ("camera_ida".len() + 16);
    // Bytes that don't compress: the broker sees their whole size.
    let noise: Vec<u8> = (0..limit as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let error = sink.send(message("a", [&noise[..], b"x"].concat())).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Rejected);
    assert!(error.to_string().contains("wanted at most 5046272"), "{error}");
    sink.send(message("a", "before")).await.unwrap();
    sink.send(message("a", &noise)).await.unwrap();
    sink.send(message("a", "behind")).await.unwrap();
    sink.flush().await.unwrap();
    let found: Vec<_> =
        read(&mut source(&connection, &topic).await, 3).await.into_iter().map(|m| m.body.len()).collect();
    assert_eq!(found, [6, noise.len(), 6]);
}

#[tokio::test]
async fn a_run_stays_in_its_partition_when_the_topic_is_enlarged() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let cameras: Vec<_> = (0..8).map(|i| format!("cam_{i}")).collect();
    let mut first = sink(&connection, &topic).await;
    for camera in &cameras {
        first.send(record(&format!("run-{camera}"), camera, 1)).await.unwrap();
    }
    first.flush().await.unwrap();
    let runs = first.runs().clone();
    assert_eq!(runs.len(), 8);
    set_up_topic(&connection, &TopicSetup { partitions: 4, ..TopicSetup::new(topic.clone(), SUBSCRIPTION) })
        .await
        .unwrap();
    // Another forwarder goes on with the same runs, and begins new ones.
    let mut second = sink(&connection, &topic).await;
    for (run, partition) in runs {
        second.keep_run(run, partition);
    }
    for camera in &cameras {
        second.send(record(&format!("run-{camera}"), camera, 2)).await.unwrap();
        second.send(record(&format!("new-{camera}"), camera, 1)).await.unwrap();
    }
    second.flush().await.unwrap();
    let messages = read(&mut source(&connection, &topic).await, 24).await;
    let partitions_of = |start: &str| -> BTreeSet<_> {
        let is_it = |m: &&Message| decode_message(&m.body, &m.properties).unwrap().key.run.as_str().starts_with(start);
        messages.iter().filter(is_it).map(|m| m.partition.clone()).collect()
    };
    assert_eq!(partitions_of("run-"), BTreeSet::from(["0".into()]));
    assert!(partitions_of("new-").len() > 1, "new runs spread over {:?}", partitions_of("new-"));
}

#[tokio::test]
async fn partitions_that_are_added_are_read_without_a_restart() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let options = rva_bus::pulsar::PulsarSourceOptions {
        refresh_interval: Duration::from_millis(300),
        ..rva_bus::pulsar::PulsarSourceOptions::new(topic.clone(), SUBSCRIPTION)
    };
    let mut source = rva_bus::pulsar::PulsarSource::connect(&connection, options).await.unwrap();
    assert!(source.poll(1, Duration::from_millis(10)).await.unwrap().is_empty());
    set_up_topic(&connection, &TopicSetup { partitions: 4, ..TopicSetup::new(topic.clone(), SUBSCRIPTION) })
        .await
        .unwrap();
    let mut sink = sink(&connection, &topic).await;
    for i in 0..40 {
        sink.send(message(&format!("cam_{i}"), i.to_string())).await.unwrap();
    }
    sink.flush().await.unwrap();
    let mut messages = Vec::new();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while messages.len() < 40 && std::time::Instant::now() < end {
        messages.extend(source.poll(1 << 20, Duration::from_millis(500)).await.unwrap());
    }
    let found: BTreeSet<_> = messages.iter().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect();
    assert_eq!(found, (0..40).map(|i| i.to_string()).collect());
    assert!(messages.iter().map(|m| &m.partition).collect::<BTreeSet<_>>().len() > 1);
}

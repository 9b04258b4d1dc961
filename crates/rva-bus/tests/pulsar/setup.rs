//! Setting a topic up, and what is said where it wasn't, or can't be reached.

use crate::{SUBSCRIPTION, connection, message, new_topic, record, set_up, sink, source};
use rva_bus::{
    BusErrorKind, EventSink, EventSource,
    pulsar::{
        PulsarConnection, PulsarSink, PulsarSinkOptions, PulsarSource, PulsarSourceOptions, TopicName, TopicSetup,
        set_up_topic,
    },
};
use std::time::Duration;

#[tokio::test]
async fn setting_up_twice_changes_nothing_and_enlarges_only() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = new_topic();
    let with = |partitions| TopicSetup { partitions, ..TopicSetup::new(topic.clone(), SUBSCRIPTION) };
    let id = set_up_topic(&connection, &with(2)).await.unwrap();
    let mut sink = sink(&connection, &topic).await;
    sink.send(message("a", "1")).await.unwrap();
    sink.flush().await.unwrap();
    for (wanted, found) in [(2, 2), (3, 3), (1, 3)] {
        assert_eq!(set_up_topic(&connection, &with(wanted)).await.unwrap(), id, "the id stays");
        let mut source = source(&connection, &topic).await;
        assert_eq!(source.partitions().await.unwrap().len(), found, "wanted {wanted}");
        let messages = source.poll(1000, Duration::from_secs(20)).await.unwrap();
        assert_eq!(messages.len(), 1, "what was there stays");
    }
}

#[tokio::test]
async fn set_ups_at_the_same_moment_agree() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    for _ in 0..5 {
        let name = uuid::Uuid::new_v4().simple();
        let topic: TopicName = format!("persistent://rva-test-{name}/bus/events").parse().unwrap();
        let setup = TopicSetup::new(topic, SUBSCRIPTION);
        let ids = futures::future::join_all((0..6).map(|_| set_up_topic(&connection, &setup))).await;
        let ids: std::collections::BTreeSet<_> = ids.into_iter().map(|id| id.unwrap()).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
}

#[tokio::test]
async fn a_topic_without_set_up_is_refused_and_says_so() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = new_topic();
    let sink = PulsarSink::connect(&connection, PulsarSinkOptions::new(topic.clone())).await;
    let source = PulsarSource::connect(&connection, PulsarSourceOptions::new(topic, SUBSCRIPTION)).await;
    for error in [sink.err().unwrap(), source.err().unwrap()] {
        assert_eq!(error.kind(), BusErrorKind::Permanent);
        assert!(error.to_string().contains("set it up first"), "{error}");
    }
    let topic = set_up(&connection, 1).await;
    let mut other = PulsarSource::connect(&connection, PulsarSourceOptions::new(topic, "other")).await.unwrap();
    let error = other.poll(1, Duration::ZERO).await.unwrap_err();
    assert!(
        error.kind() == BusErrorKind::Permanent && error.to_string().contains("found no subscription other"),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_transient_and_named() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let there = connection(stack);
    let topic = set_up(&there, 1).await;
    let away = PulsarConnection::new("pulsar://127.0.0.1:9", "http://127.0.0.1:9");
    let error = set_up_topic(&away, &TopicSetup::new(topic.clone(), SUBSCRIPTION)).await.unwrap_err();
    assert!(error.kind() == BusErrorKind::Transient && error.to_string().contains("127.0.0.1:9"), "{error}");
    let half = PulsarConnection { service_url: away.service_url, ..there };
    let error = PulsarSink::connect(&half, PulsarSinkOptions::new(topic)).await.err().unwrap();
    assert!(error.kind() == BusErrorKind::Transient && error.to_string().contains("pulsar://127.0.0.1:9"), "{error}");
}

/// What the predecessor's Python class registers: every field nullable.
const PREDECESSORS_SCHEMA: &str = r#"{"type":"record","name":"RetailDetection","fields":[{"name":"schema_version","type":["null","string"]},{"name":"pipeline_run_id","type":["null","string"]},{"name":"frame_index","type":["null","long"]},{"name":"payload","type":["null","string"]}]}"#;

#[tokio::test]
async fn a_topic_with_the_predecessors_schema_says_the_way_out_and_the_way_out_works() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let namespace = format!("rva-test/old-{}", uuid::Uuid::new_v4().simple());
    let topic: TopicName = format!("persistent://{namespace}/events").parse().unwrap();
    set_up_topic(&connection, &TopicSetup::new(topic.clone(), SUBSCRIPTION)).await.unwrap();
    let admin = format!("{}/admin/v2", connection.admin_url);
    let http = reqwest::Client::new();
    let schema = serde_json::json!({"type": "JSON", "schema": PREDECESSORS_SCHEMA, "properties": {}});
    let answer = http.post(format!("{admin}/schemas/{namespace}/events/schema")).json(&schema).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");

    let options = PulsarSinkOptions::new(topic.clone());
    let error = PulsarSink::connect(&connection, options.clone()).await.err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Permanent, "{error}");
    assert!(
        error.to_string().contains("set-schema-compatibility-strategy --compatibility ALWAYS_COMPATIBLE"),
        "{error}"
    );

    let strategy = format!("{admin}/namespaces/{namespace}/schemaCompatibilityStrategy");
    let answer = http.put(strategy).json("ALWAYS_COMPATIBLE").send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    let mut sink = PulsarSink::connect(&connection, options).await.unwrap();
    sink.send(record("r", "c", 1)).await.unwrap();
    sink.flush().await.unwrap();
    let messages = source(&connection, &topic).await.poll(1000, Duration::from_secs(20)).await.unwrap();
    assert_eq!(messages.len(), 1);
}

//! Pulsar against the real broker of the native stack: the contract of the bus, then what only Pulsar can do.

// The lint's exception for tests doesn't reach async tests and what they share.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod entries;
mod faults;
mod forward;
mod retention;
mod secure;
mod setup;
mod wire;

use futures::FutureExt;
use rva_bus::{
    EventSource, OutgoingMessage,
    pulsar::{
        PulsarConnection, PulsarSink, PulsarSinkOptions, PulsarSource, PulsarSourceOptions, TopicName, TopicSetup,
        set_up_topic,
    },
};
use rva_stack::Stack;
use rva_testkit::bus::Log;
pub(crate) use rva_testkit::bus::contract::message;

pub(crate) const SUBSCRIPTION: &str = "rva-ingest";

/// A frame record with what the bus looks at.
pub(crate) fn record(run: &str, camera: &str, frame_index: u64) -> OutgoingMessage {
    let body = serde_json::json!({
        "schema_version": "1.0", "pipeline_run_id": run, "frame_index": frame_index,
        "source": {"store_id": "store_01", "camera_id": camera, "stream_id": "stream_01"}, "detections": [],
    });
    message(camera, body.to_string())
}

pub(crate) fn connection(stack: &Stack) -> PulsarConnection {
    PulsarConnection::new(stack.get("PULSAR_SERVICE_URL"), stack.get("PULSAR_ADMIN_URL"))
}

/// A topic that no other test uses.
pub(crate) fn new_topic() -> TopicName {
    format!("persistent://rva-test/bus/t-{}", uuid::Uuid::new_v4().simple()).parse().unwrap()
}

pub(crate) async fn set_up(connection: &PulsarConnection, partitions: u32) -> TopicName {
    let topic = new_topic();
    let setup = TopicSetup { partitions, ..TopicSetup::new(topic.clone(), SUBSCRIPTION) };
    set_up_topic(connection, &setup).await.unwrap();
    topic
}

pub(crate) async fn sink(connection: &PulsarConnection, topic: &TopicName) -> PulsarSink {
    PulsarSink::connect(connection, PulsarSinkOptions::new(topic.clone())).await.unwrap()
}

pub(crate) async fn source(connection: &PulsarConnection, topic: &TopicName) -> PulsarSource {
    PulsarSource::connect(connection, PulsarSourceOptions::new(topic.clone(), SUBSCRIPTION)).await.unwrap()
}

rva_testkit::log_contract!(over_every_log);

/// Runs one clause of the contract over a new topic, with one partition and with three.
async fn over_every_log(clause: impl AsyncFn(&mut Log<'_>)) {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    for partitions in [1, 3] {
        let topic = set_up(&connection, partitions).await;
        let new_source = || {
            async {
                let source: Box<dyn EventSource> = Box::new(source(&connection, &topic).await);
                source
            }
            .boxed()
        };
        let sink = Box::new(sink(&connection, &topic).await);
        clause(&mut Log { sink, source: Box::new(new_source), keys_are_partitions: false }).await;
    }
}

//! What the broker deletes, and what a source can still tell about it.

use crate::{SUBSCRIPTION, connection, record, set_up, sink, source};
use rva_bus::{
    EventSink, EventSource, PartitionRange,
    pulsar::{PulsarConnection, PulsarSource, TopicName},
};
use rva_types::{OffsetMap, Position};
use std::time::{Duration, Instant};

/// Orders of the broker's admin interface, as an operator gives them.
pub struct Operator<'a> {
    base: String,
    topic: &'a TopicName,
}

impl<'a> Operator<'a> {
    pub fn new(connection: &PulsarConnection, topic: &'a TopicName) -> Self {
        Self { base: format!("{}/admin/v2", connection.admin_url), topic }
    }

    async fn order(&self, method: reqwest::Method, path: &str, body: Option<serde_json::Value>) {
        let mut request = reqwest::Client::new().request(method, format!("{}/{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    }

    fn partition(&self) -> String {
        let TopicName { tenant, namespace, local } = self.topic;
        format!("persistent/{tenant}/{namespace}/{local}-partition-0")
    }

    /// Retention of nothing, a new ledger, and the old ones deleted as far as the subscriptions allow it, which the broker
    /// does in its own time.
    pub async fn delete_what_was_consumed(&self) {
        let body = serde_json::json!({"retentionTimeInMinutes": 0, "retentionSizeInMB": 0});
        let namespace = format!("{}/{}", self.topic.tenant, self.topic.namespace);
        self.order(reqwest::Method::POST, &format!("namespaces/{namespace}/retention"), Some(body)).await;
        let path = self.partition();
        for _ in 0..2 {
            self.order(reqwest::Method::PUT, &format!("{path}/unload"), None).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.order(reqwest::Method::POST, &format!("{path}/trim"), None).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// As an expiry of messages does it: the subscription is moved to the end.
    pub async fn skip_all(&self) {
        let path = format!("{}/subscription/{SUBSCRIPTION}/skip_all", self.partition());
        self.order(reqwest::Method::POST, &path, None).await;
    }
}

async fn send(connection: &PulsarConnection, topic: &TopicName, frames: std::ops::RangeInclusive<u64>) {
    let mut sink = sink(connection, topic).await;
    for frame in frames {
        sink.send(record("run", "cam_01", frame)).await.unwrap();
        // Several entries.
        if frame % 30 == 0 {
            sink.flush().await.unwrap();
        }
    }
    sink.flush().await.unwrap();
}

async fn read_all(source: &mut dyn EventSource, wanted: usize) -> OffsetMap {
    let (mut offsets, mut found) = (OffsetMap::new(), 0);
    let end = Instant::now() + Duration::from_secs(60);
    while found < wanted && Instant::now() < end {
        for message in source.poll(1 << 20, Duration::from_millis(200)).await.unwrap() {
            offsets.advance(&message.partition, message.position);
            found += 1;
        }
    }
    assert_eq!(found, wanted);
    offsets
}

/// Deletes what was consumed until the first position is as wanted. Returns a source and what it says then, or after a
/// minute.
async fn deleted(
    connection: &PulsarConnection,
    topic: &TopicName,
    is_done: impl Fn(Option<Position>) -> bool,
) -> (PulsarSource, PartitionRange) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        Operator::new(connection, topic).delete_what_was_consumed().await;
        let mut source = source(connection, topic).await;
        let range = source.partitions().await.unwrap().remove(0);
        if is_done(range.first) || Instant::now() > end {
            return (source, range);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_the_last_acknowledged_record_is_never_deleted() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let operator = Operator::new(&connection, &topic);
    let mut offsets = OffsetMap::new();
    // Three ledgers; the last round's is the one that must stay.
    for round in 0..3u64 {
        send(&connection, &topic, round * 100 + 1..=round * 100 + 100).await;
        let mut source = source(&connection, &topic).await;
        source.seek(&offsets).await.unwrap();
        offsets = offsets.merged(&read_all(&mut source, 100).await);
        source.acknowledge(&offsets).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(source);
        operator.delete_what_was_consumed().await;
    }
    let at = offsets.get("0").unwrap();
    let is_oldest = |first: Option<Position>| first.is_none_or(|first| first.ledger == at.ledger);
    let (mut source, range) = deleted(&connection, &topic, is_oldest).await;
    println!("measured: read up to {at}, {range:?}");
    assert_eq!(range.last, Some(at));
    assert_eq!(range.first, Some(Position { ledger: at.ledger, entry: 0, batch_index: -1 }), "older ledgers are gone");
    assert!(range.next > at, "{}", range.next);
    source.seek(&offsets).await.unwrap();
    send(&connection, &topic, 301..=310).await;
    read_all(&mut source, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_emptied_says_so_and_can_be_read_on() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let topic = set_up(&connection, 1).await;
    let operator = Operator::new(&connection, &topic);
    send(&connection, &topic, 1..=100).await;
    let mut reading = source(&connection, &topic).await;
    let offsets = read_all(&mut reading, 100).await;
    drop(reading);
    operator.skip_all().await;
    let (mut source, range) = deleted(&connection, &topic, |first| first.is_none()).await;
    println!("measured: read up to {}, {range:?}", offsets.get("0").unwrap());
    assert_eq!((range.first, range.last), (None, None));
    assert!(range.next > offsets.get("0").unwrap(), "it isn't shorter than what was read");
    // Behind the end of what was deleted, as the ingest goes on after an accepted gap.
    let mut behind = offsets.clone();
    behind.advance("0", Position::end_of_ledger(range.next.ledger - 1));
    source.seek(&behind).await.unwrap();
    source.acknowledge(&behind).await.unwrap();
    send(&connection, &topic, 101..=110).await;
    read_all(&mut source, 10).await;
}

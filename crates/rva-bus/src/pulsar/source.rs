//! Messages of a topic: one exclusive consumer for each partition, positioned by what the table holds.

use super::{
    Client, PulsarConnection, TopicName,
    admin::{Admin, PartitionState},
    errors::{of_pulsar, permanent},
};
use crate::{BusError, BusErrorKind, EventSource, Message, PartitionRange};
use ::pulsar::{
    Consumer, ConsumerOptions, SubType, TokioExecutor,
    consumer::{InitialPosition, Message as PulsarMessage},
    proto::MessageIdData,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::select_all};
use rva_types::{OffsetMap, Position, Timestamp};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How a source reads.
#[derive(Debug, Clone)]
pub struct PulsarSourceOptions {
    /// The topic; it must have been set up.
    pub topic: TopicName,
    /// The subscription that was set up with it.
    pub subscription: String,
    /// Messages of one partition that may wait in memory, and as many again on their way. Default 500.
    pub queue_messages: u32,
    /// How often new partitions are looked for. Default 30 s.
    pub refresh_interval: Duration,
}

impl PulsarSourceOptions {
    /// With the defaults.
    pub fn new(topic: TopicName, subscription: impl Into<String>) -> Self {
        let subscription = subscription.into();
        Self { topic, subscription, queue_messages: 500, refresh_interval: Duration::from_secs(30) }
    }
}

type Stream = Consumer<Vec<u8>, TokioExecutor>;

struct Lane {
    stream: Stream,
    /// The last position that was given; what isn't behind it was given already, and comes again after a reconnect.
    last: Option<Position>,
    /// Read from the stream and not given yet.
    held: Option<Message>,
}

/// Whether there are consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Positioned {
    /// Not yet: the first poll makes them, at the oldest messages.
    Never,
    Yes,
    /// Not since an error: only a seek makes new ones.
    Lost,
}

/// Reads a partitioned topic: an [`EventSource`].
///
/// A partition's name is its number. Positions are ledger, entry and the index in the entry's batch. The identity is the
/// topic with the random id that its set-up gave it, so a broker that was wiped and set up again is another log.
///
/// After any error of [`poll`](EventSource::poll) the consumers are gone: [`seek`](EventSource::seek) makes new ones.
/// A second source of the same subscription waits in its `seek` until the first one is gone: a standby.
pub struct PulsarSource {
    client: Client,
    admin: Admin,
    options: PulsarSourceOptions,
    identity: String,
    lanes: BTreeMap<u32, Lane>,
    positioned: Positioned,
    partitions: u32,
    refreshed: Instant,
}

impl PulsarSource {
    /// Connects to a topic that was set up.
    ///
    /// # Errors
    /// `Permanent` for a wrong address, token or certificate, or a topic that wasn't set up; `Transient` where the broker doesn't
    /// answer.
    pub async fn connect(connection: &PulsarConnection, options: PulsarSourceOptions) -> Result<Self, BusError> {
        let admin = Admin::new(connection)?;
        let topic = &options.topic;
        let missing = |what: &str| {
            permanent(format!("found no {what} {topic} at {}, wanted one: set it up first", connection.admin_url))
        };
        let partitions = admin.partitions(topic).await?.ok_or_else(|| missing("partitioned topic"))?;
        let id = admin.topic_id(topic).await?.ok_or_else(|| missing("rva.topic_id of"))?;
        let identity = format!("{topic}#{id}");
        let client = connection.connect().await?;
        let (lanes, positioned, refreshed) = (BTreeMap::new(), Positioned::Never, Instant::now());
        Ok(Self { client, admin, options, identity, lanes, positioned, partitions, refreshed })
    }

    async fn state(&self, partition: u32) -> Result<PartitionState, BusError> {
        self.admin.state(&self.options.topic, partition, &self.options.subscription).await
    }

    /// Makes the consumer of a partition, so that the first message it gives is the one behind `after`.
    async fn open(&mut self, partition: u32, after: Option<Position>) -> Result<(), BusError> {
        let Self { admin, options, .. } = self;
        let (topic, subscription) = (&options.topic, &options.subscription);
        let state = admin.state(topic, partition, subscription).await?;
        let Some(acknowledged) = state.acknowledged else {
            return Err(permanent(format!(
                "found no subscription {subscription} on {topic}, wanted one: set it up first"
            )));
        };
        // Where the subscription stands is a hint: what counts is `after`. It stands right where the first entry that it
        // would give is the one with `after` in it: its batch may go on behind the position, and the broker keeps it.
        let there = after.filter(|after| state.first.is_some_and(|first| first <= *after));
        let stands_right = match there.or(state.first) {
            None => true,
            Some(at) => acknowledged == (at.ledger as i64, at.entry as i64 - 1),
        };
        if !stands_right {
            admin.reset(topic, partition, subscription, there).await?;
        }
        let consumer_options = ConsumerOptions::default()
            .durable(true)
            .with_initial_position(InitialPosition::Earliest)
            .with_receiver_queue_size(options.queue_messages);
        let made = self
            .client
            .consumer()
            .with_topic(topic.partition(partition))
            .with_subscription(subscription)
            .with_subscription_type(SubType::Exclusive)
            .with_batch_size(options.queue_messages)
            .with_options(consumer_options)
            .build()
            .await;
        let stream = made.map_err(|error| of_pulsar(&format!("consume {}", topic.partition(partition)), error))?;
        self.lanes.insert(partition, Lane { stream, last: after, held: None });
        Ok(())
    }

    async fn open_all(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        if !self.lanes.is_empty() {
            self.lanes.clear();
            // Consumers are closed behind our back; one that comes too early waits for a whole retry.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.positioned = Positioned::Lost;
        for partition in 0..self.partitions {
            self.open(partition, offsets.get(&partition.to_string())).await?;
        }
        self.positioned = Positioned::Yes;
        Ok(())
    }

    async fn refresh(&mut self) -> Result<(), BusError> {
        self.refreshed = Instant::now();
        let found = self.admin.partitions(&self.options.topic).await?.unwrap_or(0);
        if found < self.partitions {
            return Err(permanent(format!(
                "found {found} partitions of {}, wanted at least {}: it was deleted or made anew",
                self.options.topic, self.partitions
            )));
        }
        while self.partitions < found {
            self.open(self.partitions, None).await?;
            self.partitions += 1;
        }
        Ok(())
    }

    /// Takes what is ready, without waiting.
    fn take_ready(&mut self, bytes_max: usize) -> Result<Vec<Message>, BusError> {
        let mut messages: Vec<Message> = Vec::new();
        let mut bytes = 0;
        let topic = self.options.topic.to_string();
        // From another partition each time: a full one must not starve the others.
        for (number, lane) in &mut self.lanes {
            while let Some(message) = lane.next_ready(*number, &topic)? {
                if !messages.is_empty() && bytes + message.body.len() > bytes_max {
                    lane.held = Some(message);
                    break;
                }
                bytes += message.body.len();
                lane.last = Some(message.position);
                messages.push(message);
            }
        }
        Ok(messages)
    }

    /// Waits until some lane has a message, or an error.
    async fn wait(&mut self, wait: Duration) -> Result<(), BusError> {
        if self.lanes.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(());
        }
        let topic = self.options.topic.to_string();
        let streams = self.lanes.iter_mut().map(|(number, lane)| lane.wait(*number, &topic).boxed());
        match tokio::time::timeout(wait, select_all(streams)).await {
            Ok((result, ..)) => result,
            Err(_) => Ok(()),
        }
    }
}

impl Lane {
    fn next_ready(&mut self, number: u32, topic: &str) -> Result<Option<Message>, BusError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        while let Some(item) = self.stream.next().now_or_never() {
            if let Some(message) = self.accept(number, topic, item)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Returns when a message is held.
    async fn wait(&mut self, number: u32, topic: &str) -> Result<(), BusError> {
        while self.held.is_none() {
            let item = self.stream.next().await;
            self.held = self.accept(number, topic, item)?;
        }
        Ok(())
    }

    /// A message behind the last one that was given; an error where the stream dropped something or ended.
    fn accept(
        &self,
        number: u32,
        topic: &str,
        item: Option<Result<PulsarMessage<Vec<u8>>, ::pulsar::Error>>,
    ) -> Result<Option<Message>, BusError> {
        let message = match item {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(of_pulsar(&format!("read partition {number} of {topic}"), error)),
            None => {
                let text = format!("read partition {number} of {topic}: the stream ended");
                return Err(BusError::new(BusErrorKind::Transient, text));
            }
        };
        let message = to_message(number, message);
        Ok(self.last.is_none_or(|last| last < message.position).then_some(message))
    }
}

fn to_message(number: u32, message: PulsarMessage<Vec<u8>>) -> Message {
    let id = message.message_id.id;
    let batch_index = id.batch_index.unwrap_or(-1);
    let metadata = message.payload.metadata;
    let micros = i64::try_from(metadata.publish_time.saturating_mul(1000)).unwrap_or(i64::MAX);
    Message {
        partition: number.to_string(),
        position: Position { ledger: id.ledger_id, entry: id.entry_id, batch_index },
        ends_entry: batch_index + 1 >= metadata.num_messages_in_batch.unwrap_or(0),
        publish_ts: Timestamp::from_micros(micros),
        properties: metadata.properties.into_iter().map(|pair| (pair.key, pair.value)).collect(),
        body: Bytes::from(message.payload.data),
        follows: None,
        rejected: None,
    }
}

#[async_trait::async_trait]
impl EventSource for PulsarSource {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        let found = self.admin.topic_id(&self.options.topic).await?.unwrap_or_default();
        if self.identity != format!("{}#{found}", self.options.topic) {
            return Err(permanent(format!(
                "found another topic under the name {} (id {found}), wanted {}: it was deleted and made anew",
                self.options.topic, self.identity
            )));
        }
        let mut ranges = Vec::new();
        for partition in 0..self.partitions {
            let state = self.state(partition).await?;
            ranges.push(PartitionRange {
                partition: partition.to_string(),
                topic: (self.options.topic.to_string(), i32::try_from(partition).unwrap_or(i32::MAX)),
                first: state.first,
                last: state.last,
                next: state.next,
            });
        }
        ranges.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(ranges)
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        self.partitions = self.admin.partitions(&self.options.topic).await?.unwrap_or(0).max(self.partitions);
        let ranges = self.partitions().await?;
        for (partition, position) in offsets.iter() {
            let range = ranges.iter().find(|range| range.partition == partition);
            if range.is_none_or(|range| range.next <= position) {
                let last = range.and_then(|range| range.last);
                let last = last.map_or("nothing".to_owned(), |last| format!("{last} as its last record"));
                return Err(permanent(format!(
                    "log shortened: found {last} in partition {partition:?} of {}, wanted the position {position} to go on behind",
                    self.options.topic
                )));
            }
        }
        self.open_all(offsets).await
    }

    async fn poll(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        match self.positioned {
            Positioned::Never => self.open_all(&OffsetMap::new()).await?,
            Positioned::Yes => {}
            Positioned::Lost => {
                let text = "found no consumers since the last error, wanted a seek before the poll";
                return Err(BusError::new(BusErrorKind::Transient, text));
            }
        }
        let result = self.poll_lanes(bytes_max, wait).await;
        if result.is_err() {
            self.lanes.clear();
            self.positioned = Positioned::Lost;
        }
        result
    }

    async fn acknowledge(&mut self, committed: &OffsetMap) -> Result<(), BusError> {
        for (partition, position) in committed.iter() {
            let Some(number) = partition.parse::<u32>().ok() else { continue };
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            // Whole entries only: the broker takes one message of a batch for all of it. And never the last one: a broker
            // deletes whole ledgers, and only those that every subscription is through with. So the ledger of the
            // position stays, and with it the proof that nothing behind the position was deleted.
            let Some(entry_id) = position.entry.checked_sub(1).filter(|_| !position.is_end_of_ledger()) else {
                continue;
            };
            let id = MessageIdData { ledger_id: position.ledger, entry_id, ..MessageIdData::default() };
            let topic = self.options.topic.partition(number);
            if let Err(error) = lane.stream.cumulative_ack_with_id(&topic, id).await {
                // It is a hint: the next one goes further.
                tracing::debug!(topic, %error, "an acknowledgement is lost");
            }
        }
        Ok(())
    }
}

impl PulsarSource {
    async fn poll_lanes(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        if self.refreshed.elapsed() >= self.options.refresh_interval {
            self.refresh().await?;
        }
        let messages = self.take_ready(bytes_max)?;
        if !messages.is_empty() || wait.is_zero() {
            return Ok(messages);
        }
        let left = self.options.refresh_interval.saturating_sub(self.refreshed.elapsed());
        self.wait(wait.min(left.max(Duration::from_millis(1)))).await?;
        self.take_ready(bytes_max)
    }
}

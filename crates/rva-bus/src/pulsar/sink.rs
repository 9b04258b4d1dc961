//! Sending to a topic: in order within a partition, and again from the first message without a receipt.

use super::{
    Client, PulsarConnection, TopicName,
    admin::Admin,
    errors::{of_pulsar, permanent},
    lanes::{BATCH_BYTES, BATCH_HEAD_BYTES, Lanes, PulsarSinkCounters, head_bytes},
};
use crate::{BusError, BusErrorKind, EventSink, OutgoingMessage};
use ::pulsar::{
    Producer, ProducerOptions, TokioExecutor,
    compression::{Compression, CompressionLz4, CompressionZstd},
    message::proto::{Schema, schema},
    producer::Message as PulsarMessage,
};
use async_recursion::async_recursion as boxed;
use rva_types::{DoublingWait, Envelope, PULSAR_SCHEMA_DEFINITION, PULSAR_SCHEMA_NAME, Timestamp};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The bytes that an entry may need beside its messages: its metadata, and the heads of a batch.
const ENTRY_OVERHEAD_BYTES: usize = 2 * BATCH_HEAD_BYTES;

/// The number of runs whose partition is remembered; the oldest are forgotten first. A run that was forgotten gets the
/// partition of its key again, another one only where the topic was enlarged meanwhile.
const RUNS_MAX: usize = 10_000;

/// The first and the longest wait before messages without a receipt are sent again.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// The compression of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordCompression {
    /// Sends batches as they are.
    None,
    /// Compresses with LZ4.
    Lz4,
    /// Compresses with Zstandard of a level.
    Zstd(i32),
}

/// The settings of a sink.
#[derive(Debug, Clone)]
pub struct PulsarSinkOptions {
    /// The topic, which must have been set up.
    pub topic: TopicName,
    /// The compression of batches. Default Zstandard, level 1.
    pub compression: RecordCompression,
    /// The longest time that a message waits for its batch to fill. Default 20 ms.
    pub batch_delay: Duration,
    /// The number of messages without a receipt at which `send` waits. Default 8192.
    pub unacknowledged_max: usize,
    /// The bytes of bodies without a receipt at which `send` waits. Default 16 MiB.
    pub unacknowledged_bytes_max: usize,
    /// The time for which a call goes on trying before it gives up with a transient error. Default 30 s.
    pub retry_for: Duration,
}

impl PulsarSinkOptions {
    /// Makes settings with the defaults.
    pub fn new(topic: TopicName) -> Self {
        Self {
            topic,
            compression: RecordCompression::Zstd(1),
            batch_delay: Duration::from_millis(20),
            unacknowledged_max: 8192,
            unacknowledged_bytes_max: 16 << 20,
            retry_for: Duration::from_secs(30),
        }
    }
}

/// An [`EventSink`] that sends to a partitioned topic.
///
/// A frame record goes out in the envelope of the data contract; any other body as it is. The partition is chosen by
/// `partition_of` of the key when a run is seen first and kept for the run. A message counts as sent when the broker
/// acknowledged it: `flush` waits for that. After a failed send or one whose outcome is unknown everything from the
/// first message without a receipt on is sent again, in order, by a producer of another name. So the topic can hold a
/// message twice and never not at all, and the messages of a run come first in their order. What can't be excluded is
/// a later batch that goes out in the moment between a failure and the end of its producer; readers must not count on
/// the order.
pub struct PulsarSink {
    client: Client,
    options: PulsarSinkOptions,
    partitions: u32,
    body_bytes_max: usize,
    lanes: Lanes,
    runs: BTreeMap<String, u32>,
}

/// Returns the partition of a key among `partitions`: CRC-32C of its bytes, modulo.
pub(crate) fn partition_of(key: &str, partitions: u32) -> u32 {
    crc32c::crc32c(key.as_bytes()) % partitions.max(1)
}

#[derive(Deserialize)]
struct RecordHead {
    schema_version: String,
    pipeline_run_id: String,
    frame_index: i64,
    /// The event time, where the message has none of its own.
    #[serde(default)]
    capture_ts: Option<String>,
    /// The payload of an envelope, which goes out as it is.
    #[serde(default)]
    payload: Option<serde::de::IgnoredAny>,
}

impl PulsarSink {
    /// Connects, and checks that the topic was set up and takes the contract's schema.
    ///
    /// # Errors
    /// Returns `Permanent` for a wrong address, token or certificate, a topic that wasn't set up, or one with another
    /// schema; `Transient` where the broker doesn't answer.
    #[boxed]
    pub async fn connect(connection: &PulsarConnection, options: PulsarSinkOptions) -> Result<Self, BusError> {
        let admin = Admin::new(connection)?;
        let partitions = admin.partitions(&options.topic).await?;
        let partitions = partitions.ok_or_else(|| {
            permanent(format!(
                "found no partitioned topic {} at {}, wanted one: set it up first",
                options.topic, connection.admin_url
            ))
        })?;
        let entry_bytes_max = admin.message_bytes_max().await?;
        let client = connection.connect().await?;
        let lanes = Lanes::new(options.topic.clone());
        let mut sink = Self {
            client,
            options,
            partitions,
            body_bytes_max: entry_bytes_max.saturating_sub(BATCH_BYTES + ENTRY_OVERHEAD_BYTES),
            lanes,
            runs: BTreeMap::new(),
        };
        // The first producer shows whether token and schema are right, before anything is accepted.
        sink.push(0).await?;
        Ok(sink)
    }

    /// Returns the counts since it connected.
    pub fn counters(&self) -> PulsarSinkCounters {
        self.lanes.counters()
    }

    /// Returns the partition that each run was given, for whoever keeps it across restarts.
    pub fn runs(&self) -> &BTreeMap<String, u32> {
        &self.runs
    }

    /// Gives a run its partition before its first message, as it was kept.
    pub fn keep_run(&mut self, run: impl Into<String>, partition: u32) {
        self.runs.insert(run.into(), partition);
    }

    /// Fixes the partition of the message's run; returns whether it is a new run.
    pub fn assign(&mut self, message: &OutgoingMessage) -> bool {
        let Some(head) = serde_json::from_slice::<RecordHead>(&message.body).ok().filter(|head| head.payload.is_none())
        else {
            return false;
        };
        let is_new = !self.runs.contains_key(&head.pipeline_run_id);
        let by_key = partition_of(&message.partition_key, self.partitions);
        self.partition_of_run(head.pipeline_run_id, by_key);
        is_new
    }

    fn partition_of_run(&mut self, run: String, by_key: u32) -> u32 {
        if let Some(partition) = self.runs.get(&run) {
            return *partition;
        }
        // Run ids are ordered by time: the first is the oldest.
        while self.runs.len() >= RUNS_MAX {
            self.runs.pop_first();
        }
        self.runs.insert(run, by_key);
        by_key
    }

    /// Returns the message as it goes out, and its run.
    fn encode(message: OutgoingMessage) -> Result<(PulsarMessage, Option<String>), BusError> {
        let head = serde_json::from_slice::<RecordHead>(&message.body).ok().filter(|head| head.payload.is_none());
        let run = head.as_ref().map(|head| head.pipeline_run_id.clone());
        let capture_ts = || Timestamp::parse(head.as_ref()?.capture_ts.as_deref()?).ok();
        let event_time = message.event_time.or_else(capture_ts);
        let event_time = event_time.and_then(|ts| u64::try_from(ts.as_micros() / 1000).ok());
        let payload = match (head, std::str::from_utf8(&message.body)) {
            (Some(head), Ok(text)) => {
                let envelope = Envelope {
                    schema_version: head.schema_version,
                    pipeline_run_id: head.pipeline_run_id,
                    frame_index: head.frame_index,
                    payload: text.to_owned(),
                };
                serde_json::to_vec(&envelope)
                    .map_err(|error| BusError::new(BusErrorKind::Rejected, format!("write the envelope: {error}")))?
            }
            _ => message.body.to_vec(),
        };
        let encoded = PulsarMessage {
            payload,
            properties: message.properties.into_iter().collect(),
            partition_key: Some(message.partition_key),
            event_time,
            ..PulsarMessage::default()
        };
        Ok((encoded, run))
    }

    /// Sends the messages that a lane holds and hasn't sent, with a new producer where there is none.
    async fn push(&mut self, partition: u32) -> Result<(), BusError> {
        // It is out of its lane for as long as it works: the lanes are watched meanwhile, and an error ends it.
        let kept = self.lanes.of(partition).take_producer();
        let mut producer = match kept {
            Some(producer) => producer,
            None => {
                // There is none at first, after a failure, and where a call was cancelled with it in its hands.
                self.lanes.of(partition).start_over();
                let making = make_producer(&self.client, &self.options, partition);
                let made = self.lanes.while_watching(partition, making).await.flatten()?;
                self.lanes.of(partition).count_made();
                made
            }
        };
        while let Some(message) = self.lanes.of(partition).first_unsent().cloned() {
            if self.lanes.of(partition).fill_batch() {
                let sent = self.lanes.while_watching(partition, producer.send_batch()).await?;
                sent.map_err(|error| of_pulsar(&self.lanes.sending_to(partition), error))?;
            }
            let sending = producer.send_non_blocking(message);
            let receipt = self.lanes.while_watching(partition, sending).await?;
            let receipt = receipt.map_err(|error| of_pulsar(&self.lanes.sending_to(partition), error))?;
            self.lanes.of(partition).mark_sent(receipt);
        }
        self.lanes.of(partition).give_back(producer);
        Ok(())
    }

    /// Tries once: sends what wasn't sent and waits until at most `left` messages have no receipt.
    async fn push_and_wait(&mut self, partition: u32, left: usize, deadline: Instant) -> Result<(), BusError> {
        self.push(partition).await?;
        let arriving = async {
            if let Some(mut producer) = self.lanes.of(partition).take_producer() {
                // Without it the last batch would wait for its timer; that it arrived is what the receipts tell.
                if let Err(error) = self.lanes.while_watching(partition, producer.send_batch()).await? {
                    tracing::debug!(%error, "the batch is sent by its timer");
                }
                self.lanes.of(partition).give_back(producer);
            }
            self.lanes.shrink(partition, left).await
        };
        let wait = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let arrived = tokio::time::timeout(wait, arriving).await;
        arrived.unwrap_or_else(|_| {
            let text = format!("{}: found no receipt, wanted one", self.lanes.sending_to(partition));
            Err(BusError::new(BusErrorKind::Transient, text))
        })
    }

    /// Works on a lane until `wait_for` more of its messages have their receipts.
    async fn work(&mut self, partition: u32, wait_for: usize) -> Result<(), BusError> {
        let deadline = Instant::now() + self.options.retry_for;
        let mut again = DoublingWait::new(AGAIN_MIN, AGAIN_MAX);
        let left = self.lanes.of(partition).len().saturating_sub(wait_for);
        loop {
            let Err(error) = self.push_and_wait(partition, left, deadline).await else { return Ok(()) };
            self.lanes.start_over(partition, &error);
            if error.kind() == BusErrorKind::Permanent || Instant::now() + again.due() >= deadline {
                return Err(error);
            }
            self.lanes.while_watching(partition, tokio::time::sleep(again.take())).await?;
        }
    }

    fn has_no_room(&self, bytes: usize) -> bool {
        let (messages, held) = self.lanes.unacknowledged();
        messages >= self.options.unacknowledged_max
            || (messages > 0 && held + bytes > self.options.unacknowledged_bytes_max)
    }
}

async fn make_producer(
    client: &Client,
    options: &PulsarSinkOptions,
    partition: u32,
) -> Result<Producer<TokioExecutor>, BusError> {
    let topic = options.topic.partition(partition);
    let compression = match options.compression {
        RecordCompression::None => Compression::None,
        RecordCompression::Lz4 => Compression::Lz4(CompressionLz4::default()),
        RecordCompression::Zstd(level) => Compression::Zstd(CompressionZstd { level }),
    };
    let producer_options = ProducerOptions {
        schema: Some(Schema {
            name: PULSAR_SCHEMA_NAME.into(),
            schema_data: PULSAR_SCHEMA_DEFINITION.as_bytes().to_vec(),
            r#type: schema::Type::Json.into(),
            properties: Vec::new(),
        }),
        batch_size: Some(1000),
        batch_byte_size: Some(BATCH_BYTES),
        batch_timeout: Some(options.batch_delay),
        compression: Some(compression),
        block_queue_if_full: true,
        ..ProducerOptions::default()
    };
    // No name of ours: the broker gives each incarnation one of its own, so that its deduplication can't take the
    // first messages of this one for those of the last.
    let made = client.producer().with_topic(&topic).with_options(producer_options).build().await;
    made.map_err(|error| of_pulsar(&format!("produce to {topic}"), error))
}

#[async_trait::async_trait]
impl EventSink for PulsarSink {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        if message.partition_key.is_empty() {
            return Err(BusError::new(BusErrorKind::Rejected, "found an empty partition key, wanted 1 to 64 bytes"));
        }
        let by_key = partition_of(&message.partition_key, self.partitions);
        let (message, run) = Self::encode(message)?;
        let bytes = message.payload.len() + head_bytes(&message);
        if bytes > self.body_bytes_max {
            let text = format!(
                "found a message of {bytes} bytes, wanted at most {}, what the broker takes",
                self.body_bytes_max
            );
            return Err(BusError::new(BusErrorKind::Rejected, text));
        }
        let partition = match run {
            Some(run) => self.partition_of_run(run, by_key),
            None => by_key,
        };
        while self.has_no_room(bytes) {
            self.work(self.lanes.fullest().unwrap_or(partition), 1).await?;
        }
        self.lanes.of(partition).push(message, bytes);
        // It is accepted: what goes wrong from here on is tried again by the next call.
        if let Err(error) = self.push(partition).await {
            self.lanes.start_over(partition, &error);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        for partition in self.lanes.waiting() {
            self.work(partition, usize::MAX).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn encoded(body: &str) -> (PulsarMessage, Option<String>) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let message =
            OutgoingMessage { partition_key: "cam".into(), properties: BTreeMap::new(), event_time: None, body };
        PulsarSink::encode(message).unwrap()
    }

    #[test]
    fn a_record_goes_out_in_its_envelope_byte_for_byte() {
        let record = r#"{"schema_version":"1.0", "pipeline_run_id":"r1","frame_index":7,"more":"\u00e9"}"#;
        let (message, run) = encoded(record);
        let envelope: Envelope = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!((envelope.payload.as_str(), envelope.frame_index), (record, 7));
        assert_eq!((run.as_deref(), message.partition_key.as_deref()), (Some("r1"), Some("cam")));
        let again = String::from_utf8(message.payload).unwrap();
        assert_eq!(String::from_utf8(encoded(&again).0.payload).unwrap(), again, "an envelope isn't wrapped twice");
    }

    #[test]
    fn what_is_no_record_goes_out_as_it_is() {
        for body in ["", "null", "[1]", "{\"frame_index\":1}", "no json"] {
            let (message, run) = encoded(body);
            assert_eq!((message.payload.as_slice(), run), (body.as_bytes(), None));
        }
    }

    #[test]
    fn the_partition_of_a_key_never_changes() {
        // Values that are written down: another hash would send a camera's next run elsewhere on half-updated machines.
        let found: Vec<_> = ["cam_01", "cam_02", "cam_03", "lobby"].map(|key| partition_of(key, 4)).into();
        assert_eq!(found, [0, 0, 3, 0]);
        assert!((0..1000).map(|i| partition_of(&format!("cam_{i}"), 4)).all(|p| p < 4));
        assert_eq!(partition_of("x", 0), 0);
    }
}

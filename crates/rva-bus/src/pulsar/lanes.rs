//! Messages that a sink accepted for each partition and has no receipt for.

use super::{TopicName, errors::of_pulsar};
use crate::BusError;
use ::pulsar::{
    Producer, TokioExecutor,
    producer::{Message, SendFuture},
};
use futures::FutureExt;
use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

/// The bytes of bodies at which the client sends a batch; a larger message is a batch of its own.
pub(super) const BATCH_BYTES: usize = 128 << 10;

/// The bytes of heads in a batch, keys and properties, at which it is sent.
pub(super) const BATCH_HEAD_BYTES: usize = 32 << 10;

/// The bytes of the protocol that a message and a property need beside their own, at most.
const FRAMING_BYTES: usize = 64;
const PROPERTY_FRAMING_BYTES: usize = 16;

/// Returns the bytes of a message beside its body, as a batch has them.
pub(super) fn head_bytes(message: &Message) -> usize {
    let key = message.partition_key.as_ref().map_or(0, String::len);
    let property = |(name, value): (&String, &String)| name.len() + value.len() + PROPERTY_FRAMING_BYTES;
    FRAMING_BYTES + key + message.properties.iter().map(property).sum::<usize>()
}

/// The sizes of the batch that the client fills. The client itself counts bodies alone, and would make of small bodies
/// with large properties a batch that no broker takes.
#[derive(Debug, Default)]
struct OpenBatch {
    bodies: usize,
    heads: usize,
}

impl OpenBatch {
    /// Notes a message that goes into the batch; returns whether what is in it must be sent first.
    fn add(&mut self, body: usize, head: usize) -> bool {
        let is_full = self.heads > 0 && self.heads + head > BATCH_HEAD_BYTES;
        if is_full {
            *self = Self::default();
        }
        self.bodies += body;
        self.heads += head;
        if self.bodies >= BATCH_BYTES {
            // The client sends it.
            *self = Self::default();
        }
        is_full
    }
}

struct Pending {
    message: Message,
    /// The bytes of its body and its head.
    bytes: usize,
    /// The receipt to come; `None` where the message is to be sent (again).
    receipt: Option<SendFuture>,
}

/// The producer of a partition and its messages in order: at the front those that were sent, behind them those that
/// weren't yet.
#[derive(Default)]
pub(super) struct Lane {
    /// The producer; `None` where it is to be made (anew).
    producer: Option<Producer<TokioExecutor>>,
    open_batch: OpenBatch,
    pending: VecDeque<Pending>,
    /// The number of messages at the back that were not sent.
    unsent: usize,
    bytes: usize,
    acknowledged: u64,
    resent: u64,
    /// The number of producers that were made for it.
    made: u64,
}

impl Lane {
    /// Takes the producer for a caller who works with it and gives it back; after an error the caller doesn't.
    pub(super) fn take_producer(&mut self) -> Option<Producer<TokioExecutor>> {
        self.producer.take()
    }

    pub(super) fn give_back(&mut self, producer: Producer<TokioExecutor>) {
        self.producer = Some(producer);
    }

    /// Counts a producer that was made for it.
    pub(super) fn count_made(&mut self) {
        self.made += 1;
    }

    pub(super) fn push(&mut self, message: Message, bytes: usize) {
        self.pending.push_back(Pending { message, bytes, receipt: None });
        self.unsent += 1;
        self.bytes += bytes;
    }

    /// Returns the number of messages without a receipt.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns the first message that wasn't sent.
    pub(super) fn first_unsent(&self) -> Option<&Message> {
        self.pending.get(self.pending.len() - self.unsent).map(|pending| &pending.message)
    }

    /// Notes that the first message that wasn't sent is about to be; returns whether the batch that is open must be sent
    /// before it.
    pub(super) fn fill_batch(&mut self) -> bool {
        let at = self.pending.len() - self.unsent;
        self.pending.get(at).is_some_and(|Pending { message, bytes, .. }| {
            let body = message.payload.len();
            self.open_batch.add(body, bytes - body)
        })
    }

    /// Notes that the first message that wasn't sent is on its way.
    pub(super) fn mark_sent(&mut self, receipt: SendFuture) {
        let at = self.pending.len() - self.unsent;
        if let Some(pending) = self.pending.get_mut(at) {
            pending.receipt = Some(receipt);
            self.unsent -= 1;
        }
    }

    /// Notes that everything without a receipt is to be sent again, by another producer.
    pub(super) fn start_over(&mut self) {
        self.producer = None;
        self.open_batch = OpenBatch::default();
        self.resent += self.pending.iter_mut().filter_map(|pending| pending.receipt.take()).count() as u64;
        self.unsent = self.pending.len();
    }

    /// Takes receipts from the front, as many as are there; ready with the first one that is an error.
    fn poll_failure(&mut self, context: &mut Context<'_>) -> Poll<::pulsar::Error> {
        while let Some(receipt) = self.pending.front_mut().and_then(|front| front.receipt.as_mut()) {
            match receipt.poll_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(_)) => {
                    let done = self.pending.pop_front();
                    self.bytes -= done.map_or(0, |done| done.bytes);
                    self.acknowledged += 1;
                }
            }
        }
        Poll::Pending
    }
}

/// Counts of a sink's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PulsarSinkCounters {
    /// Messages that the broker acknowledged.
    pub acknowledged: u64,
    /// Messages that were sent once more, since an earlier one or they themselves had no receipt.
    pub resent: u64,
    /// Producers that were made anew after a failure.
    pub reconnects: u64,
}

/// The lanes of all partitions.
///
/// The client sends a batch when it has given up on the one before, so a failure must end its producer before the next
/// batch goes out. That is why a sink waits through [`Lanes::while_watching`] and [`Lanes::shrink`] alone.
pub(super) struct Lanes {
    topic: TopicName,
    lanes: BTreeMap<u32, Lane>,
}

impl Lanes {
    pub(super) fn new(topic: TopicName) -> Self {
        Self { topic, lanes: BTreeMap::new() }
    }

    /// Returns what is being done, as an error says it.
    pub(super) fn sending_to(&self, partition: u32) -> String {
        format!("send to {}", self.topic.partition(partition))
    }

    pub(super) fn of(&mut self, partition: u32) -> &mut Lane {
        self.lanes.entry(partition).or_default()
    }

    /// Returns the partitions that have messages without a receipt.
    pub(super) fn waiting(&self) -> Vec<u32> {
        self.lanes.iter().filter(|(_, lane)| !lane.pending.is_empty()).map(|(partition, _)| *partition).collect()
    }

    /// Returns the partition with the most messages without a receipt.
    pub(super) fn fullest(&self) -> Option<u32> {
        self.lanes.iter().max_by_key(|(_, lane)| lane.pending.len()).map(|(partition, _)| *partition)
    }

    /// Returns the number of messages without a receipt, and their bytes.
    pub(super) fn unacknowledged(&self) -> (usize, usize) {
        self.lanes.values().fold((0, 0), |(messages, bytes), lane| (messages + lane.pending.len(), bytes + lane.bytes))
    }

    pub(super) fn counters(&self) -> PulsarSinkCounters {
        self.lanes.values().fold(PulsarSinkCounters::default(), |sum, lane| PulsarSinkCounters {
            acknowledged: sum.acknowledged + lane.acknowledged,
            resent: sum.resent + lane.resent,
            reconnects: sum.reconnects + lane.made.saturating_sub(1),
        })
    }

    /// Starts a lane over after a failure: everything in it that has no receipt is sent again by another producer.
    pub(super) fn start_over(&mut self, partition: u32, error: &BusError) {
        tracing::warn!(topic = %self.topic, partition, %error, "messages have no receipt: they are sent again");
        self.of(partition).start_over();
    }

    /// Returns the output of `doing`, which is work on `partition`, unless a message of that lane fails before it is
    /// there.
    pub(super) async fn while_watching<T>(
        &mut self,
        partition: u32,
        doing: impl Future<Output = T>,
    ) -> Result<T, BusError> {
        let mut doing = pin!(doing);
        self.watch(partition, |_, context| doing.as_mut().poll(context)).await
    }

    /// Waits until at most `len` messages of a lane have no receipt; returns an error where one of that lane fails.
    pub(super) async fn shrink(&mut self, partition: u32, len: usize) -> Result<(), BusError> {
        let shrunk = |lanes: &mut Self, _: &mut Context<'_>| match lanes.of(partition).len() <= len {
            true => Poll::Ready(()),
            false => Poll::Pending,
        };
        self.watch(partition, shrunk).await
    }

    /// Takes receipts until `ready` is ready. Another lane that fails meanwhile starts over; that of `partition` ends
    /// the wait.
    async fn watch<T>(
        &mut self,
        partition: u32,
        mut ready: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<T, BusError> {
        loop {
            let next = poll_fn(|context| match self.poll_failure(context) {
                Poll::Ready(failure) => Poll::Ready(Err(failure)),
                Poll::Pending => ready(self, context).map(Ok),
            });
            let (failed, error) = match next.await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let error = of_pulsar(&self.sending_to(failed), error);
            if failed == partition {
                return Err(error);
            }
            self.start_over(failed, &error);
        }
    }

    fn poll_failure(&mut self, context: &mut Context<'_>) -> Poll<(u32, ::pulsar::Error)> {
        for (partition, lane) in &mut self.lanes {
            if let Poll::Ready(error) = lane.poll_failure(context) {
                return Poll::Ready((*partition, error));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the sizes of the batches that so many messages become: bodies and heads.
    fn batches(messages: usize, body: usize, head: usize) -> Vec<(usize, usize)> {
        let (mut open, mut batches) = (OpenBatch::default(), vec![(0, 0)]);
        for _ in 0..messages {
            if open.add(body, head) {
                batches.push((0, 0));
            }
            let last = batches.last_mut().unwrap();
            (last.0, last.1) = (last.0 + body, last.1 + head);
            // As the client does.
            if last.0 >= BATCH_BYTES {
                batches.push((0, 0));
            }
        }
        batches.retain(|batch| *batch != (0, 0));
        batches
    }

    #[test]
    fn no_batch_of_small_bodies_has_more_heads_than_an_entry_has_room_for() {
        for (messages, body, head) in [(1_000, 0, 400_000), (1_000, 100, 40_000), (5_000, 0, 124), (20_000, 200, 1_000)]
        {
            let batches = batches(messages, body, head);
            let largest = batches.iter().map(|(_, heads)| *heads).max().unwrap();
            assert!(largest <= BATCH_HEAD_BYTES.max(head), "{largest} of {messages} messages with {head} each");
            assert_eq!(batches.iter().map(|(_, heads)| heads).sum::<usize>(), messages * head);
        }
        assert_eq!(batches(1_000, 0, 400_000).len(), 1_000, "each a batch of its own");
        // Records as they are: bodies decide, as they did.
        assert!(batches(10_000, 2_000, 124).iter().rev().skip(1).all(|(bodies, _)| *bodies >= BATCH_BYTES));
    }
}

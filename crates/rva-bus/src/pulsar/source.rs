//! Reading of a topic: one exclusive consumer for each partition, positioned by what the table holds.

use super::{
    PulsarConnection, TopicName,
    admin::Admin,
    errors::permanent,
    partition::{Partition, Shared},
    wire::{Budget, Wire},
};
use crate::{BusError, BusErrorKind, EventSource, Message, PartitionRange};
use async_recursion::async_recursion as boxed;
use futures::{
    FutureExt,
    future::{join_all, select_all},
};
use rva_types::{OffsetMap, Position};
use std::time::{Duration, Instant};

/// The wait for the next chunk, before a message whose chunks aren't all there is given up at the log's end.
const CHUNKS_WAIT: Duration = Duration::from_secs(2);

/// The settings of a source.
#[derive(Debug, Clone)]
pub struct PulsarSourceOptions {
    /// The topic, which must have been set up.
    pub topic: TopicName,
    /// The subscription that was set up with it.
    pub subscription: String,
    /// The bytes of entries, of all partitions together, that may wait in memory before they are unpacked. Raising it
    /// bridges longer pauses of the reader. Default 32 MiB; at least the broker's largest message fits, alone.
    pub queue_bytes_max: usize,
    /// The most bytes that one entry, or one message in chunks, may unpack to, with what its messages cost in memory. A
    /// larger one is a dead letter. Default 32 MiB.
    pub entry_bytes_max: usize,
    /// The interval at which new partitions are looked for. Default 30 s.
    pub refresh_interval: Duration,
}

impl PulsarSourceOptions {
    /// Makes settings with the defaults.
    pub fn new(topic: TopicName, subscription: impl Into<String>) -> Self {
        Self {
            topic,
            subscription: subscription.into(),
            queue_bytes_max: 32 << 20,
            entry_bytes_max: 32 << 20,
            refresh_interval: Duration::from_secs(30),
        }
    }
}

/// The state of the consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Positioned {
    /// No consumers yet: the first poll makes them, at the oldest messages.
    Never,
    Yes,
    /// No consumers since an error: only a seek makes new ones.
    Lost,
}

/// An [`EventSource`] that reads a partitioned topic.
///
/// A partition's name is its number. Positions are ledger, entry and the index in the entry's batch. The identity is
/// the topic with the random id that its set-up gave it, so a broker that was wiped and set up again is another log.
///
/// Each partition has a connection and a consumer of its own. One that fails is opened again behind what it gave, while
/// the others go on; it is an error of [`poll`](EventSource::poll) when no partition can be read, or for good. After an
/// error the consumers are gone: [`seek`](EventSource::seek) makes new ones. A second source of the same subscription
/// waits in its `seek` until the first one is gone: a standby.
///
/// Its memory is bounded: entries that wait have at most `queue_bytes_max`; one entry at a time is unpacked beyond what
/// was asked for, to at most `entry_bytes_max`; and messages that wait for chunks have twice that in each partition
/// that has any.
pub struct PulsarSource {
    shared: Shared,
    identity: String,
    partitions: Vec<Partition>,
    positioned: Positioned,
    /// The number of partitions that the topic has.
    count: u32,
    /// The partition whose turn it is to be read first.
    turn: usize,
    refreshed: Instant,
    refresh_interval: Duration,
}

impl PulsarSource {
    /// Connects to a topic that was set up.
    ///
    /// # Errors
    /// Returns `Permanent` for a wrong address, token or certificate, or a topic that wasn't set up; `Transient` where
    /// the broker doesn't answer.
    #[boxed]
    pub async fn connect(connection: &PulsarConnection, options: PulsarSourceOptions) -> Result<Self, BusError> {
        let admin = Admin::new(connection)?;
        let PulsarSourceOptions { topic, subscription, queue_bytes_max, entry_bytes_max, refresh_interval } = options;
        let missing = |what: &str| {
            permanent(format!("found no {what} {topic} at {}, wanted one: set it up first", connection.admin_url))
        };
        let count = admin.partitions(&topic).await?.ok_or_else(|| missing("partitioned topic"))?;
        let id = admin.topic_id(&topic).await?.ok_or_else(|| missing("rva.topic_id of"))?;
        let identity = format!("{topic}#{id}");
        let wire = Wire::new(connection, Budget::new(queue_bytes_max))?;
        wire.check().await?;
        let shared = Shared { admin, wire, topic, subscription, entry_bytes_max, share_bytes: queue_bytes_max };
        Ok(Self {
            shared,
            identity,
            partitions: Vec::new(),
            positioned: Positioned::Never,
            count,
            turn: 0,
            refreshed: Instant::now(),
            refresh_interval,
        })
    }

    /// Makes all consumers anew, behind `offsets`. A partition that can't be read now is tried again later, unless it
    /// is another reader's, or for good, or there is no other.
    async fn open_all(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        join_all(self.partitions.iter_mut().map(Partition::close)).await;
        let quiet: Vec<bool> = self.partitions.drain(..).map(|partition| partition.is_quiet()).collect();
        self.positioned = Positioned::Lost;
        self.shared.share_bytes = self.shared.wire.budget_bytes() / (self.count.max(1) as usize);
        let mut failed = None;
        for number in 0..self.count {
            let mut partition = Partition::new(number, offsets.get(&number.to_string()));
            if quiet.get(number as usize).is_some_and(|is_quiet| *is_quiet) {
                partition.renew();
            }
            match partition.open(&self.shared).await {
                Ok(()) => {}
                Err(error) if error.kind() == BusErrorKind::Transient => {
                    partition.fail(&error);
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
            self.partitions.push(partition);
        }
        match failed {
            Some(error) if self.partitions.iter().all(Partition::is_down) => Err(error),
            _ => {
                self.positioned = Positioned::Yes;
                Ok(())
            }
        }
    }

    /// Picks up new partitions.
    async fn refresh(&mut self) -> Result<(), BusError> {
        self.refreshed = Instant::now();
        let found = self.shared.admin.partitions(&self.shared.topic).await?.unwrap_or(0);
        if found < self.count {
            return Err(permanent(format!(
                "found {found} partitions of {}, wanted at least {}: it was deleted or made anew",
                self.shared.topic, self.count
            )));
        }
        while self.count < found {
            let mut partition = Partition::new(self.count, None);
            partition.open(&self.shared).await?;
            self.partitions.push(partition);
            self.count += 1;
        }
        Ok(())
    }

    /// Opens partitions again whose time has come.
    async fn open_again(&mut self) -> Result<(), BusError> {
        for partition in &mut self.partitions {
            if partition.again().is_none_or(|again| again > Instant::now()) {
                continue;
            }
            match partition.open(&self.shared).await {
                Ok(()) => tracing::info!("a partition can be read again"),
                Err(error) if error.kind() == BusErrorKind::Transient => partition.fail(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the messages that are ready, without waiting: first the rest of an entry, then entries of each partition
    /// in turn, from another one each time, so that a full one doesn't starve the others.
    async fn take_ready(&mut self, bytes_max: usize) -> Result<Vec<Message>, BusError> {
        let mut taken = Taken { messages: Vec::new(), bytes: 0, bytes_max };
        for partition in &mut self.partitions {
            if !taken.take(partition) {
                return Ok(taken.messages);
            }
        }
        let all = self.partitions.len();
        for step in 0..all {
            let at = (self.turn + step) % all;
            let is_full = self.take_entries(at, &mut taken).await?;
            if is_full {
                self.turn = (at + 1) % all;
                return Ok(taken.messages);
            }
        }
        self.turn = (self.turn + 1) % all.max(1);
        Ok(taken.messages)
    }

    /// Takes entries of one partition; returns whether there is no room for more. The failure of a partition is its
    /// own.
    async fn take_entries(&mut self, at: usize, taken: &mut Taken) -> Result<bool, BusError> {
        let Some(partition) = self.partitions.get_mut(at) else { return Ok(false) };
        loop {
            match partition.advance(&self.shared).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.kind() == BusErrorKind::Transient => {
                    partition.fail(&error);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            if !taken.take(partition) || taken.is_full() {
                return Ok(true);
            }
        }
    }

    /// Waits until some partition has an entry, or an error, or is to be opened again.
    async fn wait(&mut self, wait: Duration) {
        let again = self.partitions.iter().filter_map(Partition::again).min();
        let again = again.map_or(wait, |again| again.saturating_duration_since(Instant::now()));
        let wait = wait.min(again.max(Duration::from_millis(1)));
        if self.partitions.is_empty() {
            tokio::time::sleep(wait).await;
            return;
        }
        let partitions = self.partitions.iter_mut().map(|partition| partition.wait().boxed());
        // Nothing is done about the end of the time: there is nothing to give.
        let _ = tokio::time::timeout(wait, select_all(partitions)).await;
    }

    async fn poll_partitions(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        let end = Instant::now() + wait;
        loop {
            if self.refreshed.elapsed() >= self.refresh_interval {
                self.refresh().await?;
            }
            self.open_again().await?;
            let entry_bytes_max = self.shared.entry_bytes_max;
            self.partitions.iter_mut().for_each(|partition| partition.expire(false, entry_bytes_max));
            let messages = self.take_ready(bytes_max).await?;
            let left = end.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok(messages);
            }
            if !self.partitions.is_empty() && self.partitions.iter().all(Partition::is_down) {
                let text = format!("read {}: found no partition that can be read", self.shared.topic);
                return Err(BusError::new(BusErrorKind::Transient, text));
            }
            let until_refresh = self.refresh_interval.saturating_sub(self.refreshed.elapsed());
            self.wait(left.min(until_refresh.max(Duration::from_millis(1)))).await;
        }
    }

    /// Waits a moment for chunks that are still to come; then their messages are given up. Asked for its end, a log
    /// must say where that is, and half a message doesn't move it.
    async fn settle_chunks(&mut self) {
        let mut end = Instant::now() + CHUNKS_WAIT;
        while self.partitions.iter().any(Partition::has_open_chunks) && Instant::now() < end {
            let mut came = false;
            for partition in &mut self.partitions {
                match partition.advance(&self.shared).await {
                    Ok(any) => came |= any,
                    Err(error) => partition.fail(&error),
                }
            }
            match came {
                true => end = Instant::now() + CHUNKS_WAIT,
                false => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            let entry_bytes_max = self.shared.entry_bytes_max;
            self.partitions.iter_mut().for_each(|partition| partition.expire(false, entry_bytes_max));
        }
        let entry_bytes_max = self.shared.entry_bytes_max;
        self.partitions.iter_mut().for_each(|partition| partition.expire(true, entry_bytes_max));
    }

    /// Returns the last message of a partition, as its consumer may get it: markers at the end of the log are none.
    /// Without a consumer it is the last entry.
    async fn last(&mut self, number: u32, last_entry: Option<Position>) -> Result<Option<Position>, BusError> {
        let Some(partition) = self.partitions.get_mut(number as usize) else { return Ok(last_entry) };
        let Some(consumer) = partition.consumer() else { return Ok(last_entry) };
        let (ledger, entry, batch_index) = match consumer.last_message().await {
            Ok(Some(last)) => last,
            Ok(None) => return Ok(None),
            // A broker that is moving the partition may never answer: another consumer asks again.
            Err(error) if error.kind() == BusErrorKind::Transient => {
                partition.fail(&error);
                return Ok(last_entry);
            }
            Err(error) => return Err(error),
        };
        let last = Position { ledger, entry, batch_index };
        // Something may have come between the two questions.
        match last_entry.map(|entry| entry.min(last)) {
            Some(last) => Ok(partition.end(last, &self.shared).await),
            None => Ok(None),
        }
    }
}

/// Returns the position of an acknowledged entry; entry -1 is all before its ledger.
fn up_to((ledger, entry): (i64, i64)) -> Option<Position> {
    let ledger = u64::try_from(ledger).ok()?;
    match u64::try_from(entry) {
        Ok(entry) => Some(Position { ledger, entry, batch_index: -1 }),
        Err(_) => ledger.checked_sub(1).map(Position::end_of_ledger),
    }
}

/// The messages that a poll gives, and their bound.
struct Taken {
    messages: Vec<Message>,
    bytes: usize,
    bytes_max: usize,
}

impl Taken {
    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Takes the messages that a partition has ready; returns whether those were all.
    fn take(&mut self, partition: &mut Partition) -> bool {
        let ready = partition.ready();
        while let Some(message) = ready.front() {
            let bytes = message.memory_bytes();
            if !self.messages.is_empty() && self.bytes + bytes > self.bytes_max {
                return false;
            }
            self.bytes += bytes;
            self.messages.extend(ready.pop_front());
        }
        true
    }
}

#[async_trait::async_trait]
impl EventSource for PulsarSource {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        let topic = &self.shared.topic;
        let found = self.shared.admin.topic_id(topic).await?.unwrap_or_default();
        if self.identity != format!("{topic}#{found}") {
            return Err(permanent(format!(
                "found another topic under the name {topic} (id {found}), wanted {}: it was deleted and made anew",
                self.identity
            )));
        }
        self.settle_chunks().await;
        let topic = self.shared.topic.to_string();
        let mut ranges = Vec::new();
        for partition in 0..self.count {
            let Shared { admin, topic: name, subscription, .. } = &self.shared;
            let state = admin.state(name, partition, subscription).await?;
            ranges.push(PartitionRange {
                partition: partition.to_string().into(),
                topic: (topic.clone(), i32::try_from(partition).unwrap_or(i32::MAX)),
                first: state.first,
                last: self.last(partition, state.last).await?,
                next: state.next,
                skipped_to: state.acknowledged.and_then(up_to),
            });
        }
        ranges.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(ranges)
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        self.count = self.shared.admin.partitions(&self.shared.topic).await?.unwrap_or(0).max(self.count);
        let ranges = self.partitions().await?;
        for (partition, position) in offsets.iter() {
            let range = ranges.iter().find(|range| range.partition == *partition);
            if range.is_none_or(|range| range.next <= position) {
                let last = range.and_then(|range| range.last);
                let last = last.map_or("nothing".to_owned(), |last| format!("{last} as its last record"));
                return Err(permanent(format!(
                    "log shortened: found {last} in partition {partition:?} of {}, wanted the position {position} to go on behind",
                    self.shared.topic
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
        let result = self.poll_partitions(bytes_max, wait).await;
        if result.is_err() {
            self.partitions.clear();
            self.positioned = Positioned::Lost;
        }
        result
    }

    async fn acknowledge(&mut self, committed: &OffsetMap) -> Result<(), BusError> {
        let asked = committed.iter().filter_map(|(partition, position)| {
            let partition = self.partitions.get(partition.parse::<usize>().ok()?)?;
            // Whole entries only: the broker takes one message of a batch for all of it. And never the last one: a
            // broker deletes whole ledgers, and only those that every subscription is through with. So the ledger of
            // the position stays, and with it the proof that nothing behind the position was deleted.
            let entry = position.entry.checked_sub(1).filter(|_| !position.is_end_of_ledger())?;
            Some(async move {
                match partition.consumer() {
                    Some(consumer) => consumer.acknowledge(position.ledger, entry).await,
                    None => Err(BusError::new(BusErrorKind::Transient, "found no consumer to acknowledge with")),
                }
            })
        });
        // It is a hint, and the next one goes further; but whoever counts wants to know.
        join_all(asked).await.into_iter().collect()
    }
}

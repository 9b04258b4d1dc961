//! A log in memory: the fake of both seams, with faults that a test can order.

use rva_bus::{BusError, BusErrorKind, EventSink, EventSource, Message, OutgoingMessage, PartitionRange};
use rva_types::{OffsetMap, PartitionName, Position, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A fault that happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryFault {
    /// Lets the next send fail; the message isn't accepted.
    Send(BusErrorKind),
    /// Lets the next flush fail; accepted messages stay at risk.
    Flush(BusErrorKind),
    /// Lets the next poll fail.
    Poll(BusErrorKind),
    /// Lets the next poll wait and give nothing, though there is something.
    Silence,
    /// Lets the next poll give each message twice, at the same position.
    Duplicate,
    /// Lets the next poll start so many records earlier, in each partition, as a source does that reconnected.
    Redeliver(u64),
    /// Loses the next acknowledgement without an error.
    LoseAcknowledge,
}

#[derive(Default)]
struct Partition {
    /// The number of the first record that is still there.
    first: u64,
    records: VecDeque<(Timestamp, OutgoingMessage)>,
    durable: u64,
}

impl Partition {
    fn last(&self) -> u64 {
        self.first - 1 + self.records.len() as u64
    }
}

struct Shared {
    identity: String,
    partitions: BTreeMap<PartitionName, Partition>,
    acknowledged: OffsetMap,
    faults: VecDeque<MemoryFault>,
    now: Timestamp,
}

/// A log in memory: an [`EventSink`] and an [`EventSource`]. Clones share the records and the faults; each has a
/// position of its own.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Mutex<Shared>>,
    identity: String,
    next: BTreeMap<PartitionName, u64>,
    /// The number of looks so far: each begins with another partition.
    looks: usize,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new("memory")
    }
}

impl MemoryLog {
    /// Makes an empty log of an identity.
    pub fn new(identity: impl Into<String>) -> Self {
        let identity = identity.into();
        let shared = Shared {
            identity: identity.clone(),
            partitions: BTreeMap::new(),
            acknowledged: OffsetMap::new(),
            faults: VecDeque::new(),
            now: Timestamp::from_micros(0),
        };
        Self { shared: Arc::new(Mutex::new(shared)), identity, next: BTreeMap::new(), looks: 0 }
    }

    /// Orders a fault; several wait in order, and each call of its kind takes the first one.
    pub fn inject(&self, fault: MemoryFault) {
        self.lock().faults.push_back(fault);
    }

    /// Returns the number of ordered faults that haven't happened yet.
    pub fn faults_left(&self) -> usize {
        self.lock().faults.len()
    }

    /// Sets the time that records get from now on.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().now = now;
    }

    /// Returns the positions that were acknowledged.
    pub fn acknowledged(&self) -> OffsetMap {
        self.lock().acknowledged.clone()
    }

    /// Loses the records that weren't flushed, as a loss of power does; their numbers are used again.
    pub fn lose_power(&self) {
        for partition in self.lock().partitions.values_mut() {
            let keep = (partition.durable + 1).saturating_sub(partition.first);
            partition.records.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        }
    }

    /// Cuts durable records off the end, as no log should: the partition ends with `last` afterwards.
    pub fn shorten(&self, partition: &str, last: u64) {
        if let Some(partition) = self.lock().partitions.get_mut(partition) {
            let keep = (last + 1).saturating_sub(partition.first);
            partition.records.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            partition.durable = partition.durable.min(last);
        }
    }

    /// Removes the records before `first`, as retention does.
    pub fn remove_before(&self, partition: &str, first: u64) {
        if let Some(partition) = self.lock().partitions.get_mut(partition) {
            while partition.first < first && partition.records.pop_front().is_some() {
                partition.first += 1;
            }
        }
    }

    /// Makes the log anew: empty, with another identity. Clones that are taken afterwards have it.
    pub fn recreate(&mut self, identity: impl Into<String>) {
        self.identity = identity.into();
        self.next.clear();
        let mut shared = self.lock();
        shared.identity = self.identity.clone();
        shared.partitions.clear();
        shared.acknowledged = OffsetMap::new();
    }

    /// Returns a reader of this log, at its oldest records.
    pub fn reader(&self) -> Self {
        let identity = self.lock().identity.clone();
        Self { shared: self.shared.clone(), identity, next: BTreeMap::new(), looks: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&mut self, bytes_max: usize) -> Result<Vec<Message>, BusError> {
        let shared = self.shared.clone();
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(back) = shared.take(|fault| match fault {
            MemoryFault::Redeliver(back) => Some(*back),
            _ => None,
        }) {
            self.next.values_mut().for_each(|next| *next = next.saturating_sub(back).max(1));
        }
        let mut messages: Vec<Message> = Vec::new();
        let mut bytes = 0;
        // From another partition each time: a full one must not starve the others.
        let turn = self.looks.checked_rem(shared.partitions.len()).unwrap_or(0);
        self.looks = self.looks.wrapping_add(1);
        let (later, first): (Vec<_>, Vec<_>) = shared.partitions.iter().enumerate().partition(|(at, _)| *at < turn);
        for (_, (name, partition)) in first.into_iter().chain(later) {
            let next = self.next.entry(name.clone()).or_insert(partition.first);
            if *next < partition.first {
                let text = format!(
                    "log starts after our position: found record {} as the first of partition {name:?}, wanted record {next}",
                    partition.first
                );
                return Err(BusError::new(BusErrorKind::Permanent, text));
            }
            while *next <= partition.durable {
                let index = usize::try_from(*next - partition.first).unwrap_or(usize::MAX);
                let Some((publish_ts, record)) = partition.records.get(index) else { break };
                let message = Message {
                    partition: name.clone(),
                    position: Position::of_record(*next),
                    ends_entry: true,
                    follows: None,
                    rejected: None,
                    publish_ts: *publish_ts,
                    properties: record.properties.clone(),
                    body: record.body.clone(),
                };
                if !messages.is_empty() && bytes + message.memory_bytes() > bytes_max {
                    break;
                }
                bytes += message.memory_bytes();
                messages.push(message);
                *next += 1;
            }
        }
        if !messages.is_empty() && shared.takes(&MemoryFault::Duplicate) {
            messages = messages.into_iter().flat_map(|message| [message.clone(), message]).collect();
        }
        Ok(messages)
    }
}

impl Shared {
    fn take<T>(&mut self, wanted: impl Fn(&MemoryFault) -> Option<T>) -> Option<T> {
        let (at, found) = self.faults.iter().enumerate().find_map(|(at, fault)| Some((at, wanted(fault)?)))?;
        self.faults.remove(at);
        Some(found)
    }

    fn takes(&mut self, wanted: &MemoryFault) -> bool {
        self.take(|fault| (fault == wanted).then_some(())).is_some()
    }

    fn fail(&mut self, call: &str, wanted: impl Fn(&MemoryFault) -> Option<BusErrorKind>) -> Result<(), BusError> {
        match self.take(wanted) {
            Some(kind) => Err(BusError::new(kind, format!("injected fault: {call} failed"))),
            None => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl EventSink for MemoryLog {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        let mut shared = self.lock();
        shared.fail("send", |fault| if let MemoryFault::Send(kind) = fault { Some(*kind) } else { None })?;
        if message.partition_key.is_empty() {
            return Err(BusError::new(BusErrorKind::Rejected, "found an empty partition key, wanted 1 to 64 bytes"));
        }
        let now = shared.now;
        let partition = shared.partitions.entry(message.partition_key.as_str().into()).or_default();
        partition.first = partition.first.max(1);
        partition.records.push_back((now, message));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        let mut shared = self.lock();
        shared.fail("flush", |fault| if let MemoryFault::Flush(kind) = fault { Some(*kind) } else { None })?;
        for partition in shared.partitions.values_mut() {
            partition.durable = partition.last();
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl EventSource for MemoryLog {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        let range = |(name, partition): (&PartitionName, &Partition)| PartitionRange {
            skipped_to: None,
            partition: name.clone(),
            topic: (format!("embedded/{name}"), 0),
            first: (partition.first <= partition.durable).then(|| Position::of_record(partition.first)),
            last: (partition.durable > 0).then(|| Position::of_record(partition.durable)),
            next: Position::of_record(partition.durable + 1),
        };
        Ok(self.lock().partitions.iter().map(range).collect())
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        for (name, position) in offsets.iter() {
            let durable = self.lock().partitions.get(name).map_or(0, |partition| partition.durable);
            if durable < position.entry {
                let text = format!(
                    "log shortened: found record {durable} as the last of partition {name:?}, wanted the position {position} to go on behind"
                );
                return Err(BusError::new(BusErrorKind::Permanent, text));
            }
        }
        self.next =
            offsets.iter().map(|(name, position)| (name.to_owned(), position.entry.saturating_add(1))).collect();
        Ok(())
    }

    async fn poll(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        let silent = {
            let mut shared = self.lock();
            shared.fail("poll", |fault| if let MemoryFault::Poll(kind) = fault { Some(*kind) } else { None })?;
            shared.takes(&MemoryFault::Silence)
        };
        if silent {
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        loop {
            let messages = self.look(bytes_max)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok(messages);
            }
            tokio::time::sleep(left.min(Duration::from_millis(5))).await;
        }
    }

    async fn acknowledge(&mut self, committed: &OffsetMap) -> Result<(), BusError> {
        let mut shared = self.lock();
        if !shared.takes(&MemoryFault::LoseAcknowledge) {
            shared.acknowledged = shared.acknowledged.merged(committed);
        }
        Ok(())
    }
}

//! A log whose contents and acknowledgements the checker knows.

use crate::{
    faults::{Fault, Faults},
    tables::Key,
};
use bytes::Bytes;
use rva_bus::{BusError, BusErrorKind, EventSource, Message, PartitionRange};
use rva_types::{OffsetMap, Position, Timestamp, decode_message};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

#[derive(Debug, Clone)]
struct Record {
    position: Position,
    ends_entry: bool,
    properties: BTreeMap<String, String>,
    body: Bytes,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<String, Vec<Record>>,
    /// For each partition how many records retention has removed.
    removed: BTreeMap<String, usize>,
    /// Remove what is acknowledged at once, so that an early acknowledgement is a loss.
    forgets: bool,
    acknowledged: OffsetMap,
    /// The record that a stream left out last. Left out again after reading began anew, it is lost to whoever reads.
    left_out: Option<(String, usize)>,
    violations: Vec<(&'static str, String)>,
}

/// The log of one seed. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct SimLog {
    state: Arc<Mutex<State>>,
}

impl SimLog {
    pub fn new(forgets: bool) -> Self {
        let log = Self::default();
        log.state().forgets = forgets;
        log
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Appends an entry of one or more messages.
    pub fn append(&self, partition: &str, batched: bool, bodies: Vec<String>) {
        self.append_messages(
            partition,
            batched,
            bodies.into_iter().map(|body| (BTreeMap::new(), body.into())).collect(),
        );
    }

    /// Appends an entry of one or more messages with properties.
    pub fn append_messages(&self, partition: &str, batched: bool, messages: Vec<(BTreeMap<String, String>, Bytes)>) {
        let mut state = self.state();
        let records = state.partitions.entry(partition.to_owned()).or_default();
        let entry = records.last().map_or(1, |record| record.position.entry + 1);
        let count = messages.len();
        for (index, (properties, body)) in messages.into_iter().enumerate() {
            let position = match batched {
                true => Position { ledger: 7, entry, batch_index: index as i32 },
                false => Position::of_record(entry + index as u64),
            };
            let ends_entry = !batched || index + 1 == count;
            records.push(Record { position, ends_entry, properties, body });
        }
    }

    pub fn end(&self) -> OffsetMap {
        let mut end = OffsetMap::new();
        for (partition, records) in &self.state().partitions {
            if let Some(last) = records.last() {
                end.advance(partition, last.position);
            }
        }
        end
    }

    /// Keys of the valid events up to `offsets`, and (partition, message id) of the others: what is no event, and what
    /// has another payload than the first of its key. A camera's events lie in one partition, so its order says which
    /// is first.
    pub fn contents(&self, offsets: &OffsetMap) -> (BTreeSet<Key>, BTreeSet<(String, String)>) {
        let (mut firsts, mut bad) = (BTreeMap::new(), BTreeSet::new());
        for (partition, records) in &self.state().partitions {
            for record in records.iter().filter(|record| offsets.includes(partition, record.position)) {
                match decode_message(&record.body, &BTreeMap::new()) {
                    Ok(event) => {
                        let key = event.key;
                        let key = (key.run.to_string(), key.camera.to_string(), key.frame_index);
                        if *firsts.entry(key).or_insert_with(|| event.payload.clone()) != event.payload {
                            bad.insert((partition.clone(), record.position.to_string()));
                        }
                    }
                    Err(_) => {
                        bad.insert((partition.clone(), record.position.to_string()));
                    }
                }
            }
        }
        (firsts.into_keys().collect(), bad)
    }

    /// I3: whether every position of a map is the end of an entry.
    pub fn ends_entries(&self, offsets: &OffsetMap) -> bool {
        let state = self.state();
        offsets.iter().all(|(partition, position)| {
            state
                .partitions
                .get(partition.as_str())
                .is_some_and(|records| records.iter().any(|record| record.position == position && record.ends_entry))
        })
    }

    pub fn violations(&self) -> Vec<(&'static str, String)> {
        self.state().violations.clone()
    }

    pub fn source(&self, faults: Faults, committed: CommittedMap, bytes_held_max: usize) -> SimSource {
        SimSource {
            log: self.clone(),
            faults,
            committed,
            next: BTreeMap::new(),
            high: BTreeMap::new(),
            held: 0,
            bytes_held_max,
            missing: None,
            polls: 0,
        }
    }
}

/// Reads the table's map from the catalog, around all faults.
pub type CommittedMap = Arc<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = OffsetMap> + Send>> + Send + Sync>;

pub struct SimSource {
    log: SimLog,
    faults: Faults,
    committed: CommittedMap,
    next: BTreeMap<String, usize>,
    /// How far each partition was handed out since the last seek: what comes again is not held twice.
    high: BTreeMap<String, usize>,
    /// Bytes handed out since the last seek or acknowledgement.
    held: usize,
    bytes_held_max: usize,
    /// A record that this stream leaves out until it seeks.
    missing: Option<(String, usize)>,
    /// Each poll begins with another partition: a full one must not starve the others.
    polls: usize,
}

const TOPIC: &str = "embedded/";

#[async_trait::async_trait]
impl EventSource for SimSource {
    fn identity(&self) -> &str {
        "log-of-the-simulation"
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        self.faults.alive().await;
        let state = self.log.state();
        let range = |(partition, records): (&String, &Vec<Record>)| PartitionRange {
            skipped_to: None,
            partition: partition.as_str().into(),
            topic: (format!("{TOPIC}{partition}"), 0),
            first: records.get(state.removed.get(partition).copied().unwrap_or(0)).map(|record| record.position),
            last: records.last().map(|record| record.position),
            next: records.last().map_or(Position::of_record(1), |record| Position {
                entry: record.position.entry + 1,
                batch_index: -1,
                ..record.position
            }),
        };
        Ok(state.partitions.iter().map(range).collect())
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        self.faults.alive().await;
        let state = self.log.state();
        for (partition, position) in offsets.iter() {
            let last = state.partitions.get(partition.as_str()).and_then(|records| records.last());
            let last = last.map_or(Position::of_record(0), |record| record.position);
            if (last.ledger, last.entry) < (position.ledger, position.entry) {
                let text = format!("log shortened: found {last} as the last of {partition}, wanted {position}");
                return Err(BusError::new(BusErrorKind::Permanent, text));
            }
        }
        self.held = 0;
        self.high.clear();
        self.missing = None;
        self.next = state
            .partitions
            .iter()
            .map(|(partition, records)| {
                let behind = records.iter().filter(|record| offsets.includes(partition, record.position)).count();
                (partition.clone(), behind.max(state.removed.get(partition).copied().unwrap_or(0)))
            })
            .collect();
        Ok(())
    }

    async fn poll(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        use Fault::*;
        self.faults.alive().await;
        match self.faults.roll(Some("poll"), 0.08, &[StreamError, Silence, Redelivery, LeftOut]) {
            Some(StreamError) => return Err(BusError::new(BusErrorKind::Transient, "simulated: stream broke off")),
            Some(Silence) => return Ok(Vec::new()),
            Some(Redelivery) => self.go_back(),
            Some(_) => self.leave_one_out(),
            None => {}
        }
        let began = Instant::now();
        let mut messages = self.take(bytes_max);
        while messages.is_empty() && began.elapsed() < wait {
            tokio::time::sleep(Duration::from_millis(2)).await;
            messages = self.take(bytes_max);
        }
        if self.held > self.bytes_held_max {
            let text = format!("{} bytes read and not committed, wanted at most {}", self.held, self.bytes_held_max);
            self.log.state().violations.push(("I10", text));
        }
        Ok(messages)
    }

    async fn acknowledge(&mut self, acknowledged: &OffsetMap) -> Result<(), BusError> {
        self.faults.alive().await;
        let committed = (self.committed)().await;
        let beyond = acknowledged.iter().find(|(partition, position)| !committed.includes(partition, *position));
        if let Some((partition, position)) = beyond {
            let text = format!("{partition} acknowledged up to {position}, committed {}", committed.to_json());
            self.log.state().violations.push(("I5", text));
        }
        self.held = 0;
        if self.faults.roll(Some("acknowledge"), 0.1, &[Fault::AckLost]).is_some() {
            return match self.faults.pick(2) {
                0 => Ok(()),
                _ => Err(BusError::new(BusErrorKind::Transient, "simulated: acknowledgement lost")),
            };
        }
        let mut state = self.log.state();
        state.acknowledged = state.acknowledged.merged(acknowledged);
        if state.forgets {
            let State { partitions, removed, acknowledged, .. } = &mut *state;
            for (partition, records) in partitions {
                let gone = records.iter().filter(|record| acknowledged.includes(partition, record.position)).count();
                removed.insert(partition.clone(), gone);
            }
        }
        Ok(())
    }
}

impl SimSource {
    /// Takes a few messages that are there, about so many bytes.
    fn take(&mut self, bytes_max: usize) -> Vec<Message> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let state = self.log.state();
        let few = 1 + self.faults.pick(8);
        let turn = self.polls.checked_rem(state.partitions.len()).unwrap_or(0);
        self.polls += 1;
        for (partition, records) in state.partitions.iter().skip(turn).chain(state.partitions.iter().take(turn)) {
            let next = self.next.entry(partition.clone()).or_default();
            while let Some(record) = records.get(*next) {
                let message = Message {
                    partition: partition.as_str().into(),
                    position: record.position,
                    ends_entry: record.ends_entry,
                    follows: None,
                    rejected: None,
                    publish_ts: Timestamp::from_micros(1),
                    properties: record.properties.clone(),
                    body: record.body.clone(),
                };
                if messages.len() >= few || (bytes > 0 && bytes + message.memory_bytes() > bytes_max) {
                    break;
                }
                *next += 1;
                if self.missing.as_ref() == Some(&(partition.clone(), *next - 1)) {
                    continue;
                }
                bytes += message.memory_bytes();
                let high = self.high.entry(partition.clone()).or_default();
                if *next > *high {
                    *high = *next;
                    self.held += message.body.len();
                }
                messages.push(message);
            }
        }
        messages
    }

    /// Sends again, from the start of an entry that was sent before.
    fn go_back(&mut self) {
        let state = self.log.state();
        for (partition, next) in &mut self.next {
            let records = &state.partitions[partition];
            let removed = state.removed.get(partition).copied().unwrap_or(0);
            let mut to = next.saturating_sub(1 + self.faults.pick(6)).max(removed);
            while to > removed && !records[to - 1].ends_entry {
                to -= 1;
            }
            *next = to;
        }
    }

    fn leave_one_out(&mut self) {
        let Some((partition, next)) = self.next.iter().next() else { return };
        let record = Some((partition.clone(), *next));
        let mut state = self.log.state();
        if state.left_out != record {
            state.left_out.clone_from(&record);
            self.missing = record;
        }
    }
}

//! A table in memory that keeps the contract of [`TableSink`], with faults, to test those who write to one.

use rva_lake::{Batch, BronzeRow, CommitOutcome, LakeError, LakeErrorKind, ResumePoint, TableSink};
use rva_types::{DeadLetter, OffsetMap};
use std::collections::{HashMap, VecDeque, hash_map::Entry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A row with a key, which makes two rows the same.
pub trait KeyedRow: Clone + Send + 'static {
    /// Returns the key as text; it is equal only for rows of the same event or message.
    fn key(&self) -> String;

    /// Returns what may not differ under one key; nothing where the key says it all.
    fn contents(&self) -> &str {
        ""
    }
}

impl KeyedRow for BronzeRow {
    fn key(&self) -> String {
        let key = &self.event.key;
        format!("{:?} {:?} {}", key.run.as_str(), key.camera.as_str(), key.frame_index)
    }

    fn contents(&self) -> &str {
        &self.event.payload
    }
}

impl KeyedRow for DeadLetter {
    fn key(&self) -> String {
        format!("{:?} {} {:?}", self.topic, self.partition, self.message_id)
    }
}

/// A fault that happens to a call instead of, or besides, what it asks for. Each is used up by one call of `commit`,
/// but `ResumeFails` by one of `resume_point`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFault {
    /// Returns a transient error; nothing was applied.
    RequestLost,
    /// Returns a transient error; the batch was applied.
    ResponseLost,
    /// Returns an error of this kind before anything was sent.
    Refused(LakeErrorKind),
    /// Lets reading the resume point fail once, transiently.
    ResumeFails,
}

#[derive(Debug, Clone, Default)]
struct Committed {
    source: Option<String>,
    offsets: OffsetMap,
    sequence: u64,
    rows: usize,
    id: u64,
}

#[derive(Debug)]
struct Shared<Row> {
    rows: Vec<Row>,
    /// The contents by key.
    keys: HashMap<String, String>,
    lineage: Vec<Committed>,
    highest_sequence: u64,
    faults: VecDeque<MemoryFault>,
    commits_asked: u64,
}

impl<Row> Shared<Row> {
    fn head(&self) -> Committed {
        self.lineage.last().cloned().unwrap_or_default()
    }

    /// Returns the places of rows whose key the table, or an earlier one of them, has with other contents.
    fn conflicts(&self, rows: &[Row]) -> Vec<usize>
    where
        Row: KeyedRow,
    {
        let mut new: HashMap<String, &str> = HashMap::new();
        let mut conflicts = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let key = row.key();
            let first = self.keys.get(&key).map(String::as_str).or_else(|| new.get(&key).copied());
            match first {
                Some(first) if first != row.contents() => conflicts.push(at),
                Some(_) => {}
                None => {
                    new.insert(key, row.contents());
                }
            }
        }
        conflicts
    }

    fn resume_point(&self) -> ResumePoint {
        let head = self.head();
        let rolled_back_from = (self.highest_sequence > head.sequence).then_some(self.highest_sequence);
        ResumePoint { source: head.source, offsets: head.offsets, sequence: head.sequence, rolled_back_from }
    }
}

/// A table in memory. Clones are the same table.
#[derive(Debug, Clone)]
pub struct MemoryTable<Row> {
    shared: Arc<Mutex<Shared<Row>>>,
}

impl<Row: KeyedRow> Default for MemoryTable<Row> {
    fn default() -> Self {
        let shared = Shared {
            rows: Vec::new(),
            keys: HashMap::new(),
            lineage: Vec::new(),
            highest_sequence: 0,
            faults: VecDeque::new(),
            commits_asked: 0,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }
}

impl<Row: KeyedRow> MemoryTable<Row> {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared<Row>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a sink of its own, as another process would have one.
    pub fn sink(&self) -> MemorySink<Row> {
        MemorySink { table: self.clone(), pending: None }
    }

    /// Returns the rows in the order in which they were appended.
    pub fn rows(&self) -> Vec<Row> {
        self.lock().rows.clone()
    }

    /// Returns the number of calls of `commit` that were not empty, the failed ones too.
    pub fn commits_asked(&self) -> u64 {
        self.lock().commits_asked
    }

    /// Orders faults for the next calls, in order.
    pub fn inject(&self, faults: impl IntoIterator<Item = MemoryFault>) {
        self.lock().faults.extend(faults);
    }

    /// Rolls the table back to the state after commit `sequence`; 0 is the empty table.
    pub fn roll_back_to(&self, sequence: u64) {
        let mut shared = self.lock();
        shared.lineage.retain(|commit| commit.sequence <= sequence);
        let rows = shared.head().rows;
        shared.rows.truncate(rows);
        shared.keys = shared.rows.iter().map(|row| (row.key(), row.contents().to_owned())).collect();
    }
}

/// A sink into a [`MemoryTable`].
#[derive(Debug)]
pub struct MemorySink<Row> {
    table: MemoryTable<Row>,
    /// The batch whose outcome is unknown: its start and end, its id, and its counts.
    pending: Option<(OffsetMap, OffsetMap, u64, CommitOutcome)>,
}

fn transient(text: &str) -> LakeError {
    LakeError::new(LakeErrorKind::Transient, text)
}

#[async_trait::async_trait]
impl<Row: KeyedRow + Sync> TableSink<Row> for MemorySink<Row> {
    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError> {
        let mut shared = self.table.lock();
        if shared.faults.front() == Some(&MemoryFault::ResumeFails) {
            shared.faults.pop_front();
            return Err(transient("could not load the table: injected"));
        }
        Ok(shared.resume_point())
    }

    async fn commit(&mut self, batch: &Batch<Row>) -> Result<CommitOutcome, LakeError> {
        if batch.rows.is_empty() && batch.from == batch.to {
            return Ok(CommitOutcome::Committed { rows_appended: 0, rows_known: 0 });
        }
        let mut shared = self.table.lock();
        shared.commits_asked += 1;
        if let Some((from, to, id, outcome)) = self.pending.take()
            && (from, to) == (batch.from.clone(), batch.to.clone())
            && shared.lineage.iter().any(|commit| commit.id == id)
        {
            return Ok(outcome);
        }
        let fault = match shared.faults.front() {
            None | Some(MemoryFault::ResumeFails) => None,
            Some(_) => shared.faults.pop_front(),
        };
        if let Some(MemoryFault::Refused(kind)) = fault {
            return Err(LakeError::new(kind, "could not commit: injected"));
        }
        let head = shared.head();
        let moved: Vec<_> =
            batch.to.iter().filter(|(partition, position)| batch.from.get(partition) != Some(*position)).collect();
        if moved.iter().any(|(partition, _)| head.offsets.get(partition) != batch.from.get(partition)) {
            return Ok(CommitOutcome::Fenced(shared.resume_point()));
        }
        if let Some(held) = head.source.as_ref().filter(|held| **held != batch.source) {
            let text = format!("found a batch of source {:?}, wanted {held:?}", batch.source);
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
        let conflicts = shared.conflicts(&batch.rows);
        if !conflicts.is_empty() {
            return Ok(CommitOutcome::Conflicting(conflicts));
        }
        if fault == Some(MemoryFault::RequestLost) {
            return Err(transient("could not commit: the request was lost"));
        }
        let mut offsets = head.offsets;
        for (partition, position) in moved {
            offsets.advance(partition, position);
        }
        let before = shared.rows.len();
        for row in &batch.rows {
            if let Entry::Vacant(vacant) = shared.keys.entry(row.key()) {
                vacant.insert(row.contents().to_owned());
                shared.rows.push(row.clone());
            }
        }
        let appended = shared.rows.len() - before;
        shared.highest_sequence += 1;
        let (sequence, rows) = (shared.highest_sequence, shared.rows.len());
        let id = shared.commits_asked;
        shared.lineage.push(Committed { source: Some(batch.source.clone()), offsets, sequence, rows, id });
        let outcome = CommitOutcome::Committed {
            rows_appended: appended as u64,
            rows_known: (batch.rows.len() - appended) as u64,
        };
        if fault == Some(MemoryFault::ResponseLost) {
            self.pending = Some((batch.from.clone(), batch.to.clone(), id, outcome));
            return Err(transient("could not commit: the response was lost"));
        }
        Ok(outcome)
    }

    async fn holds(&mut self, rows: &[Row]) -> Result<Vec<bool>, LakeError> {
        let shared = self.table.lock();
        Ok(rows.iter().map(|row| shared.keys.contains_key(&row.key())).collect())
    }
}

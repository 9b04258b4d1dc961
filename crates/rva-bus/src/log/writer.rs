//! The writer, which accepts records, and a thread of its own that syncs them in groups.

use super::{
    backlog::{self, Held, LogBacklog},
    folder::{self, io_error, permanent},
    options::LogOptions,
    partition::{self, Partition},
    retention,
    scan::LINE_BYTES_MAX,
    state::{LogCounters, State},
};
use crate::{BusError, BusErrorKind, EventSink, OutgoingMessage};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    thread::JoinHandle,
    time::Instant,
};
use tokio::sync::oneshot;

/// A tail that was cut when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutTail {
    /// The segment's file.
    pub file: PathBuf,
    /// The offset at which it ends now, in bytes.
    pub offset: u64,
    /// The number of bytes that are gone, later segments included.
    pub bytes_cut: u64,
    /// The number of whole records among them, never seen by a reader; their bytes are in `SEGMENT.cut-OFFSET`.
    pub records_cut: u64,
    /// The damage that stood at the offset, in words.
    pub found: String,
}

/// The outcome of appending a record.
enum Appended {
    /// The record is in the file, and so many bytes wait for their sync.
    Waits(u64),
    /// The log has reached its size, and the record isn't in it.
    Full,
    /// As many partitions as may be open have something to sync; the record isn't in the log.
    TooManyOpen,
}

struct Shared {
    options: LogOptions,
    state: Mutex<State>,
}

enum Order {
    /// Says that something was accepted: sync when the interval is over.
    Accepted,
    /// Says that enough was accepted: sync now.
    Sync,
    /// Asks to sync now and answer.
    Flush(oneshot::Sender<Result<(), BusError>>),
    /// Asks to make room; the answer says whether there is some.
    Reclaim(oneshot::Sender<Result<bool, BusError>>),
}

/// The writer of an embedded log: an [`EventSink`]. One for each log, in any process.
pub struct LogWriter {
    dir: PathBuf,
    identity: String,
    shared: Arc<Shared>,
    recovered: Vec<CutTail>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

/// Reads the counters of a [`LogWriter`] from elsewhere, and keeps nothing of it open.
#[derive(Clone)]
pub struct LogMeter {
    shared: Weak<Shared>,
}

impl LogMeter {
    /// Returns what the writer did so far; zero once it is gone.
    pub fn counters(&self) -> LogCounters {
        self.shared.upgrade().map_or_else(LogCounters::default, |shared| shared.lock().counters)
    }

    /// Returns what its reader hasn't committed; nothing once the writer is gone. It reads a small file of each
    /// partition.
    pub fn backlog(&self) -> LogBacklog {
        let Some(shared) = self.shared.upgrade() else { return LogBacklog::default() };
        // Who appends doesn't wait for the disk.
        let held: Vec<_> = shared.lock().partitions.values().map(Held::of).collect();
        backlog::add_up(&held)
    }

    /// Returns the bytes that the whole log may have; zero once the writer is gone.
    pub fn bytes_max(&self) -> u64 {
        self.shared.upgrade().map_or(0, |shared| shared.options.size_bytes_max)
    }
}

impl LogWriter {
    /// Opens the log in `dir`, made if it is missing: takes the lock, cuts torn tails, makes the rest durable.
    ///
    /// This blocks on the disk: at most the bytes behind the durable marks are read and written again.
    ///
    /// # Errors
    /// Returns `Conflict` with the first writer's process; `Permanent` for a folder that can't be written, a lost
    /// identity or damage below a durable mark; `Transient` for a full disk.
    pub fn open(dir: impl Into<PathBuf>, options: LogOptions) -> Result<Self, BusError> {
        let dir = dir.into();
        folder::make_folder(&dir)?;
        let lock = folder::lock_writer(&dir)?;
        let identity = match folder::read_identity(&dir)? {
            Some(identity) => identity,
            None => folder::make_identity(&dir)?,
        };
        let mut state = State {
            partitions: BTreeMap::new(),
            counters: LogCounters::default(),
            bytes_unsynced: 0,
            open: 0,
            written: 0,
            stopped: None,
        };
        let mut recovered = Vec::new();
        for (key, _) in folder::list_partitions(&dir)? {
            let (partition, cut) = Partition::open(&dir, &key)?;
            if let Some(cut) = cut {
                tracing::warn!(
                    file = %cut.file.display(), offset = cut.offset, bytes_cut = cut.bytes_cut,
                    records_cut = cut.records_cut, found = cut.found, "cut the torn tail of the log"
                );
                recovered.push(cut);
            }
            state.counters.log_bytes += partition.bytes();
            state.partitions.insert(key, partition);
        }
        let shared = Arc::new(Shared { options, state: Mutex::new(state) });
        let (orders, received) = mpsc::channel();
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("rva-log-sync".into())
                .spawn(move || shared.run(&received))
                .map_err(|error| io_error("start the sync thread of", &dir, error))?
        };
        Ok(Self { dir, identity, shared, recovered, orders: Some(orders), thread: Some(thread), _lock: lock })
    }

    /// Returns the identity of the log, as [`EventSource::identity`](crate::EventSource::identity) does.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns the folder of the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the tails that were cut when it was opened.
    pub fn recovered(&self) -> &[CutTail] {
        &self.recovered
    }

    /// Returns the counts since it was opened.
    pub fn counters(&self) -> LogCounters {
        self.shared.lock().counters
    }

    /// Returns a reader of its counters that can be held where the writer can't.
    pub fn meter(&self) -> LogMeter {
        LogMeter { shared: Arc::downgrade(&self.shared) }
    }

    fn order(&self, order: Order) -> Result<(), BusError> {
        let gone = || permanent(format!("the sync thread of log {} is gone", self.dir.display()));
        self.orders.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, BusError>>) -> Order) -> Result<T, BusError> {
        let (reply, answer) = oneshot::channel();
        self.order(order(reply))?;
        answer.await.map_err(|_| permanent(format!("the sync thread of log {} is gone", self.dir.display())))?
    }

    /// Appends a record if there is room.
    fn append(&self, message: &OutgoingMessage) -> Result<Appended, BusError> {
        let options = &self.shared.options;
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        if let Some(stopped) = &state.stopped {
            return Err(permanent(stopped.clone()));
        }
        let bytes = state.counters.log_bytes;
        if bytes > 0 && bytes + message.body.len() as u64 > options.size_bytes_max {
            return Ok(Appended::Full);
        }
        if !state.partitions.contains_key(message.partition_key.as_str()) {
            let (partition, _) = Partition::open(&self.dir, &message.partition_key)?;
            state.partitions.insert(message.partition_key.as_str().into(), partition);
        }
        let is_open = state.partitions.get(message.partition_key.as_str()).is_some_and(Partition::is_open);
        if !is_open && state.open >= options.open_partitions_max && !state.close_idle(options.open_partitions_max) {
            return Ok(Appended::TooManyOpen);
        }
        let Some(partition) = state.partitions.get_mut(message.partition_key.as_str()) else {
            return Ok(Appended::Full);
        };
        state.written += 1;
        partition.used = state.written;
        let appended = partition.append(&*options.files, options.segment_bytes(), (options.clock)(), message);
        state.open += usize::from(!is_open && partition.is_open());
        let length = appended.inspect_err(|error| {
            state.counters.sends_no_space += u64::from(error.kind() == BusErrorKind::Transient);
        })?;
        state.counters.records += 1;
        state.counters.bytes += length;
        state.counters.log_bytes += length;
        let waiting = state.bytes_unsynced;
        state.bytes_unsynced += length;
        let now_waiting = state.bytes_unsynced;
        drop(guard);
        if waiting == 0 {
            self.order(Order::Accepted)?;
        }
        if waiting < options.sync_bytes && now_waiting >= options.sync_bytes {
            self.order(Order::Sync)?;
        }
        Ok(Appended::Waits(now_waiting))
    }
}

#[async_trait::async_trait]
impl EventSink for LogWriter {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        folder::encode_key(&message.partition_key)?;
        let body_bytes_max = self.shared.options.body_bytes_max.min(LINE_BYTES_MAX / 8 * 5);
        if message.body.len() > body_bytes_max {
            let text = format!("found a body of {} bytes, wanted at most {body_bytes_max}", message.body.len());
            return Err(BusError::new(BusErrorKind::Rejected, text));
        }
        let mut blocked = false;
        loop {
            match self.append(&message)? {
                // A disk that can't keep up slows the sender down instead of growing what is at risk.
                Appended::Waits(bytes) if bytes >= self.shared.options.sync_bytes.saturating_mul(4) => {
                    return self.flush().await;
                }
                Appended::Waits(_) => return Ok(()),
                Appended::TooManyOpen => {
                    self.flush().await?;
                    continue;
                }
                Appended::Full => {}
            }
            if self.ask(Order::Reclaim).await? {
                continue;
            }
            if !blocked {
                blocked = true;
                self.shared.lock().counters.sends_blocked += 1;
                tracing::warn!(
                    log = %self.dir.display(), size_bytes_max = self.shared.options.size_bytes_max,
                    "the log is full of records that aren't committed: waiting"
                );
            }
            tokio::time::sleep(self.shared.options.block_recheck).await;
        }
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        self.ask(Order::Flush).await
    }
}

/// Syncs everything that was accepted, and waits for it.
impl Drop for LogWriter {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(log = %self.dir.display(), "the sync thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the sync thread, until the writer is dropped.
    fn run(&self, orders: &mpsc::Receiver<Order>) {
        let mut due: Option<Instant> = None;
        let mut retained = Instant::now();
        loop {
            let wait = due.map_or(self.options.retention_interval, |due| due.saturating_duration_since(Instant::now()));
            match orders.recv_timeout(wait) {
                // The interval starts with the first record of a group.
                Ok(Order::Accepted) => {
                    due.get_or_insert(Instant::now() + self.options.sync_interval);
                }
                Ok(Order::Sync) => due = self.sync_and_log(),
                Err(mpsc::RecvTimeoutError::Timeout) if due.is_some() => due = self.sync_and_log(),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(Order::Flush(reply)) => self.answer_flush(reply),
                Ok(Order::Reclaim(reply)) => self.answer_reclaim(reply),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if retained.elapsed() >= self.options.retention_interval {
                retained = Instant::now();
                let now = (self.options.clock)();
                retention::by_age(&mut self.lock(), now, self.options.retention);
            }
        }
        self.sync_and_log();
    }

    /// Syncs; returns when to try again where that may help.
    fn sync_and_log(&self) -> Option<Instant> {
        let error = self.sync().err()?;
        tracing::error!(%error, "the log can't be synced");
        (error.kind() == BusErrorKind::Transient).then(|| Instant::now() + self.options.sync_interval)
    }

    fn answer_flush(&self, reply: oneshot::Sender<Result<(), BusError>>) {
        // Nobody listens where the flush was cancelled; the sync is done all the same.
        drop(reply.send(self.sync()));
    }

    fn answer_reclaim(&self, reply: oneshot::Sender<Result<bool, BusError>>) {
        let freed = self.sync().and_then(|()| retention::make_room(&mut self.lock(), &self.options));
        drop(reply.send(freed));
    }

    /// Makes everything that was accepted durable, then moves the marks. Senders go on meanwhile.
    fn sync(&self) -> Result<(), BusError> {
        let mut groups = Vec::new();
        {
            let mut state = self.lock();
            if let Some(stopped) = &state.stopped {
                return Err(permanent(stopped.clone()));
            }
            state.bytes_unsynced = 0;
            for (key, partition) in &mut state.partitions {
                groups.extend(partition.take_unsynced().map(|group| (key.clone(), group)));
            }
        }
        if groups.is_empty() {
            return Ok(());
        }
        let synced = groups.iter().try_for_each(|(_, group)| partition::sync(group));
        let mut state = self.lock();
        if let Err(error) = synced {
            // What is on the disk is unknown now, and a second fsync may say yes to pages that were lost.
            let text = format!("the log stopped: {error}; open it anew, accepted records are still in its files");
            state.stopped = Some(text.clone());
            return Err(permanent(text).with_source(error));
        }
        state.counters.syncs += 1;
        let mut result = Ok(());
        for (key, group) in groups {
            let Some(partition) = state.partitions.get_mut(&key) else { continue };
            match group.mark.publish(&group.mark_file) {
                Ok(()) => partition.durable = group.mark,
                Err(error) => {
                    partition.stay_dirty();
                    result = Err(io_error("write", &folder::mark_path(&group.folder), error));
                }
            }
        }
        result
    }
}

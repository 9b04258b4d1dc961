//! The way from the spool to the topic: the embedded log, read in order, sent, and forgotten once the broker has it.

use super::{PulsarConnection, PulsarSink, PulsarSinkOptions, TopicName, errors::permanent};
use crate::{
    BusError, BusErrorKind, EventSink, EventSource, LogReader, Message, OutgoingMessage,
    log::{REFUSED_FILE, io_error, own_file, replace},
};
use async_recursion::async_recursion as boxed;
use base64::Engine;
use rva_types::{OffsetMap, Position};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::watch;

/// The file in the spool's folder with the partition that each run was given, and the topic that it holds for.
const RUNS_FILE: &str = "pulsar-runs.json";

/// The settings of a forwarder.
#[derive(Debug, Clone)]
pub struct ForwarderOptions {
    /// The spool's folder, that of an embedded log.
    pub spool: PathBuf,
    /// The settings of its sink.
    pub sink: PulsarSinkOptions,
    /// The bytes of bodies that go out before the spool is told. Default 1 MiB.
    pub chunk_bytes: usize,
    /// The wait for new records, and before another attempt while the broker is away. Default 500 ms.
    pub wait: Duration,
}

impl ForwarderOptions {
    /// Makes settings with the defaults.
    pub fn new(spool: impl Into<PathBuf>, topic: TopicName) -> Self {
        Self {
            spool: spool.into(),
            sink: PulsarSinkOptions::new(topic),
            chunk_bytes: 1 << 20,
            wait: Duration::from_millis(500),
        }
    }
}

/// The counts of a forwarder since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ForwarderCounters {
    /// Records that the broker acknowledged.
    pub forwarded: u64,
    /// Records that it refuses for good, put into the file of refused ones.
    pub refused: u64,
    /// Attempts that failed since the broker was away.
    pub waits: u64,
}

/// Sends a spool's records to a topic, in order within a camera.
///
/// It begins with the first record that the spool hasn't been told of. A record counts when the broker acknowledged it,
/// so a forwarder that was killed sends some again, and none is lost. A record that is refused for good goes to
/// `refused.ndjson` beside the spool's partitions and never blocks those behind it. One forwarder for each spool.
pub struct Forwarder {
    reader: LogReader,
    sink: PulsarSink,
    options: ForwarderOptions,
    refused: Refused,
    runs_kept: BTreeMap<String, u32>,
    counters: ForwarderCounters,
    trouble: watch::Sender<Option<String>>,
}

/// A call of the sink that is repeated until it answers.
#[derive(Clone, Copy)]
enum Call<'a> {
    Send(&'a OutgoingMessage),
    Flush,
}

#[derive(Serialize, Deserialize)]
struct RunsFile {
    topic: String,
    runs: BTreeMap<String, u32>,
}

impl Forwarder {
    /// Opens the spool and connects to the broker.
    ///
    /// # Errors
    /// Returns `Transient` where there is no spool yet or the broker doesn't answer; `Permanent` for anything that
    /// [`PulsarSink::connect`] refuses, and for damage in the spool.
    #[boxed]
    pub async fn open(connection: &PulsarConnection, options: ForwarderOptions) -> Result<Self, BusError> {
        let trouble = watch::Sender::new(None);
        let mut reader = LogReader::open(&options.spool)?;
        let acknowledged = reader.acknowledged().await?;
        reader.seek(&acknowledged).await?;
        let mut sink = PulsarSink::connect(connection, options.sink.clone()).await?;
        let runs_kept = read_runs(&options)?;
        runs_kept.iter().for_each(|(run, partition)| sink.keep_run(run.clone(), *partition));
        let refused = Refused::open(options.spool.join(REFUSED_FILE))?;
        Ok(Self { reader, sink, options, refused, runs_kept, counters: ForwarderCounters::default(), trouble })
    }

    /// Tells `trouble` from now on what keeps the records from the broker; `None` while nothing does.
    pub fn tell(&mut self, trouble: watch::Sender<Option<String>>) {
        self.trouble = trouble;
    }

    /// Returns the counts since it was opened.
    pub fn counters(&self) -> ForwarderCounters {
        self.counters
    }

    /// Forwards the records that are in the spool, then waits a little for more; returns how many were dealt with. An
    /// outage of the broker is waited out here.
    ///
    /// Dropping the future loses nothing, but then this forwarder must be opened anew.
    ///
    /// # Errors
    /// Returns `Permanent` where nothing will change by itself: a right that was taken away, damage in the spool, a
    /// disk that can't be written.
    #[boxed]
    pub async fn forward_some(&mut self) -> Result<usize, BusError> {
        let messages = self.reader.poll(self.options.chunk_bytes, self.options.wait).await?;
        if messages.is_empty() {
            return Ok(0);
        }
        let mut behind = OffsetMap::new();
        let mut forwarded = 0;
        let count = messages.len();
        for message in messages {
            behind.advance(&message.partition, message.position);
            forwarded += u64::from(self.send(message).await?);
        }
        self.retrying(Call::Flush).await?;
        self.reader.acknowledge(&behind).await?;
        self.counters.forwarded += forwarded;
        Ok(count)
    }

    /// Sends a record; returns whether it was accepted, and not refused for good.
    async fn send(&mut self, message: Message) -> Result<bool, BusError> {
        let (partition, position) = (message.partition, message.position);
        let outgoing = OutgoingMessage {
            partition_key: partition.as_str().to_owned(),
            properties: message.properties,
            event_time: None,
            body: message.body,
        };
        // Fixed on the disk before anything of the run is on the topic.
        if self.sink.assign(&outgoing) && self.runs_kept != *self.sink.runs() {
            self.runs_kept = self.sink.runs().clone();
            write_runs(&self.options, &self.runs_kept)?;
        }
        let sent = self.retrying(Call::Send(&outgoing)).await;
        match sent {
            Err(error) if error.kind() == BusErrorKind::Rejected => {
                self.refused.add(&partition, position, &error, &outgoing)?;
                self.counters.refused += 1;
                tracing::warn!(camera = %partition, %position, %error, "a record is refused for good");
                Ok(false)
            }
            sent => sent.map(|()| true),
        }
    }

    async fn retrying(&mut self, call: Call<'_>) -> Result<(), BusError> {
        loop {
            let result = match call {
                Call::Send(message) => self.sink.send(message.clone()).await,
                Call::Flush => self.sink.flush().await,
            };
            match result {
                Err(error) if matches!(error.kind(), BusErrorKind::Transient | BusErrorKind::Conflict) => {
                    self.counters.waits += 1;
                    tracing::warn!(%error, "the spool keeps its records");
                    self.trouble.send_replace(Some(error.to_string()));
                    tokio::time::sleep(self.options.wait).await;
                }
                result => {
                    self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                    return result;
                }
            }
        }
    }
}

fn read_runs(options: &ForwarderOptions) -> Result<BTreeMap<String, u32>, BusError> {
    let path = options.spool.join(RUNS_FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        bytes => bytes.map_err(|error| io_error("read", &path, error))?,
    };
    let file: RunsFile = serde_json::from_slice(&bytes).map_err(|error| {
        permanent(format!("found {error} in {}, wanted the runs that were written there: remove it", path.display()))
    })?;
    // Another topic has other partitions.
    Ok(if file.topic == options.sink.topic.to_string() { file.runs } else { BTreeMap::new() })
}

fn write_runs(options: &ForwarderOptions, runs: &BTreeMap<String, u32>) -> Result<(), BusError> {
    let file = RunsFile { topic: options.sink.topic.to_string(), runs: runs.clone() };
    let bytes = serde_json::to_vec(&file).map_err(|error| permanent(format!("write the runs: {error}")))?;
    replace(&options.spool.join(RUNS_FILE), &bytes, true)
}

/// The file of local dead letters.
struct Refused {
    path: PathBuf,
    file: File,
    /// The partitions and numbers that it holds, so that a record that is met again after a restart isn't there twice.
    held: BTreeSet<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct RefusedRecord {
    partition: String,
    n: u64,
    reason: String,
    properties: BTreeMap<String, String>,
    /// The body in base64.
    raw: String,
}

impl Refused {
    fn open(path: PathBuf) -> Result<Self, BusError> {
        let failed = |error| io_error("open", &path, error);
        let file = own_file().create(true).append(true).read(true).open(&path).map_err(failed)?;
        let held = Self::read(&path)?.into_iter().map(|record| (record.partition, record.n)).collect();
        // A line that a killed forwarder left torn must not swallow the next one.
        (&file).write_all(b"\n").map_err(failed)?;
        Ok(Self { path, file, held })
    }

    /// Reads whole lines only.
    fn read(path: &Path) -> Result<Vec<RefusedRecord>, BusError> {
        let file = File::open(path).map_err(|error| io_error("open", path, error))?;
        let mut records = Vec::new();
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|error| io_error("read", path, error))?;
            records.extend(serde_json::from_slice(&line).ok());
        }
        Ok(records)
    }

    fn add(
        &mut self,
        partition: &str,
        position: Position,
        reason: &BusError,
        message: &OutgoingMessage,
    ) -> Result<(), BusError> {
        if !self.held.insert((partition.to_owned(), position.entry)) {
            return Ok(());
        }
        let record = RefusedRecord {
            partition: partition.to_owned(),
            n: position.entry,
            reason: reason.to_string(),
            properties: message.properties.clone(),
            raw: base64::engine::general_purpose::STANDARD.encode(&message.body),
        };
        let mut line =
            serde_json::to_vec(&record).map_err(|error| permanent(format!("write a refused record: {error}")))?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(|error| io_error("write", &self.path, error))
    }
}

//! The bus from outside: one contract over every log, then what only the embedded log promises.

// The lint's exception for tests doesn't reach async tests and what they share.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod crash;
mod damage;
mod faults;
mod files;
mod memory;
mod model;
mod open_files;
mod retention;

use futures::FutureExt;
use rva_bus::{EventSource, LogOptions, LogReader, LogWriter, Message};
pub(crate) use rva_testkit::bus::contract::{body, message};
use rva_testkit::bus::{Log, MemoryLog, SlowSource};
use rva_types::Timestamp;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

rva_testkit::log_contract!(over_every_log);

/// Runs one clause of the contract over the embedded log, the one in memory, and that one as a slow log.
async fn over_every_log(clause: impl AsyncFn(&mut Log<'_>)) {
    for is_slow in [false, true] {
        let memory = MemoryLog::default();
        let reader = memory.clone();
        let source = move || {
            let reader = reader.reader();
            let reader: Box<dyn EventSource> = if is_slow { Box::new(SlowSource(reader)) } else { Box::new(reader) };
            std::future::ready(reader).boxed()
        };
        clause(&mut Log { sink: Box::new(memory), source: Box::new(source), keys_are_partitions: !is_slow }).await;
    }
    let dir = tempfile::tempdir().unwrap();
    // Small segments, so that every clause crosses several.
    let options = LogOptions { segment_bytes_max: 700, ..LogOptions::default() };
    let sink = Box::new(LogWriter::open(dir.path(), options).unwrap());
    let source = || {
        let reader: Box<dyn EventSource> = Box::new(LogReader::open(dir.path()).unwrap());
        std::future::ready(reader).boxed()
    };
    clause(&mut Log { sink, source: Box::new(source), keys_are_partitions: true }).await;
}

/// Options under which nothing is synced unless it is asked for.
pub fn no_sync() -> LogOptions {
    LogOptions { sync_interval: Duration::from_secs(3600), sync_bytes: u64::MAX / 8, ..LogOptions::default() }
}

/// A clock that a test moves.
#[derive(Clone, Default)]
pub struct FakeClock(Arc<AtomicI64>);

impl FakeClock {
    pub(crate) fn advance(&self, hours: i64) {
        self.0.fetch_add(hours * 3_600_000_000, Ordering::SeqCst);
    }

    pub(crate) fn function(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || Timestamp::from_micros(clock.0.load(Ordering::SeqCst)))
    }
}

/// Everything that can be read now.
pub async fn drain(source: &mut dyn EventSource) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let messages = source.poll(10_000, Duration::ZERO).await.unwrap();
        if messages.is_empty() {
            return all;
        }
        all.extend(messages);
    }
}

/// Partition, record number and body of each message.
pub fn keys(messages: &[Message]) -> Vec<(String, u64, String)> {
    let key = |m: &Message| (m.partition.to_string(), m.position.entry, String::from_utf8_lossy(&m.body).into_owned());
    messages.iter().map(key).collect()
}

pub(crate) fn segments(log: &Path, partition: &str) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "ndjson");
    let mut found: Vec<_> =
        std::fs::read_dir(log.join(partition)).unwrap().map(|entry| entry.unwrap().path()).filter(is_segment).collect();
    found.sort();
    found
}

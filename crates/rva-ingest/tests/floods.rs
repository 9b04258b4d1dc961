//! Floods in the embedded log, read by the real process in a memory cgroup: slower, never dead, every key once.
//!
//! `RVA_FLOODS=full` is what `make floods` runs, in 512 MiB; without, a part of it in less. `RVA_FLOOD=TEXT`: those
//! alone whose names hold it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cgroup.rs"]
mod cgroup;
#[path = "common/flood.rs"]
mod flood;
#[path = "common/tables.rs"]
mod tables;

use cgroup::MemoryGroup;
use flood::Flood;
use rva_bus::{EventSink, LogOptions, LogWriter};
use rva_lake::{Lake, LakeOptions};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// What the process may take, its pages of files included.
const LIMIT_FULL: u64 = 512 << 20;

/// With less to read there must be less memory, or nothing is shown.
const LIMIT_SMALL: u64 = 160 << 20;

const PATIENCE: Duration = Duration::from_secs(3600);

async fn write(dir: &Path, flood: &Flood) {
    // Of the log only what is in it is wanted.
    let options = LogOptions { sync_interval: Duration::from_secs(60), sync_bytes: 64 << 20, ..LogOptions::default() };
    let mut writer = LogWriter::open(dir.join("log"), options).unwrap();
    for message in flood.messages("run") {
        writer.send(message).await.unwrap();
    }
    writer.flush().await.unwrap();
}

async fn survive(flood: &Flood, limit: u64) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), flood).await;
    let group = MemoryGroup::of(limit)?;
    let began = Instant::now();
    let mut command = group.command(env!("CARGO_BIN_EXE_rva-ingest"));
    command.arg("--data-dir").arg(dir.path()).args(["--drain", "--log-level", "warn"]).env_remove("RVA_CONFIG");
    let ended = group.wait(command.spawn().unwrap(), PATIENCE);
    println!(
        "flood {:?}: {} messages, exit {:?} after {:.0} s, at most {} of {} MiB, {} MiB resident",
        flood.name,
        flood.count,
        ended.code,
        began.elapsed().as_secs_f64(),
        ended.group_mib,
        limit >> 20,
        ended.resident_mib
    );
    assert_eq!((ended.code, ended.killed), (Some(0), 0), "{}: {ended:?}", flood.name);
    let lake = Lake::open_embedded_read_only(dir.path(), LakeOptions::default()).await.unwrap();
    let keys = tables::bronze_keys(&lake).await.unwrap();
    flood.check("run", &lake, keys, "embedded/").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_in_little_memory_gets_through_every_flood() {
    let limit = if flood::is_full() { LIMIT_FULL } else { LIMIT_SMALL };
    for flood in flood::floods() {
        if let Err(reason) = survive(&flood, limit).await {
            println!("skipped: no memory cgroup can be made ({reason})");
            return;
        }
    }
}

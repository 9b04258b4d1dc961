//! `rva-ingest` as a process, from a real Pulsar into a real REST catalog and object store.

// The lint's exception for tests doesn't reach async tests and what they share.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bad_entries;
#[path = "../common/cgroup.rs"]
mod cgroup;
mod days;
mod failures;
#[path = "../common/flood.rs"]
mod flood;
mod floods;
mod publisher;
mod refusals;
mod retention;
#[path = "../common/tables.rs"]
mod tables;
mod torture;
mod watched;
mod world;
mod worse_days;

//! `rva-ingest` as a process, from a real Pulsar into a real REST catalog and object store.

// The lint's exception for tests doesn't reach async tests and what they share.
#![allow(clippy::unwrap_used)]

mod bad_entries;
mod days;
mod failures;
mod publisher;
mod refusals;
mod retention;
#[path = "../common/tables.rs"]
mod tables;
mod torture;
mod world;
mod worse_days;

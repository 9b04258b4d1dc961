//! Bad input: each is a clear text with what was found and wanted, an exit code, and no row lost or made up.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod configured;
mod damage;
mod disk_full;
mod models;
mod open_files;
mod permissions;
mod replayed_files;
mod replays;
mod settings;
mod signals;
mod sources;
mod tables;
mod world;

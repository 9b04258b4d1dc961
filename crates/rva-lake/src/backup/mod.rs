//! Backups: the tables of a namespace at one point in time, in a folder or under a prefix of an object store, and from
//! there into a fresh catalog.
//!
//! Everything that a snapshot of a table names is immutable, so a backup is a *record* (the tables' metadata, and each
//! file with its size and digest) beside the files themselves, and the next backup copies only what the last one lacks.
//! [`BackupStore`] keeps both. What makes a record one point in time is the order in which the tables are looked at,
//! see [`Lake::back_up`]; what makes it readable elsewhere is that [`BackupStore::restore`] writes every file that
//! names others anew.

mod capture;
mod copy;
mod deletes;
mod make;
mod record;
mod restore;
mod rewrite;
mod store;
mod target;
mod verify;

pub use make::BackupMade;
pub use record::{Backup, FileBackup, FileKind, TableBackup};
pub use restore::Restored;
pub use store::{BackupStore, Pruned};
pub use target::RestoreTarget;
pub use verify::{Finding, Verified};

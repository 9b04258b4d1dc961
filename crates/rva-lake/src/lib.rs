//! Iceberg catalogs, the fenced commit, maintenance, SQL over the tables.
//!
//! A [`Lake`] is a catalog with the bronze tables in it. Its sinks append rows exactly once: the position in the log
//! lives in the table, in the same commit as the rows.

mod bronze;
mod columns;
mod commit;
mod dead_letters;
mod definition;
mod errors;
mod fence;
mod files;
mod housekeeping;
mod keys;
mod lake;
mod layer;
mod location;
pub mod memory;
mod offsets;
mod options;
mod partition;
mod rest;
mod rows;
mod seam;
#[cfg(feature = "sql")]
mod sql;
mod state;
pub mod storage;
mod summary;
mod writer;

pub use bronze::BronzeSink;
pub use dead_letters::DeadLetterSink;
pub use keys::KeyIndexCounts;
pub use lake::{CATALOG, CATALOG_FILE, Lake, WAREHOUSE_FOLDER, embedded_catalog};
pub use layer::{CatalogLayer, Layered};
#[doc(hidden)]
pub use options::CommitRules;
pub use options::{CommitRetry, CommitStep, HousekeepingLimits, LakeOptions, StepObserver};
pub use rest::{RestAuth, RestOptions};
pub use rows::BronzeRow;
pub use seam::{Batch, CommitOutcome, LakeError, LakeErrorKind, ResumePoint, TableSink};
#[cfg(feature = "sql")]
pub use sql::SqlAnswer;
pub use summary::TableSummary;

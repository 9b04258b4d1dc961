//! Iceberg catalogs, the fenced commit, maintenance, and SQL over the tables.
//!
//! A table in a lake has no lock and no owner: anybody may commit to it, and a commit's answer may be lost. So rows
//! alone can't say which messages they came from. A [`Lake`]'s sinks therefore put the position in the log into the
//! table, in the same commit as the rows, and a commit is built on the position that the table has: a worker that
//! another one has overtaken is *fenced*, its batch dropped, and an unknown outcome is decided by reading the table
//! again. Rows are appended exactly once, whoever is killed when.
//!
//! Around the commit: lookups of keys that are there already, deletions by other engines that a replay must not undo,
//! removal of old snapshots and orphans, and read-only SQL (feature `sql`) as of any moment.
//!
//! ```
//! use rva_lake::{Batch, CommitOutcome, Lake, LakeOptions, TableSink};
//! use rva_types::{OffsetMap, Position};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let lake = Lake::open_embedded(folder.path(), LakeOptions::default()).await?;
//! let mut sink = lake.bronze_sink()?;
//! let mut to = OffsetMap::new();
//! to.advance("door", Position::of_record(1));
//! // The message gave no row, but its position is kept, and a worker that begins now goes on behind it.
//! let batch = Batch { source: "a log".to_owned(), from: OffsetMap::new(), to: to.clone(), rows: Vec::new() };
//! assert_eq!(sink.commit(&batch).await?, CommitOutcome::Committed { rows_appended: 0, rows_known: 0 });
//! assert_eq!(lake.bronze_sink()?.resume_point().await?.offsets, to);
//!
//! // The batch of a worker that didn't see that commit is dropped.
//! let mut further = OffsetMap::new();
//! further.advance("door", Position::of_record(2));
//! let late = Batch { to: further, ..batch };
//! assert!(matches!(sink.commit(&late).await?, CommitOutcome::Fenced(point) if point.offsets == to));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(unreachable_pub)]

mod backup;
mod bronze;
mod cells;
mod change;
mod columns;
mod commit;
mod conflicts;
mod counted;
mod dead_letters;
mod definition;
mod deletion;
mod deletions;
mod embedded;
mod errors;
mod every_table;
mod evolve;
mod fence;
mod files;
mod followers;
mod forget;
mod housekeeping;
mod key_check;
mod keys;
mod lake;
mod layer;
mod lists;
mod location;
mod maintain;
mod manifest;
mod medallion;
mod neighbours;
mod offsets;
mod options;
mod orphans;
mod partition;
mod places;
mod refined;
mod rest;
mod rest_options;
mod rest_swap;
mod rows;
mod scan;
mod seam;
mod seen;
#[cfg(test)]
mod small;
mod snapshots;
#[cfg(feature = "sql")]
mod sql;
mod state;
pub mod storage;
mod summary;
mod view;
mod work;
mod writer;
mod writers;

pub use backup::{
    Backup, BackupMade, BackupStore, FileBackup, FileKind, Finding, Pruned, RestoreTarget, Restored, TableBackup,
    Verified,
};
pub use bronze::BronzeSink;
pub use cells::{Cell, CellKind, Cells, Shape};
pub use change::SwapMetadata;
pub use dead_letters::DeadLetterSink;
pub use definition::CATALOG;
pub use embedded::embedded_catalog;
pub use forget::{ChosenRows, ErasedPast, Forgetting, HoldingBackup, TakenRows};
pub use lake::Lake;
pub use layer::{CatalogLayer, Layered};
pub use lists::RowFilter;
pub use maintain::{Aged, MAINTAIN_JOB, Maintenance, MergeLimits, MergePlan, Merged, Orphan, TablePlan};
pub use medallion::{
    CameraMinute, HourByCam, LineCrossings, MinuteByCam, PeoplePerMinute, SilverDetections, SilverFrames,
    SilverRejects, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute, ZoneTable, ZoneVisits,
};
#[cfg(feature = "mutants")]
pub use options::CommitRules;
pub use options::{CommitRetry, CommitStep, HousekeepingLimits, LakeOptions, StepObserver};
pub use refined::{RefinedTable, Replaced, RowChange, Span, Staged};
pub use rest_options::{RestAuth, RestOptions};
pub use rows::BronzeRow;
pub use seam::{Batch, CommitOutcome, KeyIndexCounts, LakeError, LakeErrorKind, ResumePoint, TableSink};
#[cfg(feature = "sql")]
pub use sql::{AsOf, SqlAnswer, SqlOptions};
pub use state::REFINE_JOB;
pub use summary::TableSummary;
pub use view::{ChangedFile, Columns, Since, TableView};

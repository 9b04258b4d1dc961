//! Iceberg catalogs, the fenced commit, maintenance, SQL over the tables.
//!
//! A [`Lake`] is a catalog with the bronze tables in it. Its sinks append rows exactly once: the position in the log
//! lives in the table, in the same commit as the rows.

mod bronze;
mod cells;
mod change;
mod columns;
mod commit;
mod conflicts;
mod dead_letters;
mod definition;
mod deletions;
mod embedded;
mod errors;
mod fence;
mod files;
mod housekeeping;
mod keys;
mod lake;
mod layer;
mod location;
mod medallion;
pub mod memory;
mod neighbours;
mod offsets;
mod options;
mod orphans;
mod partition;
mod places;
mod refined;
mod rest;
mod rows;
mod seam;
#[cfg(feature = "sql")]
mod sql;
mod state;
pub mod storage;
mod summary;
mod view;
mod work;
mod writer;

pub use bronze::BronzeSink;
pub use cells::{Cell, CellKind, Cells, Shape};
pub use change::SwapMetadata;
pub use dead_letters::DeadLetterSink;
pub use embedded::embedded_catalog;
pub use keys::KeyIndexCounts;
pub use lake::{CATALOG, CATALOG_FILE, Lake, WAREHOUSE_FOLDER};
pub use layer::{CatalogLayer, Layered};
pub use medallion::{
    CameraMinute, HourByCam, LineCrossings, MinuteByCam, PeoplePerMinute, SilverDetections, SilverFrames,
    SilverRejects, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute, ZoneTable, ZoneVisits,
};
#[doc(hidden)]
pub use options::CommitRules;
pub use options::{CommitRetry, CommitStep, HousekeepingLimits, LakeOptions, StepObserver};
pub use refined::{RefinedTable, Replaced, RowChange, Span, Staged};
pub use rest::{RestAuth, RestOptions};
pub use rows::BronzeRow;
pub use seam::{Batch, CommitOutcome, LakeError, LakeErrorKind, ResumePoint, TableSink};
#[cfg(feature = "sql")]
pub use sql::{AsOf, SqlAnswer, SqlOptions};
pub use summary::{REFINE_JOB, TableSummary};
pub use view::{ChangedFile, Columns, RowFilter, Since, TableView};

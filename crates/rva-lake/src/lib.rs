//! Iceberg catalogs, the fenced commit, maintenance, SQL over the tables.

mod seam;
pub mod storage;

pub use seam::{Batch, CommitOutcome, LakeError, LakeErrorKind, ResumePoint, TableSink};

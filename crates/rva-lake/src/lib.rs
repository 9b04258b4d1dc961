//! Iceberg catalogs, the fenced commit, maintenance, SQL over the tables.

mod seam;

pub use seam::{Batch, CommitOutcome, LakeError, LakeErrorKind, ResumePoint, TableSink};

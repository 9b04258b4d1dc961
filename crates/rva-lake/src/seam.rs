//! The seam between the ingest loop and a table: [`TableSink`].

use rva_types::{OffsetMap, SeamError};
use std::fmt;

/// The kind of an error, which says what a retry can cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LakeErrorKind {
    /// The same call may succeed later: catalog or store away, no space left, clock behind.
    Transient,
    /// The table is not what it was, or a file of it isn't there: another look decides.
    Conflict,
    /// These rows are refused for good.
    Rejected,
    /// Nothing will change by itself: wrong schema, moved folder, no permission.
    Permanent,
}

/// An error at the seam: its kind, and a text that names found, wanted and where.
#[derive(Debug)]
pub struct LakeError {
    error: SeamError<LakeErrorKind>,
    way_out: Option<&'static str>,
}

impl LakeError {
    /// Makes an error of a kind and a text.
    pub fn new(kind: LakeErrorKind, text: impl Into<String>) -> Self {
        Self { error: SeamError::new(kind, text), way_out: None }
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: self.error.with_source(source), ..self }
    }

    /// Adds what somebody can do about it.
    pub(crate) fn with_way_out(mut self, way_out: &'static str) -> Self {
        self.way_out = Some(way_out);
        self
    }

    /// Makes a conflict permanent: if another look didn't cure it, nothing does.
    pub(crate) fn at_second_look(self) -> Self {
        match self.kind() {
            LakeErrorKind::Conflict => Self { error: self.error.with_kind(LakeErrorKind::Permanent), ..self },
            _ => self,
        }
    }

    /// Returns what somebody can do about it, where that is known.
    pub fn way_out(&self) -> Option<&'static str> {
        self.way_out
    }

    /// Returns the kind, which says what a retry can cure.
    pub fn kind(&self) -> LakeErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for LakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        f.write_str(&text)?;
        match self.way_out {
            Some(way_out) if self.kind() == LakeErrorKind::Permanent && !text.ends_with(way_out) => {
                write!(f, ": {way_out}")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for LakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// The point where a job continues, as the table's own commits say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResumePoint {
    /// The identity of the log that the offsets belong to; `None` before the first commit.
    pub source: Option<String>,
    /// The last position in the table, for each partition.
    pub offsets: OffsetMap,
    /// The number of the job's last commit, counted from 1; 0 before the first.
    pub sequence: u64,
    /// The number that the table was rolled back from: its mirror property is ahead of its lineage.
    pub rolled_back_from: Option<u64>,
}

/// Rows and the stretch of the log that they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<Row> {
    /// The identity of the log.
    pub source: String,
    /// The whole map that the batch was built on.
    pub from: OffsetMap,
    /// The whole map after it: `from` advanced over every message read, also over those that gave no row.
    pub to: OffsetMap,
    /// The rows in log order. They may be none: then only the offsets move.
    pub rows: Vec<Row>,
}

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The batch is in the table, known by a reload. `rows_appended` may be fewer than given: the rest was there
    /// already.
    Committed {
        /// The number of rows that were new.
        rows_appended: u64,
        /// The number of rows whose key the table, or an earlier row of the batch, held already.
        rows_known: u64,
    },
    /// Another worker advanced our partitions: the batch was dropped; continue from this point.
    Fenced(ResumePoint),
    /// Nothing was written: these rows, by their places in the batch, ascending, have keys that the table or an earlier
    /// row of the batch holds with another payload. The batch without them can be committed.
    Conflicting(Vec<usize>),
}

/// The cost of lookups, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyIndexCounts {
    /// The number of blocks of frame indexes of which it wasn't known what the table holds.
    pub blocks_loaded: u64,
    /// The number of data files whose key columns were read.
    pub files_read: u64,
    /// The number of data files of which payloads were read, to compare them with those of known keys.
    pub payload_files_read: u64,
    /// The number of runs of which older frames were forgotten, or all, to stay within the bound.
    pub blocks_dropped: u64,
}

/// A table that a job appends to, exactly once. All calls of one sink come from one owner, one after another.
#[async_trait::async_trait]
pub trait TableSink<Row: Send + 'static>: Send {
    /// Returns the state of the job in the table now, read again from the catalog at every call.
    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError>;

    /// Appends rows whose key isn't in the table and moves the offsets, in one catalog swap. It returns when the
    /// outcome is known, and retries an unknown outcome by itself.
    ///
    /// # Errors
    /// Returns an error whose outcome is known: nothing of the batch is in the table (before anything was sent), or the
    /// error is transient and the same batch must be committed again, which is safe: its commit id and files are kept.
    async fn commit(&mut self, batch: &Batch<Row>) -> Result<CommitOutcome, LakeError>;

    /// Notes the trace of the commits that follow, which their snapshots name; `None` for none.
    fn note_trace(&mut self, _traceparent: Option<String>) {}

    /// Returns for each row whether the table holds its key now.
    ///
    /// # Errors
    /// Fails as the catalog and the storage do.
    async fn holds(&mut self, rows: &[Row]) -> Result<Vec<bool>, LakeError>;

    /// Returns the cost of looking keys up so far; zero for a table that needs no lookups.
    fn key_counts(&self) -> KeyIndexCounts {
        KeyIndexCounts::default()
    }
}

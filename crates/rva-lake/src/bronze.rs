//! The sink of `rva.bronze_raw`.

use crate::commit::TableJob;
use crate::files::FileList;
use crate::keys::{KeyIndex, blocks::KEY_COLUMNS};
use crate::lake::Lake;
use crate::rows::BronzeRow;
use crate::seam::{Batch, CommitOutcome, KeyIndexCounts, LakeError, ResumePoint, TableSink};

/// A sink that appends events to `rva.bronze_raw`, each once: a row whose (run, camera, frame index) the table holds is
/// left out, and one that it holds with another payload is a conflict.
pub struct BronzeSink {
    job: TableJob<BronzeRow, KeyIndex>,
}

impl Lake {
    /// Makes the sink of `rva.bronze_raw`. Nothing is read before its first call.
    ///
    /// # Errors
    /// Returns `Permanent` for a job name that can't be a property key.
    pub fn bronze_sink(&self) -> Result<BronzeSink, LakeError> {
        BronzeSink::new(self)
    }
}

impl BronzeSink {
    fn new(lake: &Lake) -> Result<Self, LakeError> {
        let index = KeyIndex::new(lake);
        Ok(Self { job: TableJob::new(lake, index, FileList::with_changes(KEY_COLUMNS))? })
    }

    /// Returns about how many bytes the index of known keys takes.
    pub fn key_bytes(&self) -> usize {
        self.job.check.bytes_held()
    }
}

#[async_trait::async_trait]
impl TableSink<BronzeRow> for BronzeSink {
    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError> {
        self.job.resume_point().await
    }

    async fn commit(&mut self, batch: &Batch<BronzeRow>) -> Result<CommitOutcome, LakeError> {
        self.job.commit(batch).await
    }

    fn note_trace(&mut self, traceparent: Option<String>) {
        self.job.traceparent = traceparent;
    }

    async fn holds(&mut self, rows: &[BronzeRow]) -> Result<Vec<bool>, LakeError> {
        let table = self.job.table().await?;
        self.job.check.holds(&table, &mut self.job.files, rows).await
    }

    fn key_counts(&self) -> KeyIndexCounts {
        self.job.check.counts
    }
}

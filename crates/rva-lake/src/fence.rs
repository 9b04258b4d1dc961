//! The fence: a catalog whose `load_table` refuses a table that isn't the one a commit was built on.
//!
//! `Transaction::commit` loads the table in every attempt and rebases onto whatever it finds, so a stale append would
//! succeed. It builds its requirement, "main is still that snapshot", from the table that it loaded here: comparing in
//! `load_table` makes every attempt a compare-and-set (I4).

use crate::layer::CatalogLayer;
use crate::options::{CommitStep, LakeOptions};
use crate::state::StateKeys;
use iceberg::table::Table;
use iceberg::{Catalog, Error, ErrorKind, Result, TableCommit, TableIdent};
use rva_types::OffsetMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state that the table must have for a commit to be applied.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub table: uuid::Uuid,
    /// The location under which its manifests will be written.
    pub location: String,
    pub source: Option<String>,
    pub offsets: OffsetMap,
    /// The snapshot that the batch's keys were looked up in.
    pub snapshot: Option<i64>,
}

/// The fence of one attempt to commit.
pub(crate) struct Fence {
    pub inner: Arc<dyn Catalog>,
    pub keys: StateKeys,
    pub expected: Expected,
    pub options: LakeOptions,
    /// Set once the swap was asked for: from then on the outcome is unknown.
    pub sent: AtomicBool,
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Fence {
    async fn check(&self, table: &Table) -> Result<()> {
        let metadata = table.metadata_ref();
        let fenced = |text: String| Err(Error::new(ErrorKind::PreconditionFailed, text).with_retryable(false));
        let Expected { table: uuid, location, source, offsets, snapshot } = &self.expected;
        if metadata.uuid() != *uuid {
            return fenced(format!("found table {} , wanted {uuid}: it was made again", metadata.uuid()));
        }
        if metadata.location() != location {
            return fenced(format!("found the table at {}, wanted {location}: it was moved", metadata.location()));
        }
        let stored = self
            .keys
            .read(table)
            .await
            .map_err(|error| Error::new(ErrorKind::PreconditionFailed, error.to_string()).with_retryable(false))?;
        if stored.source() != source.as_deref() || stored.offsets() != *offsets {
            return fenced("the offsets changed since the batch was built".to_owned());
        }
        if metadata.current_snapshot_id() != *snapshot {
            return fenced("the table changed since the batch's keys were looked up".to_owned());
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl CatalogLayer for Fence {
    fn inner(&self) -> &dyn Catalog {
        &*self.inner
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let loaded = self.inner.load_table(table).await?;
        if self.options.rules().fence {
            self.check(&loaded).await?;
        }
        Ok(loaded)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        self.sent.store(true, Ordering::SeqCst);
        self.options.step(CommitStep::CommitSent);
        let timeout = self.options.retry.call_timeout;
        let answer = tokio::time::timeout(timeout, self.inner.update_table(commit)).await;
        self.options.step(CommitStep::CommitReturned);
        match answer {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(ErrorKind::Unexpected, format!("no answer to the commit in {timeout:?}"))),
        }
    }
}

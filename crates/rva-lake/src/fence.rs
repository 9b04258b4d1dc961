//! The fence: a catalog whose `load_table` refuses a table that isn't the one a commit was built on.
//!
//! `Transaction::commit` loads the table in every attempt and rebases onto whatever it finds, so a stale append would
//! succeed. It builds its requirement, "main is still that snapshot", from the table that it loaded here: comparing in
//! `load_table` makes every attempt a compare-and-set (I4).

use crate::options::{CommitStep, LakeOptions};
use crate::state::StateKeys;
use iceberg::table::Table;
use iceberg::{Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent};
use rva_types::OffsetMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the table must say for a commit to be applied.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub table: uuid::Uuid,
    pub source: Option<String>,
    pub offsets: OffsetMap,
    /// The snapshot that the batch's keys were looked up in.
    pub snapshot: Option<i64>,
}

/// One a commit attempt.
pub(crate) struct FencedCatalog {
    pub inner: Arc<dyn Catalog>,
    pub keys: StateKeys,
    pub expected: Expected,
    pub options: LakeOptions,
    /// The swap was asked for: from here on the outcome is unknown.
    pub sent: AtomicBool,
}

impl std::fmt::Debug for FencedCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FencedCatalog").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl FencedCatalog {
    fn check(&self, table: &Table) -> Result<()> {
        let metadata = table.metadata_ref();
        let fenced = |text: String| Err(Error::new(ErrorKind::PreconditionFailed, text).with_retryable(false));
        let Expected { table: uuid, source, offsets, snapshot } = &self.expected;
        if metadata.uuid() != *uuid {
            return fenced(format!("found table {} , wanted {uuid}: it was made again", metadata.uuid()));
        }
        let stored = self
            .keys
            .read(&metadata)
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
impl Catalog for FencedCatalog {
    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let loaded = self.inner.load_table(table).await?;
        if self.options.rules.fence {
            self.check(&loaded)?;
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

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.inner.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.inner.create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.inner.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }

    async fn update_namespace(&self, namespace: &NamespaceIdent, properties: HashMap<String, String>) -> Result<()> {
        self.inner.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.inner.list_tables(namespace).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        self.inner.create_table(namespace, creation).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.inner.drop_table(table).await
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        self.inner.purge_table(table).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        self.inner.table_exists(table).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.inner.rename_table(from, to).await
    }

    async fn register_table(&self, table: &TableIdent, metadata_location: String) -> Result<Table> {
        self.inner.register_table(table, metadata_location).await
    }
}

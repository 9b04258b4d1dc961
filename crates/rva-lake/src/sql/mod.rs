//! SQL over the tables, read only: DataFusion on iceberg's own scan.
//!
//! A thin table provider of our own instead of `iceberg-datafusion`, which forces DataFusion's default features and
//! so doubles the build. DataFusion's planner recurses deeply in debug builds: run it on a thread with 8 MiB of stack
//! or more (a tokio worker has 2 MiB; set `thread_stack_size`).

mod filters;
mod memory;
mod pool;
mod provider;
mod statement;
mod tables;
mod travel;

use crate::definition::CATALOG;
use crate::definition::NAMESPACE;
use crate::errors::permanent;
use crate::lake::Lake;
use crate::seam::{LakeError, LakeErrorKind};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_recursion::async_recursion as boxed;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::path::PathBuf;
use std::sync::Arc;
use tables::NamespaceTables;
pub use travel::AsOf;

/// The bounds of a query, and the moment of the tables that it sees.
#[derive(Debug, Clone)]
pub struct SqlOptions {
    /// The bytes that a query may hold in memory; beyond them sorts, groups and joins go on on disk. Raising it spills
    /// later.
    pub memory_max_bytes: usize,
    /// The folder where they do, in a folder of their own; the system's folder for temporary files where not given.
    pub spill_dir: Option<PathBuf>,
    /// The bytes that they may take there.
    pub spill_max_bytes: u64,
    /// The moment that the tables are seen at; now where not given.
    pub as_of: Option<AsOf>,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self { memory_max_bytes: 512 << 20, spill_dir: None, spill_max_bytes: 32 << 30, as_of: None }
    }
}

/// The rows of an answer, as they are computed.
pub struct SqlAnswer {
    /// The columns of every batch.
    pub schema: SchemaRef,
    /// The batches, each of at most 8,192 rows. An error ends the stream.
    pub batches: BoxStream<'static, Result<RecordBatch, LakeError>>,
}

impl SqlAnswer {
    /// Returns all batches at once, for answers that are known to be small.
    ///
    /// # Errors
    /// Returns the first error of the stream.
    #[boxed]
    pub async fn collect(self) -> Result<Vec<RecordBatch>, LakeError> {
        let mut batches = Vec::new();
        let mut stream = self.batches;
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl std::fmt::Debug for SqlAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlAnswer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Turns an error of DataFusion into one of the seam. It is permanent where only a change of the query cures it;
/// storage and memory may be better later.
fn sql_error(error: DataFusionError) -> LakeError {
    if let DataFusionError::External(cause) = error.find_root()
        && let Some(told) = cause.downcast_ref::<LakeError>()
    {
        return LakeError::new(told.kind(), told.to_string());
    }
    let kind = match error.find_root() {
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) | DataFusionError::ResourcesExhausted(_) => {
            LakeErrorKind::Transient
        }
        _ => LakeErrorKind::Permanent,
    };
    let text = error.strip_backtrace();
    if let DataFusionError::ResourcesExhausted(cause) = error.find_root() {
        let cause = cause.lines().next().unwrap_or_default();
        let text = format!("could not run the query in the memory that it may have (query.memory_max): {cause}");
        return LakeError::new(kind, text);
    }
    LakeError::new(kind, format!("could not run the query: {text}"))
}

impl Lake {
    /// Runs one query. Tables are `bronze_raw`, `rva.bronze_raw` or `lakehouse.rva.bronze_raw`, each as of the moment
    /// of this call; `payload->>'frame_index'` and the `json_…` functions read the payload.
    ///
    /// # Errors
    /// Returns `Permanent` for a query that can't be parsed or planned, or one that is no query (nothing is ever
    /// written); `Transient` where catalog or storage are away.
    #[boxed]
    pub async fn sql(&self, query: &str) -> Result<SqlAnswer, LakeError> {
        self.sql_with(query, &SqlOptions::default()).await
    }

    /// Runs one query within bounds, on the tables as of a moment.
    ///
    /// # Errors
    /// Fails as [`Lake::sql`] does, and also where the tables don't reach back to that moment.
    #[boxed]
    pub async fn sql_with(&self, query: &str, options: &SqlOptions) -> Result<SqlAnswer, LakeError> {
        let context = self.session(options).await?;
        let plan = statement::plan(&context, query).await.map_err(sql_error)?;
        let (schema, batches) = memory::run(&context, plan).await.map_err(sql_error)?;
        Ok(SqlAnswer { schema, batches: batches.map(|batch| batch.map_err(sql_error)).boxed() })
    }

    async fn session(&self, options: &SqlOptions) -> Result<SessionContext, LakeError> {
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, NAMESPACE)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        let runtime = memory::runtime(options).map_err(sql_error)?;
        let mut context = SessionContext::new_with_config_rt(memory::bounded(config, options), runtime);
        datafusion_functions_json::register_all(&mut context).map_err(sql_error)?;
        let catalog = Arc::clone(&self.catalog);
        let schema = Arc::new(NamespaceTables::of(catalog, self.options.allowed.clone(), options.as_of).await?);
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(NAMESPACE, schema).map_err(|error| permanent("register the tables", error))?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(context)
    }
}

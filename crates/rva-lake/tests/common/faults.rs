//! A real catalog with faults, and a storage with faults.
#![allow(dead_code, clippy::unwrap_used)]

use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use iceberg::table::Table;
use iceberg::{Catalog, Error, ErrorKind, Result, TableCommit, TableIdent, TableRequirement, TableUpdate};
use rva_lake::storage::{LakeStorage, LakeStorageFactory};
use rva_lake::{CatalogLayer, SwapMetadata};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What happens to one commit, be it a transaction or a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogFault {
    /// Nothing: it passes.
    None,
    /// An error, nothing applied.
    RequestLost,
    /// An error, applied.
    ResponseLost,
    /// Ok, nothing applied: SQLite's COMMIT failed and the catalog didn't say so.
    Lie,
    /// An error now; applied before the third load from now, too late for the first look.
    AppliedLate,
    /// A conflict, as a compactor's commit causes it.
    Conflict,
}

#[derive(Debug, Default)]
struct Plan {
    updates: VecDeque<CatalogFault>,
    loads_failing: u32,
    late: Option<(u32, Request)>,
    swaps: u32,
}

/// A request that is on its way.
#[derive(Debug)]
enum Request {
    Commit(TableCommit),
    Swap(TableIdent, Vec<TableRequirement>, Vec<TableUpdate>),
}

/// A catalog that passes calls on, but for planned faults.
#[derive(Debug, Clone)]
pub struct FaultyCatalog {
    pub inner: Arc<dyn Catalog>,
    pub swap: Arc<dyn SwapMetadata>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyCatalog {
    pub fn over(inner: Arc<dyn Catalog>, swap: Arc<dyn SwapMetadata>) -> Self {
        Self { inner, swap, plan: Arc::default() }
    }

    /// The number of swaps that were asked for.
    pub fn swaps(&self) -> u32 {
        self.plan.lock().unwrap().swaps
    }

    async fn pass(&self, request: Request) -> Result<()> {
        match request {
            Request::Commit(commit) => self.inner.update_table(commit).await.map(drop),
            Request::Swap(table, requirements, updates) => self.swap.swap(&table, requirements, updates).await,
        }
    }

    async fn with_fault(&self, request: Request) -> Result<()> {
        let fault = self.plan.lock().unwrap().updates.pop_front().unwrap_or(CatalogFault::None);
        match fault {
            CatalogFault::None => self.pass(request).await,
            CatalogFault::RequestLost => Err(lost("the request was lost")),
            CatalogFault::ResponseLost => {
                self.pass(request).await?;
                Err(lost("the response was lost"))
            }
            CatalogFault::Lie => Ok(()),
            CatalogFault::AppliedLate => {
                self.plan.lock().unwrap().late = Some((1, request));
                Err(lost("the request is on its way"))
            }
            CatalogFault::Conflict => {
                Err(Error::new(ErrorKind::CatalogCommitConflicts, "injected conflict").with_retryable(true))
            }
        }
    }

    pub fn on_updates(&self, faults: impl IntoIterator<Item = CatalogFault>) {
        self.plan.lock().unwrap().updates.extend(faults);
    }

    pub fn fail_loads(&self, count: u32) {
        self.plan.lock().unwrap().loads_failing = count;
    }
}

fn lost(text: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("injected: {text}"))
}

#[async_trait::async_trait]
impl CatalogLayer for FaultyCatalog {
    fn inner(&self) -> &dyn Catalog {
        &*self.inner
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let late = {
            let mut plan = self.plan.lock().unwrap();
            if plan.loads_failing > 0 {
                plan.loads_failing -= 1;
                return Err(lost("the catalog is away"));
            }
            match plan.late.take() {
                Some((0, request)) => Some(request),
                Some((loads, request)) => {
                    plan.late = Some((loads - 1, request));
                    None
                }
                None => None,
            }
        };
        if let Some(request) = late {
            // It may lose against what came between; either is right.
            let _ = self.pass(request).await;
        }
        self.inner.load_table(table).await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let ident = commit.identifier().clone();
        self.with_fault(Request::Commit(commit)).await?;
        self.inner.load_table(&ident).await
    }
}

#[async_trait::async_trait]
impl SwapMetadata for FaultyCatalog {
    async fn swap(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<()> {
        self.plan.lock().unwrap().swaps += 1;
        self.with_fault(Request::Swap(table.clone(), requirements, updates)).await
    }
}

/// Writes fail for paths that end so, while it is set: no space left.
#[derive(Debug, Clone, Default)]
pub struct FullDisk(Arc<Mutex<Option<&'static str>>>);

impl FullDisk {
    pub fn for_files_ending_in(&self, ending: Option<&'static str>) {
        *self.0.lock().unwrap() = ending;
    }

    fn check(&self, path: &str) -> Result<()> {
        match *self.0.lock().unwrap() {
            Some(ending) if path.ends_with(ending) => {
                let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Err(Error::new(ErrorKind::Unexpected, format!("could not write {path}")).with_source(error))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FaultyStorage {
    inner: LakeStorage,
    #[serde(skip)]
    disk: FullDisk,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FaultyFactory {
    pub inner: LakeStorageFactory,
    #[serde(skip)]
    pub disk: FullDisk,
}

#[typetag::serde]
impl StorageFactory for FaultyFactory {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(FaultyStorage { inner: self.inner.storage(), disk: self.disk.clone() }))
    }
}

#[async_trait::async_trait]
#[typetag::serde]
impl Storage for FaultyStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.inner.exists(path).await
    }
    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.inner.metadata(path).await
    }
    async fn read(&self, path: &str) -> Result<bytes::Bytes> {
        self.inner.read(path).await
    }
    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.inner.reader(path).await
    }
    async fn write(&self, path: &str, bs: bytes::Bytes) -> Result<()> {
        self.disk.check(path)?;
        self.inner.write(path, bs).await
    }
    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        self.disk.check(path)?;
        self.inner.writer(path).await
    }
    async fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path).await
    }
    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.inner.delete_prefix(path).await
    }
    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        self.inner.delete_stream(paths).await
    }
    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

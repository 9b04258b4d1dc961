//! A real catalog behind a bad line.

use iceberg::table::Table;
use iceberg::{Catalog, Error, ErrorKind, Result, TableCommit, TableIdent, TableRequirement, TableUpdate};
use rva_lake::{CatalogLayer, Lake, SwapMetadata};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// The fate of a commit, be it a transaction or a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// Gives an error, and applies nothing.
    RequestLost,
    /// Gives an error, and applies it.
    ResponseLost,
    /// Says Ok, and applies nothing: SQLite's COMMIT failed and the catalog didn't say so.
    Lie,
    /// Gives an error now, and applies it when [`CatalogFaults::lands`] says so.
    Late,
    /// Refuses it with a conflict, as after a compactor's commit.
    Conflict,
    /// Finds no space left, and applies nothing.
    NoSpace,
}

/// The fate of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFault {
    /// Gives an error.
    Away,
    /// Gives a table whose last commit lies ten minutes ahead.
    ClockBehind,
}

/// A plan of faults: says what strikes when the catalog is asked.
#[async_trait::async_trait]
pub trait CatalogFaults: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the fault of the request that comes now.
    async fn on_request(&self) -> Option<RequestFault>;

    /// Returns the fault of the load that comes now.
    async fn on_load(&self) -> Option<LoadFault>;

    /// Returns whether requests that are late are applied now; it is asked at each load that is answered.
    fn lands(&self) -> bool;

    /// Hears that a late request was applied, or refused because something came between.
    fn landed(&self, _applied: bool) {}

    /// Returns where the process is alive; of a dead one no call comes back.
    async fn alive(&self) {}
}

/// A request that is on its way.
#[derive(Debug)]
enum Request {
    Commit(TableCommit),
    Swap(TableIdent, Vec<TableRequirement>, Vec<TableUpdate>),
}

/// A catalog that passes calls on, but for what a plan says. Clones are the same.
#[derive(Debug, Clone)]
pub struct FaultyCatalog<Plan> {
    inner: Arc<dyn Catalog>,
    swap: Arc<dyn SwapMetadata>,
    /// The faults, each with the call that it strikes.
    pub plan: Plan,
    late: Arc<Mutex<Vec<Request>>>,
    swaps: Arc<AtomicU32>,
}

impl<Plan: CatalogFaults> FaultyCatalog<Plan> {
    /// Wraps a catalog and what swaps its tables' metadata.
    pub fn over(inner: Arc<dyn Catalog>, swap: Arc<dyn SwapMetadata>, plan: Plan) -> Self {
        Self { inner, swap, plan, late: Arc::default(), swaps: Arc::default() }
    }

    /// Wraps the catalog of a lake.
    pub fn of(lake: &Lake, plan: Plan) -> Self {
        Self::over(lake.catalog(), lake.swap(), plan)
    }

    /// Returns the number of swaps that were asked for.
    pub fn swaps(&self) -> u32 {
        self.swaps.load(Ordering::Relaxed)
    }

    async fn pass(&self, request: Request) -> Result<()> {
        match request {
            Request::Commit(commit) => self.inner.update_table(commit).await.map(drop),
            Request::Swap(table, requirements, updates) => self.swap.swap(&table, requirements, updates).await,
        }
    }

    async fn request(&self, request: Request) -> Result<()> {
        self.plan.alive().await;
        match self.plan.on_request().await {
            Some(RequestFault::RequestLost) => return Err(injected("the request was lost")),
            Some(RequestFault::NoSpace) => {
                return Err(injected("commit").with_source(io::Error::from(io::ErrorKind::StorageFull)));
            }
            Some(RequestFault::Conflict) => {
                return Err(Error::new(ErrorKind::CatalogCommitConflicts, "injected conflict").with_retryable(true));
            }
            Some(RequestFault::Lie) => return Ok(()),
            Some(RequestFault::Late) => {
                self.late.lock().unwrap().push(request);
                return Err(injected("the request is on its way"));
            }
            Some(RequestFault::ResponseLost) => {
                self.pass(request).await?;
                return Err(injected("the response was lost"));
            }
            None => {}
        }
        let answer = self.pass(request).await;
        self.plan.alive().await;
        answer
    }

    async fn apply_late(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for request in late {
            // It may lose against what came between; either is right.
            self.plan.landed(self.pass(request).await.is_ok());
        }
    }
}

fn injected(text: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("injected: {text}"))
}

fn behind(table: &Table) -> Result<Table> {
    let mut metadata = serde_json::to_value(table.metadata())?;
    metadata["last-updated-ms"] = (table.metadata().last_updated_ms() + 600_000).into();
    Table::builder()
        .file_io(table.file_io().clone())
        .metadata(Arc::new(serde_json::from_value::<iceberg::spec::TableMetadata>(metadata)?))
        .metadata_location(table.metadata_location_result()?)
        .identifier(table.identifier().clone())
        .runtime(iceberg::Runtime::current())
        .build()
}

#[async_trait::async_trait]
impl<Plan: CatalogFaults> CatalogLayer for FaultyCatalog<Plan> {
    fn inner(&self) -> &dyn Catalog {
        &*self.inner
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        self.plan.alive().await;
        match self.plan.on_load().await {
            Some(LoadFault::Away) => return Err(injected("the catalog is away")),
            Some(LoadFault::ClockBehind) => return behind(&self.inner.load_table(table).await?),
            None => {}
        }
        if self.plan.lands() {
            self.apply_late().await;
        }
        let found = self.inner.load_table(table).await;
        self.plan.alive().await;
        found
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let table = commit.identifier().clone();
        self.request(Request::Commit(commit)).await?;
        self.inner.load_table(&table).await
    }
}

#[async_trait::async_trait]
impl<Plan: CatalogFaults> SwapMetadata for FaultyCatalog<Plan> {
    async fn swap(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<()> {
        self.swaps.fetch_add(1, Ordering::Relaxed);
        self.request(Request::Swap(table.clone(), requirements, updates)).await
    }
}

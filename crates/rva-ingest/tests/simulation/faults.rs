//! Faults: where they strike, and a catalog and a storage that let them.

use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use iceberg::table::Table;
use iceberg::{Catalog, Error, ErrorKind, Result, TableCommit, TableIdent, TableRequirement, TableUpdate};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rva_lake::{CatalogLayer, CommitStep, SwapMetadata, storage::LakeStorageFactory};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies here.
    Crash,
    /// The catalog does not answer a load.
    LoadError,
    /// The table says that its last commit lies ten minutes ahead.
    ClockBehind,
    /// The catalog never got the request.
    RequestLost,
    /// The catalog applied the request; its answer is lost.
    ResponseLost,
    /// The request is applied after the answer was given up.
    LateApply,
    /// The catalog says Ok and stores nothing (SQLite's COMMIT failed).
    Lie,
    /// Another engine commits a snapshot without our map.
    Compactor,
    /// Another worker commits a partition that isn't ours.
    OtherWorker,
    /// Another worker commits our partitions.
    Zombie,
    /// The table is set back to an older snapshot.
    RolledBack,
    /// All snapshots but another engine's newest expire.
    Expired,
    IoError,
    NoSpace,
    /// The log's stream fails, is silent, sends again, leaves one out; an acknowledgement is lost.
    StreamError,
    Silence,
    Redelivery,
    LeftOut,
    AckLost,
}

/// Where a fault strikes: at a step of a commit, or at the log.
pub type Place = &'static str;

/// A request that is on its way to the catalog.
#[derive(Debug)]
pub enum Request {
    Commit(TableCommit),
    Swap(TableIdent, Vec<TableRequirement>, Vec<TableUpdate>),
}

/// Work of somebody else on the same tables.
pub type Intruder = Arc<dyn Fn(Fault) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

struct State {
    rng: StdRng,
    step: Place,
    budget: usize,
    crashes: usize,
    kinds: Vec<Fault>,
    hits: BTreeMap<(Place, Fault), u64>,
    late: Vec<Request>,
    intruder: Option<Intruder>,
    trace: Vec<String>,
}

/// The faults of one seed. Clones are the same.
#[derive(Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    crashed: Arc<watch::Sender<bool>>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(0, Vec::new())
    }
}

impl Faults {
    pub fn new(seed: u64, kinds: Vec<Fault>) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed ^ 0xfa17),
            step: "start",
            budget: 0,
            crashes: 0,
            kinds,
            hits: BTreeMap::new(),
            late: Vec::new(),
            intruder: None,
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), crashed: Arc::new(watch::Sender::new(false)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets `faults` strike from now on, `crashes` of them deadly.
    pub fn arm(&self, faults: usize, crashes: usize) {
        let mut state = self.state();
        (state.budget, state.crashes) = (faults, crashes);
    }

    pub fn disarm(&self) {
        self.arm(0, 0);
    }

    pub fn set_intruder(&self, intruder: Option<Intruder>) {
        self.state().intruder = intruder;
    }

    /// A new process starts.
    pub fn revive(&self) {
        self.crashed.send_replace(false);
    }

    /// Returns when the process has died.
    pub async fn death(&self) {
        let _ = self.crashed.subscribe().wait_for(|dead| *dead).await;
    }

    pub fn hits(&self) -> BTreeMap<(Place, Fault), u64> {
        self.state().hits.clone()
    }

    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    pub fn note(&self, text: String) {
        self.state().trace.push(text);
    }

    /// A step of a commit begins; perhaps the last one.
    pub fn step(&self, step: CommitStep) {
        let mut state = self.state();
        state.step = step.name();
        state.trace.push(step.name().to_owned());
        if state.crashes > 0 && state.kinds.contains(&Fault::Crash) && state.rng.random_bool(0.04) {
            state.crashes -= 1;
            let place = state.step;
            state.hit(place, Fault::Crash);
            self.crashed.send_replace(true);
        }
    }

    /// One of `possible` that strikes now, if any does.
    pub fn roll(&self, place: Option<Place>, chance: f64, possible: &[Fault]) -> Option<Fault> {
        let mut state = self.state();
        if state.budget == 0 || !state.rng.random_bool(chance) {
            return None;
        }
        // A table that is set back between a commit and its acknowledgement proves nothing: no ingest could know.
        let is_fair = |fault: &Fault| *fault != Fault::RolledBack || state.step != "housekeeping";
        let possible: Vec<_> =
            possible.iter().copied().filter(|fault| state.kinds.contains(fault) && is_fair(fault)).collect();
        let fault = *possible.choose(&mut state.rng)?;
        state.budget -= 1;
        let place = place.unwrap_or(state.step);
        state.hit(place, fault);
        Some(fault)
    }

    pub fn allows(&self, fault: Fault) -> bool {
        self.state().kinds.contains(&fault)
    }

    pub fn pick(&self, below: usize) -> usize {
        self.state().rng.random_range(0..below.max(1))
    }

    /// A dead process does nothing more.
    pub async fn alive(&self) {
        if *self.crashed.borrow() {
            std::future::pending::<()>().await;
        }
    }

    async fn intrude(&self, fault: Fault) {
        let intruder = self.state().intruder.clone();
        if let Some(intruder) = intruder {
            intruder(fault).await;
        }
    }

    /// Requests that the catalog applies only now.
    pub fn take_late(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().late)
    }
}

impl State {
    fn hit(&mut self, place: Place, fault: Fault) {
        *self.hits.entry((place, fault)).or_default() += 1;
        self.trace.push(format!("!! {fault:?} at {place}"));
    }
}

fn unknown(text: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("simulated: {text}"))
}

/// A real catalog behind a bad line.
#[derive(Debug, Clone)]
pub struct FaultyCatalog {
    pub inner: Arc<dyn Catalog>,
    pub swap: Arc<dyn SwapMetadata>,
    pub faults: Faults,
}

impl FaultyCatalog {
    async fn apply_late(&self) {
        for request in self.faults.take_late() {
            let landed = self.pass(request).await.is_ok();
            self.faults.note(format!("late request landed: {landed}"));
        }
    }

    async fn pass(&self, request: Request) -> Result<()> {
        match request {
            Request::Commit(commit) => self.inner.update_table(commit).await.map(drop),
            Request::Swap(ident, requirements, updates) => self.swap.swap(&ident, requirements, updates).await,
        }
    }

    async fn request(&self, request: Request) -> Result<()> {
        use Fault::*;
        self.faults.alive().await;
        let possible = [RequestLost, ResponseLost, LateApply, Lie, NoSpace, Compactor, OtherWorker, Zombie];
        match self.faults.roll(None, 0.18, &possible) {
            Some(RequestLost) => return Err(unknown("request lost")),
            Some(NoSpace) => return Err(unknown("commit").with_source(io::Error::from(io::ErrorKind::StorageFull))),
            Some(Lie) => return Ok(()),
            Some(LateApply) => {
                self.faults.state().late.push(request);
                return Err(unknown("timeout, applied later"));
            }
            Some(ResponseLost) => {
                self.pass(request).await?;
                return Err(unknown("response lost"));
            }
            Some(other) => self.faults.intrude(other).await,
            None => {}
        }
        let answer = self.pass(request).await;
        self.faults.alive().await;
        answer
    }

    async fn behind(&self, table: Table) -> Result<Table> {
        let mut json = serde_json::to_value(table.metadata())?;
        let ahead = table.metadata().last_updated_ms() + 600_000;
        json["last-updated-ms"] = ahead.into();
        Table::builder()
            .file_io(table.file_io().clone())
            .metadata(Arc::new(serde_json::from_value::<iceberg::spec::TableMetadata>(json)?))
            .metadata_location(table.metadata_location_result()?)
            .identifier(table.identifier().clone())
            .runtime(iceberg::Runtime::current())
            .build()
    }
}

#[async_trait::async_trait]
impl CatalogLayer for FaultyCatalog {
    fn inner(&self) -> &dyn Catalog {
        &*self.inner
    }

    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        use Fault::*;
        self.faults.alive().await;
        let fault = self.faults.roll(
            None,
            0.05,
            &[LoadError, ClockBehind, Compactor, OtherWorker, Zombie, RolledBack, Expired],
        );
        match fault {
            Some(LoadError) => return Err(unknown("catalog away")),
            Some(ClockBehind) => return self.behind(self.inner.load_table(ident).await?).await,
            Some(other) => self.faults.intrude(other).await,
            None => {}
        }
        if self.faults.pick(2) == 0 {
            self.apply_late().await;
        }
        let table = self.inner.load_table(ident).await;
        self.faults.alive().await;
        table
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let ident = commit.identifier().clone();
        self.request(Request::Commit(commit)).await?;
        self.inner.load_table(&ident).await
    }
}

#[async_trait::async_trait]
impl SwapMetadata for FaultyCatalog {
    async fn swap(
        &self,
        ident: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<()> {
        self.request(Request::Swap(ident.clone(), requirements, updates)).await
    }
}

/// The lake's own storage on a bad disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaultyStorage {
    #[serde(skip)]
    faults: Faults,
    #[serde(skip, default = "no_storage")]
    inner: Arc<dyn Storage>,
}

fn no_storage() -> Arc<dyn Storage> {
    Arc::new(LakeStorageFactory::default().storage())
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FaultyStorageFactory {
    #[serde(skip)]
    pub faults: Faults,
    pub inner: LakeStorageFactory,
}

#[typetag::serde(name = "SimulatedStorageFactory")]
impl StorageFactory for FaultyStorageFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(FaultyStorage { faults: self.faults.clone(), inner: self.inner.build(config)? }))
    }
}

impl FaultyStorage {
    async fn strike(&self, what: &str, chance: f64) -> Result<()> {
        self.faults.alive().await;
        match self.faults.roll(None, chance, &[Fault::IoError, Fault::NoSpace]) {
            Some(Fault::IoError) => Err(unknown(what).with_source(io::Error::other("simulated I/O error"))),
            Some(_) => Err(unknown(what).with_source(io::Error::from(io::ErrorKind::StorageFull))),
            None => Ok(()),
        }
    }
}

struct FaultyWrite {
    storage: FaultyStorage,
    inner: Box<dyn FileWrite>,
}

#[async_trait::async_trait]
impl FileWrite for FaultyWrite {
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        self.storage.strike("write", 0.02).await?;
        self.inner.write(bytes).await
    }

    async fn close(&mut self) -> Result<()> {
        self.storage.strike("close", 0.04).await?;
        self.inner.close().await?;
        self.storage.faults.alive().await;
        Ok(())
    }
}

#[async_trait::async_trait]
#[typetag::serde(name = "SimulatedStorage")]
impl Storage for FaultyStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.faults.alive().await;
        self.inner.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.faults.alive().await;
        self.inner.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<bytes::Bytes> {
        self.strike("read", 0.01).await?;
        self.inner.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.strike("open", 0.01).await?;
        self.inner.reader(path).await
    }

    async fn write(&self, path: &str, bytes: bytes::Bytes) -> Result<()> {
        self.strike("write", 0.04).await?;
        self.inner.write(path, bytes).await?;
        self.faults.alive().await;
        Ok(())
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        self.strike("create", 0.02).await?;
        Ok(Box::new(FaultyWrite { storage: self.clone(), inner: self.inner.writer(path).await? }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.strike("delete", 0.05).await?;
        self.inner.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.faults.alive().await;
        self.inner.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        self.faults.alive().await;
        self.inner.delete_stream(paths).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

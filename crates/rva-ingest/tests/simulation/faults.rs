//! Faults of one seed: where they strike, and what the catalog and the storage then do.

use iceberg::{Error, ErrorKind, Result};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rva_lake::CommitStep;
use rva_testkit::lake::{CatalogFaults, LoadFault, RequestFault, StorageCall, StorageFaults};
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

/// Work of somebody else on the same tables.
pub type Intruder = Arc<dyn Fn(Fault) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

struct State {
    rng: StdRng,
    step: Place,
    budget: usize,
    crashes: usize,
    kinds: Vec<Fault>,
    hits: BTreeMap<(Place, Fault), u64>,
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
}

impl State {
    fn hit(&mut self, place: Place, fault: Fault) {
        *self.hits.entry((place, fault)).or_default() += 1;
        self.trace.push(format!("!! {fault:?} at {place}"));
    }
}

#[async_trait::async_trait]
impl CatalogFaults for Faults {
    async fn on_request(&self) -> Option<RequestFault> {
        use Fault::*;
        let possible = [RequestLost, ResponseLost, LateApply, Lie, NoSpace, Compactor, OtherWorker, Zombie];
        match self.roll(None, 0.18, &possible)? {
            RequestLost => Some(RequestFault::RequestLost),
            NoSpace => Some(RequestFault::NoSpace),
            Lie => Some(RequestFault::Lie),
            LateApply => Some(RequestFault::Late),
            ResponseLost => Some(RequestFault::ResponseLost),
            other => {
                self.intrude(other).await;
                None
            }
        }
    }

    async fn on_load(&self) -> Option<LoadFault> {
        use Fault::*;
        let possible = [LoadError, ClockBehind, Compactor, OtherWorker, Zombie, RolledBack, Expired];
        match self.roll(None, 0.05, &possible)? {
            LoadError => Some(LoadFault::Away),
            ClockBehind => Some(LoadFault::ClockBehind),
            other => {
                self.intrude(other).await;
                None
            }
        }
    }

    fn lands(&self) -> bool {
        self.pick(2) == 0
    }

    fn landed(&self, applied: bool) {
        self.note(format!("late request landed: {applied}"));
    }

    async fn alive(&self) {
        Self::alive(self).await;
    }
}

#[async_trait::async_trait]
impl StorageFaults for Faults {
    async fn before(&self, call: StorageCall, path: &str) -> Result<()> {
        Self::alive(self).await;
        let chance = match call {
            StorageCall::Look | StorageCall::DeleteMany => return Ok(()),
            StorageCall::Read | StorageCall::Open => 0.01,
            StorageCall::Create | StorageCall::WritePart => 0.02,
            StorageCall::Write | StorageCall::Close => 0.04,
            StorageCall::Delete => 0.05,
        };
        let source = match self.roll(None, chance, &[Fault::IoError, Fault::NoSpace]) {
            Some(Fault::IoError) => io::Error::other("simulated I/O error"),
            Some(_) => io::Error::from(io::ErrorKind::StorageFull),
            None => return Ok(()),
        };
        Err(Error::new(ErrorKind::Unexpected, format!("simulated: {call:?} {path}")).with_source(source))
    }

    async fn alive(&self) {
        Self::alive(self).await;
    }
}

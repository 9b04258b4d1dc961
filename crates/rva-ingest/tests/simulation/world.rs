//! One seed: a log, a real catalog on SQLite, faults, and somebody else's work on the same tables.

use crate::{
    check::{self, Violation},
    faults::{Fault, Faults, Intruder, Place},
    log::{CommittedMap, SimLog},
    tables::bronze_ident,
};
use iceberg::spec::{SnapshotReference, SnapshotRetention, TableMetadataBuilder};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{MetadataLocation, util::snapshot::ancestors_of};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rva_bus::EventSource;
use rva_ingest::{Batcher, Clock, IngestCounters, IngestEvent, IngestOptions, IngestRules, Phase, run_ingest};
use rva_lake::{
    Batch, CommitOutcome, CommitRules, Lake, LakeOptions, Layered, TableSink, embedded_catalog,
    storage::LakeStorageFactory,
};
use rva_testkit::lake::{FaultyCatalog, FaultyFactory};
use rva_types::{OffsetMap, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

pub const CAMERAS: [&str; 3] = ["cam_a", "cam_b", "cam_c"];

/// The partition that [`Fault::OtherWorker`] commits where the seed splits the work.
const OTHERS: &str = "cam_c";

/// Which rule of the product is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    None,
    NoFence,
    NoReload,
    AcknowledgeFirst,
}

/// What one seed showed.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub hits: BTreeMap<(Place, Fault), u64>,
    pub trace: Vec<String>,
    pub sent: usize,
    pub counts: [u64; 4],
}

/// Time that stands still but for sleeps.
#[derive(Default)]
struct SimClock(AtomicU64);

#[async_trait::async_trait]
impl Clock for SimClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + self.0.load(Ordering::SeqCst) as i64)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.fetch_add(1_000, Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.fetch_add(duration.as_micros() as u64, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

struct World {
    rng: StdRng,
    log: SimLog,
    clean: Lake,
    faults: Faults,
    lake: Lake,
    options: IngestOptions,
    clock: SimClock,
    batched: bool,
    /// The table was set back since the offsets were last compared.
    rolled_back: Arc<Mutex<bool>>,
    next_frame: BTreeMap<(usize, usize), i64>,
    sent: Vec<String>,
    last_offsets: OffsetMap,
    violations: Vec<Violation>,
    counts: [u64; 4],
}

/// A folder in memory, where a sync costs nothing.
const MEMORY: &str = "/dev/shm";

/// Files that crashed runs still hold open take room until the process ends; a container often has only 64 MiB there.
fn memory_is_roomy() -> bool {
    const WANTED_BYTES: u64 = 4 << 30;
    rustix::fs::statvfs(MEMORY).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= WANTED_BYTES)
}

/// Runs one seed to its end.
pub async fn simulate(seed: u64, mutant: Mutant) -> Outcome {
    let builder = &mut tempfile::Builder::new();
    let builder = builder.prefix("rva-sim-");
    let dir = if memory_is_roomy() { builder.tempdir_in(MEMORY) } else { builder.tempdir() }.unwrap();
    let mut world = World::new(seed, mutant, dir.path()).await;
    let rounds = world.rng.random_range(2..5);
    for _ in 0..rounds {
        world.append();
        let (faults, crashes) = (world.rng.random_range(1..5), world.rng.random_range(0..3));
        world.faults.arm(faults, crashes);
        world.ingest().await;
        world.between_runs().await;
        if !world.violations.is_empty() {
            break;
        }
    }
    world.finish().await
}

impl World {
    async fn new(seed: u64, mutant: Mutant, dir: &Path) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // A table that is set back needs a log that remembers.
        let forgets = rng.random_bool(0.4);
        let mut kinds = all_faults();
        if forgets {
            kinds.retain(|fault| *fault != Fault::RolledBack);
        }
        let splits = rng.random_bool(0.3);
        kinds.retain(|fault| *fault != if splits { Fault::Zombie } else { Fault::OtherWorker });
        let faults = Faults::new(seed, kinds);
        let plain = LakeStorageFactory::default();
        let clean_catalog = embedded_catalog(dir, Arc::new(plain.clone())).await.unwrap();
        let clean = Lake::from_parts(clean_catalog, LakeOptions::default()).await.unwrap();
        let factory = FaultyFactory::over(plain.clone(), faults.clone());
        let inner = embedded_catalog(dir, Arc::new(factory.clone())).await.unwrap();
        let storage_options = LakeOptions::default().with_storage(Arc::new(factory.clone()), plain.clone());
        let swap = Lake::open_embedded(dir, storage_options).await.unwrap().swap();
        let catalog = FaultyCatalog::over(inner, swap, faults.clone());
        let lake_options = lake_options(&faults, factory, plain, mutant, &mut rng);
        let lake = Lake::from_parts(Arc::new(Layered(catalog.clone())), lake_options).await.unwrap();
        // Half of the worlds have a catalog that can only append.
        let lake = if rng.random_bool(0.5) { lake.with_swap(Arc::new(catalog)) } else { lake };
        let options = IngestOptions {
            commit_interval: Duration::from_millis(rng.random_range(2..30)),
            commit_bytes: rng.random_range(600..6_000),
            buffered_bytes_max: 8_000,
            poll_bytes_max: 2_000,
            poll_wait: Duration::ZERO,
            silence_max: Duration::from_millis(5),
            backoff_min: Duration::from_millis(1),
            partitions: splits
                .then(|| CAMERAS.iter().filter(|name| **name != OTHERS).map(|name| (*name).into()).collect()),
            rules: IngestRules { acknowledge_after_commit: mutant != Mutant::AcknowledgeFirst },
            ..IngestOptions::default()
        };
        let world = Self {
            log: SimLog::new(forgets),
            clean,
            faults,
            lake,
            options,
            clock: SimClock::default(),
            batched: rng.random_bool(0.5),
            rolled_back: Arc::default(),
            next_frame: BTreeMap::new(),
            sent: Vec::new(),
            last_offsets: OffsetMap::new(),
            violations: Vec::new(),
            counts: [0; 4],
            rng,
        };
        world.faults.set_intruder(Some(world.intruder()));
        world
    }

    /// Sends frames of a few runs: in order, some again, some late, some that are no frames.
    fn append(&mut self) {
        for _ in 0..self.rng.random_range(4..14) {
            let camera = self.rng.random_range(0..CAMERAS.len());
            let count = self.rng.random_range(1..4);
            let mut bodies: Vec<String> = (0..count).map(|_| self.body(camera)).collect();
            if self.rng.random_bool(0.1) {
                bodies.reverse();
            }
            self.sent.extend(bodies.iter().cloned());
            self.log.append(CAMERAS[camera], self.batched, bodies);
        }
    }

    fn body(&mut self, camera: usize) -> String {
        let again = self.rng.random_bool(0.15);
        if again && !self.sent.is_empty() {
            let mark = format!("\"camera_id\":\"{}\"", CAMERAS[camera]);
            let old: Vec<_> = self.sent.iter().filter(|body| body.contains(&mark)).collect();
            if !old.is_empty() {
                let old = old[self.rng.random_range(0..old.len())].clone();
                // Somebody claims the frame with another payload.
                return match self.rng.random_bool(0.3) {
                    true => old.replacen('{', &format!("{{\"claim\":{},", self.sent.len()), 1),
                    false => old,
                };
            }
        }
        if self.rng.random_bool(0.06) {
            return ["{", "[1]", "", r#"{"payload":5}"#][self.rng.random_range(0..4)].to_owned();
        }
        let run = self.rng.random_range(0..2);
        let next = self.next_frame.entry((camera, run)).or_insert(0);
        *next += 1;
        // A frame that comes before its predecessor, or far away from it.
        let frame = if self.rng.random_bool(0.05) { *next + 70_000 } else { *next };
        format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"run-{run}","frame_index":{frame},"source":{{"store_id":"s{run}","camera_id":"{}"}}}}"#,
            CAMERAS[camera]
        )
    }

    fn committed(&self) -> CommittedMap {
        let lake = self.clean.clone();
        Arc::new(move || {
            let lake = lake.clone();
            Box::pin(async move { lake.bronze_sink().unwrap().resume_point().await.unwrap().offsets })
        })
    }

    /// Runs the product's loop until it has drained the log, starting it again when it dies.
    async fn ingest(&mut self) {
        loop {
            let mut source = self.log.source(self.faults.clone(), self.committed(), 8_000 + 2_000);
            let (mut bronze, mut dead) = (self.lake.bronze_sink().unwrap(), self.lake.dead_letter_sink().unwrap());
            let (_keep, phase) = watch::channel(Phase::Drain);
            let faults = self.faults.clone();
            let mut observer = move |event: &IngestEvent, _: &IngestCounters| match event {
                IngestEvent::Started { offsets } => faults.note(format!("started {}", offsets.to_json())),
                IngestEvent::Committed { offsets, rows, .. } => {
                    faults.note(format!("committed {rows} rows up to {}", offsets.to_json()));
                }
                _ => {}
            };
            let run = run_ingest(&mut source, &mut bronze, &mut dead, &self.options, &self.clock, phase, &mut observer);
            let ended = tokio::select! {
                biased;
                () = self.faults.death() => None,
                ended = run => Some(ended),
            };
            let done = match ended {
                None => {
                    self.faults.note("-- restart".into());
                    self.faults.revive();
                    false
                }
                Some(Ok(report)) => {
                    let counters = report.counters;
                    let of_run = [counters.commits, counters.fenced, counters.rows_known, counters.rebuilds];
                    (0..4).for_each(|i| self.counts[i] += of_run[i]);
                    true
                }
                Some(Err(error)) => {
                    self.violations.push(("halted", format!("{error:?}")));
                    true
                }
            };
            self.check().await;
            if done || !self.violations.is_empty() {
                return;
            }
        }
    }

    /// What happens to a table while no ingest runs.
    async fn between_runs(&mut self) {
        let intruder = self.intruder();
        if self.rng.random_bool(0.15) {
            intruder(Fault::Expired).await;
        }
        if self.rng.random_bool(0.15) && self.faults.allows(Fault::RolledBack) {
            intruder(Fault::RolledBack).await;
        }
        if self.rng.random_bool(0.3) {
            intruder(Fault::Compactor).await;
        }
        self.check().await;
    }

    async fn check(&mut self) {
        let excused = std::mem::take(&mut *self.rolled_back.lock().unwrap());
        let before = if excused { OffsetMap::new() } else { self.last_offsets.clone() };
        let (found, offsets) = check::invariants(&self.clean, &self.log, &before).await;
        self.last_offsets = offsets;
        self.violations.extend(found);
        self.violations.extend(self.log.violations());
    }

    /// No more faults: everything that was sent must arrive.
    async fn finish(mut self) -> Outcome {
        self.faults.disarm();
        self.options.partitions = None;
        if self.violations.is_empty() {
            self.ingest().await;
        }
        if self.violations.is_empty() && self.last_offsets != self.log.end() {
            let text = format!("{} at the end, wanted {}", self.last_offsets.to_json(), self.log.end().to_json());
            self.violations.push(("I1", text));
        }
        Outcome {
            violations: self.violations,
            hits: self.faults.hits(),
            trace: self.faults.trace(),
            sent: self.sent.len(),
            counts: self.counts,
        }
    }

    fn intruder(&self) -> Intruder {
        let (lake, log, rolled_back) = (self.clean.clone(), self.log.clone(), Arc::clone(&self.rolled_back));
        let faults = self.faults.clone();
        let committed = self.committed();
        Arc::new(move |fault| {
            let (lake, log, rolled_back) = (lake.clone(), log.clone(), Arc::clone(&rolled_back));
            let (faults, committed) = (faults.clone(), Arc::clone(&committed));
            Box::pin(async move {
                match fault {
                    Fault::Compactor => compact(&lake).await,
                    Fault::Expired => {
                        // A known limit: where the rolled-back snapshot itself expires before our next commit, the
                        // mirror alone is left, and it can't tell a rollback from an expiry.
                        if lake.bronze_sink().unwrap().resume_point().await.unwrap().rolled_back_from.is_some() {
                            return;
                        }
                        compact(&lake).await;
                        edit(&lake, |builder, snapshots, _| builder.remove_snapshots(snapshots)).await;
                    }
                    Fault::RolledBack => roll_back(&lake, &faults, &rolled_back).await,
                    Fault::OtherWorker => commit_some(&lake, &log, &committed, Some(OTHERS)).await,
                    _ => commit_some(&lake, &log, &committed, None).await,
                }
            })
        })
    }
}

fn all_faults() -> Vec<Fault> {
    use Fault::*;
    vec![
        Crash,
        LoadError,
        ClockBehind,
        RequestLost,
        ResponseLost,
        LateApply,
        Lie,
        Compactor,
        OtherWorker,
        Zombie,
        RolledBack,
        Expired,
        IoError,
        NoSpace,
        StreamError,
        Silence,
        Redelivery,
        LeftOut,
        AckLost,
    ]
}

fn lake_options(
    faults: &Faults,
    factory: FaultyFactory,
    plain: LakeStorageFactory,
    mutant: Mutant,
    rng: &mut StdRng,
) -> LakeOptions {
    let mut options = LakeOptions::default().with_storage(Arc::new(factory), plain).with_rules(CommitRules {
        fence: mutant != Mutant::NoFence,
        reload_after_unknown: mutant != Mutant::NoReload,
        ..CommitRules::default()
    });
    options.retry.attempts_max = rng.random_range(1..4);
    options.retry.wait_first = Duration::from_micros(100);
    options.retry.wait_max = Duration::from_micros(200);
    options.manifests_max = rng.random_range(2..6);
    options.housekeeping.snapshots_kept = 3;
    options.housekeeping.snapshots_slack = 1;
    // Every map in a file of its own, as those of many cameras are, or in the summaries.
    options.offsets_inline_max = if rng.random_bool(0.5) { 0 } else { 1024 };
    let observer = faults.clone();
    options.observer = Arc::new(move |step| observer.step(step));
    options
}

/// Another engine's snapshot, without our map.
async fn compact(lake: &Lake) {
    let catalog = lake.catalog();
    let table = catalog.load_table(&bronze_ident()).await.unwrap();
    let transaction = Transaction::new(&table);
    let append = transaction.fast_append().with_check_duplicate(false);
    let append = append.set_snapshot_properties([("engine".to_owned(), "other".to_owned())].into());
    append.apply(transaction).unwrap().commit(catalog.as_ref()).await.unwrap();
}

/// Rewrites a table's metadata as a maintenance engine would: builder, its snapshots but the current, the oldest.
async fn edit(lake: &Lake, change: impl FnOnce(TableMetadataBuilder, &[i64], Option<i64>) -> TableMetadataBuilder) {
    let catalog = lake.catalog();
    let table = catalog.load_table(&bronze_ident()).await.unwrap();
    let location = table.metadata_location_result().unwrap();
    let current = table.metadata().current_snapshot_id();
    let others: Vec<i64> =
        table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id()).filter(|id| Some(*id) != current).collect();
    let parent = table.metadata().current_snapshot().and_then(|snapshot| snapshot.parent_snapshot_id());
    // Set back to where only another engine's snapshots are left, the table would not say what its rows justify: then
    // the log is read again from its start, and the keys keep the rows single. That is a state of its own.
    let carries_map = |id: i64| {
        ancestors_of(&table.metadata_ref(), id)
            .any(|snapshot| snapshot.summary().additional_properties.contains_key("rva.ingest.offsets"))
    };
    let parent = parent.filter(|id| others.contains(id) && carries_map(*id));
    let builder = table.metadata().clone().into_builder(Some(location.to_owned()));
    let changed = change(builder, &others, parent).build().unwrap().metadata;
    let next: MetadataLocation = location.parse().unwrap();
    let next = next.with_next_version().with_new_metadata(&changed);
    changed.write_to(table.file_io(), &next).await.unwrap();
    catalog.drop_table(&bronze_ident()).await.unwrap();
    catalog.register_table(&bronze_ident(), next.to_string()).await.unwrap();
}

async fn roll_back(lake: &Lake, faults: &Faults, rolled_back: &Mutex<bool>) {
    let mut done = false;
    edit(lake, |builder, _, parent| match parent {
        Some(snapshot_id) => {
            done = true;
            let retention = SnapshotRetention::branch(None, None, None);
            builder.set_ref("main", SnapshotReference { snapshot_id, retention }).unwrap()
        }
        None => builder,
    })
    .await;
    if done {
        faults.note("table set back by one snapshot".into());
        *rolled_back.lock().unwrap() = true;
    }
}

/// Another worker's clean commit of a stretch of the log: of one partition, or of all that are ours.
async fn commit_some(lake: &Lake, log: &SimLog, committed: &CommittedMap, only: Option<&str>) {
    let (mut bronze, mut dead) = (lake.bronze_sink().unwrap(), lake.dead_letter_sink().unwrap());
    let point = bronze.resume_point().await.unwrap();
    let mut source = log.source(Faults::default(), Arc::clone(committed), usize::MAX);
    let mut batcher = Batcher::new(source.identity(), point.offsets.clone(), point.offsets.clone());
    for range in source.partitions().await.unwrap() {
        batcher.learn(&range);
    }
    source.seek(&point.offsets).await.unwrap();
    for message in source.poll(1_000, Duration::ZERO).await.unwrap() {
        if only.is_none_or(|partition| message.partition == partition) {
            batcher.offer(&message, Timestamp::from_micros(2), Duration::ZERO);
        }
    }
    let Some(mut cut) = batcher.cut() else { return };
    let mut letters = std::mem::take(&mut cut.dead);
    loop {
        if !letters.is_empty() {
            let from = dead.resume_point().await.unwrap().offsets;
            let to = from.merged(&cut.bronze.to);
            let batch = Batch { source: cut.bronze.source.clone(), from, to, rows: letters };
            dead.commit(&batch).await.unwrap();
        }
        match bronze.commit(&cut.bronze).await.unwrap() {
            CommitOutcome::Conflicting(places) => letters = cut.lose(&places),
            _ => return,
        }
    }
}

/// The keys, each as often as it is there.
pub fn repeated<T: Ord + Clone>(all: &[T]) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.iter().filter(|item| !seen.insert((*item).clone())).cloned().collect()
}

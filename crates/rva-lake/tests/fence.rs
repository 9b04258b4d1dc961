//! The fence, unknown outcomes, and what other engines do to a table between two commits.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, keys_of, quick, row, row_of, table_keys};
use iceberg::spec::{
    MAIN_BRANCH, NestedField, PrimitiveType, Schema, SnapshotReference, SnapshotRetention, TableMetadataBuilder,
    Transform, Type, UnboundPartitionSpec,
};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use rva_lake::storage::LakeStorageFactory;
use rva_lake::{
    BronzeSink, CommitOutcome, CommitRules, CommitStep, Lake, LakeErrorKind, LakeOptions, Layered, TableSink,
    embedded_catalog,
};
use rva_testkit::lake::{FaultyCatalog, FaultyFactory, FullDisk, RequestFault, Script};
use std::sync::{Arc, Mutex};

fn committed(rows_appended: u64, rows_known: u64) -> CommitOutcome {
    CommitOutcome::Committed { rows_appended, rows_known }
}

fn bronze() -> TableIdent {
    TableIdent::from_strs(["rva", "bronze_raw"]).unwrap()
}

/// The way in which rows get into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The crate's own transaction, where the catalog can do no more.
    Transaction,
    /// A swap of our own, which merges manifests.
    Swap,
}

const BOTH: [By; 2] = [By::Transaction, By::Swap];

struct Fixture {
    dir: tempfile::TempDir,
    catalog: Layered<FaultyCatalog<Script>>,
    lake: Lake,
    sink: BronzeSink,
    by: By,
}

impl Fixture {
    /// Opens the same tables with other options.
    async fn open(&self, options: LakeOptions) -> Lake {
        opened(&self.catalog, self.by, options).await
    }
}

async fn opened(catalog: &Layered<FaultyCatalog<Script>>, by: By, options: LakeOptions) -> Lake {
    let lake = Lake::from_parts(Arc::new(catalog.clone()), options).await.unwrap();
    match by {
        By::Transaction => lake,
        By::Swap => lake.with_swap(Arc::new(catalog.0.clone())),
    }
}

async fn fixture_by(by: By, options: LakeOptions) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let inner = embedded_catalog(dir.path(), Arc::clone(&options.storage)).await.unwrap();
    let swap = Lake::open_embedded(dir.path(), options.clone()).await.unwrap().swap();
    let catalog = Layered(FaultyCatalog::over(inner, swap, Script::default()));
    let lake = opened(&catalog, by, options).await;
    let sink = lake.bronze_sink().unwrap();
    Fixture { dir, catalog, lake, sink, by }
}

async fn fixture_with(options: LakeOptions) -> Fixture {
    fixture_by(By::Swap, options).await
}

async fn fixture() -> Fixture {
    fixture_with(quick()).await
}

/// Commits frame `number` of partition `a`.
async fn one(sink: &mut BronzeSink, number: u64) -> Result<CommitOutcome, rva_lake::LakeError> {
    let from = if number == 1 { at(&[]) } else { at(&[("a", number - 1)]) };
    let rows = vec![row("run", i64::try_from(number).unwrap())];
    sink.commit(&batch(from, at(&[("a", number)]), rows)).await
}

#[tokio::test]
async fn every_unknown_outcome_ends_with_the_rows_once() {
    use RequestFault::{Conflict, Late, Lie, RequestLost, ResponseLost};
    let plans: [&[RequestFault]; 8] = [
        &[RequestLost],
        &[ResponseLost],
        &[Lie],
        &[Late],
        &[Conflict],
        &[RequestLost, Lie, ResponseLost],
        &[Lie, Lie, Late],
        &[Conflict, RequestLost, Late],
    ];
    for by in BOTH {
        let mut fixture = fixture_by(by, quick()).await;
        for (number, plan) in (1..).zip(plans) {
            fixture.catalog.0.plan.on_requests(plan.iter().copied().map(Some));
            let outcome = one(&mut fixture.sink, number).await.unwrap();
            assert_eq!(outcome, committed(1, 0), "{by:?}: {plan:?}");
            let wanted = keys_of("run", 1..=i64::try_from(number).unwrap());
            assert_eq!(table_keys(&fixture.lake).await, wanted, "{by:?}: {plan:?}");
        }
        let resume = fixture.sink.resume_point().await.unwrap();
        assert_eq!((resume.offsets, resume.sequence), (at(&[("a", 8)]), 8), "each batch was committed once");
        assert_eq!(fixture.catalog.0.swaps() > 0, by == By::Swap);
    }
}

#[tokio::test]
async fn a_batch_given_back_is_committed_again_under_its_own_id() {
    let mut options = quick();
    options.retry.attempts_max = 1;
    let mut fixture = fixture_with(options).await;
    fixture.catalog.0.plan.on_requests([Some(RequestFault::ResponseLost)]);
    let steps = Arc::new(Mutex::new(Vec::new()));
    // The look after the lost response fails too: the outcome stays unknown.
    let catalog = fixture.catalog.clone();
    let mut options = quick();
    options.retry.attempts_max = 1;
    let seen = Arc::clone(&steps);
    options.observer = Arc::new(move |step| {
        if step == CommitStep::CommitReturned && seen.lock().unwrap().iter().all(|s| *s != step) {
            catalog.0.plan.fail_loads(1);
        }
        seen.lock().unwrap().push(step);
    });
    let lake = fixture.open(options).await;
    fixture.sink = lake.bronze_sink().unwrap();
    let error = one(&mut fixture.sink, 1).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}");
    steps.lock().unwrap().clear();
    assert_eq!(one(&mut fixture.sink, 1).await.unwrap(), committed(1, 0));
    let again = steps.lock().unwrap().clone();
    assert!(!again.contains(&CommitStep::WriteFiles) && !again.contains(&CommitStep::CommitSent), "{again:?}");
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", [1]));
}

#[tokio::test]
async fn steps_come_in_order() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let mut options = quick();
    let seen = Arc::clone(&steps);
    options.observer = Arc::new(move |step| seen.lock().unwrap().push(step));
    for by in BOTH {
        let mut fixture = fixture_by(by, options.clone()).await;
        one(&mut fixture.sink, 1).await.unwrap();
        assert_eq!(*steps.lock().unwrap(), CommitStep::ALL, "{by:?}");
        steps.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn the_fence_stops_a_zombie_that_races_the_owner() {
    let mut fixture = fixture().await;
    let mut zombie = fixture.lake.bronze_sink().unwrap();
    one(&mut fixture.sink, 1).await.unwrap();
    let stale = batch(at(&[]), at(&[("a", 2)]), vec![row("run", 1), row("run", 2)]);
    let CommitOutcome::Fenced(resume) = zombie.commit(&stale).await.unwrap() else { panic!("the zombie got in") };
    assert_eq!(resume.offsets, at(&[("a", 1)]));
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", [1]));
}

#[tokio::test]
async fn an_owner_that_commits_between_the_look_and_the_swap_fences_too() {
    for by in BOTH {
        owner_between(fixture_by(by, quick()).await).await;
    }
}

async fn owner_between(mut fixture: Fixture) {
    let owner = Arc::new(tokio::sync::Mutex::new(fixture.lake.bronze_sink().unwrap()));
    let runtime = tokio::runtime::Handle::current();
    let mut options = quick();
    let once = Arc::new(Mutex::new(true));
    options.observer = Arc::new(move |step| {
        if step == CommitStep::BuildManifest && std::mem::take(&mut *once.lock().unwrap()) {
            let (owner, runtime) = (Arc::clone(&owner), runtime.clone());
            // The step is told synchronously, so the owner commits on a thread of its own meanwhile.
            std::thread::spawn(move || {
                let mut owner = owner.blocking_lock();
                runtime.block_on(one(&mut owner, 1)).unwrap();
            })
            .join()
            .unwrap();
        }
    });
    let lake = fixture.open(options).await;
    let task = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut zombie = lake.bronze_sink().unwrap();
            zombie.commit(&batch(at(&[]), at(&[("a", 3)]), vec![row("run", 3)])).await.unwrap()
        })
    });
    let CommitOutcome::Fenced(resume) = task.await.unwrap() else { panic!("the late one got in") };
    assert_eq!(resume.offsets, at(&[("a", 1)]));
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", [1]));
    one(&mut fixture.sink, 2).await.unwrap();
}

#[tokio::test]
async fn without_the_fence_a_stale_batch_gets_in() {
    let rules = CommitRules { fence: false, ..CommitRules::default() };
    for by in BOTH {
        let mut fixture = fixture_by(by, quick()).await;
        one(&mut fixture.sink, 1).await.unwrap();
        let mut zombie = fixture.open(quick().with_rules(rules)).await.bronze_sink().unwrap();
        let stale = batch(at(&[]), at(&[("a", 1)]), vec![row("run", 100)]);
        let outcome = zombie.commit(&stale).await.unwrap();
        assert_eq!(outcome, committed(1, 0), "{by:?}: the mutant lets it in: the fence is what stops it");
    }
}

#[tokio::test]
async fn without_the_reload_a_lie_is_believed() {
    let rules = CommitRules { reload_after_unknown: false, ..CommitRules::default() };
    for by in BOTH {
        let mut fixture = fixture_by(by, quick().with_rules(rules)).await;
        fixture.catalog.0.plan.on_requests([Some(RequestFault::Lie)]);
        assert_eq!(one(&mut fixture.sink, 1).await.unwrap(), committed(1, 0));
        assert_eq!(table_keys(&fixture.lake).await, [], "{by:?}: the mutant acknowledges what isn't there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_with_partitions_of_their_own_both_get_everything_in() {
    let fixture = fixture().await;
    let work = |partition: &'static str| {
        let mut sink = fixture.lake.bronze_sink().unwrap();
        async move {
            let mut known = at(&[]);
            for number in 1..=12 {
                loop {
                    let to = known.merged(&at(&[(partition, number)]));
                    let rows = vec![row_of("s", "cam_01", &format!("run-{partition}"), i64::try_from(number).unwrap())];
                    match sink.commit(&batch(known.clone(), to, rows)).await {
                        Ok(CommitOutcome::Committed { .. }) => break,
                        Ok(CommitOutcome::Fenced(resume)) => panic!("fenced by nobody: {resume:?}"),
                        Ok(CommitOutcome::Conflicting(rows)) => panic!("conflicts of nobody: {rows:?}"),
                        Err(error) => assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}"),
                    }
                }
                known = sink.resume_point().await.unwrap().offsets;
            }
        }
    };
    tokio::join!(tokio::spawn(work("a")), tokio::spawn(work("b"))).0.unwrap();
    let mut sink = fixture.lake.bronze_sink().unwrap();
    let resume = sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence), (at(&[("a", 12), ("b", 12)]), 24));
    let mut wanted = keys_of("run-a", 1..=12);
    wanted.extend(keys_of("run-b", 1..=12));
    assert_eq!(table_keys(&fixture.lake).await, wanted);
}

/// Points `main` at another snapshot, as `rollback_to_snapshot` of another engine does.
async fn roll_back(fixture: &Fixture, to: i64) {
    let reference = SnapshotReference::new(to, SnapshotRetention::branch(None, None, None));
    let change = |metadata: TableMetadataBuilder| metadata.set_ref(MAIN_BRANCH, reference);
    common::change_metadata(fixture.dir.path(), &fixture.catalog, change).await;
}

async fn current(catalog: &dyn Catalog) -> i64 {
    catalog.load_table(&bronze()).await.unwrap().metadata().current_snapshot_id().unwrap()
}

#[tokio::test]
async fn a_rollback_is_detected_fences_and_can_be_read_again() {
    let mut fixture = fixture().await;
    one(&mut fixture.sink, 1).await.unwrap();
    let first = current(&fixture.catalog).await;
    one(&mut fixture.sink, 2).await.unwrap();
    one(&mut fixture.sink, 3).await.unwrap();
    roll_back(&fixture, first).await;
    let resume = fixture.sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence, resume.rolled_back_from), (at(&[("a", 1)]), 1, Some(3)));
    let CommitOutcome::Fenced(resume) = one(&mut fixture.sink, 4).await.unwrap() else { panic!("a gap got in") };
    assert_eq!(resume.rolled_back_from, Some(3));
    let again = batch(at(&[("a", 1)]), at(&[("a", 4)]), vec![row("run", 2), row("run", 3), row("run", 4)]);
    assert_eq!(fixture.sink.commit(&again).await.unwrap(), committed(3, 0), "the rolled back keys are not known");
    let resume = fixture.sink.resume_point().await.unwrap();
    assert_eq!((resume.sequence, resume.rolled_back_from), (4, None), "a sequence number is never used twice");
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..=4));
}

#[tokio::test]
async fn the_mirror_holds_the_offsets_when_our_snapshots_expired() {
    let mut fixture = fixture().await;
    one(&mut fixture.sink, 1).await.unwrap();
    one(&mut fixture.sink, 2).await.unwrap();
    let ours = current(&fixture.catalog).await;
    // Another engine commits on top and expires everything of ours.
    let table = fixture.catalog.load_table(&bronze()).await.unwrap();
    let transaction = Transaction::new(&table);
    let append = transaction.fast_append().set_snapshot_properties([("engine".to_owned(), "x".to_owned())].into());
    let table = append.apply(transaction).unwrap().commit(&fixture.catalog).await.unwrap();
    let transaction = Transaction::new(&table);
    let expire = transaction.expire_snapshots().expire_older_than_ms(i64::MAX).retain_last(1);
    let table = expire.apply(transaction).unwrap().commit(&fixture.catalog).await.unwrap();
    assert!(table.metadata().snapshot_by_id(ours).is_none(), "the test must expire our snapshot");
    let resume = fixture.sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence, resume.rolled_back_from), (at(&[("a", 2)]), 2, None));
    one(&mut fixture.sink, 3).await.unwrap();
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..=3));
}

#[tokio::test]
async fn a_partition_spec_that_another_engine_changed_is_followed() {
    let mut fixture = fixture().await;
    one(&mut fixture.sink, 1).await.unwrap();
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(6, "store_id", Transform::Identity)
        .unwrap()
        .add_partition_field(7, "day", Transform::Day)
        .unwrap();
    let change = |metadata: TableMetadataBuilder| metadata.add_default_partition_spec(spec.build());
    common::change_metadata(fixture.dir.path(), &fixture.catalog, change).await;
    one(&mut fixture.sink, 2).await.unwrap();
    let table = fixture.catalog.load_table(&bronze()).await.unwrap();
    assert_eq!(table.metadata().default_partition_spec().fields().len(), 2);
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..=2));
}

#[tokio::test]
async fn a_full_disk_is_transient_and_the_batch_goes_in_once_there_is_room() {
    let disk = FullDisk::default();
    let factory = FaultyFactory::over(LakeStorageFactory::default(), disk.clone());
    let mut options = quick().with_storage(Arc::new(factory), LakeStorageFactory::default());
    options.retry.attempts_max = 2;
    let mut fixture = fixture_with(options).await;
    for (number, ending) in (1..).zip([".parquet", "m0.avro", ".avro", ".metadata.json"]) {
        disk.for_files_ending_in(Some(ending));
        let error = one(&mut fixture.sink, number).await.unwrap_err();
        assert_eq!(error.kind(), LakeErrorKind::Transient, "{ending}: {error}");
        assert!(error.to_string().contains("no storage space"), "{error}");
        assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..i64::try_from(number).unwrap()));
        disk.for_files_ending_in(None);
        assert_eq!(one(&mut fixture.sink, number).await.unwrap(), committed(1, 0));
    }
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..=4));
}

#[tokio::test]
async fn a_catalog_that_is_away_is_transient() {
    let mut fixture = fixture().await;
    fixture.catalog.0.plan.fail_loads(1000);
    let error = one(&mut fixture.sink, 1).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Transient);
    assert_eq!(fixture.sink.resume_point().await.unwrap_err().kind(), LakeErrorKind::Transient);
    fixture.catalog.0.plan.fail_loads(0);
    assert_eq!(one(&mut fixture.sink, 1).await.unwrap(), committed(1, 0));
}

#[tokio::test]
async fn rows_of_another_engine_are_known_too() {
    let mut fixture = fixture().await;
    one(&mut fixture.sink, 1).await.unwrap();
    // Another job appends to the same table; its map is its own.
    let mut options = quick();
    options.job = "other".parse().unwrap();
    let mut other = fixture.open(options).await.bronze_sink().unwrap();
    other.commit(&batch(at(&[]), at(&[("x", 1)]), vec![row("run", 2), row("run", 1)])).await.unwrap();
    let next = batch(at(&[("a", 1)]), at(&[("a", 3)]), vec![row("run", 2), row("run", 3)]);
    assert_eq!(fixture.sink.commit(&next).await.unwrap(), committed(1, 1));
    assert_eq!(fixture.sink.resume_point().await.unwrap().offsets, at(&[("a", 3)]));
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..=3));
}

async fn refused_with(columns: Vec<(&str, PrimitiveType)>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let catalog = embedded_catalog(dir.path(), quick().storage).await.unwrap();
    let namespace = NamespaceIdent::new("rva".into());
    catalog.create_namespace(&namespace, Default::default()).await.unwrap();
    let fields =
        (1..).zip(columns).map(|(id, (name, kind))| Arc::new(NestedField::optional(id, name, Type::Primitive(kind))));
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let creation = TableCreation::builder().name("bronze_raw".into()).schema(schema).build();
    catalog.create_table(&namespace, creation).await.unwrap();
    let error = Lake::open_embedded(dir.path(), quick()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent);
    error.to_string()
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused_with_what_was_found_and_wanted() {
    use PrimitiveType::{Int, Long, String as Text, Timestamp};
    let ours = |ingest_ts| {
        vec![
            ("schema_version", Text),
            ("pipeline_run_id", Text),
            ("frame_index", Long),
            ("payload", Text),
            ("camera_id", Text),
            ("store_id", Text),
            ("ingest_ts", ingest_ts),
        ]
    };
    let text = refused_with(ours(Timestamp)).await;
    assert!(text.contains("predecessor") && text.contains("copy_predecessor_bronze.sql"), "{text}");
    let mut wrong = ours(PrimitiveType::Timestamptz);
    wrong[2].1 = Int;
    let text = refused_with(wrong).await;
    assert!(text.contains("rva.bronze_raw, column frame_index: found int, wanted long"), "{text}");
    let text = refused_with(ours(PrimitiveType::Timestamptz)[..6].to_vec()).await;
    assert!(text.contains("column ingest_ts: found no such column"), "{text}");
    let mut swapped = ours(PrimitiveType::Timestamptz);
    swapped.swap(4, 5);
    let text = refused_with(swapped).await;
    assert!(text.contains("column camera_id: found store_id in place 5"), "{text}");
}

#[tokio::test]
async fn a_clock_that_is_behind_is_transient_and_named() {
    let mut fixture = fixture().await;
    one(&mut fixture.sink, 1).await.unwrap();
    common::change_in_the_future(fixture.dir.path(), &fixture.catalog, 10 * 60 * 1000).await;
    let error = one(&mut fixture.sink, 2).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Transient);
    assert!(error.to_string().contains("clock") && error.to_string().contains("behind"), "{error}");
    common::change_in_the_future(fixture.dir.path(), &fixture.catalog, 0).await;
    assert_eq!(one(&mut fixture.sink, 2).await.unwrap(), committed(1, 0), "once the clock is right it goes in");
    assert_eq!(table_keys(&fixture.lake).await, keys_of("run", 1..=2));
}

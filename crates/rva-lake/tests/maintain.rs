//! Merging of small files: the same rows in fewer files, whoever commits meanwhile, whatever the catalog answers, and
//! wherever it is killed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/engine.rs"]
mod engine;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use common::{all, at, batch, bronze_folder, folder, opened, quick, row_of, soon};
use engine::Engine;
use futures::{FutureExt, TryStreamExt};
use iceberg::TableIdent;
use iceberg::spec::DataFile;
use rva_lake::{
    BronzeSink, Cell, CellKind, CommitOutcome, CommitRules, CommitStep, Lake, LakeErrorKind, MergeLimits, RowChange,
    RowFilter, SilverFrames, Since, Staged, TableSink,
};
use rva_testkit::lake::{CatalogFaults, FaultyCatalog, LoadFault, RequestFault};
use serde_json::json;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BRONZE: &str = "bronze_raw";

/// A writer of bronze that goes on where the table is.
struct Writer {
    sink: BronzeSink,
    number: u64,
}

impl Writer {
    fn of(lake: &Lake) -> Self {
        Self { sink: lake.bronze_sink().unwrap(), number: 0 }
    }

    /// Commits rows of two shops and three cameras, in the order in which they were seen.
    async fn commit(&mut self) {
        let from = if self.number == 0 { at(&[]) } else { at(&[("a", self.number)]) };
        self.number += 1;
        let rows = (0..12).map(|row| {
            let (store, camera) = (["berlin", "ulm/süd"][row % 2], ["door", "till", "aisle"][row % 3]);
            row_of(store, camera, "run", i64::try_from(self.number * 100 + row as u64).unwrap())
        });
        let batch = batch(from, at(&[("a", self.number)]), rows.collect());
        let outcome = self.sink.commit(&batch).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 12, rows_known: 0 });
    }

    async fn commits(lake: &Lake, count: u64) -> Self {
        let mut writer = Self::of(lake);
        for _ in 0..count {
            writer.commit().await;
        }
        writer
    }
}

/// Every row of a table, all columns, sorted.
async fn rows(lake: &Lake, name: &str) -> Vec<String> {
    let table = lake.catalog().load_table(&TableIdent::from_strs(["rva", name]).unwrap()).await.unwrap();
    let stream = table.scan().select_all().build().unwrap().to_arrow().await.unwrap();
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default().with_null("-");
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    rows
}

async fn live_files(lake: &Lake, name: &str) -> Vec<DataFile> {
    let table = lake.catalog().load_table(&TableIdent::from_strs(["rva", name]).unwrap()).await.unwrap();
    let mut files = Vec::new();
    for manifest in
        table.manifest_list_reader(table.metadata().current_snapshot().unwrap()).load().await.unwrap().entries()
    {
        let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
        files.extend(loaded.entries().iter().filter(|entry| entry.is_alive()).map(|entry| entry.data_file().clone()));
    }
    files
}

/// The data files in a table's folder that no snapshot names, and those that one names and that aren't there.
async fn strays(dir: &Path, lake: &Lake) -> (Vec<String>, Vec<String>) {
    let table = lake.catalog().load_table(&TableIdent::from_strs(["rva", BRONZE]).unwrap()).await.unwrap();
    let mut named = BTreeSet::new();
    for snapshot in table.metadata().snapshots() {
        for manifest in table.manifest_list_reader(snapshot).load().await.unwrap().entries() {
            let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
            let alive = loaded.entries().iter().filter(|entry| entry.is_alive());
            named.extend(alive.map(|entry| entry.file_path().trim_start_matches("file://").to_owned()));
        }
    }
    let mut there = BTreeSet::new();
    let mut folders = vec![bronze_folder(dir).join("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                there.insert(entry.to_str().unwrap().to_owned());
            }
        }
    }
    (there.difference(&named).cloned().collect(), named.difference(&there).cloned().collect())
}

#[tokio::test]
async fn merged_files_hold_the_same_rows_sorted_and_jobs_and_followers_go_on() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut writer = Writer::commits(&lake, 30).await;
    let engine = Engine::find();
    let told = |engine: &Engine| engine.does(dir.path(), &["multiset", "rva.bronze_raw"]);
    let (before, other_before) = (rows(&lake, BRONZE).await, engine.as_ref().map(told));
    let resume = writer.sink.resume_point().await.unwrap();
    let position = lake.view(BRONZE).await.unwrap().unwrap().sequence();

    let plan = lake.plan_merges(Some("rva.bronze_raw"), &all(), soon()).await.unwrap().remove(0);
    assert_eq!((plan.files, plan.files_after(), plan.left.as_deref()), (60, 2, None));
    let partitions: Vec<_> = plan.merges.iter().map(|merge| (&*merge.partition, merge.files, merge.rows)).collect();
    assert_eq!(partitions, [("store_id=berlin", 30, 180), ("store_id=ulm/süd", 30, 180)]);
    assert_eq!(live_files(&lake, BRONZE).await.len(), 60, "a plan changes nothing");

    let merged = lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap().remove(0);
    assert_eq!((merged.commits, merged.files, merged.files_written, merged.rows, merged.lost), (1, 60, 2, 360, 0));
    assert_eq!(merged.bytes, plan.bytes);
    assert_eq!(rows(&lake, BRONZE).await, before);
    assert_eq!(engine.as_ref().map(told), other_before, "another engine reads the same");
    assert_eq!(strays(dir.path(), &lake).await, (vec![], vec![]));
    // Sorted, and with the bounds of what is in them.
    let files = live_files(&lake, BRONZE).await;
    assert_eq!(files.len(), 2);
    for file in &files {
        let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>, id| bounds[&id].to_string();
        let (low, high) = (file.lower_bounds(), file.upper_bounds());
        assert_eq!((bound(low, 5), bound(high, 5)), ("\"aisle\"".to_owned(), "\"till\"".to_owned()));
        assert!(!low.contains_key(&4), "no bounds of payloads");
        assert!(file.file_path().contains("store_id=berlin/") || file.file_path().contains("store_id=ulm%2Fs%C3%BCd/"));
    }
    let view = lake.view(BRONZE).await.unwrap().unwrap();
    let Since::Appended(came) = view.since(Some(position)).await.unwrap() else { panic!("the same rows") };
    assert!(came.is_empty(), "a follower sees nothing new");
    let first = format!("file://{}", bronze_folder(dir.path()).display());
    assert!(files.iter().all(|file| file.file_path().starts_with(first.trim_start_matches("file://"))
        || file.file_path().starts_with(&first)));
    // The job's position stands where it stood, its known rows are known, and it goes on.
    assert_eq!(lake.bronze_sink().unwrap().resume_point().await.unwrap(), resume);
    let again = (1..=30).map(|number| row_of("berlin", "door", "run", number * 100)).collect();
    let outcome = writer.sink.commit(&batch(at(&[("a", 30)]), at(&[("a", 31)]), again)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 30 });
    writer.number = 31;
    writer.commit().await;
    assert_eq!(rows(&lake, BRONZE).await.len(), before.len() + 12);
    // Nothing to do is no commit.
    let at_rest = lake.merge_files(Some(BRONZE), &MergeLimits { files_min: 3, ..all() }, soon()).await.unwrap();
    assert_eq!(at_rest[0].commits, 0);
}

#[tokio::test]
async fn rows_of_a_merged_file_are_in_order_even_where_memory_holds_few_of_them() {
    for memory in [usize::MAX, 1] {
        let dir = folder();
        let lake = opened(dir.path(), quick()).await;
        Writer::commits(&lake, 12).await;
        let before = rows(&lake, BRONZE).await;
        lake.merge_files(None, &MergeLimits { memory, ..all() }, soon()).await.unwrap();
        assert_eq!(rows(&lake, BRONZE).await, before);
        let view = lake.view(BRONZE).await.unwrap().unwrap();
        let columns: &rva_lake::Columns = &[("camera_id", CellKind::Text), ("frame_index", CellKind::Long)];
        let filter = RowFilter { texts: vec![("store_id", "berlin".to_owned())], ..RowFilter::default() };
        let found: Vec<_> = view.rows(columns, &filter).await.unwrap();
        assert!(found.len() == 72 && found.is_sorted(), "{memory}: {found:?}");
    }
}

/// Frames of a minute in silver, one file a commit.
async fn silver(lake: &Lake, minutes: std::ops::Range<i64>) {
    let lake = lake.for_job(rva_lake::REFINE_JOB);
    let mut table = lake.refined::<SilverFrames>().await.unwrap();
    for minute in minutes {
        let resume = table.resume_point().await.unwrap();
        let view = table.view().await.unwrap();
        let text = |text: &str| Cell::Text(Arc::from(text));
        let row = |frame: i64| {
            let capture = 1_760_000_000_000_000 + minute * 60_000_000 + frame;
            let counts = [Cell::Int(1280), Cell::Null, Cell::Int(1), Cell::Int(2), Cell::Time(capture + 5)];
            let keys = [text("run"), text("berlin"), text("door"), Cell::Long(frame), Cell::Time(capture)];
            keys.into_iter().chain(counts).collect::<Vec<_>>()
        };
        let mut staged = Staged::default();
        table.stage(&view, (0..5).map(row).collect(), &mut staged).await.unwrap();
        let to = at(&[("in", u64::try_from(minute + 1).unwrap())]);
        let replaced = rva_lake::Replaced::default();
        let change = RowChange { source: "in|1".into(), from: resume.offsets, to, staged, replaced };
        assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Committed { .. }));
    }
}

#[tokio::test]
async fn the_position_of_the_refiner_survives_and_a_change_that_it_planned_before_is_fenced() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    silver(&lake, 0..10).await;
    let before = rows(&lake, "silver_frames").await;
    let refine = lake.for_job(rva_lake::REFINE_JOB);
    let mut table = refine.refined::<SilverFrames>().await.unwrap();
    let resume = table.resume_point().await.unwrap();
    let merged = lake.merge_files(None, &all(), soon()).await.unwrap();
    let tables: Vec<_> = merged.iter().filter(|merged| merged.commits > 0).map(|merged| merged.table).collect();
    assert_eq!(tables, ["silver_frames"], "the others are empty");
    assert_eq!(rows(&lake, "silver_frames").await, before);
    assert_eq!(table.resume_point().await.unwrap(), resume);
    silver(&lake, 10..12).await;
    assert_eq!(rows(&lake, "silver_frames").await.len(), before.len() + 10);
    let summary = lake.tables().await.unwrap().into_iter().find(|table| table.name == "rva.silver_frames").unwrap();
    assert_eq!((summary.rows, summary.files), (60, 3), "totals follow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_commits_at_the_same_time_loses_nothing_and_nothing_comes_twice() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    Writer::commits(&lake, 4).await;
    let (over, merges) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (lake, is_over, merges) = (lake.clone(), Arc::clone(&over), Arc::clone(&merges));
        async move {
            let mut writer = Writer::of(&lake);
            writer.number = 4;
            // On a machine that is busy, until a few merges went through.
            while writer.number < 64 || (merges.load(Ordering::SeqCst) < 3 && writer.number < 1000) {
                writer.commit().await;
            }
            is_over.store(true, Ordering::SeqCst);
            writer.number
        }
    });
    // Two of them, which also race with each other.
    let mut merging = Vec::new();
    for _ in 0..2 {
        let (dir, is_over, merges) = (dir.path().to_owned(), Arc::clone(&over), Arc::clone(&merges));
        merging.push(tokio::spawn(async move {
            let lake = opened(&dir, quick()).await;
            let (mut commits, mut lost, mut given_up) = (0, 0, 0);
            while !is_over.load(Ordering::SeqCst) {
                match lake.merge_files(Some(BRONZE), &all(), soon()).await {
                    Ok(merged) => {
                        (commits, lost) = (commits + merged[0].commits, lost + merged[0].lost);
                        merges.fetch_add(merged[0].commits, Ordering::SeqCst);
                    }
                    Err(error) if error.kind() == LakeErrorKind::Transient => given_up += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (commits, lost, given_up)
        }));
    }
    let written = usize::try_from(writing.await.unwrap()).unwrap() * 12;
    let mut commits = 0;
    for task in merging {
        let (done, lost, given_up) = task.await.unwrap();
        println!("{done} merges, {lost} lost, {given_up} given up");
        commits += done;
    }
    assert!(commits > 2, "{commits}");
    let held = rows(&lake, BRONZE).await;
    let distinct: BTreeSet<_> = held.iter().collect();
    assert_eq!((held.len(), distinct.len()), (written, written));
    assert_eq!(strays(dir.path(), &lake).await.1, Vec::<String>::new(), "every named file is there");
}

/// Moves the position of silver in a table.
async fn follows(lake: &Lake, source: &str, name: &str, position: u64) {
    let refine = lake.for_job(rva_lake::REFINE_JOB);
    let mut table = refine.refined::<SilverFrames>().await.unwrap();
    let resume = table.resume_point().await.unwrap();
    let view = table.view().await.unwrap();
    let (staged, replaced) = (Staged::default(), rva_lake::Replaced::default());
    let change =
        RowChange { source: source.into(), from: resume.offsets, to: at(&[(name, position)]), staged, replaced };
    assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Committed { .. }));
}

#[tokio::test]
async fn what_a_follower_has_not_read_does_not_expire() {
    let dir = folder();
    let mut options = quick();
    options.housekeeping.snapshots_kept = 2;
    options.housekeeping.snapshots_slack = 1;
    let lake = opened(dir.path(), options).await;
    let mut writer = Writer::commits(&lake, 3).await;
    let bronze = lake.view(BRONZE).await.unwrap().unwrap();
    let (identity, read) = (bronze.identity(), bronze.sequence());
    follows(&lake, &identity, BRONZE, read).await;
    for _ in 0..12 {
        writer.commit().await;
    }
    lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap();
    writer.commit().await;
    let now = lake.view(BRONZE).await.unwrap().unwrap();
    let Since::Appended(files) = now.since(Some(read)).await.unwrap() else { panic!("the follower can't go on") };
    assert_eq!(files.iter().map(rva_lake::ChangedFile::rows).sum::<u64>(), 13 * 12);
    // A table that was made again is nobody's input any more; one that was read up to now needs nothing older.
    for (source, most) in [("rva.bronze_raw|another", 4), (&*identity, 10)] {
        let position = lake.view(BRONZE).await.unwrap().unwrap().sequence();
        follows(&lake, source, BRONZE, position).await;
        for _ in 0..8 {
            writer.commit().await;
        }
        let held = lake.tables().await.unwrap().into_iter().find(|table| table.name == "rva.bronze_raw").unwrap();
        assert!(held.snapshots <= most, "{source}: {} snapshots", held.snapshots);
    }
}

/// What happens to a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The catalog fails.
    Catalog(RequestFault),
    /// Rows are appended first.
    Append,
    /// Somebody else merges the same files first.
    Merge,
}

/// Faults of swaps, the last of them first, and somebody else's work on the same table.
#[derive(Debug)]
struct Meddling {
    lake: Lake,
    faults: Mutex<Vec<Fault>>,
}

#[async_trait::async_trait]
impl CatalogFaults for Meddling {
    async fn on_request(&self) -> Option<RequestFault> {
        let fault = self.faults.lock().unwrap().pop();
        match fault? {
            Fault::Catalog(fault) => return Some(fault),
            Fault::Append => {
                let mut writer = Writer::of(&self.lake);
                let stored = writer.sink.resume_point().await.unwrap();
                writer.number = stored.offsets.get("a").unwrap().entry;
                writer.commit().await;
            }
            Fault::Merge => drop(self.lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap()),
        }
        None
    }

    async fn on_load(&self) -> Option<LoadFault> {
        None
    }

    fn lands(&self) -> bool {
        false
    }
}

/// Opens the same folder with broken rules, behind a catalog to whose requests this happens.
async fn with_faults(dir: &Path, lake: &Lake, faults: &[Fault], rules: CommitRules) -> Lake {
    let plan = Meddling { lake: lake.clone(), faults: Mutex::new(faults.to_vec()) };
    let faulty = FaultyCatalog::of(lake, plan);
    opened(dir, quick().with_rules(rules)).await.with_swap(Arc::new(faulty))
}

/// Merges under faults, and says how the table differs from what it must be.
async fn under(faults: &[Fault], rules: CommitRules) -> Result<(), String> {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    Writer::commits(&lake, 6).await;
    let appends = faults.iter().filter(|fault| **fault == Fault::Append).count();
    let faulty = with_faults(dir.path(), &lake, faults, rules).await;
    for _ in 0..3 {
        // What is given up is taken up by the next look.
        if let Err(error) = faulty.merge_files(Some(BRONZE), &all(), soon()).await {
            assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}");
        }
    }
    let (_, missing) = strays(dir.path(), &lake).await;
    if !missing.is_empty() {
        return Err(format!("{faults:?}: {} files are named and not there", missing.len()));
    }
    let held = rows(&lake, BRONZE).await;
    let distinct: BTreeSet<_> = held.iter().collect();
    let wanted = (6 + appends) * 12;
    if (held.len(), distinct.len()) != (wanted, wanted) {
        return Err(format!("{faults:?}: found {} rows, {} distinct, wanted {wanted}", held.len(), distinct.len()));
    }
    // What came late is too little to be merged with what is large by now.
    match live_files(&lake, BRONZE).await.len() {
        files if files <= 2 + 2 * appends => Ok(()),
        files => Err(format!("{faults:?}: found {files} files, wanted those of before merged")),
    }
}

#[tokio::test]
async fn whatever_the_catalog_answers_and_whoever_was_faster_the_rows_are_there_once() {
    use Fault::{Append, Catalog, Merge};
    use RequestFault::{Conflict, Lie, RequestLost, ResponseLost};
    let plans: [&[Fault]; 9] = [
        &[Catalog(RequestLost)],
        &[Catalog(ResponseLost)],
        &[Catalog(Lie)],
        &[Catalog(Conflict)],
        &[Append],
        &[Append, Append, Append],
        &[Merge],
        // The last is the first.
        &[Catalog(ResponseLost), Catalog(RequestLost), Append],
        &[Catalog(RequestLost); 30],
    ];
    for plan in plans {
        under(plan, CommitRules::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_compactor_that_forgets_an_append_and_one_that_deletes_after_an_unknown_outcome_are_noticed() {
    let forgets = CommitRules { rebase: false, ..CommitRules::default() };
    let found = under(&[Fault::Append], forgets).await.unwrap_err();
    println!("forgets a concurrent append: {found}");
    assert!(found.contains("found 72 rows"), "{found}");
    let deletes = CommitRules { reload_after_unknown: false, ..CommitRules::default() };
    let found = under(&[Fault::Catalog(RequestFault::ResponseLost)], deletes).await.unwrap_err();
    println!("deletes after an unknown outcome: {found}");
    assert!(found.contains("not there"), "{found}");
}

#[tokio::test]
async fn a_merge_that_lost_leaves_no_file_and_says_so() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    Writer::commits(&lake, 6).await;
    let faulty = with_faults(dir.path(), &lake, &[Fault::Merge], CommitRules::default()).await;
    let merged = faulty.merge_files(Some(BRONZE), &all(), soon()).await.unwrap().remove(0);
    assert_eq!((merged.lost, merged.commits), (1, 0), "the other had done it");
    assert_eq!(rows(&lake, BRONZE).await.len(), 72);
    assert_eq!(strays(dir.path(), &lake).await, (vec![], vec![]));
}

struct Killed;

#[tokio::test]
async fn killed_at_every_step_it_loses_nothing_and_orphans_go() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<Killed>().is_none() {
            before(info);
        }
    }));
    let mut kills = 0;
    for step in 0.. {
        let dir = folder();
        let mut options = quick();
        options.housekeeping.orphan_age = Duration::ZERO;
        options.housekeeping.walk_every = Duration::ZERO;
        let lake = opened(dir.path(), options.clone()).await;
        let mut writer = Writer::commits(&lake, 4).await;
        let left = Arc::new(AtomicU64::new(step));
        let mut killed = options.clone();
        killed.observer = Arc::new(move |_: CommitStep| {
            if left.fetch_sub(1, Ordering::SeqCst) == 0 {
                std::panic::panic_any(Killed);
            }
        });
        let doomed = opened(dir.path(), killed).await;
        let ended = AssertUnwindSafe(doomed.merge_files(Some(BRONZE), &all(), soon())).catch_unwind().await;
        let is_killed = ended.is_err();
        kills += usize::from(is_killed);
        assert_eq!(rows(&lake, BRONZE).await.len(), 48, "step {step}");
        writer.commit().await;
        lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap();
        writer.commit().await;
        let held = rows(&lake, BRONZE).await;
        assert_eq!((held.len(), held.iter().collect::<BTreeSet<_>>().len()), (72, 72), "step {step}");
        assert_eq!(strays(dir.path(), &lake).await, (vec![], vec![]), "step {step}");
        if !is_killed {
            break;
        }
    }
    println!("{kills} kills");
    assert!(kills >= 8, "{kills}");
}

#[tokio::test]
async fn old_readers_go_on_and_other_engines_find_every_file_while_expiry_takes_what_nobody_needs() {
    let Some(engine) = Engine::find() else { return };
    let dir = folder();
    let mut options = quick();
    options.housekeeping.snapshots_kept = 6;
    options.housekeeping.snapshots_slack = 0;
    options.housekeeping.orphan_age = Duration::ZERO;
    options.housekeeping.walk_every = Duration::ZERO;
    let lake = opened(dir.path(), options).await;
    let mut writer = Writer::of(&lake);
    for round in 0..4 {
        for _ in 0..5 {
            writer.commit().await;
        }
        lake.merge_files(None, &all(), soon()).await.unwrap();
        assert_eq!(engine.does(dir.path(), &["missing", "rva.bronze_raw"]), json!([]), "{round}");
        assert_eq!(
            engine.does(dir.path(), &["rows", "rva.bronze_raw", "frame_index"]).as_array().unwrap().len(),
            (round + 1) * 60
        );
    }
    let (unnamed, missing) = strays(dir.path(), &lake).await;
    assert!(missing.is_empty(), "{missing:?}");
    println!("{} files of expired snapshots are left", unnamed.len());
    assert_eq!(writer.sink.resume_point().await.unwrap().offsets, at(&[("a", 20)]));
}

#[tokio::test]
async fn a_table_says_itself_how_long_its_snapshots_stay_and_how_many_do_in_any_case() {
    for (properties, kept) in [
        (vec![("history.expire.max-snapshot-age-ms", "0")], 1),
        (vec![("history.expire.max-snapshot-age-ms", "0"), ("history.expire.min-snapshots-to-keep", "4")], 4),
        // More than the configuration keeps.
        (vec![("history.expire.min-snapshots-to-keep", "9")], 9),
        // What is no number lets nothing expire, as with other engines; the log says so.
        (vec![("history.expire.max-snapshot-age-ms", "a week")], 14),
    ] {
        let dir = folder();
        let mut options = quick();
        options.housekeeping.snapshots_kept = 6;
        options.housekeeping.snapshots_slack = 0;
        let lake = opened(dir.path(), options).await;
        let said = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        common::change_metadata(dir.path(), lake.catalog().as_ref(), |builder| builder.set_properties(said)).await;
        Writer::commits(&lake, 14).await;
        let ident = iceberg::TableIdent::from_strs(["rva", BRONZE]).unwrap();
        let found = lake.catalog().load_table(&ident).await.unwrap().metadata().snapshots().len();
        assert!((kept..=kept + 1).contains(&found), "{properties:?}: {found} snapshots, wanted {kept}");
    }
}

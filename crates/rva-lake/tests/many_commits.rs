//! I10: a thousand commits leave nothing unreferenced on disk, few manifests, and memory stays flat. How it grows
//! beyond that is `make bench NAME=growth`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, folder, quick, row};
use iceberg::TableIdent;
use rva_lake::{CommitOutcome, Lake, TableSink};
use rva_testkit::measure::status_kib;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// So many that manifests are merged in several tiers, and snapshots expire thirty times.
const COMMITS: u64 = 1_000;
const KEPT: usize = 20;
const SLACK: usize = 30;

/// Time from each step to the next.
#[derive(Default)]
struct StepClock {
    since: Option<(&'static str, Instant)>,
    spent: BTreeMap<&'static str, Duration>,
}

impl StepClock {
    fn begin(&mut self, step: &'static str) {
        if let Some((before, began)) = self.since.replace((step, Instant::now())) {
            *self.spent.entry(before).or_default() += began.elapsed();
        }
    }
}

/// Every file that the current metadata reaches.
async fn reachable(lake: &Lake, ident: &TableIdent) -> BTreeSet<String> {
    let table = lake.catalog().load_table(ident).await.unwrap();
    let metadata = table.metadata();
    let mut files: BTreeSet<String> = metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone()).collect();
    files.insert(table.metadata_location().unwrap().to_owned());
    let mut manifests = BTreeSet::new();
    for snapshot in metadata.snapshots() {
        files.insert(snapshot.manifest_list().to_owned());
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        for manifest in list.consume_entries() {
            if manifests.insert(manifest.manifest_path.clone()) {
                let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
                files.extend(loaded.entries().iter().map(|entry| entry.file_path().to_owned()));
            }
        }
    }
    files.extend(manifests);
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_commits_leave_nothing_unreferenced_and_memory_flat() {
    let commits: u64 = std::env::var("RVA_COMMITS").ok().and_then(|n| n.parse().ok()).unwrap_or(COMMITS);
    let dir = folder();
    let mut options = quick();
    let manifests_max = options.manifests_max;
    options.housekeeping.snapshots_kept = KEPT;
    options.housekeeping.snapshots_slack = SLACK;
    let clock = Arc::new(Mutex::new(StepClock::default()));
    let steps = Arc::clone(&clock);
    options.observer = Arc::new(move |step| steps.lock().unwrap().begin(step.name()));
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut times: Vec<Duration> = Vec::new();
    let mut from = at(&[]);
    let mut early = 0;
    for number in 1..=commits {
        let to = at(&[("cam_01", number)]);
        let one = batch(from, to.clone(), vec![row("run", i64::try_from(number).unwrap())]);
        let began = Instant::now();
        let outcome = sink.commit(&one).await.unwrap();
        times.push(began.elapsed());
        clock.lock().unwrap().begin("between");
        assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 1, rows_known: 0 });
        from = to;
        if number == commits / 10 {
            early = status_kib("VmRSS");
        }
    }
    let late = status_kib("VmRSS");
    for upto in [100, 500, 1_000, 2_000] {
        if let Some(window) = times.get(upto - 100..upto) {
            let mut window = window.to_vec();
            window.sort();
            println!("commits {:>6}..{upto:<6} median {:>7.2?} longest {:>7.2?}", upto - 99, window[50], window[99]);
        }
    }
    for (step, spent) in &clock.lock().unwrap().spent {
        println!("{step:>16} {:>7.2?} a commit", *spent / u32::try_from(commits).unwrap());
    }
    println!("resident {early} KiB after {} commits, {late} KiB after {commits}", commits / 10);
    // Data files are listed in memory, about 400 bytes each; anything that keeps whole snapshots is far above this.
    assert!(late < early + 60_000, "memory grew from {early} to {late} KiB");

    let ident = TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let list = table.manifest_list_reader(table.metadata().current_snapshot().unwrap()).load().await.unwrap();
    assert!(list.entries().len() <= manifests_max, "{} manifests", list.entries().len());
    let snapshots = table.metadata().snapshots().len();
    assert!(snapshots <= KEPT + SLACK, "{snapshots} snapshots are retained");
    let storage = rva_lake::storage::LakeStorage::default();
    let listed = storage.list(table.metadata().location()).await.unwrap();
    let on_disk: BTreeSet<String> = listed.into_iter().map(|file| file.location).collect();
    let reached = reachable(&lake, &ident).await;
    let missing: Vec<_> = reached.difference(&on_disk).collect();
    // The metadata log lists files that fell out of it only when they are gone; at most a slack's worth waits.
    let surplus: Vec<_> = on_disk.difference(&reached).collect();
    let waiting = surplus.iter().filter(|path| path.ends_with(".metadata.json")).count();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(surplus.len(), waiting, "unreferenced: {surplus:?}");
    assert!(waiting <= SLACK, "{waiting} old metadata files wait for the next sweep");
    let keys = common::table_keys(&lake).await;
    assert_eq!(keys, common::keys_of("run", 1..=i64::try_from(commits).unwrap()));
}

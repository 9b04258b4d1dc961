//! The product's loop and commit on a real catalog, under seeded faults at every step.
//!
//! `RVA_SIM_SEEDS=N` runs another number of seeds, `RVA_SIM_SEED=N` one of them with its trace.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod check;
mod faults;
mod log;
mod log_contract;
#[path = "../common/tables.rs"]
mod tables;
mod world;

use faults::{Fault, Place};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use world::{Mutant, Outcome, simulate};

const SEEDS: u64 = 500;
const THREADS: usize = 2;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("found {name}={text}, wanted a number")))
}

fn run_one(seed: u64, mutant: Mutant) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outcome = runtime.block_on(simulate(seed, mutant));
    runtime.shutdown_background();
    outcome
}

/// Runs seeds on two threads until all are done or `look` says stop.
fn run_seeds(seeds: u64, mutant: Mutant, look: impl Fn(u64, Outcome) -> bool + Sync) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds || stop.load(Ordering::SeqCst) {
                        return;
                    }
                    if look(seed, run_one(seed, mutant)) {
                        stop.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
}

fn report(seed: u64, outcome: &Outcome) -> String {
    let mut text = format!("seed {seed} (RVA_SIM_SEED={seed} runs it alone):\n");
    for (invariant, found) in &outcome.violations {
        text.push_str(&format!("  {invariant}: {found}\n"));
    }
    text.push_str(&format!("  trace: {}\n", outcome.trace.join(", ")));
    text
}

/// What must have been struck, and where; a fault that never strikes shows nothing.
fn wanted_hits() -> BTreeSet<(Place, Fault)> {
    use Fault::*;
    let at = |places: &[Place], faults: &[Fault]| -> Vec<(Place, Fault)> {
        places.iter().flat_map(|place| faults.iter().map(|fault| (*place, *fault))).collect()
    };
    let mut wanted = BTreeSet::new();
    wanted.extend(rva_lake::CommitStep::ALL.iter().map(|step| (step.name(), Crash)));
    wanted.extend(at(&["load"], &[LoadError, ClockBehind, Compactor, OtherWorker, Zombie, RolledBack, Expired]));
    wanted.extend(at(&["build_manifest"], &[LoadError, Compactor, OtherWorker, Zombie, IoError, NoSpace]));
    wanted.extend(at(
        &["commit_sent"],
        &[RequestLost, ResponseLost, LateApply, Lie, NoSpace, IoError, Compactor, OtherWorker, Zombie],
    ));
    wanted.extend(at(&["reload"], &[LoadError, Compactor, Zombie]));
    wanted.extend(at(&["write_files"], &[IoError, NoSpace]));
    wanted.extend(at(&["poll"], &[StreamError, Silence, Redelivery, LeftOut]));
    wanted.extend(at(&["acknowledge"], &[AckLost]));
    wanted
}

#[test]
fn every_event_is_in_the_table_once_whatever_fails() {
    if let Some(seed) = variable("RVA_SIM_SEED") {
        let outcome = run_one(seed, Mutant::None);
        eprintln!("{}", report(seed, &outcome));
        assert!(outcome.violations.is_empty());
        return;
    }
    let seeds = variable("RVA_SIM_SEEDS").unwrap_or(SEEDS);
    let failed = Mutex::new(None);
    let hits: Mutex<BTreeMap<(Place, Fault), u64>> = Mutex::default();
    let totals: Mutex<[u64; 5]> = Mutex::default();
    run_seeds(seeds, Mutant::None, |seed, outcome| {
        for (hit, count) in &outcome.hits {
            *hits.lock().unwrap().entry(*hit).or_default() += count;
        }
        let mut totals = totals.lock().unwrap();
        totals[0] += outcome.sent as u64;
        (0..4).for_each(|i| totals[i + 1] += outcome.counts[i]);
        let bad = !outcome.violations.is_empty();
        if bad {
            failed.lock().unwrap().get_or_insert(report(seed, &outcome));
        }
        bad
    });
    if let Some(report) = failed.into_inner().unwrap() {
        panic!("{report}");
    }
    let hits = hits.into_inner().unwrap();
    for ((place, fault), count) in &hits {
        println!("  {place:>16} x {:<14} {count}", format!("{fault:?}"));
    }
    let [sent, commits, fenced, known, rebuilds] = totals.into_inner().unwrap();
    println!(
        "simulation: seeds={seeds} sent={sent} commits={commits} fenced={fenced} known={known} rebuilds={rebuilds}"
    );
    if seeds >= SEEDS {
        let missed: Vec<_> = wanted_hits().into_iter().filter(|hit| !hits.contains_key(hit)).collect();
        assert!(missed.is_empty(), "never struck: {missed:?}");
    }
}

/// The suite is worth what it catches.
fn is_caught(mutant: Mutant) {
    let caught = Mutex::new(None);
    run_seeds(SEEDS, mutant, |seed, outcome| match outcome.violations.first() {
        Some((invariant, text)) => {
            let line = format!("mutant {mutant:?}: caught at seed {seed} by {invariant}: {text}");
            caught.lock().unwrap().get_or_insert(line);
            true
        }
        None => false,
    });
    println!("{}", caught.into_inner().unwrap().unwrap_or_else(|| panic!("{mutant:?} survived {SEEDS} seeds")));
}

#[test]
fn a_commit_without_a_fence_is_caught() {
    is_caught(Mutant::NoFence);
}

#[test]
fn a_commit_that_believes_every_answer_is_caught() {
    is_caught(Mutant::NoReload);
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    is_caught(Mutant::AcknowledgeFirst);
}

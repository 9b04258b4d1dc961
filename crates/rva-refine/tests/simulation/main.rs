//! The product's own code under seeded faults at every step: a kill before or after each of them, answers of the
//! catalog that are lost or lie, two of it at once, and bronze that grows in any order, is compacted, and has rows
//! taken away by another engine, while zones and lines are drawn anew.
//!
//! After every seed silver is what bronze says and gold is what the definition says of it, row by row.
//! `RVA_REFINE_SEEDS=1000` tries more, `RVA_REFINE_SEED=7` one of them.
#![allow(clippy::unwrap_used, reason = "a world that can't be built is a failed test")]

mod check;
mod engine;
mod faults;
#[path = "../equality/world.rs"]
#[allow(dead_code, reason = "the other test uses the rest")]
mod world;

use check::differences;
use faults::{Faults, FaultySwap, Killed};
use futures::FutureExt;
use rva_lake::{BronzeRow, Cells, Lake};
use rva_refine::{Refine, RefineRules, Stepped};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use world::{Bronze, Random, T0, draw, film, quick, shape};

/// Seeds that are tried where nobody says how many.
const SEEDS: u64 = 8;

/// Steps after which a world that never comes to rest is broken.
const STEPS_MAX: usize = 200;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A quick folder where there is one.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Parts of three runs across a full hour and a day, in any order.
fn parts(random: &mut Random) -> Vec<Vec<BronzeRow>> {
    let mut parts = Vec::new();
    for (camera, run, start) in [
        ("door", "run-1", T0 + 480_000_000),
        ("till", "run-2", T0 + 500_000_000),
        ("door", "run-3", T0 + 4_100_000_000),
    ] {
        let seconds = 120.0 + random.share() * 180.0;
        let rows = film(random, "a", camera, run, start, seconds);
        let size = 10 + random.below(60) as usize;
        parts.extend(rows.chunks(size).map(<[_]>::to_vec));
    }
    for at in (1..parts.len()).rev() {
        parts.swap(at, random.below(at as u64 + 1) as usize);
    }
    parts.truncate(6);
    parts
}

/// A zone and a line of each camera, valid from some time on; sometimes the line was another one before.
fn drawing(random: &mut Random) -> Vec<Cells> {
    let mut rows = Vec::new();
    for camera in ["door", "till"] {
        let left = random.share() * 0.4;
        let zone = format!("[[{left},0.2],[0.9,0.2],[0.9,1],[{left},1]]");
        let moved = T0 + 480_000_000 + (random.share() * 4e9) as i64;
        let was =
            (random.below(2) == 0).then(|| shape(camera, "door", "line", "[[0.4,0.05],[0.6,0.95]]", 0, Some(moved)));
        rows.extend(was);
        rows.push(shape(camera, "door", "line", &format!("[[{left},0.05],[0.7,0.95]]"), moved, None));
        rows.push(shape(camera, "shelf", "zone", &zone, 0, None));
    }
    rows
}

async fn open(lake: &Lake, rules: RefineRules) -> Refine {
    world::refine(lake).await.with_rules(rules)
}

/// A step that may be killed. `None`: it was, or failed for good; whatever it held in memory is gone.
async fn step(refine: &mut Refine) -> Option<Stepped> {
    match AssertUnwindSafe(refine.step()).catch_unwind().await {
        Ok(Ok(stepped)) => Some(stepped),
        // A store or a catalog that is away: the loop around it would try again, or somebody starts it anew.
        Ok(Err(_)) => None,
        Err(panic) if panic.downcast_ref::<Killed>().is_some() => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs one seed and tells how its tables differ from their definitions.
async fn run(seed: u64, rules: RefineRules) -> Result<usize, String> {
    let mut random = Random(seed);
    let folder = folder();
    let clean = Lake::open_embedded(folder.path(), quick()).await.unwrap();
    let faults = Faults::default();
    let mut options = quick();
    options.observer = faults.observer();
    let lake = Lake::open_embedded(folder.path(), options).await.unwrap();
    let lake = lake.clone().with_swap(Arc::new(FaultySwap { inner: lake.swap(), faults: faults.clone() }));
    let mut bronze = Bronze::of(&clean);
    let mut job = open(&lake, rules).await;
    for rows in parts(&mut random) {
        bronze.append(rows).await;
        match random.below(8) {
            0 => engine::compact(&clean).await,
            1 => engine::take_a_file_away(&clean).await,
            2 => draw(&clean, drawing(&mut random)).await,
            _ => {}
        }
        faults.plan(&mut random);
        for _ in 0..random.below(4) {
            if random.below(6) == 0 {
                let mut other = open(&lake, rules).await;
                let (one, _) = tokio::join!(step(&mut job), step(&mut other));
                if one.is_some() {
                    continue;
                }
            } else if step(&mut job).await.is_some() {
                continue;
            }
            job = open(&lake, rules).await;
        }
    }
    faults.clear();
    let mut job = open(&lake, rules).await;
    for _ in 0..STEPS_MAX {
        if job.step().await.map_err(|error| error.to_string())? == Stepped::Idle {
            return differences(&clean).await;
        }
    }
    Err(format!("seed {seed}: it never comes to rest"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn gold_equals_its_definition_after_every_seed() {
    faults::quiet_kills();
    let only = number("RVA_REFINE_SEED");
    let seeds = only.map_or(0..number("RVA_REFINE_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut rows, mut count) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        match block_on(run(seed, RefineRules::default())) {
            Ok(compared) => rows += compared,
            Err(text) => panic!("seed {seed}: {text}"),
        }
        count += 1;
    }
    println!("{count} seeds, {rows} rows of gold compared, {} kills", faults::kills());
    assert!(rows > 0);
}

#[test]
fn every_mutant_is_caught() {
    faults::quiet_kills();
    let right = RefineRules::default();
    for (name, mutant) in [
        ("position before rows", RefineRules { together: false, ..right }),
        ("tracks not worked out again", RefineRules { whole_tracks: false, ..right }),
        ("an hour replaced without what its file held of others", RefineRules { keeps_others: false, ..right }),
    ] {
        let caught = (0..40).find_map(|seed| Some((seed, block_on(run(seed, mutant)).err()?)));
        println!("{name}: caught by (seed, difference) {caught:?}");
        assert!(caught.is_some(), "{name}: no seed noticed it");
    }
}

//! The product's own code under seeded faults at every step: a kill before or after each of them, answers of the
//! catalog that are lost or lie, two of it at once, and bronze that grows in any order, is compacted, has rows taken
//! away by another engine, is rolled back, and has snapshots expired that were not read yet (which is an error that
//! names the way out, and the way out is taken), while zones and lines are drawn anew.
//!
//! After every seed silver is what bronze says and gold is what the definition says of it, row by row.
//! `RVA_REFINE_SEEDS=1000` tries more (from `RVA_REFINE_FIRST` on), `RVA_REFINE_SEED=7` one of them.
#![allow(clippy::unwrap_used, reason = "a world that can't be built is a failed test")]

mod check;
mod engine;
mod faults;
#[path = "../equality/world.rs"]
#[allow(dead_code, reason = "the other test uses the rest")]
mod world;

use check::differences;
use faults::{Faults, Killed};
use futures::FutureExt;
use rva_lake::{BronzeRow, Cells, Lake};
use rva_refine::{Drawing, Rebuild, RebuildTables, Refine, RefineRules, Stepped};
use rva_service::{Layers, load};
use rva_testkit::{folder, lake::FaultyCatalog};
use rva_types::Timestamp;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use world::{Bronze, Random, T0, draw, film, quick, shape};

/// Seeds that are tried where nobody says how many.
const SEEDS: u64 = 8;

/// Steps after which a world that never comes to rest is broken.
const STEPS_MAX: usize = 200;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
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

/// What a configuration draws at some time within the data: a zone by a pattern and a line of one camera, each now and
/// then, sometimes for the past.
fn configured(random: &mut Random) -> Drawing {
    let taken = T0 + 480_000_000 + (random.share() * 4e9) as i64;
    let left = random.share() * 0.4;
    let mut since = || match random.below(3) {
        0 => format!(", valid_from: \"{}\"", Timestamp::from_micros(T0 + (random.share() * 4e9) as i64)),
        _ => String::new(),
    };
    let door = format!("{{camera: door, store: a, name: way, line: [[{left}, 0.1], [0.6, 0.9]]{}}}", since());
    let all = format!("{{camera: \"*\", store: a, name: all, polygon: [[{left}, 0], [1, 0], [1, 1]]{}}}", since());
    let entries = [vec![door.clone()], vec![all.clone()], vec![door, all]];
    let text = format!("zones: [{}]\n", entries[random.below(3) as usize].join(", "));
    let layers = Layers { file: Some(("rva.yaml".into(), text)), ..Layers::default() };
    Drawing::of(&load(&layers).unwrap().config, Timestamp::from_micros(taken)).unwrap()
}

/// The newest drawing, once somebody has drawn in the configuration.
type Drawings = Option<watch::Sender<Drawing>>;

/// Bytes of running hours that are held: none, some of them, all.
const MEMORY: [usize; 3] = [0, 30_000, 256 << 20];

/// Opens it with the newest drawing, if there is one, as each start does.
async fn open(lake: &Lake, rules: RefineRules, drawings: &Drawings, seed: u64) -> Refine {
    let refine = world::refine(lake).await.with_rules(rules).hold_at_most(MEMORY[(seed % 3) as usize]);
    match drawings {
        Some(drawings) => refine.with_drawings(drawings.subscribe()).await.unwrap(),
        None => refine,
    }
}

/// A step that may be killed. `None`: it was; whatever it held in memory is gone.
async fn step(refine: &mut Refine) -> Option<Stepped> {
    let step = async {
        match refine.step().await {
            Ok(stepped) => Ok(stepped),
            Err(error) => match way_out(&error.to_string()) {
                Some(rebuild) => refine.rebuild(&rebuild).await.map(|()| Stepped::Moved),
                None => Err(error),
            },
        }
    };
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(Ok(stepped)) => Some(stepped),
        // A store or a catalog that is away: the loop around it tries again, with what it holds in memory.
        Ok(Err(_)) => Some(Stepped::Moved),
        Err(panic) if panic.downcast_ref::<Killed>().is_some() => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

static REBUILDS: AtomicU64 = AtomicU64::new(0);

/// What the error of expired snapshots tells somebody to do.
fn way_out(error: &str) -> Option<Rebuild> {
    let (found, rest) = error.split_once(" expired, wanted them to tell what is new: ")?;
    assert!(found.contains("found the snapshots of rva."), "{error}");
    let (_, named) = rest.split_once("rva refine --rebuild ").unwrap();
    let name = named.split('`').next().unwrap();
    REBUILDS.fetch_add(1, Ordering::Relaxed);
    Some(Rebuild { tables: RebuildTables::parse(name).unwrap(), span: None })
}

/// What somebody else does to bronze, or to silver.
async fn meddle(clean: &Lake, bronze: &mut Bronze, rows: Vec<BronzeRow>, random: &mut Random) {
    match random.below(5) {
        0 => engine::compact(clean).await,
        1 => engine::take_a_file_away(clean).await,
        2 => engine::roll_back(clean, "bronze_raw", random).await,
        3 => engine::expire(clean, "bronze_raw").await,
        _ => {
            let silver = ["silver_detections", "silver_rejects", "silver_frames"];
            engine::expire(clean, silver[random.below(3) as usize]).await;
        }
    }
    bronze.resume().await;
    // A log that still holds what was taken away gives it once more.
    if random.below(2) == 0 {
        bronze.append(rows).await;
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
    let lake = lake.clone().with_swap(Arc::new(FaultyCatalog::of(&lake, faults.swaps.clone())));
    let mut bronze = Bronze::of(&clean);
    let mut drawings: Drawings = None;
    let mut job = open(&lake, rules, &drawings, seed).await;
    for rows in parts(&mut random) {
        bronze.append(rows.clone()).await;
        match random.below(9) {
            0..=2 => meddle(&clean, &mut bronze, rows, &mut random).await,
            5 => draw(&clean, drawing(&mut random)).await,
            3 | 4 => match &drawings {
                Some(drawings) => drop(drawings.send_replace(configured(&mut random))),
                None => {
                    drawings = Some(watch::channel(configured(&mut random)).0);
                    job = open(&lake, rules, &drawings, seed).await;
                }
            },
            _ => {}
        }
        faults.plan(&mut random);
        for _ in 0..random.below(4) {
            if random.below(6) == 0 {
                let mut other = open(&lake, rules, &drawings, seed).await;
                let (one, _) = tokio::join!(step(&mut job), step(&mut other));
                if one.is_some() {
                    continue;
                }
            } else if random.below(6) == 0 {
                // Another takes over for a step, and what this one holds is of the past.
                step(&mut open(&lake, rules, &drawings, seed).await).await;
                continue;
            } else if step(&mut job).await.is_some() {
                continue;
            }
            job = open(&lake, rules, &drawings, seed).await;
        }
    }
    faults.clear();
    let mut job = open(&lake, rules, &drawings, seed).await;
    for _ in 0..STEPS_MAX {
        let stepped = match job.step().await.map_err(|error| error.to_string()) {
            Ok(stepped) => stepped,
            Err(error) => {
                let rebuild = way_out(&error).ok_or(error)?;
                job.rebuild(&rebuild).await.map_err(|error| error.to_string())?;
                Stepped::Moved
            }
        };
        if stepped == Stepped::Idle {
            if drawings.is_some() {
                check::shapes(&clean).await?;
            }
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
    let first = number("RVA_REFINE_FIRST").unwrap_or(0);
    let many = first..first + number("RVA_REFINE_SEEDS").unwrap_or(SEEDS);
    let seeds = only.map_or(many, |seed| seed..seed + 1);
    let (mut rows, mut count) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        match block_on(run(seed, RefineRules::default())) {
            Ok(compared) => rows += compared,
            Err(text) => panic!("seed {seed}: {text}"),
        }
        count += 1;
    }
    let (kills, merges, rollbacks) = (faults::kills(), engine::merges(), engine::rollbacks());
    let (expiries, rebuilds) = (engine::expiries(), REBUILDS.load(Ordering::Relaxed));
    println!(
        "{count} seeds, {rows} rows of gold compared, {kills} kills, {merges} merges, {rollbacks} rollbacks, {expiries} \
         times snapshots expired, {rebuilds} rebuilds because of them"
    );
    assert!(rows > 0);
    assert!(only.is_some() || kills.min(merges).min(rollbacks).min(expiries) > 0, "something was never tried");
    assert!(count < 50 || rebuilds > 0, "no expired snapshot was missed");
}

#[test]
fn snapshots_that_expired_beyond_the_position_are_an_error_that_names_the_way_out() {
    block_on(async {
        let folder = folder();
        let lake = Lake::open_embedded(folder.path(), quick()).await.unwrap();
        let mut bronze = Bronze::of(&lake);
        // All of one day, so that their files can be merged.
        let rows = film(&mut Random(3), "a", "door", "run-1", T0, 120.0);
        let parts: Vec<_> = rows.chunks(rows.len() / 8).map(<[_]>::to_vec).collect();
        let mut parts = parts.into_iter();
        let mut next = || parts.next().unwrap();
        let mut job = open(&lake, RefineRules::default(), &None, 0).await;
        bronze.append(next()).await;
        job.drain().await.unwrap();
        // What is read already may expire.
        engine::expire(&lake, "bronze_raw").await;
        assert_eq!(job.step().await.unwrap(), Stepped::Idle);
        {
            let (table, rebuilt) = ("bronze_raw", "silver");
            bronze.append(next()).await;
            bronze.append(next()).await;
            engine::expire(&lake, table).await;
            let error = job.step().await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("found the snapshots of rva.{table} since number ")), "{text}");
            assert!(text.contains(&format!("`rva refine --rebuild {rebuilt}`")), "{text}");
            assert_eq!(error.kind(), rva_lake::LakeErrorKind::Permanent, "trying again cures nothing");
            let rebuild = Rebuild { tables: RebuildTables::parse(rebuilt).unwrap(), span: None };
            job.rebuild(&rebuild).await.unwrap();
            differences(&lake).await.unwrap();
        }
    });
}

#[test]
fn a_bronze_that_is_rolled_back_takes_its_rows_out_of_silver_and_gold() {
    block_on(async {
        let folder = folder();
        let lake = Lake::open_embedded(folder.path(), quick()).await.unwrap();
        let mut bronze = Bronze::of(&lake);
        let parts = parts(&mut Random(5));
        let mut job = open(&lake, RefineRules::default(), &None, 0).await;
        bronze.append(parts[0].clone()).await;
        job.drain().await.unwrap();
        let before = differences(&lake).await.unwrap();
        bronze.append(parts[1].clone()).await;
        job.drain().await.unwrap();
        assert!(differences(&lake).await.unwrap() > before);
        engine::roll_back(&lake, "bronze_raw", &mut Random(1)).await;
        job.drain().await.unwrap();
        assert_eq!(differences(&lake).await.unwrap(), before, "gold is what it was then");
        assert!(job.counters.corrections > 0);
        // The log still has them.
        bronze.resume().await;
        bronze.append(parts[1].clone()).await;
        job.drain().await.unwrap();
        assert!(differences(&lake).await.unwrap() > before);
    });
}

#[test]
fn hours_in_memory_take_new_rows_at_their_own_position_alone() {
    let refined = |rules: RefineRules| {
        block_on(async move {
            let folder = folder();
            let lake = Lake::open_embedded(folder.path(), quick()).await.unwrap();
            let mut bronze = Bronze::of(&lake);
            let rows = film(&mut Random(3), "a", "door", "run-1", T0, 120.0);
            let mut parts = rows.chunks(rows.len().div_ceil(3)).map(<[_]>::to_vec);
            let mut job = open(&lake, rules, &None, 2).await;
            bronze.append(parts.next().unwrap()).await;
            job.drain().await.unwrap();
            // Another refines what comes next, and what this one holds is of the past.
            bronze.append(parts.next().unwrap()).await;
            open(&lake, rules, &None, 2).await.drain().await.unwrap();
            bronze.append(parts.next().unwrap()).await;
            job.drain().await.unwrap();
            differences(&lake).await
        })
    };
    let right = RefineRules::default();
    refined(right).unwrap();
    let mutant = refined(RefineRules { drops_hot: false, ..right });
    println!("an hour in memory takes rows of another position: {mutant:?}");
    assert!(mutant.is_err(), "hours of an older position took new rows, and nothing noticed");
}

#[test]
fn every_mutant_is_caught() {
    faults::quiet_kills();
    let right = RefineRules::default();
    for (name, mutant) in [
        ("position before rows", RefineRules { together: false, ..right }),
        ("tracks not worked out again", RefineRules { whole_tracks: false, ..right }),
        ("an hour replaced without what its file held of others", RefineRules { keeps_others: false, ..right }),
        ("a time that was drawn anew is left as it was", RefineRules { redraws: false, ..right }),
    ] {
        let caught = (0..40).find_map(|seed| Some((seed, block_on(run(seed, mutant)).err()?)));
        println!("{name}: caught by (seed, difference) {caught:?}");
        assert!(caught.is_some(), "{name}: no seed noticed it");
    }
}

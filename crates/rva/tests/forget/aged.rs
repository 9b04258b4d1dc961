//! Rows that a table doesn't keep any longer: what was made of them stays, and is never worked out wrong.

use crate::{TABLES, keys, record, rows, search::files_holding, world::World};
use rva_lake::{Lake, LakeOptions, MergeLimits, Merged};
use rva_types::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(86_400);

/// A record of another day.
fn on(day: &str, camera: &str, frame: u64) -> String {
    let run = format!("run-{camera}-{day}");
    record(camera, frame).replace("2026-01-31T", &format!("{day}T")).replace(&format!("run-{camera}"), &run)
}

/// Brings records into bronze.
fn bring(world: &World, lines: &[String]) {
    world.write("more.ndjson", lines.join("\n"));
    world.rva(&["replay", "more.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
}

const DAYS: [&str; 3] = ["2026-01-28", "2026-01-30", "2026-02-02"];

fn fill(world: &World) {
    for day in DAYS {
        for camera in ["door", "till"] {
            bring(world, &(1..120).map(|frame| on(day, camera, frame)).collect::<Vec<_>>());
        }
        world.rva(&["refine", "--drain"]).exits(0);
    }
}

/// Looks through the tables as at another moment, with so many days of some tables that are kept.
fn look(world: &World, now: SystemTime, keep: &[(&str, u32)]) -> BTreeMap<&'static str, Merged> {
    let retention = keep.iter().map(|(table, days)| ((*table).to_owned(), DAY * *days)).collect();
    let limits = MergeLimits { retention, ..MergeLimits::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let merged = runtime.block_on(async {
        let lake = Lake::open_embedded(&world.data(), LakeOptions::default()).await.unwrap();
        lake.merge_files(None, &limits, now).await.unwrap()
    });
    merged.into_iter().map(|merged| (merged.table, merged)).collect()
}

fn at(text: &str) -> SystemTime {
    Timestamp::parse(text).unwrap().into()
}

type Rows = BTreeMap<&'static str, Vec<String>>;

fn all(world: &World) -> Rows {
    rows(world).into_iter().collect()
}

#[track_caller]
fn same(found: &Rows, wanted: &Rows, but: &[&str]) {
    for (table, _) in TABLES.iter().filter(|(table, _)| !but.contains(table)) {
        assert_eq!(found[table], wanted[table], "{table}");
    }
}

const SILVER: [(&str, u32); 2] = [("silver_frames", 3), ("silver_detections", 3)];

#[test]
fn what_bronze_keeps_no_longer_stays_in_silver_and_gold_and_comes_with_no_replay() {
    let world = World::new();
    fill(&world);
    let before = all(&world);
    let soon = SystemTime::now() + 10 * DAY;
    let looked = look(&world, soon, &[("bronze_raw", 5)]);
    assert_eq!(looked["bronze_raw"].aged, 6 * 119);
    // Rejects stay no longer than bronze: they have no time of a record.
    assert_eq!(looked["silver_rejects"].aged, 6 * 11);
    assert_eq!(looked.values().map(|merged| merged.aged).sum::<u64>(), 6 * (119 + 11));
    assert_eq!(look(&world, soon, &[("bronze_raw", 5)])["bronze_raw"].aged, 0);
    world.rva(&["refine", "--drain"]).exits(0);
    same(&all(&world), &before, &["bronze_raw", "silver_rejects"]);
    assert_eq!(keys(&world), BTreeSet::new());
    world.rva(&["verify"]).exits(0);
    // Worked out again it is as before: nothing is made of a bronze that has gone.
    for table in ["silver", "gold"] {
        world.rva(&["refine", "--rebuild", table]).exits(0);
        same(&all(&world), &before, &["bronze_raw", "silver_rejects"]);
    }
    // A replay doesn't bring it back, and a new record counts once.
    bring(&world, &(1..=120).map(|frame| on(DAYS[2], "door", frame)).collect::<Vec<_>>());
    assert_eq!(keys(&world), BTreeSet::from([("door".to_owned(), 120)]));
    world.rva(&["refine", "--drain"]).exits(0);
    let whole = World::new();
    fill(&whole);
    bring(&whole, &[on(DAYS[2], "door", 120)]);
    whole.rva(&["refine", "--drain"]).exits(0);
    same(&all(&world), &all(&whole), &["bronze_raw", "silver_rejects"]);
    world.rva(&["verify"]).exits(0);
}

#[test]
fn what_silver_keeps_no_longer_stays_in_gold_whatever_comes_late() {
    let world = World::new();
    fill(&world);
    let before = all(&world);
    let looked = look(&world, at("2026-02-04T12:00:00Z"), &SILVER);
    assert_eq!((looked["silver_frames"].aged, looked["silver_detections"].aged), (4 * 119, 4 * 119));
    let silver = ["silver_frames", "silver_detections"];
    world.rva(&["refine", "--drain"]).exits(0);
    let after = all(&world);
    same(&after, &before, &silver);
    for table in silver {
        let stays = |row: &&String| row.contains(DAYS[2]);
        assert_eq!(after[table], before[table].iter().filter(stays).cloned().collect::<Vec<_>>());
    }
    world.rva(&["verify"]).exits(0);
    for arguments in [&["refine", "--rebuild", "gold"][..], &["refine", "--rebuild", "gold", "--from", DAYS[0]]] {
        world.rva(arguments).exits(0);
        same(&all(&world), &before, &silver);
    }
    // One that is late for a day of which silver has gone changes nothing of gold, one of a day that is there does.
    bring(&world, &[on(DAYS[0], "door", 121)]);
    world.rva(&["refine", "--drain"]).exits(0);
    same(&all(&world), &before, &["bronze_raw", "silver_frames", "silver_detections"]);
    bring(&world, &(120..200).map(|frame| on("2026-02-03", "door", frame)).collect::<Vec<_>>());
    world.rva(&["refine", "--drain"]).exits(0);
    let (found, gold) = (all(&world), "gold_people_per_minute");
    assert!(found[gold].len() > before[gold].len() && before[gold].iter().all(|row| found[gold].contains(row)));
    world.rva(&["verify"]).exits(0);
}

#[test]
fn what_is_forgotten_goes_from_silver_and_gold_also_where_their_input_has_gone_by_its_age() {
    let world = World::new();
    fill(&world);
    let before = all(&world);
    look(&world, SystemTime::now() + 10 * DAY, &[("bronze_raw", 5)]);
    look(&world, at("2026-02-04T12:00:00Z"), &SILVER);
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["forget", "--yes", "--camera", "door"]).exits(0);
    let after = all(&world);
    for (table, _) in TABLES.iter().filter(|(table, _)| table.starts_with("gold_")) {
        let stays = |row: &&String| !row.contains("door");
        assert_eq!(after[table], before[table].iter().filter(stays).cloned().collect::<Vec<_>>(), "{table}");
    }
    assert!(!after["gold_people_per_minute"].is_empty());
    assert_eq!(files_holding(&world.data(), &["M-door-".to_owned()]), Vec::<String>::new());
}

#[test]
fn rows_go_by_the_age_that_the_configuration_says_and_a_plan_says_it_before() {
    let world = World::new();
    fill(&world);
    let before = all(&world);
    world.write(
        "kept.yaml",
        "maintain:\n  retention:\n    gold_minute_by_cam: 30d\n    silver_frames: 3000d\n    bronze_dead_letters: 2d\n",
    );
    let planned = world.rva(&["maintain", "--plan", "--config", "kept.yaml"]).exits(0).stdout;
    let rows = before["gold_minute_by_cam"].len();
    assert!(planned.contains(&format!("old    {rows} rows of ")), "{planned}");
    assert_eq!(planned.matches("  old  ").count(), 1, "{planned}");
    same(&all(&world), &before, &[]);
    let wanted = format!("rva.gold_minute_by_cam: {rows} old rows are gone");
    world.rva(&["maintain", "--once", "--config", "kept.yaml"]).exits(0).says(&[&wanted]);
    let after = all(&world);
    same(&after, &before, &["gold_minute_by_cam"]);
    assert!(after["gold_minute_by_cam"].is_empty());

    for (text, wanted) in [
        ("bronze_rav: 30d", "maintain.retention.bronze_rav: unknown key, nearest is bronze_raw"),
        ("bronze_raw: 30 parsecs", "\"30 parsecs\""),
        ("bronze_raw: 1h", "found 1h, wanted at least"),
    ] {
        world.write("kept.yaml", format!("maintain:\n  retention:\n    {text}\n"));
        world.rva(&["maintain", "--once", "--config", "kept.yaml"]).exits(2).says(&[wanted]);
    }
    same(&all(&world), &after, &[]);
}

//! Records that are forgotten: gone from every table, and from every byte of the data folder.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../bad_input/world.rs"]
mod world;

mod aged;
mod kills;
mod left_behind;
mod search;

use common::rva;
use search::{files_holding, snapshot_of};
use std::{collections::BTreeSet, path::Path, process::Stdio};
use world::World;

/// The tables, and the columns of each that say when somebody worked, not what was seen.
pub const TABLES: [(&str, &str); 15] = [
    ("bronze_raw", "schema_version, pipeline_run_id, frame_index, payload, camera_id, store_id"),
    ("bronze_dead_letters", "reason, CAST(raw AS VARCHAR)"),
    (
        "silver_detections",
        "pipeline_run_id, store_id, camera_id, frame_index, capture_ts, det_id, class_name, conf, bbox_x1, bbox_y1, bbox_x2, bbox_y2, track_id",
    ),
    (
        "silver_frames",
        "pipeline_run_id, store_id, camera_id, frame_index, capture_ts, img_w, img_h, people, detections",
    ),
    ("silver_rejects", "pipeline_run_id, store_id, camera_id, frame_index, det_id, reason, detail"),
    ("gold_minute_by_cam", "*"),
    ("gold_hour_by_cam", "*"),
    ("gold_people_per_minute", "*"),
    ("gold_camera_minute", "*"),
    ("gold_zone_heatmap", "*"),
    ("gold_zone_dwell", "*"),
    ("gold_track_summary", "*"),
    ("gold_zone_visits", "*"),
    ("gold_zone_minute", "*"),
    ("gold_line_crossings", "*"),
];

/// The mark that a record carries, which is found nowhere else.
pub fn mark(camera: &str, frame: u64) -> String {
    format!("M-{camera}-{frame}-M")
}

/// A record of a second: frame 1 is at 08:00:01. Each has a mark in its payload and in the id of its detection; every
/// tenth also has a detection that is a reject.
pub fn record(camera: &str, frame: u64) -> String {
    let (minute, second, x) = (frame / 60 % 60, frame % 60, 40 + frame * 9 % 500);
    let mark = mark(camera, frame);
    let reject = match frame % 10 {
        0 => format!(r#",{{"det_id":"{mark}-bad","class":"person","class_id":0,"conf":0.9,"bbox":null}}"#),
        _ => String::new(),
    };
    format!(
        r#"{{"schema_version":"1.0","pipeline_run_id":"run-{camera}","source":{{"store_id":"store_01","camera_id":"{camera}","stream_id":"stream_01"}},"frame_index":{frame},"capture_ts":"2026-01-31T{:02}:{minute:02}:{second:02}.000000+00:00","image_size":{{"width":640,"height":480}},"detections":[{{"det_id":"{mark}","class":"person","class_id":0,"conf":0.9,"bbox":{{"x1":{x},"y1":100,"x2":{},"y2":300}},"track_id":{}}}{reject}],"runtime":{{}},"source_uri":null}}"#,
        8 + frame / 3600,
        x + 40,
        frame / 50 + 1
    )
}

/// A line that is no record, of a camera.
fn bad(camera: &str, frame: u64) -> String {
    let (minute, second) = (frame / 60, frame % 60);
    format!(r#"no record of {camera}: "capture_ts":"2026-01-31T08:{minute:02}:{second:02}Z" {}"#, mark(camera, frame))
}

/// Fills a data folder with what `is_there` lets through: two hours apart, in many files, merged, and worked out
/// again in between.
pub fn fill(world: &World, is_there: impl Fn(&str, u64) -> bool) {
    let rounds: [(&str, std::ops::Range<u64>); 6] = [
        ("door", 1..100),
        ("till", 1..100),
        ("door", 100..200),
        ("door", 7_190..7_230),
        ("till", 7_190..7_230),
        ("aisle", 1..40),
    ];
    for (at, (camera, frames)) in rounds.into_iter().enumerate() {
        let mut lines: Vec<String> =
            frames.clone().filter(|frame| is_there(camera, *frame)).map(|frame| record(camera, frame)).collect();
        lines.extend(
            frames
                .filter(|frame| *frame < 200 && frame % 50 == 7 && is_there(camera, *frame))
                .map(|frame| bad(camera, frame)),
        );
        if lines.is_empty() {
            continue;
        }
        let name = format!("{at}.ndjson");
        world.write(&name, lines.join("\n"));
        world.rva(&["replay", &name]).exits(0);
        world.rva(&["ingest", "--drain"]).exits(0);
        if at % 2 == 0 {
            world.rva(&["refine", "--drain"]).exits(0);
        }
        if at == 3 {
            let mut merge = world.command(&["maintain", "--once"]);
            merge.env("RVA_MAINTAIN_FILES_MIN", "2").env("RVA_MAINTAIN_AGE_MIN", "0s");
            assert!(merge.stderr(Stdio::null()).status().unwrap().success());
        }
    }
    world.rva(&["refine", "--drain"]).exits(0);
}

/// The rows of every table as text, in order.
pub fn rows(world: &World) -> Vec<(&'static str, Vec<String>)> {
    let of = |(table, columns): (&'static str, &str)| {
        let sql = format!("SELECT {columns} FROM {table}");
        let csv = world.rva(&["query", &sql, "--format", "csv"]).exits(0).stdout;
        let mut lines: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        (table, lines)
    };
    TABLES.into_iter().map(of).collect()
}

/// The keys of bronze.
fn keys(world: &World) -> BTreeSet<(String, u64)> {
    world.rows().into_iter().map(|(_, camera, frame)| (camera, frame)).collect()
}

/// Door, from 08:00:30 to 08:02:30.
const SPAN: [&str; 6] = ["--camera", "door", "--from", "2026-01-31T08:00:30Z", "--to", "2026-01-31T08:02:30Z"];

fn in_span(camera: &str, frame: u64) -> bool {
    camera == "door" && (30..150).contains(&frame)
}

#[test]
fn a_span_of_a_camera_is_gone_from_tables_and_bytes_and_the_rest_is_as_if_it_had_never_been() {
    let (world, never) = (World::new(), World::new());
    fill(&world, |_, _| true);
    fill(&never, |camera, frame| !in_span(camera, frame));
    let marks: Vec<String> = (30..150).map(|frame| mark("door", frame)).collect();
    assert!(!files_holding(&world.data(), &marks).is_empty());

    let said = world.rva(&[&["forget", "--yes"], &SPAN[..]].concat()).exits(0);
    assert!(said.stderr.contains("rva.bronze_raw: 120 rows of"), "{}", said.stderr);
    assert!(said.stderr.contains("rva.bronze_dead_letters: 2 rows of"), "{}", said.stderr);
    for ((table, found), (_, wanted)) in rows(&world).into_iter().zip(rows(&never)) {
        assert_eq!(found, wanted, "{table}");
        assert!(
            !found.is_empty() || ["visits", "crossings", "zone_minute"].iter().any(|none| table.contains(none)),
            "{table} is empty"
        );
    }
    world.rva(&["verify"]).exits(0).says(&["silver is what bronze says"]);
    assert_eq!(files_holding(&world.data(), &marks), Vec::<String>::new());
    // What stays is found by the same search.
    for kept in [mark("door", 29), mark("door", 150), mark("till", 60), mark("door", 7_200)] {
        assert!(!files_holding(&world.data(), &[kept]).is_empty());
    }

    // Nothing is left to do.
    let before = snapshot_of(&world.data());
    let again = world.rva(&[&["forget", "--yes"], &SPAN[..]].concat()).exits(0);
    assert!(again.stderr.contains("nothing of it is there"), "{}", again.stderr);
    assert_eq!(snapshot_of(&world.data()), before);

    // The log goes on, other records come, and those that were forgotten don't come back.
    for (camera, frames) in [("door", 1..260_u64), ("till", 100..120)] {
        world.write("more.ndjson", frames.map(|frame| record(camera, frame)).collect::<Vec<_>>().join("\n"));
        world.rva(&["replay", "more.ndjson"]).exits(0);
    }
    world.rva(&["ingest", "--drain"]).exits(0);
    let found = keys(&world);
    assert!((30..150).all(|frame| !found.contains(&("door".to_owned(), frame))), "{found:?}");
    assert!(found.contains(&("door".to_owned(), 259)) && found.contains(&("till".to_owned(), 119)));
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["verify"]).exits(0);
    world.rva(&["maintain", "--once"]).exits(0);
    // The log has them again, since they were sent again; the tables don't.
    assert_eq!(files_holding(&world.data().join("warehouse"), &marks), Vec::<String>::new());
}

#[test]
fn a_whole_camera_leaves_its_keys_in_the_notes_and_its_position_and_nothing_else() {
    let world = World::new();
    fill(&world, |_, _| true);
    world.rva(&["forget", "--yes", "--camera", "door"]).exits(0);
    world.rva(&["verify"]).exits(0);
    assert!(keys(&world).iter().all(|(camera, _)| camera != "door"));
    assert!(rows(&world).iter().all(|(_, rows)| rows.iter().all(|row| !row.contains("door"))));
    assert_eq!(files_holding(&world.data(), &["M-door-".to_owned()]), Vec::<String>::new());
    let of_notes = |path: &String| path.contains("bronze_deletions");
    let run: Vec<String> = files_holding(&world.data(), &["run-door".to_owned()]);
    assert!(!run.is_empty() && run.iter().all(of_notes), "{run:?}");
    let named: Vec<String> = files_holding(&world.data(), &["door".to_owned()]);
    let is_position = |path: &String| path.ends_with(".metadata.json") || path.ends_with(".offsets.zst");
    let other: Vec<&String> = named.iter().filter(|path| !of_notes(path) && !is_position(path)).collect();
    assert!(other.is_empty(), "{other:?}");
    world.rva(&["ingest", "--drain"]).exits(0);
    world.rva(&["maintain", "--once"]).exits(0);
    world.rva(&["refine", "--drain"]).exits(0).says(&["0 commits"]);
}

#[test]
fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let world = World::new();
    fill(&world, |_, _| true);
    let before = snapshot_of(&world.data());
    let said = world.rva(&[&["forget", "--dry-run"], &SPAN[..]].concat()).exits(0).stdout;
    for wanted in [
        "rva.bronze_raw: 120 rows of",
        "rva.bronze_dead_letters: 2 rows of",
        "rva.silver_frames: 120 rows of",
        "rva.gold_minute_by_cam: ",
        "worked out again or go",
        "log: 122 records",
    ] {
        assert!(said.contains(wanted), "wanted {wanted:?} in:\n{said}");
    }
    assert_eq!(snapshot_of(&world.data()), before);
    let nothing = world.rva(&["forget", "--dry-run", "--camera", "nobody"]).exits(0).stdout;
    assert_eq!(nothing, "nothing of it is there\n");
    world.rva(&["forget", "--yes", "--camera", "nobody"]).exits(0).says(&["nothing of it is there"]);
    assert_eq!(snapshot_of(&world.data()), before);
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_is_changed() {
    let world = World::new();
    world.rva(&["forget", "--camera", "door", "--yes"]).exits(1).says(&["found no catalog.db"]);
    world.seed();
    for (arguments, wanted) in [
        (&["--yes"][..], "found nothing that is chosen, wanted --store, --camera, --from or --to"),
        (&["--yes", "--from", "2026-02-01", "--to", "2026-01-31"], "--to: found 2026-01-31"),
        (&["--yes", "--from", "yesterday"], "--from: found \"yesterday\""),
        (&["--yes", "--camera", ""], "--camera: found an empty text"),
        (&["--camera", "door"], "found no terminal to ask at, wanted --yes, or --dry-run"),
        (&["--camera", "door", "--yes", "--dry-run"], "cannot be used with"),
    ] {
        world.rva(&[&["forget"], arguments].concat()).exits(2).says(&[wanted]);
    }
    world
        .rva(&["forget", "--camera", "door", "--yes", "--backups", "nowhere"])
        .exits(1)
        .says(&["found no rva-backup.json"]);
    assert_eq!(keys(&world).len(), 6);
}

#[test]
fn backups_that_hold_it_are_named() {
    let world = World::new();
    fill(&world, |camera, _| camera != "door");
    world.rva(&["backup", "store"]).exits(0);
    world.write("door.ndjson", (1..50).map(|frame| record("door", frame)).collect::<Vec<_>>().join("\n"));
    world.rva(&["replay", "door.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    world.rva(&["backup", "store"]).exits(0);
    let list = rva(world.path(), &["backup", "list", "store"]).exits(0).stdout;
    let ids: Vec<&str> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let forget = ["forget", "--camera", "door", "--backups", "store"];
    let planned = world.rva(&[&forget[..], &["--dry-run"]].concat()).exits(0).stdout;
    let done = world.rva(&[&forget[..], &["--yes"]].concat()).exits(0).stdout;
    for said in [planned, done] {
        let named: Vec<&str> = said.lines().filter(|line| line.starts_with("backup ")).collect();
        let wanted = format!("backup {} in store holds rows of it: bronze_raw 49", ids[1]);
        assert_eq!(named, [wanted], "{said}");
    }
    world.rva(&["forget", "--camera", "door", "--yes"]).exits(0).says(&["--backups names a place of them"]);
}

#[test]
fn what_no_table_has_yet_stays_and_is_said() {
    let world = World::new();
    fill(&world, |camera, _| camera == "till");
    world.write("door.ndjson", (1..50).map(|frame| record("door", frame)).collect::<Vec<_>>().join("\n"));
    world.rva(&["replay", "door.ndjson"]).exits(0);
    let said = world.rva(&["forget", "--camera", "door", "--yes"]).exits(1).stdout;
    assert!(said.contains("stays: log: 49 records that no table has yet"), "{said}");
    world.rva(&["ingest", "--drain"]).exits(0);
    world.rva(&["forget", "--camera", "door", "--yes"]).exits(0);
    assert_eq!(files_holding(&world.data(), &["M-door-".to_owned()]), Vec::<String>::new());
}

#[test]
fn beside_an_ingest_and_a_refine_that_run_nothing_else_is_lost() {
    let world = World::new();
    fill(&world, |_, _| true);
    let mut ingest = world.start(&["ingest", "--commit-interval", "100ms"]);
    ingest.wait_until_it_says(&["following"]);
    let mut refine = world.start(&["refine"]);
    refine.wait_until_it_says(&["following"]);
    for round in 0..4_u64 {
        let frames = 1_000 + round * 50..1_050 + round * 50;
        world.write("more.ndjson", frames.map(|frame| record("till", frame)).collect::<Vec<_>>().join("\n"));
        world.rva(&["replay", "more.ndjson"]).exits(0);
        if round == 1 {
            // The refine may lose to it, and what that leaves behind can't go while it runs.
            let forget = world.rva(&["forget", "--yes", "--camera", "door"]);
            let is_left = forget.code == 1 && forget.stdout.contains("files that no snapshot names");
            assert!(forget.code == 0 || is_left, "{}\n{}", forget.stdout, forget.stderr);
        }
    }
    ingest.wait_for("the last row", |_| keys(&world).contains(&("till".to_owned(), 1_199)));
    for running in [ingest, refine] {
        running.signal("-INT");
        assert_eq!(running.end().code, 0);
    }
    world.rva(&["ingest", "--drain"]).exits(0);
    world.rva(&["refine", "--drain"]).exits(0);
    world.rva(&["forget", "--yes", "--camera", "door"]).exits(0);
    world.rva(&["verify"]).exits(0);
    let found = keys(&world);
    assert!(found.iter().all(|(camera, _)| camera != "door"), "{found:?}");
    assert_eq!(found.iter().filter(|(camera, _)| camera == "till").count(), 99 + 40 + 200);
    assert_eq!(files_holding(&world.data(), &["M-door-".to_owned()]), Vec::<String>::new());
}

/// The warehouse and the log of a data folder.
pub fn parts(data: &Path) -> [std::path::PathBuf; 2] {
    [data.join("warehouse"), data.join("log")]
}

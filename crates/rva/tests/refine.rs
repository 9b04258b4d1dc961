//! Silver and gold from the command line: brought up, compared, worked out again.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{clip, command, demo_model, rva};
use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::tempdir;

/// A record of somebody who walks through the picture.
fn record(run: &str, camera: &str, frame: i64) -> String {
    let x = 40 + frame * 9 % 500;
    let (minute, second) = (frame / 60 % 60, frame % 60);
    format!(
        r#"{{"schema_version":"1.0","pipeline_run_id":"{run}","source":{{"store_id":"store_01","camera_id":"{camera}","stream_id":"stream_01"}},"frame_index":{frame},"capture_ts":"2026-01-31T08:{minute:02}:{second:02}.000000+00:00","image_size":{{"width":640,"height":480}},"detections":[{{"det_id":"{frame}-0","class":"person","class_id":0,"conf":0.9,"bbox":{{"x1":{x},"y1":100,"x2":{},"y2":300}},"track_id":{}}}],"runtime":{{}},"source_uri":null}}"#,
        x + 40,
        frame / 50 + 1
    )
}

fn replay(folder: &Path, name: &str, camera: &str, frames: std::ops::Range<i64>) {
    let lines: Vec<String> = frames.map(|frame| record("run", camera, frame)).collect();
    fs::write(folder.join(name), lines.join("\n")).unwrap();
    rva(folder, &["replay", name]).exits(0);
    rva(folder, &["ingest", "--drain"]).exits(0);
}

fn people(folder: &Path) -> Vec<String> {
    let sql =
        "SELECT camera_id, ts_minute, detections, unique_people, people_max FROM gold_people_per_minute ORDER BY 1, 2";
    rva(folder, &["query", sql, "--format", "csv"]).exits(0).stdout.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn gold_is_brought_up_compared_and_worked_out_again() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    rva(folder, &["refine", "--drain"]).exits(1).says(&["found no catalog.db"]);
    replay(folder, "a.ndjson", "door", 1..100);
    rva(folder, &["verify"]).exits(1).says(&["found no table of gold", "rva refine --drain"]);
    rva(folder, &["refine", "--drain"]).exits(0).says(&["99 rows of bronze"]);
    let first = people(folder);
    assert_eq!(first, ["door,2026-01-31T08:00:00Z,59,2,1", "door,2026-01-31T08:01:00Z,40,1,1"]);
    rva(folder, &["verify"]).exits(0).says(&["silver is what bronze says"]);
    rva(folder, &["refine", "--drain"]).exits(0).says(&["0 rows of bronze", "0 commits"]);

    replay(folder, "b.ndjson", "till", 1..30);
    rva(folder, &["verify"]).exits(1).says(&["bring the tables up with `rva refine --drain`"]);
    let tables = rva(folder, &["tables"]).exits(0).stdout;
    assert!(tables.contains("bronze_raw snapshot 1 (1 behind)"), "{tables}");
    rva(folder, &["refine", "--drain"]).exits(0).says(&["29 rows of bronze"]);
    assert_eq!(people(folder), [first, vec!["till,2026-01-31T08:00:00Z,29,1,1".to_owned()]].concat());
    rva(folder, &["verify", "--day", "2026-01-31"]).exits(0);

    for what in ["gold", "silver", "gold_track_summary"] {
        rva(folder, &["refine", "--rebuild", what]).exits(0);
        rva(folder, &["verify"]).exits(0);
    }
    rva(folder, &["refine", "--rebuild", "gold", "--from", "2026-01-31"]).exits(0);
    rva(folder, &["verify"]).exits(0);
    rva(folder, &["refine", "--rebuild", "nothing"]).exits(2).says(&["wanted one of silver, gold, gold_"]);
    rva(folder, &["refine", "--rebuild", "gold", "--from", "yesterday"]).exits(2).says(&["--from", "2026-01-31"]);
    rva(folder, &["verify", "--day", "2026-02-31"]).exits(2).says(&["--day"]);
    let spilling =
        command(folder, &["verify"]).env("RVA_QUERY_SPILL_DIR", folder.join("a.ndjson/below")).output().unwrap();
    let said = String::from_utf8_lossy(&spilling.stderr).into_owned();
    assert_eq!(spilling.status.code(), Some(1), "the bounds of a query hold for it: {said}");
    assert!(said.contains("query.spill_dir"), "{said}");
}

/// A rule that silver was made with and the check isn't: what differs is told row by row.
#[test]
fn rows_that_differ_are_told() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    replay(folder, "a.ndjson", "door", 1..20);
    rva(folder, &["refine", "--drain"]).exits(0);
    let verified = command(folder, &["verify"]).env("RVA_REFINE_CONF", "0.95").output().unwrap();
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{told}");
    assert!(told.contains("extra   rva.silver_detections: \"1.0\" \"run\""), "{told}");
    assert!(told.contains("missing rva.silver_frames:"), "{told}");
}

#[test]
fn a_run_leaves_gold_that_equals_its_definition() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let Some(clip) = clip(folder, 40) else { return };
    let (clip, model) = (clip.display().to_string(), demo_model().display().to_string());
    rva(folder, &["run", &clip, "--model", &model, "--no-refine"]).exits(0);
    assert!(!rva(folder, &["tables"]).exits(0).stdout.contains("gold_"));
    rva(folder, &["run", &clip, "--model", &model]).exits(0);
    rva(folder, &["verify"]).exits(0).says(&["silver is what bronze says"]);
    let sql = "SELECT CAST(sum(frames) AS bigint) FROM gold_people_per_minute";
    assert_eq!(rva(folder, &["query", sql, "--format", "csv"]).exits(0).stdout.lines().nth(1), Some("80"));
}

#[test]
fn two_refines_at_once_make_each_row_once() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    replay(folder, "a.ndjson", "door", 1..100);
    replay(folder, "b.ndjson", "till", 1..100);
    let both = [0, 1].map(|_| command(folder, &["refine", "--drain"]).stderr(Stdio::piped()).spawn().unwrap());
    for child in both {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    rva(folder, &["verify"]).exits(0).says(&["silver is what bronze says"]);
    rva(folder, &["refine", "--drain"]).exits(0).says(&["0 commits"]);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// splitmix64 (Steele, Lea, Flood 2014): the same moments from the same seed.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The process that follows bronze is killed at random moments while bronze grows; `RVA_REFINE_KILLS` says how often
/// (`make torture REFINE=1 KILLS=500`), `RVA_KILL_SEED` gives other moments.
#[test]
fn a_refine_that_is_killed_anywhere_goes_on_where_the_tables_are() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let (kills, mut seed) = (number("RVA_REFINE_KILLS").unwrap_or(20), number("RVA_KILL_SEED").unwrap_or(1));
    let (mut first, mut cut_off) = (1, 0);
    replay(folder, "0.ndjson", "door", first..first + 20);
    for kill in 1..=kills {
        let mut refine = command(folder, &["refine"]);
        let mut child = refine.env("RVA_REFINE_INTERVAL", "100ms").stderr(Stdio::null()).spawn().unwrap();
        let moment = Duration::from_millis(random(&mut seed) % 700);
        let started = Instant::now();
        if kill % 4 == 0 {
            first += 20;
            let camera = if kill % 12 == 0 { "till" } else { "door" };
            replay(folder, &format!("{kill}.ndjson"), camera, first..first + 20);
        }
        std::thread::sleep(moment.saturating_sub(started.elapsed()));
        assert!(child.try_wait().unwrap().is_none(), "kill {kill}: it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let tables = command(folder, &["tables"]).output().unwrap();
        let is_behind = |line: &str| line.contains(" behind)") && !line.contains("(0 behind)");
        cut_off += u64::from(String::from_utf8_lossy(&tables.stdout).lines().any(is_behind));
        if kill % 50 == 0 || kill == kills {
            rva(folder, &["refine", "--drain"]).exits(0);
            rva(folder, &["verify"]).exits(0).says(&["silver is what bronze says"]);
            println!(
                "{kill} kills, {cut_off} of them before all tables were at their inputs' ends, and all tables equal"
            );
        }
    }
    assert!(cut_off > 0, "no kill cut a refine off");
}

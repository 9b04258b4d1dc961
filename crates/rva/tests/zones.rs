//! Zones and lines of rva.yaml: drawn, moved, renamed, removed, and drawn for the past.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{clip, command, demo_model, rva};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::tempdir;

/// 2026-01-31T08:00:00Z.
const T0: i64 = 1_769_846_400;

/// Writes and commits a second a frame of somebody who walks to the right at 9 pixels a second: the bottom centre is at
/// `60 + 9 * frame % 500` of 640 pixels, and the track is another one every 50 frames.
fn replay(folder: &Path, camera: &str, run: &str, start: i64, frames: std::ops::Range<i64>) {
    let line = |frame: i64| {
        let x = 40 + frame * 9 % 500;
        let (at, x2, track) = (start + frame, x + 40, frame / 50 + 1);
        let (day, second) = (at.div_euclid(86_400), at.rem_euclid(86_400));
        let date = date_of(day);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"{run}","source":{{"store_id":"store_01","camera_id":"{camera}","stream_id":"stream_01"}},"frame_index":{frame},"capture_ts":"{date}T{hour:02}:{minute:02}:{second:02}.000000+00:00","image_size":{{"width":640,"height":480}},"detections":[{{"det_id":"{frame}-0","class":"person","class_id":0,"conf":0.9,"bbox":{{"x1":{x},"y1":100,"x2":{x2},"y2":300}},"track_id":{track}}}],"runtime":{{}},"source_uri":null}}"#
        )
    };
    let name = format!("{run}.ndjson");
    fs::write(folder.join(&name), frames.map(line).collect::<Vec<_>>().join("\n")).unwrap();
    rva(folder, &["replay", &name]).exits(0);
    rva(folder, &["ingest", "--drain"]).exits(0);
}

/// The date of a day since 1970 (Howard Hinnant, chrono-compatible low-level date algorithms).
fn date_of(day: i64) -> String {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let month = (5 * doy + 2) / 153;
    let (d, m) = (doy - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = yoe + era * 400 + i64::from(m <= 2);
    format!("{year:04}-{m:02}-{d:02}")
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn csv(folder: &Path, sql: &str) -> Vec<String> {
    rva(folder, &["query", sql, "--format", "csv"]).exits(0).stdout.lines().skip(1).map(str::to_owned).collect()
}

fn drawn(folder: &Path) -> Vec<String> {
    csv(folder, "SELECT name, kind, points, valid_to IS NULL FROM zones ORDER BY name, valid_from")
}

fn visits(folder: &Path) -> Vec<String> {
    csv(folder, "SELECT zone, track_id, visit, entered_at, dwell_seconds FROM gold_zone_visits ORDER BY 1, 2, 3")
}

fn draw(folder: &Path, zones: &str) {
    fs::write(folder.join("rva.yaml"), format!("cameras:\n  door:\n    source: a.mp4\n    zones:\n{zones}")).unwrap();
}

fn refine(folder: &Path) -> String {
    let said = rva(folder, &["refine", "--drain"]).exits(0).stderr;
    rva(folder, &["verify"]).exits(0).says(&["10 tables of gold"]);
    said
}

const TILL: &str = "polygon: [[0.3, 0.5], [0.5, 0.5], [0.5, 0.9], [0.3, 0.9]]";
const SHELF: &str = "polygon: [[0.6, 0.5], [0.8, 0.5], [0.8, 0.9], [0.6, 0.9]]";
const DOOR: &str = "line: [[0.45, 0.1], [0.45, 0.95]]";
const PAST: &str = "valid_from: 2026-01-01T00:00:00Z";

/// From 192 to 320 pixels: frames 15 to 28, and after the jump back 71 to 84. The jump itself passes in 0.26 s.
const IN_TILL: [&str; 2] = ["till,1,1,2026-01-31T08:00:15Z,13.0", "till,2,1,2026-01-31T08:01:11Z,13.0"];

#[test]
fn a_zone_that_says_since_when_judges_the_past_and_one_that_does_not_leaves_it() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    replay(folder, "door", "run", T0, 1..100);
    draw(folder, &format!("      - {{name: till, {TILL}}}\n"));
    refine(folder);
    assert_eq!(drawn(folder), ["till,zone,\"[[0.3,0.5],[0.5,0.5],[0.5,0.9],[0.3,0.9]]\",true"]);
    assert_eq!(visits(folder), [] as [&str; 0], "it is valid from now on");

    draw(folder, &format!("      - {{name: till, {TILL}, {PAST}}}\n      - {{name: door, {DOOR}, {PAST}}}\n"));
    refine(folder);
    assert_eq!(visits(folder), IN_TILL);
    let crossings = "SELECT track_id, crossed_at, direction FROM gold_line_crossings ORDER BY crossed_at";
    // Beyond 296 pixels, the line and 1 % of the diagonal; back with the jump from frame 55 to 56.
    let wanted = ["1,2026-01-31T08:00:27Z,out", "2,2026-01-31T08:00:56Z,in", "2,2026-01-31T08:01:22Z,out"];
    assert_eq!(csv(folder, crossings), wanted);
    let minutes =
        "SELECT ts_minute, frames, people_max, entered, \"left\", dwell_seconds FROM gold_zone_minute ORDER BY 1";
    assert_eq!(csv(folder, minutes), ["2026-01-31T08:00:00Z,59,1,1,1,13.0", "2026-01-31T08:01:00Z,40,1,1,1,13.0"]);
    let said = refine(folder);
    assert!(said.contains("0 commits"), "the same drawing again: {said}");

    // Only a part of the past: the second visit.
    draw(folder, &format!("      - {{name: till, {TILL}, valid_from: 2026-01-31T08:01:00Z}}\n"));
    refine(folder);
    assert_eq!(visits(folder), &IN_TILL[1..]);
    assert_eq!(csv(folder, crossings), wanted, "the line was taken away from now on");
}

#[test]
fn what_is_moved_renamed_or_removed_keeps_its_past() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    replay(folder, "door", "run", T0, 1..100);
    draw(folder, &format!("      - {{name: till, {TILL}, {PAST}}}\n"));
    refine(folder);
    assert_eq!(visits(folder), IN_TILL);
    let till = |open: bool| format!("till,zone,\"[[0.3,0.5],[0.5,0.5],[0.5,0.9],[0.3,0.9]]\",{open}");
    let shelf = |name: &str, open: bool| format!("{name},zone,\"[[0.6,0.5],[0.8,0.5],[0.8,0.9],[0.6,0.9]]\",{open}");

    draw(folder, &format!("      - {{name: till, {SHELF}}}\n"));
    refine(folder);
    assert_eq!(
        (visits(folder), drawn(folder)),
        (IN_TILL.map(str::to_owned).to_vec(), vec![till(false), shelf("till", true)])
    );

    draw(folder, &format!("      - {{name: shelf, {SHELF}}}\n"));
    refine(folder);
    let renamed = vec![shelf("shelf", true), till(false), shelf("till", false)];
    assert_eq!((visits(folder), drawn(folder)), (IN_TILL.map(str::to_owned).to_vec(), renamed.clone()));

    // Nobody says anything: nothing changes. A file that can't be used changes nothing either.
    fs::remove_file(folder.join("rva.yaml")).unwrap();
    refine(folder);
    assert_eq!(drawn(folder), renamed);
    draw(folder, "      - {name: shelf, polygon: [[0.6, 0.5], [1.8, 0.5], [0.8, 0.9]]}\n");
    let refused = rva(folder, &["refine", "--drain"]).exits(2);
    refused.says(&["cameras.door.zones.shelf: polygon: found the point 1.8, 0.5, wanted shares", "rva.yaml:4"]);
    fs::remove_file(folder.join("rva.yaml")).unwrap();
    assert_eq!(drawn(folder), renamed);

    fs::write(folder.join("rva.yaml"), "store_id: store_01\n").unwrap();
    refine(folder);
    assert_eq!(drawn(folder), [shelf("shelf", false), till(false), shelf("till", false)]);
    assert_eq!(visits(folder), IN_TILL);
}

#[test]
fn zones_by_pattern_are_those_of_each_camera_and_of_one_that_comes_later() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    replay(folder, "door_1", "one", T0, 1..60);
    let text = format!(
        "zones:\n  - {{camera: \"door_*\", name: till, {TILL}, {PAST}}}\n  - {{camera: \"d*\", name: till, {SHELF}, {PAST}}}\n  \
         - {{camera: door_3, name: till, {SHELF}, {PAST}}}\n  - {{camera: \"*\", store: other, name: far, {TILL}, {PAST}}}\n"
    );
    fs::write(folder.join("rva.yaml"), text).unwrap();
    refine(folder);
    let by_camera = "SELECT camera_id, name, points LIKE '%0.6%' AS shelf FROM zones ORDER BY 1, 2";
    assert_eq!(csv(folder, by_camera), ["door_1,till,false", "door_3,till,true"]);
    for (camera, run) in [("door_2", "two"), ("door_3", "three"), ("window", "four")] {
        replay(folder, camera, run, T0, 1..60);
    }
    refine(folder);
    assert_eq!(csv(folder, by_camera), ["door_1,till,false", "door_2,till,false", "door_3,till,true"]);
    let entered = "SELECT camera_id, entered_at FROM gold_zone_visits WHERE track_id = 1 ORDER BY 1";
    // 384 to 512 pixels: from frame 36 on.
    let wanted = ["door_1,2026-01-31T08:00:15Z", "door_2,2026-01-31T08:00:15Z", "door_3,2026-01-31T08:00:36Z"];
    assert_eq!(csv(folder, entered), wanted);
}

#[test]
fn a_running_refine_takes_what_is_drawn_anew_with_sighup() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let start = now() - 300;
    // Ten minutes around now, one frame a second: what ends now has a past and would have had a future.
    replay(folder, "door", "run", start, 1..600);
    let head = "refine: {interval: 200ms}\n";
    let write = |zones: &str| {
        let text = format!("{head}cameras:\n  door:\n    source: a.mp4\n    zones:\n{zones}");
        fs::write(folder.join("rva.yaml"), text).unwrap();
    };
    write(&format!("      - {{name: till, {TILL}, {PAST}}}\n"));
    let mut child = command(folder, &["refine"]).spawn().unwrap();
    let hang_up = || {
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };
    let wait = |what: &str, sql: &str, wanted: &[&str]| {
        let begun = Instant::now();
        loop {
            let found = csv(folder, sql);
            if found == wanted {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(240), "{what}: found {found:?}, wanted {wanted:?}");
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    let begun = Instant::now();
    while !rva(folder, &["tables"]).stdout.contains("gold_line_crossings") {
        assert!(begun.elapsed() < Duration::from_secs(240), "gold is never made");
        std::thread::sleep(Duration::from_millis(300));
    }
    // Twelve tracks of 50 frames; all but one of them walk through.
    let zones = "SELECT DISTINCT zone FROM gold_zone_visits ORDER BY 1";
    wait("drawn", zones, &["till"]);
    let all: usize = visits(folder).len();
    assert!(all >= 9, "{all} visits");

    write(&format!("      - {{name: desk, {TILL}}}\n"));
    let renamed = now();
    hang_up();
    wait("renamed", zones, &["desk", "till"]);
    write(&format!("      - {{name: desk, {SHELF}, {PAST}}}\n"));
    hang_up();
    let moved = format!(
        "SELECT count(*) > 2 FROM gold_zone_visits WHERE zone = 'desk' AND CAST(left_at AS bigint) < {renamed} * 1000000"
    );
    wait("moved for the past, too", &moved, &["true"]);
    // A file that can't be used changes nothing.
    write("      - {name: desk, polygon: []}\n");
    hang_up();
    std::thread::sleep(Duration::from_secs(2));
    // Put right again for `rva query`, which reads it too.
    write(&format!("      - {{name: desk, {SHELF}, {PAST}}}\n"));
    assert_eq!(csv(folder, "SELECT name FROM zones WHERE valid_to IS NULL"), ["desk"]);
    write("      []\n");
    hang_up();
    wait("removed", "SELECT count(*) FROM zones WHERE valid_to IS NULL", &["0"]);
    let removed = now() + 1;
    let late = |zone: &str, end: i64| {
        format!(
            "SELECT count(*) FROM gold_zone_visits WHERE zone = '{zone}' AND CAST(left_at AS bigint) > {end} * 1000000"
        )
    };
    wait("removed, also in gold", &late("desk", removed), &["0"]);
    wait("renamed, also in gold", &late("till", renamed + 1), &["0"]);
    assert!(!csv(folder, "SELECT 1 FROM gold_zone_visits WHERE zone = 'till'").is_empty(), "its past is kept");
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    child.wait().unwrap();
    fs::write(folder.join("rva.yaml"), format!("{head}cameras: {{door: {{source: a.mp4, zones: []}}}}\n")).unwrap();
    refine(folder);
}

#[test]
fn a_run_is_judged_from_its_first_frame_on_also_where_gold_is_brought_up_later() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let Some(clip) = clip(folder, 30) else { return };
    let (clip, model) = (clip.display().to_string(), demo_model().display().to_string());
    let text = "zones: [{camera: \"cam_*\", name: all, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}]\n";
    fs::write(folder.join("rva.yaml"), text).unwrap();
    let frames = "SELECT CAST(sum(frames) AS bigint) FROM gold_zone_minute WHERE zone = 'all'";
    rva(folder, &["run", &clip, "--model", &model, "--no-refine"]).exits(0);
    refine(folder);
    assert_eq!(csv(folder, frames), ["30"]);
    rva(folder, &["run", &clip, "--model", &model]).exits(0);
    rva(folder, &["verify"]).exits(0);
    assert_eq!(csv(folder, frames), ["60"]);
    assert_eq!(drawn(folder).len(), 1);
}

#[test]
fn a_run_takes_what_is_drawn_anew_with_sighup_and_its_cameras_notice_nothing() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let Some(clip) = clip(folder, 700) else { return };
    let write = |more: &str| {
        let head = format!("detector: {{model: {:?}, vid_stride: 5}}\ncapture: {{realtime: true}}\n", demo_model());
        let refine = "refine: {interval: 500ms}\ningest: {commit_interval: 500ms}\n";
        let text = format!("{head}{refine}cameras:\n  door: {{source: {}{more}}}\n", clip.display());
        fs::write(folder.join("rva.yaml"), text).unwrap();
    };
    write("");
    let mut child = command(folder, &["run"]).spawn().unwrap();
    let pid = child.id().to_string();
    let signal =
        |name: &str| assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    let wait = |what: &str, sql: &str| {
        let begun = Instant::now();
        while rva(folder, &["query", sql, "--format", "csv"]).stdout.lines().nth(1) != Some("true") {
            assert!(begun.elapsed() < Duration::from_secs(240), "waited for {what}");
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    wait("people per minute", "SELECT count(*) > 0 FROM gold_people_per_minute");
    write(", zones: [{name: all, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}]");
    signal("-HUP");
    wait("minutes of the zone", "SELECT count(*) > 0 FROM gold_zone_minute WHERE zone = 'all' AND frames > 0");
    signal("-TERM");
    child.wait().unwrap();
    assert_eq!(csv(folder, "SELECT count(DISTINCT pipeline_run_id) FROM silver_frames"), ["1"]);
    rva(folder, &["verify"]).exits(0);
    let before = "SELECT count(*) > 0 FROM silver_frames WHERE capture_ts < (SELECT min(valid_from) FROM zones)";
    assert_eq!(csv(folder, before), ["true"], "a part is from before it was drawn");
    let judged = "SELECT (SELECT sum(frames) FROM gold_zone_minute) = \
                  (SELECT count(*) FROM silver_frames WHERE capture_ts >= (SELECT min(valid_from) FROM zones))";
    assert_eq!(csv(folder, judged), ["true"]);
}

#[test]
fn the_demo_lays_two_zones_and_a_line_over_its_footage() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    replay(folder, "cam_01", "run", T0, 1..10);
    let file = common::workspace().join("infrastructure/local/demo.yaml").display().to_string();
    rva(folder, &["refine", "--drain", "--config", &file]).exits(0);
    assert_eq!(
        csv(folder, "SELECT camera_id, kind, count(*) FROM zones GROUP BY 1, 2 ORDER BY 1, 2"),
        ["cam_01,line,1", "cam_01,zone,2"]
    );
}

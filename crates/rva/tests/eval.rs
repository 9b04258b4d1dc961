//! Scores on the command line: tracks, detections, people counted.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Ran, rva, workspace};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::tempdir;

const FRAMES: u32 = 40;

/// Where two people are in a frame: left, top, width, height.
fn walkers(frame: u32) -> [(u32, [f64; 4]); 2] {
    let t = f64::from(frame);
    [(1, [10.0 + 4.0 * t, 100.0, 40.0, 100.0]), (2, [600.0 - 4.0 * t, 300.0, 40.0, 100.0])]
}

/// A sequence in MOTChallenge's layout whose detections are its truth.
fn sequence(root: &Path, name: &str) -> PathBuf {
    let folder = root.join(name);
    let (mut truth, mut detections) = (String::new(), String::new());
    for frame in 1..=FRAMES {
        for (id, [x, y, w, h]) in walkers(frame) {
            truth.push_str(&format!("{frame},{id},{x},{y},{w},{h},1,1,1\n"));
            detections.push_str(&format!("{frame},-1,{x},{y},{w},{h},0.9\n"));
        }
    }
    for (path, text) in [("gt/gt.txt", truth), ("det/det.txt", detections)] {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), text).unwrap();
    }
    let info = format!("[Sequence]\nname={name}\nframeRate=30\nseqLength={FRAMES}\nimWidth=800\nimHeight=600\n");
    fs::write(folder.join("seqinfo.ini"), info).unwrap();
    folder
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn trackers_run_on_public_detections_and_their_saved_results_score_the_same() {
    let root = tempdir().unwrap();
    sequence(root.path(), "mot/SEQ-1");
    sequence(root.path(), "mot/SEQ-2");
    let arguments = [
        "eval",
        "tracks",
        "--gt",
        "mot",
        "--tracker",
        "bytetrack",
        "--tracker",
        "sort",
        "--format",
        "json",
        "--save",
        "out",
    ];
    let found = rows(&rva(root.path(), &arguments).exits(0));
    let names: Vec<_> =
        found.iter().map(|row| (row["tracker"].as_str().unwrap(), row["sequence"].as_str().unwrap())).collect();
    let wanted: Vec<_> =
        ["bytetrack", "sort"].iter().flat_map(|t| ["SEQ-1", "SEQ-2", "COMBINED"].map(|s| (*t, s))).collect();
    assert_eq!(names, wanted);
    for row in &found {
        assert_eq!((row["IDSW"].as_u64(), row["FP"].as_u64()), (Some(0), Some(0)), "{row}");
        assert!(row["HOTA"].as_f64().unwrap() > 90.0 && row["us_per_frame"].as_f64().unwrap() > 0.0, "{row}");
    }
    let arguments = ["eval", "tracks", "--gt", "mot", "--tracks", "out/sort", "--format", "json"];
    let again = rows(&rva(root.path(), &arguments).exits(0));
    for (row, before) in again.iter().zip(&found[3..]) {
        assert_eq!((&row["HOTA"], &row["MOTA"], &row["IDF1"]), (&before["HOTA"], &before["MOTA"], &before["IDF1"]));
    }
}

#[test]
fn our_own_records_are_results_too() {
    let root = tempdir().unwrap();
    sequence(root.path(), "door");
    let mut records = String::new();
    for frame in 1..=FRAMES {
        let detections: Vec<_> = walkers(frame)
            .iter()
            .map(|(id, [x, y, w, h])| {
                // The first person changes the id half way; a third detection has no track.
                let id = if *id == 1 && frame > FRAMES / 2 { 9 } else { *id };
                let bbox = serde_json::json!({"x1": x, "y1": y, "x2": x + w, "y2": y + h});
                serde_json::json!({"class": "person", "class_id": 0, "conf": 0.9, "bbox": bbox, "track_id": id})
            })
            .chain([serde_json::json!({"class": "person", "class_id": 0, "conf": 0.4, "track_id": null,
                "bbox": {"x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}})])
            .collect();
        let record = serde_json::json!({"pipeline_run_id": "r", "source": {"camera_id": "cam_01"}, "frame_index": frame,
            "capture_ts": "2026-01-31T08:00:00+00:00", "image_size": {"width": 800, "height": 600}, "detections": detections});
        records.push_str(&format!("{record}\n"));
    }
    fs::write(root.path().join("door.ndjson"), &records).unwrap();
    let arguments = ["eval", "tracks", "--gt", "door", "--tracks", "door.ndjson", "--format", "json"];
    let found = rows(&rva(root.path(), &arguments).exits(0));
    assert_eq!(
        (found[0]["IDSW"].as_u64(), found[0]["FN"].as_u64(), found[0]["FP"].as_u64()),
        (Some(1), Some(0), Some(0))
    );
    assert_eq!(found[0]["MOTA"].as_f64(), Some(98.75), "80 true boxes and one switch");

    fs::write(root.path().join("bad.ndjson"), format!("{records}{{\"frame_index\": 3}}\n")).unwrap();
    let arguments = ["eval", "tracks", "--gt", "door", "--tracks", "bad.ndjson"];
    rva(root.path(), &arguments).exits(1).says(&["bad.ndjson:41", "frame record"]);
}

#[test]
fn a_missed_floor_fails_and_says_what_was_found_and_wanted() {
    let root = tempdir().unwrap();
    sequence(root.path(), "mot/SEQ-1");
    let eval = |floors: &str| {
        fs::write(root.path().join("floors.csv"), format!("group,tracker,metric,floor\n{floors}")).unwrap();
        rva(root.path(), &["eval", "tracks", "--gt", "mot", "--tracker", "sort", "--floors", "floors.csv"])
    };
    eval("mot,sort,HOTA,50\nother,sort,HOTA,99\n").exits(0).says(&["1 floors held, 0 missed"]);
    eval("mot,sort,HOTA,100.5\n").exits(1).says(&["sort on mot: found HOTA", "wanted at least 100.5"]);
    eval("mot,bytetrack,HOTA,10\n").exits(1).says(&["bytetrack on mot: found no HOTA"]);
    eval("mot,sort,HOTA\n").exits(1).says(&["floors.csv:2"]);
    let record = ["eval", "tracks", "--gt", "mot", "--tracker", "all", "--floors", "floors.csv", "--record-floors"];
    rva(root.path(), &record).exits(0);
    let hold = ["eval", "tracks", "--gt", "mot", "--tracker", "all", "--floors", "floors.csv"];
    rva(root.path(), &hold).exits(0).says(&["0 missed"]);
}

#[test]
fn wrong_ground_truth_is_named_by_file_and_line() {
    let root = tempdir().unwrap();
    let folder = sequence(root.path(), "mot/SEQ-1");
    let tracks = |wanted: &[&str], code: i32| {
        rva(root.path(), &["eval", "tracks", "--gt", "mot", "--tracker", "sort"]).exits(code).says(wanted)
    };
    fs::write(folder.join("gt/gt.txt"), "1,1,0,0,10,10,1,1,1\n1,1,5,5,10,10,1,1,1\n").unwrap();
    tracks(&["gt.txt:2", "found id 1 a second time in frame 1"], 1);
    fs::write(folder.join("gt/gt.txt"), "41,1,0,0,10,10,1,1,1\n").unwrap();
    tracks(&["found frame 41, wanted at most 40"], 1);
    fs::remove_dir_all(folder.join("det")).unwrap();
    tracks(&["found no det.txt", "wanted it in det"], 2);
    rva(root.path(), &["eval", "tracks", "--gt", "nothing", "--tracker", "sort"]).exits(1).says(&["nothing"]);
    fs::create_dir(root.path().join("empty")).unwrap();
    rva(root.path(), &["eval", "tracks", "--gt", "empty", "--tracker", "sort"]).exits(2).says(&["found no sequence"]);
    rva(root.path(), &["eval", "tracks", "--gt", "mot", "--tracker", "nosuch"]).exits(2).says(&["nosuch", "sort"]);
}

#[test]
fn detections_and_people_are_counted_against_their_truth() {
    let root = tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    write(
        "gt.json",
        r#"{"images":[{"id":1}],"categories":[{"id":0}],"annotations":[{"id":1,"image_id":1,"category_id":0,"bbox":[0,0,100,100],"area":10000,"iscrowd":0}]}"#,
    );
    write("found.json", r#"[{"image_id":1,"category_id":0,"bbox":[0,0,100,70],"score":0.5}]"#);
    let arguments = ["eval", "detections", "--gt", "gt.json", "--detections", "found.json", "--format", "json"];
    let found = rows(&rva(root.path(), &arguments).exits(0));
    assert_eq!(
        (found[0]["AP50"].as_f64(), found[0]["AP75"].as_f64(), found[0]["AP"].as_f64()),
        (Some(100.0), Some(0.0), Some(50.0))
    );
    rva(root.path(), &["eval", "detections", "--gt", "found.json", "--detections", "found.json"])
        .exits(1)
        .says(&["found.json", "annotations"]);

    let mut records = String::new();
    for (second, x) in [100.0, 300.0, 500.0].into_iter().enumerate() {
        let record = serde_json::json!({"pipeline_run_id": "r", "source": {"camera_id": "door"}, "frame_index": second + 1,
            "capture_ts": format!("2026-01-31T08:00:0{second}+00:00"), "image_size": {"width": 800, "height": 600},
            "detections": [{"class": "person", "class_id": 0, "conf": 0.9, "track_id": 1,
                "bbox": {"x1": x, "y1": 100.0, "x2": x + 40.0, "y2": 300.0}}]});
        records.push_str(&format!("{record}\n"));
    }
    write("door.ndjson", &records);
    let hour = "door,2026-01-31T08:00:00Z,2026-01-31T09:00:00Z";
    write("hand.csv", &format!("camera_id,from,to,people,line,direction\n{hour},2,,\n{hour},1,0.5 1 0.5 0,in\n"));
    let arguments = ["eval", "footfall", "--by-hand", "hand.csv", "--records", "door.ndjson", "--format", "json"];
    let found = rows(&rva(root.path(), &arguments).exits(0));
    let counted: Vec<_> = found.iter().map(|row| (row["counted"].as_u64(), row["error"].as_i64())).collect();
    assert_eq!(counted, [(Some(1), Some(-1)), (Some(1), Some(0))]);
    rva(root.path(), &arguments[..6]).exits(0).says(&["2 counted, 3 by hand (-33.3 %)", "mean absolute error 0.50"]);
}

#[test]
fn the_products_trackers_hold_their_recorded_floors() {
    let shared = std::env::var_os("RVA_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let mot = shared.join("mot");
    if !mot.is_dir() {
        println!("skipped: no sequences at {}", mot.display());
        return;
    }
    let floors = workspace().join("data/eval/floors.csv");
    let (mot17, mot15) = (mot.join("MOT17"), mot.join("MOT15"));
    let [mot17, mot15, floors] = [&mot17, &mot15, &floors].map(|path| path.to_str().unwrap());
    let arguments = [
        "eval",
        "tracks",
        "--gt",
        mot17,
        "--gt",
        mot15,
        "--detections",
        "det_frcnn_sort,det",
        "--tracker",
        "all",
        "--floors",
        floors,
    ];
    let ran = rva(tempdir().unwrap().path(), &arguments).exits(0).says(&[" 0 missed"]);
    println!("{}", ran.stdout);
}

#[test]
fn crossings_of_a_trackers_tracks_are_compared_with_the_true_ones() {
    let root = tempdir().unwrap();
    sequence(root.path(), "mot/SEQ-1");
    let base = ["eval", "footfall", "--gt", "mot", "--tracker", "sort"];
    let scored = rows(&rva(root.path(), &[&base[..], &["--format", "json"]].concat()).exits(0));
    let combined = scored.iter().find(|row| row["sequence"] == "COMBINED").unwrap();
    // Detections are the truth. One of the two passes the falling line, at x = 0.63 for y = 0.67; at the line at x =
    // 0.75 it begins too near.
    let [truth, missed, extra] = ["true", "missed", "extra"].map(|name| combined[name].as_u64().unwrap());
    assert_eq!((truth, missed, extra), (1, 0, 0), "{combined}");
    let check = |ceilings: &str| {
        fs::write(root.path().join("c.csv"), format!("group,tracker,error_percent_max\n{ceilings}")).unwrap();
        rva(root.path(), &[&base[..], &["--ceilings", "c.csv"]].concat())
    };
    check("mot,sort,0\nother,sort,0\n").exits(0).says(&["1 ceilings held, 0 missed"]);
    check("mot,sort,-1\n").exits(1).says(&["sort on mot", "wanted at most -1"]);
    check("mot,sort\n").exits(1).says(&["c.csv:2"]);
    rva(root.path(), &["eval", "footfall", "--gt", "mot"]).exits(2).says(&["--tracker"]);
    rva(root.path(), &["eval", "footfall"]).exits(2).says(&["--by-hand"]);
}

#[test]
fn the_products_trackers_hold_their_recorded_counting_errors() {
    let shared = std::env::var_os("RVA_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let mot = shared.join("mot");
    if !mot.is_dir() {
        println!("skipped: no sequences at {}", mot.display());
        return;
    }
    let [mot17, mot15, ceilings] =
        [mot.join("MOT17"), mot.join("MOT15"), workspace().join("data/eval/footfall-ceilings.csv")];
    let [mot17, mot15, ceilings] = [&mot17, &mot15, &ceilings].map(|path| path.to_str().unwrap());
    let root = tempdir().unwrap();
    let arguments = [
        "eval",
        "footfall",
        "--gt",
        mot17,
        "--gt",
        mot15,
        "--detections",
        "det_frcnn_sort,det",
        "--tracker",
        "all",
        "--ceilings",
        ceilings,
    ];
    rva(root.path(), &arguments).exits(0).says(&["12 ceilings held, 0 missed"]);
}

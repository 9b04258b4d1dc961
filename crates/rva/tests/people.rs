//! Trackers on footage of six people who come to a table one by one, each after the one before has left: whoever is
//! at the table stands where the one before stood.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{runtime_library, rva, workspace};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tempfile::tempdir;

/// The first and last frame around each person, counted by eye: nobody is in view in between.
const PEOPLE: [(u64, u64); 6] = [(55, 210), (221, 465), (501, 715), (741, 885), (921, 1215), (1231, 1370)];

/// Of ten frames a second two are looked at.
const STRIDE: &str = "5";

fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("RVA_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    if !shared.join("video").is_dir() {
        eprintln!("skipped: no shared footage at {}", shared.display());
        return None;
    }
    if runtime_library().is_none() {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
        return None;
    }
    Some(shared)
}

/// The ids that each person got.
fn ids(shared: &Path, tracker: &str, with_looks: bool) -> Vec<BTreeSet<u64>> {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("tracker.yaml"), tracker).unwrap();
    let path = |name: &str| shared.join(name).display().to_string();
    let (video, model) = (path("video/one-by-one-person-detection.mp4"), path("models/yolov8n-416-u8.onnx"));
    let reid_model = path("models/osnet_x0_25_msmt17.onnx");
    let mut arguments = vec!["detect", &video, "--model", &model, "--classes", "person", "--output", "-"];
    arguments.extend(["--tracker", "tracker.yaml", "--vid-stride", STRIDE]);
    if with_looks {
        arguments.extend(["--reid-model", &reid_model]);
    }
    let records = rva(folder.path(), &arguments).exits(0).stdout;
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 279);
    let mut people = vec![BTreeSet::new(); PEOPLE.len()];
    let mut boxes = [0; PEOPLE.len()];
    for record in &records {
        let frame = record["frame_index"].as_u64().unwrap();
        for id in record["detections"].as_array().unwrap().iter().filter_map(|d| d["track_id"].as_u64()) {
            let person = PEOPLE.iter().position(|&(first, last)| (first..=last).contains(&frame));
            let person = person.unwrap_or_else(|| panic!("frame {frame}: found track {id}, wanted nobody"));
            people[person].insert(id);
            boxes[person] += 1;
        }
    }
    assert!(boxes.iter().all(|&boxes| boxes >= 15), "boxes with an id for each person: {boxes:?}");
    people
}

fn all(people: &[BTreeSet<u64>]) -> usize {
    people.iter().flatten().collect::<BTreeSet<_>>().len()
}

/// Everybody has one id, and nobody another's.
#[track_caller]
fn assert_each_person_is_one(people: &[BTreeSet<u64>]) {
    assert!(people.iter().all(|ids| ids.len() == 1) && all(people) == PEOPLE.len(), "{people:?}");
}

#[test]
fn deepsort_tells_people_apart_whom_bytetrack_with_the_same_patience_takes_for_one() {
    let Some(shared) = shared() else { return };
    let patient = ids(&shared, "tracker_type: bytetrack\ntrack_buffer: 30\n", false);
    assert!(all(&patient) < PEOPLE.len(), "{patient:?}");
    assert_each_person_is_one(&ids(&shared, "tracker_type: deepsort\nmax_age: 30\n", true));
}

#[test]
fn botsort_with_appearance_gives_each_person_one_id_where_its_patience_ends_before_the_next_comes() {
    let Some(shared) = shared() else { return };
    let tracker = "tracker_type: botsort\nwith_reid: true\ngmc_method: none\ntrack_buffer: 5\n";
    assert_each_person_is_one(&ids(&shared, tracker, true));
}

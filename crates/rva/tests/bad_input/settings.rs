//! Words and numbers that make no sense, and ids that must not leave their folder.

use crate::{
    common::{Ran, demo_model, record},
    world::World,
};
use std::{collections::BTreeSet, fs, path::PathBuf};

#[test]
fn an_unknown_class_tracker_or_device_or_a_threshold_out_of_range_is_usage_and_changes_nothing() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(2) else { return };
    world.write("tracker.yaml", "tracker_type: bytetrack\ntrack_hi_thresh: 0.5\n");
    let cases: [(&[&str], &[&str]); 15] = [
        (&["--classes", "persn"], &["no class \"persn\"", "the nearest is \"person\""]),
        (&["--classes", "person,7"], &["found class id 7", "wanted 0 to 0"]),
        (&["--tracker", "nosuch"], &["nosuch", "wanted", "bytetrack"]),
        (&["--tracker", "tracker.yaml"], &["tracker.yaml", "track_hi_thresh", "track_high_thresh"]),
        (&["--tracker", "none.yaml"], &["none.yaml", "No such file"]),
        (&["--device", "gpu"], &["found \"gpu\"", "wanted cpu, cuda:0 or tensorrt:0"]),
        (&["--device", "cuda:7"], &["cuda:7", "cpu"]),
        (&["--conf", "1.5"], &["detector.conf", "--conf", "found 1.5", "wanted a number from 0 to 1"]),
        (&["--conf=-0.1"], &["detector.conf", "found -0.1", "wanted a number from 0 to 1"]),
        (&["--conf", "nan"], &["detector.conf", "nan", "wanted a number from 0 to 1"]),
        (&["--conf", "high"], &["detector.conf", "found \"high\"", "wanted a number from 0 to 1"]),
        (&["--iou", "2"], &["detector.iou", "found 2", "wanted a number from 0 to 1"]),
        (&["--vid-stride", "0"], &["detector.vid_stride", "found 0", "wanted a whole number from 1"]),
        (&["--imgsz", "big"], &["big", "wanted"]),
        (&["--start-time", "yesterday"], &["start_time", "yesterday", "wanted"]),
    ];
    for (flags, wanted) in cases {
        world.run(&clip, flags).exits(2).says(wanted);
    }
    world.run(&clip, &["--conf", "2", "--tracker", "bytetrack", "--iou=-1"]).exits(2).says(&["found 2", "found -1"]);
    let model = demo_model();
    let run = ["run", &clip, "--model", model.to_str().unwrap()];
    let by_variable = world.command(&run).env("CONF_THRES", "7").output().unwrap();
    Ran::from(by_variable).exits(2).says(&["CONF_THRES", "found 7", "wanted a number from 0 to 1"]);
    assert_eq!(world.rows(), before);
    assert!(world.logged("cam_01").is_empty());
}

#[test]
fn a_store_id_that_looks_like_a_path_stays_in_the_warehouse_and_one_of_100_bytes_is_refused() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(3) else { return };
    let outside = world.files(&world.data());
    let long = "s".repeat(100);
    world.run(&clip, &["--store-id", &long]).exits(2).says(&["store_id", "100 bytes", "wanted at most 64"]);
    assert_eq!(world.rows(), before);

    world.run(&clip, &["--store-id", "../x", "--camera-id", "../../y"]).exits(0);
    let store = "SELECT DISTINCT store_id FROM bronze_raw WHERE camera_id = '../../y'";
    assert_eq!(world.query(store), [serde_json::json!({"store_id": "../x"})]);
    let frames: BTreeSet<u64> = world.rows().difference(&before).map(|key| key.2).collect();
    assert_eq!(frames, BTreeSet::from([1, 2, 3]));

    let tables = fs::read_dir(world.data().join("warehouse/rva")).unwrap().map(|entry| entry.unwrap().path());
    let is_bronze = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("bronze_raw-");
    let bronze = tables.into_iter().find(is_bronze).unwrap().join("data");
    let folders: BTreeSet<_> =
        fs::read_dir(bronze).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, BTreeSet::from(["store_id=..%2Fx".to_owned(), "store_id=store_01".to_owned()]));
    assert_eq!(world.files(&world.data()), outside, "something was written outside the data folder");
    let top: BTreeSet<PathBuf> = fs::read_dir(world.data()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let known = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("catalog.db") || ["warehouse", "log", "ingest.lock"].contains(&name.as_str())
    };
    assert!(top.iter().all(known), "{top:?}");
}

#[test]
fn a_record_with_a_store_id_of_100_bytes_is_a_dead_letter() {
    let world = World::seeded();
    let before = world.rows();
    let line = record("r", "door", 1).replace("store_01", &"s".repeat(100));
    world.write("long.ndjson", line + "\n");
    world.rva(&["replay", "long.ndjson"]).exits(5).says(&["1 of them can't be rows"]);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["1 dead letters", "invalid_field 1"]);
    let dead = world.query("SELECT reason, detail FROM bronze_dead_letters");
    assert_eq!(dead.len(), 1);
    let detail = dead[0]["detail"].as_str().unwrap();
    assert!(detail.contains("100 bytes") && detail.contains("wanted at most 64"), "{detail}");
    assert_eq!(world.rows(), before);
}

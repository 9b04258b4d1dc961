//! Time a frame of every tracker: on MOT17's public detections, and on a thousand objects.

// Clippy's exemption covers test functions only, and a benchmark that can't start has nobody to tell.
#![allow(clippy::unwrap_used, reason = "a measurement that fails ends")]

mod scenes;

use criterion::{Criterion, criterion_group, criterion_main};
use rva_track::TrackerChoice;
use scenes::{Player, Scene};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The FRCNN sequences' detections; none where the folder isn't there.
fn mot17() -> Vec<Scene> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("RVA_SHARED").map_or_else(beside, PathBuf::from).join("mot/MOT17");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|sequence| sequence.to_string_lossy().ends_with("-FRCNN"))
        .map(|sequence| sequence.join("det/det.txt"))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        println!("skipped: no shared MOT17 detections in {}", folder.display());
    }
    files.iter().map(|file| scenes::read(file).unwrap()).collect()
}

/// One iteration is one frame.
fn time_frames(criterion: &mut Criterion, name: &str, scenes: &[Scene]) {
    if scenes.is_empty() {
        return;
    }
    let mut group = criterion.benchmark_group(name);
    for tracker in TrackerChoice::NAMES {
        let mut player = Player::new(tracker, scenes).unwrap();
        group.bench_function(*tracker, |bencher| bencher.iter_custom(|frames| player.play(frames).unwrap()));
    }
    group.finish();
}

fn trackers(criterion: &mut Criterion) {
    time_frames(criterion, "frame_of_mot17", &mot17());
    time_frames(criterion, "frame_of_1000_objects", &[scenes::crowd()]);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = trackers
}
criterion_main!(benches);

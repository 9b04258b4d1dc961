//! Equality with another implementation of ByteTrack, on its own data and with its own parameters.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_track::{ByteTrack, ByteTrackParams, Overlap, TrackState, Tracker};
use rva_types::{BBox, Detection, MediaTime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Of that implementation's own parity test, in pixels.
const TOLERANCE: f32 = 1e-2;

/// Its defaults; it knows no score fusion.
const PARAMS: ByteTrackParams = ByteTrackParams {
    track_high_thresh: 0.5,
    track_low_thresh: 0.1,
    new_track_thresh: 0.6,
    track_buffer: 30,
    match_thresh: 0.8,
    fuse_score: false,
};

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("RVA_SHARED").map_or_else(beside, PathBuf::from)
}

/// The rows of a file by frame.
fn rows(path: &Path) -> BTreeMap<u64, Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut frames: BTreeMap<u64, Vec<serde_json::Value>> = BTreeMap::new();
    for row in std::mem::take(file["results"].as_array_mut().unwrap()) {
        frames.entry(row["frame_id"].as_str().unwrap().parse().unwrap()).or_default().push(row);
    }
    frames
}

fn number(row: &serde_json::Value, field: &str) -> f32 {
    row[field].as_str().unwrap().parse().unwrap()
}

fn bbox(row: &serde_json::Value) -> BBox {
    let (x, y) = (number(row, "x"), number(row, "y"));
    BBox::new(x, y, x + number(row, "width"), y + number(row, "height"))
}

#[test]
fn ids_and_boxes_are_those_of_bytetrack_cpp() {
    let folder = shared().join("mot/reference/bytetrack_cpp");
    if !folder.is_dir() {
        println!("skipped: no reference tracks at {}", folder.display());
        return;
    }
    let detections = rows(&folder.join("detection_results.json"));
    let wanted = rows(&folder.join("tracking_results.json"));
    let mut tracker = ByteTrack::with_overlap(PARAMS, Overlap::LastSeen).unwrap();
    let (mut boxes, mut worst) = (0, 0f32);
    for (frame, rows) in &detections {
        let seen: Vec<_> =
            rows.iter().map(|row| Detection { bbox: bbox(row), conf: number(row, "prob"), class_id: 0 }).collect();
        let tracked = tracker.update(&seen, MediaTime::from_micros(*frame as i64 * 33_333));
        let found: BTreeMap<u64, BBox> = tracker
            .tracks()
            .filter(|track| track.state == TrackState::Confirmed)
            .map(|track| (track.track_id, track.bbox))
            .collect();
        let wanted: BTreeMap<u64, BBox> = wanted
            .get(frame)
            .into_iter()
            .flatten()
            .map(|row| (row["track_id"].as_str().unwrap().parse().unwrap(), bbox(row)))
            .collect();
        let ids = |boxes: &BTreeMap<u64, BBox>| boxes.keys().copied().collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&wanted), "frame {frame}");
        for (id, wanted) in &wanted {
            let found = found[id];
            let pairs = [
                (found.x1, wanted.x1),
                (found.y1, wanted.y1),
                (found.width(), wanted.width()),
                (found.height(), wanted.height()),
            ];
            let off = pairs.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= TOLERANCE, "frame {frame}, track {id}: found {found:?}, wanted {wanted:?}");
            worst = worst.max(off);
            boxes += 1;
        }
        let mut returned: Vec<_> = tracked.iter().filter_map(|t| t.track_id).collect();
        returned.sort_unstable();
        assert_eq!(returned, ids(&wanted), "frame {frame}: every confirmed track has one detection");
    }
    println!("{} frames, {boxes} boxes, off by at most {worst} px", detections.len());
    assert_eq!(boxes, wanted.values().map(Vec::len).sum::<usize>());
}

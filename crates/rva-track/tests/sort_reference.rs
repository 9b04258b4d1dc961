//! Equality with the tracks that the authors of SORT published for their own detections.
//!
//! The same boxes in the same frames, to the two decimals that the reference has, and the same identity: which id of
//! ours is which of theirs is a bijection over the whole sequence. What differs is only the numbering: the authors
//! number new tracks of a frame in the order in which their assignment leaves the detections over.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_track::{Sort, SortParams, TrackState, Tracker};
use rva_types::{BBox, Detection, MediaTime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Half of the last digit of the reference, and what f32 takes off a coordinate of some thousand pixels, in pixels.
const TOLERANCE: f32 = 0.0061;

/// Confidence from which (inclusive) MOT17's detections went into the reference. The reference doesn't say so; it
/// follows from its first frames, where a box of 0.094 is missing and one of 0.575 is there, and from all the others.
const MOT17_CONF: f32 = 0.5;

/// Rows by frame: id and box (as x, y, width, height), and confidence.
type Rows = BTreeMap<u64, Vec<(u64, [f32; 4], f32)>>;

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("RVA_SHARED").map_or_else(beside, PathBuf::from)
}

fn rows(path: &Path) -> Rows {
    let mut frames = Rows::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let fields: Vec<f32> = line.split(',').map(|field| field.parse().unwrap()).collect();
        let &[frame, id, x, y, width, height, conf, ..] = fields.as_slice() else { panic!("{line}") };
        frames.entry(frame as u64).or_default().push((id.max(0.0) as u64, [x, y, width, height], conf));
    }
    frames
}

fn compare(detections: &Rows, wanted: &Rows, conf_min: f32) -> Result<(usize, usize, f32), String> {
    let mut tracker = Sort::new(SortParams::default()).unwrap();
    let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    let (mut boxes, mut worst) = (0, 0f32);
    for frame in 1..=*detections.keys().last().unwrap() {
        let seen = detections.get(&frame).into_iter().flatten().filter(|row| row.2 >= conf_min).map(
            |&(_, [x, y, width, height], conf)| Detection {
                bbox: BBox::new(x, y, x + width, y + height),
                conf,
                class_id: 0,
            },
        );
        tracker.update(&seen.collect::<Vec<_>>(), MediaTime::default());
        let mut found: Vec<_> = tracker.tracks().filter(|track| track.state == TrackState::Confirmed).collect();
        let wanted = wanted.get(&frame).map_or(&[][..], Vec::as_slice);
        if found.len() != wanted.len() {
            return Err(format!("frame {frame}: found {} boxes, wanted {}", found.len(), wanted.len()));
        }
        for &(id, [x, y, width, height], _) in wanted {
            let off = |b: &BBox| {
                [b.x1 - x, b.y1 - y, b.width() - width, b.height() - height].iter().map(|d| d.abs()).fold(0.0, f32::max)
            };
            let nearest =
                (0..found.len()).min_by(|&a, &b| off(&found[a].bbox).total_cmp(&off(&found[b].bbox))).unwrap();
            let track = found.swap_remove(nearest);
            if off(&track.bbox) > TOLERANCE {
                return Err(format!("frame {frame}, id {id}: off by {} px", off(&track.bbox)));
            }
            worst = worst.max(off(&track.bbox));
            boxes += 1;
            if *ours.entry(id).or_insert(track.track_id) != track.track_id
                || *theirs.entry(track.track_id).or_insert(id) != id
            {
                return Err(format!("frame {frame}: their id {id} is not always our {}", track.track_id));
            }
        }
    }
    Ok((boxes, ours.len(), worst))
}

#[test]
fn boxes_and_identities_are_those_of_the_authors() {
    let mot = shared().join("mot");
    let reference = mot.join("reference/SORT");
    if !reference.is_dir() {
        println!("skipped: no reference tracks at {}", reference.display());
        return;
    }
    let mut problems = Vec::new();
    let mut sequences: Vec<_> = std::fs::read_dir(&reference).unwrap().map(|entry| entry.unwrap().path()).collect();
    sequences.sort();
    for path in &sequences {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let places = [
            mot.join("MOT15").join(name).join("det_frcnn_sort/det.txt"),
            mot.join("MOT17").join(name).join("det/det.txt"),
        ];
        let detections = places.iter().find(|place| place.is_file()).unwrap();
        let conf_min = if name.starts_with("MOT17") { MOT17_CONF } else { 0.0 };
        match compare(&rows(detections), &rows(path), conf_min) {
            Ok((boxes, ids, worst)) => println!("{name}: {boxes} boxes, {ids} ids, off by at most {worst} px"),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(sequences.len(), 6);
}

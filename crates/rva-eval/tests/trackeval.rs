//! Equality with TrackEval, score by score, on real sequences, on made-up ones and on a scorer's own reference pairs.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_eval::{Benchmark, METRICS, MotRow, Sequence, TrackScores, parse_ground_truth, parse_results, write_results};
use rva_track::tracker_by_name;
use rva_types::{BBox, Detection, MediaTime};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Largest difference of a share; counts are equal.
const TOLERANCE: f64 = 1e-4;

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("RVA_SHARED").map_or_else(beside, PathBuf::from)
}

/// A small generator of numbers: the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn within(&mut self, low: f64, high: f64) -> f64 {
        low + self.roll() * (high - low)
    }
}

/// A sequence, and what trackers made of it.
struct Case {
    benchmark: &'static str,
    name: String,
    frames: u32,
    truth: Vec<MotRow>,
    results: BTreeMap<&'static str, Vec<MotRow>>,
}

/// Ground truth as a bad tracker would find it: shifted, with holes, wrong ids, changes of ids and false alarms.
fn disturbed(truth: &[MotRow], seed: u64, harm: f64) -> Vec<MotRow> {
    let mut dice = Dice(seed);
    let mut offset: BTreeMap<i64, i64> = BTreeMap::new();
    let mut rows = Vec::new();
    for row in truth {
        if dice.roll() < 0.4 * harm {
            continue;
        }
        let offset = offset.entry(row.id).or_default();
        if dice.roll() < 0.05 * harm {
            *offset += 1000;
        }
        let [left, top, width, height] = row.bbox;
        let shift = |dice: &mut Dice, size: f64| dice.within(-0.3, 0.3) * size * harm;
        let bbox = [left + shift(&mut dice, width), top + shift(&mut dice, height), width, height];
        rows.push(MotRow { id: row.id + *offset, bbox, conf: 1.0, ..*row });
        if dice.roll() < 0.2 * harm {
            let bbox = [dice.within(0.0, 1900.0), dice.within(0.0, 1000.0), 40.0, 100.0];
            rows.push(MotRow { id: 500_000 + rows.len() as i64 % 7 + row.id * 10, bbox, conf: 0.5, ..*row });
        }
    }
    // One id once in a frame.
    let mut seen = std::collections::HashSet::new();
    rows.retain(|row| seen.insert((row.frame, row.id)));
    rows
}

/// Walkers, some of them distractors or marked as not to be scored; a frame without truth and one without results.
fn made_up(benchmark: &'static str, seed: u64) -> Case {
    let mut dice = Dice(seed);
    let (frames, mut truth) = (60, Vec::new());
    for id in 1..=14 {
        let (x, y, dx, dy) =
            (dice.within(0.0, 900.0), dice.within(0.0, 500.0), dice.within(-6.0, 6.0), dice.within(-2.0, 2.0));
        let class = if benchmark == "MOT15" { -1 } else { [1, 1, 1, 7, 12, 2, 3, 6, 8][id as usize % 9] };
        let (first, last) = (dice.within(1.0, 30.0) as u32, dice.within(31.0, 60.0) as u32);
        for frame in (first..=last).filter(|frame| *frame != 20) {
            let t = f64::from(frame);
            let conf = if id % 5 == 0 { 0.0 } else { 1.0 };
            truth.push(MotRow { frame, id, bbox: [x + t * dx, y + t * dy, 40.0, 100.0], conf, class });
        }
    }
    truth.sort_by_key(|row| row.frame);
    let mut results = BTreeMap::new();
    for (name, seed, harm) in [("good", seed + 1, 0.2), ("bad", seed + 2, 1.0), ("exact", seed + 3, 0.0)] {
        let rows: Vec<_> = disturbed(&truth, seed, harm).into_iter().filter(|row| row.frame != 25).collect();
        results.insert(name, rows);
    }
    results.insert("blind", Vec::new());
    Case { benchmark, name: format!("{benchmark}-made-up-{seed}"), frames, truth, results }
}

fn tracked(detections: &[MotRow], frames: u32) -> Vec<MotRow> {
    let mut tracker = tracker_by_name("bytetrack").unwrap();
    let mut rows = Vec::new();
    for frame in 1..=frames {
        let seen: Vec<Detection> = detections
            .iter()
            .filter(|row| row.frame == frame)
            .map(|row| {
                let [left, top, width, height] = row.bbox.map(|v| v as f32);
                let bbox = BBox::new(left, top, left + width, top + height);
                Detection { bbox, conf: row.conf as f32, class_id: 0 }
            })
            .collect();
        let time = MediaTime::from_micros(i64::from(frame) * 33_333);
        for tracked in tracker.update(&seen, time) {
            let BBox { x1, y1, x2, y2 } = tracked.detection.bbox;
            if let Some(id) = tracked.track_id {
                let bbox = [x1, y1, x2 - x1, y2 - y1].map(f64::from);
                rows.push(MotRow { frame, id: id as i64, bbox, conf: tracked.detection.conf.into(), class: -1 });
            }
        }
    }
    rows
}

/// A sequence of MOTChallenge with ByteTrack's results and disturbed truth.
fn real(benchmark: &'static str, folder: &Path) -> Case {
    let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    let info = read("seqinfo.ini");
    let frames = info.lines().find_map(|line| line.strip_prefix("seqLength=")).unwrap().trim().parse().unwrap();
    let truth = parse_ground_truth("gt.txt", &read("gt/gt.txt")).unwrap();
    let public = if folder.join("det/det.txt").exists() { "det/det.txt" } else { "det_frcnn_sort/det.txt" };
    let detections = parse_results("det.txt", &read(public), false).unwrap();
    let results = BTreeMap::from([
        ("bytetrack", tracked(&detections, frames)),
        ("good", disturbed(&truth, 7, 0.2)),
        ("bad", disturbed(&truth, 8, 1.0)),
    ]);
    Case { benchmark, name: folder.file_name().unwrap().to_str().unwrap().to_owned(), frames, truth, results }
}

/// A pair of a scorer's own tests: MOT15's layout.
fn pair(folder: &Path) -> Case {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let truth = parse_ground_truth("gt.txt", &read("gt.txt")).unwrap();
    let found = parse_results("test.txt", &read("test.txt"), true).unwrap();
    let frames = truth.iter().chain(&found).map(|row| row.frame).max().unwrap();
    let name = format!("pair-{}", folder.file_name().unwrap().to_str().unwrap());
    Case { benchmark: "MOT15", name, frames, truth, results: BTreeMap::from([("pair", found)]) }
}

fn write_truth(rows: &[MotRow]) -> String {
    let line = |MotRow { frame, id, bbox: [l, t, w, h], conf, class }: &MotRow| {
        format!("{frame},{id},{l},{t},{w},{h},{conf},{class},1\n")
    };
    rows.iter().map(line).collect()
}

/// Theirs for everything that was written into `root`.
fn reference(root: &Path) -> serde_json::Value {
    let python = std::env::var("RVA_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/trackeval_reference.py");
    let output = Command::new(python).arg(script).arg(root).output().unwrap();
    assert!(output.status.success(), "TrackEval: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn compare(place: &str, ours: &TrackScores, theirs: &serde_json::Value) {
    for metric in METRICS {
        let (ours, theirs) = (ours.value(metric).unwrap(), theirs[metric].as_f64().unwrap());
        let tolerance = if TrackScores::is_count(metric) { 0.0 } else { TOLERANCE };
        assert!((ours - theirs).abs() <= tolerance, "{place}, {metric}: ours {ours}, TrackEval's {theirs}");
    }
}

/// Every tracker must be there for every sequence of its benchmark, so cases of one kind are compared together.
fn compare_all(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut ours: BTreeMap<(&str, &str), BTreeMap<&str, TrackScores>> = BTreeMap::new();
    for case in cases {
        let folder = root.join(case.benchmark).join("gt").join(&case.name);
        fs::create_dir_all(folder.join("gt")).unwrap();
        fs::write(folder.join("gt/gt.txt"), write_truth(&case.truth)).unwrap();
        let info = format!("[Sequence]\nname={}\nseqLength={}\n", case.name, case.frames);
        fs::write(folder.join("seqinfo.ini"), info).unwrap();
        let benchmark = match case.benchmark {
            "MOT15" => Benchmark::Mot15,
            "MOT20" => Benchmark::Mot20,
            _ => Benchmark::Mot17,
        };
        assert_eq!(Benchmark::of_named(&case.name, &case.truth), benchmark);
        for (name, rows) in &case.results {
            let data = root.join(case.benchmark).join("trackers").join(name).join("data");
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join(format!("{}.txt", case.name)), write_results(rows)).unwrap();
            let sequence = Sequence::prepare(benchmark, case.frames, ("gt", &case.truth), ("found", rows)).unwrap();
            let of_tracker = ours.entry((case.benchmark, name)).or_default();
            of_tracker.insert(&case.name, TrackScores::of(&sequence));
        }
    }
    let theirs = reference(root);
    let mut compared = 0;
    for ((benchmark, tracker), sequences) in &ours {
        for (name, scores) in sequences {
            compare(&format!("{benchmark} {tracker} {name}"), scores, &theirs[benchmark][tracker][name]);
            compared += 1;
        }
        let combined = TrackScores::combined(sequences.values());
        compare(&format!("{benchmark} {tracker} combined"), &combined, &theirs[benchmark][tracker]["COMBINED_SEQ"]);
    }
    println!("compared {compared} results and {} combinations in {} scores", ours.len(), METRICS.len());
}

#[test]
fn made_up_sequences_score_as_in_trackeval() {
    compare_all(&[
        made_up("MOT15", 11),
        made_up("MOT15", 12),
        made_up("MOT17", 13),
        made_up("MOT17", 14),
        made_up("MOT20", 15),
        made_up("MOT20", 16),
    ]);
}

#[test]
fn real_sequences_score_as_in_trackeval() {
    let folder = shared().join("mot");
    if !folder.is_dir() {
        println!("skipped: no sequences at {}", folder.display());
        return;
    }
    let mut cases = Vec::new();
    for benchmark in ["MOT15", "MOT17"] {
        let mut folders: Vec<_> = fs::read_dir(folder.join(benchmark)).unwrap().map(|e| e.unwrap().path()).collect();
        folders.sort();
        cases.extend(folders.iter().map(|folder| real(benchmark, folder)));
    }
    assert_eq!(cases.len(), 6);
    compare_all(&cases);
}

#[test]
fn a_scorers_own_pairs_score_as_in_trackeval() {
    let folder = shared().join("mot/reference/motmetrics_TUD");
    if !folder.is_dir() {
        println!("skipped: no reference pairs at {}", folder.display());
        return;
    }
    compare_all(&[pair(&folder.join("TUD-Campus")), pair(&folder.join("TUD-Stadtmitte"))]);
}

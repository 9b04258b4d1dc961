//! Agreement with other implementations of OC-SORT, BoT-SORT and DeepSORT, whose ids lie in tests/peers.
//!
//! The measure is IDF1 of our tracks with theirs as the truth: boxes are the detector's own on both sides, so it is
//! the share of boxes that both give to tracks that mostly are the same. Floors are a little below what was measured;
//! why it isn't 1 everywhere stands in docs/trackers.md.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;
use rva_track::{
    BotSort, BotSortParams, DeepSort, DeepSortParams, Embeddings, OcSort, OcSortParams, Tracker, TrackerFrame, Warp,
};
use rva_types::{BBox, Detection, MediaTime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Made-up scenes, and sequences of MOTChallenge (name, detections).
const SCENES: &[&str] = &["walkers", "moving-camera"];
const SEQUENCES: &[(&str, &str)] = &[
    ("MOT17-02", "MOT17/MOT17-02-FRCNN/det/det.txt"),
    ("MOT17-04", "MOT17/MOT17-04-FRCNN/det/det.txt"),
    ("ADL-Rundle-6", "MOT15/ADL-Rundle-6/det_frcnn_sort/det.txt"),
    ("PETS09-S2L1", "MOT15/PETS09-S2L1/det_frcnn_sort/det.txt"),
    ("TUD-Campus", "MOT15/TUD-Campus/det_frcnn_sort/det.txt"),
    ("TUD-Stadtmitte", "MOT15/TUD-Stadtmitte/det_frcnn_sort/det.txt"),
];

/// Numbers of a look.
const LOOK: usize = 4;

#[derive(Debug, Clone, Default)]
struct Frame {
    detections: Vec<Detection>,
    looks: Vec<f32>,
    warp: Option<Warp>,
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("RVA_SHARED").map_or_else(beside, PathBuf::from)
}

fn frame(frames: &mut Vec<Frame>, number: usize) -> &mut Frame {
    if frames.len() < number {
        frames.resize(number, Frame::default());
    }
    &mut frames[number - 1]
}

fn scene(name: &str) -> Vec<Frame> {
    let mut frames = Vec::new();
    for line in std::fs::read_to_string(peers().join(format!("scenes/{name}.txt"))).unwrap().lines() {
        let (is_warp, rest) = line.strip_prefix("warp ").map_or((false, line), |rest| (true, rest));
        let numbers: Vec<f64> = rest.split(' ').map(|number| number.parse().unwrap()).collect();
        let frame = frame(&mut frames, numbers[0] as usize);
        if is_warp {
            let row = |from: usize| [numbers[from], numbers[from + 1], numbers[from + 2]];
            frame.warp = Some(Warp([row(1), row(4)]));
            continue;
        }
        let side = |i: usize| numbers[i] as f32 / 4.0;
        let bbox = BBox::new(side(1), side(2), side(3), side(4));
        frame.detections.push(Detection { bbox, conf: numbers[5] as f32 / 100.0, class_id: 0 });
        let length = numbers[6..].iter().map(|part| part * part).sum::<f64>().sqrt();
        frame.looks.extend(numbers[6..].iter().map(|part| (part / length) as f32));
    }
    frames
}

/// The detections of a sequence, with looks made of their place: what slowly moves looks much the same.
fn sequence(path: &Path, frames_max: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let fields: Vec<f32> = line.split(',').map(|field| field.parse().unwrap()).collect();
        let &[number, _, x, y, width, height, conf, ..] = fields.as_slice() else { panic!("{line}") };
        if number as usize > frames_max {
            continue;
        }
        let frame = frame(&mut frames, number as usize);
        let bbox = BBox::new(x, y, x + width, y + height);
        frame.detections.push(Detection { bbox, conf, class_id: 0 });
        let [x1, y1, x2, y2] = [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(f64::from);
        let (across, down) = ((x1 + x2) / 600.0, (y1 + y2) / 200.0);
        let look = [across.cos(), across.sin(), down.cos(), down.sin()];
        frame.looks.extend(look.map(|part| (part / 2.0f64.sqrt()) as f32));
    }
    frames
}

/// Ids of one implementation, frame by frame in the order of the detections; 0 is none.
type Ids = Vec<Vec<u64>>;

fn frozen(peer: &str, input: &str) -> Option<Ids> {
    let text = std::fs::read_to_string(peers().join(peer).join(format!("{input}.txt"))).ok()?;
    Some(text.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect())
}

fn ours(tracker: &mut dyn Tracker, frames: &[Frame], looks: bool) -> Ids {
    let mut tracked = Vec::new();
    let each = frames.iter().map(|frame| {
        let told = TrackerFrame {
            camera_motion: frame.warp,
            embeddings: Embeddings::new(LOOK, &frame.looks).filter(|_| looks),
            ..TrackerFrame::of_boxes(&frame.detections, MediaTime::default())
        };
        tracker.update_into(&told, &mut tracked);
        tracked.iter().map(|tracked| tracked.track_id.unwrap_or(0)).collect()
    });
    each.collect()
}

/// How far two implementations agree.
#[derive(Debug, Default, Clone, Copy)]
struct Agreement {
    /// Boxes with an id on both sides, on ours alone, on theirs alone.
    both: usize,
    only_ours: usize,
    only_theirs: usize,
    /// Boxes that lie in one of the paired tracks on both sides.
    paired: usize,
}

impl Agreement {
    fn of(ours: &Ids, theirs: &Ids) -> Self {
        assert_eq!(ours.len(), theirs.len(), "frames");
        let mut found = Self::default();
        let (mut rows, mut columns) = (BTreeMap::new(), BTreeMap::new());
        let mut shared = BTreeMap::<(usize, usize), i64>::new();
        for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            assert_eq!(ours.len(), theirs.len(), "detections of frame {}", number + 1);
            for pair in ours.iter().zip(theirs) {
                match pair {
                    (0, 0) => {}
                    (0, _) => found.only_theirs += 1,
                    (_, 0) => found.only_ours += 1,
                    (ours, theirs) => {
                        found.both += 1;
                        let (row, column) = (rows.len(), columns.len());
                        let key = (*rows.entry(*ours).or_insert(row), *columns.entry(*theirs).or_insert(column));
                        *shared.entry(key).or_default() += 1;
                    }
                }
            }
        }
        // The solver wants no more rows than columns; empty columns cost nothing.
        let mut boxes = Matrix::new(rows.len(), rows.len().max(columns.len()), 0i64);
        shared.iter().for_each(|(&place, &count)| boxes[place] = count);
        found.paired = kuhn_munkres(&boxes).0 as usize;
        found
    }

    fn idf1(&self) -> f64 {
        2.0 * self.paired as f64 / (2 * self.both + self.only_ours + self.only_theirs) as f64
    }
}

impl std::ops::AddAssign for Agreement {
    fn add_assign(&mut self, other: Self) {
        self.both += other.both;
        self.only_ours += other.only_ours;
        self.only_theirs += other.only_theirs;
        self.paired += other.paired;
    }
}

fn inputs(peer: &str) -> Vec<(&'static str, Vec<Frame>, Ids)> {
    let mut inputs = Vec::new();
    for name in SCENES {
        inputs.extend(frozen(peer, name).map(|ids| (*name, scene(name), ids)));
    }
    let mot = shared().join("mot");
    if !mot.is_dir() {
        println!("skipped: no shared sequences at {}", mot.display());
        return inputs;
    }
    for (name, path) in SEQUENCES {
        let ids = frozen(peer, name).unwrap();
        inputs.push((*name, sequence(&mot.join(path), ids.len()), ids));
    }
    inputs
}

/// Runs ours on everything that the peer's ids are there for; `floor` holds for all of it together.
fn compare(peer: &str, floor: f64, looks: bool, tracker: impl Fn() -> Box<dyn Tracker>) {
    let mut all = Agreement::default();
    for (name, frames, theirs) in inputs(peer) {
        let found = Agreement::of(&ours(&mut *tracker(), &frames, looks), &theirs);
        println!("{peer} {name}: IDF1 {:.4}, {found:?}", found.idf1());
        all += found;
    }
    println!("{peer}: IDF1 {:.4}, {all:?}", all.idf1());
    assert!(all.both > 900, "{peer}: found {} boxes, wanted a scene's", all.both);
    assert!(all.idf1() >= floor, "{peer}: found IDF1 {}, wanted {floor}", all.idf1());
}

/// The same tracks, box by box.
const EQUAL: f64 = 1.0;

fn ocsort(use_byte: bool) -> Box<dyn Tracker> {
    Box::new(OcSort::new(OcSortParams { use_byte, ..Default::default() }).unwrap())
}

fn botsort(with_reid: bool) -> Box<dyn Tracker> {
    Box::new(BotSort::new(BotSortParams { with_reid, ..Default::default() }).unwrap())
}

/// That implementation forgets no look when it is given no budget, and fills a budget with the same look again.
fn deepsort() -> Box<dyn Tracker> {
    Box::new(DeepSort::new(DeepSortParams { nn_budget: 1000, ..Default::default() }).unwrap())
}

#[test]
fn ocsort_is_near_the_authors_code() {
    compare("ocsort", 0.97, false, || ocsort(false));
}

#[test]
fn ocsort_is_the_authors_code_but_for_what_it_does_in_another_way_by_design() {
    compare("ocsort-adjusted", EQUAL, false, || ocsort(false));
}

#[test]
fn ocsort_with_weak_detections_is_the_authors_code_but_for_what_it_does_in_another_way_by_design() {
    compare("ocsort-byte-adjusted", EQUAL, false, || ocsort(true));
}

#[test]
fn botsort_is_near_roboflows() {
    compare("botsort", 0.95, false, || botsort(false));
}

#[test]
fn botsort_is_roboflows_with_what_that_one_leaves_out() {
    compare("botsort-adjusted", EQUAL, false, || botsort(false));
}

#[test]
fn botsort_with_looks_is_roboflows_with_that_and_what_else_it_leaves_out() {
    compare("botsort-looks", EQUAL, true, || botsort(true));
}

#[test]
fn deepsort_is_deep_sort_realtime() {
    compare("deepsort", EQUAL, true, deepsort);
}

#[test]
fn deepsort_without_looks_is_deep_sort_realtime() {
    compare("deepsort-boxes", EQUAL, false, deepsort);
}

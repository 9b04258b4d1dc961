//! Scenes: people who walk through a picture, seen by a camera at some frame rate.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a scene that can't be built is a failed test; each test uses a part"
)]

use rva_analytics::{
    FrameKey, FrameRows, HourRows, Rules, Shape, SilverDetection, SilverFrame, ZoneDefinition, Zones, gold,
};
use rva_types::{CameraId, RunId, StoreId, Timestamp};

pub const SIDE: i32 = 1000;
/// 2026-01-31T08:00:00Z, the start of an hour.
pub const T0: i64 = 1_769_846_400_000_000;

pub fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

pub fn store() -> StoreId {
    StoreId::parse("s").unwrap()
}

pub fn camera() -> CameraId {
    CameraId::parse("c").unwrap()
}

/// Somebody's way: where the anchor is at some moments, straight between them; seen from the first moment to the last.
#[derive(Debug, Clone)]
pub struct Walk {
    pub track: Option<i64>,
    pub at: Vec<(f64, f64, f64)>,
    /// Spans in which nothing is seen.
    pub hidden: Vec<(f64, f64)>,
}

impl Walk {
    pub fn new(track: i64, at: &[(f64, f64, f64)]) -> Self {
        Self { track: Some(track), at: at.to_vec(), hidden: Vec::new() }
    }

    pub fn hidden(mut self, from: f64, to: f64) -> Self {
        self.hidden.push((from, to));
        self
    }

    fn place(&self, t: f64) -> Option<(f64, f64)> {
        if self.hidden.iter().any(|&(from, to)| t > from && t < to) {
            return None;
        }
        let (first, last) = (self.at.first()?, self.at.last()?);
        if t < first.0 || t > last.0 {
            return None;
        }
        let next = self.at.iter().position(|point| point.0 >= t)?;
        let b = self.at[next];
        let a = self.at[next.saturating_sub(1)];
        let share = if b.0 > a.0 { (t - a.0) / (b.0 - a.0) } else { 0.0 };
        Some((a.1 + (b.1 - a.1) * share, a.2 + (b.2 - a.2) * share))
    }
}

pub fn person(det: usize, track: Option<i64>, x: f64, y: f64) -> SilverDetection {
    let (x, y) = ((x * f64::from(SIDE)).round() as i32, (y * f64::from(SIDE)).round() as i32);
    let clip = |value: i32| value.clamp(0, SIDE);
    SilverDetection {
        det_id: format!("{det:05}").into(),
        class_name: Some("person".into()),
        class_id: Some(0),
        conf: 0.9,
        bbox: [clip(x - 20), clip(y - 120), clip(x + 20), clip(y)],
        track_id: track,
    }
}

pub fn frame(run: &str, index: i64, at_us: i64, detections: Vec<SilverDetection>) -> FrameRows {
    let people = detections.iter().filter(|detection| detection.is_person()).count() as i32;
    FrameRows {
        frame: SilverFrame {
            key: FrameKey { store: store(), camera: camera(), run: RunId::parse(run).unwrap(), frame_index: index },
            capture_ts: Timestamp::from_micros(at_us),
            img_w: SIDE,
            img_h: SIDE,
            people,
            detections: detections.len() as i32,
        },
        detections,
    }
}

/// The frames of a camera of `fps` that looks for `seconds`.
pub fn film(walks: &[Walk], fps: f64, seconds: f64) -> Vec<FrameRows> {
    film_from(walks, fps, seconds, T0)
}

pub fn film_from(walks: &[Walk], fps: f64, seconds: f64, start_us: i64) -> Vec<FrameRows> {
    let count = (seconds * fps).round() as i64;
    let frames = (0..=count).map(|index| {
        let t = index as f64 / fps;
        let seen = walks.iter().filter_map(|walk| Some((walk.track, walk.place(t)?)));
        let detections = seen.enumerate().map(|(det, (track, (x, y)))| person(det, track, x, y));
        frame("run", index + 1, start_us + micros(t), detections.collect())
    });
    frames.collect()
}

pub fn shape(name: &str, kind: &str, points: &str) -> ZoneDefinition {
    ZoneDefinition {
        store: store(),
        camera: camera(),
        name: name.into(),
        shape: Shape::parse(kind, points).unwrap(),
        valid_from_us: i64::MIN,
        valid_to_us: None,
    }
}

/// A door line from top to bottom in the middle: people who walk to the left come in.
pub fn door() -> Zones {
    Zones::new([shape("door", "line", "[[0.5,0.1],[0.5,0.95]]")])
}

/// A square zone in the middle.
pub fn till() -> Zones {
    Zones::new([shape("till", "zone", "[[0.4,0.4],[0.6,0.4],[0.6,0.6],[0.4,0.6]]")])
}

pub fn rows(frames: &[FrameRows], zones: &Zones) -> HourRows {
    gold(frames, zones, &Rules::default())
}

/// Track, direction and second of each crossing.
pub fn crossings(frames: &[FrameRows], zones: &Zones) -> Vec<(i64, &'static str, f64)> {
    let seconds = |at_us: i64| (at_us - T0) as f64 / 1e6;
    let of = |row: &rva_analytics::CrossingRow| {
        (row.key.track_id, row.crossing.direction.word(), seconds(row.crossing.at_us))
    };
    rows(frames, zones).line_crossings.iter().map(of).collect()
}

/// Track, second of entering, second of leaving of each visit.
pub fn visits(frames: &[FrameRows], zones: &Zones) -> Vec<(i64, f64, f64)> {
    let seconds = |at_us: i64| (at_us - T0) as f64 / 1e6;
    let of =
        |row: &rva_analytics::VisitRow| (row.key.track_id, seconds(row.visit.entered_us), seconds(row.visit.left_us));
    rows(frames, zones).zone_visits.iter().map(of).collect()
}

//! Sums up what each camera saw, and when it looked.

use crate::clock::{HOUR_US, MINUTE_US};
use crate::hours::Stretch;
use crate::rows::{Gap, Looked, Question, Rows};
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of one camera.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraPart {
    /// Its id.
    pub camera: String,
    /// The tracks that began in the span.
    pub unique_tracks: i64,
    /// The crossings in of all its lines; `None` where it has no line.
    pub came_in: Option<i64>,
    /// The crossings out.
    pub went_out: Option<i64>,
    /// The average number of people in its frames.
    pub people_average: Option<f64>,
    /// The most people in one of them.
    pub people_peak: Option<i64>,
    /// The first minute in which they were there, as RFC 3339.
    pub people_peak_at: Option<String>,
    /// The minutes in which it looked.
    pub minutes_looked: i64,
    /// The minutes of the span.
    pub minutes: i64,
    /// The first minute in which it looked, as RFC 3339.
    pub first_minute: Option<String>,
    /// The last one.
    pub last_minute: Option<String>,
    /// The longest time between two frames of one minute.
    pub longest_gap_seconds: Option<f64>,
}

/// A stretch of time in which a camera didn't look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GapPart {
    /// The camera's id.
    pub camera: String,
    /// The first moment, as RFC 3339.
    pub from: String,
    /// The end.
    pub to: String,
    /// The first moment, in microseconds since 1970.
    #[serde(skip)]
    pub from_us: i64,
    /// The end, likewise.
    #[serde(skip)]
    pub to_us: i64,
    /// Its length.
    pub minutes: i64,
}

fn looked<'a>(rows: &'a Rows, camera: &'a str) -> impl Iterator<Item = &'a Looked> {
    rows.looked.iter().filter(move |row| row.camera == camera)
}

/// Returns the parts of all cameras that are asked for, in their order.
pub(crate) fn cameras(question: &Question, rows: &Rows) -> Vec<CameraPart> {
    question.cameras.iter().map(|camera| part(question, rows, camera)).collect()
}

fn part(question: &Question, rows: &Rows, camera: &str) -> CameraPart {
    let zone = question.zone;
    let seen = rows.seen.iter().filter(|row| row.camera == camera);
    let (people, frames) = seen.fold((0, 0), |sum, row| (sum.0 + row.detections, sum.1 + row.frames));
    let has_line = rows.shapes.iter().any(|shape| shape.camera == camera && shape.kind == crate::ShapeKind::Line);
    let crossed = rows.crossed.iter().filter(|row| row.camera == camera);
    let (came_in, went_out) = crossed.fold((0, 0), |sum, row| (sum.0 + row.came_in, sum.1 + row.went_out));
    let peak = rows.peaks.iter().find(|peak| peak.camera == camera);
    CameraPart {
        camera: camera.to_owned(),
        unique_tracks: rows.began.iter().filter(|row| row.camera == camera).map(|row| row.tracks).sum(),
        came_in: has_line.then_some(came_in),
        went_out: has_line.then_some(went_out),
        people_average: (frames > 0).then(|| people as f64 / frames as f64),
        people_peak: peak.map(|peak| peak.people),
        people_peak_at: peak.map(|peak| zone.rfc3339(peak.at_us)),
        minutes_looked: looked(rows, camera).map(|row| row.minutes).sum(),
        minutes: (question.to_us - question.from_us) / MINUTE_US,
        first_minute: looked(rows, camera).map(|row| row.first_us).min().map(|us| zone.rfc3339(us)),
        last_minute: looked(rows, camera).map(|row| row.last_us).max().map(|us| zone.rfc3339(us)),
        longest_gap_seconds: looked(rows, camera).map(|row| row.longest_gap_seconds).max_by(f64::total_cmp),
    }
}

/// Returns when cameras didn't look: between their minutes, before the first and after the last, in order of time.
pub(crate) fn gaps(question: &Question, rows: &Rows) -> Vec<GapPart> {
    let mut gaps: Vec<Gap> = rows.gaps.clone();
    for camera in &question.cameras {
        let mut add = |from_us: i64, to_us: i64| {
            if from_us < to_us {
                gaps.push(Gap { camera: camera.clone(), from_us, to_us });
            }
        };
        let first = looked(rows, camera).map(|row| row.first_us).min();
        let last = looked(rows, camera).map(|row| row.last_us).max();
        add(question.from_us, first.unwrap_or(question.to_us));
        add(last.map_or(question.to_us, |last| last + MINUTE_US), question.to_us);
    }
    gaps.sort_by(|one, other| (one.from_us, &one.camera).cmp(&(other.from_us, &other.camera)));
    let part = |gap: Gap| GapPart {
        from: question.zone.rfc3339(gap.from_us),
        to: question.zone.rfc3339(gap.to_us),
        from_us: gap.from_us,
        to_us: gap.to_us,
        minutes: (gap.to_us - gap.from_us) / MINUTE_US,
        camera: gap.camera,
    };
    gaps.into_iter().map(part).collect()
}

/// The longest span whose coverage is by hour; of a longer one it is by day.
const BY_HOUR_US: i64 = 72 * HOUR_US;

/// The share of an hour or a day that a camera looked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CoveragePart {
    /// The camera's id.
    pub camera: String,
    /// The first moment of the hour or day, as RFC 3339.
    pub start: String,
    /// The same in microseconds since 1970.
    #[serde(skip)]
    pub start_us: i64,
    /// The minutes in which it looked.
    pub minutes_looked: i64,
    /// The minutes that lie in the span.
    pub minutes: i64,
}

/// Returns how much of each of these hours, or days for a long span, each camera looked.
pub(crate) fn coverage(question: &Question, rows: &Rows, hours: &[Stretch], days: &[Stretch]) -> Vec<CoveragePart> {
    let is_short = question.to_us - question.from_us <= BY_HOUR_US;
    let stretches = if is_short { hours } else { days };
    let start = |us: i64| if is_short { question.zone.hour_start(us) } else { question.zone.day_start(us) };
    let mut minutes: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    for row in &rows.looked {
        *minutes.entry((row.camera.as_str(), start(row.at_us))).or_default() += row.minutes;
    }
    let cameras = question.cameras.len().max(1) as i64;
    let part = |camera: &str, stretch: &Stretch| CoveragePart {
        camera: camera.to_owned(),
        start: stretch.start.clone(),
        start_us: stretch.start_us,
        minutes_looked: minutes.get(&(camera, stretch.start_us)).copied().unwrap_or(0),
        minutes: stretch.minutes / cameras,
    };
    let all = question.cameras.iter().flat_map(|camera| stretches.iter().map(move |stretch| (camera, stretch)));
    all.map(|(camera, stretch)| part(camera, stretch)).collect()
}

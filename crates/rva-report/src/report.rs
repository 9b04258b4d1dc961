//! The numbers of a report.

use crate::cameras::{CameraPart, CoveragePart, GapPart, cameras, coverage, gaps};
use crate::clock::{HOUR_US, MINUTE_US, QUARTER_US};
use crate::counting::{Counting, LineId};
use crate::hours::{HourOfDay, Stretch, busiest, days, hours, hours_of_day};
use crate::rows::{Question, Rows, ShapeKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The hours that are called the busiest ones.
const BUSIEST_MAX: usize = 3;

/// The most points of a camera's curve, about: beyond them the bins are longer.
const CURVE_MAX: i64 = 1_600;

/// The measure that stands for a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// A crossing in of a line.
    CrossingsIn,
    /// A track, where there is no line.
    UniqueTracks,
}

impl CountedBy {
    /// Returns the word for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::CrossingsIn => "crossings_in",
            Self::UniqueTracks => "unique_tracks",
        }
    }
}

/// The number of people who came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Visitors {
    /// The number.
    pub count: i64,
    /// The measure that was counted.
    pub counted_by: CountedBy,
    /// The lines, where lines are.
    pub lines: Vec<LineId>,
}

/// The most people at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeakPart {
    /// The number of people in one frame.
    pub people: i64,
    /// The camera's id.
    pub camera: String,
    /// The first minute in which they were there, as RFC 3339.
    pub at: String,
    /// The same in microseconds since 1970.
    #[serde(skip)]
    pub at_us: i64,
}

/// The number of people who were there at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct People {
    /// The average over frames, cameras added up; `None` where there is no frame.
    pub average: Option<f64>,
    /// The most in one picture.
    pub peak: Option<PeakPart>,
}

/// A stay of people in a zone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZonePart {
    /// The camera's id.
    pub camera: String,
    /// The zone's name.
    pub zone: String,
    /// The visits that began in the span.
    pub visits: i64,
    /// The different tracks among them.
    pub unique_tracks: i64,
    /// The average visit; `None` where there is none.
    pub dwell_seconds_average: Option<f64>,
    /// The visit that half of them stay below.
    pub dwell_seconds_median: Option<f64>,
    /// The longest one.
    pub dwell_seconds_max: Option<f64>,
    /// All together.
    pub dwell_seconds_total: f64,
}

/// The crossings of a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinePart {
    /// The camera's id.
    pub camera: String,
    /// The line's name.
    pub line: String,
    /// The crossings in.
    pub came_in: i64,
    /// The crossings out.
    pub went_out: i64,
    /// Whether its crossings in are visitors.
    pub is_entrance: bool,
}

/// A cell of a camera's picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatCell {
    /// The camera's id.
    pub camera: String,
    /// The column, from the left.
    pub x: i64,
    /// The row, from the top.
    pub y: i64,
    /// The detections.
    pub hits: i64,
    /// The time that people stayed there, all together.
    pub dwell_seconds: f64,
    /// The visits.
    pub visits: i64,
}

/// A point of a camera's curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurvePoint {
    /// The camera's id.
    pub camera: String,
    /// The first moment of the bin, as RFC 3339.
    pub start: String,
    /// The same in microseconds since 1970.
    #[serde(skip)]
    pub start_us: i64,
    /// The average number of people.
    pub average: f64,
    /// The most in one frame.
    pub peak: i64,
}

/// The numbers of a report; as JSON it is the report for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The store's id.
    pub store: String,
    /// The name of the time zone of hours, days and all times here.
    pub time_zone: String,
    /// The first moment, as RFC 3339.
    pub from: String,
    /// The end, which is no part of it.
    pub to: String,
    /// The subject of the report.
    #[serde(skip)]
    pub question: Question,
    /// How many people came.
    pub visitors: Visitors,
    /// The number of people who were there at once.
    pub people: People,
    /// The hours with most visitors.
    pub busiest_hours: Vec<Stretch>,
    /// Each camera.
    pub cameras: Vec<CameraPart>,
    /// Each hour.
    pub hours: Vec<Stretch>,
    /// Each hour of the day, all days added up; empty where the span is of one day.
    pub hours_of_day: Vec<HourOfDay>,
    /// Each day.
    pub days: Vec<Stretch>,
    /// Each zone.
    pub zones: Vec<ZonePart>,
    /// Each line.
    pub lines: Vec<LinePart>,
    /// Each cell in which somebody was.
    pub heatmap: Vec<HeatCell>,
    /// The share of each hour that each camera looked; of each day where the span is longer than three.
    pub coverage: Vec<CoveragePart>,
    /// When a camera didn't look.
    pub gaps: Vec<GapPart>,
    /// The minutes of a bin of the curve of people at once.
    pub curve_minutes: i64,
    /// People at once over time, by camera.
    pub curve: Vec<CurvePoint>,
    /// Remarks that a reader should know.
    pub notes: Vec<String>,
}

impl Report {
    /// Works the numbers out.
    pub fn of(question: &Question, rows: &Rows) -> Self {
        let counting = Counting::of(question, rows);
        let (hours, days) = (hours(question, rows, &counting), days(question, rows, &counting));
        let cameras = cameras(question, rows);
        let averages: Vec<f64> = cameras.iter().filter_map(|camera| camera.people_average).collect();
        let curve_us = curve_bin(question);
        Self {
            store: question.store.clone(),
            time_zone: question.zone.name().to_owned(),
            from: question.zone.rfc3339(question.from_us),
            to: question.zone.rfc3339(question.to_us),
            visitors: visitors(rows, &counting),
            people: People {
                average: (!averages.is_empty()).then(|| averages.iter().sum()),
                peak: peak(question, rows),
            },
            busiest_hours: busiest(&hours, BUSIEST_MAX),
            hours_of_day: if days.len() > 1 { hours_of_day(question, &hours) } else { Vec::new() },
            zones: zones(rows),
            lines: lines(rows, &counting),
            heatmap: heatmap(rows),
            coverage: coverage(question, rows, &hours, &days),
            gaps: gaps(question, rows),
            curve_minutes: curve_us / MINUTE_US,
            curve: curve(question, rows, curve_us),
            notes: notes(question, rows, &counting),
            question: question.clone(),
            cameras,
            hours,
            days,
        }
    }

    /// Returns the minutes that cameras looked and those that they could have, all cameras added up.
    pub fn looked(&self) -> (i64, i64) {
        self.cameras.iter().fold((0, 0), |sum, camera| (sum.0 + camera.minutes_looked, sum.1 + camera.minutes))
    }
}

fn visitors(rows: &Rows, counting: &Counting) -> Visitors {
    if counting.is_by_line() {
        let crossed = rows.crossed.iter().filter(|row| counting.counts(&row.camera, &row.line));
        let lines = counting.0.iter().cloned().collect();
        return Visitors { count: crossed.map(|row| row.came_in).sum(), counted_by: CountedBy::CrossingsIn, lines };
    }
    let count = rows.began.iter().map(|row| row.tracks).sum();
    Visitors { count, counted_by: CountedBy::UniqueTracks, lines: Vec::new() }
}

fn peak(question: &Question, rows: &Rows) -> Option<PeakPart> {
    // Of several that are alike the last one is found: the first camera's, from behind.
    let most = rows.peaks.iter().rev().max_by_key(|peak| (peak.people, -peak.at_us))?;
    let at = question.zone.rfc3339(most.at_us);
    Some(PeakPart { people: most.people, camera: most.camera.clone(), at, at_us: most.at_us })
}

/// Returns camera and name of each shape of a kind, once.
fn drawn(rows: &Rows, kind: ShapeKind) -> BTreeSet<(&str, &str)> {
    let shapes = rows.shapes.iter().filter(|shape| shape.kind == kind);
    shapes.map(|shape| (shape.camera.as_str(), shape.name.as_str())).collect()
}

fn zones(rows: &Rows) -> Vec<ZonePart> {
    let mut all = drawn(rows, ShapeKind::Zone);
    all.extend(rows.visited.iter().map(|row| (row.camera.as_str(), row.zone.as_str())));
    let part = |(camera, zone): (&str, &str)| {
        let row = rows.visited.iter().find(|row| row.camera == camera && row.zone == zone);
        let some = row.filter(|row| row.visits > 0);
        ZonePart {
            camera: camera.to_owned(),
            zone: zone.to_owned(),
            visits: row.map_or(0, |row| row.visits),
            unique_tracks: row.map_or(0, |row| row.tracks),
            dwell_seconds_average: some.map(|row| row.dwell_seconds_total / row.visits as f64),
            dwell_seconds_median: some.map(|row| row.dwell_seconds_median),
            dwell_seconds_max: some.map(|row| row.dwell_seconds_max),
            dwell_seconds_total: row.map_or(0.0, |row| row.dwell_seconds_total),
        }
    };
    all.into_iter().map(part).collect()
}

fn lines(rows: &Rows, counting: &Counting) -> Vec<LinePart> {
    let mut all = drawn(rows, ShapeKind::Line);
    all.extend(rows.crossed.iter().map(|row| (row.camera.as_str(), row.line.as_str())));
    let part = |(camera, line): (&str, &str)| {
        let crossed = rows.crossed.iter().filter(|row| row.camera == camera && row.line == line);
        let (came_in, went_out) = crossed.fold((0, 0), |sum, row| (sum.0 + row.came_in, sum.1 + row.went_out));
        let is_entrance = counting.counts(camera, line);
        LinePart { camera: camera.to_owned(), line: line.to_owned(), came_in, went_out, is_entrance }
    };
    all.into_iter().map(part).collect()
}

fn heatmap(rows: &Rows) -> Vec<HeatCell> {
    let cell = |row: &crate::CellSeen| HeatCell {
        camera: row.camera.clone(),
        x: row.x,
        y: row.y,
        hits: row.hits,
        dwell_seconds: row.dwell_seconds,
        visits: row.visits,
    };
    let mut cells: Vec<HeatCell> = rows.cells.iter().map(cell).collect();
    cells.sort_by(|one, other| (&one.camera, one.y, one.x).cmp(&(&other.camera, other.y, other.x)));
    cells
}

/// Returns the size of the curve's bins: a minute, a quarter of an hour, an hour or a day.
fn curve_bin(question: &Question) -> i64 {
    let span = question.to_us - question.from_us;
    let sizes = [question.bin_us(), QUARTER_US, HOUR_US];
    sizes.into_iter().find(|size| span / size <= CURVE_MAX).unwrap_or(24 * HOUR_US)
}

fn curve(question: &Question, rows: &Rows, bin_us: i64) -> Vec<CurvePoint> {
    let zone = question.zone;
    let start = |us: i64| match bin_us {
        HOUR_US => zone.hour_start(us),
        longer if longer > HOUR_US => zone.day_start(us),
        shorter => us.div_euclid(shorter) * shorter,
    };
    let mut sums: BTreeMap<(&str, i64), (i64, i64, i64)> = BTreeMap::new();
    for seen in &rows.seen {
        let into = sums.entry((seen.camera.as_str(), start(seen.at_us))).or_default();
        *into = (into.0 + seen.detections, into.1 + seen.frames, into.2.max(seen.people_max));
    }
    let with_frames = sums.into_iter().filter(|(_, (_, frames, _))| *frames > 0);
    let point = |((camera, at_us), (people, frames, peak)): ((&str, i64), (i64, i64, i64))| CurvePoint {
        camera: camera.to_owned(),
        start: zone.rfc3339(at_us),
        start_us: at_us,
        average: people as f64 / frames as f64,
        peak,
    };
    with_frames.map(point).collect()
}

fn notes(question: &Question, rows: &Rows, counting: &Counting) -> Vec<String> {
    let mut notes = Vec::new();
    let zone = question.zone;
    if !counting.is_by_line() {
        notes.push(
            "Visitors are unique tracks, because no line is drawn: somebody who leaves the picture and comes back counts \
             again, and so does somebody whom two cameras see. A line at the door counts them once."
                .to_owned(),
        );
    }
    let counts = |camera: &&String| counting.0.iter().any(|line| line.camera == **camera);
    let others: Vec<&str> = question.cameras.iter().filter(|camera| !counts(camera)).map(String::as_str).collect();
    if counting.is_by_line() && !others.is_empty() {
        notes.push(format!("Visitors are counted at lines alone; at {} there is none that counts.", others.join(", ")));
    }
    for (kind, word) in [(ShapeKind::Line, "Line"), (ShapeKind::Zone, "Zone")] {
        for (camera, name) in drawn(rows, kind) {
            let rows = rows.shapes.iter().filter(|row| row.kind == kind && row.camera == camera && row.name == name);
            let first = rows.clone().map(|row| row.valid_from_us).min().unwrap_or(question.from_us);
            let end = rows.map(|row| row.valid_to_us.unwrap_or(i64::MAX)).max().unwrap_or(i64::MAX);
            let since = (first >= question.from_us + MINUTE_US).then(|| format!(" from {}", zone.minute_text(first)));
            let until = (end <= question.to_us - MINUTE_US).then(|| format!(" until {}", zone.minute_text(end)));
            if since.is_some() || until.is_some() {
                let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
                notes.push(format!(
                    "{word} {name} of {camera} is drawn{since}{until} only; at other times nothing is counted by it."
                ));
            }
        }
    }
    if question.from_us.rem_euclid(HOUR_US) != 0 || question.to_us.rem_euclid(HOUR_US) != 0 {
        let (from, to) = (question.from_us.div_euclid(HOUR_US), (question.to_us + HOUR_US - 1).div_euclid(HOUR_US));
        let text = |hours: i64| zone.minute_text(hours * HOUR_US);
        notes.push(format!("The heatmap is of whole hours, from {} to {}.", text(from), text(to)));
    }
    notes
}

#[cfg(test)]
pub(crate) mod tests;

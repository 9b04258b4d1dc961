//! The ten tables of gold: rows, and the whole definition in one call.

use crate::{
    Cell, CellDwell, Crossing, FrameRows, HourPartial, Rules, TrackKey, TrackOutcome, TrackPath, TrackPoint,
    TrackSummary, Visit, Zones, hour_of,
};
use rva_types::{CameraId, StoreId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A camera of a shop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CameraKey {
    /// The shop's id.
    pub store: StoreId,
    /// The camera's id.
    pub camera: CameraId,
}

/// A camera's hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CameraHourKey {
    /// The shop's id.
    pub store: StoreId,
    /// The camera's id.
    pub camera: CameraId,
    /// The hour's start in microseconds since 1970.
    pub hour_us: i64,
}

impl CameraHourKey {
    /// Returns the camera.
    pub fn camera_key(&self) -> CameraKey {
        CameraKey { store: self.store.clone(), camera: self.camera.clone() }
    }
}

/// A row of `rva.gold_minute_by_cam`. Counts are of people.
#[derive(Debug, Clone, PartialEq)]
pub struct MinuteRow {
    /// The camera of the row.
    pub camera: CameraKey,
    /// The start of the minute in microseconds since 1970.
    pub minute_us: i64,
    /// The number of detections.
    pub detection_count: i64,
    /// The number of different tracks, of all runs.
    pub unique_tracks: i64,
    /// The mean confidence; `None` where nobody was seen.
    pub avg_conf: Option<f64>,
    /// The mean share of the picture that a box takes; `None` where nobody was seen.
    pub bbox_area_ratio_avg: Option<f64>,
}

/// A row of `rva.gold_hour_by_cam`. Counts are of people.
#[derive(Debug, Clone, PartialEq)]
pub struct HourRow {
    /// The camera and hour of the row.
    pub hour: CameraHourKey,
    /// The number of detections.
    pub detection_count: i64,
    /// The number of different tracks, of all runs.
    pub unique_tracks: i64,
    /// The mean confidence; `None` where nobody was seen.
    pub avg_conf: Option<f64>,
}

/// A row of `rva.gold_people_per_minute`.
#[derive(Debug, Clone, PartialEq)]
pub struct PeopleRow {
    /// The camera of the row.
    pub camera: CameraKey,
    /// The start of the minute in microseconds since 1970.
    pub minute_us: i64,
    /// The number of detections of people.
    pub detections: i64,
    /// The number of different tracks, of all runs.
    pub unique_people: i64,
    /// The number of frames.
    pub frames: i64,
    /// The most people in one frame.
    pub people_max: i32,
    /// The mean number of people in a frame.
    pub people_avg: Option<f64>,
}

/// A row of `rva.gold_camera_minute`, which says when a camera looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraMinuteRow {
    /// The camera of the row.
    pub camera: CameraKey,
    /// The start of the minute in microseconds since 1970.
    pub minute_us: i64,
    /// The number of frames.
    pub frames: i64,
    /// The capture time of the earliest frame, in microseconds since 1970.
    pub first_us: i64,
    /// The capture time of the latest frame, in microseconds since 1970.
    pub last_us: i64,
    /// The longest time between neighbouring frames of the minute, in microseconds; 0 where there is one frame.
    pub longest_gap_us: i64,
    /// The number of different runs.
    pub runs: i64,
}

/// A cell of a camera's grid in an hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    /// The camera and hour.
    pub hour: CameraHourKey,
    /// The cell.
    pub cell: Cell,
}

/// A row of `rva.gold_zone_heatmap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeatmapRow {
    /// The cell and hour of the row.
    pub key: CellKey,
    /// The number of detections of people whose anchor is in the cell.
    pub hits: i64,
    /// The number of different tracks, of all runs.
    pub unique_tracks: i64,
}

/// A row of `rva.gold_zone_dwell`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DwellRow {
    /// The cell and hour of the row.
    pub key: CellKey,
    /// The visits and the time.
    pub dwell: CellDwell,
}

impl DwellRow {
    /// Returns column `total_dwell_seconds`.
    pub fn total_seconds(&self) -> f64 {
        self.dwell.micros as f64 / 1e6
    }

    /// Returns column `avg_dwell_seconds`: a visit's time on average, `None` in an hour in which none begins.
    pub fn avg_seconds(&self) -> Option<f64> {
        (self.dwell.visits > 0).then(|| self.dwell.micros as f64 / self.dwell.visits as f64 / 1e6)
    }
}

/// A row of `rva.gold_track_summary`.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryRow {
    /// The track of the row.
    pub key: TrackKey,
    /// The track as a whole.
    pub summary: TrackSummary,
}

/// A row of `rva.gold_zone_visits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitRow {
    /// The track of the row.
    pub key: TrackKey,
    /// The zone, the visit's number, and its times.
    pub visit: Visit,
}

/// A row of `rva.gold_line_crossings`.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossingRow {
    /// The track of the row.
    pub key: TrackKey,
    /// The line, the crossing's number, its time, direction and place.
    pub crossing: Crossing,
}

/// A row of `rva.gold_zone_minute`.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneMinuteRow {
    /// The camera of the row.
    pub camera: CameraKey,
    /// The zone's name.
    pub zone: Arc<str>,
    /// The start of the minute in microseconds since 1970.
    pub minute_us: i64,
    /// The number of frames of the camera while the zone was valid.
    pub frames: i64,
    /// The most people inside in one frame.
    pub people_max: i32,
    /// The mean number of people inside in a frame; `None` without a frame.
    pub people_avg: Option<f64>,
    /// The number of visits that begin.
    pub entered: i64,
    /// The number of visits that end.
    pub left: i64,
    /// The time of visits in this minute, in microseconds.
    pub dwell_us: i64,
}

impl ZoneMinuteRow {
    pub(crate) fn empty(key: &CameraHourKey, zone: Arc<str>, minute_us: i64) -> Self {
        Self {
            camera: key.camera_key(),
            zone,
            minute_us,
            frames: 0,
            people_max: 0,
            people_avg: None,
            entered: 0,
            left: 0,
            dwell_us: 0,
        }
    }
}

/// The rows of some hours in all ten tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HourRows {
    /// Rows of `rva.gold_minute_by_cam`.
    pub minute: Vec<MinuteRow>,
    /// Rows of `rva.gold_hour_by_cam`.
    pub hour: Vec<HourRow>,
    /// Rows of `rva.gold_people_per_minute`.
    pub people: Vec<PeopleRow>,
    /// Rows of `rva.gold_camera_minute`.
    pub camera_minute: Vec<CameraMinuteRow>,
    /// Rows of `rva.gold_zone_heatmap`.
    pub zone_heatmap: Vec<HeatmapRow>,
    /// Rows of `rva.gold_zone_dwell`.
    pub zone_dwell: Vec<DwellRow>,
    /// Rows of `rva.gold_track_summary`.
    pub track_summary: Vec<SummaryRow>,
    /// Rows of `rva.gold_zone_visits`.
    pub zone_visits: Vec<VisitRow>,
    /// Rows of `rva.gold_zone_minute`.
    pub zone_minute: Vec<ZoneMinuteRow>,
    /// Rows of `rva.gold_line_crossings`.
    pub line_crossings: Vec<CrossingRow>,
}

impl HourRows {
    /// Takes the rows of other hours.
    pub fn append(&mut self, other: Self) {
        self.minute.extend(other.minute);
        self.hour.extend(other.hour);
        self.people.extend(other.people);
        self.camera_minute.extend(other.camera_minute);
        self.zone_heatmap.extend(other.zone_heatmap);
        self.zone_dwell.extend(other.zone_dwell);
        self.track_summary.extend(other.track_summary);
        self.zone_visits.extend(other.zone_visits);
        self.zone_minute.extend(other.zone_minute);
        self.line_crossings.extend(other.line_crossings);
    }

    /// Puts the rows of tracks in order of their keys; the others come in order.
    pub(crate) fn sort(&mut self) {
        self.track_summary.sort_by(|a, b| a.key.cmp(&b.key));
        self.zone_visits
            .sort_by(|a, b| (&a.key, &a.visit.zone, a.visit.number).cmp(&(&b.key, &b.visit.zone, b.visit.number)));
        self.line_crossings.sort_by(|a, b| {
            (&a.key, &a.crossing.line, a.crossing.number).cmp(&(&b.key, &b.crossing.line, b.crossing.number))
        });
    }
}

impl TrackOutcome {
    pub(crate) fn summary(&self) -> SummaryRow {
        SummaryRow { key: self.key.clone(), summary: self.summary }
    }

    pub(crate) fn visits(&self) -> impl Iterator<Item = VisitRow> + '_ {
        self.visits.iter().map(|visit| VisitRow { key: self.key.clone(), visit: visit.clone() })
    }

    pub(crate) fn crossings(&self) -> impl Iterator<Item = CrossingRow> + '_ {
        self.crossings.iter().map(|crossing| CrossingRow { key: self.key.clone(), crossing: crossing.clone() })
    }
}

/// Returns the camera and hour that a frame belongs to.
pub fn hour_key(rows: &FrameRows) -> CameraHourKey {
    let key = &rows.frame.key;
    let hour_us = hour_of(rows.frame.capture_ts.as_micros());
    CameraHourKey { store: key.store.clone(), camera: key.camera.clone(), hour_us }
}

/// Returns the tracks' points of a frame: its people with a track.
pub fn track_points(rows: &FrameRows) -> impl Iterator<Item = (TrackKey, TrackPoint)> + '_ {
    let frame = &rows.frame;
    let people = rows.detections.iter().filter(|detection| detection.is_person());
    people.filter_map(move |person| {
        let (store, camera) = (frame.key.store.clone(), frame.key.camera.clone());
        let key = TrackKey { store, camera, run: frame.key.run.clone(), track_id: person.track_id? };
        let point = TrackPoint {
            frame_index: frame.key.frame_index,
            det_id: Arc::clone(&person.det_id),
            at_us: frame.capture_ts.as_micros(),
            bbox: person.bbox,
            img_w: frame.img_w,
            img_h: frame.img_h,
            conf: person.conf,
        };
        Some((key, point))
    })
}

/// Computes all of gold from all of silver at once: the definition that every incremental way must equal.
///
/// Frames may come in any order, each once. Rows come hour by hour, in order of store, camera and hour.
pub fn gold<'a>(frames: impl IntoIterator<Item = &'a FrameRows>, zones: &Zones, rules: &Rules) -> HourRows {
    let mut hours: BTreeMap<CameraHourKey, HourPartial> = BTreeMap::new();
    let mut paths: BTreeMap<TrackKey, (TrackPath, BTreeSet<i64>)> = BTreeMap::new();
    for rows in frames {
        let key = &rows.frame.key;
        let hour = hour_key(rows);
        for (track, point) in track_points(rows) {
            let (path, of_hours) = paths.entry(track).or_default();
            path.push(point);
            of_hours.insert(hour.hour_us);
        }
        hours.entry(hour).or_default().absorb(rows, zones.of(&key.store, &key.camera), rules);
    }
    let mut outcomes: BTreeMap<CameraHourKey, Vec<TrackOutcome>> = BTreeMap::new();
    for (key, (mut path, of_hours)) in paths {
        let of_camera = zones.of(&key.store, &key.camera);
        let Some(outcome) = path.outcome(key, of_camera, rules) else { continue };
        for hour_us in of_hours {
            let (store, camera) = (outcome.key.store.clone(), outcome.key.camera.clone());
            outcomes.entry(CameraHourKey { store, camera, hour_us }).or_default().push(outcome.clone());
        }
    }
    let mut all = HourRows::default();
    for (key, mut partial) in hours {
        let tracks = outcomes.remove(&key).unwrap_or_default();
        all.append(partial.rows(&key, &tracks.iter().collect::<Vec<_>>()));
    }
    all
}

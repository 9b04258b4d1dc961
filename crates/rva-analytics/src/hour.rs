//! One camera's hour: partial sums of its frames, in any order, and the rows of gold that they make.

use crate::{
    CameraZones, FrameRows, Rules, SilverDetection, anchor,
    gold::{
        CameraHourKey, CameraMinuteRow, CellKey, DwellRow, HeatmapRow, HourRow, HourRows, MinuteRow, PeopleRow,
        ZoneMinuteRow,
    },
    hour_of, minute_of, minute_us,
    track::{Cell, CellDwell, TrackOutcome, cell_of, conf_units},
};
use rva_types::RunId;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

/// A person: a run and one of its tracks.
type Person = (RunId, i64);

/// Partial sums of the frames of one camera in one hour.
///
/// Frames come in any order, each once. [`merge`](Self::merge) is associative and commutative, so the work can be split
/// in any way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HourPartial {
    minutes: BTreeMap<i64, MinutePartial>,
    cells: BTreeMap<Cell, CellPartial>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct MinutePartial {
    times: Vec<i64>,
    runs: BTreeSet<RunId>,
    people: Sums,
    tracks: HashSet<Person>,
    conf: i64,
    area: i64,
    zones: BTreeMap<Arc<str>, Sums>,
}

/// Sums over frames: their number, the number of people in them, and the most in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    frames: i64,
    people: i64,
    most: i32,
}

impl Sums {
    fn add(&mut self, people: i32) {
        self.frames += 1;
        self.people += i64::from(people);
        self.most = self.most.max(people);
    }

    fn merge(&mut self, other: Self) {
        self.frames += other.frames;
        self.people += other.people;
        self.most = self.most.max(other.most);
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct CellPartial {
    hits: i64,
    tracks: HashSet<Person>,
}

/// Returns the share of the picture that a box takes, in thousand millionths, rounded down.
fn area_units(bbox: [i32; 4], img_w: i32, img_h: i32) -> i64 {
    let side = |low: i32, high: i32| i128::from(high) - i128::from(low);
    let area = side(bbox[0], bbox[2]) * side(bbox[1], bbox[3]) * 1_000_000_000;
    i64::try_from(area / (i128::from(img_w) * i128::from(img_h))).unwrap_or(i64::MAX)
}

/// Returns a mean of whole units, divided once; `None` of nothing.
fn mean(sum: i64, count: i64, unit: f64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64 / unit)
}

impl HourPartial {
    /// Takes a frame of the hour with its detections. `zones` are those of the camera.
    pub fn absorb(&mut self, rows: &FrameRows, zones: &CameraZones, rules: &Rules) {
        let frame = &rows.frame;
        let at_us = frame.capture_ts.as_micros();
        let minute = self.minutes.entry(minute_of(at_us)).or_default();
        minute.times.push(at_us);
        minute.runs.insert(frame.key.run.clone());
        let people = || rows.detections.iter().filter(|detection| detection.is_person());
        let anchor_of = |detection: &SilverDetection| anchor(detection.bbox, frame.img_w, frame.img_h);
        let count = |of: usize| i32::try_from(of).unwrap_or(i32::MAX);
        minute.people.add(count(people().count()));
        for person in people() {
            minute.conf += conf_units(person.conf);
            minute.area += area_units(person.bbox, frame.img_w, frame.img_h);
            let cell = self.cells.entry(cell_of(anchor_of(person), rules)).or_default();
            cell.hits += 1;
            if let Some(track) = person.track_id {
                minute.tracks.insert((frame.key.run.clone(), track));
                cell.tracks.insert((frame.key.run.clone(), track));
            }
        }
        for (definition, polygon) in zones.zones().filter(|(definition, _)| definition.is_valid_at(at_us)) {
            let inside = people().filter(|person| polygon.holds(anchor_of(person))).count();
            minute.zones.entry(Arc::clone(&definition.name)).or_default().add(count(inside));
        }
    }

    /// Takes the sums of other frames of the same hour.
    pub fn merge(&mut self, other: Self) {
        for (at, theirs) in other.minutes {
            let mine = self.minutes.entry(at).or_default();
            mine.times.extend(theirs.times);
            mine.runs.extend(theirs.runs);
            mine.people.merge(theirs.people);
            mine.tracks.extend(theirs.tracks);
            mine.conf += theirs.conf;
            mine.area += theirs.area;
            for (zone, sums) in theirs.zones {
                mine.zones.entry(zone).or_default().merge(sums);
            }
        }
        for (cell, theirs) in other.cells {
            let mine = self.cells.entry(cell).or_default();
            mine.hits += theirs.hits;
            mine.tracks.extend(theirs.tracks);
        }
    }

    /// Returns the bytes that the sums take in memory, about.
    pub fn memory_bytes(&self) -> usize {
        let people = |set: &HashSet<Person>| set.capacity() * (size_of::<Person>() + 1);
        let minutes = self.minutes.values().map(|minute| {
            size_of::<MinutePartial>()
                + minute.times.capacity() * size_of::<i64>()
                + people(&minute.tracks)
                + (minute.runs.len() + minute.zones.len()) * 64
        });
        let cells = self.cells.values().map(|cell| size_of::<CellPartial>() + people(&cell.tracks));
        minutes.chain(cells).sum()
    }

    /// Returns the rows of the hour in all ten tables, each table in order of its key.
    ///
    /// `tracks` are the outcomes of every track with a detection in this hour; rows of theirs that belong to other
    /// hours are left out. A row of a track belongs to the hour of its time column.
    pub fn rows(&mut self, key: &CameraHourKey, tracks: &[&TrackOutcome]) -> HourRows {
        let is_here = |at_us: i64| hour_of(at_us) == key.hour_us;
        let mut rows = HourRows {
            track_summary: tracks
                .iter()
                .filter(|track| is_here(track.summary.start_us))
                .map(|track| track.summary())
                .collect(),
            zone_visits: tracks
                .iter()
                .flat_map(|track| track.visits())
                .filter(|row| is_here(row.visit.entered_us))
                .collect(),
            line_crossings: tracks
                .iter()
                .flat_map(|track| track.crossings())
                .filter(|row| is_here(row.crossing.at_us))
                .collect(),
            zone_minute: self.zone_minutes(key, tracks),
            zone_dwell: dwell(key, tracks),
            hour: self.hour(key).into_iter().collect(),
            ..HourRows::default()
        };
        for (at, minute) in &mut self.minutes {
            minute.times.sort_unstable();
            rows.minute.push(minute.minute(key, *at));
            rows.people.push(minute.people(key, *at));
            rows.camera_minute.push(minute.camera(key, *at));
        }
        let heatmap = self.cells.iter().map(|(&cell, found)| HeatmapRow {
            key: CellKey { hour: key.clone(), cell },
            hits: found.hits,
            unique_tracks: found.tracks.len() as i64,
        });
        rows.zone_heatmap = heatmap.collect();
        rows.sort();
        rows
    }

    fn hour(&self, key: &CameraHourKey) -> Option<HourRow> {
        let minutes = || self.minutes.values();
        let detections: i64 = minutes().map(|minute| minute.people.people).sum();
        let tracks: HashSet<&Person> = minutes().flat_map(|minute| &minute.tracks).collect();
        (!self.minutes.is_empty()).then(|| HourRow {
            hour: key.clone(),
            detection_count: detections,
            unique_tracks: tracks.len() as i64,
            avg_conf: mean(minutes().map(|minute| minute.conf).sum(), detections, 10_000.0),
        })
    }

    fn zone_minutes(&self, key: &CameraHourKey, tracks: &[&TrackOutcome]) -> Vec<ZoneMinuteRow> {
        let mut found: BTreeMap<(Arc<str>, i64), ZoneMinuteRow> = BTreeMap::new();
        let mut row_of = |zone: &Arc<str>, at: i64, change: &dyn Fn(&mut ZoneMinuteRow)| {
            let new = || ZoneMinuteRow::empty(key, Arc::clone(zone), at);
            change(found.entry((Arc::clone(zone), at)).or_insert_with(new));
        };
        for (&at, minute) in &self.minutes {
            for (zone, sums) in &minute.zones {
                row_of(zone, at, &|row| {
                    row.frames = sums.frames;
                    row.people_max = sums.most;
                    row.people_avg = mean(sums.people, sums.frames, 1.0);
                });
            }
        }
        let is_here = |at: i64| hour_of(at) == key.hour_us;
        for visit in tracks.iter().flat_map(|track| &track.visits) {
            let last = minute_of(visit.left_us);
            let mut at = minute_of(visit.entered_us).max(key.hour_us);
            while at <= last && is_here(at) {
                let micros = visit.left_us.min(at + minute_us()) - visit.entered_us.max(at);
                row_of(&visit.zone, at, &|row| {
                    row.entered += i64::from(minute_of(visit.entered_us) == at);
                    row.left += i64::from(last == at);
                    row.dwell_us += micros.max(0);
                });
                at += minute_us();
            }
        }
        found.into_values().collect()
    }
}

fn dwell(key: &CameraHourKey, tracks: &[&TrackOutcome]) -> Vec<DwellRow> {
    let mut cells: BTreeMap<Cell, CellDwell> = BTreeMap::new();
    for track in tracks {
        for (&(_, cell), found) in track.dwell.range((key.hour_us, (0, 0))..=(key.hour_us, (u8::MAX, u8::MAX))) {
            let sum = cells.entry(cell).or_default();
            sum.visits += found.visits;
            sum.micros += found.micros;
        }
    }
    cells.into_iter().map(|(cell, dwell)| DwellRow { key: CellKey { hour: key.clone(), cell }, dwell }).collect()
}

impl MinutePartial {
    fn minute(&self, key: &CameraHourKey, at: i64) -> MinuteRow {
        MinuteRow {
            camera: key.camera_key(),
            minute_us: at,
            detection_count: self.people.people,
            unique_tracks: self.tracks.len() as i64,
            avg_conf: mean(self.conf, self.people.people, 10_000.0),
            bbox_area_ratio_avg: mean(self.area, self.people.people, 1e9),
        }
    }

    fn people(&self, key: &CameraHourKey, at: i64) -> PeopleRow {
        PeopleRow {
            camera: key.camera_key(),
            minute_us: at,
            detections: self.people.people,
            unique_people: self.tracks.len() as i64,
            frames: self.people.frames,
            people_max: self.people.most,
            people_avg: mean(self.people.people, self.people.frames, 1.0),
        }
    }

    /// Returns the minute's row of times, which must be in order.
    fn camera(&self, key: &CameraHourKey, at: i64) -> CameraMinuteRow {
        CameraMinuteRow {
            camera: key.camera_key(),
            minute_us: at,
            frames: self.people.frames,
            first_us: self.times.first().copied().unwrap_or(at),
            last_us: self.times.last().copied().unwrap_or(at),
            longest_gap_us: self.times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0),
            runs: self.runs.len() as i64,
        }
    }
}

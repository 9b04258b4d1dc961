//! Tables of gold, row by row as a test wants them.

use rva_lake::{
    CameraMinute, Cell, Cells, HourByCam, Lake, LakeOptions, LineCrossings, PeoplePerMinute, Shape, TrackSummary,
    ZoneDwell, ZoneHeatmap, ZoneTable, ZoneVisits,
};
use rva_testkit::lake::put_rows;
use rva_types::Timestamp;
use std::{path::Path, sync::Arc};

fn text(text: &str) -> Cell {
    Cell::Text(Arc::from(text))
}

/// A time of 2026, as `01-31T08:00:00`.
pub fn time(text: &str) -> Cell {
    Cell::Time(Timestamp::parse(&format!("2026-{text}Z")).unwrap().as_micros())
}

/// A data folder whose gold is written by hand.
pub struct Gold {
    lake: Lake,
    runtime: tokio::runtime::Runtime,
}

impl Gold {
    pub fn of(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = folder.join("rva-data");
        let opened = runtime.block_on(Lake::open_embedded(&folder, LakeOptions::default()));
        let lake = opened.unwrap().for_job(rva_lake::REFINE_JOB);
        Self { lake, runtime }
    }

    /// Makes all tables that a report reads.
    pub fn make_tables(&self) {
        self.put::<PeoplePerMinute>(vec![]);
        self.put::<CameraMinute>(vec![]);
        self.put::<HourByCam>(vec![]);
        self.put::<TrackSummary>(vec![]);
        self.put::<LineCrossings>(vec![]);
        self.put::<ZoneVisits>(vec![]);
        self.put::<ZoneHeatmap>(vec![]);
        self.put::<ZoneDwell>(vec![]);
        self.put::<ZoneTable>(vec![]);
    }

    /// Adds rows to a table, which is made where it is missing.
    pub fn put<T: Shape>(&self, rows: Vec<Cells>) {
        self.runtime.block_on(put_rows::<T>(&self.lake, rows));
    }
}

/// Writes the gold of a shop: the first camera has a line `sill` and looks in four minutes of two days, the second one
/// has a zone `queue` and looks in two.
pub fn shop(folder: &Path, store: &str, [door, till]: [&str; 2]) {
    let gold = Gold::of(folder);
    gold.make_tables();
    let key = |camera: &str, at: &str| vec![text(store), text(camera), time(at)];
    let row = |camera: &str, at: &str, more: Vec<Cell>| [key(camera, at), more].concat();
    let people = |camera: &str, at: &str, detections: i64, frames: i64, most: i32| {
        let average = Cell::Double(detections as f64 / frames as f64);
        row(camera, at, vec![Cell::Long(detections), Cell::Long(1), Cell::Long(frames), Cell::Int(most), average])
    };
    gold.put::<PeoplePerMinute>(vec![
        people(door, "01-31T08:01:00", 10, 10, 2),
        people(door, "01-31T09:30:00", 20, 10, 4),
        people(door, "01-31T11:30:00", 0, 10, 0),
        people(door, "02-01T09:30:00", 5, 10, 1),
        people(till, "01-31T08:01:00", 5, 10, 1),
        people(till, "02-01T09:30:00", 5, 10, 1),
    ]);
    let minute = |camera: &str, at: &str, gap: f64| {
        let more = vec![Cell::Long(10), time(at), time(at), Cell::Double(gap), Cell::Long(1)];
        row(camera, at, more)
    };
    gold.put::<CameraMinute>(vec![
        minute(door, "01-31T08:01:00", 0.5),
        minute(door, "01-31T09:30:00", 2.5),
        minute(door, "01-31T11:30:00", 0.5),
        minute(door, "02-01T09:30:00", 0.5),
        minute(till, "01-31T08:01:00", 0.5),
        minute(till, "02-01T09:30:00", 0.5),
    ]);
    let hour = |camera: &str, at: &str| row(camera, at, vec![Cell::Long(1), Cell::Long(1), Cell::Double(0.9)]);
    gold.put::<HourByCam>(vec![
        hour(door, "01-31T08:00:00"),
        hour(door, "01-31T09:00:00"),
        hour(door, "01-31T11:00:00"),
        hour(door, "02-01T09:00:00"),
        hour(till, "01-31T08:00:00"),
        hour(till, "02-01T09:00:00"),
    ]);
    people_of(&gold, store, [door, till]);
}

/// Tracks, crossings, visits and cells of the same shop.
fn people_of(gold: &Gold, store: &str, [door, till]: [&str; 2]) {
    let of = |camera: &str| vec![text(store), text(camera)];
    let track = |camera: &str, id: i64, at: &str| {
        let numbers = vec![Cell::Double(1.0); 10];
        let head = vec![text("run"), Cell::Long(id), Cell::Long(9), time(at), time(at)];
        [of(camera), head, numbers].concat()
    };
    gold.put::<TrackSummary>(vec![
        track(door, 1, "01-31T08:01:01"),
        track(door, 2, "01-31T09:30:01"),
        track(till, 1, "01-31T08:01:02"),
    ]);
    let crossing = |id: i64, at: &str, direction: &str| {
        let rest = vec![Cell::Int(1), time(at), text(direction), Cell::Double(0.5), Cell::Double(0.5)];
        [of(door), vec![text("run"), Cell::Long(id), text("sill")], rest].concat()
    };
    gold.put::<LineCrossings>(vec![
        crossing(1, "01-31T08:01:05", "in"),
        crossing(2, "01-31T09:30:05", "in"),
        crossing(3, "01-31T09:30:06", "in"),
        crossing(4, "01-31T09:30:07", "out"),
    ]);
    let visit = |id: i64, number: i32, at: &str, seconds: f64| {
        let rest = vec![text("queue"), Cell::Int(number), time(at), time(at), Cell::Double(seconds)];
        [of(till), vec![text("run"), Cell::Long(id)], rest].concat()
    };
    gold.put::<ZoneVisits>(vec![
        visit(1, 1, "01-31T08:01:05", 5.0),
        visit(1, 2, "01-31T08:01:30", 10.0),
        visit(2, 1, "02-01T09:30:05", 45.0),
    ]);
    let cell = |at: &str| [of(door), vec![time(at), Cell::Int(3), Cell::Int(9)]].concat();
    let hits = |at: &str, hits: i64| [cell(at), vec![Cell::Long(hits), Cell::Long(1)]].concat();
    gold.put::<ZoneHeatmap>(vec![hits("01-31T08:00:00", 10), hits("01-31T09:00:00", 20)]);
    let dwell = |at: &str, visits: i64, seconds: f64| {
        [cell(at), vec![Cell::Long(visits), Cell::Double(seconds), Cell::Double(seconds)]].concat()
    };
    gold.put::<ZoneDwell>(vec![dwell("01-31T08:00:00", 1, 2.5), dwell("01-31T09:00:00", 1, 5.0)]);
    let drawn = |camera: &str, name: &str, kind: &str| {
        [of(camera), vec![text(name), text(kind), text("[]"), time("01-01T00:00:00"), Cell::Null]].concat()
    };
    gold.put::<ZoneTable>(vec![drawn(door, "sill", "line"), drawn(till, "queue", "zone")]);
}

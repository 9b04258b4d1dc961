//! Turns rows of bronze into rows of the three tables.

use crate::counters::RefineCounters;
use crate::gold::extents::CameraOf;
use crate::ids::{Ids, text, text_cell, time_cell, whole};
use rva_analytics::{BronzeRow, Exploded, FrameKey, FrameRows, Reject, RejectReason, Rules, explode};
use rva_lake::{Cell, CellKind, Cells, Columns};
use rva_types::{CameraId, StoreId, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The columns of bronze, in the order of the places below.
pub(crate) const BRONZE: &Columns = &[
    ("schema_version", CellKind::Text),
    ("pipeline_run_id", CellKind::Text),
    ("frame_index", CellKind::Long),
    ("payload", CellKind::Text),
    ("camera_id", CellKind::Text),
    ("store_id", CellKind::Text),
    ("ingest_ts", CellKind::Time),
];

const DAY_US: i64 = 86_400_000_000;

/// A shop and one of its days, which is a table partition of silver.
pub(crate) type StoreDay = (Arc<str>, i64);

/// Returns the start of the day (UTC) that holds a moment, in microseconds since 1970.
pub(crate) fn day_of(micros: i64) -> i64 {
    micros.div_euclid(DAY_US) * DAY_US
}

/// Returns the end of the day that starts then.
pub(crate) fn day_after(day_us: i64) -> i64 {
    day_us.saturating_add(DAY_US)
}

/// The rows of the three tables that aren't written yet.
#[derive(Debug, Default)]
pub(crate) struct SilverRows {
    pub frames: Vec<Cells>,
    pub detections: Vec<Cells>,
    pub rejects: Vec<Cells>,
}

/// The rows that are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) enum Wanted {
    /// Every one.
    #[default]
    All,
    /// The frames of these days, and every reject of their shops.
    Days(BTreeSet<StoreDay>),
    /// The frames since a moment, in microseconds since 1970, and every reject.
    Since(i64),
}

impl Wanted {
    fn holds(&self, store: &str, capture_us: i64) -> bool {
        match self {
            Self::All => true,
            Self::Since(from) => capture_us >= *from,
            Self::Days(days) => days.contains(&(Arc::from(store), day_of(capture_us))),
        }
    }
}

/// Turns rows of bronze into rows of silver.
#[derive(Debug, Default)]
pub(crate) struct Exploder {
    ids: Ids,
    rules: Rules,
    pub wanted: Wanted,
    /// The cameras of the rows so far.
    pub seen: BTreeSet<CameraOf>,
    /// The camera of the row before.
    last: Option<(StoreId, CameraId)>,
}

impl Exploder {
    /// Returns one that wants every row.
    pub(crate) fn of(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Adds the rows that a row of bronze becomes, and counts them.
    pub(crate) fn add(&mut self, row: &Cells, now: Timestamp, into: &mut SilverRows, counters: &mut RefineCounters) {
        counters.bronze_rows += 1;
        let Some(exploded) = self.explode(row) else {
            *counters.rejects.entry(RejectReason::PayloadShape).or_default() += 1;
            into.rejects.push(unreadable(row, now));
            return;
        };
        counters.under_threshold += exploded.under_threshold;
        for reject in &exploded.rejects {
            *counters.rejects.entry(reject.reason).or_default() += 1;
            into.rejects.push(reject_cells(reject, now));
        }
        let Some(rows) = &exploded.rows else { return };
        self.see(&rows.frame.key);
        if self.wanted.holds(rows.frame.key.store.as_str(), rows.frame.capture_ts.as_micros()) {
            let version = text(row, 0).cloned().map_or(Cell::Null, Cell::Text);
            into.detections.extend(detection_cells(rows, &version, now));
            into.frames.push(frame_cells(rows, now));
        }
    }

    fn see(&mut self, key: &FrameKey) {
        let is_last = self.last.as_ref().is_some_and(|(store, camera)| *store == key.store && *camera == key.camera);
        if !is_last {
            self.last = Some((key.store.clone(), key.camera.clone()));
            self.seen.insert((Arc::from(key.store.as_str()), Arc::from(key.camera.as_str())));
        }
    }

    /// Returns the shop of a row of bronze, and the day that it lies in; `None`: it is a reject alone.
    pub(crate) fn day(&mut self, row: &Cells) -> (Arc<str>, Option<i64>) {
        let store = text(row, 5).cloned().unwrap_or_else(|| Arc::from(""));
        let rows = self.explode(row).and_then(|exploded| exploded.rows);
        (store, rows.map(|rows| day_of(rows.frame.capture_ts.as_micros())))
    }

    /// Applies the definition to a row; `None`: no rva wrote it, for it lacks a shop, a camera, a run or a number.
    fn explode(&mut self, row: &Cells) -> Option<Exploded> {
        let FrameKey { store, camera, run, frame_index } = self.ids.frame_key(row, [1, 5, 4, 2])?;
        let bronze = BronzeRow {
            schema_version: text(row, 0).map_or("", |version| version),
            run: &run,
            frame_index,
            payload: text(row, 3).map_or("", |payload| payload),
            camera: &camera,
            store: &store,
            ingest_ts: Timestamp::from_micros(whole(row, 6)?),
        };
        Some(explode(&bronze, &self.rules))
    }
}

fn key_cells(key: &FrameKey) -> [Cell; 4] {
    let FrameKey { store, camera, run, frame_index } = key;
    [text_cell(run.as_str()), text_cell(store.as_str()), text_cell(camera.as_str()), Cell::Long(*frame_index)]
}

fn frame_cells(rows: &FrameRows, now: Timestamp) -> Cells {
    let frame = &rows.frame;
    let numbers = [frame.img_w, frame.img_h, frame.people, frame.detections].map(Cell::Int);
    let key = key_cells(&frame.key).into_iter();
    key.chain([time_cell(frame.capture_ts)]).chain(numbers).chain([time_cell(now)]).collect()
}

fn detection_cells(rows: &FrameRows, version: &Cell, now: Timestamp) -> impl Iterator<Item = Cells> {
    let frame = &rows.frame;
    let shared: Vec<Cell> = [version.clone()]
        .into_iter()
        .chain(key_cells(&frame.key))
        .chain([time_cell(frame.capture_ts), Cell::Int(frame.img_w), Cell::Int(frame.img_h)])
        .collect();
    rows.detections.iter().map(move |found| {
        let mut cells = shared.clone();
        cells.push(Cell::Text(Arc::clone(&found.det_id)));
        cells.push(found.class_name.clone().map_or(Cell::Null, Cell::Text));
        cells.push(found.class_id.map_or(Cell::Null, Cell::Int));
        cells.push(Cell::Double(found.conf));
        cells.extend(found.bbox.map(Cell::Int));
        cells.push(found.track_id.map_or(Cell::Null, Cell::Long));
        cells.push(time_cell(now));
        cells
    })
}

fn reject_cells(reject: &Reject, now: Timestamp) -> Cells {
    let rest = [
        reject.det_id.as_deref().map_or(Cell::Null, text_cell),
        text_cell(reject.reason.code()),
        text_cell(&reject.detail),
        time_cell(now),
    ];
    key_cells(&reject.key).into_iter().chain(rest).collect()
}

/// Returns the reject of a row that no rva wrote.
fn unreadable(row: &Cells, now: Timestamp) -> Cells {
    let cell = |at: usize| row.get(at).cloned().unwrap_or(Cell::Null);
    let detail =
        "found a row without store, camera, run, frame index or ingest time, wanted all of them, 1 to 64 bytes each";
    vec![
        cell(1),
        cell(5),
        cell(4),
        cell(2),
        Cell::Null,
        text_cell(RejectReason::PayloadShape.code()),
        text_cell(detail),
        time_cell(now),
    ]
}

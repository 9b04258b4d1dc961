//! Turns rows of the definition into rows of the ten tables.

use crate::ids::{double_cell, text_cell};
use rva_analytics::{CameraHourKey, CameraKey, Cell as GridCell, HourRows, TrackKey};
use rva_lake::{Cell, Cells};

/// The tables in the order in which they are committed: the tracks first, whose extents the others are worked out by.
pub(crate) const NAMES: [&str; 10] = [
    "gold_track_summary",
    "gold_minute_by_cam",
    "gold_hour_by_cam",
    "gold_people_per_minute",
    "gold_camera_minute",
    "gold_zone_heatmap",
    "gold_zone_dwell",
    "gold_zone_visits",
    "gold_zone_minute",
    "gold_line_crossings",
];

/// The place of the column of time, by table.
pub(crate) const TIME_AT: [usize; 10] = [5, 2, 2, 2, 2, 2, 2, 6, 3, 6];

fn seconds(micros: i64) -> Cell {
    Cell::Double(micros as f64 / 1e6)
}

fn camera(key: &CameraKey) -> [Cell; 2] {
    [text_cell(key.store.as_str()), text_cell(key.camera.as_str())]
}

fn hour(key: &CameraHourKey) -> [Cell; 3] {
    [text_cell(key.store.as_str()), text_cell(key.camera.as_str()), Cell::Time(key.hour_us)]
}

fn track(key: &TrackKey) -> [Cell; 4] {
    [
        text_cell(key.store.as_str()),
        text_cell(key.camera.as_str()),
        text_cell(key.run.as_str()),
        Cell::Long(key.track_id),
    ]
}

fn grid(cell: GridCell) -> [Cell; 2] {
    [Cell::Int(i32::from(cell.0)), Cell::Int(i32::from(cell.1))]
}

fn row<const N: usize, const M: usize>(key: [Cell; N], rest: [Cell; M]) -> Cells {
    key.into_iter().chain(rest).collect()
}

/// Returns the rows of a table, by its place in [`NAMES`].
pub(crate) fn cells_of(at: usize, rows: &HourRows) -> Vec<Cells> {
    match at {
        0 => summaries(rows),
        1 => minutes(rows),
        2 => hours(rows),
        3 => people(rows),
        4 => camera_minutes(rows),
        5 => heatmap(rows),
        6 => dwell(rows),
        7 => visits(rows),
        8 => zone_minutes(rows),
        _ => crossings(rows),
    }
}

fn summaries(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::SummaryRow| {
        let summary = &found.summary;
        row(
            track(&found.key),
            [
                Cell::Long(summary.frames),
                Cell::Time(summary.start_us),
                Cell::Time(summary.end_us),
                Cell::Double(summary.duration_seconds()),
                Cell::Double(summary.min_x),
                Cell::Double(summary.max_x),
                Cell::Double(summary.max_x - summary.min_x),
                Cell::Double(summary.min_y),
                Cell::Double(summary.max_y),
                Cell::Double(summary.max_y - summary.min_y),
                Cell::Double(summary.avg_x),
                Cell::Double(summary.avg_y),
                Cell::Double(summary.avg_conf),
            ],
        )
    };
    rows.track_summary.iter().map(of).collect()
}

fn minutes(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::MinuteRow| {
        let rest = [
            Cell::Time(found.minute_us),
            Cell::Long(found.detection_count),
            Cell::Long(found.unique_tracks),
            double_cell(found.avg_conf),
            double_cell(found.bbox_area_ratio_avg),
        ];
        row(camera(&found.camera), rest)
    };
    rows.minute.iter().map(of).collect()
}

fn hours(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::HourRow| {
        let rest = [Cell::Long(found.detection_count), Cell::Long(found.unique_tracks), double_cell(found.avg_conf)];
        row(hour(&found.hour), rest)
    };
    rows.hour.iter().map(of).collect()
}

fn people(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::PeopleRow| {
        let rest = [
            Cell::Time(found.minute_us),
            Cell::Long(found.detections),
            Cell::Long(found.unique_people),
            Cell::Long(found.frames),
            Cell::Int(found.people_max),
            double_cell(found.people_avg),
        ];
        row(camera(&found.camera), rest)
    };
    rows.people.iter().map(of).collect()
}

fn camera_minutes(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::CameraMinuteRow| {
        let rest = [
            Cell::Time(found.minute_us),
            Cell::Long(found.frames),
            Cell::Time(found.first_us),
            Cell::Time(found.last_us),
            seconds(found.longest_gap_us),
            Cell::Long(found.runs),
        ];
        row(camera(&found.camera), rest)
    };
    rows.camera_minute.iter().map(of).collect()
}

fn heatmap(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::HeatmapRow| {
        let [x, y] = grid(found.key.cell);
        row(hour(&found.key.hour), [x, y, Cell::Long(found.hits), Cell::Long(found.unique_tracks)])
    };
    rows.zone_heatmap.iter().map(of).collect()
}

fn dwell(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::DwellRow| {
        let [x, y] = grid(found.key.cell);
        let rest = [
            x,
            y,
            Cell::Long(found.dwell.visits),
            Cell::Double(found.total_seconds()),
            double_cell(found.avg_seconds()),
        ];
        row(hour(&found.key.hour), rest)
    };
    rows.zone_dwell.iter().map(of).collect()
}

fn visits(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::VisitRow| {
        let visit = &found.visit;
        let rest = [
            text_cell(&visit.zone),
            Cell::Int(visit.number),
            Cell::Time(visit.entered_us),
            Cell::Time(visit.left_us),
            Cell::Double(visit.dwell_seconds()),
        ];
        row(track(&found.key), rest)
    };
    rows.zone_visits.iter().map(of).collect()
}

fn zone_minutes(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::ZoneMinuteRow| {
        let rest = [
            text_cell(&found.zone),
            Cell::Time(found.minute_us),
            Cell::Long(found.frames),
            Cell::Int(found.people_max),
            double_cell(found.people_avg),
            Cell::Long(found.entered),
            Cell::Long(found.left),
            seconds(found.dwell_us),
        ];
        row(camera(&found.camera), rest)
    };
    rows.zone_minute.iter().map(of).collect()
}

fn crossings(rows: &HourRows) -> Vec<Cells> {
    let of = |found: &rva_analytics::CrossingRow| {
        let crossing = &found.crossing;
        let rest = [
            text_cell(&crossing.line),
            Cell::Int(crossing.number),
            Cell::Time(crossing.at_us),
            text_cell(crossing.direction.word()),
            Cell::Double(crossing.anchor.x),
            Cell::Double(crossing.anchor.y),
        ];
        row(track(&found.key), rest)
    };
    rows.line_crossings.iter().map(of).collect()
}

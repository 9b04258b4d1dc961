#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use super::*;
use crate::clock::Zone;
use crate::rows::Shape;
use crate::rows::{Began, CellSeen, Crossed, Gap, Looked, Peak, Seen, Visited};

/// 2026-01-31T08:00:00Z.
pub(crate) const EIGHT: i64 = 1_769_846_400_000_000;
const MINUTE: i64 = MINUTE_US;

pub(crate) fn question() -> Question {
    Question {
        store: "store_01".into(),
        cameras: vec!["door".into(), "till".into()],
        from_us: EIGHT,
        to_us: EIGHT + 2 * HOUR_US,
        zone: Zone::parse("Europe/Berlin").unwrap(),
        entrances: vec![],
    }
}

fn seen(camera: &str, minute: i64, detections: i64, frames: i64, people_max: i64) -> Seen {
    Seen { camera: camera.into(), at_us: EIGHT + minute * MINUTE, detections, frames, people_max }
}

fn looked(camera: &str, minute: i64) -> Looked {
    let at_us = EIGHT + minute * MINUTE;
    Looked { camera: camera.into(), at_us, minutes: 1, first_us: at_us, last_us: at_us, longest_gap_seconds: 0.5 }
}

fn crossed(line: &str, minute: i64, came_in: i64, went_out: i64) -> Crossed {
    Crossed { camera: "door".into(), line: line.into(), at_us: EIGHT + minute * MINUTE, came_in, went_out }
}

fn shape(camera: &str, name: &str, kind: ShapeKind) -> Shape {
    Shape { camera: camera.into(), name: name.into(), kind, valid_from_us: 0, valid_to_us: None }
}

/// Two cameras: `door` looks at the minutes 1, 2 and 70, `till` at minute 1. Two lines, two zones.
pub(crate) fn rows() -> Rows {
    let began = |camera: &str, minute: i64, tracks: i64| Began {
        camera: camera.into(),
        at_us: EIGHT + minute * MINUTE,
        tracks,
    };
    let peak =
        |camera: &str, minute: i64, people: i64| Peak { camera: camera.into(), at_us: EIGHT + minute * MINUTE, people };
    let visited = Visited {
        camera: "till".into(),
        zone: "queue".into(),
        visits: 4,
        tracks: 3,
        dwell_seconds_total: 50.0,
        dwell_seconds_median: 10.0,
        dwell_seconds_max: 25.5,
    };
    let cell =
        |x: i64, y: i64, hits: i64| CellSeen { camera: "door".into(), x, y, hits, dwell_seconds: 1.5, visits: 1 };
    Rows {
        seen: vec![
            seen("door", 1, 30, 10, 4),
            seen("door", 2, 0, 20, 0),
            seen("door", 70, 30, 10, 5),
            seen("till", 1, 5, 10, 1),
        ],
        peaks: vec![peak("door", 70, 5), peak("till", 1, 1)],
        began: vec![began("door", 1, 3), began("door", 70, 6), began("till", 1, 2)],
        shapes: vec![
            shape("door", "sill", ShapeKind::Line),
            shape("door", "stairs", ShapeKind::Line),
            shape("till", "queue", ShapeKind::Zone),
            shape("till", "shelf", ShapeKind::Zone),
        ],
        crossed: vec![crossed("sill", 1, 2, 1), crossed("sill", 70, 5, 0), crossed("stairs", 2, 1, 4)],
        visited: vec![visited],
        cells: vec![cell(3, 9, 40), cell(0, 2, 7)],
        looked: vec![looked("door", 1), looked("door", 2), looked("door", 70), looked("till", 1)],
        gaps: vec![Gap { camera: "door".into(), from_us: EIGHT + 3 * MINUTE, to_us: EIGHT + 70 * MINUTE }],
    }
}

fn without_lines() -> Rows {
    let mut rows = rows();
    rows.shapes.retain(|shape| shape.kind == ShapeKind::Zone);
    rows.crossed.clear();
    rows
}

#[test]
fn visitors_are_crossings_in_of_every_line_or_of_those_that_are_named() {
    let all = Report::of(&question(), &rows());
    let line = |name: &str| LineId { camera: "door".into(), line: name.into() };
    assert_eq!(
        all.visitors,
        Visitors { count: 8, counted_by: CountedBy::CrossingsIn, lines: vec![line("sill"), line("stairs")] }
    );
    let one = Report::of(&Question { entrances: vec!["sill".into()], ..question() }, &rows());
    assert_eq!(one.visitors, Visitors { count: 7, counted_by: CountedBy::CrossingsIn, lines: vec![line("sill")] });
    assert_eq!(one.hours[0].came_in, Some(2), "hours count what the sum counts");
    let lines: Vec<_> = one.lines.iter().map(|l| (l.line.as_str(), l.came_in, l.went_out, l.is_entrance)).collect();
    assert_eq!(lines, [("sill", 7, 1, true), ("stairs", 1, 4, false)]);
}

#[test]
fn without_a_line_visitors_are_tracks_and_the_report_says_so() {
    let report = Report::of(&question(), &without_lines());
    assert_eq!(report.visitors, Visitors { count: 11, counted_by: CountedBy::UniqueTracks, lines: vec![] });
    assert!(report.notes[0].contains("unique tracks, because no line is drawn"), "{:?}", report.notes);
    assert_eq!(report.hours.iter().map(|hour| hour.visitors).collect::<Vec<_>>(), [Some(5), Some(6)]);
    assert_eq!(report.hours[0].came_in, None);
}

#[test]
fn a_line_that_nobody_crossed_counts_nobody() {
    let mut rows = rows();
    rows.crossed.clear();
    let report = Report::of(&question(), &rows);
    assert_eq!((report.visitors.count, report.visitors.counted_by), (0, CountedBy::CrossingsIn));
    assert_eq!(report.lines.len(), 2);
    assert!(report.busiest_hours.is_empty());
}

#[test]
fn people_at_once_are_averages_over_frames_and_the_first_fullest_minute() {
    let report = Report::of(&question(), &rows());
    // door: 60 people in 40 frames; till: 5 in 10.
    assert_eq!(report.people.average, Some(2.0));
    let peak = report.people.peak.unwrap();
    assert_eq!((peak.people, peak.camera.as_str(), peak.at.as_str()), (5, "door", "2026-01-31T10:10:00+01:00"));
    let of_hours: Vec<_> = report.hours.iter().map(|hour| (hour.people_average, hour.people_peak)).collect();
    assert_eq!(of_hours, [(Some(1.5), Some(4)), (Some(3.0), Some(5))]);
    let mut alike = rows();
    alike.peaks[1] = Peak { camera: "till".into(), at_us: EIGHT + MINUTE, people: 5 };
    assert_eq!(Report::of(&question(), &alike).people.peak.unwrap().camera, "till", "the earlier one of two alike");
    alike.peaks[0].at_us = EIGHT + MINUTE;
    assert_eq!(Report::of(&question(), &alike).people.peak.unwrap().camera, "door", "the first camera's of two alike");
}

#[test]
fn hours_are_those_of_the_wall_and_the_busiest_come_first() {
    let report = Report::of(&question(), &rows());
    let hours: Vec<_> = report.hours.iter().map(|hour| (hour.start.as_str(), hour.visitors)).collect();
    assert_eq!(hours, [("2026-01-31T09:00:00+01:00", Some(3)), ("2026-01-31T10:00:00+01:00", Some(5))]);
    let busiest: Vec<_> = report.busiest_hours.iter().map(|hour| hour.start.as_str()).collect();
    assert_eq!(busiest, ["2026-01-31T10:00:00+01:00", "2026-01-31T09:00:00+01:00"]);
    assert!(report.hours_of_day.is_empty());
}

#[test]
fn an_hour_in_which_nobody_looked_has_no_visitors_and_not_none() {
    let long = Question { to_us: EIGHT + 3 * HOUR_US, ..question() };
    let report = Report::of(&long, &rows());
    let third = &report.hours[2];
    assert_eq!((third.visitors, third.came_in, third.people_average, third.minutes_looked), (None, None, None, 0));
    assert_eq!(third.minutes, 120, "two cameras");
}

#[test]
fn days_of_a_week_are_added_up_by_hour_of_the_day() {
    let week = Question { from_us: EIGHT, to_us: EIGHT + 7 * 24 * HOUR_US, ..question() };
    let mut rows = rows();
    let day = 24 * 60;
    rows.looked.push(looked("door", day + 75));
    rows.crossed.push(crossed("sill", day + 75, 10, 0));
    let report = Report::of(&week, &rows);
    let of_day: Vec<_> = report.hours_of_day.iter().filter(|h| h.visitors > 0).map(|h| (h.hour, h.visitors)).collect();
    assert_eq!(of_day, [(9, 3), (10, 15)]);
    let days: Vec<_> = report.days.iter().map(|day| (&day.start[..10], day.visitors)).collect();
    assert_eq!(days[..3], [("2026-01-31", Some(8)), ("2026-02-01", Some(10)), ("2026-02-02", None)]);
    assert_eq!(days.len(), 8, "from nine in the morning to nine in the morning");
    assert_eq!((report.days[0].minutes, report.days[1].minutes), (15 * 120, 24 * 120));
}

#[test]
fn zones_show_visits_and_those_without_any() {
    let report = Report::of(&question(), &rows());
    let zone = |name: &str| report.zones.iter().find(|zone| zone.zone == name).unwrap();
    let queue = zone("queue");
    assert_eq!((queue.visits, queue.unique_tracks), (4, 3));
    assert_eq!(
        (queue.dwell_seconds_average, queue.dwell_seconds_median, queue.dwell_seconds_max),
        (Some(12.5), Some(10.0), Some(25.5))
    );
    assert_eq!((zone("shelf").visits, zone("shelf").dwell_seconds_average), (0, None));
}

#[test]
fn coverage_names_every_minute_that_no_camera_looked() {
    let report = Report::of(&question(), &rows());
    let gaps: Vec<_> = report.gaps.iter().map(|gap| (gap.camera.as_str(), &gap.from[11..16], gap.minutes)).collect();
    assert_eq!(
        gaps,
        [
            ("door", "09:00", 1),
            ("till", "09:00", 1),
            ("till", "09:02", 118),
            ("door", "09:03", 67),
            ("door", "10:11", 49)
        ]
    );
    assert_eq!(report.looked(), (4, 240));
    for camera in &report.cameras {
        let missed: i64 = report.gaps.iter().filter(|gap| gap.camera == camera.camera).map(|gap| gap.minutes).sum();
        assert_eq!(camera.minutes_looked + missed, camera.minutes, "{}", camera.camera);
    }
    let coverage: Vec<_> =
        report.coverage.iter().map(|part| (part.camera.as_str(), part.minutes_looked, part.minutes)).collect();
    assert_eq!(coverage, [("door", 2, 60), ("door", 1, 60), ("till", 1, 60), ("till", 0, 60)]);
}

#[test]
fn a_camera_that_never_looked_is_one_gap() {
    let one = Question { cameras: vec!["dark".into()], ..question() };
    let report = Report::of(&one, &Rows::default());
    assert_eq!((report.gaps.len(), report.gaps[0].minutes, report.people.average), (1, 120, None));
}

#[test]
fn what_is_drawn_for_a_part_of_the_time_is_noted() {
    let mut rows = rows();
    rows.shapes[0].valid_from_us = EIGHT + HOUR_US;
    rows.shapes[2].valid_to_us = Some(EIGHT + HOUR_US);
    let notes = Report::of(&question(), &rows).notes.join("\n");
    assert!(notes.contains("Line sill of door is drawn from 2026-01-31 10:00 only"), "{notes}");
    assert!(notes.contains("Zone queue of till is drawn until 2026-01-31 10:00 only"), "{notes}");
    assert!(!notes.contains("heatmap"), "{notes}");
    // Moved, not gone: the new row begins where the old one ends.
    let mut moved = super::tests::rows();
    moved.shapes[0].valid_to_us = Some(EIGHT + HOUR_US);
    moved.shapes.push(Shape { valid_from_us: EIGHT + HOUR_US, ..shape("door", "sill", ShapeKind::Line) });
    let notes = Report::of(&question(), &moved).notes;
    assert_eq!(notes, ["Visitors are counted at lines alone; at till there is none that counts."]);
}

#[test]
fn a_curve_has_about_as_many_points_as_a_page_shows() {
    let day = Question { to_us: EIGHT + 24 * HOUR_US, ..question() };
    let minutes = |hours: i64| curve_bin(&Question { to_us: EIGHT + hours * HOUR_US, ..day.clone() }) / MINUTE_US;
    assert_eq!((minutes(24), minutes(24 * 7), minutes(24 * 31), minutes(24 * 365)), (1, 15, 60, 1440));
    let report = Report::of(&day, &rows());
    let curve: Vec<_> = report
        .curve
        .iter()
        .map(|point| (point.camera.as_str(), &point.start[11..16], point.average, point.peak))
        .collect();
    assert_eq!(
        curve,
        [("door", "09:01", 3.0, 4), ("door", "09:02", 0.0, 0), ("door", "10:10", 3.0, 5), ("till", "09:01", 0.5, 1)]
    );
}

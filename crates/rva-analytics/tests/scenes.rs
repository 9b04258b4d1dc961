//! Hand-made scenes with hand-counted answers: what users of other counters report as wrong.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::*;
use rva_analytics::{Rules, Zones, gold};

/// In, to the left through the door at x = 0.5, in 4 s.
fn walk_in(track: i64, y: f64) -> Walk {
    Walk::new(track, &[(0.0, 0.7, y), (4.0, 0.3, y)])
}

#[test]
fn who_walks_through_is_counted_once_and_dated_by_the_first_detection_beyond_the_dead_band() {
    let found = crossings(&film(&[walk_in(1, 0.5)], 10.0, 4.0), &door());
    // x = 0.7 - 0.1 t; the dead band is 0.01 * sqrt(2) wide: beyond it from t = 2.14 on.
    assert_eq!(found, [(1, "in", 2.2)]);
    let back = Walk::new(1, &[(0.0, 0.3, 0.5), (4.0, 0.7, 0.5)]);
    assert_eq!(crossings(&film(&[back], 10.0, 4.0), &door()), [(1, "out", 2.2)]);
}

#[test]
fn counts_do_not_depend_on_the_frame_rate() {
    for fps in [30.0, 10.0, 5.0, 10.0 / 6.0] {
        let found = crossings(&film(&[walk_in(1, 0.5)], fps, 4.0), &door());
        assert_eq!(found.len(), 1, "{fps} frames a second: {found:?}");
        let inside = visits(&film(&[Walk::new(1, &[(0.0, 0.1, 0.5), (6.0, 0.9, 0.5)])], fps, 6.0), &till());
        assert_eq!(inside.len(), 1, "{fps} frames a second: {inside:?}");
    }
}

#[test]
fn a_flicker_of_one_frame_on_the_other_side_is_no_crossing() {
    let mut frames = film(&[Walk::new(1, &[(0.0, 0.6, 0.5), (2.0, 0.6, 0.5)])], 10.0, 2.0);
    frames[10].detections = vec![person(0, Some(1), 0.4, 0.5)];
    assert_eq!(crossings(&frames, &door()), []);
}

#[test]
fn who_stands_on_the_line_and_trembles_crosses_at_most_once() {
    // An hour at 2 frames a second, with a jitter of 3 % of the box's height of 0.12, and of 4 % of its width.
    let mut frames = film(&[Walk::new(1, &[(0.0, 0.5, 0.5), (3600.0, 0.5, 0.5)])], 2.0, 3600.0);
    for (at, frame) in frames.iter_mut().enumerate() {
        let jitter = ((at * 7919) % 13) as f64 / 12.0 - 0.5;
        frame.detections = vec![person(0, Some(1), 0.5 + jitter * 0.008, 0.5 + jitter * 0.0072)];
    }
    assert!(crossings(&frames, &door()).is_empty());
}

#[test]
fn who_turns_round_on_the_line_has_not_crossed_and_who_comes_back_has_crossed_twice() {
    let turn = Walk::new(1, &[(0.0, 0.7, 0.5), (2.0, 0.5, 0.5), (4.0, 0.7, 0.5)]);
    assert_eq!(crossings(&film(&[turn], 10.0, 4.0), &door()), []);
    let back = Walk::new(1, &[(0.0, 0.7, 0.5), (4.0, 0.3, 0.5), (8.0, 0.7, 0.5)]);
    let found = crossings(&film(&[back], 10.0, 8.0), &door());
    assert_eq!(found.iter().map(|crossing| crossing.1).collect::<Vec<_>>(), ["in", "out"]);
}

#[test]
fn two_people_side_by_side_are_two_also_when_they_cross_in_one_frame() {
    let found = crossings(&film(&[walk_in(1, 0.5), walk_in(2, 0.52)], 10.0, 4.0), &door());
    assert_eq!(found, [(1, "in", 2.2), (2, "in", 2.2)]);
}

#[test]
fn who_passes_beyond_the_end_of_a_line_does_not_cross_it() {
    let short = Zones::new([shape("short", "line", "[[0.5,0.1],[0.5,0.4]]")]);
    assert_eq!(crossings(&film(&[walk_in(1, 0.5)], 10.0, 4.0), &short), []);
    assert_eq!(crossings(&film(&[walk_in(1, 0.35)], 10.0, 4.0), &short).len(), 1);
    // Round the end: on the other side without having passed between the ends.
    let round = Walk::new(1, &[(0.0, 0.7, 0.3), (2.0, 0.7, 0.6), (4.0, 0.3, 0.6), (6.0, 0.3, 0.3)]);
    assert_eq!(crossings(&film(&[round], 10.0, 6.0), &short), []);
}

#[test]
fn who_is_lost_behind_something_at_the_line_has_crossed_when_seen_on_the_other_side() {
    let found = crossings(&film(&[walk_in(1, 0.5).hidden(1.0, 3.0)], 10.0, 4.0), &door());
    assert_eq!(found, [(1, "in", 3.0)]);
}

#[test]
fn a_mirrored_scene_has_mirrored_directions() {
    let walks = [walk_in(1, 0.5), Walk::new(2, &[(0.0, 0.2, 0.3), (4.0, 0.8, 0.7)])];
    let mirrored = walks.clone().map(|mut walk| {
        walk.at.iter_mut().for_each(|point| point.1 = 1.0 - point.1);
        walk
    });
    let (found, other) =
        (crossings(&film(&walks, 10.0, 4.0), &door()), crossings(&film(&mirrored, 10.0, 4.0), &door()));
    let turned = |word| if word == "in" { "out" } else { "in" };
    let wanted: Vec<_> = other.iter().map(|&(track, word, at)| (track, turned(word), at)).collect();
    assert_eq!((found.len(), found), (2, wanted));
}

#[test]
fn detections_without_a_track_count_as_detections_and_are_nobody() {
    let nobody = Walk { track: None, ..walk_in(0, 0.5) };
    let frames = film(&[nobody], 10.0, 4.0);
    let both =
        Zones::new([door().of(&store(), &camera()).all()[0].clone(), till().of(&store(), &camera()).all()[0].clone()]);
    let found = rows(&frames, &both);
    assert_eq!((found.line_crossings.len(), found.zone_visits.len(), found.track_summary.len()), (0, 0, 0));
    assert_eq!((found.zone_dwell.len(), found.people[0].unique_people), (0, 0));
    assert_eq!(found.people[0].detections, frames.len() as i64);
    assert_eq!(found.zone_minute[0].people_max, 1, "somebody is in the zone, whoever it is");
}

#[test]
fn a_visit_lasts_from_the_first_detection_inside_to_the_last() {
    let through = Walk::new(1, &[(0.0, 0.1, 0.5), (8.0, 0.9, 0.5)]);
    assert_eq!(visits(&film(&[through], 10.0, 8.0), &till()), [(1, 3.0, 5.0)]);
}

#[test]
fn a_short_break_and_a_step_outside_are_one_visit_and_a_long_one_two() {
    let stay = || Walk::new(1, &[(0.0, 0.5, 0.5), (20.0, 0.5, 0.5)]);
    assert_eq!(visits(&film(&[stay().hidden(5.0, 6.9)], 10.0, 20.0), &till()), [(1, 0.0, 20.0)]);
    let parted = visits(&film(&[stay().hidden(5.0, 7.2)], 10.0, 20.0), &till());
    assert_eq!(parted, [(1, 0.0, 5.0), (1, 7.2, 20.0)]);
    let step = Walk::new(1, &[(0.0, 0.5, 0.5), (3.0, 0.5, 0.5), (3.4, 0.5, 0.65), (3.8, 0.5, 0.5), (6.0, 0.5, 0.5)]);
    assert_eq!(visits(&film(&[step], 10.0, 6.0), &till()), [(1, 0.0, 6.0)]);
    let away = Walk::new(
        1,
        &[(0.0, 0.5, 0.5), (3.0, 0.5, 0.5), (4.0, 0.5, 0.7), (5.0, 0.5, 0.7), (6.0, 0.5, 0.5), (9.0, 0.5, 0.5)],
    );
    assert_eq!(visits(&film(&[away], 10.0, 9.0), &till()).len(), 2);
}

#[test]
fn jitter_at_a_border_is_no_visit_and_one_frame_outside_ends_none() {
    let mut frames = film(&[Walk::new(1, &[(0.0, 0.39, 0.5), (4.0, 0.39, 0.5)])], 10.0, 4.0);
    frames[20].detections = vec![person(0, Some(1), 0.405, 0.5)];
    assert_eq!(visits(&frames, &till()), []);
    let mut frames = film(&[Walk::new(1, &[(0.0, 0.5, 0.5), (4.0, 0.5, 0.5)])], 10.0, 4.0);
    frames[20].detections = vec![person(0, Some(1), 0.3, 0.5)];
    assert_eq!(visits(&frames, &till()), [(1, 0.0, 4.0)]);
}

#[test]
fn an_id_that_begins_inside_is_inside_from_its_first_detection() {
    let born = Walk::new(1, &[(2.0, 0.5, 0.5), (6.0, 0.5, 0.5)]);
    assert_eq!(visits(&film(&[born], 10.0, 8.0), &till()), [(1, 2.0, 6.0)]);
}

#[test]
fn a_box_that_jumps_over_a_zone_between_two_frames_has_visited_it() {
    // 0.2 of the picture in 0.5 s; two frames a second: no detection falls inside.
    let fast = Walk::new(1, &[(0.0, 0.1, 0.5), (0.5, 0.38, 0.5), (1.0, 0.62, 0.5), (1.5, 0.9, 0.5)]);
    let found = visits(&film(&[fast], 2.0, 1.5), &till());
    assert_eq!(found.len(), 1);
    // Inside from x = 0.4 to 0.6 of a way of 0.24 in 0.5 s.
    let (_, entered, left) = found[0];
    assert!((entered - 0.541_667).abs() < 1e-5 && (left - 0.958_333).abs() < 1e-5, "{found:?}");
}

#[test]
fn a_box_that_is_cut_by_the_lower_edge_is_in_the_zone_at_that_edge() {
    let edge = Zones::new([shape("front", "zone", "[[0.0,0.8],[1.0,0.8],[1.0,1.0],[0.0,1.0]]")]);
    let cut = Walk::new(1, &[(0.0, 0.5, 1.0), (5.0, 0.5, 1.2)]);
    assert_eq!(visits(&film(&[cut], 10.0, 5.0), &edge), [(1, 0.0, 5.0)]);
}

#[test]
fn a_queue_that_does_not_move_for_ten_minutes_is_one_visit_each_and_dwell_is_its_time() {
    let queue: Vec<_> = (0..5)
        .map(|i| Walk::new(i, &[(0.0, 0.42 + 0.03 * i as f64, 0.5), (600.0, 0.42 + 0.03 * i as f64, 0.5)]))
        .collect();
    let found = rows(&film(&queue, 5.0, 600.0), &till());
    assert_eq!(found.zone_visits.len(), 5);
    assert!(found.zone_visits.iter().all(|row| row.visit.dwell_seconds() == 600.0));
    let minutes: Vec<_> =
        found.zone_minute.iter().map(|row| (row.people_max, row.entered, row.left, row.dwell_us)).collect();
    assert_eq!(minutes.len(), 11);
    assert_eq!((minutes[0], minutes[5], minutes[10]), ((5, 5, 0, 300_000_000), (5, 0, 0, 300_000_000), (5, 0, 5, 0)));
}

#[test]
fn a_zone_whose_border_a_chair_hides_is_visited_once() {
    // Hidden for 1.5 s while crossing the border: less than the gap.
    let behind = Walk::new(1, &[(0.0, 0.2, 0.5), (4.0, 0.5, 0.5), (8.0, 0.5, 0.5)]).hidden(2.0, 3.5);
    let found = visits(&film(&[behind], 10.0, 8.0), &till());
    assert_eq!(found, [(1, 3.5, 8.0)]);
}

#[test]
fn two_people_are_two_stays_and_nobody_stays_after_they_have_gone() {
    let walks =
        [Walk::new(1, &[(0.0, 0.45, 0.5), (50.0, 0.45, 0.5)]), Walk::new(2, &[(0.0, 0.55, 0.5), (130.0, 0.55, 0.5)])];
    let found = rows(&film(&walks, 5.0, 240.0), &till());
    let minutes: Vec<_> =
        found.zone_minute.iter().map(|row| (row.frames, row.people_max, row.entered, row.left)).collect();
    assert_eq!(minutes, [(300, 2, 2, 1), (300, 1, 0, 0), (300, 1, 0, 1), (300, 0, 0, 0), (1, 0, 0, 0)]);
}

#[test]
fn disjoint_zones_never_hold_one_person_both() {
    let zones = Zones::new([
        shape("left", "zone", "[[0,0],[0.499,0],[0.499,1],[0,1]]"),
        shape("right", "zone", "[[0.501,0],[1,0],[1,1],[0.501,1]]"),
    ]);
    for at in 0..=1000 {
        let frames = [frame("run", 1, T0, vec![person(0, Some(1), f64::from(at) / 1000.0, 0.5)])];
        let inside: i32 = rows(&frames, &zones).zone_minute.iter().map(|row| row.people_max).sum();
        assert!(inside <= 1, "{at}");
    }
}

#[test]
fn a_visit_is_judged_by_the_zone_that_was_valid_then() {
    let moved = |from: i64, to: Option<i64>, points: &str| rva_analytics::ZoneDefinition {
        valid_from_us: from,
        valid_to_us: to,
        ..shape("till", "zone", points)
    };
    let here = "[[0.4,0.4],[0.6,0.4],[0.6,0.6],[0.4,0.6]]";
    let zones = Zones::new([
        moved(i64::MIN, Some(T0 + micros(5.0)), here),
        moved(T0 + micros(5.0), None, "[[0.7,0.4],[0.9,0.4],[0.9,0.6],[0.7,0.6]]"),
    ]);
    let walks =
        [Walk::new(1, &[(0.0, 0.5, 0.5), (10.0, 0.5, 0.5)]), Walk::new(2, &[(0.0, 0.8, 0.5), (10.0, 0.8, 0.5)])];
    assert_eq!(visits(&film(&walks, 10.0, 10.0), &zones), [(1, 0.0, 4.9), (2, 5.0, 10.0)]);
    // Redrawn, and valid from the beginning: the past is judged again.
    assert_eq!(visits(&film(&walks, 10.0, 10.0), &Zones::new([moved(i64::MIN, None, here)])), [(1, 0.0, 10.0)]);
}

#[test]
fn a_clock_that_goes_back_within_a_run_gives_no_negative_time() {
    let mut frames = film(&[Walk::new(1, &[(0.0, 0.5, 0.5), (10.0, 0.5, 0.5)])], 10.0, 10.0);
    for frame in &mut frames[50..] {
        frame.frame.capture_ts = rva_types::Timestamp::from_micros(frame.frame.capture_ts.as_micros() - micros(3600.0));
    }
    let found = rows(&frames, &till());
    assert!(found.zone_dwell.iter().all(|row| row.dwell.micros >= 0));
    assert_eq!(found.zone_visits.iter().map(|row| row.visit.dwell_seconds()).sum::<f64>(), 4.9 + 5.0);
    assert!(found.track_summary[0].summary.duration_seconds() > 3500.0);
}

#[test]
fn an_empty_shop_has_rows_of_zeros_and_a_dark_camera_has_none() {
    let frames = film(&[], 5.0, 60.0);
    let found = rows(&frames, &till());
    assert_eq!(found.people.len(), 2);
    assert_eq!((found.people[0].frames, found.people[0].people_avg, found.minute[0].avg_conf), (300, Some(0.0), None));
    assert_eq!((found.zone_minute[0].people_max, found.zone_minute[0].people_avg), (0, Some(0.0)));
    assert_eq!(gold(&[], &till(), &Rules::default()), rva_analytics::HourRows::default());
}

#[test]
fn averages_are_made_of_whole_numbers_by_hand() {
    let mut frames = film(&[Walk::new(1, &[(0.0, 0.5, 0.5), (0.4, 0.5, 0.5)])], 5.0, 0.4);
    for (frame, conf) in frames.iter_mut().zip([0.81234, 0.9, 0.5]) {
        frame.detections[0].conf = conf;
    }
    let minute = rows(&frames, &Zones::default()).minute.remove(0);
    // 8123 + 9000 + 5000 ten thousandths; boxes of 40 x 120 in 1000 x 1000.
    assert_eq!(minute.avg_conf, Some(22123.0 / 3.0 / 10_000.0));
    assert_eq!(minute.bbox_area_ratio_avg, Some(4_800_000.0 / 1e9));
    let camera = rows(&frames, &Zones::default()).camera_minute.remove(0);
    assert_eq!((camera.frames, camera.longest_gap_us, camera.runs), (3, 200_000, 1));
}

use super::*;
use rva_types::BBox;

fn tracker() -> SteadyTrack {
    SteadyTrack::new(SteadyTrackParams::default()).unwrap()
}

fn seen(x: f32, conf: f32) -> Detection {
    Detection { bbox: BBox::new(x, 100.0, x + 40.0, 220.0), conf, class_id: 0 }
}

fn ids_at(tracker: &mut SteadyTrack, seconds: f64, detections: &[Detection]) -> Vec<Option<u64>> {
    let time = MediaTime::from_micros((seconds * 1e6).round() as i64);
    tracker.update(detections, time).iter().map(|tracked| tracked.track_id).collect()
}

/// People two widths apart, the picture moved by some pixels.
fn row_of_people(moved: f32) -> Vec<Detection> {
    (0..5u8).map(|i| seen(f32::from(i) * 120.0 + moved, 0.99)).collect()
}

#[test]
fn confidences_sum_up_until_a_track_is_confirmed() {
    for (conf, frames_before) in [(0.96, 0), (0.6, 1), (0.4, 2)] {
        let mut tracker = tracker();
        for frame in 0..5 {
            let wanted = (frame >= frames_before).then_some(1);
            assert_eq!(ids_at(&mut tracker, f64::from(frame) / 30.0, &[seen(0.0, conf)]), [wanted], "{conf} {frame}");
        }
    }
}

#[test]
fn a_tentative_track_that_misses_a_frame_ends_and_uses_up_no_id() {
    let mut tracker = tracker();
    ids_at(&mut tracker, 0.0, &[seen(0.0, 0.6)]);
    ids_at(&mut tracker, 0.04, &[]);
    assert_eq!(ids_at(&mut tracker, 0.08, &[seen(0.0, 0.6)]), [None]);
    assert_eq!(ids_at(&mut tracker, 0.12, &[seen(0.0, 0.6)]), [Some(1)]);
}

#[test]
fn weak_detections_go_on_with_a_track_and_start_none() {
    let mut tracker = tracker();
    assert_eq!(ids_at(&mut tracker, 0.0, &[seen(0.0, 0.99), seen(400.0, 0.3)]), [Some(1), None]);
    for frame in 1..10 {
        let found = ids_at(&mut tracker, f64::from(frame) / 30.0, &[seen(0.0, 0.1), seen(400.0, 0.3)]);
        assert_eq!(found, [Some(1), None]);
    }
    assert_eq!(ids_at(&mut tracker, 0.4, &[seen(0.0, 0.04)]), [None], "under the low threshold");
}

#[test]
fn lost_tracks_wait_for_seconds_whatever_the_frame_rate() {
    for rate in [5.0, 30.0, 90.0] {
        for (gap, wanted) in [(1.9, Some(1)), (2.1, Some(2))] {
            let mut tracker = tracker();
            for frame in 0..5 {
                ids_at(&mut tracker, f64::from(frame) / rate, &[seen(0.0, 0.99)]);
            }
            let lost_at = 4.0 / rate;
            for frame in 1..(gap * rate) as u32 {
                ids_at(&mut tracker, lost_at + f64::from(frame) / rate, &[]);
            }
            assert_eq!(ids_at(&mut tracker, lost_at + gap, &[seen(0.0, 0.99)]), [wanted], "{rate} a second, {gap} s");
        }
    }
}

#[test]
fn a_jolt_of_the_camera_changes_no_id() {
    let mut tracker = tracker();
    let mut moved = 0.0;
    for frame in 0..30 {
        // Every tenth frame a jump of more than a box's width: nobody overlaps his own prediction.
        moved += if frame % 10 == 9 { 55.0 } else { 0.0 };
        let found = ids_at(&mut tracker, f64::from(frame) / 30.0, &row_of_people(moved));
        assert_eq!(found, [1, 2, 3, 4, 5].map(Some), "frame {frame}");
    }
}

#[test]
fn a_known_camera_motion_is_followed_before_anything_is_looked_at() {
    let jump = Warp([[1.0, 0.0, 300.0], [0.0, 1.0, 0.0]]);
    let broken = Warp([[f64::NAN, 0.0, 300.0], [0.0, 1.0, 0.0]]);
    for (warp, wanted) in [(Some(jump), Some(1)), (None, Some(2)), (Some(broken), Some(2))] {
        let mut tracker = tracker();
        let mut tracked = Vec::new();
        for (x, frame, camera_motion) in [(0.0, 0, None), (300.0, 1, warp)] {
            let detections = [seen(x, 0.99)];
            let boxes = TrackerFrame::of_boxes(&detections, MediaTime::from_micros(frame * 40_000));
            tracker.update_into(&TrackerFrame { camera_motion, ..boxes }, &mut tracked);
        }
        assert_eq!(tracked[0].track_id, wanted, "{warp:?}");
    }
}

#[test]
fn a_lost_track_takes_nothing_from_those_in_view() {
    let mut tracker = tracker();
    for frame in 0..10 {
        ids_at(&mut tracker, f64::from(frame) / 30.0, &[seen(0.0, 0.99), seen(60.0, 0.99)]);
    }
    // The first disappears; the second comes to stand where he was.
    for frame in 10..40 {
        let found = ids_at(&mut tracker, f64::from(frame) / 30.0, &[seen(60.0 - 2.0 * (frame - 9) as f32, 0.99)]);
        assert_eq!(found, [Some(2)], "frame {frame}");
    }
}

/// Frames in which somebody walks past another who stands. While they overlap, the detector sees one box around both.
fn passing(frame: u32) -> Vec<Detection> {
    let (walker, stander) = (4.0 * frame as f32, 300.0);
    if (walker - stander).abs() >= 30.0 {
        return vec![seen(walker, 0.99), seen(stander, 0.99)];
    }
    let bbox = BBox::new(f32::min(walker, stander), 100.0, f32::max(walker, stander) + 40.0, 220.0);
    vec![Detection { bbox, conf: 0.99, class_id: 0 }]
}

#[test]
fn two_who_pass_as_one_box_keep_their_ids() {
    let mut tracker = tracker();
    for frame in 0..140 {
        let found = ids_at(&mut tracker, f64::from(frame) / 30.0, &passing(frame));
        if found.len() == 2 {
            assert_eq!(found, [Some(1), Some(2)], "frame {frame}");
        }
    }
}

#[test]
fn a_clock_that_stands_or_jumps_is_borne() {
    let mut tracker = tracker();
    for seconds in [5.0, 5.0, 5.04, 1.0, 1.0, 1e6, 1e6, -1e6, 0.0] {
        assert_eq!(ids_at(&mut tracker, seconds, &[seen(0.0, 0.99)]), [Some(1)], "at {seconds}");
    }
}

#[test]
fn detections_without_numbers_or_area_get_no_track() {
    let mut tracker = tracker();
    let mut detections: Vec<_> = [
        BBox::new(f32::NAN, 0.0, 40.0, 120.0),
        BBox::new(0.0, f32::NEG_INFINITY, 40.0, 120.0),
        BBox::new(0.0, 0.0, 0.0, 120.0),
        BBox::new(0.0, 120.0, 40.0, 0.0),
    ]
    .map(|bbox| Detection { bbox, conf: 0.99, class_id: 0 })
    .to_vec();
    detections.push(seen(0.0, f32::NAN));
    detections.push(seen(0.0, 0.99));
    assert_eq!(ids_at(&mut tracker, 0.0, &detections), [None, None, None, None, None, Some(1)]);
    assert_eq!(tracker.tracks().count(), 1);
}

#[test]
fn boxes_given_back_are_the_detectors_own() {
    let mut tracker = tracker();
    for frame in 0..20u8 {
        let detections = [seen(f32::from(frame) * 5.0, 0.9), seen(500.0, 0.02)];
        let tracked = tracker.update(&detections, MediaTime::default());
        assert_eq!(tracked.iter().map(|t| t.detection).collect::<Vec<_>>(), detections);
    }
}

#[test]
fn past_the_bound_no_track_starts_and_it_is_counted() {
    let mut tracker = tracker();
    let many: Vec<_> = (0..TRACKS_MAX + 3).map(|i| seen(i as f32 * 100.0, 0.99)).collect();
    let found = ids_at(&mut tracker, 0.0, &many);
    assert_eq!(found.iter().filter(|id| id.is_none()).count(), 3);
    assert_eq!((tracker.tracks().count(), tracker.new_tracks_refused()), (TRACKS_MAX, 3));
}

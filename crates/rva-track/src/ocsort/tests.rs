use super::*;
use crate::TrackState;
use crate::area_filter::AreaFilter;
use crate::{Sort, SortParams};
use rva_types::{BBox, Detection, MediaTime};

fn seen(x: f32, y: f32, conf: f32) -> Detection {
    Detection { bbox: BBox::new(x, y, x + 40.0, y + 120.0), conf, class_id: 0 }
}

fn ids(tracker: &mut dyn Tracker, detections: &[Detection]) -> Vec<Option<u64>> {
    tracker.update(detections, MediaTime::default()).iter().map(|tracked| tracked.track_id).collect()
}

fn candidate(rect: Rect) -> Candidate {
    Candidate { detection: 0, rect, conf: 0.9, matched: false }
}

fn tracker(params: OcSortParams) -> OcSort {
    OcSort::new(params).unwrap()
}

/// Walks ten frames to the right, the last to x = 9 * step.
fn walk(tracker: &mut dyn Tracker, step: f32) {
    for t in 0u8..10 {
        assert_eq!(ids(tracker, &[seen(f32::from(t) * step, 100.0, 0.9)]), [Some(1)]);
    }
}

/// The id after enough frames at one place that any track there is confirmed.
fn settled_id(tracker: &mut dyn Tracker, detection: Detection) -> Option<u64> {
    (0..6).map(|_| ids(tracker, &[detection])[0]).last().unwrap()
}

#[test]
fn momentum_prefers_the_detection_that_lies_ahead_to_one_that_overlaps_a_little_more() {
    // Foretold is x = 40: what lies behind is 13 px off, what lies ahead 14 px.
    let (behind, ahead) = (seen(27.0, 100.0, 0.9), seen(54.0, 100.0, 0.9));
    for (inertia, wanted) in [(0.0, [Some(1), None]), (0.2, [None, Some(1)])] {
        let mut tracker = tracker(OcSortParams { inertia, ..Default::default() });
        walk(&mut tracker, 4.0);
        assert_eq!(ids(&mut tracker, &[behind, ahead]), wanted, "inertia {inertia}");
    }
}

#[test]
fn momentum_weighs_as_much_as_the_confidence() {
    let mut tracker = tracker(OcSortParams { det_thresh: 0.0, ..Default::default() });
    walk(&mut tracker, 4.0);
    assert_eq!(ids(&mut tracker, &[seen(27.0, 100.0, 0.05), seen(54.0, 100.0, 0.05)]), [Some(1), None]);
}

#[test]
fn the_only_choice_is_taken_however_much_its_direction_is_off() {
    let mut tracker = tracker(OcSortParams { inertia: 1.0, ..Default::default() });
    walk(&mut tracker, 4.0);
    // IoU 19 / 61 is above 0.3, and less than half of the inertia.
    assert_eq!(ids(&mut tracker, &[seen(19.0, 100.0, 1.0)]), [Some(1)]);
}

#[test]
fn who_stopped_while_unseen_is_recovered_at_the_last_observation() {
    let sort = Sort::new(SortParams { max_age: 30, ..Default::default() }).unwrap();
    let trackers: [(Box<dyn Tracker>, u64); 2] = [(Box::new(tracker(OcSortParams::default())), 1), (Box::new(sort), 2)];
    for (mut tracker, wanted) in trackers {
        walk(tracker.as_mut(), 8.0);
        for _ in 0..8 {
            ids(tracker.as_mut(), &[]);
        }
        // The filter is 72 px further by now, more than the box is wide.
        let found = settled_id(tracker.as_mut(), seen(74.0, 100.0, 0.9));
        assert_eq!(found, Some(wanted), "{}", tracker.name());
    }
}

#[test]
fn a_detection_that_is_foretold_is_not_left_to_recovery() {
    let mut tracker = tracker(OcSortParams::default());
    walk(&mut tracker, 8.0);
    for _ in 0..8 {
        ids(&mut tracker, &[]);
    }
    // One at the foretold place, one at the last observation: the track is the first one's.
    let both = [seen(144.0, 100.0, 0.9), seen(72.0, 100.0, 0.9)];
    let found = (0..6).map(|_| ids(&mut tracker, &both)).last().unwrap();
    assert_eq!(found, [Some(1), Some(2)]);
}

#[test]
fn a_track_that_turned_while_unseen_is_as_if_the_virtual_trajectory_had_been_seen() {
    let rect = |x: f64, y: f64| Rect::centred(x, y, 40.0, 120.0);
    let mut track = Track::new(1, 1, &candidate(rect(0.0, 0.0)), Observed::new());
    let mut plain = AreaFilter::new(&rect(0.0, 0.0));
    for frame in 2u32..=15 {
        let at = rect(6.0 * f64::from(frame - 1), 0.0);
        track.predict();
        track.update(frame.into(), at, 3);
        plain.predict();
        plain.update(&at);
        assert_eq!(track.rect, plain.rect(), "without a gap it is SORT's filter");
    }
    // Unseen in ten frames, found in the eleventh 44 px further down: as if it had gone down by 4 px a frame.
    let mut virtually = plain;
    for t in 1u8..=11 {
        track.predict();
        plain.predict();
        virtually.predict();
        virtually.update(&rect(84.0, 4.0 * f64::from(t)));
    }
    track.update(26, rect(84.0, 44.0), 3);
    plain.update(&rect(84.0, 44.0));
    let apart = |a: Rect, b: Rect| {
        let ([ax, ay], [bx, by]) = (a.centre(), b.centre());
        (ax - bx).hypot(ay - by)
    };
    assert!(apart(track.rect, virtually.rect()) < 1e-9, "{:?} {:?}", track.rect, virtually.rect());
    assert!(apart(plain.rect(), virtually.rect()) > 0.5, "SORT's filter ends elsewhere: {:?}", plain.rect());
}

#[test]
fn observations_are_kept_for_delta_t_frames_and_the_latest_for_ever() {
    let rect = |x: f64| Rect::centred(x, 0.0, 40.0, 120.0);
    let mut track = Track::new(1, 1, &candidate(rect(0.0)), Observed::new());
    for frame in 2u32..=5 {
        track.update(frame.into(), rect(f64::from(frame)), 3);
    }
    // It goes to the right.
    let above = |x: f64| Rect::centred(x, 50.0, 40.0, 120.0);
    assert!((track.agreement(&rect(9.0), 6, 3) - 0.5).abs() < 1e-9);
    assert!((track.agreement(&above(3.0), 6, 3)).abs() < 1e-9, "straight up from frame 3's");
    assert!((track.agreement(&above(5.0), 60, 3)).abs() < 1e-9, "straight up from the latest");
    assert!((track.agreement(&rect(-9.0), 60, 3) + 0.5).abs() < 1e-9);
    assert_eq!(track.last_observation(), (5, rect(5.0)));
}

#[test]
fn weak_detections_keep_a_track_with_use_byte_only_and_start_none() {
    for (use_byte, wanted) in [(false, None), (true, Some(1))] {
        let mut tracker = tracker(OcSortParams { use_byte, ..Default::default() });
        walk(&mut tracker, 2.0);
        assert_eq!(ids(&mut tracker, &[seen(20.0, 100.0, 0.3), seen(400.0, 100.0, 0.3)]), [wanted, None]);
        assert_eq!(ids(&mut tracker, &[seen(22.0, 100.0, 0.1)]), [None], "0.1 is too weak for all");
        assert_eq!(tracker.tracks().count(), 1);
    }
}

#[test]
fn a_detection_at_the_threshold_is_not_above_it() {
    let mut tracker = tracker(OcSortParams::default());
    assert_eq!(ids(&mut tracker, &[seen(0.0, 0.0, 0.6), seen(300.0, 0.0, 0.61)]), [None, Some(1)]);
}

#[test]
fn a_jump_without_overlap_is_followed_by_measures_that_know_near_from_far() {
    for (asso_func, wanted) in [(AssoFunc::Iou, 2), (AssoFunc::Giou, 1), (AssoFunc::Ciou, 1), (AssoFunc::Diou, 1)] {
        let mut tracker = tracker(OcSortParams { asso_func, ..Default::default() });
        walk(&mut tracker, 0.0);
        assert_eq!(settled_id(&mut tracker, seen(45.0, 100.0, 0.9)), Some(wanted), "{asso_func:?}");
    }
}

#[test]
fn a_track_waits_for_max_age_frames_and_not_longer() {
    for (empty, state) in [(30, Some(TrackState::Lost)), (31, None)] {
        let mut tracker = tracker(OcSortParams::default());
        ids(&mut tracker, &[seen(0.0, 0.0, 0.9)]);
        for _ in 0..empty {
            ids(&mut tracker, &[]);
        }
        assert_eq!(tracker.tracks().map(|track| track.state).next(), state);
    }
}

use super::*;
use rva_types::{BBox, Detection, MediaTime};

/// Left side and look of a person.
type Person = (f32, [f32; 2]);

const RED: [f32; 2] = [1.0, 0.0];
/// At a cosine distance of 0.04 from red, and within `max_dist`.
const REDDISH: [f32; 2] = [0.96, 0.28];
const BLUE: [f32; 2] = [0.0, 1.0];

fn seen(x: f32) -> Detection {
    Detection { bbox: BBox::new(x, 100.0, x + 40.0, 220.0), conf: 0.9, class_id: 0 }
}

fn tracker() -> DeepSort {
    DeepSort::new(DeepSortParams::default()).unwrap()
}

fn ids(tracker: &mut DeepSort, people: &[Person]) -> Vec<Option<u64>> {
    let detections: Vec<Detection> = people.iter().map(|&(x, _)| seen(x)).collect();
    let looks: Vec<f32> = people.iter().flat_map(|&(_, look)| look).collect();
    let boxes = TrackerFrame::of_boxes(&detections, MediaTime::default());
    let mut tracked = Vec::new();
    tracker.update_into(&TrackerFrame { embeddings: Embeddings::new(2, &looks), ..boxes }, &mut tracked);
    tracked.iter().map(|tracked| tracked.track_id).collect()
}

fn ids_by_boxes(tracker: &mut DeepSort, x: &[f32]) -> Vec<Option<u64>> {
    let detections: Vec<Detection> = x.iter().map(|&x| seen(x)).collect();
    tracker.update(&detections, MediaTime::default()).iter().map(|tracked| tracked.track_id).collect()
}

/// A tracker that knows these people.
fn knowing(people: &[Person]) -> DeepSort {
    let mut tracker = tracker();
    for _ in 0..5 {
        ids(&mut tracker, people);
    }
    tracker
}

#[test]
fn a_track_is_confirmed_in_its_third_frame_and_a_gap_before_ends_it() {
    let mut tracker = tracker();
    for wanted in [None, None, Some(1), Some(1)] {
        assert_eq!(ids(&mut tracker, &[(0.0, RED)]), [wanted]);
    }
    for (people, wanted) in [(1, vec![None]), (0, vec![]), (1, vec![None]), (1, vec![None]), (1, vec![Some(3)])] {
        assert_eq!(ids(&mut tracker, &vec![(500.0, BLUE); people]), wanted);
    }
}

#[test]
fn a_lost_person_is_found_again_by_look_and_not_by_boxes_alone() {
    for (empty, wanted) in [(1, Some(1)), (30, Some(1)), (69, Some(1)), (70, None)] {
        let mut tracker = knowing(&[(0.0, RED)]);
        for _ in 0..empty {
            ids(&mut tracker, &[]);
        }
        assert_eq!(ids(&mut tracker, &[(4.0, REDDISH)]), [wanted], "after {empty} frames");
    }
    for look in [BLUE, [f32::NAN; 2]] {
        let mut tracker = knowing(&[(0.0, RED)]);
        ids(&mut tracker, &[]);
        assert_eq!(ids(&mut tracker, &[(4.0, look)]), [None]);
    }
}

#[test]
fn an_improbable_place_is_refused_however_like_the_look() {
    let mut tracker = knowing(&[(0.0, RED)]);
    ids(&mut tracker, &[]);
    let mut other = tracker.tracks[0].clone();
    assert!(other.filter.squared_distance(&seen(12.0).bbox.into()) <= GATE);
    assert!(other.filter.squared_distance(&seen(60.0).bbox.into()) > GATE);
    assert_eq!(ids(&mut tracker, &[(60.0, RED)]), [None]);
    assert_eq!(ids(&mut tracker, &[(12.0, RED)]), [Some(1)]);
    // The longer a person isn't seen, the farther away they may be.
    (0..40).for_each(|_| other.filter.predict());
    assert!(other.filter.squared_distance(&seen(60.0).bbox.into()) <= GATE);
}

#[test]
fn the_cascade_gives_a_detection_to_the_track_seen_latest_though_another_is_more_like_it() {
    let people = [(0.0, RED), (20.0, REDDISH)];
    // Both weren't seen for as long: the look decides.
    let mut tracker = knowing(&people);
    ids(&mut tracker, &[]);
    assert_eq!(ids(&mut tracker, &[(10.0, RED)]), [Some(1)]);
    // The second was seen in the frame before.
    let mut tracker = knowing(&people);
    assert_eq!(ids(&mut tracker, &people[1..]), [Some(2)]);
    assert_eq!(ids(&mut tracker, &[(10.0, RED)]), [Some(2)]);
}

#[test]
fn appearance_tells_two_people_apart_who_cross_where_overlap_takes_one_for_the_other() {
    let mut tracker = knowing(&[(0.0, RED), (12.0, BLUE)]);
    assert_eq!(ids(&mut tracker, &[(12.0, RED), (0.0, BLUE)]), [Some(1), Some(2)]);
    assert_eq!(ids_by_boxes(&mut knowing(&[(0.0, RED), (12.0, BLUE)]), &[12.0, 0.0]), [Some(2), Some(1)]);
}

#[test]
fn a_new_look_is_followed_by_overlap_and_remembered() {
    let mut tracker = knowing(&[(0.0, RED)]);
    assert_eq!(ids(&mut tracker, &[(2.0, BLUE)]), [Some(1)]);
    ids(&mut tracker, &[]);
    assert_eq!(ids(&mut tracker, &[(4.0, BLUE)]), [Some(1)]);
    // An IoU of 10/70 is a distance above 0.7.
    assert_eq!(ids_by_boxes(&mut knowing(&[(0.0, RED)]), &[30.0]), [None]);
}

#[test]
fn what_it_wants_to_know_follows_from_its_parameters() {
    let params = DeepSortParams { min_confidence: 0.95, ..Default::default() };
    let mut tracker = DeepSort::new(params).unwrap();
    assert_eq!(tracker.cues(), Cues { gmc_method: GmcMethod::None, appearance_from: Some(0.95) });
    assert_eq!(tracker.lowest_conf(), 0.95);
    ids(&mut tracker, &[(0.0, RED)]);
    assert_eq!(tracker.tracks().count(), 0, "its confidence is 0.9");
    assert!(DeepSort::new(DeepSortParams { nn_budget: 0, ..params }).is_err());
}

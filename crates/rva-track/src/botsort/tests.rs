use super::*;
use crate::Embeddings;
use rva_types::{BBox, Detection, MediaTime};

fn seen(x: f32, conf: f32) -> Detection {
    Detection { bbox: BBox::new(x, 100.0, x + 40.0, 220.0), conf, class_id: 0 }
}

fn ids_with(
    tracker: &mut BotSort,
    detections: &[Detection],
    camera_motion: Option<Warp>,
    looks: &[f32],
) -> Vec<Option<u64>> {
    let embeddings = Embeddings::new(2, looks).filter(|_| !looks.is_empty());
    let boxes = TrackerFrame::of_boxes(detections, MediaTime::default());
    let mut tracked = Vec::new();
    tracker.update_into(&TrackerFrame { camera_motion, embeddings, ..boxes }, &mut tracked);
    tracked.iter().map(|tracked| tracked.track_id).collect()
}

/// Two people who stand 60 px apart while the camera turns by 50 px in one frame.
fn ids_after_a_pan(params: BotSortParams, warp: Option<Warp>) -> Vec<Option<u64>> {
    let mut tracker = BotSort::new(params).unwrap();
    for _ in 0..5 {
        ids_with(&mut tracker, &[seen(0.0, 0.9), seen(60.0, 0.9)], Some(Warp::IDENTITY), &[]);
    }
    ids_with(&mut tracker, &[seen(50.0, 0.9), seen(110.0, 0.9)], warp, &[])
}

#[test]
fn a_warp_keeps_ids_through_a_pan_and_without_it_they_break() {
    let pan = Some(Warp([[1.0, 0.0, 50.0], [0.0, 1.0, 0.0]]));
    assert_eq!(ids_after_a_pan(BotSortParams::default(), pan), [Some(1), Some(2)]);
    // The first stands where the second was.
    assert_eq!(ids_after_a_pan(BotSortParams::default(), None), [Some(2), None]);
    let off = BotSortParams { gmc_method: GmcMethod::None, ..Default::default() };
    assert_eq!(ids_after_a_pan(off, pan), [Some(2), None]);
    let broken = Some(Warp([[1.0, 0.0, f64::NAN], [0.0, 1.0, 0.0]]));
    assert_eq!(ids_after_a_pan(BotSortParams::default(), broken), [Some(2), None]);
}

/// Two people who have stood near one another swap their places from one frame to the next.
fn ids_after_a_swap(params: BotSortParams, other_look: [f32; 2]) -> Vec<Option<u64>> {
    let mut tracker = BotSort::new(params).unwrap();
    let people = [seen(0.0, 0.9), seen(12.0, 0.9)];
    let looks = [1.0, 0.0, other_look[0], other_look[1]];
    for _ in 0..5 {
        assert_eq!(ids_with(&mut tracker, &people, None, &looks), [Some(1), Some(2)]);
    }
    ids_with(&mut tracker, &[people[1], people[0]], None, &looks)
}

#[test]
fn appearance_tells_two_people_apart_who_cross_where_overlap_takes_one_for_the_other() {
    let with_reid = BotSortParams { with_reid: true, ..Default::default() };
    assert_eq!(ids_after_a_swap(with_reid, [0.0, 1.0]), [Some(1), Some(2)]);
    assert_eq!(ids_after_a_swap(BotSortParams::default(), [0.0, 1.0]), [Some(2), Some(1)]);
    // 12 of 40 px: an IoU of 28/52, 0.54.
    let near = BotSortParams { proximity_thresh: 0.6, ..with_reid };
    assert_eq!(ids_after_a_swap(near, [0.0, 1.0]), [Some(2), Some(1)], "too little overlap for appearance to count");
    let rows_of_nobody = [f32::NAN, f32::NAN];
    let mut tracker = BotSort::new(with_reid).unwrap();
    assert_eq!(ids_with(&mut tracker, &[seen(0.0, 0.9)], None, &rows_of_nobody), [Some(1)]);
}

#[test]
fn appearance_that_is_not_like_enough_does_not_count() {
    let gates = |appearance_thresh: f64| Gates { iou_min: 0.5, distance_max: 1.0 - appearance_thresh };
    let person = Person::start(&Rect::centred(0.0, 0.0, 40.0, 120.0), Some(&[1.0, 0.0]));
    let look: [f32; 2] = [0.8, 0.6];
    let distance = |gates: &Gates, iou| person.distance(gates, 0.4, iou, || Some(&look));
    assert!((distance(&gates(0.8), 0.6) - 0.1).abs() < 1e-6, "half of 1 - 0.8");
    assert_eq!(distance(&gates(0.95), 0.6), 0.4);
    assert_eq!(distance(&gates(0.8), 0.4), 0.4);
    assert_eq!(person.distance(&gates(0.8), 0.4, 0.6, || None), 0.4);
    assert_eq!(person.distance(&gates(0.8), 0.05, 0.6, || Some(&look)), 0.05, "the lower of the two");
}

#[test]
fn appearance_is_a_moving_average_of_length_one() {
    let mut person = Person::start(&Rect::centred(0.0, 0.0, 40.0, 120.0), Some(&[1.0, 0.0]));
    person.remember(&[0.0, 1.0]);
    let length = (0.9f32 * 0.9 + 0.1 * 0.1).sqrt();
    assert!((person.look[0] - 0.9 / length).abs() < 1e-6 && (person.look[1] - 0.1 / length).abs() < 1e-6);
    person.remember(&[1.0, 0.0, 0.0]);
    assert_eq!(person.look, [1.0, 0.0, 0.0], "another model begins anew");
}

#[test]
fn a_weak_detection_keeps_its_track_alive_and_does_not_change_its_look() {
    let mut tracker = BotSort::new(BotSortParams { with_reid: true, ..Default::default() }).unwrap();
    ids_with(&mut tracker, &[seen(0.0, 0.9)], None, &[1.0, 0.0]);
    assert_eq!(ids_with(&mut tracker, &[seen(2.0, 0.15)], None, &[0.0, 1.0]), [Some(1)]);
    let mut looks = Vec::new();
    tracker.tracks.move_all(|person| looks.push(person.look.clone()));
    assert_eq!(looks, [[1.0, 0.0]]);
}

#[test]
fn what_it_wants_to_know_follows_from_its_parameters() {
    let cues = |params| BotSort::new(params).unwrap().cues();
    let default = Cues { gmc_method: GmcMethod::SparseOptFlow, appearance_from: None };
    assert_eq!(cues(BotSortParams::default()), default);
    let mut params = BotSortParams::default();
    for (key, value) in [("gmc_method", "none"), ("with_reid", "True"), ("track_high_thresh", "0.5")] {
        params.set(key, value).unwrap();
    }
    assert_eq!(cues(params), Cues { gmc_method: GmcMethod::None, appearance_from: Some(0.5) });
    let text = params.set("gmc_method", "sift").unwrap_err().to_string();
    assert_eq!(text, "found gmc_method sift, wanted one of none, sparseOptFlow, orb, ecc");
    let low = BotSortParams { track_low_thresh: 0.5, ..Default::default() };
    assert!(BotSort::new(low).is_err());
}

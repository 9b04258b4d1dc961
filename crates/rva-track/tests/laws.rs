//! Laws of tracking, over made-up scenes with fixed seeds.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rva_track::{ByteTrack, ByteTrackParams, TrackState, Tracker};
use rva_types::{BBox, Detection, MediaTime};
use std::collections::{BTreeMap, BTreeSet};

type Scene = Vec<Vec<Detection>>;

fn config(seed: u64) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(seed), cases: 96, failure_persistence: None, ..Default::default() }
}

/// Walkers with steady steps who are missed, seen weakly or doubled now and then. Coordinates are multiples of 1/16
/// px, so that moving a scene by whole pixels loses no bit of them.
fn scene() -> impl Strategy<Value = Scene> {
    let walker = (0i32..12_000, 0i32..8_000, 320i32..1600, -96i32..96, -48i32..48);
    let glance = (0u8..100, -12i32..12, -12i32..12, 0.05f32..1.0);
    (1usize..7, 2usize..45).prop_flat_map(move |(walkers, frames)| {
        let glances = prop::collection::vec(prop::collection::vec(glance.clone(), walkers), frames);
        (prop::collection::vec(walker.clone(), walkers), glances).prop_map(|(walkers, glances)| {
            let frames = glances.iter().enumerate();
            frames
                .map(|(t, glances)| walkers.iter().zip(glances).filter_map(|(w, g)| look(t as i32, w, g)).collect())
                .collect()
        })
    })
}

fn look(t: i32, walker: &(i32, i32, i32, i32, i32), glance: &(u8, i32, i32, f32)) -> Option<Detection> {
    let &(x, y, height, dx, dy) = walker;
    let &(luck, jitter_x, jitter_y, conf) = glance;
    if luck < 15 {
        return None;
    }
    let px = |sixteenths: i32| sixteenths as f32 / 16.0;
    let (x, y) = (x + t * dx + jitter_x, y + t * dy + jitter_y);
    let bbox = BBox::new(px(x), px(y), px(x + height / 2), px(y + height));
    Some(Detection { bbox, conf: if luck < 60 { conf.max(0.5) } else { conf }, class_id: 0 })
}

/// Boxes of every kind, also those that can't be.
fn wild_scene() -> impl Strategy<Value = Scene> {
    let number = || {
        prop_oneof![
            8 => 0.0f32..300.0,
            1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(-0.0f32), Just(0.0f32)],
            1 => prop_oneof![Just(f32::MAX), Just(f32::MIN), Just(f32::MIN_POSITIVE), Just(1e-45f32), -1e30f32..1e30],
        ]
    };
    let conf = prop_oneof![8 => 0.0f32..1.0, 1 => number()];
    let detection = (number(), number(), number(), number(), conf).prop_map(|(x1, y1, x2, y2, conf)| Detection {
        bbox: BBox::new(x1, y1, x2, y2),
        conf,
        class_id: 0,
    });
    prop::collection::vec(prop::collection::vec(detection, 0..12), 1..30)
}

fn tracker() -> ByteTrack {
    ByteTrack::new(ByteTrackParams { track_buffer: 5, ..Default::default() }).unwrap()
}

fn step(tracker: &mut ByteTrack, detections: &[Detection]) -> Vec<Option<u64>> {
    tracker.update(detections, MediaTime::default()).iter().map(|tracked| tracked.track_id).collect()
}

fn ids(scene: &Scene) -> Vec<Vec<Option<u64>>> {
    let mut tracker = tracker();
    scene.iter().map(|detections| step(&mut tracker, detections)).collect()
}

/// Which boxes share a track, whatever it is called: for each track the frames and the bits of its boxes.
fn partition<'a>(scene: &'a Scene, ids: &'a [Vec<Option<u64>>]) -> BTreeSet<BTreeSet<(usize, [u32; 5])>> {
    let mut tracks: BTreeMap<u64, BTreeSet<(usize, [u32; 5])>> = BTreeMap::new();
    for (frame, (detections, ids)) in scene.iter().zip(ids).enumerate() {
        for (d, id) in detections.iter().zip(ids) {
            if let Some(id) = id {
                let bits = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2, d.conf].map(f32::to_bits);
                tracks.entry(*id).or_default().insert((frame, bits));
            }
        }
    }
    tracks.into_values().collect()
}

fn moved(scene: &Scene, dx: f32, dy: f32) -> Scene {
    let shift = |b: BBox| BBox::new(b.x1 + dx, b.y1 + dy, b.x2 + dx, b.y2 + dy);
    scene.iter().map(|frame| frame.iter().map(|d| Detection { bbox: shift(d.bbox), ..*d }).collect()).collect()
}

proptest! {
    #![proptest_config(config(11))]

    #[test]
    fn the_order_of_detections_does_not_change_which_boxes_share_a_track(scene in scene(), turn in 1usize..6) {
        let reversed: Scene = scene.iter().map(|frame| frame.iter().rev().copied().collect()).collect();
        let turned: Scene = scene.iter().map(|frame| {
            let mut frame = frame.clone();
            let len = frame.len().max(1);
            frame.rotate_left(turn % len);
            frame
        }).collect();
        let wanted = partition(&scene, &ids(&scene));
        prop_assert_eq!(&partition(&reversed, &ids(&reversed)), &wanted);
        prop_assert_eq!(&partition(&turned, &ids(&turned)), &wanted);
    }

    #[test]
    fn a_moved_scene_has_the_same_tracks(scene in scene(), dx in -2000i16..2000, dy in -2000i16..2000) {
        let moved = moved(&scene, f32::from(dx), f32::from(dy));
        prop_assert_eq!(ids(&moved), ids(&scene));
    }

    #[test]
    fn the_same_scene_gives_the_same_tracks(scene in wild_scene()) {
        let (mut one, mut other) = (tracker(), tracker());
        for detections in &scene {
            prop_assert_eq!(step(&mut one, detections), step(&mut other, detections));
            let estimates = |t: &ByteTrack| t.tracks().map(|e| format!("{e:?}")).collect::<Vec<_>>();
            prop_assert_eq!(estimates(&one), estimates(&other));
        }
    }

    #[test]
    fn ids_start_at_one_are_unique_in_a_frame_and_never_come_back(scene in scene()) {
        let mut tracker = tracker();
        let (mut known, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for detections in &scene {
            let given: Vec<u64> = step(&mut tracker, detections).into_iter().flatten().collect();
            let set: BTreeSet<u64> = given.iter().copied().collect();
            prop_assert_eq!(set.len(), given.len());
            prop_assert!(!set.contains(&0));
            let alive: BTreeSet<u64> = tracker.tracks().map(|t| t.track_id).collect();
            let fresh: Vec<u64> = alive.difference(&known).copied().collect();
            let newest = known.last().copied().unwrap_or(0);
            prop_assert!(fresh.iter().all(|id| *id > newest), "{:?} after {}", fresh, newest);
            known.extend(&alive);
            prop_assert!(alive.is_disjoint(&gone));
            gone.extend(known.difference(&alive));
        }
    }

    #[test]
    fn any_numbers_at_all_are_borne_and_bad_ones_get_no_track(scene in wild_scene()) {
        let mut tracker = tracker();
        for detections in &scene {
            let found = step(&mut tracker, detections);
            prop_assert_eq!(found.len(), detections.len());
            for (d, id) in detections.iter().zip(found) {
                if !d.bbox.is_finite() || d.conf.is_nan() || d.bbox.x2 <= d.bbox.x1 || d.bbox.y2 <= d.bbox.y1 {
                    prop_assert_eq!(id, None);
                }
            }
            for track in tracker.tracks() {
                prop_assert!(![track.bbox.x1, track.bbox.y1, track.bbox.x2, track.bbox.y2].iter().any(|v| v.is_nan()), "{:?}", track);
            }
        }
    }

    #[test]
    fn two_equal_boxes_never_share_a_track_in_one_frame(scene in scene()) {
        let doubled: Scene = scene.iter().map(|frame| frame.iter().flat_map(|d| [*d, *d]).collect()).collect();
        for found in ids(&doubled) {
            let given: Vec<u64> = found.into_iter().flatten().collect();
            prop_assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
        }
    }

    #[test]
    fn empty_frames_past_the_buffer_leave_no_track(scene in scene(), more in 0usize..4) {
        let mut tracker = tracker();
        for detections in &scene {
            step(&mut tracker, detections);
        }
        let mut seen: BTreeSet<u64> = tracker.tracks().filter(|t| t.state != TrackState::Tentative).map(|t| t.track_id).collect();
        for _ in 0..6 + more {
            prop_assert_eq!(step(&mut tracker, &[]), Vec::<Option<u64>>::new());
            let left: BTreeSet<u64> = tracker.tracks().map(|t| t.track_id).collect();
            prop_assert!(left.is_subset(&seen));
            prop_assert!(tracker.tracks().all(|t| t.state == TrackState::Lost));
            seen = left;
        }
        prop_assert_eq!(seen, BTreeSet::new());
    }
}

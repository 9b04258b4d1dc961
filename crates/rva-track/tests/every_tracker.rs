//! Laws that every tracker keeps that has a name, over made-up scenes with fixed seeds.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rva_track::{TrackerChoice, TrackerFrame, tracker_by_name};
use rva_types::{BBox, Detection, MediaTime};
use std::collections::BTreeSet;

type Scene = Vec<Vec<Detection>>;
/// Left, top, height and step in 1/16 px.
type Walker = (i32, i32, i32, i32, i32);
/// Luck (in percent), offset in 1/16 px and confidence.
type Glance = (u8, i32, i32, f32);
type Ids = Vec<Vec<Option<u64>>>;

fn config(seed: u64) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(seed), cases: 48, failure_persistence: None, ..Default::default() }
}

/// Walkers with steady steps who are missed or seen weakly now and then, also over the border and in empty frames.
/// Coordinates are multiples of 1/16 px, so that moving or doubling a scene loses no bit of them.
fn scene() -> impl Strategy<Value = Scene> {
    let walker = (-800i32..12_000, -800i32..8_000, 320i32..1600, -96i32..96, -48i32..48);
    let glance = (0u8..100, -12i32..12, -12i32..12, 0.05f32..1.0);
    (1usize..7, 2usize..40).prop_flat_map(move |(walkers, frames)| {
        let glances = prop::collection::vec(prop::collection::vec(glance.clone(), walkers), frames);
        (prop::collection::vec(walker.clone(), walkers), glances).prop_map(|(walkers, glances)| {
            let look = |t: usize, (w, g): (&Walker, &Glance)| {
                let px = |sixteenths: i32| sixteenths as f32 / 16.0;
                let (x, y) = (px(w.0 + t as i32 * w.3 + g.1), px(w.1 + t as i32 * w.4 + g.2));
                let bbox = BBox::new(x, y, x + px(w.2 / 2), y + px(w.2));
                (g.0 >= 15).then(|| Detection { bbox, conf: if g.0 < 60 { g.3.max(0.5) } else { g.3 }, class_id: 0 })
            };
            let frames = glances.iter().enumerate();
            frames.map(|(t, glances)| walkers.iter().zip(glances).filter_map(|pair| look(t, pair)).collect()).collect()
        })
    })
}

/// Boxes of every kind, also those that can't be.
fn wild_scene() -> impl Strategy<Value = Scene> {
    let number = || {
        prop_oneof![
            8 => 0.0f32..300.0,
            1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(0.0f32)],
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

fn ids(name: &str, scene: &Scene) -> Ids {
    let mut tracker = tracker_by_name(name).unwrap();
    let mut tracked = Vec::new();
    let frames = scene.iter().enumerate();
    frames
        .map(|(t, detections)| {
            let time = MediaTime::from_micros(t as i64 * 40_000);
            tracker.update_into(&TrackerFrame::of_boxes(detections, time), &mut tracked);
            assert_eq!(tracked.len(), detections.len(), "{name}");
            tracked.iter().map(|tracked| tracked.track_id).collect()
        })
        .collect()
}

/// Which boxes share a track, whatever it is called.
fn partition(scene: &Scene, ids: &Ids) -> BTreeSet<Vec<(usize, [u32; 4])>> {
    let mut tracks = std::collections::BTreeMap::<u64, Vec<(usize, [u32; 4])>>::new();
    for (frame, (detections, ids)) in scene.iter().zip(ids).enumerate() {
        for (d, id) in detections.iter().zip(ids) {
            if let Some(id) = id {
                let bits = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(f32::to_bits);
                tracks.entry(*id).or_default().push((frame, bits));
            }
        }
    }
    tracks.into_values().collect()
}

fn mapped(scene: &Scene, map: impl Fn(BBox) -> BBox) -> Scene {
    let frame = |frame: &Vec<Detection>| frame.iter().map(|d| Detection { bbox: map(d.bbox), ..*d }).collect();
    scene.iter().map(frame).collect()
}

fn unique_in_each_frame(ids: &Ids) -> bool {
    ids.iter().all(|frame| {
        let given: Vec<u64> = frame.iter().copied().flatten().collect();
        given.iter().all(|&id| id > 0) && given.iter().collect::<BTreeSet<_>>().len() == given.len()
    })
}

proptest! {
    #![proptest_config(config(23))]

    #[test]
    fn a_moved_scene_has_the_same_ids(scene in scene(), dx in -2000i16..2000, dy in -2000i16..2000) {
        let (dx, dy) = (f32::from(dx), f32::from(dy));
        let moved = mapped(&scene, |b| BBox::new(b.x1 + dx, b.y1 + dy, b.x2 + dx, b.y2 + dy));
        for name in TrackerChoice::NAMES {
            prop_assert_eq!(ids(name, &moved), ids(name, &scene), "{}", name);
        }
    }

    #[test]
    fn a_larger_or_smaller_scene_has_the_same_ids(scene in scene(), times in prop_oneof![Just(0.25f32), Just(2.0f32)]) {
        let scaled = mapped(&scene, |b| BBox::new(b.x1 * times, b.y1 * times, b.x2 * times, b.y2 * times));
        for name in TrackerChoice::NAMES {
            prop_assert_eq!(ids(name, &scaled), ids(name, &scene), "{}", name);
        }
    }

    #[test]
    fn the_order_of_detections_does_not_change_which_boxes_share_a_track(scene in scene()) {
        let reversed: Scene = scene.iter().map(|frame| frame.iter().rev().copied().collect()).collect();
        for name in TrackerChoice::NAMES {
            let wanted = partition(&scene, &ids(name, &scene));
            prop_assert_eq!(partition(&reversed, &ids(name, &reversed)), wanted, "{}", name);
        }
    }

    #[test]
    fn two_equal_boxes_never_share_a_track_in_one_frame(scene in scene()) {
        let doubled: Scene = scene.iter().map(|frame| frame.iter().flat_map(|d| [*d, *d]).collect()).collect();
        for name in TrackerChoice::NAMES {
            prop_assert!(unique_in_each_frame(&ids(name, &doubled)), "{}", name);
        }
    }

    #[test]
    fn any_numbers_at_all_are_borne_and_bad_ones_get_no_track(scene in wild_scene()) {
        for name in TrackerChoice::NAMES {
            let found = ids(name, &scene);
            prop_assert!(unique_in_each_frame(&found), "{}", name);
            prop_assert_eq!(&ids(name, &scene), &found, "{}", name);
            for (d, id) in scene.iter().flatten().zip(found.iter().flatten()) {
                if !d.bbox.is_finite() || d.conf.is_nan() || d.bbox.x2 <= d.bbox.x1 || d.bbox.y2 <= d.bbox.y1 {
                    prop_assert_eq!(*id, None, "{}", name);
                }
            }
        }
    }

    #[test]
    fn ids_do_not_come_back_after_a_long_time_without_detections(scene in scene()) {
        let mut long = scene.clone();
        long.extend((0..200).map(|_| Vec::new()));
        long.extend(scene);
        for name in TrackerChoice::NAMES {
            let found = ids(name, &long);
            let (before, after) = found.split_at(found.len() / 2);
            let set = |ids: &[Vec<Option<u64>>]| ids.iter().flatten().copied().flatten().collect::<BTreeSet<u64>>();
            prop_assert!(set(before).is_disjoint(&set(after)), "{}", name);
        }
    }
}

//! Laws of what trackers are told besides boxes: the camera's motion and how detections look.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rva_track::{
    BotSort, BotSortParams, Cues, DeepSort, DeepSortParams, Embeddings, GmcMethod, SteadyTrack, TrackEstimate, Tracker,
    TrackerChoice, TrackerFrame, Warp,
};
use rva_types::{BBox, Detection, MediaTime};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers of a look.
const LOOK: usize = 4;

/// A detection and how it looks.
type Seen = (Detection, [f32; LOOK]);
type Scene = Vec<Vec<Seen>>;
type Ids = Vec<Vec<Option<u64>>>;
/// Left, top, height and step in 1/16 px; what they look like.
type Walker = ((i32, i32, i32, i32, i32), [i16; LOOK]);
/// Luck (in percent), offset in 1/16 px, confidence and what differs in the look.
type Glance = (u8, i32, i32, f32, [i16; LOOK]);

fn config(seed: u64) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(seed), cases: 64, failure_persistence: None, ..Default::default() }
}

/// Walkers with steady steps and looks of their own, close enough to meet, who are missed or seen weakly now and then.
/// Coordinates are multiples of 1/16 px.
fn scene() -> impl Strategy<Value = Scene> {
    let step = (-800i32..8000, -800i32..4000, 640i32..1600, -96i32..96, -48i32..48);
    let walker = (step, [(); LOOK].map(|()| -1000i16..1000));
    let glance = (0u8..100, -12i32..12, -12i32..12, 0.05f32..1.0, [(); LOOK].map(|()| -150i16..150));
    (1usize..8, 2usize..40).prop_flat_map(move |(walkers, frames)| {
        let glances = prop::collection::vec(prop::collection::vec(glance.clone(), walkers), frames);
        (prop::collection::vec(walker.clone(), walkers), glances).prop_map(|(walkers, glances)| {
            let frames = glances.iter().enumerate();
            frames
                .map(|(t, glances)| walkers.iter().zip(glances).filter_map(|(w, g)| look(t as i32, w, g)).collect())
                .collect()
        })
    })
}

fn look(t: i32, walker: &Walker, glance: &Glance) -> Option<Seen> {
    let (&((left, top, height, dx, dy), own), &(luck, jitter_x, jitter_y, conf, off)) = (walker, glance);
    if luck < 15 {
        return None;
    }
    let px = |sixteenths: i32| sixteenths as f32 / 16.0;
    let (x, y) = (px(left + t * dx + jitter_x), px(top + t * dy + jitter_y));
    let bbox = BBox::new(x, y, x + px(height / 2), y + px(height));
    let conf = if luck < 60 { conf.max(0.5) } else { conf };
    let sum: [f32; LOOK] = std::array::from_fn(|i| f32::from(own[i]) + f32::from(off[i]));
    let length = sum.iter().map(|part| part * part).sum::<f32>().sqrt().max(1.0);
    Some((Detection { bbox, conf, class_id: 0 }, sum.map(|part| part / length)))
}

/// Trackers of every name, with everything asked for that they can ask for.
fn choices() -> impl Iterator<Item = TrackerChoice> {
    TrackerChoice::NAMES.iter().map(|name| {
        let mut choice = TrackerChoice::by_name(name).unwrap();
        // Of other trackers these are taken and ignored.
        choice.set("with_reid", "true").unwrap();
        choice
    })
}

fn asked(choice: &TrackerChoice) -> Cues {
    choice.build().unwrap().cues()
}

/// `warps` may be shorter than the scene; looks are `dim` numbers a detection, or none where `dim` is 0.
fn run(choice: &TrackerChoice, scene: &Scene, warps: &[Option<Warp>], looks: impl Fn(&Seen) -> Vec<f32>) -> Ids {
    let mut tracker = choice.build().unwrap();
    let mut tracked = Vec::new();
    let frames = scene.iter().enumerate();
    frames
        .map(|(t, seen)| {
            let detections: Vec<Detection> = seen.iter().map(|seen| seen.0).collect();
            let rows: Vec<Vec<f32>> = seen.iter().map(&looks).collect();
            let (dim, values) = (rows.first().map_or(0, Vec::len), rows.concat());
            let frame = TrackerFrame {
                camera_motion: warps.get(t).copied().flatten(),
                embeddings: Embeddings::new(dim, &values),
                ..TrackerFrame::of_boxes(&detections, MediaTime::from_micros(t as i64 * 40_000))
            };
            tracker.update_into(&frame, &mut tracked);
            tracked.iter().map(|tracked| tracked.track_id).collect()
        })
        .collect()
}

fn as_seen(seen: &Seen) -> Vec<f32> {
    seen.1.to_vec()
}

fn no_looks(_: &Seen) -> Vec<f32> {
    Vec::new()
}

/// Every frame's boxes mapped by what the camera did up to it.
fn filmed(scene: &Scene, maps: &[(f32, f32, f32)]) -> Scene {
    let frames = scene.iter().zip(maps);
    frames
        .map(|(frame, &(zoom, dx, dy))| {
            let b = |b: BBox| BBox::new(b.x1 * zoom + dx, b.y1 * zoom + dy, b.x2 * zoom + dx, b.y2 * zoom + dy);
            frame.iter().map(|(d, look)| (Detection { bbox: b(d.bbox), ..*d }, *look)).collect()
        })
        .collect()
}

/// Which boxes share a track, whatever it is called.
fn partition(scene: &Scene, ids: &Ids) -> BTreeSet<BTreeSet<(usize, [u32; 5])>> {
    let mut tracks = BTreeMap::<u64, BTreeSet<(usize, [u32; 5])>>::new();
    for (frame, (seen, ids)) in scene.iter().zip(ids).enumerate() {
        for ((d, _), id) in seen.iter().zip(ids) {
            if let Some(id) = id {
                let bits = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2, d.conf].map(f32::to_bits);
                tracks.entry(*id).or_default().insert((frame, bits));
            }
        }
    }
    tracks.into_values().collect()
}

fn follows_the_camera(choice: &TrackerChoice) -> bool {
    asked(choice).gmc_method != GmcMethod::None
}

proptest! {
    #![proptest_config(config(31))]

    /// In whole pixels, so that no bit is lost.
    #[test]
    fn a_pan_that_is_told_gives_the_ids_of_a_camera_at_rest(
        scene in scene(), steps in prop::collection::vec((-60i16..60, -40i16..40), 40),
    ) {
        let mut at = (1.0, 0.0, 0.0);
        let maps: Vec<_> = steps.iter().map(|step| {
            at = (1.0, at.1 + f32::from(step.0), at.2 + f32::from(step.1));
            at
        }).collect();
        let warp = |step: &(i16, i16)| Some(Warp([[1.0, 0.0, f64::from(step.0)], [0.0, 1.0, f64::from(step.1)]]));
        let warps: Vec<_> = steps.iter().map(warp).collect();
        for choice in choices().filter(follows_the_camera) {
            let wanted = run(&choice, &scene, &[], as_seen);
            prop_assert_eq!(run(&choice, &filmed(&scene, &maps), &warps, as_seen), wanted, "{}", choice.name());
        }
    }

    #[test]
    fn a_zoom_that_is_told_gives_the_ids_of_a_camera_at_rest(scene in scene(), steps in prop::collection::vec(0u8..10, 40)) {
        // Twice as large in one frame in ten, half as large in another, never more than four times.
        let mut zoom = 1.0f32;
        let zooms: Vec<_> = steps.iter().map(|step| {
            let times = match step {
                0 if zoom < 4.0 => 2.0,
                1 if zoom > 0.25 => 0.5,
                _ => 1.0,
            };
            zoom *= times;
            (times, zoom)
        }).collect();
        let maps: Vec<_> = zooms.iter().map(|&(_, zoom)| (zoom, 0.0, 0.0)).collect();
        let warp = |&(times, _): &(f32, f32)| Some(Warp([[f64::from(times), 0.0, 0.0], [0.0, f64::from(times), 0.0]]));
        let warps: Vec<_> = zooms.iter().map(warp).collect();
        for choice in choices().filter(follows_the_camera) {
            let wanted = run(&choice, &scene, &[], as_seen);
            prop_assert_eq!(run(&choice, &filmed(&scene, &maps), &warps, as_seen), wanted, "{}", choice.name());
        }
    }

    /// SteadyTrack finds the motion itself where none is told.
    #[test]
    fn a_camera_that_stood_still_is_one_that_nobody_looked_at(scene in scene()) {
        for choice in choices().filter(|choice| choice.name() != SteadyTrack::NAME) {
            let still = vec![Some(Warp::IDENTITY); scene.len()];
            let wanted = run(&choice, &scene, &[], as_seen);
            prop_assert_eq!(run(&choice, &scene, &still, as_seen), wanted, "{}", choice.name());
        }
    }

    #[test]
    fn what_a_tracker_does_not_ask_for_changes_nothing(scene in scene(), dx in -60i16..60) {
        let warps = vec![Some(Warp([[1.1, 0.2, f64::from(dx)], [-0.2, 1.1, 9.0]])); scene.len()];
        for choice in choices() {
            let cues = asked(&choice);
            let boxes = run(&choice, &scene, &[], no_looks);
            if cues.gmc_method == GmcMethod::None && choice.name() != SteadyTrack::NAME {
                prop_assert_eq!(run(&choice, &scene, &warps, no_looks), boxes.clone(), "{}", choice.name());
            }
            let Some(from) = cues.appearance_from else {
                prop_assert_eq!(run(&choice, &scene, &[], as_seen), boxes, "{}", choice.name());
                continue;
            };
            // Looks of weaker detections than it asks for.
            let asked_only = |seen: &Seen| if seen.0.conf >= from { as_seen(seen) } else { vec![f32::NAN; LOOK] };
            let wanted = run(&choice, &scene, &[], as_seen);
            prop_assert_eq!(run(&choice, &scene, &[], asked_only), wanted, "{}", choice.name());
        }
    }

    #[test]
    fn detections_that_nobody_looked_at_are_followed_by_their_boxes(scene in scene()) {
        for choice in choices() {
            let wanted = run(&choice, &scene, &[], no_looks);
            prop_assert_eq!(run(&choice, &scene, &[], |_| vec![f32::NAN; LOOK]), wanted, "{}", choice.name());
        }
    }

    #[test]
    fn the_order_of_detections_and_their_looks_does_not_change_which_boxes_share_a_track(
        scene in scene(), turn in 1usize..6,
    ) {
        let reversed: Scene = scene.iter().map(|frame| frame.iter().rev().copied().collect()).collect();
        let turned: Scene = scene.iter().map(|frame| {
            let mut frame = frame.clone();
            let len = frame.len().max(1);
            frame.rotate_left(turn % len);
            frame
        }).collect();
        for choice in choices() {
            let wanted = partition(&scene, &run(&choice, &scene, &[], as_seen));
            for other in [&reversed, &turned] {
                let found = partition(other, &run(&choice, other, &[], as_seen));
                prop_assert_eq!(&found, &wanted, "{}", choice.name());
            }
        }
    }

    /// Only angles between looks count: seen in a mirror, or as the first numbers of a longer look, they are the same.
    #[test]
    fn turning_all_looks_alike_changes_nothing(scene in scene()) {
        for choice in choices() {
            let wanted = run(&choice, &scene, &[], as_seen);
            let mirrored = |seen: &Seen| seen.1.iter().map(|part| -part).collect();
            prop_assert_eq!(&run(&choice, &scene, &[], mirrored), &wanted, "{}", choice.name());
            let longer = |seen: &Seen| [seen.1, [0.0; LOOK]].concat();
            prop_assert_eq!(&run(&choice, &scene, &[], longer), &wanted, "{}", choice.name());
        }
    }

    #[test]
    fn the_scale_of_a_models_looks_does_not_count_once_they_have_length_1(
        scene in scene(), times in prop_oneof![Just(0.25f32), Just(4.0), Just(1024.0)],
    ) {
        // As who makes looks does it: scaled to length 1, so that a model's scale doesn't count.
        let scaled = |seen: &Seen, times: f32| {
            let parts = seen.1.map(|part| part * times);
            let length = parts.iter().map(|part| part * part).sum::<f32>().sqrt();
            parts.map(|part| part / length.max(f32::MIN_POSITIVE)).to_vec()
        };
        for choice in choices() {
            let wanted = run(&choice, &scene, &[], |seen| scaled(seen, 1.0));
            prop_assert_eq!(run(&choice, &scene, &[], |seen| scaled(seen, times)), wanted, "{}", choice.name());
        }
    }

    /// No camera moves by 1e30 pixels: there a lost track may lie nowhere, but ids are still in order.
    #[test]
    fn any_motion_and_any_looks_are_borne_and_no_track_is_without_numbers(
        scene in scene(),
        warps in prop::collection::vec(prop::option::of([wild(), wild(), wild(), wild(), wild(), wild()]), 40),
        looks in prop::collection::vec([(); LOOK].map(|()| wild()), 7),
    ) {
        let warps: Vec<_> = warps.iter().map(|warp| warp.map(|[a, b, x, c, d, y]| Warp([[a, b, x], [c, d, y]]))).collect();
        let bits = |seen: &Seen| seen.0.conf.to_bits() as usize;
        let wild_look = |seen: &Seen| looks[bits(seen) % looks.len()].map(|part| part as f32).to_vec();
        for choice in choices() {
            let found = run(&choice, &scene, &warps, wild_look);
            prop_assert_eq!(&run(&choice, &scene, &warps, wild_look), &found, "{}", choice.name());
            for frame in &found {
                let given: Vec<u64> = frame.iter().copied().flatten().collect();
                prop_assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "{}", choice.name());
            }
        }
        let mut botsort = BotSort::new(BotSortParams { with_reid: true, ..Default::default() }).unwrap();
        let mut deepsort = DeepSort::new(DeepSortParams::default()).unwrap();
        for (t, seen) in scene.iter().enumerate() {
            let detections: Vec<Detection> = seen.iter().map(|seen| seen.0).collect();
            let values = seen.iter().flat_map(wild_look).collect::<Vec<f32>>();
            let frame = TrackerFrame {
                camera_motion: warps[t].filter(|Warp(rows)| !rows.iter().flatten().any(|part| part.abs() > 1e6)),
                embeddings: Embeddings::new(LOOK, &values),
                ..TrackerFrame::of_boxes(&detections, MediaTime::default())
            };
            let mut tracked = Vec::new();
            botsort.update_into(&frame, &mut tracked);
            deepsort.update_into(&frame, &mut tracked);
            let all = botsort.tracks().chain(deepsort.tracks()).collect::<Vec<_>>();
            prop_assert!(all.iter().all(has_numbers), "{:?}", all);
        }
    }
}

fn wild() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        8 => -2.0f64..2.0,
        2 => -1e3f64..1e3,
        1 => prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(1e300), Just(-1e300), Just(1e30)],
    ]
    .boxed()
}

fn has_numbers(track: &TrackEstimate) -> bool {
    [track.bbox.x1, track.bbox.y1, track.bbox.x2, track.bbox.y2].iter().all(|side| !side.is_nan())
}

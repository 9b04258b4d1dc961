//! Laws of the definition: any split, any order, the same rows; sums agree; time is never made up.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rva_analytics::{
    FrameRows, HourPartial, HourRows, Rules, TrackKey, TrackPath, Zones, gold, hour_key, track_points,
};
use std::collections::{BTreeMap, BTreeSet};

fn zones() -> Zones {
    Zones::new([
        shape("till", "zone", "[[0.3,0.3],[0.7,0.2],[0.6,0.6],[0.4,0.7]]"),
        shape("door", "line", "[[0.5,0.0],[0.4,1.0]]"),
    ])
}

prop_compose! {
    fn walk()(
        track in 1..6i64,
        start in 0.0..20.0f64,
        points in prop::collection::vec((0.1..6.0f64, 0.0..1.0f64, 0.05..1.0f64), 1..6),
        hidden in (0.0..20.0f64, 0.0..4.0f64),
    ) -> Walk {
        let mut t = start;
        let at: Vec<_> = points.into_iter().map(|(step, x, y)| { t += step; (t, x, y) }).collect();
        Walk::new(track, &at).hidden(hidden.0, hidden.0 + hidden.1)
    }
}

/// Half a minute across the full hour.
fn scene() -> impl Strategy<Value = Vec<FrameRows>> {
    (prop::collection::vec(walk(), 0..5), prop::sample::select(vec![2.0, 5.0, 10.0])).prop_map(|(walks, fps)| {
        let mut frames = film_from(&walks, fps, 30.0, T0 - micros(15.0));
        // Two walks of one track may meet in a frame.
        for frame in &mut frames {
            let mut seen = BTreeSet::new();
            frame.detections.retain(|detection| seen.insert(detection.track_id));
            frame.frame.people = frame.detections.len() as i32;
            frame.frame.detections = frame.frame.people;
        }
        frames
    })
}

/// The same as `gold`, put together from parts.
fn by_parts(parts: &[Vec<FrameRows>], zones: &Zones, rules: &Rules) -> HourRows {
    let mut hours: BTreeMap<_, HourPartial> = BTreeMap::new();
    let mut paths: BTreeMap<TrackKey, (TrackPath, BTreeSet<i64>)> = BTreeMap::new();
    let of_camera = zones.of(&store(), &camera());
    for part in parts {
        let mut of_part: BTreeMap<_, HourPartial> = BTreeMap::new();
        let mut tracks: BTreeMap<TrackKey, TrackPath> = BTreeMap::new();
        for rows in part {
            of_part.entry(hour_key(rows)).or_default().absorb(rows, of_camera, rules);
            for (key, point) in track_points(rows) {
                paths.entry(key.clone()).or_default().1.insert(hour_key(rows).hour_us);
                tracks.entry(key).or_default().push(point);
            }
        }
        of_part.into_iter().for_each(|(key, partial)| hours.entry(key).or_default().merge(partial));
        tracks.into_iter().for_each(|(key, path)| paths.entry(key).or_default().0.merge(path));
    }
    let mut all = HourRows::default();
    for (key, mut partial) in hours {
        let of_hour = paths.iter().filter(|(_, (_, hours))| hours.contains(&key.hour_us));
        let tracks: Vec<_> =
            of_hour.filter_map(|(track, (path, _))| path.clone().outcome(track.clone(), of_camera, rules)).collect();
        all.append(partial.rows(&key, &tracks.iter().collect::<Vec<_>>()));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128, rng_seed: RngSeed::Fixed(43), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_and_any_order_give_the_same_rows(frames in scene(), order in prop::collection::vec(any::<u32>(), 301), parts in 1..6usize) {
        let (zones, rules) = (zones(), Rules::default());
        let whole = gold(&frames, &zones, &rules);
        let mut shuffled: Vec<_> = frames.iter().zip(&order).collect();
        shuffled.sort_by_key(|(_, key)| **key);
        let shuffled: Vec<FrameRows> = shuffled.into_iter().map(|(rows, _)| rows.clone()).collect();
        prop_assert_eq!(&gold(&shuffled, &zones, &rules), &whole);
        let split: Vec<_> = shuffled.chunks(shuffled.len().div_ceil(parts)).map(<[_]>::to_vec).collect();
        prop_assert_eq!(&by_parts(&split, &zones, &rules), &whole);
    }

    #[test]
    fn sums_agree_and_time_is_never_made_up(frames in scene()) {
        let found = rows(&frames, &zones());
        let people: i64 = frames.iter().map(|rows| i64::from(rows.frame.people)).sum();
        prop_assert_eq!(found.zone_heatmap.iter().map(|row| row.hits).sum::<i64>(), people);
        prop_assert_eq!(found.people.iter().map(|row| row.detections).sum::<i64>(), people);
        prop_assert_eq!(found.hour.iter().map(|row| row.detection_count).sum::<i64>(), people);
        prop_assert_eq!(found.camera_minute.iter().map(|row| row.frames).sum::<i64>(), frames.len() as i64);
        let of_tracks: i64 = found.track_summary.iter().map(|row| row.summary.end_us - row.summary.start_us).sum();
        prop_assert!(found.zone_dwell.iter().map(|row| row.dwell.micros).sum::<i64>() <= of_tracks);
        prop_assert!(found.zone_visits.iter().map(|row| row.visit.left_us - row.visit.entered_us).sum::<i64>() <= of_tracks);
        let of_visits: i64 = found.zone_visits.iter().map(|row| row.visit.left_us - row.visit.entered_us).sum();
        prop_assert_eq!(found.zone_minute.iter().map(|row| row.dwell_us).sum::<i64>(), of_visits);
        prop_assert_eq!(found.zone_minute.iter().map(|row| row.entered).sum::<i64>(), found.zone_visits.len() as i64);
        prop_assert_eq!(found.zone_minute.iter().map(|row| row.left).sum::<i64>(), found.zone_visits.len() as i64);
    }

    #[test]
    fn each_key_stands_once(frames in scene()) {
        let found = rows(&frames, &zones());
        let visits: BTreeSet<_> = found.zone_visits.iter().map(|row| (&row.key, &row.visit.zone, row.visit.number)).collect();
        prop_assert_eq!(visits.len(), found.zone_visits.len());
        let crossings: BTreeSet<_> =
            found.line_crossings.iter().map(|row| (&row.key, &row.crossing.line, row.crossing.number)).collect();
        prop_assert_eq!(crossings.len(), found.line_crossings.len());
        let minutes: BTreeSet<_> = found.people.iter().map(|row| (&row.camera, row.minute_us)).collect();
        prop_assert_eq!(minutes.len(), found.people.len());
        let cells: BTreeSet<_> = found.zone_dwell.iter().map(|row| &row.key).collect();
        prop_assert_eq!(cells.len(), found.zone_dwell.len());
    }
}

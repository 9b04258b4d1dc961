//! No tracker asks for memory once it has seen as much as it will see at a time.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_track::{TrackerChoice, TrackerFrame, tracker_by_name};
use rva_types::{BBox, Detection, MediaTime};

const WALKERS: usize = 60;
const PERIOD: usize = 100;
const WARM_UP: usize = 4 * PERIOD;

/// Walkers who cross a hall in 60 frames, are away for 40, and start anew at its other side. Neighbours overlap, and
/// every seventh glance is weak. The scene repeats itself every [`PERIOD`] frames.
fn detections(frame: usize) -> Vec<Detection> {
    let walker = |walker: usize| {
        let step = (frame + walker * 37) % PERIOD;
        let (x, y) = (step as f32 * 9.0, (walker / 3) as f32 * 60.0 + (walker % 3) as f32 * 25.0);
        let conf = if (frame + walker).is_multiple_of(7) { 0.2 } else { 0.9 };
        (step < 60).then(|| Detection { bbox: BBox::new(x, y, x + 40.0, y + 100.0), conf, class_id: 0 })
    };
    (0..WALKERS).filter_map(walker).collect()
}

#[test]
fn nothing_is_allocated_in_the_steady_state() {
    let scene: Vec<_> = (0..PERIOD).map(detections).collect();
    let mut problems = Vec::new();
    for name in TrackerChoice::NAMES {
        let mut tracker = tracker_by_name(name).unwrap();
        let (mut tracked, mut last_id) = (Vec::new(), 0);
        let mut ids_at_warm_up = 0;
        let mut follow = |frames: std::ops::Range<usize>| {
            for t in frames {
                let time = MediaTime::from_micros(t as i64 * 40_000);
                tracker.update_into(&TrackerFrame::of_boxes(&scene[t % PERIOD], time), &mut tracked);
                last_id = tracked.iter().filter_map(|tracked| tracked.track_id).fold(last_id, u64::max);
            }
            last_id
        };
        let warm_up = allocation_counter::measure(|| ids_at_warm_up = follow(0..WARM_UP));
        let mut ids = 0;
        let steady = allocation_counter::measure(|| ids = follow(WARM_UP..2 * WARM_UP));
        assert!(warm_up.count_total > 0, "{name}: the counter counts");
        assert!(ids > ids_at_warm_up + WALKERS as u64, "{name}: tracks started, found {ids} after {ids_at_warm_up}");
        if steady.count_total > 0 {
            problems.push(format!("{name}: {} allocations of {} bytes", steady.count_total, steady.bytes_total));
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

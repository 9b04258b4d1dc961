//! The scenes that trackers are timed on, and the timing, which the benchmark and the example `bench_track` share.

use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::time::{ClockId, clock_gettime};
use rva_track::{TrackError, Tracker, TrackerFrame, tracker_by_name};
use rva_types::{BBox, Detection, MediaTime};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

/// The detections of a scene, by frame.
pub type Scene = Vec<Vec<Detection>>;

const CROWD: usize = 1000;
const CROWD_FRAMES: usize = 100;
/// The width and height of the crowd's picture, in pixels.
const CROWD_SIZE: [i32; 2] = [3840, 2160];
/// The share of walkers whom the detector misses in a frame, in percent.
const CROWD_MISSED: u32 = 5;
const FRAME_MICROS: i64 = 33_333;

/// A thousand walkers of 40 x 100 px on a picture of 3840 x 2160, each on a straight way and at most 3 px a frame in
/// either direction, seen to a pixel and a half with a confidence from 0.3 to 1. Coordinates are multiples of 1/16 px,
/// so that a text file loses no bit of them. Always the same.
pub fn crowd() -> Scene {
    let mut rng = StdRng::seed_from_u64(17);
    let mut walkers: Vec<([i32; 2], [i32; 2])> = (0..CROWD)
        .map(|_| (CROWD_SIZE.map(|side| rng.random_range(0..side * 16)), [(); 2].map(|()| rng.random_range(-48..=48))))
        .collect();
    let frame = |_| {
        let mut seen = Vec::with_capacity(CROWD);
        for (place, step) in &mut walkers {
            for axis in 0..2 {
                place[axis] += step[axis];
                if !(0..CROWD_SIZE[axis] * 16).contains(&place[axis]) {
                    step[axis] = -step[axis];
                }
            }
            let [x, y] = place.map(|sixteenths| (sixteenths + rng.random_range(-24..=24)) as f32 / 16.0);
            let (conf, missed) = (rng.random_range(0.3f32..1.0), rng.random_ratio(CROWD_MISSED, 100));
            if !missed {
                seen.push(Detection { bbox: BBox::new(x, y, x + 40.0, y + 100.0), conf, class_id: 0 });
            }
        }
        seen
    };
    (0..CROWD_FRAMES).map(frame).collect()
}

/// A file of MOTChallenge's detections (frame, id, left, top, width, height, confidence), every frame from the first
/// to the last that has one.
///
/// # Errors
/// A file that can't be read, a line that is no detection: with its number.
pub fn read(path: &Path) -> Result<Scene, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    let mut scene = Scene::new();
    for (at, line) in text.lines().enumerate() {
        let fields: Result<Vec<f64>, _> = line.split(',').map(|field| field.trim().parse()).collect();
        let fields = fields.map_err(|error| format!("{}:{}: {error}", path.display(), at + 1))?;
        let &[frame, _, left, top, width, height, conf, ..] = fields.as_slice() else {
            return Err(format!("{}:{}: found {line:?}, wanted seven numbers", path.display(), at + 1));
        };
        let index = (frame as usize).saturating_sub(1);
        scene.resize(scene.len().max(index + 1), Vec::new());
        let bbox = BBox::new(left as f32, top as f32, (left + width) as f32, (top + height) as f32);
        scene[index].push(Detection { bbox, conf: conf.clamp(0.0, 1.0) as f32, class_id: 0 });
    }
    Ok(scene)
}

/// Runs a tracker over scenes again and again, with a new tracker for each.
pub struct Player<'a> {
    name: &'a str,
    scenes: &'a [Scene],
    scene: usize,
    frame: usize,
    tracker: Box<dyn Tracker>,
    tracked: Vec<rva_types::TrackedDetection>,
}

impl<'a> Player<'a> {
    /// At the first frame of the first scene.
    ///
    /// # Errors
    /// There is no such tracker.
    pub fn new(name: &'a str, scenes: &'a [Scene]) -> Result<Self, TrackError> {
        Ok(Self { name, scenes, scene: 0, frame: 0, tracker: tracker_by_name(name)?, tracked: Vec::new() })
    }

    /// The processor's time that the next so many frames take: what they take by the clock on a core that nobody else
    /// wants.
    ///
    /// # Errors
    /// None: the tracker's name has been tried.
    pub fn play(&mut self, frames: u64) -> Result<Duration, TrackError> {
        let began = thread_time();
        for _ in 0..frames {
            let detections = &self.scenes[self.scene][self.frame];
            let time = MediaTime::from_micros(self.frame as i64 * FRAME_MICROS);
            self.tracker.update_into(&TrackerFrame::of_boxes(black_box(detections), time), &mut self.tracked);
            black_box(&self.tracked);
            self.frame += 1;
            if self.frame == self.scenes[self.scene].len() {
                self.frame = 0;
                self.scene = (self.scene + 1) % self.scenes.len();
                self.tracker = tracker_by_name(self.name)?;
            }
        }
        Ok(thread_time() - began)
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

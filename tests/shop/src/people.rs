//! People who come and go in front of a shop's cameras, the same from the same numbers.

use fastrand::Rng;
use rva_types::{
    BBox, CameraId, Detection, FrameRecord, FrameRecordInput, ImageSize, RunId, RuntimeDescription, SourceIdentity,
    StoreId, StreamId, Timestamp, TrackedDetection,
};
use std::collections::VecDeque;

const SIZE: ImageSize = ImageSize { width: 1280, height: 720 };

/// The cameras of a shop.
const CAMERAS_OF_STORE: usize = 5;

/// The mean time that somebody is seen, in seconds.
const STAY_SECONDS: f64 = 40.0;

/// Somebody who walks from one place to another while the camera sees them.
struct Person {
    track_id: u64,
    from_s: f64,
    to_s: f64,
    /// The first and the last place of the feet, in shares of the picture.
    places: [(f64, f64); 2],
}

/// One camera, whose frames are asked for in order.
pub struct Camera {
    pub source: SourceIdentity,
    pub run: RunId,
    rate: f64,
    start: Timestamp,
    /// People in a frame, on average over a day, and whether they keep the hours of a shop.
    mean_people: f64,
    keeps_hours: bool,
    random: Rng,
    present: VecDeque<Person>,
    next_s: f64,
    tracks: u64,
    class_names: Vec<String>,
    runtime: RuntimeDescription,
}

/// A frame: its record as JSON, its time, and how many detections it holds.
pub struct Frame {
    pub json: String,
    pub at: Timestamp,
    pub detections: usize,
}

/// Returns how many times the mean of a day come in an hour of it: none at night, most in the afternoon.
fn busy(hour: f64) -> f64 {
    if (8.0..21.0).contains(&hour) {
        24.0 / 13.0 * (1.0 + 0.6 * ((hour - 9.0) / 13.0 * std::f64::consts::TAU).sin())
    } else {
        0.0
    }
}

impl Camera {
    pub fn new(number: usize, rate: f64, start: Timestamp, mean_people: f64, keeps_hours: bool) -> Self {
        Self {
            source: SourceIdentity {
                store_id: StoreId::parse(format!("store_{:02}", number / CAMERAS_OF_STORE + 1)).unwrap(),
                camera_id: CameraId::parse(format!("cam_{:02}", number + 1)).unwrap(),
                stream_id: StreamId::parse("stream_01").unwrap(),
            },
            run: RunId::parse(format!("{:012x}70008000{:012x}", start.as_micros() / 1000, number + 1)).unwrap(),
            rate,
            start,
            mean_people,
            keeps_hours,
            random: Rng::with_seed(number as u64 + 1),
            present: VecDeque::new(),
            next_s: 0.0,
            tracks: 0,
            class_names: vec!["person".to_owned()],
            runtime: RuntimeDescription {
                model_name: "yolov8n.onnx".to_owned(),
                tracker_type: "steady".to_owned(),
                conf_thres: 0.25,
                class_filter: Some(vec![0]),
            },
        }
    }

    /// Lets come who comes before a moment.
    fn arrive(&mut self, at_s: f64) {
        while self.next_s <= at_s {
            let midnight = self.start.as_micros().rem_euclid(86_400_000_000) as f64 / 1e6;
            let hour = ((midnight + self.next_s) / 3600.0).rem_euclid(24.0);
            let rate = self.mean_people / STAY_SECONDS * if self.keeps_hours { busy(hour) } else { 1.0 };
            if rate <= 0.0 {
                self.next_s += 60.0;
                continue;
            }
            let stay = STAY_SECONDS * (0.2 + 1.6 * self.random.f64());
            let mut place = || (self.random.f64(), 0.25 + 0.75 * self.random.f64());
            let places = [place(), place()];
            self.tracks += 1;
            let from_s = self.next_s;
            self.present.push_back(Person { track_id: self.tracks, from_s, to_s: from_s + stay, places });
            self.next_s += -(1.0 - self.random.f64()).ln() / rate;
        }
        self.present.retain(|person| person.to_s >= at_s);
    }

    /// Returns the frame of a number, from 1; each must be asked for after the one before.
    pub fn frame(&mut self, index: u64) -> Frame {
        let at_s = (index - 1) as f64 / self.rate;
        self.arrive(at_s);
        let (width, height) = (f64::from(SIZE.width), f64::from(SIZE.height));
        let mut seen = Vec::new();
        for person in self.present.iter().filter(|person| person.from_s <= at_s) {
            let share = (at_s - person.from_s) / (person.to_s - person.from_s);
            let [first, last] = person.places;
            let (x, y) = (first.0 + (last.0 - first.0) * share, first.1 + (last.1 - first.1) * share);
            let (x, y) = (x * width, y * height);
            let bbox = BBox::new((x - 30.0) as f32, (y - 160.0) as f32, (x + 30.0) as f32, y as f32);
            let conf = (0.5 + 0.49 * ((index * 31 + person.track_id * 7) % 97) as f64 / 97.0) as f32;
            let detection = Detection { bbox, conf, class_id: 0 };
            seen.push(TrackedDetection { detection, track_id: Some(person.track_id) });
        }
        let at = Timestamp::from_micros(self.start.as_micros() + (at_s * 1e6) as i64);
        let record = FrameRecord::new(&FrameRecordInput {
            run: &self.run,
            source: &self.source,
            frame_index: index,
            capture_ts: at,
            image_size: SIZE,
            detections: &seen,
            class_names: &self.class_names,
            runtime: &self.runtime,
            source_uri: Some("rtsp://camera/stream"),
        });
        Frame { json: record.to_json(), at, detections: record.detection_count() }
    }
}

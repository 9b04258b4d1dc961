//! Fakes of the seams for tests: a source, a detector and a tracker that keep the contracts and can be told to fail.

use rva_track::{Tracker, TrackerFrame};
use rva_types::{BBox, Detection, ImageSize, MediaTime, TrackedDetection};
use rva_vision::{
    Detector, Frame, FrameSource, Image, ModelDescription, Prepare, Prepared, SourceDescription, VisionError,
    VisionErrorKind,
};
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::Duration,
};

/// The fault of a fake when it comes to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Returns an error.
    Error,
    /// Panics.
    Panic,
}

fn fail_at(fault: Option<(u64, Fault)>, index: u64, who: &str) -> Result<(), VisionError> {
    match fault {
        Some((at, Fault::Error)) if at == index => {
            Err(VisionError::new(VisionErrorKind::Incomplete, format!("{who} breaks off at frame {index}")))
        }
        Some((at, Fault::Panic)) if at == index => panic!("{who} panics at frame {index}"),
        _ => Ok(()),
    }
}

/// Returns the time that a stage takes for a frame: always the same for the same frame, different from frame to frame.
fn delay(max: Duration, index: u64) -> Duration {
    max.mul_f64((index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 24) as f64)
}

/// A source that gives small pictures, 25 a second; the first bytes of each are its index.
pub struct FakeSource {
    description: SourceDescription,
    frames: u64,
    given: u64,
    fault: Option<(u64, Fault)>,
    /// The frame before which its size changes; frames that earlier runs gave.
    change: Option<u64>,
    before: u64,
    delay_max: Duration,
    alive: Vec<Weak<Image>>,
    alive_max: Arc<AtomicUsize>,
    on_frame: Box<dyn FnMut(u64) + Send>,
    spacing: Duration,
}

impl FakeSource {
    /// Makes a source of `frames` frames of 8 x 4 pixels.
    pub fn new(frames: u64) -> Self {
        let description = SourceDescription {
            uri: "fake.avi".into(),
            size: ImageSize { width: 8, height: 4 },
            fps: Some(25.0),
            frame_count: Some(frames),
            is_live: false,
            is_part: false,
            hw_acceleration: rva_vision::HwAcceleration::None,
        };
        Self {
            description,
            frames,
            given: 0,
            fault: None,
            change: None,
            before: 0,
            delay_max: Duration::ZERO,
            alive: Vec::new(),
            alive_max: Arc::default(),
            on_frame: Box::new(|_| {}),
            spacing: Duration::from_millis(40),
        }
    }

    /// Fails instead of giving that frame.
    pub fn failing_at(mut self, index: u64, fault: Fault) -> Self {
        self.fault = Some((index, fault));
        self
    }

    /// Has pictures of another size, 16 x 4, from that frame on, counted over all of its runs.
    pub fn changing_at(mut self, index: u64) -> Self {
        self.change = Some(index);
        self
    }

    /// Takes up to that long for a frame.
    pub fn delayed(mut self, max: Duration) -> Self {
        self.delay_max = max;
        self
    }

    /// Claims to be a live source.
    pub fn live(mut self) -> Self {
        self.description.is_live = true;
        self.description.frame_count = None;
        self
    }

    /// Sets the media time between two frames, instead of 40 ms.
    pub fn spaced(mut self, spacing: Duration) -> Self {
        self.spacing = spacing;
        self
    }

    /// Calls `on_frame` with the index of each frame before it is given.
    pub fn on_frame(mut self, on_frame: impl FnMut(u64) + Send + 'static) -> Self {
        self.on_frame = Box::new(on_frame);
        self
    }

    /// Returns the most pictures of this source that were alive at the same time, counted whenever one is given.
    pub fn alive_max(&self) -> Arc<AtomicUsize> {
        self.alive_max.clone()
    }
}

impl FrameSource for FakeSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        let index = self.given + 1;
        fail_at(self.fault, index, "source")?;
        if index > self.frames {
            return Ok(None);
        }
        (self.on_frame)(index);
        if self.change == Some(index) {
            return Err(VisionError::new(VisionErrorKind::SourceChanged, format!("another size at frame {index}")));
        }
        sleep_if_any(delay(self.delay_max, index));
        let mut bytes = vec![0; (self.description.size.width * self.description.size.height * 3) as usize];
        bytes[..8].copy_from_slice(&index.to_le_bytes());
        let image = Arc::new(Image::from_bgr(self.description.size, bytes)?);
        self.alive.retain(|image| image.strong_count() > 0);
        self.alive.push(Arc::downgrade(&image));
        self.alive_max.fetch_max(self.alive.len(), Ordering::Relaxed);
        self.given = index;
        let media_time = MediaTime::from_micros((index as i64 - 1) * self.spacing.as_micros() as i64);
        Ok(Some(Frame { index: index - self.before, media_time, image }))
    }

    fn begin_next_run(&mut self) -> bool {
        let is_changed = self.change == Some(self.given + 1);
        if is_changed {
            self.change = None;
            self.before = self.given;
            self.description.size.width = 16;
        }
        is_changed
    }
}

fn sleep_if_any(time: Duration) {
    if !time.is_zero() {
        sleep(time);
    }
}

/// Returns the index that a [`FakeSource`] wrote into a picture.
pub fn index_of(image: &Image) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&image.bgr_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

type Script = Box<dyn FnMut(u64) -> Vec<Detection> + Send>;

/// A detector that finds in each picture of a [`FakeSource`] what a script says for its index.
pub struct FakeDetector {
    description: ModelDescription,
    script: Script,
    prepare_fault: Option<(u64, Fault)>,
    infer_fault: Option<(u64, Fault)>,
    delay_max: Duration,
    batch_max: Arc<AtomicUsize>,
}

impl FakeDetector {
    /// Makes a detector with the classes `person` and `dog`.
    pub fn new(script: impl FnMut(u64) -> Vec<Detection> + Send + 'static) -> Self {
        let description = ModelDescription {
            name: "fake.onnx".into(),
            class_names: vec!["person".into(), "dog".into()],
            input_size: ImageSize { width: 2, height: 2 },
            device: "cpu".into(),
        };
        let (delay_max, batch_max) = (Duration::ZERO, Arc::default());
        Self { description, script: Box::new(script), prepare_fault: None, infer_fault: None, delay_max, batch_max }
    }

    /// Fails in preparing that frame.
    pub fn failing_to_prepare(mut self, index: u64, fault: Fault) -> Self {
        self.prepare_fault = Some((index, fault));
        self
    }

    /// Fails in the batch of that frame.
    pub fn failing_to_infer(mut self, index: u64, fault: Fault) -> Self {
        self.infer_fault = Some((index, fault));
        self
    }

    /// Takes up to that long for preparing a frame, and for a batch.
    pub fn delayed(mut self, max: Duration) -> Self {
        self.delay_max = max;
        self
    }

    /// Returns the size of the largest batch that was inferred.
    pub fn batch_max(&self) -> Arc<AtomicUsize> {
        self.batch_max.clone()
    }
}

/// Returns a person with that left edge and confidence.
pub fn person(x1: f32, conf: f32) -> Detection {
    Detection { bbox: BBox::new(x1, 0.0, x1 + 2.0, 4.0), conf, class_id: 0 }
}

impl Detector for FakeDetector {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn preparer(&self) -> Box<dyn Prepare> {
        Box::new(FakePrepare { fault: self.prepare_fault, delay_max: self.delay_max })
    }

    fn infer(&mut self, batch: &[Prepared]) -> Result<Vec<Vec<Detection>>, VisionError> {
        self.batch_max.fetch_max(batch.len(), Ordering::Relaxed);
        let mut found = Vec::new();
        for prepared in batch {
            let index = prepared.chw[0] as u64;
            fail_at(self.infer_fault, index, "detector")?;
            sleep_if_any(delay(self.delay_max, index + 1));
            found.push((self.script)(index));
        }
        Ok(found)
    }
}

struct FakePrepare {
    fault: Option<(u64, Fault)>,
    delay_max: Duration,
}

impl Prepare for FakePrepare {
    fn prepare(&mut self, image: &Image) -> Result<Prepared, VisionError> {
        let index = index_of(image);
        fail_at(self.fault, index, "preparer")?;
        sleep_if_any(delay(self.delay_max, index + 2));
        Ok(Prepared {
            chw: vec![index as f32; 12].into(),
            input_size: ImageSize { width: 2, height: 2 },
            source_size: image.size(),
            scale_x: 0.25,
            scale_y: 0.25,
            pad_left: 0.0,
            pad_top: 0.5,
        })
    }
}

/// A tracker that gives the n-th detection of every frame the id n, where its confidence is at least 0.5.
#[derive(Debug, Default)]
pub struct FakeTracker {
    /// The number of frames it has seen.
    pub seen: u64,
    /// The number of the frame at which it panics.
    pub panics_at: Option<u64>,
}

impl Tracker for FakeTracker {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.seen += 1;
        assert!(self.panics_at != Some(self.seen), "tracker panics at its frame {}", self.seen);
        let numbered = frame.detections.iter().zip(1..);
        tracked.clear();
        tracked.extend(
            numbered
                .map(|(&detection, n)| TrackedDetection { detection, track_id: (detection.conf >= 0.5).then_some(n) }),
        );
    }

    fn name(&self) -> &'static str {
        "fake"
    }

    fn lowest_conf(&self) -> f32 {
        0.1
    }
}

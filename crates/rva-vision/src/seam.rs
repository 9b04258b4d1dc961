//! The seams of vision: [`FrameSource`] and [`Detector`]. Both block, and each owns a thread of the pipeline.

use crate::{HwAcceleration, Image, InputBuffer};
use rva_types::{Detection, ImageSize, MediaTime};
use std::sync::Arc;

/// A decoded frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Counts decoded frames of this opening from 1.
    pub index: u64,
    /// Place on the stream's timeline, strictly increasing.
    pub media_time: MediaTime,
    /// The picture, as a viewer would see it (rotation obeyed).
    pub image: Arc<Image>,
}

/// What is known of a source when it is open.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceDescription {
    /// Path or URL, credentials removed.
    pub uri: String,
    /// Size of the frames.
    pub size: ImageSize,
    /// Frames a second as announced; `None` where the container doesn't say.
    pub fps: Option<f64>,
    /// Number of frames as announced, an estimate; `None` for live sources.
    pub frame_count: Option<u64>,
    /// A webcam or stream: it has no end, and its frames are stamped by the wall clock.
    pub is_live: bool,
    /// The hardware that decodes; `none` is the processor.
    pub hw_acceleration: HwAcceleration,
}

/// What happened to a source beside the frames that it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounts {
    /// Complaints of the decoder about damaged data. The picture that they are about is given as the decoder repairs
    /// it, or left out.
    pub decode_errors: u64,
    /// Frames whose own time was missing or couldn't be right: they got one by the usual step.
    pub times_replaced: u64,
}

/// Gives frames one after another.
pub trait FrameSource: Send {
    /// What is known of it.
    fn description(&self) -> &SourceDescription;

    /// What happened until now beside the frames that were given.
    fn counts(&self) -> SourceCounts {
        SourceCounts::default()
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// The source broke off: what was given before is good.
    fn next_frame(&mut self) -> Result<Option<Frame>, crate::VisionError>;

    /// Goes past the next frame, which is counted and has its place in time; `false` at the end. Cheaper than
    /// [`FrameSource::next_frame`] where a source needn't make a picture for it.
    ///
    /// # Errors
    /// As those of [`FrameSource::next_frame`].
    fn skip_frame(&mut self) -> Result<bool, crate::VisionError> {
        Ok(self.next_frame()?.is_some())
    }

    /// After a [`SourceChanged`](crate::VisionErrorKind::SourceChanged): goes on with the frames behind the change, as
    /// another run, and says whether there are any. The description is that of the new run then, indices count from 1
    /// again, and media time goes on.
    fn begin_next_run(&mut self) -> bool {
        false
    }
}

/// What a model says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// File name without its folder.
    pub name: String,
    /// Class names by class id.
    pub class_names: Vec<String>,
    /// Input width and height in pixels.
    pub input_size: ImageSize,
    /// The execution provider that runs it: `cpu`, `cuda:0`, `tensorrt:0`.
    pub device: String,
}

/// Finds objects. `prepare` may run on another thread than `infer`, so that both overlap.
pub trait Detector: Send {
    /// What the model says about itself.
    fn description(&self) -> &ModelDescription;

    /// A preparer for the thread before this one: picture to network input.
    fn preparer(&self) -> Box<dyn Prepare>;

    /// Detections of each prepared picture, in source pixels, best first, after non-maximum suppression.
    fn infer(&mut self, batch: &[Prepared]) -> Result<Vec<Vec<Detection>>, crate::VisionError>;
}

/// Turns a picture into network input.
pub trait Prepare: Send {
    /// Letterbox and normalise.
    fn prepare(&mut self, image: &Image) -> Result<Prepared, crate::VisionError>;
}

/// A network input, `[3, height, width]`, RGB in [0, 1], and the way back to source pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Planar RGB, row by row.
    pub chw: InputBuffer,
    /// Size of the network input.
    pub input_size: ImageSize,
    /// Size of the source picture.
    pub source_size: ImageSize,
    /// Source pixels times this are input pixels, across. It differs from `scale_y` where a side was rounded.
    pub scale_x: f32,
    /// The same, down.
    pub scale_y: f32,
    /// Input pixels to the left of the picture.
    pub pad_left: f32,
    /// Input pixels above the picture.
    pub pad_top: f32,
}

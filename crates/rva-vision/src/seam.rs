//! The seams of vision: [`FrameSource`] and [`Detector`]. Both block, and each owns a thread of the pipeline.

use crate::{HwAcceleration, Image, InputBuffer};
use rva_types::{Detection, ImageSize, MediaTime};
use std::sync::Arc;

/// A decoded frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The frame's number, which counts decoded frames of this opening from 1.
    pub index: u64,
    /// The place on the stream's timeline, strictly increasing.
    pub media_time: MediaTime,
    /// The picture, as a viewer would see it (rotation obeyed).
    pub image: Arc<Image>,
}

/// The facts that are known of a source when it is open.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceDescription {
    /// The path or URL, credentials removed.
    pub uri: String,
    /// The size of the frames in pixels.
    pub size: ImageSize,
    /// The frames a second as announced; `None` where the container doesn't say.
    pub fps: Option<f64>,
    /// The number of frames as announced, an estimate; `None` for live sources.
    pub frame_count: Option<u64>,
    /// Set for a webcam or stream: it has no end, and its frames are stamped by the wall clock.
    pub is_live: bool,
    /// Set for one of the files of a folder or a pattern, which follow each other as runs of one camera.
    pub is_part: bool,
    /// The hardware that decodes; `none` is the processor.
    pub hw_acceleration: HwAcceleration,
}

/// Counts of a source beside the frames that it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounts {
    /// The number of complaints of the decoder about damaged data. The picture that they are about is given as the
    /// decoder repairs it, or left out.
    pub decode_errors: u64,
    /// The number of frames whose own time was missing or couldn't be right: they got one by the usual step.
    pub times_replaced: u64,
}

/// A source that gives frames one after another.
pub trait FrameSource: Send {
    /// Returns the facts that are known of it.
    fn description(&self) -> &SourceDescription;

    /// Returns the counts until now beside the frames that were given.
    fn counts(&self) -> SourceCounts {
        SourceCounts::default()
    }

    /// Returns the next frame; `None` at the end.
    ///
    /// # Errors
    /// Returns an error where the source broke off: frames given before are good.
    fn next_frame(&mut self) -> Result<Option<Frame>, crate::VisionError>;

    /// Goes past the next frame, which is counted and has its place in time; returns `false` at the end. It is cheaper
    /// than [`FrameSource::next_frame`] where a source needn't make a picture for it.
    ///
    /// # Errors
    /// Fails as [`FrameSource::next_frame`] does.
    fn skip_frame(&mut self) -> Result<bool, crate::VisionError> {
        Ok(self.next_frame()?.is_some())
    }

    /// Goes on, after a [`SourceChanged`](crate::VisionErrorKind::SourceChanged), with the frames behind the change, as
    /// another run, and returns whether there are any. The description is that of the new run then, indices count from
    /// 1 again, and media time goes on.
    fn begin_next_run(&mut self) -> bool {
        false
    }
}

/// The facts that a model tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// The file name without its folder.
    pub name: String,
    /// The class names by class id; empty where an id is no class of the model.
    pub class_names: Vec<String>,
    /// The input's width and height in pixels.
    pub input_size: ImageSize,
    /// The execution provider that runs it: `cpu`, `cuda:0`, `tensorrt:0`.
    pub device: String,
}

/// A detector that finds objects. `prepare` may run on another thread than `infer`, so that both overlap.
pub trait Detector: Send {
    /// Returns the facts that the model tells about itself.
    fn description(&self) -> &ModelDescription;

    /// Returns a preparer for the thread before this one: picture to network input.
    fn preparer(&self) -> Box<dyn Prepare>;

    /// Returns the detections of each prepared picture, in source pixels, best first, after non-maximum suppression.
    ///
    /// # Errors
    /// Returns an error where the network failed.
    fn infer(&mut self, batch: &[Prepared]) -> Result<Vec<Vec<Detection>>, crate::VisionError>;
}

/// A preparer that turns a picture into network input.
pub trait Prepare: Send {
    /// Letterboxes or stretches a picture, and normalises it.
    ///
    /// # Errors
    /// Returns an error where OpenCV can't scale it.
    fn prepare(&mut self, image: &Image) -> Result<Prepared, crate::VisionError>;
}

/// A network input, `[3, height, width]`, RGB in [0, 1] or normalised as the model wants it, and the way back to source
/// pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The values, planar RGB, row by row.
    pub chw: InputBuffer,
    /// The size of the network input in pixels.
    pub input_size: ImageSize,
    /// The size of the source picture in pixels.
    pub source_size: ImageSize,
    /// The factor from source pixels to input pixels, across. It differs from `scale_y` where a side was rounded.
    pub scale_x: f32,
    /// The factor from source pixels to input pixels, down.
    pub scale_y: f32,
    /// The number of input pixels to the left of the picture.
    pub pad_left: f32,
    /// The number of input pixels above the picture.
    pub pad_top: f32,
}

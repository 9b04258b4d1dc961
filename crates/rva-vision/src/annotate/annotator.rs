//! Drawing alone, for whoever shows pictures without writing a video.

use super::{AnnotateOptions, config, drawing, trails::Trails};
use crate::{Image, VisionError, VisionErrorKind, image::opencv_failed};
use opencv::{
    core::{Mat, Vector},
    imgcodecs,
    prelude::*,
};
use rva_types::TrackedDetection;

/// Draws boxes, labels and trails on copies of one camera's pictures, one after another: track ids are the camera's.
pub struct Annotator {
    options: AnnotateOptions,
    trails: Trails,
    /// The last picture with its annotations, in its own size.
    latest: Mat,
}

impl Annotator {
    /// Makes one that has drawn nothing.
    pub fn new(options: &AnnotateOptions) -> Self {
        Self { options: options.clone(), trails: Trails::new(options.trail_frames), latest: Mat::default() }
    }

    /// Draws on a copy of the picture, which [`Annotator::encode`] gives then. Boxes are in source pixels; a class id
    /// without a name is written as its number.
    ///
    /// # Errors
    /// Returns an error where OpenCV can't draw.
    pub fn draw(
        &mut self,
        image: &Image,
        detections: &[TrackedDetection],
        class_names: &[String],
    ) -> Result<(), VisionError> {
        self.trails.advance(detections);
        self.draw_all(image, detections, class_names).map_err(opencv_failed)
    }

    fn draw_all(&mut self, image: &Image, detections: &[TrackedDetection], names: &[String]) -> opencv::Result<()> {
        image.mat().copy_to(&mut self.latest)?;
        let pen = drawing::Pen::of(image.size());
        for (track_id, points) in self.trails.iter() {
            pen.trail(&mut self.latest, track_id, points)?;
        }
        for tracked in detections.iter().filter(|tracked| tracked.detection.bbox.is_finite()) {
            let label = self.options.has_labels.then(|| drawing::label(tracked, names));
            pen.detection(&mut self.latest, image.size(), tracked, label.as_deref())?;
        }
        Ok(())
    }

    /// Returns the latest annotated picture, in its own size, as a file of a format: `jpg`, `jpeg` or `png`.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Empty`] before the first picture, [`VisionErrorKind::Config`] for another format.
    pub fn encode(&self, format: &str) -> Result<Vec<u8>, VisionError> {
        let extension = match format {
            "jpg" | "jpeg" => ".jpg",
            "png" => ".png",
            other => return Err(config(format!("found extension {other:?}, wanted jpg, jpeg or png"))),
        };
        if self.latest.empty() {
            return Err(VisionError::new(VisionErrorKind::Empty, "found no picture yet, wanted at least 1"));
        }
        let mut bytes = Vector::<u8>::new();
        imgcodecs::imencode_def(extension, &self.latest, &mut bytes).map_err(opencv_failed)?;
        Ok(bytes.to_vec())
    }

    pub(super) fn latest(&self) -> &Mat {
        &self.latest
    }
}

impl std::fmt::Debug for Annotator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Annotator({:?})", self.options)
    }
}

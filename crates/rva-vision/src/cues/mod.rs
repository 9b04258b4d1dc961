//! Cues of a frame that a tracker wants besides boxes: the camera's motion, and the looks of detections.

mod crops;
mod embedder;
mod motion;
#[cfg(feature = "camera-motion")]
mod opencv_motion;

pub use embedder::{Embedder, EmbedderOptions};
pub use motion::{CAMERA_MOTION_IS_BUILT_IN, CameraMotion};

use crate::{Image, VisionError, VisionErrorKind};
use rva_track::{Cues, Embeddings, Warp};
use rva_types::{BBox, Detection};

/// The cues that were found in a frame for its tracker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameCues {
    /// The motion of the picture since the frame before.
    pub camera_motion: Option<Warp>,
    /// The rows for [`FrameCues::embeddings`].
    pub appearance: Option<Appearance>,
    /// The number of detections that should have been looked at and weren't, since the frame had too many of them.
    pub crops_left_out: u64,
}

/// The looks of the detections of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Appearance {
    /// The count of numbers in a row, at least 1.
    pub dim: usize,
    /// The rows, one for each detection, of length 1; NaN where nobody looked.
    pub values: Vec<f32>,
}

impl FrameCues {
    /// Returns the looks as a tracker takes them.
    pub fn embeddings(&self) -> Option<Embeddings<'_>> {
        self.appearance.as_ref().and_then(|appearance| Embeddings::new(appearance.dim, &appearance.values))
    }
}

/// A finder that looks at each processed frame for a tracker, in frame order. One follows one camera through one run.
pub trait FindCues: Send {
    /// Finds the cues of the next frame, whose detections are in the detector's order.
    ///
    /// # Errors
    /// Returns an error where the run can't go on: a network failed.
    fn find(&mut self, image: &Image, detections: &[Detection]) -> Result<FrameCues, VisionError>;
}

/// A finder of the cues that [`Cues`] ask for.
#[derive(Debug)]
pub struct CueFinder {
    motion: Option<CameraMotion>,
    looks: Option<(Embedder, f32)>,
}

impl CueFinder {
    /// Makes a finder for a tracker that wants `cues`; `None` where it wants boxes only. `embedder` is asked for when
    /// appearance is wanted.
    ///
    /// # Errors
    /// Fails as [`CameraMotion::new`] and `embedder` do.
    pub fn for_tracker(
        cues: Cues,
        embedder: impl FnOnce() -> Result<Embedder, VisionError>,
    ) -> Result<Option<Self>, VisionError> {
        let motion = CameraMotion::new(cues.gmc_method)?;
        let looks = match cues.appearance_from {
            Some(from) if from.is_nan() => {
                return Err(VisionError::new(VisionErrorKind::Config, "found no number for a confidence"));
            }
            Some(from) => Some((embedder()?, from)),
            None => None,
        };
        Ok((motion.is_some() || looks.is_some()).then_some(Self { motion, looks }))
    }
}

impl FindCues for CueFinder {
    fn find(&mut self, image: &Image, detections: &[Detection]) -> Result<FrameCues, VisionError> {
        let camera_motion = self.motion.as_mut().and_then(|motion| motion.next(image, detections));
        let (mut appearance, mut crops_left_out) = (None, 0);
        if let Some((embedder, from)) = &mut self.looks {
            let dim = embedder.dim();
            // The surest first, should there be too many; NaN is below every bound.
            let mut wanted: Vec<usize> = (0..detections.len()).filter(|&i| detections[i].conf >= *from).collect();
            wanted.sort_by(|&a, &b| detections[b].conf.total_cmp(&detections[a].conf));
            let crops_max = embedder.crops_max();
            crops_left_out = wanted.len().saturating_sub(crops_max) as u64;
            wanted.truncate(crops_max);
            let boxes: Vec<BBox> = wanted.iter().map(|&i| detections[i].bbox).collect();
            let found = embedder.embed(image, &boxes)?;
            let mut values = vec![f32::NAN; detections.len() * dim];
            for (&i, row) in wanted.iter().zip(found.chunks_exact(dim)) {
                values[i * dim..(i + 1) * dim].copy_from_slice(row);
            }
            appearance = Some(Appearance { dim, values });
        }
        Ok(FrameCues { camera_motion, appearance, crops_left_out })
    }
}

//! What a tracker wants to know of a frame besides boxes: how the camera moved, and how each detection looks.

mod crops;
mod embedder;
#[cfg(feature = "camera-motion")]
mod finder;
mod motion;

pub use embedder::{Embedder, EmbedderOptions};
pub use motion::{CAMERA_MOTION_IS_BUILT_IN, CameraMotion};

use crate::{Image, VisionError, VisionErrorKind};
use rva_track::{Cues, Embeddings, Warp};
use rva_types::{BBox, Detection};

/// What was found in a frame for its tracker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameCues {
    /// How the picture moved since the frame before.
    pub camera_motion: Option<Warp>,
    /// Rows for [`FrameCues::embeddings`].
    pub appearance: Option<Appearance>,
    /// Detections that should have been looked at and weren't, since the frame had too many of them.
    pub crops_left_out: u64,
}

/// How the detections of a frame look.
#[derive(Debug, Clone, PartialEq)]
pub struct Appearance {
    /// Numbers in a row, at least 1.
    pub dim: usize,
    /// One row a detection, of length 1; NaN where nobody looked.
    pub values: Vec<f32>,
}

impl FrameCues {
    /// As a tracker takes them.
    pub fn embeddings(&self) -> Option<Embeddings<'_>> {
        self.appearance.as_ref().and_then(|appearance| Embeddings::new(appearance.dim, &appearance.values))
    }
}

/// Looks at each processed frame for a tracker, in frame order. One follows one camera through one run.
pub trait FindCues: Send {
    /// What there is to know of the next frame, whose detections are in the detector's order.
    ///
    /// # Errors
    /// The run can't go on: a network failed.
    fn find(&mut self, image: &Image, detections: &[Detection]) -> Result<FrameCues, VisionError>;
}

/// Finds what [`Cues`] ask for.
#[derive(Debug)]
pub struct CueFinder {
    motion: Option<CameraMotion>,
    looks: Option<(Embedder, f32)>,
}

impl CueFinder {
    /// For a tracker that wants `cues`; `None` where it wants boxes only. `embedder` is asked for when appearance is wanted.
    ///
    /// # Errors
    /// As those of [`CameraMotion::new`] and of `embedder`.
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

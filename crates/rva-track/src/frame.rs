//! A frame as a tracker is told of it.

use crate::ParamKind;
use rva_types::{Detection, ImageSize, MediaTime};

/// One processed frame as a tracker sees it: never the picture itself, only what others found in it.
#[derive(Debug, Clone, Copy)]
pub struct TrackerFrame<'a> {
    /// The detections that the detector kept, all of them.
    pub detections: &'a [Detection],
    /// The frame's place on the stream's timeline; trackers that count frames may ignore it.
    pub media_time: MediaTime,
    /// The size of the picture in source pixels, where it is known.
    pub image_size: Option<ImageSize>,
    /// The movement of the picture since the frame before; `None` where nobody looked or nothing was found out.
    pub camera_motion: Option<Warp>,
    /// The looks of the detections; `None` where nobody looked.
    pub embeddings: Option<Embeddings<'a>>,
}

impl<'a> TrackerFrame<'a> {
    /// Makes a frame of which only boxes are known.
    pub fn of_boxes(detections: &'a [Detection], media_time: MediaTime) -> Self {
        Self { detections, media_time, image_size: None, camera_motion: None, embeddings: None }
    }
}

/// A 2×3 affine map, row by row: it takes source pixels of the frame before to those of this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp(pub [[f64; 3]; 2]);

impl Warp {
    /// The map of a camera that stood still.
    pub const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
}

/// Appearance vectors of one frame's detections, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings<'a> {
    dim: usize,
    values: &'a [f32],
}

impl<'a> Embeddings<'a> {
    /// Wraps `values`, one row of `dim` numbers a detection, each of length 1 in the Euclidean norm; a row that begins
    /// with NaN belongs to a detection that nobody looked at. Returns `None` when `values` isn't whole rows.
    pub fn new(dim: usize, values: &'a [f32]) -> Option<Self> {
        (dim > 0 && values.len().is_multiple_of(dim)).then_some(Self { dim, values })
    }

    /// Returns the count of numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the row of a detection; `None` where nobody looked at it.
    pub fn get(&self, detection: usize) -> Option<&'a [f32]> {
        let row = self.values.get(detection.checked_mul(self.dim)?..)?.get(..self.dim)?;
        row.iter().all(|value| value.is_finite()).then_some(row)
    }
}

/// Returns the cosine of the angle between two looks; `None` where they aren't of one model.
pub(crate) fn likeness(a: &[f32], b: &[f32]) -> Option<f64> {
    (a.len() == b.len()).then(|| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()))
}

/// The method by which camera motion is found (`gmc_method` of Ultralytics' tracker YAML).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GmcMethod {
    /// Doesn't look for it.
    #[default]
    None,
    /// Corners followed by pyramidal Lucas-Kanade optical flow.
    SparseOptFlow,
    /// ORB key points and their descriptors.
    Orb,
    /// The enhanced correlation coefficient of whole pictures.
    Ecc,
}

impl GmcMethod {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::SparseOptFlow, Self::Orb, Self::Ecc];
    pub(crate) const KIND: ParamKind = ParamKind::OneOf(&["none", "sparseOptFlow", "orb", "ecc"]);

    /// Returns the method's name as it stands in a YAML file.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SparseOptFlow => "sparseOptFlow",
            Self::Orb => "orb",
            Self::Ecc => "ecc",
        }
    }
}

/// The cues that a tracker makes use of besides boxes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cues {
    /// The method by which the camera's own motion should be found.
    pub gmc_method: GmcMethod,
    /// The confidence from which (inclusive) a detection's appearance is used; `None` where no detection's is.
    pub appearance_from: Option<f32>,
}

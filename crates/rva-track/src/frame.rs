//! What a tracker is told of a frame.

use crate::Kind;
use rva_types::{Detection, ImageSize, MediaTime};

/// One processed frame, as a tracker sees it: never the picture itself, only what others found in it.
#[derive(Debug, Clone, Copy)]
pub struct TrackerFrame<'a> {
    /// Everything that the detector kept.
    pub detections: &'a [Detection],
    /// Place on the stream's timeline; trackers that count frames may ignore it.
    pub media_time: MediaTime,
    /// Size of the picture in source pixels, where it is known.
    pub image_size: Option<ImageSize>,
    /// How the picture moved since the frame before; `None` where nobody looked or nothing was found out.
    pub camera_motion: Option<Warp>,
    /// How the detections look; `None` where nobody looked.
    pub embeddings: Option<Embeddings<'a>>,
}

impl<'a> TrackerFrame<'a> {
    /// A frame of which only boxes are known.
    pub fn of_boxes(detections: &'a [Detection], media_time: MediaTime) -> Self {
        Self { detections, media_time, image_size: None, camera_motion: None, embeddings: None }
    }
}

/// A 2×3 affine map, row by row: source pixels of the frame before to those of this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp(pub [[f64; 3]; 2]);

impl Warp {
    /// The camera stood still.
    pub const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
}

/// Appearance vectors of one frame's detections, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings<'a> {
    dim: usize,
    values: &'a [f32],
}

impl<'a> Embeddings<'a> {
    /// `values` holds one row of `dim` numbers a detection, each of length 1 in the Euclidean norm; a row that begins
    /// with NaN belongs to a detection that nobody looked at. `None` when `values` isn't whole rows.
    pub fn new(dim: usize, values: &'a [f32]) -> Option<Self> {
        (dim > 0 && values.len().is_multiple_of(dim)).then_some(Self { dim, values })
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The row of a detection; `None` where nobody looked at it.
    pub fn get(&self, detection: usize) -> Option<&'a [f32]> {
        let row = self.values.get(detection.checked_mul(self.dim)?..)?.get(..self.dim)?;
        row.iter().all(|value| value.is_finite()).then_some(row)
    }
}

/// The cosine of the angle between two looks; `None` where they aren't of one model.
pub(crate) fn likeness(a: &[f32], b: &[f32]) -> Option<f64> {
    (a.len() == b.len()).then(|| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()))
}

/// How camera motion is found (`gmc_method` of Ultralytics' tracker YAML).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GmcMethod {
    /// Not at all.
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
    pub(crate) const KIND: Kind = Kind::OneOf(&["none", "sparseOptFlow", "orb", "ecc"]);

    /// As it stands in a YAML file.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SparseOptFlow => "sparseOptFlow",
            Self::Orb => "orb",
            Self::Ecc => "ecc",
        }
    }
}

/// What a tracker makes use of besides boxes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cues {
    /// How the camera's own motion should be found.
    pub gmc_method: GmcMethod,
    /// The confidence from which (inclusive) a detection's appearance is used; `None`: of no detection.
    pub appearance_from: Option<f32>,
}

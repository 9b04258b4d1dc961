//! OC-SORT's parameters, under the names of the authors' code.

use super::AssoFunc;
use crate::params::{ParamKind, params};
use crate::{OcSort, ParamError};

params! {
    /// OC-SORT's parameters. The default is the authors'. Their `det_thresh` is far above what the detector keeps by
    /// default.
    #[derive(Copy)]
    OcSortParams of OcSort::NAME,
    /// Confidence above which (exclusive) a detection is used, in [0, 1]. Raising it means fewer false tracks and more
    /// gaps.
    det_thresh: f32 = 0.6, ParamKind::SHARE;
    /// The number of processed frames for which a track that isn't seen is kept. Raising it bridges longer occlusions
    /// and confuses more people.
    max_age: u32 = 30, ParamKind::FRAMES;
    /// The number of frames in a row after its first that a track must be seen in to be confirmed, also after every
    /// gap; in the first `min_hits` frames of a run none. Raising it means fewer false tracks and later starts.
    min_hits: u32 = 3, ParamKind::FRAMES;
    /// Lowest likeness (inclusive; see `asso_func`) at which a track takes a detection, in [0, 1]. Raising it accepts
    /// fewer pairs.
    iou_threshold: f32 = 0.3, ParamKind::SHARE;
    /// The number of frames over which a track's direction is taken. Raising it makes the direction less noisy and
    /// slower to follow a turn.
    delta_t: u32 = 3, ParamKind::Count { least: 1, most: 300 };
    /// The measure of likeness of two boxes; all but `iou` also tell boxes apart that don't overlap, and want a higher
    /// `iou_threshold`.
    asso_func: AssoFunc = AssoFunc::Iou, AssoFunc::KIND;
    /// The weight of the agreement of directions beside likeness, in [0, 1]. Raising it prefers straight ways where
    /// boxes overlap.
    inertia: f32 = 0.2, ParamKind::SHARE;
    /// Lets weak detections (above 0.1) keep tracks alive that no other detection does, as in ByteTrack.
    use_byte: bool = false, ParamKind::Flag;
}

impl OcSortParams {
    /// Checks every key against its range.
    ///
    /// # Errors
    /// Returns an error for the first key that is out of its range, with found and wanted.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.check_ranges()
    }
}

//! A track as its tracker sees it, and the measure of its overlap with a detection.

use rva_types::BBox;

/// The measure of a track's overlap with a detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// IoU with the box that the filter predicts for this frame, over continuous coordinates, as in the paper.
    #[default]
    Predicted,
    /// IoU with the filter's box of the frame in which the track was seen last, over whole pixels (one is added to
    /// every width and height), as in ByteTrack-cpp. It loses fast walkers sooner; it is here so that the rest of the
    /// algorithm can be compared with that implementation number by number.
    LastSeen,
}

impl Overlap {
    pub(crate) fn margin(self) -> f64 {
        match self {
            Self::Predicted => 0.0,
            Self::LastSeen => 1.0,
        }
    }
}

/// The place of a track in its life. A removed track is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackState {
    /// A track that has been seen once.
    Tentative,
    /// A track that has been seen at least twice, or on the first frame, and in the latest frame.
    Confirmed,
    /// A track that was confirmed, and isn't seen in the latest frame.
    Lost,
}

/// The tracker's own belief about a track. Records hold the detector's boxes; this is for evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackEstimate {
    /// The track's id, from 1.
    pub track_id: u64,
    /// The filter's box in source pixels, xyxy; not clipped to the frame.
    pub bbox: BBox,
    /// The confidence of the latest detection, on the detector's scale.
    pub conf: f32,
    /// The state after the latest frame.
    pub state: TrackState,
}

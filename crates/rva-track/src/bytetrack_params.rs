//! ByteTrack's parameters, under the keys of Ultralytics' tracker YAML.

use crate::params::{ParamKind, check_order, params};
use crate::{ByteTrack, ParamError};

params! {
    /// ByteTrack's parameters. The default is Ultralytics' `bytetrack.yaml`.
    #[derive(Copy)]
    ByteTrackParams of ByteTrack::NAME,
    /// Confidence from which (inclusive) a detection takes part in the first association, in [0, 1]. Raising it
    /// moves detections to the second stage, where they can keep a track alive but not start or find one again.
    track_high_thresh: f32 = 0.25, ParamKind::SHARE;
    /// Confidence above which (exclusive) a detection takes part in the second association, in [0, 1] and at most
    /// `track_high_thresh`. Raising it makes tracks break in occlusions; lowering it lets them hang on background.
    track_low_thresh: f32 = 0.1, ParamKind::SHARE;
    /// Confidence from which (inclusive) a detection that no track took starts one, in [0, 1]. Raising it means
    /// fewer false tracks and later starts.
    new_track_thresh: f32 = 0.25, ParamKind::SHARE;
    /// The number of processed frames for which a lost track is kept. Raising it bridges longer occlusions and
    /// confuses more people.
    track_buffer: u32 = 30, ParamKind::FRAMES;
    /// Highest distance (exclusive; 1 - IoU, times confidence where `fuse_score` is on) at which a track takes a
    /// detection in the first association, in [0, 1]. Raising it accepts pairs that overlap less.
    match_thresh: f32 = 0.8, ParamKind::SHARE;
    /// Multiplies the overlap with the detection's confidence in the first association and in that of the tentative
    /// tracks.
    fuse_score: bool = true, ParamKind::Flag;
}

impl ByteTrackParams {
    /// Checks every range, and that `track_low_thresh` is not above `track_high_thresh`.
    ///
    /// # Errors
    /// Returns an error for the first key that is out of its range, with found and wanted.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.check_ranges()?;
        check_order(("track_low_thresh", self.track_low_thresh), ("track_high_thresh", self.track_high_thresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_threshold_above_the_high_one_is_refused() {
        let params = ByteTrackParams { track_low_thresh: 0.5, ..Default::default() };
        let text = params.validate().unwrap_err().to_string();
        assert_eq!(text, "found track_low_thresh 0.5, wanted at most track_high_thresh, which is 0.25");
        assert_eq!(ByteTrackParams { track_low_thresh: 0.25, ..Default::default() }.validate(), Ok(()));
    }

    #[test]
    fn validation_finds_what_a_struct_literal_brought_in() {
        for params in [
            ByteTrackParams { match_thresh: f32::NAN, ..Default::default() },
            ByteTrackParams { new_track_thresh: 2.0, ..Default::default() },
            ByteTrackParams { track_buffer: u32::MAX, ..Default::default() },
        ] {
            assert!(matches!(params.validate(), Err(ParamError::Invalid { .. })), "{params:?}");
        }
    }
}

//! ByteTrack, which keeps tracks alive by weak detections too.
//!
//! Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (ECCV 2022),
//! algorithm 1. What the paper leaves open is as in the authors' code: a new track is tentative until a second
//! detection confirms it (those of the first frame are confirmed at once), tentative tracks come after the others,
//! a track and a lost one at the same place are one, and the thresholds of the last three associations. Differences:
//! IoU is over continuous coordinates as Ultralytics has it (the authors add a pixel, see [`Overlap`]), and a lost
//! track is removed in the frame in which its buffer runs out (the authors' lists keep it for one more).

use crate::estimate::{Overlap, TrackEstimate};
use crate::kalman::{BoxFilter, Rect};
use crate::two_stage::{Target, TwoStage};
use crate::{ByteTrackParams, ParamError, Tracker, TrackerFrame};
use rva_types::TrackedDetection;

/// The most tracks at a time, lost and tentative ones included; beyond it no new one starts, which is counted.
pub const TRACKS_MAX: usize = 4096;

/// Tracks by ByteTrack, for one camera and run.
///
/// Association doesn't look at the class, as in the paper: a person whom the detector calls a dog for one frame keeps
/// the track. Who wants one class only filters the detections. A detection without finite numbers or without an area
/// gets no track. Ids are minted when a track starts, as the authors do it, so a tentative track that nobody
/// confirms uses one up.
#[derive(Debug)]
pub struct ByteTrack {
    params: ByteTrackParams,
    tracks: TwoStage<BoxFilter>,
}

impl Target for BoxFilter {
    type Gates = ();

    fn start(rect: &Rect, _: Option<&[f32]>) -> Self {
        Self::new(rect)
    }

    fn predict(&mut self, lost: bool) {
        if lost {
            self.hold_height();
        }
        Self::predict(self);
    }

    fn take(&mut self, rect: &Rect, _: Option<&[f32]>) {
        self.update(rect);
    }

    fn rect(&self) -> Rect {
        Self::rect(self)
    }
}

impl ByteTrack {
    /// The tracker's name as `--tracker` takes it.
    pub const NAME: &'static str = "bytetrack";

    /// Makes a tracker that has seen nothing.
    ///
    /// # Errors
    /// Fails as [`ByteTrackParams::validate`] does.
    pub fn new(params: ByteTrackParams) -> Result<Self, ParamError> {
        Self::with_overlap(params, Overlap::default())
    }

    /// Makes a tracker that has seen nothing and measures overlap in a way of its own.
    ///
    /// # Errors
    /// Fails as [`ByteTrackParams::validate`] does.
    pub fn with_overlap(params: ByteTrackParams, overlap: Overlap) -> Result<Self, ParamError> {
        params.validate()?;
        Ok(Self { params, tracks: TwoStage::new(params, overlap, ()) })
    }

    /// Returns all tracks as they are after the latest frame, in no promised order.
    pub fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.tracks()
    }
}

impl Tracker for ByteTrack {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.tracks.predict();
        self.tracks.associate_into(frame, tracked);
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lowest_conf(&self) -> f32 {
        self.params.track_low_thresh
    }

    fn new_tracks_refused(&self) -> u64 {
        self.tracks.new_tracks_refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::TrackState;
    use rva_types::{BBox, Detection, MediaTime};

    fn tracker() -> ByteTrack {
        ByteTrack::new(ByteTrackParams::default()).unwrap()
    }

    fn seen(x: f32, conf: f32) -> Detection {
        Detection { bbox: BBox::new(x, 100.0, x + 40.0, 220.0), conf, class_id: 0 }
    }

    fn ids(tracker: &mut ByteTrack, detections: &[Detection]) -> Vec<Option<u64>> {
        tracker.update(detections, MediaTime::default()).iter().map(|tracked| tracked.track_id).collect()
    }

    #[test]
    fn the_first_frame_confirms_at_once_and_a_later_track_at_its_second_hit() {
        let mut tracker = tracker();
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [Some(1)]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9), seen(300.0, 0.9)]), [Some(1), None]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9), seen(300.0, 0.9)]), [Some(1), Some(2)]);
    }

    #[test]
    fn a_tentative_track_that_is_not_seen_again_ends_and_its_id_is_gone() {
        let mut tracker = tracker();
        ids(&mut tracker, &[]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [None]);
        assert_eq!(tracker.tracks().map(|t| (t.track_id, t.state)).collect::<Vec<_>>(), [(1, TrackState::Tentative)]);
        ids(&mut tracker, &[]);
        assert_eq!(tracker.tracks().count(), 0);
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [Some(2)]);
    }

    #[test]
    fn a_weak_detection_keeps_its_track_alive_in_the_second_stage() {
        let mut tracker = tracker();
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        assert_eq!(ids(&mut tracker, &[seen(2.0, 0.15)]), [Some(1)]);
        assert_eq!(ids(&mut tracker, &[seen(4.0, 0.9)]), [Some(1)]);
    }

    #[test]
    fn a_weak_detection_starts_nothing_and_finds_no_lost_track_again() {
        let mut tracker = tracker();
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9), seen(300.0, 0.2)]), [Some(1), None]);
        ids(&mut tracker, &[]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.2), seen(300.0, 0.2)]), [None, None]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [Some(1)]);
    }

    #[test]
    fn a_detection_at_the_low_threshold_is_not_used_and_one_at_the_high_one_is_strong() {
        let mut tracker = tracker();
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.25)]), [Some(1)]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.1)]), [None]);
        assert_eq!(tracker.lowest_conf(), 0.1);
    }

    #[test]
    fn a_track_lost_within_its_buffer_keeps_its_id() {
        let mut tracker = tracker();
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        for _ in 0..30 {
            ids(&mut tracker, &[]);
        }
        assert_eq!(tracker.tracks().map(|t| t.state).collect::<Vec<_>>(), [TrackState::Lost]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [Some(1)]);
    }

    #[test]
    fn frames_without_detections_still_age_tracks() {
        let mut tracker = tracker();
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        for _ in 0..31 {
            ids(&mut tracker, &[]);
        }
        assert_eq!(tracker.tracks().count(), 0);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [None]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [Some(2)]);
    }

    #[test]
    fn a_walker_is_found_where_the_filter_says_after_an_occlusion() {
        let mut tracker = tracker();
        let step = 6.0;
        for t in 0..30u8 {
            ids(&mut tracker, &[seen(step * f32::from(t), 0.9)]);
        }
        for _ in 0..10 {
            ids(&mut tracker, &[]);
        }
        assert_eq!(ids(&mut tracker, &[seen(step * 40.0, 0.9)]), [Some(1)], "60 px on, and the box is 40 px wide");
    }

    #[test]
    fn of_a_track_and_a_lost_one_at_the_same_place_the_one_seen_for_longer_stays() {
        for (frames_of_the_first, survivor) in [(20, 1), (3, 2)] {
            let mut tracker = tracker();
            for _ in 0..frames_of_the_first {
                assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [Some(1)]);
            }
            // Too far off for the first track, which is lost; the second one then comes to lie where the first was.
            let walk = [30.0, 30.0, 24.0, 18.0, 12.0, 6.0, 2.0].map(|x| ids(&mut tracker, &[seen(x, 0.9)])[0]);
            assert_eq!(walk[..6], [None, Some(2), Some(2), Some(2), Some(2), Some(2)]);
            assert_eq!(tracker.tracks().map(|track| track.track_id).collect::<Vec<_>>(), [survivor]);
        }
    }

    #[test]
    fn a_weak_score_counts_against_a_pair_only_where_scores_are_fused() {
        for (fuse_score, wanted) in [(true, None), (false, Some(1))] {
            let mut tracker = ByteTrack::new(ByteTrackParams { fuse_score, ..Default::default() }).unwrap();
            ids(&mut tracker, &[seen(0.0, 0.9)]);
            // IoU 1/3 times 0.3 is a distance of 0.9; alone it is one of 0.67.
            assert_eq!(ids(&mut tracker, &[seen(20.0, 0.3)]), [wanted]);
        }
    }

    #[test]
    fn the_class_does_not_part_a_track() {
        let mut tracker = tracker();
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        assert_eq!(ids(&mut tracker, &[Detection { class_id: 16, ..seen(0.0, 0.9) }]), [Some(1)]);
    }

    #[test]
    fn detections_without_numbers_or_area_get_no_track() {
        let mut tracker = tracker();
        let bad = [
            BBox::new(f32::NAN, 0.0, 40.0, 120.0),
            BBox::new(0.0, f32::NEG_INFINITY, 40.0, 120.0),
            BBox::new(0.0, 0.0, 0.0, 120.0),
            BBox::new(0.0, 120.0, 40.0, 0.0),
        ];
        let mut detections: Vec<_> = bad.iter().map(|&bbox| Detection { bbox, conf: 0.9, class_id: 0 }).collect();
        detections.push(seen(0.0, f32::NAN));
        detections.push(seen(0.0, 0.9));
        assert_eq!(ids(&mut tracker, &detections), [None, None, None, None, None, Some(1)]);
        assert_eq!(tracker.tracks().count(), 1);
    }

    #[test]
    fn boxes_given_back_are_the_detectors_own() {
        let mut tracker = tracker();
        for t in 0..20u8 {
            let detections = [seen(f32::from(t) * 5.0, 0.9), seen(500.0, 0.05)];
            let tracked = tracker.update(&detections, MediaTime::default());
            assert_eq!(tracked.iter().map(|t| t.detection).collect::<Vec<_>>(), detections);
        }
    }

    #[test]
    fn past_the_bound_no_track_starts_and_it_is_counted() {
        let mut tracker = tracker();
        let many: Vec<_> = (0..TRACKS_MAX + 3).map(|i| seen(i as f32 * 100.0, 0.9)).collect();
        let found = ids(&mut tracker, &many);
        assert_eq!(found.iter().filter(|id| id.is_none()).count(), 3);
        assert_eq!((tracker.tracks().count(), tracker.new_tracks_refused()), (TRACKS_MAX, 3));
    }
}

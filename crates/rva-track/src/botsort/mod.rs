//! BoT-SORT, a ByteTrack with a filter over width and height, the camera's motion, and appearance.
//!
//! Source: Aharon et al., "BoT-SORT: Robust Associations Multi-Pedestrian Tracking" (2022), as Ultralytics runs it:
//! thresholds and keys are those of its `botsort.yaml`, both gates of appearance are likenesses (`1 -` distance, the
//! authors have distances), and scores are fused in the first association only if `fuse_score` says so. Association
//! and life of a track are [`crate::ByteTrack`]'s, with what that one has of differences. Two more: a detection that
//! nobody looked at is joined by overlap alone, and appearance is compared only where the gate of overlap lets it
//! count, which gives the same.
//!
//! Nothing here looks at pictures: the warp and the embeddings come with the frame. The default `gmc_method` is
//! Ultralytics' `sparseOptFlow`, which needs a program built with the cargo feature `camera-motion`; one without
//! refuses it at the start, and takes a YAML file that says `gmc_method: none`. `model` is read by who makes the
//! embeddings.

mod motion;
#[cfg(test)]
mod tests;

use crate::estimate::Overlap;
use crate::frame::likeness;
use crate::kalman::Rect;
use crate::params::{ParamKind, check_order, params};
use crate::two_stage::{Target, TwoStage};
use crate::{ByteTrackParams, Cues, GmcMethod, ParamError, TrackEstimate, Tracker, TrackerFrame, Warp};
use motion::SizeFilter;
use rva_types::TrackedDetection;

/// The share of the old in the moving average of a track's appearance.
const LOOK_INERTIA: f32 = 0.9;

params! {
    /// BoT-SORT's parameters. The default is Ultralytics' `botsort.yaml`.
    #[derive(Copy)]
    BotSortParams of BotSort::NAME,
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
    /// Highest distance (exclusive; the lower of that by overlap and that by appearance) at which a track takes a
    /// detection in the first association, in [0, 1]. Raising it accepts pairs that overlap less.
    match_thresh: f32 = 0.8, ParamKind::SHARE;
    /// Multiplies the overlap with the detection's confidence in the first association and in that of the tentative
    /// tracks.
    fuse_score: bool = true, ParamKind::Flag;
    /// The method by which the camera's motion is found; all but `none` need the cargo feature `camera-motion`.
    gmc_method: GmcMethod = GmcMethod::SparseOptFlow, GmcMethod::KIND;
    /// Lowest IoU (inclusive) at which appearance counts, in [0, 1]. Raising it leaves more to overlap.
    proximity_thresh: f32 = 0.5, ParamKind::SHARE;
    /// Lowest likeness (inclusive; 1 - half the cosine distance) at which appearance counts, in [0, 1]. Raising it
    /// leaves more to overlap.
    appearance_thresh: f32 = 0.8, ParamKind::SHARE;
    /// Uses appearance, which needs an appearance model.
    with_reid: bool = false, ParamKind::Flag;
}

impl BotSortParams {
    /// Checks every key against its range, and that `track_low_thresh` is not above `track_high_thresh`.
    ///
    /// # Errors
    /// Returns an error for the first key that is out of its range, with found and wanted.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.check_ranges()?;
        check_order(("track_low_thresh", self.track_low_thresh), ("track_high_thresh", self.track_high_thresh))
    }

    fn two_stage(&self) -> ByteTrackParams {
        ByteTrackParams {
            track_high_thresh: self.track_high_thresh,
            track_low_thresh: self.track_low_thresh,
            new_track_thresh: self.new_track_thresh,
            track_buffer: self.track_buffer,
            match_thresh: self.match_thresh,
            fuse_score: self.fuse_score,
        }
    }
}

/// The limits from which appearance counts: an overlap, and half a cosine distance.
#[derive(Debug)]
struct Gates {
    iou_min: f64,
    distance_max: f64,
}

#[derive(Debug)]
struct Person {
    filter: SizeFilter,
    /// The moving average of appearance, of length 1; empty until somebody looked.
    look: Vec<f32>,
}

impl Person {
    fn remember(&mut self, seen: &[f32]) {
        if self.look.len() != seen.len() {
            self.look.clear();
            self.look.extend_from_slice(seen);
            return;
        }
        for (old, new) in self.look.iter_mut().zip(seen) {
            *old = LOOK_INERTIA * *old + (1.0 - LOOK_INERTIA) * new;
        }
        let length = self.look.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            self.look.iter_mut().for_each(|value| *value /= length);
        }
    }
}

impl Target for Person {
    type Gates = Gates;

    fn start(rect: &Rect, look: Option<&[f32]>) -> Self {
        Self { filter: SizeFilter::new(rect), look: look.map_or_else(Vec::new, <[f32]>::to_vec) }
    }

    fn predict(&mut self, lost: bool) {
        if lost {
            self.filter.hold_size();
        }
        self.filter.predict();
    }

    fn take(&mut self, rect: &Rect, look: Option<&[f32]>) {
        self.filter.update(rect);
        if let Some(look) = look {
            self.remember(look);
        }
    }

    fn rect(&self) -> Rect {
        self.filter.rect()
    }

    fn distance<'a>(&self, gates: &Gates, distance: f64, iou: f64, look: impl FnOnce() -> Option<&'a [f32]>) -> f64 {
        if iou < gates.iou_min || self.look.is_empty() {
            return distance;
        }
        let Some(cosine) = look().and_then(|look| likeness(&self.look, look)) else { return distance };
        let by_look = (1.0 - cosine).max(0.0) / 2.0;
        if by_look > gates.distance_max { distance } else { distance.min(by_look) }
    }

    fn needs_overlap(gates: &Gates) -> bool {
        gates.iou_min > 0.0
    }
}

/// Tracks by BoT-SORT, for one camera and run.
///
/// Association doesn't look at the class. A detection without finite numbers or without an area gets no track. Ids are
/// minted when a track starts, so a tentative track that nobody confirms uses one up. A warp that isn't finite is none.
#[derive(Debug)]
pub struct BotSort {
    params: BotSortParams,
    tracks: TwoStage<Person>,
}

impl BotSort {
    /// The tracker's name as `--tracker` takes it.
    pub const NAME: &'static str = "botsort";

    /// Makes a tracker that has seen nothing.
    ///
    /// # Errors
    /// Fails as [`BotSortParams::validate`] does.
    pub fn new(params: BotSortParams) -> Result<Self, ParamError> {
        params.validate()?;
        let gates = Gates {
            iou_min: f64::from(params.proximity_thresh),
            distance_max: 1.0 - f64::from(params.appearance_thresh),
        };
        Ok(Self { params, tracks: TwoStage::new(params.two_stage(), Overlap::Predicted, gates) })
    }

    /// Returns all tracks as they are after the latest frame, in no promised order.
    pub fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.tracks()
    }
}

impl Tracker for BotSort {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.tracks.predict();
        let wanted = self.params.gmc_method != GmcMethod::None;
        if let Some(warp) = frame.camera_motion.filter(|warp| wanted && is_finite(warp)) {
            self.tracks.move_all(|person| person.filter.follow_camera(warp));
        }
        let embeddings = frame.embeddings.filter(|_| self.params.with_reid);
        self.tracks.associate_into(&TrackerFrame { embeddings, ..*frame }, tracked);
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lowest_conf(&self) -> f32 {
        self.params.track_low_thresh
    }

    fn cues(&self) -> Cues {
        Cues {
            gmc_method: self.params.gmc_method,
            appearance_from: self.params.with_reid.then_some(self.params.track_high_thresh),
        }
    }

    fn new_tracks_refused(&self) -> u64 {
        self.tracks.new_tracks_refused()
    }
}

fn is_finite(Warp(rows): &Warp) -> bool {
    rows.iter().flatten().all(|value| value.is_finite())
}

//! OC-SORT, a SORT that trusts what it observed more than what its filter foretells.
//!
//! Source: Cao et al., "Observation-centric SORT: rethinking SORT for robust multi-object tracking" (CVPR 2023). SORT's
//! filter and life of a track (shared with [`crate::Sort`]), and on top of them:
//! - OCM, observation-centric momentum (section 4.2): the cost is likeness plus `inertia` times the agreement
//!   of a track's direction, over `delta_t` frames of observations, with the way to a detection.
//! - OCR, observation-centric recovery (section 4.2): tracks and detections that are left over are associated once
//!   more, by the tracks' last observations.
//! - ORU, observation-centric re-update (section 4.1): a track that is found again re-runs its filter
//!   along a straight virtual trajectory.
//!
//! As in the authors' code, the agreement of directions weighs as much as the detection's confidence. Differences:
//! - A pair under `iou_threshold` takes no part in an assignment; the authors assign first and drop such pairs
//!   afterwards, so that a pair without any overlap can win by its direction and leave both without a partner.
//! - `asso_func` holds for the first association as well; in the authors' code that one is always by IoU.
//! - The re-update takes the box in which a track is found again once; the authors' code takes it twice.
//! - The box that starts a track is an observation; in the authors' code the first is the one after it, so that a
//!   track that is missed at once has no recovery, no re-update and a later direction.
//! - `use_byte` associates weak detections by the predicted boxes after the first association, as the authors do, from
//!   a confidence above 0.1; a detection of exactly `det_thresh` is weak (in the authors' code, neither).
//! - A direction is exactly a unit vector (the authors add 1e-6 to its length, which depends on the unit), and aspect
//!   ratios in `ciou` are taken as they are (they add 1 to the heights).
//! - The detector's boxes are given back (the authors give the same), and ids are minted in the order of the
//!   detections.

mod likeness;
mod params;
#[cfg(test)]
mod tests;
mod track;

pub use likeness::AssoFunc;
pub use params::OcSortParams;

use crate::kalman::Rect;
use crate::matching::Matching;
use crate::streak::Mint;
use crate::{ParamError, TrackEstimate, Tracker, TrackerFrame};
use rva_types::TrackedDetection;
use track::{Observed, Track};

/// Confidence above which (exclusive) `use_byte` takes a weak detection, as in the authors' code.
const WEAK_THRESH: f32 = 0.1;

/// A detection that can be followed.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The detection's index in the frame.
    detection: usize,
    rect: Rect,
    conf: f32,
    matched: bool,
}

/// The boxes and detections that an association goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Predicted boxes and directions, strong detections.
    Momentum,
    /// Predicted boxes, weak detections.
    Byte,
    /// Last observations, strong detections.
    Recovery,
}

/// Tracks by OC-SORT, for one camera and run.
///
/// Association doesn't look at the class. A detection without finite numbers or without an area gets no track. Ids are
/// minted when a track starts, so a track that is never confirmed uses one up and leaves a gap.
#[derive(Debug)]
pub struct OcSort {
    params: OcSortParams,
    frame: u64,
    mint: Mint,
    tracks: Vec<Track>,
    // From here: memory that is kept from frame to frame.
    strong: Vec<Candidate>,
    weak: Vec<Candidate>,
    row_tracks: Vec<usize>,
    rows: Vec<Rect>,
    column_candidates: Vec<usize>,
    columns: Vec<Rect>,
    matching: Matching,
    /// Memory of tracks that ended.
    spare: Vec<Observed>,
}

impl OcSort {
    /// The tracker's name as `--tracker` takes it.
    pub const NAME: &'static str = "ocsort";

    /// Makes a tracker that has seen nothing.
    ///
    /// # Errors
    /// Fails as [`OcSortParams::validate`] does.
    pub fn new(params: OcSortParams) -> Result<Self, ParamError> {
        params.validate()?;
        Ok(Self {
            params,
            frame: 0,
            mint: Mint::default(),
            tracks: Vec::new(),
            strong: Vec::new(),
            weak: Vec::new(),
            row_tracks: Vec::new(),
            rows: Vec::new(),
            column_candidates: Vec::new(),
            columns: Vec::new(),
            matching: Matching::default(),
            spare: Vec::new(),
        })
    }

    /// Returns all tracks as they are after the latest frame, in no promised order. Boxes are the filter's.
    pub fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.iter().map(|track| TrackEstimate {
            track_id: track.id,
            bbox: track.rect.into(),
            conf: track.conf,
            state: track.streak.state(self.params.min_hits, self.frame),
        })
    }

    fn sort_out(&mut self, frame: &TrackerFrame<'_>) {
        self.strong.clear();
        self.weak.clear();
        for (index, detection) in frame.detections.iter().enumerate() {
            let rect = Rect::from(detection.bbox);
            if !detection.bbox.is_finite() || !rect.has_area() || detection.conf.is_nan() {
                continue;
            }
            let candidate = Candidate { detection: index, rect, conf: detection.conf, matched: false };
            if detection.conf > self.params.det_thresh {
                self.strong.push(candidate);
            } else if self.params.use_byte && detection.conf > WEAK_THRESH {
                self.weak.push(candidate);
            }
        }
    }

    /// Associates the tracks that have no detection yet with the candidates that have no track yet.
    fn associate(&mut self, stage: Stage) {
        let Self { params, frame, tracks, row_tracks, rows, column_candidates, columns, matching, .. } = self;
        let candidates = if stage == Stage::Byte { &mut self.weak } else { &mut self.strong };
        row_tracks.clear();
        row_tracks.extend((0..tracks.len()).filter(|&track| tracks[track].detection.is_none()));
        column_candidates.clear();
        column_candidates.extend((0..candidates.len()).filter(|&candidate| !candidates[candidate].matched));
        if row_tracks.is_empty() || column_candidates.is_empty() {
            return;
        }
        rows.clear();
        rows.extend(row_tracks.iter().map(|&track| match stage {
            Stage::Momentum | Stage::Byte => tracks[track].rect,
            Stage::Recovery => tracks[track].last_observation().1,
        }));
        columns.clear();
        columns.extend(column_candidates.iter().map(|&candidate| candidates[candidate].rect));
        let threshold = f64::from(params.iou_threshold);
        let inertia = if stage == Stage::Momentum { f64::from(params.inertia) } else { 0.0 };
        let cost = |row: usize, column: usize| {
            let likeness = params.asso_func.of(&rows[row], &columns[column]);
            if !(likeness > 0.0 && likeness >= threshold) {
                return f64::INFINITY;
            }
            let candidate = &candidates[column_candidates[column]];
            let agreement = tracks[row_tracks[row]].agreement(&candidate.rect, *frame, params.delta_t);
            let momentum = inertia * agreement * f64::from(candidate.conf.clamp(0.0, 1.0));
            // Where a pair is the only choice it is taken however much its direction is off.
            -(likeness + momentum).max(f64::EPSILON)
        };
        match params.asso_func {
            AssoFunc::Iou => {
                let span = |rect: &Rect| rect.span(0.0);
                matching.find(rows.iter().map(span), columns.iter().map(span), 0.0, cost);
            }
            AssoFunc::Giou | AssoFunc::Ciou | AssoFunc::Diou => {
                matching.find_all(rows.len(), columns.len(), 0.0, cost);
            }
        }
        for pair in matching.assign() {
            let candidate = &mut candidates[column_candidates[pair.column]];
            candidate.matched = true;
            let track = &mut tracks[row_tracks[pair.row]];
            track.update(*frame, candidate.rect, params.delta_t);
            track.detection = Some(candidate.detection);
            track.conf = candidate.conf;
        }
    }

    fn start_tracks(&mut self) {
        for candidate in self.strong.iter().filter(|candidate| !candidate.matched) {
            let Some(id) = self.mint.next(self.tracks.len()) else { continue };
            // The observations of the last `delta_t` frames, one before them, and the one that pushes that out.
            let observed =
                self.spare.pop().unwrap_or_else(|| Observed::with_capacity(self.params.delta_t as usize + 2));
            self.tracks.push(Track::new(id, self.frame, candidate, observed));
        }
    }

    fn end_tracks(&mut self, ended: impl Fn(&Track) -> bool) {
        self.tracks.retain_mut(|track| {
            let ended = ended(track);
            if ended {
                self.spare.push(track.end());
            }
            !ended
        });
    }
}

impl Tracker for OcSort {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.frame += 1;
        self.tracks.iter_mut().for_each(Track::predict);
        self.end_tracks(|track| !track.rect.is_finite());
        self.sort_out(frame);
        self.associate(Stage::Momentum);
        self.associate(Stage::Byte);
        self.associate(Stage::Recovery);
        self.start_tracks();
        tracked.clear();
        tracked.extend(frame.detections.iter().map(|&detection| TrackedDetection { detection, track_id: None }));
        for track in self.tracks.iter().filter(|t| t.streak.is_confirmed(self.params.min_hits, self.frame)) {
            if let Some(index) = track.detection {
                tracked[index].track_id = Some(track.id);
            }
        }
        let max_age = self.params.max_age;
        self.end_tracks(|track| track.streak.is_expired(max_age));
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lowest_conf(&self) -> f32 {
        if self.params.use_byte { self.params.det_thresh.min(WEAK_THRESH) } else { self.params.det_thresh }
    }

    fn new_tracks_refused(&self) -> u64 {
        self.mint.refused()
    }
}

//! SteadyTrack, association by boxes alone that stays steady when the camera, the frame rate or the detector doesn't.
//!
//! It follows the two-stage scheme of ByteTrack (Zhang et al., ECCV 2022) with what else has proven itself on public
//! detections, and two things of its own:
//!
//! - **Camera motion without pictures.** The shift of the whole scene is found from the boxes ([`camera`]) and every
//!   track moves with it before anything is associated.
//! - **Time instead of frames.** The filter steps by media time, and lost tracks are kept for seconds ([`motion`]).
//!
//! Two boxes are as *like* as their IoU times the IoU of their vertical ranges (HMIoU of Hybrid-SORT, Yang et al.,
//! AAAI 2024, where it is part of a sum of costs). Five associations, each an optimal assignment over pairs whose
//! likeness is above 1 - threshold, take in turn:
//!
//! 1. confirmed tracks seen in the frame before (or at most 0.1 s ago): strong detections, `match_thresh`;
//! 2. those of them that are left: weak detections, `match_thresh`;
//! 3. all confirmed tracks that are left, lost ones mainly: strong detections, boxes expanded (C-BIoU, Yang et al.,
//!    WACV 2023), likeness times the ratio of heights, `lost_match_thresh`. Since those who are in view have taken
//!    theirs by then, a lost track can't steal;
//! 4. confirmed tracks that are left: weak detections, `match_thresh`;
//! 5. tentative tracks: strong detections, `match_thresh`; a tentative track that finds none ends.
//!
//! It differs from ByteTrack in this besides: the confidence has no part in the likeness but in the filter's noise and
//! in the birth of a track, which is confirmed once the confidences of its detections sum up to `confirm_conf_sum`;
//! the first frame is a frame like any other; there is no search for duplicate tracks. Ideas that were tried and left
//! out stand in docs/steady.md.

mod camera;
mod extent;
mod likeness;
mod motion;
mod params;
#[cfg(test)]
mod tests;

pub use params::SteadyTrackParams;

use crate::matching::Matching;
use crate::{ParamError, TRACKS_MAX, TrackEstimate, TrackState, Tracker, TrackerFrame, Warp};
use camera::CrowdMotion;
use extent::Extent;
use likeness::Likeness;
use motion::Motion;
use rva_types::{Detection, MediaTime, TrackedDetection};

/// The seconds since a track was seen up to which it counts as in view; a track seen in the frame before always does.
const IN_VIEW_SECONDS: f64 = 0.1;
/// The number of detections that make a track so well known that the camera's motion can be told from it.
const WELL_KNOWN_HITS: u32 = 3;
/// The step where media time says none, in seconds: before the second frame, and where it doesn't increase.
const STEP_SECONDS: f64 = 1.0 / 30.0;
/// The longest step that is repeated, in seconds.
const STEP_SECONDS_MAX: f64 = 1.0;

#[derive(Debug, Clone)]
struct Track {
    /// The id that was minted when the track was confirmed; 0 before.
    id: u64,
    motion: Motion,
    /// The filter's box in this frame.
    extent: Extent,
    /// The confidence of the latest detection, on the detector's scale.
    conf: f32,
    conf_sum: f64,
    hits: u32,
    unseen_frames: u32,
    unseen_seconds: f64,
    /// The index of the track's detection in the latest frame.
    detection: Option<usize>,
}

impl Track {
    fn new(candidate: &Candidate) -> Self {
        Self {
            id: 0,
            motion: Motion::new(&candidate.extent),
            extent: candidate.extent,
            conf: candidate.conf,
            conf_sum: candidate.conf_share(),
            hits: 1,
            unseen_frames: 0,
            unseen_seconds: 0.0,
            detection: Some(candidate.detection),
        }
    }

    fn is_confirmed(&self) -> bool {
        self.id > 0
    }

    /// Returns whether the track was in view until this frame.
    fn was_in_view(&self) -> bool {
        self.unseen_frames <= 1 || self.unseen_seconds <= IN_VIEW_SECONDS
    }

    fn predict(&mut self, seconds: f64) {
        self.detection = None;
        self.unseen_frames = self.unseen_frames.saturating_add(1);
        self.unseen_seconds += seconds;
        self.motion.predict(seconds);
        self.extent = self.motion.extent();
    }

    fn shift(&mut self, x: f64, y: f64) {
        self.motion.shift(x, y);
        self.extent = self.motion.extent();
    }

    fn take(&mut self, candidate: &Candidate) {
        self.motion.update(&candidate.extent, candidate.conf_share());
        self.extent = self.motion.extent();
        self.conf = candidate.conf;
        self.conf_sum += candidate.conf_share();
        self.hits = self.hits.saturating_add(1);
        self.unseen_frames = 0;
        self.unseen_seconds = 0.0;
        self.detection = Some(candidate.detection);
    }
}

/// A detection that can be tracked.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    extent: Extent,
    conf: f32,
    /// The detection's index in the caller's order.
    detection: usize,
}

impl Candidate {
    /// Returns the confidence in [0, 1], whatever the detector's scale: some score above 1.
    fn conf_share(&self) -> f64 {
        f64::from(self.conf).min(1.0)
    }
}

/// The strength of a detection: a strong one can start a track, a weak one only go on with one.
#[derive(Debug, Clone, Copy)]
enum Strength {
    Strong,
    Weak,
}

/// Tracks by SteadyTrack, for one camera and run.
///
/// Two boxes are as like as their IoU times the IoU of their vertical ranges, in [0, 1]. Association doesn't look at
/// the class, as in ByteTrack. A detection without finite numbers or without an area gets no track. Ids are minted
/// when a track is confirmed, so they are gapless from 1, in the order of confirmation.
#[derive(Debug)]
pub struct SteadyTrack {
    params: SteadyTrackParams,
    time: Option<MediaTime>,
    step_seconds: f64,
    last_id: u64,
    new_tracks_refused: u64,
    tracks: Vec<Track>,
    // From here: memory that is kept from frame to frame.
    strong: Vec<Candidate>,
    weak: Vec<Candidate>,
    pool: Vec<usize>,
    rows: Vec<Extent>,
    columns: Vec<Extent>,
    taken: Vec<bool>,
    matching: Matching,
    camera: CrowdMotion,
}

impl SteadyTrack {
    /// The tracker's name as `--tracker` takes it.
    pub const NAME: &'static str = "steady";

    /// Makes a tracker that has seen nothing.
    ///
    /// # Errors
    /// Fails as [`SteadyTrackParams::validate`] does.
    pub fn new(params: SteadyTrackParams) -> Result<Self, ParamError> {
        params.validate()?;
        Ok(Self {
            params,
            time: None,
            step_seconds: STEP_SECONDS,
            last_id: 0,
            new_tracks_refused: 0,
            tracks: Vec::new(),
            strong: Vec::new(),
            weak: Vec::new(),
            pool: Vec::new(),
            rows: Vec::new(),
            columns: Vec::new(),
            taken: Vec::new(),
            matching: Matching::default(),
            camera: CrowdMotion::default(),
        })
    }

    /// Returns all confirmed tracks as they are after the latest frame, in no promised order.
    pub fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.iter().filter(|track| track.is_confirmed()).map(|track| TrackEstimate {
            track_id: track.id,
            bbox: track.extent.bbox(),
            conf: track.conf,
            state: if track.detection.is_some() { TrackState::Confirmed } else { TrackState::Lost },
        })
    }

    /// Returns the seconds since the frame before. Where the clock stands still or jumps back, that is the last step.
    fn step(&mut self, now: MediaTime) -> f64 {
        let passed = self.time.map_or(0.0, |before| now.as_secs_f64() - before.as_secs_f64());
        self.time = Some(now);
        if passed <= 0.0 {
            return self.step_seconds;
        }
        self.step_seconds = passed.min(STEP_SECONDS_MAX);
        passed
    }

    fn sort_detections(&mut self, detections: &[Detection]) {
        self.strong.clear();
        self.weak.clear();
        for (index, detection) in detections.iter().enumerate() {
            let Some(extent) = Extent::of(detection.bbox) else { continue };
            let candidate = Candidate { extent, conf: detection.conf, detection: index };
            // A confidence that is no number fails both comparisons.
            if detection.conf >= self.params.track_high_thresh {
                self.strong.push(candidate);
            } else if detection.conf >= self.params.track_low_thresh {
                self.weak.push(candidate);
            }
        }
    }

    /// Moves every track with the picture.
    fn follow_camera(&mut self, known: Option<Warp>) {
        if let Some(Warp([[a, b, x], [c, d, y]])) = known
            && [a, b, x, c, d, y].iter().all(|value| value.is_finite())
        {
            for track in &mut self.tracks {
                let (from_x, from_y) = (track.extent.x, track.extent.y);
                track.shift(a * from_x + b * from_y + x - from_x, c * from_x + d * from_y + y - from_y);
            }
        }
        self.rows.clear();
        let well_known =
            |track: &&Track| track.is_confirmed() && track.unseen_frames <= 1 && track.hits >= WELL_KNOWN_HITS;
        self.rows.extend(self.tracks.iter().filter(well_known).map(|track| track.extent));
        self.columns.clear();
        self.columns.extend(self.strong.iter().map(|candidate| candidate.extent));
        let (x, y) = self.camera.shift(&self.rows, &self.columns);
        for track in &mut self.tracks {
            track.shift(x, y);
        }
    }

    /// Lets unmatched tracks of a kind take detections of one strength; those that nobody took stay, in their order.
    fn associate(&mut self, who: impl Fn(&Track) -> bool, strength: Strength, likeness: Likeness) {
        let Self { tracks, pool, rows, columns, taken, matching, .. } = self;
        let candidates = match strength {
            Strength::Strong => &mut self.strong,
            Strength::Weak => &mut self.weak,
        };
        pool.clear();
        pool.extend((0..tracks.len()).filter(|&i| tracks[i].detection.is_none() && who(&tracks[i])));
        rows.clear();
        rows.extend(pool.iter().map(|&i| tracks[i].extent));
        columns.clear();
        columns.extend(candidates.iter().map(|candidate| candidate.extent));
        taken.clear();
        taken.resize(candidates.len(), false);
        for pair in likeness.pairs(rows, columns, matching) {
            tracks[pool[pair.row]].take(&candidates[pair.column]);
            taken[pair.column] = true;
        }
        let mut taken = taken.iter();
        candidates.retain(|_| taken.next() != Some(&true));
    }

    fn associate_all(&mut self) {
        let near = Likeness { floor: 1.0 - f64::from(self.params.match_thresh), expansion: 0.0, size_matters: false };
        let far = Likeness {
            floor: 1.0 - f64::from(self.params.lost_match_thresh),
            expansion: f64::from(self.params.lost_expansion),
            size_matters: true,
        };
        self.associate(|track| track.is_confirmed() && track.was_in_view(), Strength::Strong, near);
        self.associate(|track| track.is_confirmed() && track.was_in_view(), Strength::Weak, near);
        self.associate(Track::is_confirmed, Strength::Strong, far);
        self.associate(Track::is_confirmed, Strength::Weak, near);
        self.associate(|track| !track.is_confirmed(), Strength::Strong, near);
    }

    /// Ends lost tracks after their time; one that was seen in the frame before is not lost, however long that is ago.
    fn remove_expired(&mut self) {
        let lost_seconds_max = f64::from(self.params.lost_seconds_max);
        self.tracks.retain(|track| track.unseen_frames <= 1 || track.unseen_seconds <= lost_seconds_max);
    }

    /// Ends tentative tracks that found no detection.
    fn remove_unconfirmed(&mut self) {
        self.tracks.retain(|track| track.is_confirmed() || track.detection.is_some());
    }

    fn start_tracks(&mut self) {
        for candidate in &self.strong {
            if self.tracks.len() >= TRACKS_MAX {
                self.new_tracks_refused += 1;
                continue;
            }
            self.tracks.push(Track::new(candidate));
        }
    }

    fn confirm(&mut self) {
        let wanted = f64::from(self.params.confirm_conf_sum);
        for track in self.tracks.iter_mut().filter(|track| !track.is_confirmed() && track.conf_sum >= wanted) {
            self.last_id += 1;
            track.id = self.last_id;
        }
    }
}

impl Tracker for SteadyTrack {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        let seconds = self.step(frame.media_time);
        self.sort_detections(frame.detections);
        for track in &mut self.tracks {
            track.predict(seconds);
        }
        self.remove_expired();
        self.follow_camera(frame.camera_motion);
        self.associate_all();
        self.remove_unconfirmed();
        self.start_tracks();
        self.confirm();
        tracked.clear();
        tracked.extend(frame.detections.iter().map(|&detection| TrackedDetection { detection, track_id: None }));
        for track in self.tracks.iter().filter(|track| track.is_confirmed()) {
            if let Some(index) = track.detection {
                tracked[index].track_id = Some(track.id);
            }
        }
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lowest_conf(&self) -> f32 {
        self.params.track_low_thresh
    }

    fn new_tracks_refused(&self) -> u64 {
        self.new_tracks_refused
    }
}

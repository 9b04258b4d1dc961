//! DeepSORT, which finds lost tracks again by how they look, those that were seen latest first.
//!
//! Source: Wojke et al., "Simple online and realtime tracking with a deep association metric" (ICIP 2017), with the
//! life of a track as in the authors' code; defaults are those of the widely used PyTorch port. Confirmed tracks take
//! detections in a cascade by the time since they were seen: the distance is the least cosine distance to the track's
//! latest looks, and pairs whose Mahalanobis distance is improbable are none. What is left of the tracks of the frame
//! before, and the tentative ones, take detections by overlap. Differences: the detector's boxes are given back
//! instead of the filter's (which [`DeepSort::tracks`] shows), pairs without any overlap are never joined by overlap
//! (the authors allow it at a `max_iou_distance` of 1), non-maximum suppression is the detector's, and ids are minted
//! when a track starts, in the order of the detections. A detection that nobody looked at is joined by overlap alone:
//! without an appearance model no lost track is found again.

mod gallery;
#[cfg(test)]
mod tests;

use crate::kalman::{BoxFilter, Rect};
use crate::matching::{Matching, Pair};
use crate::params::{ParamKind, params};
use crate::streak::Mint;
use crate::{Cues, Embeddings, GmcMethod, ParamError, TrackEstimate, TrackState, Tracker, TrackerFrame};
use gallery::Gallery;
use rva_types::TrackedDetection;

/// Squared Mahalanobis distance above which a detection is improbable: the 0.95 quantile of the chi-square
/// distribution with four degrees of freedom.
const GATE: f64 = 9.4877;
/// The most looks that a track may remember.
const NN_BUDGET_MAX: u32 = 1000;

params! {
    /// DeepSORT's parameters.
    #[derive(Copy)]
    DeepSortParams of DeepSort::NAME,
    /// Highest cosine distance (inclusive) at which a track takes a detection by appearance, in [0, 2]. Raising it
    /// finds more people again and takes more strangers for them.
    max_dist: f32 = 0.2, ParamKind::Number { least: 0.0, most: 2.0 };
    /// Highest distance (inclusive; 1 - IoU) at which a track takes a detection by overlap, in [0, 1]. Raising it
    /// accepts pairs that overlap less.
    max_iou_distance: f32 = 0.7, ParamKind::SHARE;
    /// The number of processed frames for which a confirmed track that isn't seen is kept. Raising it bridges longer
    /// occlusions and confuses more people.
    max_age: u32 = 70, ParamKind::FRAMES;
    /// The number of frames in a row, its first included, in which a track must be seen to be confirmed. Raising it
    /// means fewer false tracks and later starts.
    n_init: u32 = 3, ParamKind::FRAMES;
    /// The number of its latest looks that a track remembers. Raising it costs time and memory.
    nn_budget: u32 = 100, ParamKind::Count { least: 1, most: NN_BUDGET_MAX };
    /// Confidence from which (inclusive) a detection is used at all, in [0, 1]. Raising it means fewer false tracks
    /// and more breaks.
    min_confidence: f32 = 0.3, ParamKind::SHARE;
}

impl DeepSortParams {
    /// Checks every key against its range.
    ///
    /// # Errors
    /// Returns an error for the first key that is out of its range, with found and wanted.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.check_ranges()
    }
}

#[derive(Debug, Clone)]
struct Track {
    id: u64,
    confirmed: bool,
    filter: BoxFilter,
    rect: Rect,
    conf: f32,
    gallery: Gallery,
    /// The number of detections so far.
    hits: u32,
    /// The number of frames since the latest detection.
    unseen: u32,
    /// The index of the track's detection in the latest frame.
    detection: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    rect: Rect,
    /// The detection's index in the caller's order.
    detection: usize,
}

/// Tracks by DeepSORT, for one camera and run.
///
/// Association doesn't look at the class. A detection without finite numbers or without an area gets no track. Ids are
/// minted when a track starts, so a tentative track that is not seen again uses one up.
#[derive(Debug)]
pub struct DeepSort {
    params: DeepSortParams,
    mint: Mint,
    tracks: Vec<Track>,
    // From here: memory that is kept from frame to frame.
    candidates: Vec<Candidate>,
    by_age: Vec<(u32, usize)>,
    pool: Vec<usize>,
    matched: Vec<bool>,
    matching: Matching,
}

impl DeepSort {
    /// The tracker's name as `--tracker` takes it.
    pub const NAME: &'static str = "deepsort";

    /// Makes a tracker that has seen nothing.
    ///
    /// # Errors
    /// Fails as [`DeepSortParams::validate`] does.
    pub fn new(params: DeepSortParams) -> Result<Self, ParamError> {
        params.validate()?;
        Ok(Self {
            params,
            mint: Mint::default(),
            tracks: Vec::new(),
            candidates: Vec::new(),
            by_age: Vec::new(),
            pool: Vec::new(),
            matched: Vec::new(),
            matching: Matching::default(),
        })
    }

    /// Returns all tracks as they are after the latest frame, in no promised order.
    pub fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.iter().map(|track| TrackEstimate {
            track_id: track.id,
            bbox: track.rect.into(),
            conf: track.conf,
            state: match track.confirmed {
                false => TrackState::Tentative,
                true if track.unseen > 0 => TrackState::Lost,
                true => TrackState::Confirmed,
            },
        })
    }

    fn begin(&mut self, frame: &TrackerFrame<'_>) {
        for track in &mut self.tracks {
            track.filter.predict();
            track.rect = track.filter.rect();
            track.unseen = track.unseen.saturating_add(1);
            track.detection = None;
        }
        self.candidates.clear();
        for (index, detection) in frame.detections.iter().enumerate() {
            let rect = Rect::from(detection.bbox);
            // A confidence that is no number fails the comparison.
            if detection.conf >= self.params.min_confidence && detection.bbox.is_finite() && rect.has_area() {
                self.candidates.push(Candidate { rect, detection: index });
            }
        }
    }

    /// Gives confirmed tracks detections by appearance, those first that were seen latest.
    fn cascade(&mut self, frame: &TrackerFrame<'_>, looks: Embeddings<'_>) {
        let mut by_age = std::mem::take(&mut self.by_age);
        by_age.clear();
        let max_age = self.params.max_age;
        let takes_part = |track: &Track| track.confirmed && track.unseen <= max_age;
        by_age.extend(self.tracks.iter().enumerate().filter(|(_, t)| takes_part(t)).map(|(i, t)| (t.unseen, i)));
        by_age.sort_unstable();
        for level in by_age.chunk_by(|a, b| a.0 == b.0) {
            self.pool.clear();
            self.pool.extend(level.iter().map(|&(_, index)| index));
            let Self { tracks, candidates, pool, matching, params, .. } = self;
            matching.find_all(pool.len(), candidates.len(), exclusive(params.max_dist), |row, column| {
                let (track, candidate) = (&tracks[pool[row]], &candidates[column]);
                let Some(look) = looks.get(candidate.detection) else { return f64::INFINITY };
                let probable = track.filter.squared_distance(&candidate.rect) <= GATE;
                probable.then(|| track.gallery.distance(look)).flatten().unwrap_or(f64::INFINITY)
            });
            self.take_matched(frame);
        }
        self.by_age = by_age;
    }

    /// Gives tentative tracks and those of the frame before what is left, by overlap.
    fn associate_by_overlap(&mut self, frame: &TrackerFrame<'_>) {
        let waiting = |track: &Track| track.detection.is_none() && (!track.confirmed || track.unseen == 1);
        self.pool.clear();
        self.pool.extend((0..self.tracks.len()).filter(|&i| waiting(&self.tracks[i])));
        let Self { tracks, candidates, pool, matching, params, .. } = self;
        let rows = pool.iter().map(|&index| tracks[index].rect.span(0.0));
        let columns = candidates.iter().map(|candidate| candidate.rect.span(0.0));
        matching.find(rows, columns, exclusive(params.max_iou_distance), |row, column| {
            let iou = tracks[pool[row]].rect.iou(&candidates[column].rect, 0.0);
            if iou > 0.0 { 1.0 - iou } else { f64::INFINITY }
        });
        self.take_matched(frame);
    }

    /// Lets the tracks in the pool take the detections that pairs were found of; those that nobody took stay, in their
    /// order.
    fn take_matched(&mut self, frame: &TrackerFrame<'_>) {
        let Self { tracks, candidates, pool, matched, matching, params, .. } = self;
        matched.clear();
        matched.resize(candidates.len(), false);
        for &Pair { row, column, .. } in matching.assign() {
            let (track, candidate) = (&mut tracks[pool[row]], &candidates[column]);
            track.filter.update(&candidate.rect);
            track.rect = track.filter.rect();
            track.conf = frame.detections[candidate.detection].conf;
            if let Some(look) = frame.embeddings.and_then(|looks| looks.get(candidate.detection)) {
                track.gallery.remember(look, params.nn_budget as usize);
            }
            track.hits = track.hits.saturating_add(1);
            track.unseen = 0;
            track.confirmed |= track.hits >= params.n_init;
            track.detection = Some(candidate.detection);
            matched[column] = true;
        }
        let mut matched = matched.iter();
        candidates.retain(|_| matched.next() != Some(&true));
    }

    fn start_tracks(&mut self, frame: &TrackerFrame<'_>) {
        for candidate in &self.candidates {
            let Some(id) = self.mint.next(self.tracks.len()) else { continue };
            let mut gallery = Gallery::default();
            if let Some(look) = frame.embeddings.and_then(|looks| looks.get(candidate.detection)) {
                gallery.remember(look, self.params.nn_budget as usize);
            }
            self.tracks.push(Track {
                id,
                confirmed: self.params.n_init <= 1,
                filter: BoxFilter::new(&candidate.rect),
                rect: candidate.rect,
                conf: frame.detections[candidate.detection].conf,
                gallery,
                hits: 1,
                unseen: 0,
                detection: Some(candidate.detection),
            });
        }
    }
}

/// Returns the limit as the assignment takes it: exclusive, where the authors' is inclusive.
fn exclusive(limit: f32) -> f64 {
    f64::from(limit).next_up()
}

impl Tracker for DeepSort {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.begin(frame);
        if let Some(looks) = frame.embeddings {
            self.cascade(frame, looks);
        }
        self.associate_by_overlap(frame);
        let max_age = self.params.max_age;
        self.tracks.retain(|track| track.unseen == 0 || (track.confirmed && track.unseen <= max_age));
        self.start_tracks(frame);
        tracked.clear();
        tracked.extend(frame.detections.iter().map(|&detection| TrackedDetection { detection, track_id: None }));
        for track in self.tracks.iter().filter(|track| track.confirmed) {
            if let Some(index) = track.detection {
                tracked[index].track_id = Some(track.id);
            }
        }
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lowest_conf(&self) -> f32 {
        self.params.min_confidence
    }

    fn cues(&self) -> Cues {
        Cues { gmc_method: GmcMethod::None, appearance_from: Some(self.params.min_confidence) }
    }

    fn new_tracks_refused(&self) -> u64 {
        self.mint.refused()
    }
}

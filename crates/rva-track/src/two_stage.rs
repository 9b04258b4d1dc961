//! Two-stage association and the life of a track, which ByteTrack and BoT-SORT share.
//!
//! See [`crate::ByteTrack`] for the source and what differs. What a track carries from frame to frame, and how far it
//! is from a strong detection, is the tracker's own ([`Target`]).

use crate::estimate::{Overlap, TrackEstimate, TrackState};
use crate::kalman::Rect;
use crate::matching::Matching;
use crate::streak::Mint;
use crate::{ByteTrackParams, Embeddings, TrackerFrame};
use rva_types::{Detection, TrackedDetection};

/// Highest distance at which a track takes a weak detection, by overlap alone.
const SECOND_MATCH_THRESH: f64 = 0.5;
/// Highest distance at which a tentative track takes its second detection.
const TENTATIVE_MATCH_THRESH: f64 = 0.7;
/// Distance under which a track and a lost one are the same.
const DUPLICATE_THRESH: f64 = 0.15;

/// A target that is followed: where it is, where it goes, how it looks.
pub(crate) trait Target {
    /// The limits that distances depend on besides the target.
    type Gates: std::fmt::Debug;

    /// Starts at a measured box that has an area.
    fn start(rect: &Rect, look: Option<&[f32]>) -> Self;
    /// Goes one frame on.
    fn predict(&mut self, lost: bool);
    /// Takes in a measured box that has an area.
    fn take(&mut self, rect: &Rect, look: Option<&[f32]>);
    /// Returns the estimated box.
    fn rect(&self) -> Rect;
    /// Returns the distance to a strong detection, which by overlap is `distance` and looks like `look`.
    fn distance<'a>(
        &self,
        _gates: &Self::Gates,
        distance: f64,
        _iou: f64,
        _look: impl FnOnce() -> Option<&'a [f32]>,
    ) -> f64 {
        distance
    }
    /// Returns whether the distance to a detection without any overlap is always that by overlap.
    fn needs_overlap(_gates: &Self::Gates) -> bool {
        true
    }
}

#[derive(Debug, Clone)]
struct Track<T> {
    id: u64,
    state: TrackState,
    target: T,
    /// The target's box that detections are compared with.
    rect: Rect,
    conf: f32,
    first_frame: u64,
    last_frame: u64,
    /// The index of the track's detection in the latest frame.
    detection: Option<usize>,
}

impl<T: Target> Track<T> {
    fn predict(&mut self, overlap: Overlap) {
        self.target.predict(self.state == TrackState::Lost);
        if overlap == Overlap::Predicted {
            self.rect = self.target.rect();
        }
    }

    fn take(&mut self, candidate: &Candidate, look: Option<&[f32]>, frame: u64) {
        self.target.take(&candidate.rect, look);
        self.rect = self.target.rect();
        self.state = TrackState::Confirmed;
        self.conf = candidate.conf;
        self.last_frame = frame;
        self.detection = Some(candidate.detection);
    }

    /// Returns the number of frames from the first detection to the latest.
    fn age(&self) -> u64 {
        self.last_frame - self.first_frame
    }
}

/// A detection that can be tracked.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    rect: Rect,
    conf: f32,
    /// The detection's index in the caller's order.
    detection: usize,
}

/// The strength of a detection: a strong one can start a track and find a lost one again, a weak one only keeps one
/// alive.
#[derive(Debug, Clone, Copy)]
enum Strength {
    Strong,
    Weak,
}

/// The tracks of one camera and run.
#[derive(Debug)]
pub(crate) struct TwoStage<T: Target> {
    params: ByteTrackParams,
    overlap: Overlap,
    gates: T::Gates,
    frame: u64,
    mint: Mint,
    tracks: Vec<Track<T>>,
    // From here: memory that is kept from frame to frame.
    strong: Vec<Candidate>,
    weak: Vec<Candidate>,
    pool: Vec<usize>,
    lost: Vec<usize>,
    matched: Vec<bool>,
    removed: Vec<bool>,
    matching: Matching,
}

impl<T: Target> TwoStage<T> {
    /// Starts without tracks. The parameters must have been validated.
    pub(crate) fn new(params: ByteTrackParams, overlap: Overlap, gates: T::Gates) -> Self {
        Self {
            params,
            overlap,
            gates,
            frame: 0,
            mint: Mint::default(),
            tracks: Vec::new(),
            strong: Vec::new(),
            weak: Vec::new(),
            pool: Vec::new(),
            lost: Vec::new(),
            matched: Vec::new(),
            removed: Vec::new(),
            matching: Matching::default(),
        }
    }

    pub(crate) fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.iter().map(|track| TrackEstimate {
            track_id: track.id,
            bbox: track.rect.into(),
            conf: track.conf,
            state: track.state,
        })
    }

    pub(crate) fn new_tracks_refused(&self) -> u64 {
        self.mint.refused()
    }

    /// Begins the next frame: tracks go where they are expected.
    pub(crate) fn predict(&mut self) {
        self.frame += 1;
        for track in &mut self.tracks {
            track.detection = None;
            if track.state != TrackState::Tentative {
                track.predict(self.overlap);
            }
        }
    }

    /// Moves every target by `map`, and the boxes that detections are compared with.
    pub(crate) fn move_all(&mut self, mut map: impl FnMut(&mut T)) {
        for track in &mut self.tracks {
            map(&mut track.target);
            track.rect = track.target.rect();
        }
    }

    /// Lets the predicted tracks take the frame's detections, and gives those back with ids.
    pub(crate) fn associate_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.sort_detections(frame.detections);
        self.associate_strong(frame.embeddings);
        self.associate_weak();
        self.associate_tentative(frame.embeddings);
        self.start_tracks(frame.embeddings);
        self.remove_expired();
        self.remove_duplicates();
        tracked.clear();
        tracked.extend(frame.detections.iter().map(|&detection| TrackedDetection { detection, track_id: None }));
        for track in self.tracks.iter().filter(|track| track.state == TrackState::Confirmed) {
            if let Some(index) = track.detection {
                tracked[index].track_id = Some(track.id);
            }
        }
    }

    fn sort_detections(&mut self, detections: &[Detection]) {
        self.strong.clear();
        self.weak.clear();
        for (index, detection) in detections.iter().enumerate() {
            let candidate = Candidate { rect: detection.bbox.into(), conf: detection.conf, detection: index };
            if !detection.bbox.is_finite() || !candidate.rect.has_area() {
                continue;
            }
            // A confidence that is no number fails both comparisons.
            if detection.conf >= self.params.track_high_thresh {
                self.strong.push(candidate);
            } else if detection.conf > self.params.track_low_thresh {
                self.weak.push(candidate);
            }
        }
    }

    /// Lets the tracks in the pool take detections of one strength; those that nobody took stay, in their order.
    fn associate(&mut self, strength: Strength, looks: Option<Embeddings<'_>>, fuse_score: bool, limit: f64) {
        let Self { tracks, gates, pool, matched, matching, frame, .. } = self;
        let margin = self.overlap.margin();
        let candidates = match strength {
            Strength::Strong => &mut self.strong,
            Strength::Weak => &mut self.weak,
        };
        let distance = |row: usize, column: usize| {
            let (track, candidate) = (&tracks[pool[row]], &candidates[column]);
            let weight = if fuse_score { f64::from(candidate.conf) } else { 1.0 };
            let iou = track.rect.iou(&candidate.rect, margin);
            let distance = 1.0 - weight * iou;
            match looks {
                Some(looks) => track.target.distance(gates, distance, iou, || looks.get(candidate.detection)),
                None => distance,
            }
        };
        if looks.is_some() && !T::needs_overlap(gates) {
            matching.find_all(pool.len(), candidates.len(), limit, distance);
        } else {
            let rows = pool.iter().map(|&index| tracks[index].rect.span(margin));
            matching.find(rows, candidates.iter().map(|candidate| candidate.rect.span(margin)), limit, distance);
        }
        matched.clear();
        matched.resize(candidates.len(), false);
        for pair in matching.assign() {
            let candidate = &candidates[pair.column];
            let look = looks.and_then(|looks| looks.get(candidate.detection));
            tracks[pool[pair.row]].take(candidate, look, *frame);
            matched[pair.column] = true;
        }
        let mut matched = matched.iter();
        candidates.retain(|_| matched.next() != Some(&true));
    }

    /// Associates confirmed and lost tracks with strong detections: the first association.
    fn associate_strong(&mut self, looks: Option<Embeddings<'_>>) {
        self.pool.clear();
        self.pool.extend((0..self.tracks.len()).filter(|&i| self.tracks[i].state == TrackState::Confirmed));
        self.pool.extend((0..self.tracks.len()).filter(|&i| self.tracks[i].state == TrackState::Lost));
        let limit = f64::from(self.params.match_thresh);
        self.associate(Strength::Strong, looks, self.params.fuse_score, limit);
    }

    /// Associates tracks that were confirmed until now with weak detections: the second association. The rest of them
    /// is lost.
    fn associate_weak(&mut self) {
        self.pool.clear();
        self.pool.extend((0..self.tracks.len()).filter(|&i| {
            let track = &self.tracks[i];
            track.state == TrackState::Confirmed && track.detection.is_none()
        }));
        self.associate(Strength::Weak, None, false, SECOND_MATCH_THRESH);
        for &index in &self.pool {
            let track = &mut self.tracks[index];
            if track.detection.is_none() {
                track.state = TrackState::Lost;
            }
        }
    }

    /// Gives tentative tracks what is left of the strong detections, or ends them.
    fn associate_tentative(&mut self, looks: Option<Embeddings<'_>>) {
        self.pool.clear();
        self.pool.extend((0..self.tracks.len()).filter(|&i| self.tracks[i].state == TrackState::Tentative));
        self.associate(Strength::Strong, looks, self.params.fuse_score, TENTATIVE_MATCH_THRESH);
        self.tracks.retain(|track| track.state != TrackState::Tentative);
    }

    fn start_tracks(&mut self, looks: Option<Embeddings<'_>>) {
        let state = if self.frame == 1 { TrackState::Confirmed } else { TrackState::Tentative };
        for candidate in &self.strong {
            if candidate.conf < self.params.new_track_thresh {
                continue;
            }
            let Some(id) = self.mint.next(self.tracks.len()) else { continue };
            self.tracks.push(Track {
                id,
                state,
                target: T::start(&candidate.rect, looks.and_then(|looks| looks.get(candidate.detection))),
                rect: candidate.rect,
                conf: candidate.conf,
                first_frame: self.frame,
                last_frame: self.frame,
                detection: Some(candidate.detection),
            });
        }
    }

    fn remove_expired(&mut self) {
        let (frame, buffer) = (self.frame, u64::from(self.params.track_buffer));
        self.tracks.retain(|track| track.state != TrackState::Lost || frame - track.last_frame <= buffer);
    }

    /// Removes the younger of a seen track and a lost one at the same place; the seen one where both are of an age.
    fn remove_duplicates(&mut self) {
        let Self { tracks, pool, lost, removed, matching, .. } = self;
        let margin = self.overlap.margin();
        lost.clear();
        lost.extend((0..tracks.len()).filter(|&i| tracks[i].state == TrackState::Lost));
        if lost.is_empty() {
            return;
        }
        pool.clear();
        pool.extend((0..tracks.len()).filter(|&i| tracks[i].state != TrackState::Lost));
        removed.clear();
        removed.resize(tracks.len(), false);
        let span = |&index: &usize| tracks[index].rect.span(margin);
        for pair in matching.find(pool.iter().map(span), lost.iter().map(span), DUPLICATE_THRESH, |row, column| {
            1.0 - tracks[pool[row]].rect.iou(&tracks[lost[column]].rect, margin)
        }) {
            let (seen, lost) = (pool[pair.row], lost[pair.column]);
            let younger = if tracks[seen].age() > tracks[lost].age() { lost } else { seen };
            removed[younger] = true;
        }
        let mut removed = removed.iter();
        tracks.retain(|_| removed.next() != Some(&true));
    }
}

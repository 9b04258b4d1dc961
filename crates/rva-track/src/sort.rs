//! SORT: a Kalman filter, overlap, and nothing else.
//!
//! Source: Bewley et al., "Simple online and realtime tracking" (ICIP 2016), with the parameters of the filter and the
//! life of a track as in the authors' code. Differences: the detector's boxes are given back instead of the filter's
//! (which [`Sort::tracks`] shows), pairs without any overlap are never joined (the authors allow it at an
//! `iou_threshold` of 0), and ids are minted in the order of the detections.

use crate::area_filter::AreaFilter;
use crate::kalman::Rect;
use crate::matching::{Matching, Pair};
use crate::params::{ParamKind, params};
use crate::streak::{Mint, Streak};
use crate::{ParamError, TrackEstimate, Tracker, TrackerFrame};
use rva_types::TrackedDetection;

params! {
    /// SORT's parameters. The default is the authors'.
    #[derive(Copy)]
    SortParams of Sort::NAME,
    /// The number of processed frames for which a track that isn't seen is kept. Raising it bridges longer occlusions
    /// and confuses more people.
    max_age: u32 = 1, ParamKind::FRAMES;
    /// The number of frames in a row after its first that a track must be seen in to be confirmed, also after every
    /// gap; in the first `min_hits` frames of a run none. Raising it means fewer false tracks and later starts.
    min_hits: u32 = 3, ParamKind::FRAMES;
    /// Lowest IoU (inclusive) at which a track takes a detection, in [0, 1]. Raising it accepts fewer pairs.
    iou_threshold: f32 = 0.3, ParamKind::SHARE;
}

impl SortParams {
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
    filter: AreaFilter,
    rect: Rect,
    conf: f32,
    streak: Streak,
    /// The index of the track's detection in the latest frame.
    detection: Option<usize>,
}

/// Tracks by SORT, for one camera and run.
///
/// Association doesn't look at class or confidence: it takes whatever it is given. A detection without finite numbers
/// or without an area gets no track. Ids are minted when a track starts, so a track that is never confirmed uses one
/// up and leaves a gap.
#[derive(Debug)]
pub struct Sort {
    params: SortParams,
    frame: u64,
    mint: Mint,
    tracks: Vec<Track>,
    // From here: memory that is kept from frame to frame.
    seen: Vec<usize>,
    columns: Vec<Rect>,
    matched: Vec<bool>,
    row_hits: Vec<bool>,
    column_hits: Vec<bool>,
    matching: Matching,
}

impl Sort {
    /// The tracker's name as `--tracker` takes it.
    pub const NAME: &'static str = "sort";

    /// Makes a tracker that has seen nothing.
    ///
    /// # Errors
    /// Fails as [`SortParams::validate`] does.
    pub fn new(params: SortParams) -> Result<Self, ParamError> {
        params.validate()?;
        Ok(Self {
            params,
            frame: 0,
            mint: Mint::default(),
            tracks: Vec::new(),
            seen: Vec::new(),
            columns: Vec::new(),
            matched: Vec::new(),
            row_hits: Vec::new(),
            column_hits: Vec::new(),
            matching: Matching::default(),
        })
    }

    /// Returns all tracks as they are after the latest frame, in no promised order.
    pub fn tracks(&self) -> impl Iterator<Item = TrackEstimate> {
        self.tracks.iter().map(|track| TrackEstimate {
            track_id: track.id,
            bbox: track.rect.into(),
            conf: track.conf,
            state: track.streak.state(self.params.min_hits, self.frame),
        })
    }

    fn predict(&mut self) {
        for track in &mut self.tracks {
            track.filter.predict();
            track.rect = track.filter.rect();
            track.streak.predict();
            track.detection = None;
        }
        self.tracks.retain(|track| track.rect.is_finite());
    }

    fn associate(&mut self, frame: &TrackerFrame<'_>) {
        let Self { tracks, columns, seen, matched, matching, .. } = self;
        seen.clear();
        columns.clear();
        for (index, detection) in frame.detections.iter().enumerate() {
            let rect = Rect::from(detection.bbox);
            if detection.bbox.is_finite() && rect.has_area() && !detection.conf.is_nan() {
                seen.push(index);
                columns.push(rect);
            }
        }
        matched.clear();
        matched.resize(columns.len(), false);
        let threshold = f64::from(self.params.iou_threshold);
        let (rows, spans) =
            (tracks.iter().map(|track| track.rect.span(0.0)), columns.iter().map(|rect| rect.span(0.0)));
        let found = matching.find(rows, spans, 0.0, |row, column| -tracks[row].rect.iou(&columns[column], 0.0));
        // Where no track and no detection has a choice, the authors take the pairs above the threshold as they are.
        let plain =
            is_one_to_one(found, threshold, &mut self.row_hits, &mut self.column_hits, tracks.len(), columns.len());
        let pairs = if plain { found } else { matching.assign() };
        for pair in pairs.iter().filter(|pair| if plain { -pair.cost > threshold } else { -pair.cost >= threshold }) {
            let track = &mut tracks[pair.row];
            track.filter.update(&columns[pair.column]);
            track.rect = track.filter.rect();
            track.streak.hit();
            track.detection = Some(seen[pair.column]);
            track.conf = frame.detections[seen[pair.column]].conf;
            matched[pair.column] = true;
        }
    }

    fn start_tracks(&mut self, frame: &TrackerFrame<'_>) {
        let unmatched = self.columns.iter().zip(&self.seen).zip(&self.matched).filter(|(_, matched)| !**matched);
        for ((rect, &detection), _) in unmatched {
            let Some(id) = self.mint.next(self.tracks.len()) else { continue };
            self.tracks.push(Track {
                id,
                filter: AreaFilter::new(rect),
                rect: *rect,
                conf: frame.detections[detection].conf,
                streak: Streak::default(),
                detection: Some(detection),
            });
        }
    }
}

/// Returns whether there is a pair above the threshold, and no row or column has two.
fn is_one_to_one(
    pairs: &[Pair],
    threshold: f64,
    row_hits: &mut Vec<bool>,
    column_hits: &mut Vec<bool>,
    rows: usize,
    columns: usize,
) -> bool {
    row_hits.clear();
    row_hits.resize(rows, false);
    column_hits.clear();
    column_hits.resize(columns, false);
    let mut any = false;
    for pair in pairs.iter().filter(|pair| -pair.cost > threshold) {
        if std::mem::replace(&mut row_hits[pair.row], true) || std::mem::replace(&mut column_hits[pair.column], true) {
            return false;
        }
        any = true;
    }
    any
}

impl Tracker for Sort {
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>) {
        self.frame += 1;
        self.predict();
        self.associate(frame);
        self.start_tracks(frame);
        tracked.clear();
        tracked.extend(frame.detections.iter().map(|&detection| TrackedDetection { detection, track_id: None }));
        for track in self.tracks.iter().filter(|t| t.streak.is_confirmed(self.params.min_hits, self.frame)) {
            if let Some(index) = track.detection {
                tracked[index].track_id = Some(track.id);
            }
        }
        self.tracks.retain(|track| !track.streak.is_expired(self.params.max_age));
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// Returns 1, since SORT makes no use of boxes that the record doesn't hold.
    fn lowest_conf(&self) -> f32 {
        1.0
    }

    fn new_tracks_refused(&self) -> u64 {
        self.mint.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrackState;
    use rva_types::{BBox, Detection, MediaTime};

    fn seen(x: f32) -> Detection {
        Detection { bbox: BBox::new(x, 100.0, x + 40.0, 220.0), conf: 0.9, class_id: 0 }
    }

    fn ids(tracker: &mut Sort, detections: &[Detection]) -> Vec<Option<u64>> {
        tracker.update(detections, MediaTime::default()).iter().map(|tracked| tracked.track_id).collect()
    }

    #[test]
    fn the_first_frames_confirm_at_once_and_a_later_track_after_min_hits_more() {
        let mut tracker = Sort::new(SortParams::default()).unwrap();
        for _ in 0..3 {
            assert_eq!(ids(&mut tracker, &[seen(0.0)]), [Some(1)]);
        }
        for wanted in [None, None, None, Some(2)] {
            assert_eq!(ids(&mut tracker, &[seen(0.0), seen(300.0)]), [Some(1), wanted]);
        }
    }

    #[test]
    fn a_track_waits_for_max_age_frames_and_not_longer() {
        for (empty, state) in [(1, Some(TrackState::Lost)), (2, None)] {
            let mut tracker = Sort::new(SortParams::default()).unwrap();
            ids(&mut tracker, &[seen(0.0)]);
            for _ in 0..empty {
                ids(&mut tracker, &[]);
            }
            assert_eq!(tracker.tracks().map(|track| track.state).next(), state);
        }
    }
}

//! Detections per frame to tracks, deterministically.
//!
//! Pure: no clock, no files, no randomness. The same detections in the same order give the same tracks.
//!
//! A caller that knows a tracker by name only starts at [`TrackerChoice`]; one that wants a certain tracker, with
//! all that it shows, makes it directly ([`ByteTrack::new`]).

mod area_filter;
mod botsort;
mod bytetrack;
mod bytetrack_params;
mod choice;
mod deepsort;
mod frame;
mod kalman;
mod matching;
mod ocsort;
mod params;
mod sort;
mod steady;
mod streak;
mod two_stage;

pub use botsort::{BotSort, BotSortParams};
pub use bytetrack::{ByteTrack, Overlap, TRACKS_MAX, TrackEstimate, TrackState};
pub use bytetrack_params::ByteTrackParams;
pub use choice::{TrackError, TrackerChoice, tracker_by_name};
pub use deepsort::{DeepSort, DeepSortParams};
pub use frame::{Cues, Embeddings, GmcMethod, TrackerFrame, Warp};
pub use ocsort::{AssoFunc, OcSort, OcSortParams};
pub use params::{Key, Kind, ParamError, TRACK_BUFFER_MAX};
pub use sort::{Sort, SortParams};
pub use steady::{SteadyTrack, SteadyTrackParams};

use rva_types::{Detection, MediaTime, TrackedDetection};

/// One tracker follows one camera through one run.
///
/// It is told of every processed frame, also of those without detections: lost tracks age on them.
pub trait Tracker: Send {
    /// Takes the next frame and gives its detections back in `tracked`, which is emptied first: in the same order, each
    /// with the id of its confirmed track. Boxes are the detector's own. Ids start at 1 and are never reused by this
    /// tracker. Detections that aren't finite get no track.
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>);

    /// The same where nothing but boxes is known.
    fn update(&mut self, detections: &[Detection], media_time: MediaTime) -> Vec<TrackedDetection> {
        let mut tracked = Vec::with_capacity(detections.len());
        self.update_into(&TrackerFrame::of_boxes(detections, media_time), &mut tracked);
        tracked
    }

    /// The tracker's name as `--tracker` takes it.
    fn name(&self) -> &'static str;

    /// The lowest confidence that this tracker makes use of, in [0, 1]: the detector keeps everything from
    /// `min(conf, lowest_conf)` for it.
    fn lowest_conf(&self) -> f32;

    /// What it makes use of besides boxes. A tracker copes with a frame that lacks them.
    fn cues(&self) -> Cues {
        Cues::default()
    }

    /// Returns how many new tracks were refused so far since there were as many as there may be.
    fn new_tracks_refused(&self) -> u64 {
        0
    }
}

//! Tracking of people from detections per frame, deterministically.
//!
//! A detector looks at one picture at a time and doesn't know that the person in this frame is the one of the frame
//! before. A [`Tracker`] knows: it foretells where everybody goes, joins what it foretold with what was detected,
//! and gives each person an id that stays through occlusions.
//!
//! Trackers are pure: they have no clock, no files and no randomness. The same detections in the same order give the
//! same tracks, so a recording gives the same rows however often it is replayed. None of them looks at pictures;
//! cues that come from pictures, the camera's motion and the looks of people, arrive with the frame
//! ([`TrackerFrame`]).
//!
//! A caller that knows a tracker by name only starts at [`TrackerChoice`]; one that wants a certain tracker, with
//! all that it shows, makes it directly ([`ByteTrack::new`]).
//!
//! ```
//! use rva_track::tracker_by_name;
//! use rva_types::{BBox, Detection, MediaTime};
//!
//! let mut tracker = tracker_by_name("bytetrack")?;
//! for frame in 0..3 {
//!     // Somebody walks to the right, two pixels a frame.
//!     let left = 100.0 + 2.0 * frame as f32;
//!     let person = Detection { bbox: BBox::new(left, 50.0, left + 40.0, 170.0), conf: 0.9, class_id: 0 };
//!     let tracked = tracker.update(&[person], MediaTime::from_micros(frame * 33_333));
//!     assert_eq!(tracked[0].track_id, Some(1));
//! }
//! # Ok::<(), rva_track::TrackError>(())
//! ```
#![warn(unreachable_pub)]

mod area_filter;
mod botsort;
mod bytetrack;
mod bytetrack_params;
mod choice;
mod deepsort;
mod estimate;
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
pub use bytetrack::{ByteTrack, TRACKS_MAX};
pub use bytetrack_params::ByteTrackParams;
pub use choice::{TrackError, TrackerChoice, tracker_by_name};
pub use deepsort::{DeepSort, DeepSortParams};
pub use estimate::{Overlap, TrackEstimate, TrackState};
pub use frame::{Cues, Embeddings, GmcMethod, TrackerFrame, Warp};
pub use ocsort::{AssoFunc, OcSort, OcSortParams};
pub use params::{Param, ParamError, ParamKind, TRACK_BUFFER_MAX};
pub use sort::{Sort, SortParams};
pub use steady::{SteadyTrack, SteadyTrackParams};

use rva_types::{Detection, MediaTime, TrackedDetection};

/// Follows the people of one camera through one run.
///
/// A tracker is told of every processed frame, also of those without detections: lost tracks age on them.
pub trait Tracker: Send {
    /// Takes the next frame and gives its detections back in `tracked`, which is emptied first: in the same order, each
    /// with the id of its confirmed track. Boxes are the detector's own. Ids start at 1 and are never reused by this
    /// tracker. Detections that aren't finite get no track.
    fn update_into(&mut self, frame: &TrackerFrame<'_>, tracked: &mut Vec<TrackedDetection>);

    /// Takes the next frame where nothing but boxes is known, and returns its detections as
    /// [`Tracker::update_into`] does.
    fn update(&mut self, detections: &[Detection], media_time: MediaTime) -> Vec<TrackedDetection> {
        let mut tracked = Vec::with_capacity(detections.len());
        self.update_into(&TrackerFrame::of_boxes(detections, media_time), &mut tracked);
        tracked
    }

    /// Returns the tracker's name as `--tracker` takes it.
    fn name(&self) -> &'static str;

    /// Returns the lowest confidence that this tracker makes use of, in [0, 1]: the detector keeps everything from
    /// `min(conf, lowest_conf)` for it.
    fn lowest_conf(&self) -> f32;

    /// Returns the cues besides boxes that this tracker makes use of; by default none. It copes with a frame that lacks
    /// them.
    fn cues(&self) -> Cues {
        Cues::default()
    }

    /// Returns how many new tracks were refused so far since there were as many as there may be.
    fn new_tracks_refused(&self) -> u64 {
        0
    }
}

//! Detections per frame to tracks, deterministically.
//!
//! Pure: no clock, no files, no randomness. The same detections in the same order give the same tracks.
//!
//! A caller that knows a tracker by name only starts at [`TrackerChoice`]; one that wants a certain tracker, with
//! all that it shows, makes it directly ([`ByteTrack::new`]).

mod assignment;
mod bytetrack;
mod choice;
mod kalman;
mod params;

pub use bytetrack::{ByteTrack, Overlap, TRACKS_MAX, TrackEstimate, TrackState};
pub use choice::{TrackError, TrackerChoice, tracker_by_name};
pub use params::{ByteTrackParams, KEYS, ParamError, TRACK_BUFFER_MAX};

use rva_types::{Detection, MediaTime, TrackedDetection};

/// One tracker follows one camera through one run.
///
/// Call [`Tracker::update`] for every processed frame, also for those without detections: lost tracks age on them.
pub trait Tracker: Send {
    /// Takes the detections of the next frame and gives them back, in the same order, each with the id of its
    /// confirmed track. Boxes are the detector's own. Ids start at 1 and are never reused by this tracker.
    ///
    /// `media_time` is the frame's place on the stream's timeline; trackers that count frames may ignore it.
    /// Detections that aren't finite get no track.
    fn update(&mut self, detections: &[Detection], media_time: MediaTime) -> Vec<TrackedDetection>;

    /// The tracker's name as `--tracker` takes it.
    fn name(&self) -> &'static str;

    /// The lowest confidence that this tracker makes use of, in [0, 1]: the detector keeps everything from
    /// `min(conf, lowest_conf)` for it.
    fn lowest_conf(&self) -> f32;
}

//! The life of a track in SORT and its heirs, and the minting of ids.

use crate::{TRACKS_MAX, TrackState};

/// The time that a track has been seen without a gap, and the time that it hasn't been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Streak {
    /// The number of detections since the track started or was found again, without the first.
    hits: u32,
    /// The number of frames since the latest detection.
    unseen: u32,
}

impl Streak {
    /// Goes one frame on, in which the track isn't seen until [`Streak::hit`] says so.
    pub(crate) fn predict(&mut self) {
        if self.unseen > 0 {
            self.hits = 0;
        }
        self.unseen = self.unseen.saturating_add(1);
    }

    /// Notes a detection in this frame.
    pub(crate) fn hit(&mut self) {
        self.hits = self.hits.saturating_add(1);
        self.unseen = 0;
    }

    /// Returns the track's state in the frame with this number, counted from 1.
    pub(crate) fn state(&self, min_hits: u32, frame: u64) -> TrackState {
        match self {
            streak if !streak.is_seen() => TrackState::Lost,
            streak if streak.is_confirmed(min_hits, frame) => TrackState::Confirmed,
            _ => TrackState::Tentative,
        }
    }

    fn is_seen(&self) -> bool {
        self.unseen == 0
    }

    /// Returns whether a track that is seen counts: it has been seen for long enough, or the run is too young for that.
    pub(crate) fn is_confirmed(&self, min_hits: u32, frame: u64) -> bool {
        self.is_seen() && (self.hits >= min_hits || frame <= u64::from(min_hits))
    }

    pub(crate) fn is_expired(&self, max_age: u32) -> bool {
        self.unseen > max_age
    }
}

/// Mints ids from 1, and none where there are [`TRACKS_MAX`] tracks already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mint {
    last_id: u64,
    refused: u64,
}

impl Mint {
    /// Mints the id of a new track beside `tracks` others, or counts a refusal.
    pub(crate) fn next(&mut self, tracks: usize) -> Option<u64> {
        if tracks >= TRACKS_MAX {
            self.refused += 1;
            return None;
        }
        self.last_id += 1;
        Some(self.last_id)
    }

    /// Returns the number of tracks that were refused an id.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

//! Counts of a pipeline while it runs.

use std::{
    ops::{Add, Sub},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts of frames that may be read while a pipeline runs. They only grow, also from one pipeline to the next.
#[derive(Debug, Default)]
pub struct FrameCounters {
    decoded: AtomicU64,
    processed: AtomicU64,
    by_stride: AtomicU64,
    by_overload: AtomicU64,
    superseded: AtomicU64,
    decode_errors: AtomicU64,
    times_replaced: AtomicU64,
    tracks_refused: AtomicU64,
}

/// The counts at one moment, or of one pipeline: a difference of two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameCounts {
    /// Frames that the source gave.
    pub decoded: u64,
    /// Frames that were delivered.
    pub processed: u64,
    /// Decoded frames that weren't processed. Once a pipeline has ended without a failure, decoded = processed +
    /// skipped.
    pub skipped: FramesSkipped,
    /// Complaints of the decoder about damaged data.
    pub decode_errors: u64,
    /// Frames whose own time was missing or couldn't be right.
    pub times_replaced: u64,
    /// New tracks that the tracker refused since it held as many as it may.
    pub tracks_refused: u64,
}

/// Decoded frames that weren't processed, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FramesSkipped {
    /// Frames between two frames of the stride.
    pub by_stride: u64,
    /// Frames for which there was no room ([`CapturePolicy::EveryNth`](crate::CapturePolicy::EveryNth)).
    pub by_overload: u64,
    /// Frames that a newer one replaced before they were looked at
    /// ([`CapturePolicy::Latest`](crate::CapturePolicy::Latest)).
    pub superseded: u64,
}

impl FramesSkipped {
    /// Returns the number of all of them.
    pub fn total(&self) -> u64 {
        self.by_stride + self.by_overload + self.superseded
    }

    /// Returns each reason with its count.
    pub fn by_reason(&self) -> [(&'static str, u64); 3] {
        [("stride", self.by_stride), ("overload", self.by_overload), ("superseded", self.superseded)]
    }
}

impl FrameCounters {
    /// Returns the counts now. Each is whole; between them a frame may be on its way.
    pub fn counts(&self) -> FrameCounts {
        FrameCounts {
            decoded: self.decoded.load(Relaxed),
            processed: self.processed.load(Relaxed),
            skipped: FramesSkipped {
                by_stride: self.by_stride.load(Relaxed),
                by_overload: self.by_overload.load(Relaxed),
                superseded: self.superseded.load(Relaxed),
            },
            decode_errors: self.decode_errors.load(Relaxed),
            times_replaced: self.times_replaced.load(Relaxed),
            tracks_refused: self.tracks_refused.load(Relaxed),
        }
    }

    pub(super) fn count_decoded(&self) {
        self.decoded.fetch_add(1, Relaxed);
    }

    pub(super) fn count_processed(&self) {
        self.processed.fetch_add(1, Relaxed);
    }

    pub(super) fn count_by_stride(&self) {
        self.by_stride.fetch_add(1, Relaxed);
    }

    pub(super) fn count_by_overload(&self) {
        self.by_overload.fetch_add(1, Relaxed);
    }

    pub(super) fn count_superseded(&self) {
        self.superseded.fetch_add(1, Relaxed);
    }

    pub(super) fn count_decode_errors(&self, more: u64) {
        if more > 0 {
            self.decode_errors.fetch_add(more, Relaxed);
        }
    }

    pub(super) fn count_tracks_refused(&self, more: u64) {
        if more > 0 {
            self.tracks_refused.fetch_add(more, Relaxed);
        }
    }

    pub(super) fn count_times_replaced(&self, more: u64) {
        if more > 0 {
            self.times_replaced.fetch_add(more, Relaxed);
        }
    }
}

impl Sub for FrameCounts {
    type Output = Self;

    /// Returns the counts since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }
}

impl Add for FrameCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }
}

impl FrameCounts {
    fn each(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            decoded: of(self.decoded, other.decoded),
            processed: of(self.processed, other.processed),
            skipped: FramesSkipped {
                by_stride: of(self.skipped.by_stride, other.skipped.by_stride),
                by_overload: of(self.skipped.by_overload, other.skipped.by_overload),
                superseded: of(self.skipped.superseded, other.skipped.superseded),
            },
            decode_errors: of(self.decode_errors, other.decode_errors),
            times_replaced: of(self.times_replaced, other.times_replaced),
            tracks_refused: of(self.tracks_refused, other.tracks_refused),
        }
    }
}

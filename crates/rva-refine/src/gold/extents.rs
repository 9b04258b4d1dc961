//! Cameras and tracks, and from when to when tracks reach.

use std::collections::HashMap;
use std::sync::Arc;

/// A shop and one of its cameras.
pub(crate) type CameraOf = (Arc<str>, Arc<str>);

/// A camera, a run of it and one of its tracks.
pub(crate) type TrackOf = (Arc<str>, Arc<str>, i64);

/// The first and the last moment of tracks, in microseconds since 1970.
pub(crate) type Extents = HashMap<TrackOf, (i64, i64)>;

/// Widens an extent to hold a moment.
pub(crate) fn widen(extents: &mut Extents, track: TrackOf, first: i64, last: i64) {
    let held = extents.entry(track).or_insert((first, last));
    *held = (held.0.min(first), held.1.max(last));
}

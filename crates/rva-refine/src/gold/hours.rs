//! Hours of one camera in memory, with every track that has a detection in one of them.

use rva_analytics::{
    CameraHourKey, CameraZones, FrameRows, HourPartial, HourRows, Rules, TrackKey, TrackOutcome, TrackPath, TrackPoint,
    hour_key, hour_of, track_points,
};
use rva_types::{CameraId, StoreId};
use std::collections::{BTreeMap, BTreeSet};

/// Sums of whole hours, and the tracks of these hours, each from its first detection to its last, wherever those are.
#[derive(Debug, Default)]
pub(super) struct CameraHours {
    hours: BTreeMap<i64, HourPartial>,
    tracks: BTreeMap<TrackKey, HeldTrack>,
}

#[derive(Debug, Default)]
struct HeldTrack {
    path: TrackPath,
    /// The hours in which it has a detection.
    hours: BTreeSet<i64>,
    /// What gold says of it, until another detection comes.
    outcome: Option<TrackOutcome>,
}

impl HeldTrack {
    fn push(&mut self, point: TrackPoint) {
        self.hours.insert(hour_of(point.at_us));
        self.path.push(point);
        self.outcome = None;
    }
}

impl CameraHours {
    /// Takes a frame into its hour, which is held from now on, and into its tracks.
    pub(super) fn absorb(&mut self, rows: &FrameRows, zones: &CameraZones, rules: &Rules) {
        self.hours.entry(hour_key(rows).hour_us).or_default().absorb(rows, zones, rules);
        self.push(rows);
    }

    /// Takes a frame into its tracks, and into its hour if that is held.
    pub(super) fn absorb_held(&mut self, rows: &FrameRows, zones: &CameraZones, rules: &Rules) {
        if let Some(hour) = self.hours.get_mut(&hour_key(rows).hour_us) {
            hour.absorb(rows, zones, rules);
        }
        self.push(rows);
    }

    fn push(&mut self, rows: &FrameRows) {
        for (track, point) in track_points(rows) {
            self.tracks.entry(track).or_default().push(point);
        }
    }

    /// Takes a detection of a track that is held, from an hour that isn't.
    pub(super) fn push_outside(&mut self, track: &TrackKey, point: TrackPoint) {
        if let Some(held) = self.tracks.get_mut(track) {
            held.push(point);
        }
    }

    /// Takes tracks as they are as a whole, whatever was held of them.
    pub(super) fn put_tracks(&mut self, points: Vec<(TrackKey, TrackPoint)>) {
        let mut tracks: BTreeMap<TrackKey, HeldTrack> = BTreeMap::new();
        for (track, point) in points {
            tracks.entry(track).or_default().push(point);
        }
        self.tracks.extend(tracks);
    }

    /// Takes other hours with their tracks.
    pub(super) fn merge(&mut self, other: Self) {
        self.hours.extend(other.hours);
        self.tracks.extend(other.tracks);
    }

    pub(super) fn holds_track(&self, track: &TrackKey) -> bool {
        self.tracks.contains_key(track)
    }

    /// Returns the hours in which a track has a detection; none where it isn't held.
    pub(super) fn hours_of_track(&self, track: &TrackKey) -> impl Iterator<Item = i64> {
        self.tracks.get(track).into_iter().flat_map(|held| held.hours.iter().copied())
    }

    pub(super) fn holds_hour(&self, hour: i64) -> bool {
        self.hours.contains_key(&hour)
    }

    pub(super) fn tracks(&self) -> impl Iterator<Item = &TrackKey> {
        self.tracks.keys()
    }

    /// Returns the rows of gold of hours that are held.
    pub(super) fn rows(
        &mut self,
        (store, camera): (&StoreId, &CameraId),
        hours: &BTreeSet<i64>,
        zones: &CameraZones,
        rules: &Rules,
    ) -> HourRows {
        for (key, held) in &mut self.tracks {
            if held.outcome.is_none() && !held.hours.is_disjoint(hours) {
                held.outcome = held.path.outcome(key.clone(), zones, rules);
            }
        }
        let mut all = HourRows::default();
        for (&hour_us, partial) in &mut self.hours {
            if !hours.contains(&hour_us) {
                continue;
            }
            let of_hour = self.tracks.values().filter(|held| held.hours.contains(&hour_us));
            let tracks: Vec<&TrackOutcome> = of_hour.filter_map(|held| held.outcome.as_ref()).collect();
            let key = CameraHourKey { store: store.clone(), camera: camera.clone(), hour_us };
            all.append(partial.rows(&key, &tracks));
        }
        all
    }

    /// Drops an hour, and the tracks that no hour is held of any more.
    pub(super) fn forget(&mut self, hour: i64) {
        self.hours.remove(&hour);
        let hours = &self.hours;
        self.tracks.retain(|_, held| held.hours.iter().any(|hour| hours.contains_key(hour)));
    }

    /// Returns the bytes that it takes in memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let track = |held: &HeldTrack| size_of::<(TrackKey, HeldTrack)>() + 512 + held.path.memory_bytes();
        let tracks: usize = self.tracks.values().map(track).sum();
        self.hours.values().map(HourPartial::memory_bytes).sum::<usize>() + tracks
    }
}

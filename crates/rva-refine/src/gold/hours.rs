//! Hours of cameras of a shop in memory, with every track that has a detection in one of them.

use rva_analytics::{
    CameraHourKey, CameraZones, FrameRows, HourPartial, HourRows, Rules, TrackKey, TrackOutcome, TrackPath, TrackPoint,
    Zones, hour_key, hour_of, track_points,
};
use rva_types::CameraId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A camera and one of its hours, by its start in microseconds since 1970.
pub(super) type CameraHour = (Arc<str>, i64);

/// Sums of whole hours, and the tracks of these hours, each from its first detection to its last, wherever those are.
#[derive(Debug, Default)]
pub(super) struct HeldHours {
    hours: BTreeMap<CameraHourKey, HourPartial>,
    tracks: BTreeMap<TrackKey, HeldTrack>,
}

#[derive(Debug, Default)]
struct HeldTrack {
    path: TrackPath,
    /// The hours in which it has a detection.
    hours: BTreeSet<i64>,
    /// The outcome that gold has of it, until another detection comes.
    outcome: Option<TrackOutcome>,
}

impl HeldTrack {
    fn push(&mut self, point: TrackPoint) {
        self.hours.insert(hour_of(point.at_us));
        self.path.push(point);
        self.outcome = None;
    }
}

impl HeldHours {
    /// Takes a frame into its tracks, and into its hour, which is held from now on, if it is one of those wanted.
    pub(super) fn absorb(&mut self, rows: &FrameRows, wanted: &BTreeSet<CameraHour>, zones: &Zones, rules: &Rules) {
        let key = hour_key(rows);
        if wanted.contains(&(Arc::from(key.camera.as_str()), key.hour_us)) {
            let zones = zones.of(&key.store, &key.camera);
            self.hours.entry(key).or_default().absorb(rows, zones, rules);
        }
        self.push(rows);
    }

    /// Takes a frame into its tracks, and into its hour if that is held.
    pub(super) fn absorb_held(&mut self, rows: &FrameRows, zones: &CameraZones, rules: &Rules) {
        if let Some(hour) = self.hours.get_mut(&hour_key(rows)) {
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

    /// Drops tracks that no hour is held of.
    pub(super) fn drop_strangers(&mut self) {
        let hours = &self.hours;
        self.tracks.retain(|key, held| {
            let hour = |&hour_us| {
                let (store, camera) = (key.store.clone(), key.camera.clone());
                hours.contains_key(&CameraHourKey { store, camera, hour_us })
            };
            held.hours.iter().any(hour)
        });
    }

    /// Splits it by cameras.
    pub(super) fn by_camera(self) -> BTreeMap<Arc<str>, Self> {
        let mut cameras: BTreeMap<Arc<str>, Self> = BTreeMap::new();
        let of = |camera: &CameraId| Arc::<str>::from(camera.as_str());
        for (key, partial) in self.hours {
            cameras.entry(of(&key.camera)).or_default().hours.insert(key, partial);
        }
        for (key, track) in self.tracks {
            cameras.entry(of(&key.camera)).or_default().tracks.insert(key, track);
        }
        cameras
    }

    /// Returns the hours that are held.
    pub(super) fn hours(&self) -> impl Iterator<Item = i64> {
        self.hours.keys().map(|key| key.hour_us)
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
        self.hours.keys().any(|key| key.hour_us == hour)
    }

    pub(super) fn tracks(&self) -> impl Iterator<Item = &TrackKey> {
        self.tracks.keys()
    }

    /// Returns the rows of gold of those hours that are held, whatever camera they are of.
    pub(super) fn rows(&mut self, hours: &BTreeSet<i64>, zones: &Zones, rules: &Rules) -> HourRows {
        let mut of_hour: BTreeMap<CameraHourKey, Vec<&TrackOutcome>> = BTreeMap::new();
        for (key, held) in &mut self.tracks {
            if held.hours.is_disjoint(hours) {
                continue;
            }
            if held.outcome.is_none() {
                held.outcome = held.path.outcome(key.clone(), zones.of(&key.store, &key.camera), rules);
            }
            for &hour_us in held.hours.intersection(hours) {
                let (store, camera) = (key.store.clone(), key.camera.clone());
                of_hour.entry(CameraHourKey { store, camera, hour_us }).or_default().extend(held.outcome.as_ref());
            }
        }
        let mut all = HourRows::default();
        for (key, partial) in self.hours.iter_mut().filter(|(key, _)| hours.contains(&key.hour_us)) {
            all.append(partial.rows(key, of_hour.get(key).map_or(&[], Vec::as_slice)));
        }
        all
    }

    /// Keeps some hours, and drops the tracks that no hour is held of any more.
    pub(super) fn keep_hours(&mut self, keeps: impl Fn(i64) -> bool) {
        self.hours.retain(|key, _| keeps(key.hour_us));
        self.drop_strangers();
    }

    /// Returns the bytes that it takes in memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let track = |held: &HeldTrack| size_of::<(TrackKey, HeldTrack)>() + 512 + held.path.memory_bytes();
        let tracks: usize = self.tracks.values().map(track).sum();
        self.hours.values().map(HourPartial::memory_bytes).sum::<usize>() + tracks
    }
}

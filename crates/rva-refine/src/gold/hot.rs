//! Hours that new rows fall into again and again, kept in memory.
//!
//! A camera adds to its running hour with every commit. The sums and tracks of that hour stay here, so that a refresh
//! reads the new rows of silver alone. What is held is silver at one position: a table of gold that is at another is
//! worked out from silver instead. Nothing here is state: after a restart the hours are read when they are touched first.

use super::chunks;
use super::extents::{CameraOf, Extents, widen};
use super::hours::{CameraHour, HeldHours};
use super::work::{StoreWork, bounds, track_of};
use crate::error::Trouble;
use rva_analytics::{FrameRows, HourRows, TrackKey, hour_key, track_points};
use rva_types::OffsetMap;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// The default of [`Hot::bytes_max`].
pub(crate) const HOT_BYTES: usize = 256 << 20;

/// The most hours that are held of a camera: the running one, the one before it while late rows come, and two that an
/// old spool is at. What is held beyond those is work and memory for nothing.
const HOURS_MAX: usize = 4;

/// The most runs of a camera whose tracks are known. Another one is read when it is touched.
const RUNS_MAX: usize = 4;

/// The hours that are held of every camera.
#[derive(Debug)]
pub(super) struct Hot {
    /// The inputs, and the positions in them, that what is held is made of.
    at: Option<(String, OffsetMap)>,
    cameras: BTreeMap<CameraOf, HotCamera>,
    /// Counts the uses, so that the hour that wasn't used for longest goes first.
    uses: u64,
    /// The most bytes that are held. Reaching them costs a scan, never a wrong row.
    pub(super) bytes_max: usize,
}

#[derive(Debug, Default)]
struct HotCamera {
    held: HeldHours,
    /// When each hour was used last.
    used: BTreeMap<i64, u64>,
    runs: BTreeMap<Arc<str>, KnownRun>,
    bytes: usize,
}

/// A run whose tracks are known.
#[derive(Debug, Default)]
struct KnownRun {
    /// The first and the last moment of every track of it.
    extents: Extents,
    /// When it was used last.
    used: u64,
}

impl Default for Hot {
    fn default() -> Self {
        Self { at: None, cameras: BTreeMap::new(), uses: 0, bytes_max: HOT_BYTES }
    }
}

impl Hot {
    /// Returns whether what is held is these inputs at these positions.
    pub(super) fn is_at(&self, source: &str, from: &OffsetMap) -> bool {
        self.at.as_ref().is_some_and(|(held, at)| held == source && at == from)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.at = None;
        self.cameras.clear();
    }

    /// Says that what is held changes: until [`Hot::moved`] it is of no position.
    pub(super) fn moves(&mut self) {
        self.at = None;
    }

    /// Notes the position of what is held.
    pub(super) fn moved(&mut self, source: &str, to: &OffsetMap) {
        self.at = Some((source.to_owned(), to.clone()));
    }

    /// Holds hours of cameras of a shop that were read.
    pub(super) fn keep(&mut self, store: &Arc<str>, held: HeldHours) {
        self.uses += 1;
        for (camera, held) in held.by_camera() {
            let hot = self.cameras.entry((Arc::clone(store), camera)).or_default();
            hot.used.extend(held.hours().map(|hour| (hour, self.uses)));
            hot.held.merge(held);
            hot.shrink();
        }
        self.evict();
    }

    /// Takes new frames of a camera, and returns the rows of every hour that they change, with these hours. Hours that
    /// aren't held are read.
    pub(super) async fn take(
        &mut self,
        camera: &CameraOf,
        fresh: &[FrameRows],
        changed: &Extents,
        work: &StoreWork<'_>,
    ) -> Result<(HourRows, BTreeSet<i64>), Trouble> {
        self.uses += 1;
        let hot = self.cameras.entry(camera.clone()).or_default();
        let keys: HashSet<TrackKey> = fresh.iter().flat_map(track_points).map(|(key, _)| key).collect();
        let old = hot.learn(&keys, changed, self.uses, work).await?;
        for rows in fresh {
            let key = &rows.frame.key;
            hot.held.absorb_held(rows, work.zones.of(&key.store, &key.camera), work.rules);
        }
        // Who was seen before, in hours that aren't held: read with the new detections, which silver has already.
        if let Some((first, last)) = bounds(&old) {
            hot.held.put_tracks(work.silver.points(&old, first, last.saturating_add(1)).await?);
        }
        let mut hours: BTreeSet<i64> = fresh.iter().map(|rows| hour_key(rows).hour_us).collect();
        if work.whole_tracks {
            hours.extend(keys.iter().flat_map(|key| hot.held.hours_of_track(key)));
        }
        let (held, missing): (BTreeSet<i64>, BTreeSet<i64>) =
            hours.iter().partition(|hour| hot.held.holds_hour(**hour));
        let mut rows = work.rows(&mut hot.held, &held);
        hot.used.extend(held.iter().map(|hour| (*hour, self.uses)));
        hot.shrink();
        let missing: BTreeSet<CameraHour> = missing.into_iter().map(|hour| (Arc::clone(&camera.1), hour)).collect();
        for chunk in chunks(&missing) {
            let mut loaded = work.load(&chunk, changed).await?;
            rows.append(work.rows(&mut loaded, &chunk.iter().map(|(_, hour)| *hour).collect()));
            self.keep(&camera.0, loaded);
        }
        self.evict();
        Ok((rows, hours))
    }

    /// Drops the hours that weren't used for longest until the rest is small enough.
    fn evict(&mut self) {
        let mut bytes: usize = self.cameras.values().map(|camera| camera.bytes).sum();
        while bytes > self.bytes_max {
            let hours = self.cameras.iter().flat_map(|(of, camera)| camera.used.iter().map(move |used| (of, used)));
            let Some((of, hour)) = hours.min_by_key(|(_, (_, used))| **used).map(|(of, (hour, _))| (of.clone(), *hour))
            else {
                return;
            };
            let Some(camera) = self.cameras.get_mut(&of) else { return };
            bytes -= camera.bytes;
            camera.used.remove(&hour);
            camera.held.keep_hours(|held| held != hour);
            camera.weigh();
            bytes += camera.bytes;
            if camera.used.is_empty() {
                bytes -= camera.bytes;
                self.cameras.remove(&of);
            }
        }
    }
}

impl HotCamera {
    /// Drops the hours and the runs that weren't used for longest beyond those that are held, and weighs the rest.
    fn shrink(&mut self) {
        while self.runs.len() > RUNS_MAX
            && let Some(run) = self.runs.iter().min_by_key(|(_, run)| run.used).map(|(id, _)| Arc::clone(id))
        {
            self.runs.remove(&run);
        }
        if self.used.len() > HOURS_MAX {
            let mut uses: Vec<(u64, i64)> = self.used.iter().map(|(hour, used)| (*used, *hour)).collect();
            uses.sort_unstable();
            for (_, hour) in &uses[..uses.len() - HOURS_MAX] {
                self.used.remove(hour);
            }
            self.held.keep_hours(|hour| self.used.contains_key(&hour));
        }
        self.weigh();
    }

    /// Works out anew how many bytes it takes.
    fn weigh(&mut self) {
        const EXTENT: usize = 96;
        let extents: usize = self.runs.values().map(|run| run.extents.len()).sum();
        self.bytes = self.held.memory_bytes() + extents * EXTENT;
    }

    /// Learns the extents of changed tracks, by their keys, and notes this use of their runs. Returns those tracks, with the whole of their extents, that
    /// had detections before and aren't held.
    async fn learn(
        &mut self,
        keys: &HashSet<TrackKey>,
        changed: &Extents,
        use_number: u64,
        work: &StoreWork<'_>,
    ) -> Result<Extents, Trouble> {
        let runs: BTreeSet<Arc<str>> = changed.keys().map(|(_, run, _)| Arc::clone(run)).collect();
        let unknown: BTreeSet<Arc<str>> = runs.into_iter().filter(|run| !self.runs.contains_key(run)).collect();
        if !unknown.is_empty() {
            let mut known = match work.summary {
                Some(summary) => work.silver.known_extents(summary, &unknown).await?,
                None => Extents::new(),
            };
            for run in unknown {
                let extents = known.extract_if(|(_, of, _), _| *of == run).collect();
                self.runs.insert(run, KnownRun { extents, used: use_number });
            }
        }
        let mut old = Extents::new();
        for key in keys {
            let track = track_of(key);
            let Some((first, last)) = changed.get(&track).copied() else { continue };
            let run = self.runs.entry(Arc::clone(&track.1)).or_default();
            run.used = use_number;
            let is_known = run.extents.contains_key(&track);
            widen(&mut run.extents, track.clone(), first, last);
            if is_known && !self.held.holds_track(key) && work.whole_tracks {
                let extent = run.extents[&track];
                old.insert(track, extent);
            }
        }
        Ok(old)
    }
}

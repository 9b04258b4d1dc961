//! Works out the rows of some cameras of a shop from their silver.

use super::HOUR_US;
use super::extents::{Extents, TrackOf, widen};
use super::hours::{CameraHour, HeldHours};
use super::load::StoreSilver;
use crate::error::Trouble;
use rva_analytics::{HourRows, Rules, TrackKey, TrackPoint, Zones, hour_of};
use rva_lake::TableView;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Some cameras of a shop, and what their rows are worked out by.
pub(super) struct StoreWork<'a> {
    pub(super) silver: StoreSilver<'a>,
    pub(super) zones: &'a Zones,
    pub(super) rules: &'a Rules,
    /// The table of tracks, where the extents in it can be relied on.
    pub(super) summary: Option<&'a TableView>,
    /// The extents from the detections themselves, where they can't; read once.
    pub(super) scanned: OnceCell<Extents>,
    pub(super) whole_tracks: bool,
}

impl StoreWork<'_> {
    /// Returns the rows of hours that are held.
    pub(super) fn rows(&self, held: &mut HeldHours, hours: &BTreeSet<i64>) -> HourRows {
        held.rows(hours, self.zones, self.rules)
    }

    /// Returns the first and the last moment of tracks: as stored, widened by those of `changed`.
    async fn extents(&self, tracks: &Extents, changed: &Extents) -> Result<Extents, Trouble> {
        let mut extents = match self.summary {
            Some(summary) => {
                let runs = tracks.keys().map(|(_, run, _)| Arc::clone(run)).collect();
                self.silver.known_extents(summary, &runs).await?
            }
            None => {
                let all = self.scanned.get_or_try_init(|| self.silver.all_extents()).await?;
                tracks.keys().filter_map(|track| Some((track.clone(), *all.get(track)?))).collect()
            }
        };
        for (track, (first, last)) in changed {
            widen(&mut extents, track.clone(), *first, *last);
        }
        extents.retain(|track, _| tracks.contains_key(track));
        Ok(extents)
    }

    /// Returns the touched hours, and every other that a changed track has a detection in.
    pub(super) async fn reached(
        &self,
        mut hours: BTreeSet<CameraHour>,
        changed: &Extents,
    ) -> Result<BTreeSet<CameraHour>, Trouble> {
        if changed.is_empty() || !self.whole_tracks {
            return Ok(hours);
        }
        let mut outside = self.extents(changed, changed).await?;
        outside.retain(|(camera, _, _), (first, last)| {
            !(hours.contains(&(Arc::clone(camera), hour_of(*first))) && hour_of(*first) == hour_of(*last))
        });
        let Some((first, last)) = bounds(&outside) else { return Ok(hours) };
        for (track, point) in self.silver.points(&outside, first, last.saturating_add(1)).await? {
            hours.insert((Arc::from(track.camera.as_str()), hour_of(point.at_us)));
        }
        Ok(hours)
    }

    /// Reads some hours between neighbours, and what their tracks did before and after.
    pub(super) async fn load(&self, wanted: &BTreeSet<CameraHour>, changed: &Extents) -> Result<HeldHours, Trouble> {
        let mut held = HeldHours::default();
        let hours: BTreeSet<i64> = wanted.iter().map(|(_, hour)| *hour).collect();
        let (Some(&from_us), Some(&last)) = (hours.first(), hours.last()) else { return Ok(held) };
        let to_us = last.saturating_add(HOUR_US);
        // An hour at a time: frames as they are read take several times the room of their sums.
        for hour in hours {
            for rows in self.silver.frames(hour, hour.saturating_add(HOUR_US)).await? {
                held.absorb(&rows, wanted, self.zones, self.rules);
            }
        }
        held.drop_strangers();
        for (track, point) in self.outside(&held, changed, from_us, to_us).await? {
            held.push_outside(&track, point);
        }
        Ok(held)
    }

    /// Returns the points of a stretch's tracks before and after it.
    async fn outside(
        &self,
        held: &HeldHours,
        changed: &Extents,
        from_us: i64,
        to_us: i64,
    ) -> Result<Vec<(TrackKey, TrackPoint)>, Trouble> {
        let tracks: Extents = held.tracks().map(|key| (track_of(key), (0, 0))).collect();
        let mut extents = self.extents(&tracks, changed).await?;
        extents.retain(|_, (first, last)| self.whole_tracks && (*first < from_us || *last >= to_us));
        let Some((first, last)) = bounds(&extents) else { return Ok(Vec::new()) };
        let mut points = self.silver.points(&extents, first, from_us).await?;
        points.extend(self.silver.points(&extents, to_us, last.saturating_add(1)).await?);
        Ok(points)
    }
}

/// Returns the camera, run and number of a track.
pub(super) fn track_of(key: &TrackKey) -> TrackOf {
    (Arc::from(key.camera.as_str()), Arc::from(key.run.as_str()), key.track_id)
}

/// Returns the first and the last moment of all, in microseconds since 1970.
pub(super) fn bounds(extents: &Extents) -> Option<(i64, i64)> {
    let first = extents.values().map(|(first, _)| *first).min()?;
    Some((first, extents.values().map(|(_, last)| *last).max()?))
}

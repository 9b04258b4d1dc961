//! The time that cameras should have looked at, in opening hours, and didn't: what no count can make up for.

use crate::gold::GoldMinute;
use crate::hours::Hours;
use crate::judge::MINUTE_US;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The minutes that are looked back at.
pub(crate) const MINUTES: i64 = 60;

/// The time after which a camera that gives nothing is no camera of the shop any more.
const KNOWN_US: i64 = 7 * 24 * 60 * MINUTE_US;

/// The most cameras that are known.
const CAMERAS_MAX: usize = 100_000;

/// The cameras that there are, each with the newest minute in which it looked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Cameras(BTreeMap<String, BTreeMap<String, i64>>);

/// The camera minutes of a shop's last open hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Coverage {
    /// Those that there are: the minutes in which the shop was open, for each of its cameras.
    pub open: i64,
    /// Those of them in which the camera gave no frame.
    pub missing: i64,
}

impl Cameras {
    /// Notes the cameras of rows, and forgets those that gave nothing for a week.
    pub(crate) fn note(&mut self, rows: &[GoldMinute], now_us: i64) {
        for row in rows.iter().filter(|row| row.zone.is_none()) {
            let count: usize = self.0.values().map(BTreeMap::len).sum();
            let cameras = self.0.entry(row.store.clone()).or_default();
            if count < CAMERAS_MAX || cameras.contains_key(&row.camera) {
                let newest = cameras.entry(row.camera.clone()).or_insert(i64::MIN);
                *newest = (*newest).max(row.people.minute_us);
            }
        }
        for cameras in self.0.values_mut() {
            cameras.retain(|_, newest| now_us - *newest < KNOWN_US);
        }
        self.0.retain(|_, cameras| !cameras.is_empty());
    }

    /// Returns what was looked at in the hour that ends with the minute `last_us`, of each shop.
    pub(crate) fn coverage(&self, rows: &[GoldMinute], hours: &Hours, last_us: i64) -> BTreeMap<String, Coverage> {
        let open: BTreeSet<i64> =
            (0..MINUTES).map(|back| last_us - back * MINUTE_US).filter(|minute| hours.hold(*minute)).collect();
        let looked: BTreeSet<(&str, &str, i64)> = rows
            .iter()
            .filter(|row| row.zone.is_none() && open.contains(&row.people.minute_us))
            .map(|row| (row.store.as_str(), row.camera.as_str(), row.people.minute_us))
            .collect();
        let mut found = BTreeMap::new();
        for (store, cameras) in &self.0 {
            let of_store = |(of, camera, _): &&(&str, &str, i64)| of == store && cameras.contains_key(*camera);
            let seen = i64::try_from(looked.iter().filter(of_store).count()).unwrap_or(i64::MAX);
            let all = i64::try_from(cameras.len() * open.len()).unwrap_or(i64::MAX);
            found.insert(store.clone(), Coverage { open: all, missing: all - seen });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::MinutePeople;
    use chrono_tz::Tz;
    use rva_service::DaySpan;

    /// 2026-01-05, a Monday, 08:00 in UTC.
    const EIGHT_US: i64 = 1_767_600_000_000_000;

    fn row(camera: &str, minute: i64) -> GoldMinute {
        let people = MinutePeople { minute_us: EIGHT_US + minute * MINUTE_US, average: 0.0, peak: 0.0 };
        GoldMinute { store: "store_01".into(), camera: camera.into(), zone: None, people }
    }

    fn of(cameras: &Cameras, rows: &[GoldMinute], last: i64) -> (i64, i64) {
        let hours = Hours { zone: Tz::UTC, between: Some(DaySpan { from: 540, to: 1_200 }), days: [true; 7] };
        let found = cameras.coverage(rows, &hours, EIGHT_US + last * MINUTE_US);
        let Coverage { open, missing } = found["store_01"];
        (open, missing)
    }

    #[test]
    fn what_no_camera_gave_in_open_hours_is_missing_and_nothing_else() {
        let mut cameras = Cameras::default();
        // `door` looks all the time, `till` until half past nine.
        let doors = (0..300).map(|minute| row("door", minute));
        let rows: Vec<GoldMinute> = doors.chain((0..90).map(|minute| row("till", minute))).collect();
        cameras.note(&rows, EIGHT_US);
        assert_eq!(of(&cameras, &rows, 59), (0, 0), "it opens at nine");
        assert_eq!(of(&cameras, &rows, 74), (30, 0), "a quarter of an hour of two cameras");
        assert_eq!(of(&cameras, &rows, 119), (120, 30));
        assert_eq!(of(&cameras, &rows, 299), (120, 60));
        // A camera that was taken down a week ago is missed no more.
        cameras.note(&rows[..300], EIGHT_US + 90 * MINUTE_US + KNOWN_US);
        assert_eq!(of(&cameras, &rows, 299), (60, 0));
    }
}

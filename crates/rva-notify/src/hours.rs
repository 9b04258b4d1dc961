//! The hours in which an alert is watched, or a shop is open, on the wall of the shop.

use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;
use rva_service::{AlertConfig, DaySpan};

/// Hours of days, in a time zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hours {
    pub zone: Tz,
    /// `None`: all day.
    pub between: Option<DaySpan>,
    /// Monday first.
    pub days: [bool; 7],
}

impl Hours {
    /// Returns those in which an alert is watched.
    pub(crate) fn of(alert: &AlertConfig, zone: Tz) -> Self {
        Self { zone, between: alert.between, days: alert.days }
    }

    /// Returns whether a moment in microseconds since 1970 is in them. A span over midnight belongs to the day on which
    /// it begins.
    pub(crate) fn hold(&self, at_us: i64) -> bool {
        let at = DateTime::<Utc>::from_timestamp_micros(at_us).unwrap_or_default().with_timezone(&self.zone);
        let today = at.weekday().num_days_from_monday() as usize;
        let minute = at.hour() * 60 + at.minute();
        let is_day = |day: usize| self.days[day % 7];
        match self.between.map(|DaySpan { from, to }| (u32::from(from), u32::from(to))) {
            None => is_day(today),
            Some((from, to)) if from < to => is_day(today) && (from..to).contains(&minute),
            Some((from, to)) => (minute >= from && is_day(today)) || (minute < to && is_day(today + 6)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::alert;
    use rva_types::Timestamp;

    fn open(between: Option<(u16, u16)>, days: [bool; 7], zone: &str, at: &str) -> bool {
        let mut alert = alert(5.0, 1);
        alert.between = between.map(|(from, to)| DaySpan { from, to });
        alert.days = days;
        Hours::of(&alert, zone.parse().unwrap()).hold(Timestamp::parse(at).unwrap().as_micros())
    }

    #[test]
    fn hours_are_those_of_the_shop_also_when_its_clocks_change() {
        let (all, day) = ([true; 7], Some((9 * 60, 20 * 60)));
        for (zone, at, is_open) in [
            ("UTC", "2026-01-05T09:00:00Z", true),
            ("UTC", "2026-01-05T08:59:59Z", false),
            ("UTC", "2026-01-05T19:59:59Z", true),
            ("UTC", "2026-01-05T20:00:00Z", false),
            // 09:30 in Berlin, in winter and in summer.
            ("Europe/Berlin", "2026-01-05T08:30:00Z", true),
            ("Europe/Berlin", "2026-07-06T07:30:00Z", true),
            ("Europe/Berlin", "2026-07-06T18:30:00Z", false),
        ] {
            assert_eq!(open(day, all, zone, at), is_open, "{zone} {at}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        // Friday to Saturday night alone; 2026-01-09 is a Friday.
        let friday = [false, false, false, false, true, false, false];
        let night = Some((22 * 60, 2 * 60));
        for (at, is_open) in [
            ("2026-01-09T01:00:00Z", false),
            ("2026-01-09T22:00:00Z", true),
            ("2026-01-10T01:59:00Z", true),
            ("2026-01-10T02:00:00Z", false),
            ("2026-01-10T22:00:00Z", false),
        ] {
            assert_eq!(open(night, friday, "UTC", at), is_open, "{at}");
        }
    }
}

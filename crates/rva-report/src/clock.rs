//! The time of a shop's wall: hours and days as people there call them.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Offset, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

/// The microseconds of a minute.
pub const MINUTE_US: i64 = 60_000_000;
/// The microseconds of a quarter of an hour: every time zone is a whole number of them from UTC.
pub(crate) const QUARTER_US: i64 = 15 * MINUTE_US;
/// The microseconds of an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

/// An error for a name that is no time zone's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, wanted the name of a time zone like Europe/Berlin or UTC")]
pub struct ZoneError {
    found: String,
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(Tz::UTC);

    /// Finds a zone by its name in the IANA database, in any case.
    ///
    /// # Errors
    /// Returns an error that repeats the first 64 characters of a name that isn't there.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let found = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
        found.copied().map(Self).ok_or_else(|| ZoneError { found: name.chars().take(64).collect() })
    }

    /// Returns the zone's name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    fn at(self, us: i64) -> DateTime<Tz> {
        DateTime::<Utc>::from_timestamp_micros(us).unwrap_or_default().with_timezone(&self.0)
    }

    /// Returns the first moment of the hour on the wall that a moment is in.
    pub fn hour_start(self, us: i64) -> i64 {
        let offset = i64::from(self.at(us).offset().fix().local_minus_utc()) * 1_000_000;
        (us + offset).div_euclid(HOUR_US) * HOUR_US - offset
    }

    /// Returns the first moment of the day on the wall that a moment is in.
    pub fn day_start(self, us: i64) -> i64 {
        self.midnight(self.at(us).date_naive()).unwrap_or(us)
    }

    /// Returns the first moment and the end of a day like 2026-01-31; `None` for another text.
    pub fn day(self, text: &str) -> Option<(i64, i64)> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10)?;
        Some((self.midnight(date)?, self.midnight(date.checked_add_days(Days::new(1))?)?))
    }

    /// Returns the first moment of a date: an hour later where clocks are put forward at midnight.
    fn midnight(self, date: NaiveDate) -> Option<i64> {
        let wall = date.and_time(NaiveTime::MIN);
        let found = |wall| self.0.from_local_datetime(&wall).earliest();
        found(wall).or_else(|| found(wall + TimeDelta::hours(1))).map(|time| time.timestamp_micros())
    }

    /// Returns the hour on the wall, 0 to 23.
    pub fn hour_of_day(self, us: i64) -> u32 {
        use chrono::Timelike;
        self.at(us).hour()
    }

    /// Returns a moment as `2026-01-31 08:15`.
    pub fn minute_text(self, us: i64) -> String {
        self.at(us).format("%Y-%m-%d %H:%M").to_string()
    }

    /// Returns a moment's day as `2026-01-31`.
    pub fn day_text(self, us: i64) -> String {
        self.at(us).format("%Y-%m-%d").to_string()
    }

    /// Returns a moment as RFC 3339 with the zone's offset.
    pub fn rfc3339(self, us: i64) -> String {
        self.at(us).to_rfc3339_opts(SecondsFormat::Secs, false)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn days_and_hours_are_those_of_the_wall() {
        let berlin = Zone::parse("europe/berlin").unwrap();
        assert_eq!(berlin.name(), "Europe/Berlin");
        assert_eq!(berlin.day("2026-01-31"), Some((us("2026-01-30T23:00:00Z"), us("2026-01-31T23:00:00Z"))));
        assert_eq!(berlin.day_start(us("2026-07-01T22:30:00Z")), us("2026-07-01T22:00:00Z"));
        let kathmandu = Zone::parse("Asia/Kathmandu").unwrap();
        assert_eq!(kathmandu.hour_start(us("2026-01-31T08:20:00Z")), us("2026-01-31T08:15:00Z"));
        assert_eq!(kathmandu.minute_text(us("2026-01-31T08:15:00Z")), "2026-01-31 14:00");
        assert_eq!(kathmandu.rfc3339(us("2026-01-31T08:15:00Z")), "2026-01-31T14:00:00+05:45");
    }

    #[test]
    fn a_day_on_which_clocks_change_is_as_long_as_it_is() {
        let hours = |zone: &str, day: &str| {
            let (from, to) = Zone::parse(zone).unwrap().day(day).unwrap();
            (to - from) / HOUR_US
        };
        assert_eq!(hours("Europe/Berlin", "2026-03-29"), 23);
        assert_eq!(hours("Europe/Berlin", "2026-10-25"), 25);
        // Clocks are put forward at midnight: the day begins at one.
        assert_eq!(hours("Africa/Cairo", "2026-04-24"), 23);
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let (first, second) = (us("2026-10-25T00:30:00Z"), us("2026-10-25T01:30:00Z"));
        assert_eq!((berlin.hour_of_day(first), berlin.hour_of_day(second)), (2, 2));
        assert_ne!(berlin.hour_start(first), berlin.hour_start(second), "both hours from two to three count");
    }

    #[test]
    fn what_is_no_zone_and_no_day_is_refused() {
        assert!(Zone::parse("Middle/Earth").unwrap_err().to_string().contains("\"Middle/Earth\", wanted"));
        for text in ["2026-02-30", "2026-1-3", "today", "2026-01-31T00:00:00Z"] {
            assert_eq!(Zone::UTC.day(text), None, "{text}");
        }
    }
}

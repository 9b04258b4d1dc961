//! Time as an argument: this crate has no clock.

use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt;

/// A time on a stream's own timeline, in microseconds from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime {
    micros: i64,
}

impl MediaTime {
    /// Makes a time of microseconds since the start of the stream.
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Returns the microseconds since the start of the stream.
    pub const fn as_micros(self) -> i64 {
        self.micros
    }

    /// Returns the seconds since the start of the stream.
    pub fn as_secs_f64(self) -> f64 {
        self.micros as f64 / 1e6
    }
}

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: i64,
}

/// An error for a text that is no RFC 3339 time, or one outside the years that can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, wanted an RFC 3339 time like 2026-01-31T08:00:00.000000+00:00")]
pub struct TimestampError {
    found: String,
}

impl Timestamp {
    /// Makes a moment of microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.micros
    }

    /// Parses RFC 3339 with any offset; digits beyond microseconds are cut off.
    ///
    /// # Errors
    /// Returns an error that repeats the first 64 characters of a text that is no such time.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        DateTime::parse_from_rfc3339(text)
            .map(|t| Self { micros: t.timestamp_micros() })
            .map_err(|_| TimestampError { found: text.chars().take(64).collect() })
    }

    /// Returns this moment plus a time on a stream's timeline. Saturates at the ends of `i64`.
    pub const fn plus(self, media: MediaTime) -> Self {
        Self { micros: self.micros.saturating_add(media.micros) }
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        Self { micros: DateTime::<Utc>::from(time).timestamp_micros() }
    }
}

/// A moment before 1970 becomes the start of that year.
impl From<Timestamp> for std::time::SystemTime {
    fn from(at: Timestamp) -> Self {
        Self::UNIX_EPOCH + std::time::Duration::from_micros(u64::try_from(at.micros).unwrap_or(0))
    }
}

/// Writes RFC 3339 in UTC, with six digits of fraction and the offset `+00:00`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_micros(self.micros).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_with_six_digits_and_a_numeric_offset() {
        let t = Timestamp::from_micros(1_700_000_000_000_001);
        assert_eq!(t.to_string(), "2023-11-14T22:13:20.000001+00:00");
        assert_eq!(Timestamp::parse(&t.to_string()), Ok(t));
        assert_eq!(Timestamp::parse("2023-11-15T00:13:20.0000019+02:00"), Ok(t));
    }

    #[test]
    fn a_text_that_is_no_time_is_named() {
        let error = Timestamp::parse("yesterday").unwrap_err().to_string();
        assert!(error.contains("yesterday") && error.contains("RFC 3339"), "{error}");
    }

    #[test]
    fn a_timestamp_is_a_moment_of_the_systems_clock_and_back() {
        let t = Timestamp::from_micros(1_700_000_000_000_001);
        assert_eq!(Timestamp::from(std::time::SystemTime::from(t)), t);
        assert_eq!(std::time::SystemTime::from(Timestamp::from_micros(-1)), std::time::UNIX_EPOCH);
    }

    #[test]
    fn media_time_moves_a_timestamp() {
        let t = Timestamp::from_micros(5).plus(MediaTime::from_micros(7));
        assert_eq!(t.as_micros(), 12);
    }
}

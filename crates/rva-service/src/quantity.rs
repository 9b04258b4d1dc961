//! Durations like `10s` and sizes like `128MiB`, as people write them.

use std::time::Duration;

/// An error for a text that is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, wanted {wanted}")]
pub struct QuantityError {
    found: String,
    wanted: &'static str,
}

const DURATION_WANTED: &str = "a duration like 500ms, 10s, 5m, 72h or 1h30m";
const SIZE_WANTED: &str = "a size like 64KiB, 128MiB or 10GiB";

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
];

/// Splits a number (it may have a fraction) and its unit off the start of a text.
fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits_end].parse().ok()?;
    let rest = text[digits_end..].trim_start();
    let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    Some((number, &rest[..unit_end], rest[unit_end..].trim_start()))
}

/// Parses `500ms`, `10s`, `1.5s`, `5m`, `72h`, `7d` and sums like `1h30m`. A number without a unit is refused, since
/// nobody could tell seconds from milliseconds; only `0` needs none.
///
/// # Errors
/// Returns an error for a text that isn't of that form, or longer than 10,000 days.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let error = || QuantityError { found: text.chars().take(64).collect(), wanted: DURATION_WANTED };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut millis = 0.0;
    loop {
        let (number, unit, following) = number_and_unit(rest).ok_or_else(error)?;
        let (_, scale) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        millis += number * *scale as f64;
        rest = following;
        if rest.is_empty() {
            break;
        }
    }
    if millis > 10_000.0 * 86_400_000.0 {
        return Err(error());
    }
    Ok(Duration::from_micros((millis * 1_000.0).round() as u64))
}

/// Parses `64KiB`, `128MiB`, `1.5GiB`, `10GB` (powers of 1000) and plain bytes. Case of the unit doesn't matter.
///
/// # Errors
/// Returns an error for a text that isn't of that form, or 2^63 bytes and more.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let error = || QuantityError { found: text.chars().take(64).collect(), wanted: SIZE_WANTED };
    let (number, unit, rest) = number_and_unit(text.trim()).ok_or_else(error)?;
    let unit = unit.to_ascii_lowercase();
    let (_, scale) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
    let bytes = (number * *scale as f64).round();
    if !rest.is_empty() || bytes >= i64::MAX as f64 {
        return Err(error());
    }
    Ok(bytes as u64)
}

/// Returns the shortest text that [`parse_duration`] reads back, in whole units.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    let (unit, scale) = DURATION_UNITS
        .iter()
        .rev()
        .find(|(_, scale)| millis > 0 && millis.is_multiple_of(*scale))
        .unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / scale)
}

/// Returns a size for people: `832 B`, `1.2 MiB`.
pub fn format_bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = units[0];
    for next in &units[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_may_be_sums() {
        let ms = |text: &str| parse_duration(text).unwrap().as_millis();
        assert_eq!(ms("500ms"), 500);
        assert_eq!(ms("10s"), 10_000);
        assert_eq!(ms("1.5s"), 1_500);
        assert_eq!(ms("1h30m"), 5_400_000);
        assert_eq!(ms("72 h"), 259_200_000);
        assert_eq!(ms("0"), 0);
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_examples() {
        for bad in ["10", "s", "", "10 parsecs", "-1s", "1s later", "1e9999d", "99999999d"] {
            let error = parse_duration(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("10s"), "{error}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal_by_their_unit() {
        assert_eq!(parse_bytes("128MiB"), Ok(134_217_728));
        assert_eq!(parse_bytes("1 kb"), Ok(1_000));
        assert_eq!(parse_bytes("1.5GiB"), Ok(1_610_612_736));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "MiB", "1 mibi", "-3MiB", "9999999999TiB", "1MiB 2"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn formatted_durations_read_back() {
        for text in ["200ms", "10s", "5m", "3d", "90s", "0ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(format_bytes(832), "832 B");
        assert_eq!(format_bytes(134_217_728), "128.0 MiB");
    }
}

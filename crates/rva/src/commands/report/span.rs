//! The span of time that a report is about, as flags say it.

use super::args::ReportArgs;
use crate::exit::Refusal;
use rva_report::{MINUTE_US, Zone};
use rva_types::Timestamp;

/// Returns the first moment and the end that are asked for, each where it is, in microseconds since 1970.
///
/// # Errors
/// Returns a refusal that names the flag.
pub fn of(args: &ReportArgs, zone: Zone) -> Result<(Option<i64>, Option<i64>), Refusal> {
    if let Some(text) = &args.day {
        let day = zone
            .day(text)
            .ok_or_else(|| Refusal::usage(format!("--day: found {text:?}, wanted a day like 2026-01-31")))?;
        return Ok((Some(day.0), Some(day.1)));
    }
    let from = args.from.as_ref().map(|text| moment("--from", text, zone)).transpose()?;
    let to = args.to.as_ref().map(|text| moment("--to", text, zone)).transpose()?;
    let (from, to) = (from.map(|span| span.0), to.map(|span| span.1));
    if let (Some(first), Some(end)) = (from, to)
        && end <= first
    {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        return Err(Refusal::usage(format!(
            "--to: found {}, wanted a time after {}",
            text(&args.to),
            text(&args.from)
        )));
    }
    Ok((from, to))
}

/// Returns a day's first moment and its end, or twice the moment that a time says.
fn moment(flag: &str, text: &str, zone: Zone) -> Result<(i64, i64), Refusal> {
    if let Some(day) = zone.day(text) {
        return Ok(day);
    }
    let wanted = "wanted a day like 2026-01-31 or a time like 2026-01-31T08:00:00Z";
    let us =
        Timestamp::parse(text).map_err(|_| Refusal::usage(format!("{flag}: found {text:?}, {wanted}")))?.as_micros();
    if us.rem_euclid(MINUTE_US) != 0 {
        return Err(Refusal::usage(format!("{flag}: found {text}, wanted a whole minute: gold is by minute")));
    }
    Ok((us, us))
}

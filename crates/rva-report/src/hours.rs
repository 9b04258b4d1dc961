//! Hours and days on the shop's wall.

use crate::clock::MINUTE_US;
use crate::counting::Counting;
use crate::rows::{Question, Rows};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most stretches that are listed also where nobody looked: an hour's list of a year.
const LISTED_MAX: i64 = 24 * 366;

/// An hour or a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// Its first moment, as RFC 3339.
    pub start: String,
    /// The same in microseconds since 1970.
    #[serde(skip)]
    pub start_us: i64,
    /// The number of visitors; `None` where no camera looked.
    pub visitors: Option<i64>,
    /// The crossings in of the lines that count; `None` where there is no line, or no camera looked.
    pub came_in: Option<i64>,
    /// The crossings out of these lines.
    pub went_out: Option<i64>,
    /// The average number of people at once, all cameras added up.
    pub people_average: Option<f64>,
    /// The most people at once in one picture.
    pub people_peak: Option<i64>,
    /// The minutes in which cameras looked, all cameras added up.
    pub minutes_looked: i64,
    /// The minutes in which they could have.
    pub minutes: i64,
}

/// An hour of the day, all days of the span added up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HourOfDay {
    /// The hour on the wall, 0 to 23.
    pub hour: u32,
    /// The number of visitors of all days.
    pub visitors: i64,
    /// The minutes in which cameras looked, all cameras and days added up.
    pub minutes_looked: i64,
}

/// The sums of a stretch.
#[derive(Debug, Default, Clone)]
struct Sums {
    /// Detections and frames by camera.
    frames: BTreeMap<String, (i64, i64)>,
    peak: Option<i64>,
    tracks: i64,
    came_in: i64,
    went_out: i64,
    looked: i64,
}

/// A function from a moment to the start of the stretch that it is in.
type StartOf<'a> = &'a dyn Fn(i64) -> i64;

/// Sums rows over stretches; those of the span in which nobody looked are there too.
fn sums(question: &Question, rows: &Rows, counting: &Counting, start: StartOf<'_>) -> BTreeMap<i64, Sums> {
    let mut sums: BTreeMap<i64, Sums> =
        all_starts(question, start).into_iter().map(|at| (at, Sums::default())).collect();
    for seen in &rows.seen {
        let into = sums.entry(start(seen.at_us)).or_default();
        let of_camera = into.frames.entry(seen.camera.clone()).or_default();
        *of_camera = (of_camera.0 + seen.detections, of_camera.1 + seen.frames);
        into.peak = into.peak.max(Some(seen.people_max));
    }
    for began in &rows.began {
        sums.entry(start(began.at_us)).or_default().tracks += began.tracks;
    }
    for crossed in rows.crossed.iter().filter(|crossed| counting.counts(&crossed.camera, &crossed.line)) {
        let into = sums.entry(start(crossed.at_us)).or_default();
        into.came_in += crossed.came_in;
        into.went_out += crossed.went_out;
    }
    for looked in &rows.looked {
        sums.entry(start(looked.at_us)).or_default().looked += looked.minutes;
    }
    sums
}

/// Returns the first moments of all stretches of the span, unless they are too many to be listed.
fn all_starts(question: &Question, start: StartOf<'_>) -> BTreeSet<i64> {
    const STEP_US: i64 = 15 * MINUTE_US;
    if (question.to_us - question.from_us) / crate::clock::HOUR_US > LISTED_MAX {
        return BTreeSet::new();
    }
    let steps = (question.to_us - question.from_us + STEP_US - 1) / STEP_US;
    (0..steps).map(|step| start(question.from_us + step * STEP_US)).collect()
}

fn stretch(question: &Question, counting: &Counting, sums: &Sums, span_us: (i64, i64)) -> Stretch {
    let looked = (sums.looked > 0).then_some(());
    let inside = (span_us.0.max(question.from_us), span_us.1.min(question.to_us));
    let averages = sums.frames.values().filter(|(_, frames)| *frames > 0);
    let averages: Vec<f64> = averages.map(|(people, frames)| *people as f64 / *frames as f64).collect();
    let by_line = counting.is_by_line().then_some(()).and(looked);
    Stretch {
        start: question.zone.rfc3339(span_us.0),
        start_us: span_us.0,
        visitors: looked.map(|()| if counting.is_by_line() { sums.came_in } else { sums.tracks }),
        came_in: by_line.map(|()| sums.came_in),
        went_out: by_line.map(|()| sums.went_out),
        people_average: (!averages.is_empty()).then(|| averages.iter().sum()),
        people_peak: sums.peak,
        minutes_looked: sums.looked,
        minutes: (inside.1 - inside.0).max(0) / MINUTE_US * question.cameras.len() as i64,
    }
}

/// Returns the hours of the span, in order.
pub(crate) fn hours(question: &Question, rows: &Rows, counting: &Counting) -> Vec<Stretch> {
    let zone = question.zone;
    let sums = sums(question, rows, counting, &|us| zone.hour_start(us));
    let end = |at: i64| at + crate::clock::HOUR_US;
    sums.iter().map(|(at, sums)| stretch(question, counting, sums, (*at, end(*at)))).collect()
}

/// Returns the days of the span, in order.
pub(crate) fn days(question: &Question, rows: &Rows, counting: &Counting) -> Vec<Stretch> {
    let zone = question.zone;
    let sums = sums(question, rows, counting, &|us| zone.day_start(us));
    let end = |at: i64| zone.day(&zone.day_text(at)).map_or(at, |(_, end)| end);
    sums.iter().map(|(at, sums)| stretch(question, counting, sums, (*at, end(*at)))).collect()
}

/// Returns the 24 hours of the day, each with what its hours of all days say together.
pub(crate) fn hours_of_day(question: &Question, hours: &[Stretch]) -> Vec<HourOfDay> {
    let mut all: Vec<HourOfDay> = (0..24).map(|hour| HourOfDay { hour, visitors: 0, minutes_looked: 0 }).collect();
    for hour in hours {
        let of_day = question.zone.hour_of_day(hour.start_us);
        if let Some(into) = all.get_mut(of_day as usize) {
            into.visitors += hour.visitors.unwrap_or(0);
            into.minutes_looked += hour.minutes_looked;
        }
    }
    all
}

/// Returns the hours with most visitors, the first of them the busiest; of two alike the one with more people at once,
/// then the earlier one. Hours without visitors are none of them.
pub(crate) fn busiest(hours: &[Stretch], most: usize) -> Vec<Stretch> {
    let mut busy: Vec<Stretch> = hours.iter().filter(|hour| hour.visitors.unwrap_or(0) > 0).cloned().collect();
    let average = |hour: &Stretch| hour.people_average.unwrap_or(0.0);
    busy.sort_by(|one, other| {
        other
            .visitors
            .cmp(&one.visitors)
            .then(average(other).total_cmp(&average(one)))
            .then(one.start_us.cmp(&other.start_us))
    });
    busy.truncate(most);
    busy
}

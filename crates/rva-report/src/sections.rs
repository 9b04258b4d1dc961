//! The report as tables of words, for people: on a terminal and below the plots of the page.

use crate::clock::{HOUR_US, Zone};
use crate::hours::Stretch;
use crate::report::{CountedBy, Report};

/// The most hours that are listed one by one, in order; of a longer span the busiest ones are.
const HOURS_MAX: usize = 48;

/// The most gaps that are listed: the longest ones.
const GAPS_MAX: usize = 50;

/// A table with a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading above it.
    pub title: String,
    /// The names of the columns; none of them is a column of texts behind the first `texts`.
    pub columns: Vec<&'static str>,
    /// The number of columns, the first ones, that hold texts and not numbers.
    pub texts: usize,
    /// The cells of each row.
    pub rows: Vec<Vec<String>>,
}

/// Returns a number with at most one decimal.
pub(crate) fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Returns seconds as `45.2 s`, `3 min 20 s` or `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as i64;
    match whole {
        ..60 => format!("{} s", short(seconds)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Returns a share as a percentage; only what is whole is 100 %.
pub(crate) fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "none".to_owned();
    }
    format!("{} %", short((part * 1000 / whole) as f64 / 10.0))
}

fn maybe<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

fn whole(number: Option<i64>) -> String {
    maybe(number, |number| number.to_string())
}

/// Returns `2026-01-31 08:00 to 09:00`. Where clocks are put back the hour that comes twice is told apart.
pub(crate) fn hour_text(zone: Zone, start_us: i64) -> String {
    let (start, end) = (zone.minute_text(start_us), zone.minute_text(start_us + HOUR_US));
    let again = if zone.minute_text(start_us - HOUR_US) == start { " (again)" } else { "" };
    format!("{start} to {}{again}", end.split(' ').next_back().unwrap_or_default())
}

/// Returns what visitors are, in words.
pub(crate) fn counted_by(report: &Report) -> String {
    match report.visitors.counted_by {
        CountedBy::UniqueTracks => "unique tracks (no line is drawn)".to_owned(),
        CountedBy::CrossingsIn => {
            let lines = report.visitors.lines.iter().map(|line| format!("{} of {}", line.line, line.camera));
            format!("crossings in of {}", lines.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Returns the tables of a report, without those that have nothing to say.
pub fn sections(report: &Report) -> Vec<Section> {
    let all = [
        overview(report),
        cameras(report),
        hours(report),
        hours_of_day(report),
        days(report),
        lines(report),
        zones(report),
        gaps(report),
        notes(report),
    ];
    all.into_iter().filter(|section| !section.rows.is_empty()).collect()
}

fn overview(report: &Report) -> Section {
    let zone = report.question.zone;
    let (looked, minutes) = report.looked();
    let peak = report.people.peak.as_ref();
    let peak = maybe(peak, |peak| format!("{} ({}, {})", peak.people, peak.camera, zone.minute_text(peak.at_us)));
    let busiest = report.busiest_hours.first();
    let busiest =
        maybe(busiest, |hour| format!("{} ({} visitors)", hour_text(zone, hour.start_us), whole(hour.visitors)));
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let (from, to) = (report.question.from_us, report.question.to_us);
    Section {
        title: format!("Report of {}", report.store),
        columns: vec!["what", "value"],
        texts: 2,
        rows: vec![
            row("from", zone.minute_text(from)),
            row("to", zone.minute_text(to)),
            row("time zone", report.time_zone.clone()),
            row("visitors", report.visitors.count.to_string()),
            row("counted by", counted_by(report)),
            row("people at once, average", maybe(report.people.average, |average| format!("{average:.2}"))),
            row("people at once, most", peak),
            row("busiest hour", busiest),
            row("cameras looked", format!("{looked} of {minutes} minutes ({})", percent(looked, minutes))),
        ],
    }
}

fn cameras(report: &Report) -> Section {
    let rows = report.cameras.iter().map(|camera| {
        vec![
            camera.camera.clone(),
            camera.unique_tracks.to_string(),
            whole(camera.came_in),
            whole(camera.went_out),
            maybe(camera.people_average, |average| format!("{average:.2}")),
            whole(camera.people_peak),
            format!("{} of {}", camera.minutes_looked, camera.minutes),
            percent(camera.minutes_looked, camera.minutes),
        ]
    });
    Section {
        title: "Cameras".to_owned(),
        columns: vec!["camera", "tracks", "in", "out", "average at once", "most at once", "minutes looked", "share"],
        texts: 1,
        rows: rows.collect(),
    }
}

const STRETCH: [&str; 6] = ["visitors", "in", "out", "average at once", "most at once", "looked"];

fn stretch(name: String, part: &Stretch) -> Vec<String> {
    let average = maybe(part.people_average, |average| format!("{average:.2}"));
    vec![
        name,
        whole(part.visitors),
        whole(part.came_in),
        whole(part.went_out),
        average,
        whole(part.people_peak),
        percent(part.minutes_looked, part.minutes),
    ]
}

fn hours(report: &Report) -> Section {
    let (title, hours) = if report.hours.len() > HOURS_MAX {
        ("Busiest hours", &report.busiest_hours)
    } else {
        ("Hours", &report.hours)
    };
    let zone = report.question.zone;
    // When nobody looked stands in a table of its own.
    let hours = hours.iter().filter(|hour| hour.visitors.is_some());
    Section {
        title: title.to_owned(),
        columns: ["hour"].into_iter().chain(STRETCH).collect(),
        texts: 1,
        rows: hours.map(|hour| stretch(hour_text(zone, hour.start_us), hour)).collect(),
    }
}

fn hours_of_day(report: &Report) -> Section {
    let looked = report.hours_of_day.iter().filter(|hour| hour.minutes_looked > 0);
    let rows = looked
        .map(|hour| vec![format!("{:02}:00 to {:02}:00", hour.hour, (hour.hour + 1) % 24), hour.visitors.to_string()]);
    Section {
        title: "Hours of the day, all days added up".to_owned(),
        columns: vec!["hour", "visitors"],
        texts: 1,
        rows: rows.collect(),
    }
}

fn days(report: &Report) -> Section {
    let days = if report.days.len() > 1 { report.days.as_slice() } else { &[] };
    let zone = report.question.zone;
    Section {
        title: "Days".to_owned(),
        columns: ["day"].into_iter().chain(STRETCH).collect(),
        texts: 1,
        rows: days.iter().map(|day| stretch(zone.day_text(day.start_us), day)).collect(),
    }
}

fn lines(report: &Report) -> Section {
    let rows = report.lines.iter().map(|line| {
        vec![
            line.camera.clone(),
            line.line.clone(),
            line.came_in.to_string(),
            line.went_out.to_string(),
            (line.came_in - line.went_out).to_string(),
        ]
    });
    Section {
        title: "Crossings by line".to_owned(),
        columns: vec!["camera", "line", "in", "out", "in minus out"],
        texts: 2,
        rows: rows.collect(),
    }
}

fn zones(report: &Report) -> Section {
    let rows = report.zones.iter().map(|zone| {
        vec![
            zone.camera.clone(),
            zone.zone.clone(),
            zone.visits.to_string(),
            zone.unique_tracks.to_string(),
            maybe(zone.dwell_seconds_average, duration),
            maybe(zone.dwell_seconds_median, duration),
            maybe(zone.dwell_seconds_max, duration),
            duration(zone.dwell_seconds_total),
        ]
    });
    Section {
        title: "Visits and dwell by zone".to_owned(),
        columns: vec!["camera", "zone", "visits", "tracks", "average", "median", "longest", "all together"],
        texts: 2,
        rows: rows.collect(),
    }
}

fn gaps(report: &Report) -> Section {
    let zone = report.question.zone;
    let mut gaps: Vec<_> = report.gaps.iter().collect();
    let more = gaps.len() > GAPS_MAX;
    if more {
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.minutes));
        gaps.truncate(GAPS_MAX);
        gaps.sort_by_key(|gap| gap.from_us);
    }
    let rows = gaps.into_iter().map(|gap| {
        vec![gap.camera.clone(), zone.minute_text(gap.from_us), zone.minute_text(gap.to_us), gap.minutes.to_string()]
    });
    let title = "When cameras didn't look";
    Section {
        title: if more {
            format!("{title}: the longest {GAPS_MAX} of {}", report.gaps.len())
        } else {
            title.to_owned()
        },
        columns: vec!["camera", "from", "to", "minutes"],
        texts: 3,
        rows: rows.collect(),
    }
}

fn notes(report: &Report) -> Section {
    Section {
        title: "Notes".to_owned(),
        columns: vec!["note"],
        texts: 1,
        rows: report.notes.iter().map(|note| vec![note.clone()]).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;
    use crate::report::tests::{question, rows};
    use std::collections::BTreeSet;

    #[test]
    fn the_hours_of_a_day_that_has_25_have_25_names() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let (from, _) = zone.day("2026-10-25").unwrap();
        let names: BTreeSet<String> = (0..25).map(|hour| hour_text(zone, from + hour * HOUR_US)).collect();
        assert_eq!(names.len(), 25, "{names:?}");
        assert!(names.contains("2026-10-25 02:00 to 03:00 (again)"), "{names:?}");
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        let durations = [0.0, 45.24, 59.4, 60.0, 200.4, 3_599.6, 7_500.0].map(duration);
        assert_eq!(durations, ["0 s", "45.2 s", "59.4 s", "1 min 0 s", "3 min 20 s", "1 h 0 min", "2 h 5 min"]);
        assert_eq!(
            (percent(1439, 1440), percent(1440, 1440), percent(0, 0)),
            ("99.9 %".into(), "100 %".into(), "none".into())
        );
    }

    #[test]
    fn tables_have_as_many_cells_as_columns_and_leave_out_what_nobody_saw() {
        let sections = sections(&Report::of(&question(), &rows()));
        let titles: Vec<&str> = sections.iter().map(|section| section.title.as_str()).collect();
        let wanted =
            ["Cameras", "Hours", "Crossings by line", "Visits and dwell by zone", "When cameras didn't look", "Notes"];
        assert_eq!(titles[1..], wanted);
        assert_eq!(titles[0], "Report of store_01");
        for section in &sections {
            assert!(section.rows.iter().all(|row| row.len() == section.columns.len()), "{}", section.title);
        }
        assert_eq!(sections[3].rows[0], ["door", "sill", "7", "1", "6"]);
        assert_eq!(sections[4].rows[0], ["till", "queue", "4", "3", "12.5 s", "10 s", "25.5 s", "50 s"]);
    }
}

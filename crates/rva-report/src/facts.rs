//! The report as rows for programs: one number a row, so that a sheet can be filtered and turned as one likes.

use crate::hours::Stretch;
use crate::report::Report;

/// The names of the columns: what part, of which camera, zone or line, when, what is measured, and the value.
pub const FACT_COLUMNS: [&str; 6] = ["part", "camera_id", "name", "start", "measure", "value"];

/// One number and what it is of.
type Fact = [String; 6];

struct Facts(Vec<Fact>);

impl Facts {
    /// Adds a value; one that isn't there is no row.
    fn add(&mut self, of: [&str; 4], measure: &str, value: Option<impl ToString>) {
        let Some(value) = value else { return };
        let [part, camera, name, start] = of.map(text);
        self.0.push([part, camera, name, start, measure.to_owned(), value.to_string()]);
    }

    fn stretches(&mut self, part: &str, stretches: &[Stretch]) {
        for stretch in stretches {
            let of = [part, "", "", stretch.start.as_str()];
            self.add(of, "visitors", stretch.visitors);
            self.add(of, "in", stretch.came_in);
            self.add(of, "out", stretch.went_out);
            self.add(of, "people_average", stretch.people_average);
            self.add(of, "people_peak", stretch.people_peak);
            self.add(of, "minutes_looked", Some(stretch.minutes_looked));
            self.add(of, "minutes", Some(stretch.minutes));
        }
    }
}

/// Returns a text that no spreadsheet takes for a formula: one that begins like one gets an apostrophe in front, which
/// they hide.
fn text(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        return format!("'{text}");
    }
    text.to_owned()
}

/// Returns the rows of a report, each with the cells of [`FACT_COLUMNS`].
pub fn facts(report: &Report) -> Vec<[String; 6]> {
    let mut facts = Facts(Vec::new());
    let all = ["report", "", report.store.as_str(), report.from.as_str()];
    facts.add(all, "to", Some(&report.to));
    facts.add(all, "time_zone", Some(&report.time_zone));
    facts.add(all, "visitors", Some(report.visitors.count));
    facts.add(all, "counted_by", Some(report.visitors.counted_by.code()));
    facts.add(all, "people_average", report.people.average);
    if let Some(peak) = &report.people.peak {
        facts.add(["report", &peak.camera, &report.store, &peak.at], "people_peak", Some(peak.people));
    }
    cameras(&mut facts, report);
    for hour in &report.busiest_hours {
        facts.add(["busiest_hour", "", "", &hour.start], "visitors", hour.visitors);
    }
    facts.stretches("hour", &report.hours);
    facts.stretches("day", &report.days);
    for hour in &report.hours_of_day {
        facts.add(["hour_of_day", "", &format!("{:02}", hour.hour), ""], "visitors", Some(hour.visitors));
    }
    shapes(&mut facts, report);
    for cell in &report.heatmap {
        let of = ["cell", cell.camera.as_str(), &format!("{},{}", cell.x, cell.y), ""];
        facts.add(of, "hits", Some(cell.hits));
        facts.add(of, "dwell_seconds", Some(cell.dwell_seconds));
        facts.add(of, "visits", Some(cell.visits));
    }
    for part in &report.coverage {
        let of = ["coverage", part.camera.as_str(), "", &part.start];
        facts.add(of, "minutes_looked", Some(part.minutes_looked));
        facts.add(of, "minutes", Some(part.minutes));
    }
    for gap in &report.gaps {
        facts.add(["gap", &gap.camera, "", &gap.from], "minutes", Some(gap.minutes));
    }
    for point in &report.curve {
        let of = ["people", point.camera.as_str(), "", &point.start];
        facts.add(of, "average", Some(point.average));
        facts.add(of, "peak", Some(point.peak));
    }
    facts.0
}

fn cameras(facts: &mut Facts, report: &Report) {
    for camera in &report.cameras {
        let of = ["camera", camera.camera.as_str(), "", report.from.as_str()];
        facts.add(of, "unique_tracks", Some(camera.unique_tracks));
        facts.add(of, "in", camera.came_in);
        facts.add(of, "out", camera.went_out);
        facts.add(of, "people_average", camera.people_average);
        let peak_at = camera.people_peak_at.as_deref().unwrap_or_default();
        facts.add(["camera", &camera.camera, "", peak_at], "people_peak", camera.people_peak);
        facts.add(of, "minutes_looked", Some(camera.minutes_looked));
        facts.add(of, "minutes", Some(camera.minutes));
        facts.add(of, "longest_gap_seconds", camera.longest_gap_seconds);
    }
}

fn shapes(facts: &mut Facts, report: &Report) {
    for line in &report.lines {
        let of = ["line", line.camera.as_str(), line.line.as_str(), ""];
        facts.add(of, "in", Some(line.came_in));
        facts.add(of, "out", Some(line.went_out));
    }
    for zone in &report.zones {
        let of = ["zone", zone.camera.as_str(), zone.zone.as_str(), ""];
        facts.add(of, "visits", Some(zone.visits));
        facts.add(of, "unique_tracks", Some(zone.unique_tracks));
        facts.add(of, "dwell_seconds_average", zone.dwell_seconds_average);
        facts.add(of, "dwell_seconds_median", zone.dwell_seconds_median);
        facts.add(of, "dwell_seconds_max", zone.dwell_seconds_max);
        facts.add(of, "dwell_seconds_total", Some(zone.dwell_seconds_total));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;
    use crate::report::tests::{question, rows};
    use crate::rows::Question;

    fn value(facts: &[Fact], of: [&str; 5]) -> Option<String> {
        facts.iter().find(|fact| fact[..5] == of).map(|fact| fact[5].clone())
    }

    #[test]
    fn every_number_is_a_row() {
        let facts = facts(&Report::of(&question(), &rows()));
        let from = "2026-01-31T09:00:00+01:00";
        for (of, wanted) in [
            (["report", "", "store_01", from, "visitors"], "8"),
            (["report", "", "store_01", from, "counted_by"], "crossings_in"),
            (["report", "door", "store_01", "2026-01-31T10:10:00+01:00", "people_peak"], "5"),
            (["camera", "door", "", from, "people_average"], "1.5"),
            (["hour", "", "", "2026-01-31T10:00:00+01:00", "in"], "5"),
            (["line", "door", "stairs", "", "out"], "4"),
            (["zone", "till", "queue", "", "dwell_seconds_average"], "12.5"),
            (["cell", "door", "3,9", "", "hits"], "40"),
            (["gap", "door", "", "2026-01-31T09:03:00+01:00", "minutes"], "67"),
            (["people", "till", "", "2026-01-31T09:01:00+01:00", "average"], "0.5"),
        ] {
            assert_eq!(value(&facts, of).as_deref(), Some(wanted), "{of:?}");
        }
        assert_eq!(value(&facts, ["zone", "till", "shelf", "", "dwell_seconds_average"]), None, "no visit, no average");
    }

    #[test]
    fn a_name_is_no_formula() {
        let mut rows = rows();
        rows.crossed[0].line = "=HYPERLINK(\"x\")".into();
        rows.shapes[2].name = "@SUM(1)".into();
        let named = Question { store: "+1".into(), cameras: vec!["-2".into(), "till".into()], ..question() };
        let facts = facts(&Report::of(&named, &rows));
        let names: Vec<&String> = facts.iter().flat_map(|fact| &fact[..4]).collect();
        for wanted in ["'=HYPERLINK(\"x\")", "'@SUM(1)", "'+1", "'-2"] {
            assert!(names.iter().any(|name| *name == wanted), "{wanted}");
        }
        assert!(!names.iter().any(|name| name.starts_with(['=', '+', '-', '@'])));
    }
}

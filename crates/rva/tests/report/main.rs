//! `rva report` over gold that is written by hand, and its page in a browser.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod gold;

use common::rva;
use gold::{Gold, shop};
use serde_json::Value;
use std::{fs, path::Path};
use tempfile::tempdir;

/// What a report says, as JSON.
fn report(folder: &Path, more: &[&str]) -> Value {
    let ran = rva(folder, &[&["report", "--format", "json"], more].concat()).exits(0);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_report_has_the_numbers_of_gold() {
    let folder = tempdir().unwrap();
    shop(folder.path(), "store_01", ["door", "till"]);
    let all = report(folder.path(), &[]);
    assert_eq!((all["store"].as_str(), all["time_zone"].as_str()), (Some("store_01"), Some("UTC")));
    assert_eq!((&all["from"], &all["to"]), (&"2026-01-31T08:01:00+00:00".into(), &"2026-02-01T09:31:00+00:00".into()));
    assert_eq!(all["visitors"]["count"], 3);
    assert_eq!(all["visitors"]["counted_by"], "crossings_in");
    assert_eq!(all["visitors"]["lines"][0]["line"], "sill");
    // door: 35 people in 40 frames, till: 10 in 20.
    assert_eq!(all["people"]["average"], 0.875 + 0.5);
    assert_eq!(all["people"]["peak"]["people"], 4);
    assert_eq!(
        (&all["people"]["peak"]["camera"], &all["people"]["peak"]["at"]),
        (&"door".into(), &"2026-01-31T09:30:00+00:00".into())
    );
    assert_eq!(all["busiest_hours"][0]["start"], "2026-01-31T09:00:00+00:00");
    assert_eq!(all["busiest_hours"][0]["visitors"], 2);
    assert_eq!((&all["lines"][0]["came_in"], &all["lines"][0]["went_out"]), (&3.into(), &1.into()));
    let zone = &all["zones"][0];
    assert_eq!((&zone["camera"], &zone["zone"], &zone["visits"]), (&"till".into(), &"queue".into(), &3.into()));
    assert_eq!((&zone["dwell_seconds_average"], &zone["dwell_seconds_median"]), (&20.0.into(), &10.0.into()));
    assert_eq!((&zone["dwell_seconds_max"], &zone["unique_tracks"]), (&45.0.into(), &2.into()));
    // Two hours of one cell: hits from one table, seconds and visits from another.
    let cell = &all["heatmap"][0];
    assert_eq!((&cell["x"], &cell["y"], &cell["hits"]), (&3.into(), &9.into(), &30.into()));
    assert_eq!((&cell["dwell_seconds"], &cell["visits"]), (&7.5.into(), &2.into()));
    assert_eq!(all["cameras"][0]["minutes_looked"], 4);
    assert_eq!(all["cameras"][0]["longest_gap_seconds"], 2.5);
    assert_eq!(all["cameras"][0]["unique_tracks"], 2);
}

#[test]
fn a_span_cameras_and_a_time_zone_choose_rows() {
    let folder = tempdir().unwrap();
    shop(folder.path(), "store_01", ["door", "till"]);
    let day = report(folder.path(), &["--day", "2026-01-31"]);
    assert_eq!((&day["from"], &day["to"]), (&"2026-01-31T00:00:00+00:00".into(), &"2026-02-01T00:00:00+00:00".into()));
    assert_eq!((&day["visitors"]["count"], &day["cameras"][0]["minutes_looked"]), (&3.into(), &3.into()));
    let gaps: Vec<i64> = day["gaps"].as_array().unwrap().iter().map(|gap| gap["minutes"].as_i64().unwrap()).collect();
    assert_eq!(gaps.iter().sum::<i64>(), 2 * 1440 - 4);
    // The first of February begins in Auckland at eleven of the day before in UTC: two of door's minutes are in it.
    let auckland = report(folder.path(), &["--day", "2026-02-01", "--time-zone", "pacific/auckland"]);
    assert_eq!(auckland["time_zone"], "Pacific/Auckland");
    assert_eq!(auckland["from"], "2026-02-01T00:00:00+13:00");
    assert_eq!(auckland["cameras"][0]["minutes_looked"], 2);
    assert_eq!(auckland["visitors"]["count"], 0);
    let hour = report(folder.path(), &["--from", "2026-01-31T09:00:00Z", "--to", "2026-01-31T10:00:00Z"]);
    assert_eq!((&hour["visitors"]["count"], &hour["people"]["peak"]["people"]), (&2.into(), &4.into()));
    assert!(hour["notes"].to_string().contains("Camera till didn't look"), "{}", hour["notes"]);
    let days = report(folder.path(), &["--from", "2026-02-01", "--to", "2026-02-01"]);
    assert_eq!((&days["visitors"]["count"], &days["people"]["peak"]["people"]), (&0.into(), &1.into()));
    let till = report(folder.path(), &["--camera-id", "till"]);
    assert_eq!((&till["visitors"]["counted_by"], &till["visitors"]["count"]), (&"unique_tracks".into(), &1.into()));
    let line = report(folder.path(), &["--line", "sill"]);
    assert_eq!(line["visitors"]["count"], 3);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    rva(folder, &["report"]).exits(1).says(&["found no catalog.db", "rva run"]);
    drop(Gold::of(folder));
    rva(folder, &["report"]).exits(1).says(&["found no table of gold", "rva refine --drain"]);
    Gold::of(folder).make_tables();
    rva(folder, &["report"]).exits(1).says(&["found no row in the tables of gold"]);
    shop(folder, "store_01", ["door", "till"]);
    rva(folder, &["report", "--store-id", "store_02"]).exits(2).says(&["no store \"store_02\"", "one of store_01"]);
    rva(folder, &["report", "--camera-id", "attic"]).exits(2).says(&["no camera \"attic\"", "one of door, till"]);
    rva(folder, &["report", "--line", "fence"]).exits(2).says(&["no line \"fence\"", "one of sill"]);
    rva(folder, &["report", "--day", "2026-03-01"])
        .exits(1)
        .says(&["found no frame of door, till", "from 2026-01-31 08:00 to 2026-02-01 10:00"]);
    rva(folder, &["report", "--day", "yesterday"]).exits(2).says(&["--day", "2026-01-31"]);
    rva(folder, &["report", "--from", "2026-02-01", "--to", "2026-01-31"])
        .exits(2)
        .says(&["--to", "wanted a time after"]);
    rva(folder, &["report", "--from", "2026-02-01T00:00:30Z"]).exits(2).says(&["--from", "a whole minute"]);
    rva(folder, &["report", "--time-zone", "Mars"]).exits(2).says(&["--time-zone", "Europe/Berlin"]);
    shop(folder, "it's <b>2</b>", ["door", "till"]);
    rva(folder, &["report"]).exits(2).says(&["found 2 stores and no --store-id"]);
    assert_eq!(report(folder, &["--store-id", "it's <b>2</b>"])["visitors"]["count"], 3);
}

#[test]
fn every_format_goes_to_stdout_or_into_a_file() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "store_01", ["=door", "till"]);
    let table = rva(folder, &["report"]).exits(0).stdout;
    assert!(table.contains("| visitors                | 3 "), "{table}");
    assert!(table.contains("crossings in of sill of =door"), "{table}");
    let csv = rva(folder, &["report", "--format", "csv"]).exits(0).stdout;
    assert_eq!(csv.lines().next(), Some("part,camera_id,name,start,measure,value"));
    assert!(csv.contains("\nline,'=door,sill,,in,3\n"), "{csv}");
    rva(folder, &["report", "-o", "a.csv"]).exits(0).says(&["visitors: 3 (crossings in)", "a.csv"]);
    assert_eq!(fs::read_to_string(folder.join("a.csv")).unwrap(), csv);
    fs::write(folder.join("a.html"), "what stood there").unwrap();
    rva(folder, &["report", "-o", "no/a.html"]).exits(1).says(&["write report no/a.html"]);
    rva(folder, &["report", "-o", "a.html", "--frame", "till=missing.jpg"]).exits(1).says(&["read frame missing.jpg"]);
    rva(folder, &["report", "-o", "a.html", "--frame", "a.csv"]).exits(2).says(&["--frame", "wanted CAMERA=FILE"]);
    rva(folder, &["report", "-o", "a.html", "--frame", "till=a.csv"])
        .exits(1)
        .says(&["wanted a picture (JPEG, PNG or WebP)"]);
    rva(folder, &["report", "--frame", "till=a.csv"]).exits(2).says(&["--frame", "--format html"]);
    assert_eq!(fs::read_to_string(folder.join("a.html")).unwrap(), "what stood there");
    rva(folder, &["report", "-o", "a.html"]).exits(0);
    assert!(fs::read_to_string(folder.join("a.html")).unwrap().starts_with("<!doctype html>"));
    assert_eq!(
        fs::read_dir(folder)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("unfinished"))
            .count(),
        0
    );
}

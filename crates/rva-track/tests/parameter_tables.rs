//! The tables of docs/trackers.md are those of the code: `RVA_BLESS=1 cargo test -p rva-track --test parameter_tables`
//! writes them anew.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_track::TrackerChoice;
use std::path::Path;

/// Under this line stands the table of a tracker, up to the next empty line.
fn mark(tracker: &str) -> String {
    format!("<!-- parameters: {tracker} -->\n")
}

fn table(choice: &TrackerChoice) -> String {
    let mut table = String::from("| key | default | takes | what it is |\n| --- | --- | --- | --- |\n");
    for key in choice.keys() {
        // A link for rustdoc leads nowhere here.
        let meaning = key.doc.trim().replace("[`crate::SteadyTrack`]", "below");
        let (default, takes) = ((key.default)(), key.kind.wanted());
        table += &format!("| `{}` | {default} | {takes} | {meaning} |\n", key.name);
    }
    table
}

#[test]
fn the_page_of_trackers_has_every_parameter_with_default_range_and_meaning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/trackers.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut wanted = page.clone();
    for name in TrackerChoice::NAMES {
        let start = wanted.find(&mark(name)).unwrap_or_else(|| panic!("no table of {name}")) + mark(name).len();
        let end = start + wanted[start..].find("\n\n").unwrap() + 1;
        wanted.replace_range(start..end, &table(&TrackerChoice::by_name(name).unwrap()));
    }
    if std::env::var_os("RVA_BLESS").is_some() {
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    for (found, wanted) in page.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted, "RVA_BLESS=1 writes the tables anew");
    }
    assert_eq!(page, wanted);
}

#[test]
fn every_example_of_the_page_is_a_file_that_its_tracker_takes() {
    let page = include_str!("../../../docs/trackers.md");
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for example in &examples {
        let lines: Vec<(&str, &str)> = example
            .lines()
            .map(|line| line.split('#').next().unwrap().trim())
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(": ").unwrap())
            .collect();
        let tracker = lines.iter().find(|(key, _)| *key == "tracker_type").unwrap().1;
        let mut choice = TrackerChoice::by_name(tracker).unwrap();
        for (key, value) in &lines {
            choice.set(key, value).unwrap();
            let own = ["tracker_type", "model"].contains(key) || choice.keys().iter().any(|k| k.name == *key);
            assert!(own, "{tracker} has no use for {key}");
        }
        choice.build().unwrap();
    }
    assert_eq!(examples.len(), TrackerChoice::NAMES.len());
}

//! Zones and lines in the configuration: what is taken, and what is refused with its camera and its name.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_service::{Layers, ShowFormat, load, show};

fn file(text: &str) -> Layers {
    Layers { file: Some(("rva.yaml".into(), text.to_owned())), ..Layers::default() }
}

#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
fn problems(text: &str) -> Vec<String> {
    load(&file(text)).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

const DRAWN: &str = r#"
store_id: berlin
cameras:
  entrance:
    source: a.mp4
    store: hamburg
    zones:
      - name: till
        polygon: [[0.1, 0.4], [0.5, 0.4], [0.5, 1], [0.1, 1]]
      - name: door
        line: [[0.2, 0.5], [0.8, 0.5]]
        valid_from: 2026-01-31T08:00:00+01:00
      - { name: shelf, polygon: [[0, 0], [1, 0], [1, 1]], valid_from: 2026-02-01 }
zones:
  - { camera: "cam_*", name: aisle, polygon: [[0, 0], [1, 0], [0.5, 1]] }
  - { camera: cam_07, store: "*", name: gate, line: [[0.5, 0.1], [0.5, 0.9]] }
"#;

#[test]
fn zones_and_lines_are_read_with_their_points_and_times() {
    let loaded = load(&file(DRAWN)).unwrap();
    let own = &loaded.config.cameras["entrance"].zones;
    assert_eq!((own[0].name.as_str(), own[0].shape.kind()), ("till", "zone"));
    assert_eq!(own[0].shape.points(), "[[0.1,0.4],[0.5,0.4],[0.5,1.0],[0.1,1.0]]");
    assert_eq!((own[0].valid_from, own[0].camera.as_deref()), (None, None));
    assert_eq!((own[1].shape.kind(), own[1].shape.points().as_str()), ("line", "[[0.2,0.5],[0.8,0.5]]"));
    assert_eq!(own[1].valid_from.map(|time| time.to_string()).as_deref(), Some("2026-01-31T07:00:00.000000+00:00"));
    assert_eq!(own[2].valid_from.map(|time| time.to_string()).as_deref(), Some("2026-02-01T00:00:00.000000+00:00"));
    let all = &loaded.config.zones;
    assert_eq!((all[0].camera.as_deref(), all[0].store.as_deref()), (Some("cam_*"), None));
    assert_eq!((all[1].camera.as_deref(), all[1].store.as_deref()), (Some("cam_07"), Some("*")));
}

#[test]
fn what_is_shown_can_be_read_back() {
    let loaded = load(&file(DRAWN)).unwrap();
    let shown = show(&loaded, ShowFormat::Yaml);
    let again = load(&file(&shown)).unwrap();
    assert_eq!(again.config, loaded.config, "{shown}");
}

#[test]
fn the_environment_may_draw_too() {
    let mut layers = file("store_id: berlin\n");
    let text = r#"[{"camera": "*", "name": "door", "line": [[0.2, 0.5], [0.8, 0.5]]}]"#;
    layers.environment = vec![("RVA_ZONES".to_owned(), text.to_owned())];
    assert_eq!(load(&layers).unwrap().config.zones[0].name, "door");
    layers.environment = vec![("RVA_ZONES".to_owned(), "[{name: door}]".to_owned())];
    let error = load(&layers).unwrap_err().to_string();
    assert!(error.contains("zones: door found no camera") && error.contains("environment RVA_ZONES"), "{error}");
    assert!(error.contains("door found neither polygon nor line"), "{error}");
}

/// The problems of one list under a camera, without its path and place.
fn wrong(list: &str) -> Vec<String> {
    let found = problems(&format!("cameras:\n  c1:\n    source: a.mp4\n    zones: {list}\n"));
    let own = |text: &String| {
        let text = text.strip_prefix("cameras.c1.zones").unwrap_or_else(|| panic!("{text}"));
        text.strip_suffix(" (rva.yaml:4)").unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    found.iter().map(own).collect()
}

#[test]
fn what_is_no_zone_and_no_line_is_refused_with_camera_name_found_and_wanted() {
    let polygon = |points: &str| wrong(&format!("[{{name: till, polygon: {points}}}]"));
    let line = |points: &str| wrong(&format!("[{{name: door, line: {points}}}]"));
    for (found, wanted) in [
        (polygon("[[0.1, 0.1], [0.5, 0.5]]"), ".till: polygon: found 2 points, wanted at least 3 for a zone"),
        (polygon("[]"), ".till: polygon: found 0 points, wanted at least 3 for a zone"),
        (
            polygon("[[0.1, 0.1], [0.5, 0.1], [0.1, 0.1]]"),
            ".till: polygon: found 2 points, wanted at least 3 for a zone",
        ),
        (
            polygon("[[0.1, 0.1], [0.9, 0.8], [0.9, 0.1], [0.1, 0.9]]"),
            ".till: polygon: found edge 1 crossing edge 3, wanted a border that doesn't meet itself (edges count from 1)",
        ),
        (
            polygon("[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]"),
            ".till: polygon: found a zone without area, wanted corners that aren't on one line",
        ),
        (
            polygon("[[0.1, 0.1], [1.5, 0.1], [0.5, 0.9]]"),
            ".till: polygon: found the point 1.5, 0.1, wanted shares of the picture from 0 to 1",
        ),
        (
            polygon("[[0.1, -0.1], [0.5, 0.1], [0.5, 0.9]]"),
            ".till: polygon: found the point 0.1, -0.1, wanted shares of the picture from 0 to 1",
        ),
        (
            polygon("[[.nan, 0.1], [0.5, 0.1], [0.5, 0.9]]"),
            ".till: polygon: found the point NaN, 0.1, wanted shares of the picture from 0 to 1",
        ),
        (
            polygon("[[.inf, 0.1], [0.5, 0.1], [0.5, 0.9]]"),
            ".till: polygon: found the point inf, 0.1, wanted shares of the picture from 0 to 1",
        ),
        (
            polygon("[[0.1, 0.1, 0.1], [0.5, 0.1], [0.5, 0.9]]"),
            ".till: polygon: found a list of 3 as point 1, wanted two numbers [x, y], shares of the picture from 0 to 1",
        ),
        (
            polygon("[[0.1, 0.1], [\"0.5\", 0.1], [0.5, 0.9]]"),
            ".till: polygon: found a list of something else as point 2, wanted two numbers [x, y], shares of the picture from \
             0 to 1",
        ),
        (
            polygon("[0.1, 0.1, 0.5, 0.1]"),
            ".till: polygon: found a number as point 1, wanted two numbers [x, y], shares of the picture from 0 to 1",
        ),
        (polygon("\"0.1,0.1\""), ".till: polygon: found a text, wanted a list of points [x, y]"),
        (line("[[0.1, 0.1], [0.1, 0.1]]"), ".door: line: found a line without length, wanted two different ends"),
        (line("[[0.1, 0.1]]"), ".door: line: found 1 points, wanted the 2 ends of a line"),
        (line("[[0.1, 0.1], [0.2, 0.2], [0.3, 0.1]]"), ".door: line: found 3 points, wanted the 2 ends of a line"),
        (
            line("[[0, 0.1], [0, 0.9]]"),
            ".door: line: found a line along the picture's edge, wanted one that people can be on both sides of",
        ),
        (wrong("[{name: x}]"), ".x: found neither polygon nor line, wanted one of them"),
        (
            wrong("[{name: x, line: [[0.1, 0.1], [0.2, 0.9]], polygon: []}]"),
            ".x: found polygon and line, wanted one of them",
        ),
        (
            wrong("[{line: [[0.1, 0.1], [0.2, 0.9]]}]"),
            "[1]: found no name, wanted a name: the tables tell the zone or line by it",
        ),
        (
            wrong("[{name: \"\", line: [[0.1, 0.1], [0.2, 0.9]]}]"),
            "[1]: found a name of 0 bytes, \"\", wanted 1 to 64 bytes without control characters",
        ),
        (
            wrong("[{name: x, line: [[0.1, 0.1], [0.2, 0.9]], valid_form: 2026-01-31}]"),
            ".x: valid_form: unknown key, nearest is valid_from",
        ),
        (wrong("[{name: x, camera: c2, line: [[0.1, 0.1], [0.2, 0.9]]}]"), ".x: camera: unknown key, nearest is name"),
        (
            wrong("[{name: x, line: [[0.1, 0.1], [0.2, 0.9]], valid_from: 7}]"),
            ".x: valid_from: found a number, wanted a time like 2026-01-31T08:00:00Z",
        ),
        (wrong("{x: 1}"), ": found a mapping, wanted a list of zones and lines, each with a name"),
        (wrong("[x]"), "[1]: found a text, wanted a mapping with name and polygon or line"),
    ] {
        assert_eq!(found, [wanted]);
    }
    let yesterday = wrong("[{name: x, line: [[0.1, 0.1], [0.2, 0.9]], valid_from: yesterday}]");
    assert!(yesterday[0].starts_with(".x: valid_from: ") && yesterday[0].contains("yesterday"), "{yesterday:?}");
}

#[test]
fn two_of_one_name_are_refused_also_a_zone_and_a_line_and_one_that_is_named_twice_for_a_camera() {
    let twice = wrong("[{name: x, line: [[0.1, 0.1], [0.2, 0.9]]}, {name: x, polygon: [[0, 0], [1, 0], [1, 1]]}]");
    assert_eq!(twice, [".x: found two of this name, wanted one: zones and lines of a camera share their names"]);
    let text = "cameras:\n  c1:\n    source: a\n    zones: [{name: x, line: [[0.1, 0.1], [0.2, 0.9]]}]\n\
                zones:\n  - {camera: c1, name: x, polygon: [[0, 0], [1, 0], [1, 1]]}\n";
    assert_eq!(
        problems(text),
        ["zones.x: found this name for camera c1 and in cameras.c1.zones, wanted one of them (rva.yaml:5)"]
    );
    // A pattern is for those that have none of their own; another shop's camera is another camera.
    for other in ["{camera: \"c*\", ", "{camera: c1, store: elsewhere, ", "{camera: c2, "] {
        load(&file(&text.replace("{camera: c1, ", other))).unwrap();
    }
    let patterns = "zones:\n  - {camera: \"c*\", name: x, line: [[0.1, 0.1], [0.2, 0.9]]}\n  \
                    - {camera: \"c*\", name: x, line: [[0.3, 0.1], [0.2, 0.9]]}\n";
    assert_eq!(problems(patterns).len(), 1);
    let bad = "zones:\n  - {camera: \"c[\", name: x, line: [[0.1, 0.1], [0.2, 0.9]]}\n  - {name: y, line: [[0.1, 0.1], [0.2, 0.9]]}\n";
    let found = problems(bad);
    assert!(found[0].starts_with("zones.x: camera: found \"c[\"") && found[1].contains("found no camera"), "{found:?}");
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_too_much_is_refused_quickly() {
    let found = wrong("[{name: a, line: [[0.1, 0.1]]}, {name: b, polygon: []}, {nme: c}]");
    assert_eq!(found.len(), 5, "{found:?}");
    let started = std::time::Instant::now();
    let points: Vec<String> = (0..100_000).map(|at| format!("[0.{at:06}, 0.1]")).collect();
    let found = wrong(&format!("[{{name: x, polygon: [{}]}}]", points.join(", ")));
    assert_eq!(found, [".x: polygon: found 100000 points, wanted at most 500"]);
    let many: Vec<String> = (0..2_000).map(|at| format!("{{name: n{at}, line: [[0.1, 0.1], [0.2, 0.9]]}}")).collect();
    assert_eq!(wrong(&format!("[{}]", many.join(", "))), [": found 2000 zones and lines, wanted at most 1000"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

//! Alerts: made of metrics that the crates declare, tested by promtool, and each with a section of docs/runbooks.md. So are
//! the dashboards, but for promtool.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod dashboards;

use serde_yaml_ng::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const FOLDER: &str = "infrastructure/prometheus";

/// The constructors of a row of a table of metrics, and the endings that Prometheus shows after its name.
const KINDS: &[(&str, &[&str])] = &[
    ("counter", &["_total"]),
    ("counter_by", &["_total"]),
    ("sum", &["_total"]),
    ("gauge", &[""]),
    ("gauge_by", &[""]),
    ("histogram_by", &["_bucket", "_sum", "_count"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(&format!("{FOLDER}/{name}"))).unwrap()
}

/// Returns the rules of all groups that have this key: `alert` or `record`.
fn rules(key: &str) -> BTreeMap<String, Value> {
    let file = yaml("rules.yml");
    let groups = file["groups"].as_sequence().unwrap().iter();
    let all = groups.flat_map(|group| group["rules"].as_sequence().unwrap()).filter(|rule| !rule[key].is_null());
    let named: Vec<_> = all.map(|rule| (rule[key].as_str().unwrap().to_owned(), rule.clone())).collect();
    let count = named.len();
    let rules: BTreeMap<_, _> = named.into_iter().collect();
    assert_eq!(rules.len(), count, "a name stands twice");
    rules
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Returns the names, as Prometheus shows them, of a text's rows of tables of metrics.
fn declared_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for row in text.split("Metric::").skip(1) {
        let Some((kind, rest)) = row.split_once('(') else { continue };
        let Some((_, endings)) = KINDS.iter().find(|(name, _)| *name == kind) else { continue };
        let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
        let name = name.unwrap_or_else(|| panic!("found Metric::{kind} without a literal name"));
        names.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    names
}

/// Returns the names of every table of metrics in the crates.
fn declared() -> BTreeSet<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    let names: BTreeSet<_> = files.iter().flat_map(|file| declared_in(&fs::read_to_string(file).unwrap())).collect();
    assert!(names.len() > 50, "found {} declared metrics", names.len());
    names
}

/// Returns what of a query is a name of ours: a metric, or a recorded one (with a colon).
fn metrics_of(query: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let words = query.split(|letter| !is_part(letter));
    let is_ours =
        |word: &&str| ["rva_", "process_"].iter().any(|start| word.starts_with(start)) || word.contains(":rva_");
    words.filter(is_ours).map(str::to_owned).collect()
}

/// Returns the names in `queries` that are neither declared nor recorded.
fn unknown<'a>(queries: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut known = declared();
    known.extend(rules("record").into_keys());
    queries.flat_map(metrics_of).filter(|name| !known.contains(name)).collect()
}

/// Runs promtool in the folder of the rules.
fn promtool(arguments: &[&str]) -> String {
    let cache = std::env::var_os("RVA_STACK_CACHE").unwrap_or_else(|| "data/cache/stack".into());
    let fetched = root().join(cache).join("prometheus/promtool");
    let program = if fetched.exists() { fetched } else { PathBuf::from("promtool") };
    let output = Command::new(program).args(arguments).current_dir(root().join(FOLDER)).output();
    let output = output.unwrap_or_else(|error| panic!("promtool: {error}, wanted it: make setup-tests fetches it"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
fn a_table_is_read_as_prometheus_shows_it() {
    let table =
        "Metric::counter(\"rva_a\", \"A\"), Metric::gauge_by(\n  \"rva_b\", X), Metric::histogram_by(\"rva_c\")";
    let wanted = ["rva_a_total", "rva_b", "rva_c_bucket", "rva_c_count", "rva_c_sum"];
    assert_eq!(declared_in(table).into_iter().collect::<Vec<_>>(), wanted);
    let query = "sum(rate(rva_a_total{x=\"y\"}[5m])) / camera_id:rva_a:rate5m > up";
    assert_eq!(metrics_of(query).into_iter().collect::<Vec<_>>(), ["camera_id:rva_a:rate5m", "rva_a_total"]);
}

#[test]
fn every_metric_of_a_rule_is_one_that_a_crate_declares() {
    let all = rules("alert").into_values().chain(rules("record").into_values());
    let queries: Vec<String> = all.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
    assert_eq!(unknown(queries.iter().map(String::as_str)), Vec::<String>::new());
    assert_eq!(unknown(["rate(rva_detector_frames_decoded[5m])"].into_iter()), ["rva_detector_frames_decoded"]);
}

#[test]
fn every_alert_says_how_bad_how_long_what_and_where_to_read_on() {
    for (name, rule) in rules("alert") {
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{name}: found severity {severity:?}");
        assert!(rule["for"].as_str().is_some_and(|time| time.ends_with(['s', 'm'])), "{name}: found no `for`");
        let note = |key: &str| rule["annotations"][key].as_str().unwrap_or_default().to_owned();
        assert!(note("summary").len() > 10, "{name}: found no summary");
        assert_eq!(note("runbook_url"), format!("docs/runbooks.md#{}", name.to_lowercase()), "{name}");
    }
}

#[test]
fn every_alert_has_a_section_of_the_runbooks_and_every_section_an_alert() {
    let page = read("docs/runbooks.md");
    let sections: BTreeMap<String, &str> = page
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap())
        .map(|(name, text)| (name.to_owned(), text))
        .collect();
    assert_eq!(sections.keys().collect::<Vec<_>>(), rules("alert").keys().collect::<Vec<_>>());
    for (name, text) in sections {
        let starts = ["- **Means**: ", "- **First look**: ", "- **Cure**: "];
        let at: Vec<_> = starts.iter().map(|start| text.find(start)).collect();
        assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{name}: found {at:?}, wanted {starts:?} in order");
    }
}

#[test]
fn promtool_accepts_rules_and_configuration() {
    let said = promtool(&["check", "config", "prometheus.yml"]);
    assert!(said.contains("1 rule files found") && said.contains("rules found"), "{said}");
}

#[test]
fn promtool_sees_every_alert_fire_and_not_fire() {
    let said = promtool(&["test", "rules", "tests.yml"]);
    assert!(said.contains("SUCCESS"), "{said}");
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    for test in yaml("tests.yml")["tests"].as_sequence().unwrap() {
        for case in test["alert_rule_test"].as_sequence().unwrap() {
            let is_quiet = case["exp_alerts"].as_sequence().is_none_or(Vec::is_empty);
            let seen = if is_quiet { &mut rests } else { &mut fires };
            seen.insert(case["alertname"].as_str().unwrap().to_owned());
        }
    }
    let alerts: BTreeSet<_> = rules("alert").into_keys().collect();
    assert_eq!((&fires, &rests), (&alerts, &alerts));
}

#[test]
fn every_series_of_a_test_has_the_labels_of_its_table() {
    // A test on a label that no service gives would show nothing.
    let pages = ["alerts", "backup", "cameras", "deployment", "ingest", "maintenance", "refine"];
    let pages = pages.map(|page| read(&format!("docs/{page}.md"))).concat();
    let mut wrong = Vec::new();
    for test in yaml("tests.yml")["tests"].as_sequence().unwrap() {
        for series in test["input_series"].as_sequence().unwrap() {
            let text = series["series"].as_str().unwrap();
            let (name, labels) = text.trim_end_matches('}').split_once('{').unwrap();
            let given = labels.split(',').map(|label| label.split_once('=').unwrap().0);
            let own: Vec<_> = given.filter(|label| !["job", "instance", "le"].contains(label)).collect();
            let name = name.trim_end_matches("_bucket");
            let documented = if own.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", own.join(",")) };
            if name != "up" && !pages.contains(&format!("`{documented}`")) {
                wrong.push(documented);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

//! Grafana's dashboards: what the generator writes, made of data sources, variables, tables and metrics that are there.

use super::{read, root, unknown};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

const FOLDER: &str = "infrastructure/grafana";
const CHOSEN: &str = "store_id IN ($store) AND camera_id IN ($camera)";

/// What Grafana and the plug-in for Trino replace themselves.
const BUILT_IN: &[&str] =
    &["__timeFilter", "__timeFrom", "__timeTo", "__timeGroup", "__interval", "__interval_ms", "__rate_interval"];

fn dashboards() -> BTreeMap<String, Value> {
    let entries = fs::read_dir(root().join(FOLDER).join("dashboards")).unwrap();
    let texts = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let all: BTreeMap<_, _> = texts
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .map(|board| (board["uid"].as_str().unwrap().to_owned(), board))
        .collect();
    assert_eq!(
        all.keys().map(String::as_str).collect::<Vec<_>>(),
        ["rva_operations", "rva_people_overview", "rva_track_summary", "rva_zone_dwell"]
    );
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns every text of a dashboard under one of these keys, in panels and variables.
fn texts<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, keys, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if keys.contains(&key.as_str()) => found.push(text),
                    _ => texts(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

fn all_texts<'a>(value: &'a Value, keys: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    texts(value, keys, &mut found);
    found
}

/// Returns the names of a text's `$name` and `${name}`.
fn variables(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices('$').map(|(at, _)| text[at + 1..].trim_start_matches('{'));
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    starts.map(|rest| &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())]).collect()
}

/// Returns every data source that a dashboard names, by uid and type.
fn sources(value: &Value, found: &mut BTreeSet<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match value {
        Value::Array(items) => items.iter().for_each(|item| sources(item, found)),
        Value::Object(fields) => {
            if let Some(source) = fields.get("datasource") {
                found.insert((text(&source["uid"]), text(&source["type"])));
            }
            fields.values().for_each(|value| sources(value, found));
        }
        _ => {}
    }
}

#[test]
fn the_generator_writes_what_is_checked_in() {
    let candidates = [std::env::var_os("RVA_PYTHON").map(PathBuf::from), Some(root().join(".venv/bin/python"))];
    let python = candidates.into_iter().flatten().find(|python| {
        let probe = Command::new(python).args(["-c", "import grafana_foundation_sdk"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    let python = python.expect("found no Python with grafana-foundation-sdk, wanted the one of make setup-tests");
    let output =
        Command::new(python).arg("-B").arg(root().join(FOLDER).join("dashboards.py")).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_metric_of_a_dashboard_is_one_that_a_crate_declares_or_a_rule_records() {
    let boards = dashboards();
    let queries: Vec<&str> = boards.values().flat_map(|board| all_texts(board, &["expr", "query"])).collect();
    assert_eq!(unknown(queries.iter().copied()), Vec::<String>::new());
    assert!(queries.iter().filter(|query| query.contains("rva_ingest_")).count() > 5, "{queries:?}");
}

#[test]
fn every_data_source_and_variable_that_a_dashboard_names_is_there() {
    let provisioned: Value =
        serde_yaml_ng::from_str(&read(&format!("{FOLDER}/provisioning/datasources/rva.yml"))).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let known: BTreeSet<_> =
        list(&provisioned["datasources"]).map(|source| (text(&source["uid"]), text(&source["type"]))).collect();
    for (uid, board) in dashboards() {
        let mut named = BTreeSet::new();
        sources(&board, &mut named);
        assert!(!named.is_empty() && named.is_subset(&known), "{uid}: found {named:?}, wanted some of {known:?}");
        let declared: BTreeSet<_> =
            list(&board["templating"]["list"]).map(|variable| variable["name"].as_str().unwrap()).collect();
        let used: BTreeSet<_> =
            all_texts(&board, &["rawSQL", "expr", "query", "title"]).into_iter().flat_map(variables).collect();
        let unknown: Vec<_> =
            used.iter().filter(|name| !declared.contains(*name) && !BUILT_IN.contains(name)).collect();
        assert!(unknown.is_empty(), "{uid}: found variables {unknown:?}, wanted {declared:?}");
        assert!(declared.is_subset(&used), "{uid}: found variables {declared:?} of which some change nothing");
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_dont_lie_on_one_another() {
    for (uid, board) in dashboards() {
        let panels: Vec<_> = list(&board["panels"]).collect();
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{uid}");
        let mut cells = BTreeSet::new();
        for panel in panels {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(x + w <= 24 && h > 0, "{uid}: {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{uid}: {} lies on another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn every_table_of_a_statement_obeys_time_range_store_and_camera() {
    let tables: BTreeSet<String> = fs::read_dir(root().join("data/queries/gold"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut used = BTreeSet::new();
    for (uid, board) in dashboards() {
        for sql in all_texts(&board["panels"], &["rawSQL"]) {
            let named: Vec<&str> = sql
                .split("lakehouse.rva.")
                .skip(1)
                .map(|rest| rest.split_whitespace().next().unwrap().strip_prefix("gold_").unwrap())
                .collect();
            assert!(named.iter().all(|name| tables.contains(*name)), "{uid}: {sql}");
            let count = |part: &str| sql.matches(part).count();
            assert!(!named.is_empty() && named.len() == count(CHOSEN), "{uid}: {sql}");
            let of_hours = count("ts_hour >= date_trunc('hour', $__timeFrom()) AND ts_hour <= $__timeTo()");
            assert_eq!(named.len(), count("$__timeFilter(") + of_hours, "{uid}: {sql}");
            // Somebody who stays for two minutes is one, not two.
            assert!(!sql.contains("sum(unique") && !sql.contains("sum(g.unique"), "{uid}: {sql}");
            used.extend(named.into_iter().map(str::to_owned));
        }
    }
    assert!(used.len() > 7, "found {used:?}");
}

#[test]
fn coverage_stands_beside_every_count() {
    for (uid, board) in dashboards() {
        let mut rows: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for panel in list(&board["panels"]) {
            let row = rows.entry(panel["gridPos"]["y"].as_u64().unwrap()).or_default();
            row.extend(all_texts(&panel["targets"], &["rawSQL"]));
        }
        for (y, statements) in rows.into_iter().filter(|(_, statements)| !statements.is_empty()) {
            assert!(statements.iter().any(|sql| sql.contains("gold_camera_minute")), "{uid}: row {y}: {statements:?}");
        }
    }
}

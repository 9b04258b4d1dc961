//! Values of the configuration: where they stand in its tree, what they are, and how they are shown.

use crate::secret::REDACTED;
use rva_types::shown_source;
use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

/// Splits a dotted path. A camera id may hold dots, so under `cameras.` only the last dot separates.
pub(crate) fn path_parts(path: &str) -> Vec<&str> {
    match path.strip_prefix("cameras.").and_then(|rest| rest.rsplit_once('.')) {
        Some((camera, key)) => vec!["cameras", camera, key],
        None => path.split('.').collect(),
    }
}

pub(crate) fn insert(tree: &mut Map<String, Value>, path: &str, value: Value) {
    let parts = path_parts(path);
    let Some((last, sections)) = parts.split_last() else { return };
    let mut at = tree;
    for section in sections {
        let next = at.entry(*section).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(map) = next else { return };
        at = map;
    }
    at.insert((*last).to_owned(), value);
}

pub(crate) fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

pub(crate) fn shape(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "nothing",
        Yaml::Bool(_) => "a boolean",
        Yaml::Number(_) => "a number",
        Yaml::String(_) => "a text",
        Yaml::Sequence(_) => "a list",
        Yaml::Mapping(_) => "a mapping",
        Yaml::Tagged(_) => "a tagged value",
    }
}

pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<(&'a str, f64)> {
    known
        .map(|candidate| (candidate, strsim::normalized_damerau_levenshtein(name, candidate)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Returns a value as it is shown: secrets are hidden.
pub(crate) fn shown(value: &Value, is_secret: bool) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if is_secret => Value::from(REDACTED),
        Value::String(text) => Value::from(shown_source(text)),
        Value::Array(items) => items.iter().map(|item| shown(item, is_secret)).collect(),
        other => other.clone(),
    }
}

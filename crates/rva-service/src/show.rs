//! The merged configuration as text, each value with its origin and secrets hidden.

use crate::{
    Loaded,
    values::{insert, path_parts, shown},
};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The form in which [`show`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowFormat {
    /// Writes a file that can be read back (but for secrets), origins as comments.
    Yaml,
    /// Writes `{"config": {…}, "origins": {"detector.conf": "default", …}}`.
    Json,
}

/// Writes every setting, with its origin and secrets hidden.
pub fn show(loaded: &Loaded, format: ShowFormat) -> String {
    match format {
        ShowFormat::Yaml => yaml(loaded),
        ShowFormat::Json => as_json(loaded),
    }
}

fn as_json(loaded: &Loaded) -> String {
    let mut config = Map::new();
    let mut origins = Map::new();
    for setting in &loaded.settings {
        insert(&mut config, &setting.path, shown(&setting.value, setting.is_secret));
        origins.insert(setting.path.clone(), Value::from(setting.origin.to_string()));
    }
    format!("{:#}\n", json!({ "config": config, "origins": origins }))
}

fn yaml(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for setting in &loaded.settings {
        let parts = path_parts(&setting.path);
        let (sections, last) = parts.split_at(parts.len() - 1);
        let same = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(same) {
            let _ = writeln!(text, "{}{}:", "  ".repeat(depth), plain_or_quoted(section));
        }
        let value = shown(&setting.value, setting.is_secret);
        let written = match &value {
            Value::String(word) => plain_or_quoted(word),
            other => other.to_string(),
        };
        let line = format!("{}{}: {written}", "  ".repeat(sections.len()), last[0]);
        let _ = writeln!(text, "{line:<48} # {}", setting.origin);
        open = sections.to_vec();
    }
    text
}

/// Writes a text as YAML: JSON strings are YAML strings; plain words need no quotes.
fn plain_or_quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

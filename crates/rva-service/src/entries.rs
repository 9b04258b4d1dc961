//! Lists of named things in the configuration, each entry a mapping: zones and lines, alerts.

use crate::values::{nearest, scalar, shape};
use serde_json::{Map, Value};
use serde_yaml_ng::{Mapping, Value as Yaml};
use std::collections::BTreeSet;

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// A thing that is wrong with an entry: where it stands below the list, and what was found and wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub place: String,
    pub text: String,
}

/// The kind of a list, as it is called in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lists {
    /// The things in it, in the plural.
    pub what: &'static str,
    /// What an entry is.
    pub wanted: &'static str,
    /// The most of them.
    pub entries_max: usize,
    /// The things among which a name is given once.
    pub names: &'static str,
}

impl Lists {
    /// Reads a list and returns its normal form; `read` checks an entry, and two entries with the same `identity` are
    /// refused.
    ///
    /// # Errors
    /// Returns everything that is wrong with it.
    pub(crate) fn read<I: Ord>(
        self,
        list: &Yaml,
        identity: impl Fn(&Map<String, Value>) -> I,
        mut read: impl FnMut(&mut Entry<'_>, &Mapping),
    ) -> Result<Value, Vec<Wrong>> {
        let whole = |text: String| vec![Wrong { place: String::new(), text }];
        let Yaml::Sequence(entries) = list else {
            return Err(whole(format!("found {}, wanted a list of {}, each with a name", shape(list), self.what)));
        };
        if entries.len() > self.entries_max {
            let text = format!("found {} {}, wanted at most {}", entries.len(), self.what, self.entries_max);
            return Err(whole(text));
        }
        let (mut normal, mut wrong, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (at, entry) in entries.iter().enumerate() {
            let mut told = Entry { place: format!("[{}]", at + 1), wrong: &mut wrong, normal: Map::new() };
            match entry {
                Yaml::Mapping(map) => read(&mut told, map),
                other => told.wrong(format!("found {}, wanted {}", shape(other), self.wanted)),
            }
            let Entry { place, normal: map, .. } = told;
            if map.contains_key("name") && !known.insert(identity(&map)) {
                let text = format!("found two of this name, wanted one: {} share their names", self.names);
                wrong.push(Wrong { place, text });
            }
            normal.push(Value::Object(map));
        }
        if wrong.is_empty() { Ok(Value::Array(normal)) } else { Err(wrong) }
    }
}

/// An entry of a list while it is read.
pub(crate) struct Entry<'a> {
    /// The name, or where there is none the number in the list, from 1.
    place: String,
    wrong: &'a mut Vec<Wrong>,
    normal: Map<String, Value>,
}

impl Entry<'_> {
    /// Notes what is wrong with it.
    pub(crate) fn wrong(&mut self, text: String) {
        self.wrong.push(Wrong { place: self.place.clone(), text });
    }

    /// Sets a value of its normal form.
    pub(crate) fn normal(&mut self, key: &str, value: impl Into<Value>) {
        self.normal.insert(key.to_owned(), value.into());
    }

    /// Refuses keys that aren't `known`.
    pub(crate) fn unknown_keys(&mut self, map: &Mapping, known: &[&'static str]) {
        for key in map.keys() {
            let found = key.as_str().unwrap_or_default();
            if !known.contains(&found) {
                let nearest = nearest(found, known.iter().copied()).map_or("", |(nearest, _)| nearest);
                self.wrong(format!("{found}: unknown key, nearest is {nearest}"));
            }
        }
    }

    /// Reads the name, which every entry has; `why` says what it is for.
    pub(crate) fn name(&mut self, map: &Mapping, why: &str) {
        let found = map.get("name");
        match found.and_then(scalar) {
            Some(name) => {
                let shown: String = name.chars().take(NAME_MAX).collect();
                if !shown.is_empty() {
                    self.place.clone_from(&shown);
                }
                if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
                    let bytes = name.len();
                    self.wrong(format!(
                        "found a name of {bytes} bytes, {shown:?}, wanted 1 to {NAME_MAX} bytes without control characters"
                    ));
                }
                self.normal("name", name);
            }
            None => {
                let found = found.map_or("no name", shape);
                self.wrong(format!("found {found}, wanted a name: {why}"));
            }
        }
    }

    /// Reads a pattern of ids.
    pub(crate) fn pattern(&mut self, map: &Mapping, key: &str, is_wanted: bool) {
        let found = map.get(key).filter(|found| !found.is_null());
        match found.map(scalar) {
            None if is_wanted => self
                .wrong(format!("found no {key}, wanted an id, or a pattern of ids with * and ?: \"*\" is every {key}")),
            None => {}
            Some(None) => {
                self.wrong(format!("{key}: found {}, wanted an id or a pattern", found.map_or("nothing", shape)));
            }
            Some(Some(text)) => match glob::Pattern::new(&text) {
                Ok(_) if !text.is_empty() => self.normal(key, text),
                Ok(_) => self.wrong(format!("{key}: found an empty text, wanted an id or a pattern")),
                Err(error) => self.wrong(format!("{key}: found {text:?} ({error}), wanted an id or a pattern")),
            },
        }
    }
}

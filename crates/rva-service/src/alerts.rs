//! Alerts for people in the shop, as the configuration writes them.

use crate::{
    entries::{Entry, Lists, Wrong},
    parse_duration,
    values::{scalar, shape},
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use serde_yaml_ng::{Mapping, Value as Yaml};
use std::{ops::RangeInclusive, time::Duration};

/// The most alerts in the list.
const ALERTS_MAX: usize = 200;

/// The most people that a limit names.
const PEOPLE_MAX: f64 = 1e6;

/// The shortest and the longest time that a condition must last, in minutes.
const MINUTES: RangeInclusive<u64> = 1..=1_440;

/// The people below its limit at which an alert of too many ends, where it says nothing. One of too few ends at its limit.
const HYSTERESIS: f64 = 1.0;

const KEYS: &[&str] =
    &["name", "of", "zone", "camera", "store", "above", "below", "for", "hysteresis", "between", "days"];

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The place whose people an alert counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertOf {
    /// Counts those of each camera by itself.
    Camera,
    /// Adds those of all cameras of a shop.
    Store,
}

/// The limit that a number of people passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlertLimit {
    /// Holds while there are more people, on average over a minute.
    Above(f64),
    /// Holds while there are fewer people, in every frame of a minute.
    Below(f64),
}

/// A span of the day in minutes since midnight, the end no part of it. It may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaySpan {
    /// The first minute.
    pub from: u16,
    /// The end; up to 1,440, which is midnight.
    pub to: u16,
}

/// An alert for people in the shop.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertConfig {
    /// The name, unique among alerts.
    pub name: String,
    /// The place whose people count.
    pub of: AlertOf,
    /// The zone whose people count; `None`: the whole picture.
    pub zone: Option<String>,
    /// The pattern of the cameras' ids; `None`: every camera.
    pub camera: Option<String>,
    /// The pattern of the shops' ids; `None`: every shop.
    pub store: Option<String>,
    /// The limit.
    pub limit: AlertLimit,
    /// The whole minutes, one after another, for which it must be passed.
    pub minutes: u64,
    /// The people by which the number must come back within the limit before the alert ends.
    pub hysteresis: f64,
    /// The time of the day in which it is watched; `None`: all day.
    pub between: Option<DaySpan>,
    /// The days on which it is watched, Monday first; a span over midnight belongs to the day on which it begins.
    pub days: [bool; 7],
}

/// Checks a list of alerts and returns its normal form.
///
/// # Errors
/// Returns everything that is wrong with it.
pub(crate) fn parse(list: &Yaml) -> Result<Value, Vec<Wrong>> {
    let wanted = "a mapping with a name, and above or below";
    let lists = Lists { what: "alerts", wanted, entries_max: ALERTS_MAX, names: "alerts" };
    let identity = |normal: &serde_json::Map<String, Value>| normal.get("name").map(Value::to_string);
    lists.read(list, identity, |entry, map| {
        entry.name(map, "notifications tell the alert by it");
        entry.unknown_keys(map, KEYS);
        entry.pattern(map, "camera", false);
        entry.pattern(map, "store", false);
        text(entry, map, "zone", |zone| match zone.len() {
            1..=64 => Ok(zone.to_owned()),
            found => Err(format!("found {found} bytes, wanted a zone's name of 1 to 64")),
        });
        text(entry, map, "of", |of| match of {
            "camera" | "store" => Ok(of.to_owned()),
            _ => Err(format!("found {of:?}, wanted one of camera, store")),
        });
        limit(entry, map);
        people(entry, map, "hysteresis");
        text(entry, map, "for", |text| minutes(text).map(|minutes| format!("{minutes}m")));
        text(entry, map, "between", |text| day_span(text).map(|_| text.to_owned()));
        match map.get("days") {
            None | Some(Yaml::Null) => {}
            // [mon, tue] as YAML has lists.
            Some(Yaml::Sequence(items)) => {
                let items: Option<Vec<String>> = items.iter().map(scalar).collect();
                days_of(entry, &items.unwrap_or_default().join(","));
            }
            Some(_) => text(entry, map, "days", |text| days(text).map(|_| text.to_owned())),
        }
    })
}

fn days_of(entry: &mut Entry<'_>, text: &str) {
    match days(text) {
        Ok(_) => entry.normal("days", text),
        Err(wrong) => entry.wrong(format!("days: {wrong}")),
    }
}

/// Reads a key whose value is a text, where it is given.
fn text(entry: &mut Entry<'_>, map: &Mapping, key: &str, check: impl Fn(&str) -> Result<String, String>) {
    let Some(found) = map.get(key).filter(|found| !found.is_null()) else { return };
    let checked = match scalar(found) {
        Some(text) => check(text.trim()),
        None => Err(format!("found {}, wanted one value", shape(found))),
    };
    match checked {
        Ok(text) => entry.normal(key, text),
        Err(wrong) => entry.wrong(format!("{key}: {wrong}")),
    }
}

/// Reads a number of people, where it is given. Returns whether it is.
fn people(entry: &mut Entry<'_>, map: &Mapping, key: &str) -> bool {
    let Some(found) = map.get(key).filter(|found| !found.is_null()) else { return false };
    let number = scalar(found).and_then(|text| text.trim().parse::<f64>().ok());
    match number.filter(|number| (0.0..=PEOPLE_MAX).contains(number)) {
        Some(number) => entry.normal(key, number),
        None => {
            let found = scalar(found).unwrap_or_else(|| shape(found).to_owned());
            entry.wrong(format!("{key}: found {found}, wanted a number of people from 0 to {PEOPLE_MAX}"));
        }
    }
    true
}

fn limit(entry: &mut Entry<'_>, map: &Mapping) {
    match (people(entry, map, "above"), people(entry, map, "below")) {
        (true, true) => entry.wrong("found above and below, wanted one of them".to_owned()),
        (false, false) => {
            entry.wrong("found neither above nor below, wanted one of them: a number of people".to_owned())
        }
        _ => {}
    }
}

fn minutes(text: &str) -> Result<u64, String> {
    let lasting: Duration = parse_duration(text).map_err(|error| error.to_string())?;
    let minutes = lasting.as_secs() / 60;
    if lasting != Duration::from_secs(minutes * 60) || !MINUTES.contains(&minutes) {
        return Err(format!("found {text}, wanted whole minutes from 1m to 24h: people are counted by the minute"));
    }
    Ok(minutes)
}

/// Reads a span of the day.
///
/// # Errors
/// Returns found and wanted for another text.
pub(crate) fn day_span(text: &str) -> Result<DaySpan, String> {
    let wanted = || format!("found {text:?}, wanted a time of the day like 09:00-20:00");
    let moment = |text: &str| -> Option<u16> {
        let (hour, minute) = text.trim().split_once(':')?;
        let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(hour) || minute.len() != 2 || !is_number(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (minute < 60 && hour * 60 + minute <= 1_440).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-').ok_or_else(wanted)?;
    match (moment(from), moment(to)) {
        (Some(from), Some(to)) if from < 1_440 && from != to => Ok(DaySpan { from, to }),
        _ => Err(wanted()),
    }
}

/// Reads days as `mon-sat`, `mon,wed` or `sat-mon`: Monday first.
///
/// # Errors
/// Returns found and wanted for another text.
pub(crate) fn days(text: &str) -> Result<[bool; 7], String> {
    let wanted = || format!("found {text:?}, wanted days like mon-sat or sat,sun");
    let day = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        DAYS.iter().position(|day| *day == text).ok_or_else(wanted)
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for step in 0..=(last + 7 - first) % 7 {
            days[(first + step) % 7] = true;
        }
    }
    Ok(days)
}

/// The normal form of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertText {
    name: String,
    of: Option<AlertOf>,
    zone: Option<String>,
    camera: Option<String>,
    store: Option<String>,
    above: Option<f64>,
    below: Option<f64>,
    r#for: Option<String>,
    hysteresis: Option<f64>,
    between: Option<String>,
    days: Option<String>,
}

impl AlertText {
    fn checked(self) -> Result<AlertConfig, String> {
        let (limit, hysteresis) = match (self.above, self.below) {
            (Some(people), _) => (AlertLimit::Above(people), HYSTERESIS),
            (None, people) => (AlertLimit::Below(people.unwrap_or_default()), 0.0),
        };
        Ok(AlertConfig {
            name: self.name,
            of: self.of.unwrap_or(AlertOf::Camera),
            zone: self.zone,
            camera: self.camera,
            store: self.store,
            limit,
            minutes: self.r#for.map_or(Ok(1), |text| minutes(&text))?,
            hysteresis: self.hysteresis.unwrap_or(hysteresis),
            between: self.between.map(|text| day_span(&text)).transpose()?,
            days: self.days.map_or(Ok([true; 7]), |text| days(&text))?,
        })
    }
}

pub(crate) fn opening_hours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DaySpan>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| day_span(&text).map_err(D::Error::custom)).transpose()
}

pub(crate) fn opening_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[bool; 7], D::Error> {
    days(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlertConfig>, D::Error> {
    let texts = Option::<Vec<AlertText>>::deserialize(deserializer)?.unwrap_or_default();
    texts.into_iter().map(|text| text.checked().map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Config, Layers, load};

    fn config(file: &str) -> Result<Config, String> {
        let layers = Layers { file: Some(("rva.yaml".into(), file.to_owned())), ..Layers::default() };
        load(&layers).map(|loaded| loaded.config).map_err(|error| error.to_string())
    }

    use super::*;

    #[test]
    fn an_alert_says_whom_it_counts_and_when() {
        let file = "
alerts:
  - { name: queue, zone: till, above: 5, for: 2m }
  - { name: full, of: store, store: store_*, above: 80.5, hysteresis: 10 }
  - { name: nobody, below: 1, for: 1h, between: 22:00-2:00, days: fri-mon }
";
        let alerts = config(file).unwrap().alerts;
        let queue = AlertConfig {
            name: "queue".into(),
            of: AlertOf::Camera,
            zone: Some("till".into()),
            camera: None,
            store: None,
            limit: AlertLimit::Above(5.0),
            minutes: 2,
            hysteresis: 1.0,
            between: None,
            days: [true; 7],
        };
        assert_eq!(alerts[0], queue);
        let full = (alerts[1].of, alerts[1].limit, alerts[1].minutes, alerts[1].hysteresis);
        assert_eq!(full, (AlertOf::Store, AlertLimit::Above(80.5), 1, 10.0));
        let nobody = (alerts[2].limit, alerts[2].minutes, alerts[2].between, alerts[2].days);
        let days = [true, false, false, false, true, true, true];
        assert_eq!(nobody, (AlertLimit::Below(1.0), 60, Some(DaySpan { from: 1_320, to: 120 }), days));
        let listed = config("alerts: [{name: a, above: 1, days: [sat, Sun]}]").unwrap().alerts[0].days;
        assert_eq!(listed, [false, false, false, false, false, true, true]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_name() {
        for (entry, wanted) in [
            ("{ above: 5 }", "alerts[1]: found no name, wanted a name"),
            ("{ name: a }", "alerts.a: found neither above nor below"),
            ("{ name: a, above: 1, below: 2 }", "alerts.a: found above and below"),
            ("{ name: a, above: many }", "above: found many, wanted a number of people from 0 to 1000000"),
            ("{ name: a, above: -1 }", "above: found -1"),
            ("{ name: a, above: .nan }", "above: found"),
            ("{ name: a, over: 1 }", "over: unknown key, nearest is"),
            ("{ name: a, above: 1, for: 90s }", "for: found 90s, wanted whole minutes from 1m to 24h"),
            ("{ name: a, above: 1, for: 2d }", "for: found 2d"),
            ("{ name: a, above: 1, of: shop }", "of: found \"shop\", wanted one of camera, store"),
            (
                "{ name: a, above: 1, between: 9-20 }",
                "between: found \"9-20\", wanted a time of the day like 09:00-20:00",
            ),
            ("{ name: a, above: 1, between: 09:00-09:00 }", "between: found"),
            ("{ name: a, above: 1, between: 09:00-24:01 }", "between: found"),
            ("{ name: a, above: 1, days: mon-funday }", "days: found \"mon-funday\", wanted days like mon-sat"),
            ("{ name: a, above: 1, camera: '[' }", "camera: found \"[\""),
            ("{ name: a, above: 1 }\n  - { name: a, above: 2 }", "found two of this name"),
            ("5", "alerts[1]: found a number, wanted a mapping with a name"),
        ] {
            let error = config(&format!("alerts:\n  - {entry}\n")).unwrap_err();
            assert!(error.contains(wanted), "{entry}: {error}");
        }
        let zone = config("notify: { timezone: Mars/Base }").unwrap_err();
        assert!(zone.contains("found \"Mars/Base\", wanted the name of a time zone like Europe/Berlin"), "{zone}");
    }
}

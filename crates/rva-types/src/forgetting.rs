//! The choice of records that are forgotten: those of a shop, of a camera, of a stretch of time.

use crate::{
    PropertyName, Timestamp,
    fields::{Field, Record},
};
use std::{collections::BTreeMap, fmt};

const DAY_US: i64 = 86_400_000_000;

/// The records of a shop, a camera and a stretch of time; what isn't named may be anything, but something is named.
///
/// A record's time is its `capture_ts`; of one that has none, the time when it was received counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChoice {
    store: Option<String>,
    camera: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// Fields of a message that say whose it is, as far as it can be read.
#[derive(Debug, Default)]
struct Facts {
    store: Option<String>,
    camera: Option<String>,
    capture: Option<Timestamp>,
}

fn text(field: Option<Field<'_>>) -> Option<String> {
    match field {
        Some(Field::Text(text)) if !text.is_empty() => Some(text.into_owned()),
        _ => None,
    }
}

impl Facts {
    fn of(text_of_record: &str) -> Option<Self> {
        let mut head = Record::parse(text_of_record, "message").ok()?;
        if let Some(Field::Text(payload)) = head.payload.take() {
            return Self::of(&payload);
        }
        let capture = text(head.capture_ts).and_then(|text| Timestamp::parse(&text).ok());
        Some(Self { store: text(head.source.store_id), camera: text(head.source.camera_id), capture })
    }
}

/// Returns whether some bytes hold a text.
fn hold(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}

/// Returns the capture time that stands in a text which is no JSON as a whole: a record that was cut off.
fn capture_within(bytes: &[u8]) -> Option<Timestamp> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("\"capture_ts\"")?;
    let quoted = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Timestamp::parse(quoted.split('"').next()?).ok()
}

/// Returns the first moment of a text that is a day or a moment, and the first one behind it.
fn moments(flag: &str, text: &str) -> Result<(Timestamp, Timestamp), String> {
    if let Ok(day) = Timestamp::parse(&format!("{text}T00:00:00Z")) {
        return Ok((day, Timestamp::from_micros(day.as_micros().saturating_add(DAY_US))));
    }
    let at = Timestamp::parse(text).map_err(|_| {
        format!("{flag}: found {text:?}, wanted a day like 2026-01-31 or a time like 2026-01-31T08:00:00Z")
    })?;
    Ok((at, at))
}

impl RecordChoice {
    /// Parses a choice. `from` and `to` are days, of which the last one is included, or moments, of which the last one
    /// isn't.
    ///
    /// # Errors
    /// Returns found and wanted, with the flag, for texts that are no times, for an end that isn't behind the
    /// beginning, and where nothing is named.
    pub fn parse(
        store: Option<&str>,
        camera: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Self, String> {
        let begins = from.map(|text| moments("--from", text)).transpose()?.map(|(first, _)| first);
        let ends = to.map(|text| moments("--to", text)).transpose()?.map(|(_, behind)| behind);
        if let (Some(begins), Some(ends), Some(to)) = (begins, ends, to)
            && ends <= begins
        {
            return Err(format!("--to: found {to}, wanted a time behind {begins}"));
        }
        for (flag, id) in [("--store", store), ("--camera", camera)] {
            if id.is_some_and(str::is_empty) {
                return Err(format!("{flag}: found an empty text, wanted an id"));
            }
        }
        if store.is_none() && camera.is_none() && begins.is_none() && ends.is_none() {
            return Err("found nothing that is chosen, wanted --store, --camera, --from or --to".to_owned());
        }
        Ok(Self { store: store.map(str::to_owned), camera: camera.map(str::to_owned), from: begins, to: ends })
    }

    /// Returns the shop, where one is named.
    pub fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// Returns the camera, where one is named.
    pub fn camera(&self) -> Option<&str> {
        self.camera.as_deref()
    }

    /// Returns the first moment and the end, which is no part of it, in microseconds since 1970.
    pub fn span_us(&self) -> (i64, i64) {
        (self.from.map_or(i64::MIN, Timestamp::as_micros), self.to.map_or(i64::MAX, Timestamp::as_micros))
    }

    /// Returns the part of it before a moment; `None` where there is none.
    #[must_use]
    pub fn before(&self, end: Timestamp) -> Option<Self> {
        let to = self.to.map_or(end, |to| to.min(end));
        self.from.is_none_or(|from| from < to).then(|| Self { to: Some(to), ..self.clone() })
    }

    /// Returns whether a moment lies in the stretch of time.
    pub fn holds_time(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }

    /// Returns whether shop and camera are those that are named.
    pub fn is_of(&self, store: &str, camera: &str) -> bool {
        self.store().is_none_or(|wanted| wanted == store) && self.camera().is_none_or(|wanted| wanted == camera)
    }

    /// Returns whether an event is chosen: its shop and camera as the table has them, and its frame record.
    pub fn holds_event(&self, store: &str, camera: &str, payload: &str, received: Timestamp) -> bool {
        let time = || {
            let capture = Facts::of(payload).and_then(|facts| facts.capture);
            self.holds_time(capture.unwrap_or(received))
        };
        self.is_of(store, camera) && ((self.from.is_none() && self.to.is_none()) || time())
    }

    /// Returns whether a message is chosen that may be no event. One that doesn't say its shop or its camera is chosen
    /// where its bytes hold the id that is wanted, or its partition of the log is the camera's.
    pub fn holds_message(
        &self,
        properties: &BTreeMap<String, String>,
        body: &[u8],
        partition: Option<&str>,
        received: Timestamp,
    ) -> bool {
        let facts = std::str::from_utf8(body).ok().and_then(Facts::of);
        let is_whole = facts.is_some();
        let facts = facts.unwrap_or_default();
        let property = |name: &str| properties.get(name).filter(|value| !value.is_empty()).cloned();
        let is_it = |wanted: Option<&str>, found: Option<String>, beside: Option<&str>| match (wanted, found) {
            (None, _) => true,
            (Some(wanted), Some(found)) => wanted == found,
            (Some(wanted), None) => beside == Some(wanted) || hold(body, wanted),
        };
        let capture = || facts.capture.or_else(|| if is_whole { None } else { capture_within(body) });
        is_it(self.store(), property(PropertyName::STORE_ID).or(facts.store), None)
            && is_it(self.camera(), property(PropertyName::CAMERA_ID).or(facts.camera), partition)
            && ((self.from.is_none() && self.to.is_none()) || self.holds_time(capture().unwrap_or(received)))
    }
}

/// Writes it for people: `store berlin, camera door, from …, until …`.
impl fmt::Display for RecordChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.store().map(|store| format!("store {store}")),
            self.camera().map(|camera| format!("camera {camera}")),
            self.from.map(|from| format!("from {from}")),
            self.to.map(|to| format!("until {to}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"schema_version":"1.0","pipeline_run_id":"run","frame_index":1,"capture_ts":"2026-01-31T08:00:00Z","source":{"store_id":"berlin","camera_id":"door"}}"#;

    fn choice(store: &str, camera: &str, from: &str, to: &str) -> RecordChoice {
        fn given(text: &str) -> Option<&str> {
            Some(text).filter(|text| !text.is_empty())
        }
        RecordChoice::parse(given(store), given(camera), given(from), given(to)).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_day_is_whole_and_a_moment_ends_before_itself() {
        let day = choice("", "", "2026-01-31", "2026-01-31");
        for (time, wanted) in [
            ("2026-01-30T23:59:59.999999Z", false),
            ("2026-01-31T00:00:00Z", true),
            ("2026-01-31T23:59:59.999999Z", true),
            ("2026-02-01T00:00:00Z", false),
        ] {
            assert_eq!(day.holds_time(at(time)), wanted, "{time}");
        }
        let hour = choice("", "", "2026-01-31T08:00:00Z", "2026-01-31T10:00:00+01:00");
        assert!(hour.holds_time(at("2026-01-31T08:59:59Z")) && !hour.holds_time(at("2026-01-31T09:00:00Z")));
        assert_eq!(hour.before(at("2026-01-31T08:00:00Z")), None);
        let half = hour.before(at("2026-01-31T08:30:00Z")).unwrap();
        assert!(half.holds_time(at("2026-01-31T08:29:59Z")) && !half.holds_time(at("2026-01-31T08:30:00Z")));
        assert_eq!(hour.before(at("2026-02-01T00:00:00Z")), Some(hour));
    }

    #[test]
    fn what_is_no_choice_is_refused_with_the_flag() {
        for (from, to, flag) in [
            (Some("yesterday"), None, "--from"),
            (None, Some("2026-02-31"), "--to"),
            (Some("2026-02-01"), Some("2026-01-31"), "--to"),
            (Some("2026-02-01"), Some("2026-02-01T00:00:00Z"), "--to"),
        ] {
            let text = RecordChoice::parse(None, None, from, to).unwrap_err();
            assert!(text.starts_with(flag) && text.contains("found") && text.contains("wanted"), "{text}");
        }
        assert!(RecordChoice::parse(None, None, None, None).unwrap_err().contains("nothing that is chosen"));
        assert!(RecordChoice::parse(Some(""), None, None, None).unwrap_err().starts_with("--store"));
    }

    #[test]
    fn an_event_is_told_by_the_tables_columns_and_the_records_time() {
        let late = at("2027-01-01T00:00:00Z");
        let holds = |choice: &RecordChoice| choice.holds_event("berlin", "door", RECORD, late);
        assert!(holds(&choice("berlin", "", "", "")) && holds(&choice("", "door", "2026-01-31", "")));
        assert!(!holds(&choice("bonn", "", "", "")) && !holds(&choice("berlin", "till", "", "")));
        assert!(!holds(&choice("berlin", "door", "2026-02-01", "")));
        let without = RECORD.replace("capture_ts", "other");
        assert!(choice("", "", "2027-01-01", "").holds_event("berlin", "door", &without, late));
    }

    #[test]
    fn a_message_that_says_nothing_is_told_by_its_bytes_and_its_partition() {
        let (none, late) = (BTreeMap::new(), at("2027-01-01T00:00:00Z"));
        let door = choice("", "door", "2026-01-31", "2026-01-31");
        assert!(door.holds_message(&none, RECORD.as_bytes(), None, late));
        let envelope = format!("{{\"payload\":{}}}", serde_json::Value::from(RECORD));
        assert!(door.holds_message(&none, envelope.as_bytes(), Some("x"), late));
        let cut = &RECORD.as_bytes()[..RECORD.len() - 2];
        assert!(door.holds_message(&none, cut, None, late), "a cut record has its camera and its time in it");
        assert!(!door.holds_message(&none, b"no record", Some("door"), late), "received at another time");
        let any_time = choice("", "door", "", "");
        assert!(any_time.holds_message(&none, b"no record", Some("door"), late));
        assert!(!any_time.holds_message(&none, b"no record", Some("till"), late));
        let named = BTreeMap::from([("camera_id".to_owned(), "till".to_owned())]);
        assert!(!any_time.holds_message(&named, RECORD.as_bytes(), Some("door"), late), "the property goes first");
    }
}

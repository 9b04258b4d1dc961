//! The few fields of a message that the ingest wants, read without building the rest.
//!
//! Fields that are left out are checked as strictly as those that are kept: a payload that is no JSON, has a number
//! that is no number or half a surrogate is no row.

use crate::{Rejection, RejectionReason, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;
use std::{borrow::Cow, fmt};

/// The fields of an envelope or a frame record, where they are there. Of a repeated one the last counts.
#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    pub schema_version: Option<Field<'a>>,
    pub pipeline_run_id: Option<Field<'a>>,
    pub frame_index: Option<Field<'a>>,
    pub payload: Option<Field<'a>>,
    pub capture_ts: Option<Field<'a>>,
    pub source: Source<'a>,
}

/// The fields of a record's `source`; none where that is no object.
#[derive(Debug, Default)]
pub(crate) struct Source<'a> {
    pub store_id: Option<Field<'a>>,
    pub camera_id: Option<Field<'a>>,
    pub stream_id: Option<Field<'a>>,
}

/// A field's value. Texts without escapes are borrowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Other(Value),
}

impl<'a> Record<'a> {
    /// Reads a JSON object; `what` names it in a rejection.
    pub(crate) fn parse(text: &'a str, what: &str) -> Result<Self, Rejection> {
        let found: Found<Self> = serde_json::from_str(text).map_err(|error| {
            let start = Start(text, 40);
            Rejection::new(
                RejectionReason::InvalidJson,
                format!("found {what} {start} ({error}), wanted a JSON object"),
            )
        })?;
        match found {
            Found::Object(record) => Ok(record),
            Found::Other(kind) => Err(Rejection::new(
                RejectionReason::WrongShape,
                format!("found {what} that is {kind}, wanted a JSON object"),
            )),
        }
    }
}

/// The facts of a frame record that its message says outside of it, besides store and camera.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordHead {
    /// The id of the camera's stream, where it is named.
    pub stream_id: Option<String>,
    /// The time at which the frame was captured, where the record has one that can be read.
    pub capture_ts: Option<Timestamp>,
}

impl RecordHead {
    /// Reads the head of a record from its text.
    ///
    /// # Errors
    /// Returns a rejection for a text that is no JSON object.
    pub fn parse(payload: &str) -> Result<Self, Rejection> {
        let record = Record::parse(payload, "payload")?;
        let text = |field: Option<Field<'_>>| match field {
            Some(Field::Text(text)) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        };
        let capture_ts = text(record.capture_ts).and_then(|text| Timestamp::parse(&text).ok());
        Ok(Self { stream_id: text(record.source.stream_id), capture_ts })
    }
}

/// A text in quotes; of one longer than so many characters only the start, with the length of the whole.
pub(crate) struct Start<'a>(pub &'a str, pub usize);

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, chars_max) = *self;
        match text.char_indices().nth(chars_max) {
            Some((end, _)) => write!(f, "{:?}… of {} bytes", &text[..end], text.len()),
            None => write!(f, "{text:?}"),
        }
    }
}

/// Returns a value as JSON; of a long text the start, of a long array or object its size.
pub(crate) fn short(found: &Field<'_>) -> String {
    match found {
        Field::Text(text) => Start(text, 64).to_string(),
        Field::Integer(number) => number.to_string(),
        Field::Other(value) => {
            let text = value.to_string();
            match value {
                Value::Array(items) if text.len() > 64 => format!("an array of {} values", items.len()),
                Value::Object(fields) if text.len() > 64 => format!("an object of {} fields", fields.len()),
                _ => text,
            }
        }
    }
}

/// A type that takes an object field by field.
trait Fields<'de>: Default {
    /// Takes the value of a known key, or checks that of another.
    fn take<A: MapAccess<'de>>(&mut self, key: KnownKey, map: &mut A) -> Result<(), A::Error>;
}

impl<'de> Fields<'de> for Record<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: KnownKey, map: &mut A) -> Result<(), A::Error> {
        match key {
            KnownKey::SchemaVersion => self.schema_version = Some(map.next_value()?),
            KnownKey::PipelineRunId => self.pipeline_run_id = Some(map.next_value()?),
            KnownKey::FrameIndex => self.frame_index = Some(map.next_value()?),
            KnownKey::Payload => self.payload = Some(map.next_value()?),
            KnownKey::CaptureTs => self.capture_ts = Some(map.next_value()?),
            KnownKey::Source => {
                self.source = match map.next_value()? {
                    Found::Object(source) => source,
                    Found::Other(_) => Source::default(),
                }
            }
            KnownKey::StoreId | KnownKey::CameraId | KnownKey::StreamId | KnownKey::Other => {
                let Checked = map.next_value()?;
            }
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Source<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: KnownKey, map: &mut A) -> Result<(), A::Error> {
        match key {
            KnownKey::StoreId => self.store_id = Some(map.next_value()?),
            KnownKey::CameraId => self.camera_id = Some(map.next_value()?),
            KnownKey::StreamId => self.stream_id = Some(map.next_value()?),
            _ => {
                let Checked = map.next_value()?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfField;
        impl<'de> Visitor<'de> for OfField {
            type Value = Field<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
                Ok(Field::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Field<'de>, E> {
                Ok(Field::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Field<'de>, E> {
                Ok(Field::Integer(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'de>, E> {
                Ok(i64::try_from(number).map_or_else(|_| Field::Other(number.into()), Field::Integer))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Field<'de>, E> {
                Ok(Field::Other(number.into()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Field<'de>, E> {
                Ok(Field::Other(value.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<Field<'de>, E> {
                Ok(Field::Other(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Field<'de>, A::Error> {
                Value::deserialize(SeqAccessDeserializer::new(seq)).map(Field::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field<'de>, A::Error> {
                Value::deserialize(MapAccessDeserializer::new(map)).map(Field::Other)
            }
        }
        deserializer.deserialize_any(OfField)
    }
}

/// A known key, of any object.
#[derive(Clone, Copy)]
enum KnownKey {
    SchemaVersion,
    PipelineRunId,
    FrameIndex,
    Payload,
    CaptureTs,
    Source,
    StoreId,
    CameraId,
    StreamId,
    Other,
}

impl<'de> Deserialize<'de> for KnownKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl Visitor<'_> for OfText {
            type Value = KnownKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<KnownKey, E> {
                Ok(match text {
                    "schema_version" => KnownKey::SchemaVersion,
                    "pipeline_run_id" => KnownKey::PipelineRunId,
                    "frame_index" => KnownKey::FrameIndex,
                    "payload" => KnownKey::Payload,
                    "capture_ts" => KnownKey::CaptureTs,
                    "source" => KnownKey::Source,
                    "store_id" => KnownKey::StoreId,
                    "camera_id" => KnownKey::CameraId,
                    "stream_id" => KnownKey::StreamId,
                    _ => KnownKey::Other,
                })
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

/// The fields of an object, or the kind of value that is there instead.
enum Found<T> {
    Object(T),
    Other(&'static str),
}

impl<'de, T: Fields<'de>> Deserialize<'de> for Found<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAny<T>(std::marker::PhantomData<T>);
        impl<'de, T: Fields<'de>> Visitor<'de> for OfAny<T> {
            type Value = Found<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<T>, A::Error> {
                let mut fields = T::default();
                while let Some(key) = map.next_key()? {
                    fields.take(key, &mut map)?;
                }
                Ok(Found::Object(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Found<T>, A::Error> {
                OfChecked.visit_seq(seq)?;
                Ok(Found::Other("an array"))
            }

            fn visit_unit<E: Error>(self) -> Result<Found<T>, E> {
                Ok(Found::Other("null"))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Found<T>, E> {
                Ok(Found::Other("a boolean"))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Found<T>, E> {
                Ok(Found::Other("a number"))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Found<T>, E> {
                Ok(Found::Other("a number"))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Found<T>, E> {
                Ok(Found::Other("a number"))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Found<T>, E> {
                Ok(Found::Other("a string"))
            }
        }
        deserializer.deserialize_any(OfAny(std::marker::PhantomData))
    }
}

/// Any value, checked and not kept. (`serde::de::IgnoredAny` would pass numbers out of range and half surrogates.)
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfChecked)
    }
}

struct OfChecked;

impl<'de> Visitor<'de> for OfChecked {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
        while map.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
        while seq.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_unit<E: Error>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The most arrays and objects in one another that serde_json reads.
    const DEPTH_MAX: usize = 127;

    impl Field<'_> {
        fn to_value(&self) -> Value {
            match self {
                Self::Text(text) => Value::from(&**text),
                Self::Integer(number) => Value::from(*number),
                Self::Other(value) => value.clone(),
            }
        }
    }

    /// As the whole of it would be read.
    fn by_value(text: &str) -> Option<[Option<Value>; 8]> {
        let Ok(Value::Object(mut map)) = serde_json::from_str(text) else { return None };
        let source = map.remove("source").unwrap_or_default();
        let [version, run, frame, payload, capture] =
            ["schema_version", "pipeline_run_id", "frame_index", "payload", "capture_ts"]
                .map(|field| map.remove(field));
        let [store, camera, stream] = ["store_id", "camera_id", "stream_id"].map(|field| source.get(field).cloned());
        Some([version, run, frame, payload, capture, store, camera, stream])
    }

    fn by_field(text: &str) -> Option<[Option<Value>; 8]> {
        let record = Record::parse(text, "text").ok()?;
        let Record { schema_version, pipeline_run_id, frame_index, payload, capture_ts, source } = record;
        let Source { store_id, camera_id, stream_id } = source;
        let fields =
            [schema_version, pipeline_run_id, frame_index, payload, capture_ts, store_id, camera_id, stream_id];
        Some(fields.map(|field| field.map(|field| field.to_value())))
    }

    #[test]
    fn values_in_one_another_are_read_to_a_depth_that_any_stack_bears() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{{\"x\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            assert!(Record::parse(&nested(DEPTH_MAX - 1), "text").is_ok());
            for depth in [DEPTH_MAX, 1_000_000] {
                let error = Record::parse(&nested(depth), "text").unwrap_err();
                assert_eq!(error.reason, RejectionReason::InvalidJson);
                assert!(error.detail.contains("recursion limit"), "{}", error.detail);
            }
        }
        let brackets = format!("{{\"x\":\"{}\\\"[\",\"y\":[{}0]}}", "[".repeat(500), "[],".repeat(500));
        assert!(Record::parse(&brackets, "text").is_ok(), "beside one another, or in a text, they may be as many");
    }

    #[test]
    fn it_is_as_strict_and_reads_the_same_as_the_whole_value() {
        let texts = [
            r#"{"schema_version":"1","pipeline_run_id":"r","frame_index":1,"source":{"store_id":"s","camera_id":null}}"#,
            r#"{"source":{"store_id":"a","store_id":"b"},"source":{"camera_id":"c"},"frame_index":1,"frame_index":2}"#,
            r#"{"source":5,"payload":[1,{"a":"\u00e9\n"}],"frame_index":18446744073709551615}"#,
            r#"{"frame_index":-0,"schema_version":1.5,"pipeline_run_id":"\ud83d\ude00","payload":true}"#,
            r#"{"frame_index":123456789012345678901234567890,"x":-1e-999,"y":1E400}"#,
            r#"{"source":{"source":{"store_id":"inner"}},"x":{"payload":"inner"}}"#,
            r#"{"x":1e999}"#,
            r#"{"x":"\ud800"}"#,
            r#"{"x":"\q"}"#,
            r#"{"x":[1,{"y":tru}]}"#,
            r#"{"x":01}"#,
            r#"{"x":1} x"#,
            r#"{"x":1,}"#,
            r#"[{"x":1}]"#,
            r#"{"capture_ts":"2026-01-31T08:00:00Z","source":{"stream_id":"t","capture_ts":1}}"#,
            r#"{"capture_ts":{"a":[1]},"source":{"stream_id":5},"stream_id":"outer"}"#,
            "7",
            "null",
            r#""text""#,
            "",
        ];
        for text in texts {
            assert_eq!(by_field(text), by_value(text), "{text}");
        }
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!((by_field(&deep), by_value(&deep)), (None, None));
    }

    proptest! {
        #[test]
        fn it_agrees_on_texts_that_are_almost_json(text in r#"\{("(source|payload|frame_index|x)":("a"|1|-2.5e3|null|\[1,"b"\]|\{"store_id":("s"|1),"camera_id":"c"\}|t|"),?){0,4}\}"#) {
            prop_assert_eq!(by_field(&text), by_value(&text));
        }
    }
}

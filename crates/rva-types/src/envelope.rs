//! The message on a topic: its envelope, its Pulsar schema, and the parser that accepts both of the known shapes.

use crate::{
    BronzeEvent, CameraId, EventKey, Rejection, RejectionReason, RunId, StoreId, Timestamp,
    capture::check_capture_ts,
    fields::{Field, Record, short},
    ids::KnownIds,
};
use bytes::BytesMut;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The name of the Pulsar schema (type JSON).
pub const PULSAR_SCHEMA_NAME: &str = "RetailDetection";

/// The definition of the Pulsar schema, literally.
pub const PULSAR_SCHEMA_DEFINITION: &str = r#"{"type":"record","name":"RetailDetection","fields":[{"name":"schema_version","type":"string"},{"name":"pipeline_run_id","type":"string"},{"name":"frame_index","type":"long"},{"name":"payload","type":"string"}]}"#;

/// The names of the message properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropertyName;

impl PropertyName {
    /// Names the shop.
    pub const STORE_ID: &'static str = "store_id";
    /// Names the camera.
    pub const CAMERA_ID: &'static str = "camera_id";
    /// Names the stream of the camera.
    pub const STREAM_ID: &'static str = "stream_id";
    /// Names the trace that a frame belongs to, as W3C Trace Context writes it; there where the frame is traced.
    pub const TRACEPARENT: &'static str = "traceparent";

    /// The longest [`PropertyName::TRACEPARENT`], in bytes, that is taken for one: those of version 00 have 55.
    pub const TRACEPARENT_LEN_MAX: usize = 128;
}

/// The message body: three fields of the frame record and the record itself as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The schema version of the record.
    pub schema_version: String,
    /// The run id of the record.
    pub pipeline_run_id: String,
    /// The frame index of the record.
    pub frame_index: i64,
    /// The frame record as JSON text.
    pub payload: String,
}

/// Reads one message, for those who don't read many and don't know when it was received: no capture time is too late
/// then.
///
/// # Errors
/// Fails as [`MessageDecoder::decode`] does.
pub fn decode_message(body: &[u8], properties: &BTreeMap<String, String>) -> Result<BronzeEvent, Rejection> {
    MessageDecoder::default().decode(body, properties, Timestamp::from_micros(i64::MAX))
}

/// The size of the pieces of memory that the payloads of a batch lie in.
const PIECE_BYTES: usize = 256 << 10;

/// A reader of messages, whose events share identifiers that come again.
#[derive(Debug, Default)]
pub struct MessageDecoder {
    known: KnownIds,
    schema_version: Arc<str>,
    payloads: BytesMut,
    piece_bytes: usize,
}

impl MessageDecoder {
    /// Makes a decoder for events that are kept and let go together: their payloads lie one behind the other, so that a
    /// batch is few pieces of memory. One event that is kept keeps its whole piece (256 KiB).
    pub fn of_batches() -> Self {
        Self { piece_bytes: PIECE_BYTES, ..Self::default() }
    }

    /// Reads a message: an envelope, or a bare frame record as the predecessor's later producers sent it.
    ///
    /// Store and camera come from the properties (an empty one counts as absent), else from the record's `source`.
    /// Envelope and record must agree on run and frame index where the record has them. A `capture_ts` that is there
    /// must be an RFC 3339 time from the year 2000 to a day after `received`. Whatever else a record holds is judged
    /// by who reads the table: the payload is kept byte for byte.
    ///
    /// # Errors
    /// Returns a [`Rejection`] that names found and wanted; the message belongs into the dead letters.
    pub fn decode(
        &mut self,
        body: &[u8],
        properties: &BTreeMap<String, String>,
        received: Timestamp,
    ) -> Result<BronzeEvent, Rejection> {
        if body.is_empty() {
            return Err(Rejection::new(RejectionReason::Empty, "found a message of 0 bytes, wanted a JSON object"));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            Rejection::new(RejectionReason::InvalidUtf8, format!("found byte {:#04x} at {at}, wanted UTF-8", body[at]))
        })?;
        let mut message = Record::parse(text, "message")?;
        let Some(payload) = message.payload.take() else {
            return self.event(&message, &message, properties, received, text);
        };
        let payload = match payload {
            Field::Text(payload) => payload,
            other => return Err(field_error("payload", &other, "a string that holds the frame record")),
        };
        let record = Record::parse(&payload, "payload")?;
        check_agreement(&message, &record)?;
        self.event(&message, &record, properties, received, &payload)
    }

    fn event(
        &mut self,
        head: &Record<'_>,
        record: &Record<'_>,
        properties: &BTreeMap<String, String>,
        received: Timestamp,
        payload: &str,
    ) -> Result<BronzeEvent, Rejection> {
        let known = &mut self.known;
        let run: RunId = known.share(string_field("pipeline_run_id", &head.pipeline_run_id)?).map_err(invalid)?;
        let frame_index = integer_field("frame_index", &head.frame_index)?;
        let schema_version = string_field("schema_version", &head.schema_version)?;
        let source = &record.source;
        let store = source_field(PropertyName::STORE_ID, properties, &source.store_id)?;
        let camera = source_field(PropertyName::CAMERA_ID, properties, &source.camera_id)?;
        let store: StoreId = known.share(store).map_err(invalid)?;
        let camera: CameraId = known.share(camera).map_err(invalid)?;
        check_capture_ts(&record.capture_ts, received)?;
        if *self.schema_version != *schema_version {
            self.schema_version = schema_version.into();
        }
        Ok(BronzeEvent {
            schema_version: Arc::clone(&self.schema_version),
            key: EventKey { run, camera, frame_index },
            payload: self.keep(payload),
            store,
        })
    }

    fn keep(&mut self, payload: &str) -> ByteString {
        if self.payloads.capacity() < payload.len() {
            // Not `reserve`, which would look for room in what the events hold.
            self.payloads = BytesMut::with_capacity(payload.len().max(self.piece_bytes));
        }
        self.payloads.extend_from_slice(payload.as_bytes());
        ByteString::try_from(self.payloads.split().freeze()).expect("what was a text is one")
    }
}

fn check_agreement(head: &Record<'_>, record: &Record<'_>) -> Result<(), Rejection> {
    let fields = [
        ("pipeline_run_id", &head.pipeline_run_id, &record.pipeline_run_id),
        ("frame_index", &head.frame_index, &record.frame_index),
    ];
    for (field, outer, inner) in fields {
        if let (Some(outer), Some(inner)) = (outer, inner)
            && outer != inner
        {
            return Err(Rejection::new(
                RejectionReason::EnvelopeMismatch,
                format!(
                    "found {field} {} in the envelope and {} in its payload, wanted the same",
                    short(outer),
                    short(inner)
                ),
            ));
        }
    }
    Ok(())
}

fn string_field<'a>(field: &str, found: &'a Option<Field<'_>>) -> Result<&'a str, Rejection> {
    match found {
        Some(Field::Text(text)) => Ok(text),
        None => Err(missing(&format!("no {field}"), "a string")),
        Some(Field::Other(Value::Null)) => Err(missing(&format!("{field} null"), "a string")),
        Some(other) => Err(field_error(field, other, "a string")),
    }
}

fn integer_field(field: &str, found: &Option<Field<'_>>) -> Result<i64, Rejection> {
    match found {
        Some(Field::Integer(number)) => Ok(*number),
        None => Err(missing(&format!("no {field}"), "an integer")),
        Some(Field::Other(Value::Null)) => Err(missing(&format!("{field} null"), "an integer")),
        Some(other) => Err(field_error(field, other, "a 64-bit integer")),
    }
}

fn source_field<'a>(
    name: &str,
    properties: &'a BTreeMap<String, String>,
    in_record: &'a Option<Field<'_>>,
) -> Result<&'a str, Rejection> {
    if let Some(value) = properties.get(name).filter(|value| !value.is_empty()) {
        return Ok(value);
    }
    match in_record {
        Some(Field::Text(text)) if !text.is_empty() => Ok(text),
        None | Some(Field::Text(_) | Field::Other(Value::Null)) => Err(Rejection::new(
            RejectionReason::MissingSource,
            format!("found neither a property {name} nor source.{name} in the record, wanted one of them"),
        )),
        Some(other) => Err(field_error(&format!("source.{name}"), other, "a string")),
    }
}

fn invalid(error: crate::IdError) -> Rejection {
    Rejection::new(RejectionReason::InvalidField, error.to_string())
}

fn missing(found: &str, wanted: &str) -> Rejection {
    Rejection::new(RejectionReason::MissingField, format!("found {found}, wanted {wanted}"))
}

fn field_error(field: &str, found: &Field<'_>, wanted: &str) -> Rejection {
    Rejection::new(RejectionReason::InvalidField, format!("found {field} {}, wanted {wanted}", short(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"schema_version":"1.0","pipeline_run_id":"r1","source":{"store_id":"s","camera_id":"c","stream_id":"t"},"frame_index":7,"later":[1]}"#;

    fn none() -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn enveloped(payload: &str, run: &str, frame_index: i64) -> Vec<u8> {
        serde_json::to_vec(&Envelope {
            schema_version: "1.0".into(),
            pipeline_run_id: run.into(),
            frame_index,
            payload: payload.into(),
        })
        .unwrap()
    }

    fn reason(body: &[u8]) -> (RejectionReason, String) {
        let rejection = decode_message(body, &none()).unwrap_err();
        (rejection.reason, rejection.detail)
    }

    #[test]
    fn bare_records_and_envelopes_give_the_same_event() {
        let bare = decode_message(RECORD.as_bytes(), &none()).unwrap();
        let wrapped = decode_message(&enveloped(RECORD, "r1", 7), &none()).unwrap();
        assert_eq!(bare, wrapped);
        assert_eq!(bare.payload, RECORD, "the payload is kept byte for byte, unknown fields too");
        assert_eq!((bare.store.as_str(), bare.key.camera.as_str(), bare.key.frame_index), ("s", "c", 7));
    }

    #[test]
    fn properties_win_over_the_record_and_empty_ones_are_absent() {
        let properties = BTreeMap::from([("store_id".into(), "p".into()), ("camera_id".into(), String::new())]);
        let event = decode_message(RECORD.as_bytes(), &properties).unwrap();
        assert_eq!((event.store.as_str(), event.key.camera.as_str()), ("p", "c"));
    }

    #[test]
    fn a_message_without_store_or_camera_is_rejected() {
        let body = br#"{"schema_version":"1.0","pipeline_run_id":"r1","frame_index":7,"source":{"store_id":""}}"#;
        assert_eq!(reason(body).0, RejectionReason::MissingSource);
    }

    #[test]
    fn disagreement_between_envelope_and_payload_is_rejected() {
        let (found, detail) = reason(&enveloped(RECORD, "r1", 8));
        assert_eq!(found, RejectionReason::EnvelopeMismatch);
        assert!(detail.contains('8') && detail.contains('7'), "{detail}");
        assert_eq!(reason(&enveloped(RECORD, "other", 7)).0, RejectionReason::EnvelopeMismatch);
    }

    #[test]
    fn every_kind_of_bad_message_has_a_reason_and_names_what_was_found() {
        use RejectionReason::*;
        let long = format!(r#"{{"schema_version":"1.0","pipeline_run_id":"{}","frame_index":1}}"#, "x".repeat(65));
        let cases: [(&[u8], RejectionReason, &str); 11] = [
            (b"", Empty, "0 bytes"),
            (b"{\"a\":\"\xff\"}", InvalidUtf8, "0xff at 6"),
            (b"{\"a\":", InvalidJson, "EOF"),
            (b"[1]", WrongShape, "an array"),
            (b"{\"payload\":5}", InvalidField, "payload 5"),
            (br#"{"schema_version":"1.0","pipeline_run_id":null}"#, MissingField, "pipeline_run_id null"),
            (b"{\"x\":\"a\nb\"}", InvalidJson, "found message \"{\\\"x\\\":\\\"a\\nb"),
            (br#"{"schema_version":"1.0","frame_index":1}"#, MissingField, "pipeline_run_id"),
            (br#"{"schema_version":"1.0","pipeline_run_id":"r","frame_index":"1"}"#, InvalidField, "frame_index"),
            (br#"{"schema_version":"1.0","pipeline_run_id":"r","frame_index":1.5}"#, InvalidField, "1.5"),
            (long.as_bytes(), InvalidField, "65 bytes"),
        ];
        for (body, wanted, text) in cases {
            let (found, detail) = reason(body);
            assert_eq!(found, wanted, "{}", String::from_utf8_lossy(body));
            assert!(detail.contains(text), "{detail} should name {text}");
            assert!(!detail.contains(char::is_control), "{detail:?} should be one line");
        }
    }

    #[test]
    fn what_is_cut_from_a_detail_is_said() {
        let long = format!(r#"{{"schema_version":"1.0","pipeline_run_id":["{}"],"frame_index":1}}"#, "x".repeat(90));
        assert_eq!(reason(long.as_bytes()).1, "found pipeline_run_id an array of 1 values, wanted a string");
        let long = "x".repeat(50);
        let detail = reason(long.as_bytes()).1;
        assert!(detail.starts_with(&format!("found message {:?}… of 50 bytes (", "x".repeat(40))), "{detail}");
    }

    #[test]
    fn the_schema_is_json_with_exactly_the_envelopes_fields() {
        let schema: Value = serde_json::from_str(PULSAR_SCHEMA_DEFINITION).unwrap();
        let names: Vec<_> = schema["fields"].as_array().unwrap().iter().map(|f| f["name"].clone()).collect();
        assert_eq!(names, ["schema_version", "pipeline_run_id", "frame_index", "payload"]);
        assert_eq!(schema["name"], PULSAR_SCHEMA_NAME);
    }
}

//! One record as one line of JSON; the format is described at [`crate::log`].

use crate::OutgoingMessage;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use memchr::memmem;
use rva_types::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

/// The length of `{"crc":"xxxxxxxx"`; the checksum covers everything behind it up to the newline.
const CRC_FIELD_BYTES: usize = 17;
const CRC_START: &[u8] = b"{\"crc\":\"";
/// The bytes between the last property and a record that stands in a line as it is.
const REC_START: &[u8] = b"},\"rec\":";

/// A record as it is read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub number: u64,
    pub publish_ts: Timestamp,
    pub properties: BTreeMap<String, String>,
    pub body: Bytes,
}

/// The reason why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("found crc {found:08x} over the line, wanted {wanted:08x} as its crc field says")]
    Crc { found: u32, wanted: u32 },
    #[error("found {start:?}, wanted a line that starts with a crc field")]
    NoCrc { start: String },
    #[error("found a line that can't be parsed ({reason}), wanted a record")]
    Shape { reason: String },
    #[error("found record {found}, wanted record {wanted}")]
    Number { found: u64, wanted: u64 },
    #[error("found {found} bytes without a newline, wanted a whole line")]
    Partial { found: usize },
}

#[derive(Deserialize)]
struct Fields<'a> {
    n: u64,
    #[serde(borrow)]
    ts: Cow<'a, str>,
    props: BTreeMap<String, String>,
    #[serde(borrow, default)]
    rec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    raw: Option<Cow<'a, str>>,
}

/// Returns the line of a record, newline included.
pub(crate) fn encode(number: u64, publish_ts: Timestamp, message: &OutgoingMessage) -> Vec<u8> {
    let mut line = Vec::with_capacity(message.body.len() + 256);
    line.extend_from_slice(b"{\"crc\":\"00000000\"");
    line.extend_from_slice(format!(",\"n\":{number},\"ts\":\"{publish_ts}\"").as_bytes());
    if let Some(event_time) = message.event_time {
        line.extend_from_slice(format!(",\"event_ts\":\"{event_time}\"").as_bytes());
    }
    line.extend_from_slice(b",\"props\":{");
    for (i, (name, value)) in message.properties.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // A `Value` prints itself as JSON text, escapes included.
        let (name, value) = (serde_json::Value::from(name.as_str()), serde_json::Value::from(value.as_str()));
        line.extend_from_slice(format!("{comma}{name}:{value}").as_bytes());
    }
    if is_json_on_one_line(&message.body) {
        line.extend_from_slice(REC_START);
        line.extend_from_slice(&message.body);
        line.push(b'}');
    } else {
        line.extend_from_slice(b"},\"raw\":\"");
        line.extend_from_slice(STANDARD.encode(&message.body).as_bytes());
        line.extend_from_slice(b"\"}");
    }
    seal(&mut line);
    line.push(b'\n');
    line
}

/// Writes the checksum of a line, which has no newline yet, into its field.
pub(crate) fn seal(line: &mut [u8]) {
    let crc = format!("{:08x}", crc32c::crc32c(&line[CRC_FIELD_BYTES..]));
    line[CRC_START.len()..CRC_START.len() + 8].copy_from_slice(crc.as_bytes());
}

/// Returns whether a body can stand in a line as it is and come back byte for byte. A bare null reads back as an absent
/// field.
fn is_json_on_one_line(body: &[u8]) -> bool {
    let (Some(first), Some(last)) = (body.first(), body.last()) else { return false };
    body != b"null"
        && !first.is_ascii_whitespace()
        && !last.is_ascii_whitespace()
        && !body.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        && std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Checks the checksum of a line (without its newline).
pub(crate) fn check(line: &[u8]) -> Result<(), Damage> {
    let wanted = line
        .strip_prefix(CRC_START)
        .and_then(|rest| std::str::from_utf8(rest.get(..8)?).ok())
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .filter(|_| line.get(CRC_FIELD_BYTES - 1) == Some(&b'"'))
        .ok_or_else(|| Damage::NoCrc { start: String::from_utf8_lossy(&line[..line.len().min(24)]).into_owned() })?;
    let found = crc32c::crc32c(&line[CRC_FIELD_BYTES..]);
    if found == wanted { Ok(()) } else { Err(Damage::Crc { found, wanted }) }
}

/// Reads a line (without its newline) back.
pub(crate) fn decode(line: &[u8]) -> Result<Record, Damage> {
    check(line)?;
    let shape = |reason: String| Damage::Shape { reason };
    let (head, rec) = split(line);
    let fields: Fields<'_> = serde_json::from_slice(&head).map_err(|error| shape(error.to_string()))?;
    let body = match (rec.or(fields.rec.map(|rec| rec.get().as_bytes())), fields.raw) {
        (Some(rec), None) => Bytes::copy_from_slice(rec),
        (None, Some(raw)) => STANDARD.decode(raw.as_bytes()).map_err(|error| shape(error.to_string()))?.into(),
        _ => return Err(shape("neither rec nor raw, or both".into())),
    };
    let publish_ts = Timestamp::parse(&fields.ts).map_err(|error| shape(error.to_string()))?;
    Ok(Record { number: fields.n, publish_ts, properties: fields.props, body })
}

/// Splits a line whose checksum holds into the fields before its `rec` and that field's value: the record was read when
/// it was written, and reading it again is the most of what a line costs. The whole line, where it isn't written so.
fn split(line: &[u8]) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    // Within a text each quotation mark is escaped, so the first of these bytes are those that end the properties.
    match memmem::find(line, REC_START).zip(line.strip_suffix(b"}")) {
        // A record that was blotted out leaves blanks behind.
        Some((at, whole)) if at + REC_START.len() < whole.len() => {
            ([&line[..at], b"}}"].concat().into(), Some(whole[at + REC_START.len()..].trim_ascii()))
        }
        _ => (line.into(), None),
    }
}

/// Reads the number and the time of a record from the start of its line, without its checksum: cheap, for retention.
pub(crate) fn peek(start: &[u8]) -> Option<(u64, Timestamp)> {
    let text = String::from_utf8_lossy(start);
    let rest = text.get(CRC_FIELD_BYTES..)?.strip_prefix(",\"n\":")?;
    let (number, rest) = rest.split_once(',')?;
    let ts = rest.strip_prefix("\"ts\":\"")?.split('"').next()?;
    Some((number.parse().ok()?, Timestamp::parse(ts).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> OutgoingMessage {
        OutgoingMessage {
            partition_key: "cam_01".into(),
            properties: BTreeMap::from([("store_id".into(), "a \"b\"\n".into()), ("x".into(), String::new())]),
            event_time: Some(Timestamp::from_micros(5)),
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn any_bytes_come_back_exactly_and_every_line_is_json() {
        let bodies: [&[u8]; 14] = [
            b"",
            b"{}",
            b"{\"a\" : 1.50,\"a\":[ ]}",
            b" {}",
            b"{} ",
            b"{\n}",
            b"{\r}",
            b"{} {}",
            b"\xff\x00",
            b"\"\xff\"",
            b"null",
            br#"{"rec":1,"crc":"00000000","n":9}"#,
            br#"{"a":{},"rec":{"b":{}},"rec":2}"#,
            br#"{"a":"},\"rec\":5"}"#,
        ];
        for body in bodies {
            let line = encode(17, Timestamp::from_micros(1), &message(body));
            let (newline, line) = line.split_last().unwrap();
            assert_eq!(*newline, b'\n');
            assert!(!line.contains(&b'\n'));
            let json: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(json["n"], 17);
            assert_eq!(json["event_ts"], "1970-01-01T00:00:00.000005+00:00");
            let record = decode(line).unwrap();
            assert_eq!(record.body, body, "{}", String::from_utf8_lossy(body));
            assert_eq!((record.number, record.publish_ts), (17, Timestamp::from_micros(1)));
            assert_eq!(record.properties, message(body).properties);
            assert_eq!(peek(&line[..80]), Some((17, Timestamp::from_micros(1))));
        }
    }

    #[test]
    fn json_stays_readable_and_other_bytes_become_base64() {
        let text = |body: &[u8]| String::from_utf8(encode(1, Timestamp::from_micros(0), &message(body))).unwrap();
        assert!(text(b"{\"a\":1}").ends_with(",\"rec\":{\"a\":1}}\n"));
        assert!(text(b"no json").ends_with(",\"raw\":\"bm8ganNvbg==\"}\n"));
    }

    #[test]
    fn the_checksum_is_crc32c_of_what_follows_the_crc_field() {
        let line = encode(1, Timestamp::from_micros(0), &message(b"1"));
        let line = &line[..line.len() - 1];
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(json["crc"], format!("{:08x}", crc32c::crc32c(&line[17..])));
        assert_eq!(line[17], b',');
    }

    #[test]
    fn any_single_changed_byte_is_found() {
        let line = encode(3, Timestamp::from_micros(0), &message(b"{\"a\":1}"));
        let line = &line[..line.len() - 1];
        for at in 0..line.len() {
            let mut bad = line.to_vec();
            bad[at] ^= 1;
            let same_crc = decode(&bad).is_ok();
            assert!(!same_crc, "byte {at}");
        }
        assert!(matches!(decode(b""), Err(Damage::NoCrc { .. })));
        assert!(matches!(decode(&[0; 4096]), Err(Damage::NoCrc { .. })));
    }
}

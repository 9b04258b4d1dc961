//! Paths of data files. Partition values are encoded as Java's writers encode them, so that no value leaves its folder.

use base64::{Engine, engine::general_purpose::STANDARD};
use iceberg::spec::{Literal, PartitionKey, PrimitiveLiteral, PrimitiveType, TableMetadata, Transform, Type};
use iceberg::writer::file_writer::location_generator::{FileNameGenerator, LocationGenerator};
use rva_types::Timestamp;
use std::fmt::Write;

/// Encodes as `java.net.URLEncoder` does in UTF-8: letters, digits and `.-*_` stay, a space becomes `+`, the rest
/// `%XX`.
pub(crate) fn url_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

const HOUR_MICROS: i64 = 3_600_000_000;

/// Returns a partition's value as Java's writers have it in paths: a month is `2026-01`, bytes are base64, nothing is
/// `null`.
fn shown(transform: Transform, kind: &Type, value: Option<&Literal>) -> String {
    let Some(Literal::Primitive(value)) = value else { return "null".to_owned() };
    let (whole, is_time) = match value {
        PrimitiveLiteral::Int(value) => (i64::from(*value), false),
        PrimitiveLiteral::Long(value) => {
            (*value, matches!(kind, Type::Primitive(PrimitiveType::Timestamptz | PrimitiveType::Timestamp)))
        }
        PrimitiveLiteral::String(text) => return text.clone(),
        PrimitiveLiteral::Binary(bytes) => return STANDARD.encode(bytes),
        _ => return transform.to_human_string(kind, Some(&Literal::Primitive(value.clone()))),
    };
    let hour = |hours: i64| Timestamp::from_micros(hours.saturating_mul(HOUR_MICROS)).to_string();
    match transform {
        Transform::Year => format!("{:04}", 1970 + whole),
        Transform::Month => format!("{:04}-{:02}", 1970 + whole.div_euclid(12), whole.rem_euclid(12) + 1),
        Transform::Day => hour(whole.saturating_mul(24)).chars().take(10).collect(),
        Transform::Hour => hour(whole).replace('T', "-").chars().take(13).collect(),
        _ if is_time => java_time(Timestamp::from_micros(whole)),
        _ => whole.to_string(),
    }
}

/// Returns a time as `OffsetDateTime.toString()` does: as many groups of three digits as it takes, no seconds where
/// there are none.
fn java_time(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split('+').next().unwrap_or_default();
    let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, ""));
    match (fraction.get(..3).unwrap_or_default(), fraction.get(3..).unwrap_or_default()) {
        ("000", "000") => format!("{}Z", seconds.strip_suffix(":00").unwrap_or(seconds)),
        (millis, "000") => format!("{seconds}.{millis}Z"),
        (millis, micros) => format!("{seconds}.{millis}{micros}Z"),
    }
}

/// A generator of locations `<data folder>/<field>=<value>/…/<file>`, names and values encoded.
#[derive(Debug, Clone)]
pub(crate) struct EncodedLocations {
    data: String,
}

impl EncodedLocations {
    pub(crate) fn of(metadata: &TableMetadata) -> Self {
        let configured = metadata.properties().get("write.data.path");
        let data = configured.cloned().unwrap_or_else(|| format!("{}/data", metadata.location()));
        Self { data: data.trim_end_matches('/').to_owned() }
    }
}

impl LocationGenerator for EncodedLocations {
    fn generate_location(&self, partition_key: Option<&PartitionKey>, file_name: &str) -> String {
        let mut location = self.data.clone();
        if let Some(key) = partition_key.filter(|key| !key.spec().is_unpartitioned())
            && let Ok(kinds) = key.spec().partition_type(key.schema())
        {
            for (at, (field, kind)) in key.spec().fields().iter().zip(kinds.fields()).enumerate() {
                let value = shown(field.transform, &kind.field_type, key.data()[at].as_ref());
                let _ = write!(location, "/{}={}", url_encoded(&field.name), url_encoded(&value));
            }
        }
        location.push('/');
        location.push_str(file_name);
        location
    }
}

/// A generator of names that are never used twice: opening an existing file for writing would replace it.
#[derive(Debug, Clone)]
pub(crate) struct UniqueNames;

impl FileNameGenerator for UniqueNames {
    fn generate_file_name(&self) -> String {
        format!("{}.parquet", uuid::Uuid::now_v7())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_encoded_as_java_does() {
        for (value, wanted) in [
            ("store_01", "store_01"),
            ("../x", "..%2Fx"),
            ("a b*c", "a+b*c"),
            ("é~", "%C3%A9%7E"),
            ("50%=+", "50%25%3D%2B"),
        ] {
            assert_eq!(url_encoded(value), wanted);
        }
    }

    #[test]
    fn values_are_shown_as_java_shows_them() {
        let time = Type::Primitive(PrimitiveType::Timestamptz);
        let int = Type::Primitive(PrimitiveType::Int);
        let shown_long = |micros: i64| shown(Transform::Identity, &time, Some(&Literal::long(micros)));
        let shown_int = |transform, value| shown(transform, &int, Some(&Literal::int(value)));
        assert_eq!(shown(Transform::Identity, &int, None), "null");
        assert_eq!(shown_long(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
        assert_eq!(shown_long(1_700_000_000_120_000), "2023-11-14T22:13:20.120Z");
        assert_eq!(shown_long(1_700_000_040_000_000), "2023-11-14T22:14Z");
        assert_eq!(shown_int(Transform::Year, 53), "2023");
        assert_eq!(shown_int(Transform::Month, 646), "2023-11");
        assert_eq!(shown_int(Transform::Month, -1), "1969-12");
        assert_eq!(shown_int(Transform::Day, 19_675), "2023-11-14");
        assert_eq!(shown_int(Transform::Hour, 472_222), "2023-11-14-22");
        assert_eq!(shown_int(Transform::Bucket(8), 5), "5");
        let bytes = Literal::binary(vec![0xff, 0xfe]);
        assert_eq!(shown(Transform::Truncate(2), &Type::Primitive(PrimitiveType::Binary), Some(&bytes)), "//4=");
    }

    proptest! {
        #[test]
        fn an_encoded_value_is_one_plain_path_component(value in any::<String>()) {
            let encoded = url_encoded(&value);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\'));
            let spaces = encoded.replace('+', " ");
            let mut decoded = Vec::new();
            let mut bytes = spaces.bytes();
            while let Some(byte) = bytes.next() {
                if byte == b'%' {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                } else {
                    decoded.push(byte);
                }
            }
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), value);
        }
    }
}

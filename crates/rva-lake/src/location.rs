//! Paths of data files: partition values are encoded as Java's writers encode them, so that no value leaves its folder.

use iceberg::spec::{PartitionKey, TableMetadata};
use iceberg::writer::file_writer::location_generator::{FileNameGenerator, LocationGenerator};
use std::fmt::Write;

/// `java.net.URLEncoder` in UTF-8: letters, digits and `.-*_` stay, a space becomes `+`, the rest `%XX`.
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

/// `<data folder>/<field>=<value>/…/<file>`, names and values encoded.
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
        if let Some(key) = partition_key
            && let Ok(kinds) = key.spec().partition_type(key.schema())
        {
            for (at, (field, kind)) in key.spec().fields().iter().zip(kinds.fields()).enumerate() {
                let value = field.transform.to_human_string(&kind.field_type, key.data()[at].as_ref());
                let _ = write!(location, "/{}={}", url_encoded(&field.name), url_encoded(&value));
            }
        }
        location.push('/');
        location.push_str(file_name);
        location
    }
}

/// Names that are never used twice: opening an existing file for writing would replace it.
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

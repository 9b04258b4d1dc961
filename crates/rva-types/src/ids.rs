//! Identifiers, which are 1 to 64 bytes of UTF-8 without control characters.

use std::{collections::HashSet, fmt, sync::Arc};

/// The longest identifier, in bytes.
const ID_BYTES_MAX: usize = 64;

/// An error that says why a text is not an identifier: the kind, what was found and what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A text without any bytes.
    #[error("{kind} is empty, wanted 1 to {ID_BYTES_MAX} bytes")]
    Empty {
        /// The kind of identifier.
        kind: &'static str,
    },
    /// A text of too many bytes.
    #[error("{kind} has {found} bytes, wanted at most {ID_BYTES_MAX}: {start:?}…")]
    TooLong {
        /// The kind of identifier.
        kind: &'static str,
        /// The length in bytes.
        found: usize,
        /// The first 16 characters, to recognise it by.
        start: String,
    },
    /// A text with a control character, which would break logs and paths.
    #[error("{kind} holds the control character {found:?} at byte {at}, wanted none")]
    Control {
        /// The kind of identifier.
        kind: &'static str,
        /// The character.
        found: char,
        /// Its byte offset in the text.
        at: usize,
    },
    /// A text with a character that this kind doesn't take.
    #[error("{kind} holds {found:?}, wanted {wanted}")]
    Character {
        /// The kind of identifier.
        kind: &'static str,
        /// The character.
        found: char,
        /// The characters that it takes.
        wanted: &'static str,
    },
}

fn check(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong { kind, found: text.len(), start: text.chars().take(16).collect() });
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, found)) => Err(IdError::Control { kind, found, at }),
        None => Ok(()),
    }
}

/// Texts that were checked once: identifiers come again with every frame.
#[derive(Debug, Default)]
pub(crate) struct KnownIds(HashSet<Arc<str>>);

impl KnownIds {
    /// The most identifiers kept, more than the runs and cameras that are read at the same time; beyond it all are
    /// forgotten.
    const MAX: usize = 4096;

    /// Returns an identifier that shares its text with those before it.
    pub(crate) fn share<T: Identifier>(&mut self, text: &str) -> Result<T, IdError> {
        // All kinds are checked alike.
        if let Some(known) = self.0.get(text) {
            return Ok(T::of_checked(Arc::clone(known)));
        }
        check(T::KIND, text)?;
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        Ok(T::of_checked(text))
    }
}

/// One of the types of identifiers below.
pub(crate) trait Identifier {
    const KIND: &'static str;

    fn of_checked(text: Arc<str>) -> Self;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes an identifier of it.
            ///
            /// # Errors
            /// Returns an error for a text that isn't 1 to 64 bytes long, or has a control character.
            pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, IdError> {
                let text = text.into();
                check($kind, &text)?;
                Ok(Self(text))
            }

            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Identifier for $name {
            const KIND: &'static str = $kind;

            fn of_checked(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

id!(
    /// A shop. It is also the table partition of its rows.
    StoreId,
    "store id"
);
id!(
    /// A camera, unique within its store; the log has one partition for each.
    CameraId,
    "camera id"
);
id!(
    /// One of several streams of a camera.
    StreamId,
    "stream id"
);
id!(
    /// One opening of a source. Ours are UUIDv7 as 32 hex digits, so they sort by time; foreign ones may be any text.
    RunId,
    "pipeline run id"
);

impl RunId {
    /// Makes the run id of a UUID, as 32 lower-case hex digits.
    pub fn from_uuid(id: uuid::Uuid) -> Self {
        Self(id.simple().to_string().into())
    }
}

/// The place where a frame was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceIdentity {
    /// The shop's id.
    pub store_id: StoreId,
    /// The camera's id.
    pub camera_id: CameraId,
    /// The id of the camera's stream.
    pub stream_id: StreamId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_1_to_64_bytes() {
        assert!(StoreId::parse("s").is_ok());
        assert!(StoreId::parse("../x").is_ok(), "dots and slashes are legal: paths encode them");
        assert!(StoreId::parse("é".repeat(32)).is_ok());
        let error = StoreId::parse("é".repeat(33)).unwrap_err();
        assert_eq!(error.to_string(), "store id has 66 bytes, wanted at most 64: \"éééééééééééééééé\"…");
    }

    #[test]
    fn empty_ids_and_control_characters_are_refused() {
        assert_eq!(CameraId::parse("").unwrap_err().to_string(), "camera id is empty, wanted 1 to 64 bytes");
        let error = RunId::parse("a\nb").unwrap_err().to_string();
        assert_eq!(error, "pipeline run id holds the control character '\\n' at byte 1, wanted none");
    }

    #[test]
    fn a_run_id_of_a_uuid_has_32_hex_digits() {
        let id = RunId::from_uuid(uuid::Uuid::from_u128(0xabc));
        assert_eq!(id.as_str(), "00000000000000000000000000000abc");
    }
}

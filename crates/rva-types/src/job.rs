//! The name under which a job's positions stand in a table.

use crate::IdError;
use std::{borrow::Cow, fmt, str::FromStr};

/// The longest name, in bytes.
const BYTES_MAX: usize = 64;

/// Returns whether a name may hold the character.
const fn takes(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The name of a job: 1 to 64 letters of ASCII, digits, `-` and `_`. It is part of the keys of a snapshot's summary
/// (`rva.<job>.offsets`), so a dot would make it another job's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(Cow<'static, str>);

impl JobName {
    /// Makes a name of a constant, checked when it is compiled.
    ///
    /// # Panics
    /// Panics for a text that is no name.
    pub const fn of_static(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= BYTES_MAX, "wanted 1 to 64 bytes");
        let mut at = 0;
        while at < bytes.len() {
            assert!(takes(bytes[at]), "wanted letters, digits, - and _");
            at += 1;
        }
        Self(Cow::Borrowed(text))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobName {
    type Err = IdError;

    /// Checks the text and makes a name of it.
    ///
    /// # Errors
    /// Returns an error for a text that isn't 1 to 64 bytes long, or has other characters.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let kind = "job name";
        let start = || text.chars().take(16).collect();
        match text.chars().find(|c| !u8::try_from(*c).is_ok_and(takes)) {
            _ if text.is_empty() => Err(IdError::Empty { kind }),
            _ if text.len() > BYTES_MAX => Err(IdError::TooLong { kind, found: text.len(), start: start() }),
            Some(found) => Err(IdError::Character { kind, found, wanted: "letters, digits, - and _" }),
            None => Ok(Self(Cow::Owned(text.to_owned()))),
        }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_another_jobs_key_is_refused() {
        let error = |text: &str| text.parse::<JobName>().unwrap_err().to_string();
        assert_eq!("shop-2_b".parse::<JobName>().unwrap().as_str(), "shop-2_b");
        assert_eq!(error("a b"), "job name holds ' ', wanted letters, digits, - and _");
        assert_eq!(error("ingest.offsets"), "job name holds '.', wanted letters, digits, - and _");
        assert_eq!(error("é"), "job name holds 'é', wanted letters, digits, - and _");
        assert_eq!(error(""), "job name is empty, wanted 1 to 64 bytes");
        assert_eq!(error(&"j".repeat(65)), "job name has 65 bytes, wanted at most 64: \"jjjjjjjjjjjjjjjj\"…");
    }
}

//! Reasons why a message can't be a row.

use std::fmt;

/// The closed set of reasons in `bronze_dead_letters.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectionReason {
    /// The message has no bytes.
    Empty,
    /// The message isn't UTF-8.
    InvalidUtf8,
    /// The message, or its payload, isn't JSON.
    InvalidJson,
    /// The message is JSON, but neither an envelope nor a frame record.
    WrongShape,
    /// A field that must be there is absent or null.
    MissingField,
    /// A field is of another type, or its value is out of its range.
    InvalidField,
    /// Neither the properties nor the payload name store and camera.
    MissingSource,
    /// The envelope and its payload disagree on run or frame index.
    EnvelopeMismatch,
    /// An entry of the log has metadata that can't be read, or another checksum.
    BrokenEntry,
    /// A batch contradicts its own counts and lengths.
    BrokenBatch,
    /// Compressed bytes don't unpack to what was announced.
    BrokenCompression,
    /// The message is compressed in a way that nobody knows.
    UnknownCompression,
    /// The message unpacks to more than the bound.
    TooLarge,
    /// The message was encrypted by its producer.
    Encrypted,
    /// The chunks of a message can't be put together.
    IncompleteChunks,
    /// The record's `capture_ts` is no RFC 3339 time, or an absurd one.
    InvalidCaptureTs,
    /// The table holds another payload under the same key.
    KeyConflict,
}

impl RejectionReason {
    /// All reasons, in the order of declaration.
    pub const ALL: [Self; 17] = [
        Self::Empty,
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::WrongShape,
        Self::MissingField,
        Self::InvalidField,
        Self::MissingSource,
        Self::EnvelopeMismatch,
        Self::BrokenEntry,
        Self::BrokenBatch,
        Self::BrokenCompression,
        Self::UnknownCompression,
        Self::TooLarge,
        Self::Encrypted,
        Self::IncompleteChunks,
        Self::InvalidCaptureTs,
        Self::KeyConflict,
    ];

    /// Returns the code that the table holds.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::WrongShape => "wrong_shape",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::MissingSource => "missing_source",
            Self::EnvelopeMismatch => "envelope_mismatch",
            Self::BrokenEntry => "broken_entry",
            Self::BrokenBatch => "broken_batch",
            Self::BrokenCompression => "broken_compression",
            Self::UnknownCompression => "unknown_compression",
            Self::TooLarge => "too_large",
            Self::Encrypted => "encrypted",
            Self::IncompleteChunks => "incomplete_chunks",
            Self::InvalidCaptureTs => "invalid_capture_ts",
            Self::KeyConflict => "key_conflict",
        }
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A message that can't be a row: a code, and a text that names found and wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// The code of the reason.
    pub reason: RejectionReason,
    /// A line that says what was found and what was wanted.
    pub detail: String,
}

impl Rejection {
    /// Makes a rejection of a reason and a text, which becomes one line: see [`one_line`].
    pub fn new(reason: RejectionReason, detail: impl AsRef<str>) -> Self {
        Self { reason, detail: one_line(detail.as_ref()) }
    }
}

/// The longest detail, in characters: a table of details stays readable whatever was sent.
const DETAIL_CHARS_MAX: usize = 512;

/// Makes one line of a text that may hold what somebody else sent: characters that steer a terminal or begin a new
/// line are written as escapes (`\n`, `\u{202e}`), and beyond 512 characters it is cut with `…`.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut count = 0;
    for character in text.chars() {
        if count >= DETAIL_CHARS_MAX {
            line.push('…');
            break;
        }
        if steers(character) {
            let before = line.len();
            line.extend(character.escape_default());
            count += line.len() - before;
        } else {
            line.push(character);
            count += 1;
        }
    }
    line
}

/// Returns whether a character moves the cursor, ends a line or turns the direction of a text.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_line_without_characters_that_steer() {
        let rejection = Rejection::new(RejectionReason::InvalidJson, "a\nb\tc\u{1b}[31m\u{85}\u{2028}é\u{202e}x");
        assert_eq!(rejection.detail, "a\\nb\\tc\\u{1b}[31m\\u{85}\\u{2028}é\\u{202e}x");
    }

    #[test]
    fn a_long_detail_is_cut_and_says_so() {
        let line = one_line(&"é".repeat(1000));
        assert_eq!((line.chars().count(), line.ends_with("é…")), (513, true));
        assert_eq!(one_line(&"é".repeat(512)), "é".repeat(512));
    }

    #[test]
    fn every_reason_is_listed_with_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<_> = RejectionReason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), RejectionReason::ALL.len());
        assert!(RejectionReason::ALL.is_sorted(), "in the order of declaration");
    }
}

//! Why a message can't be a row.

use std::fmt;

/// The closed set of reasons in `bronze_dead_letters.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectionReason {
    /// No bytes.
    Empty,
    /// Not UTF-8.
    InvalidUtf8,
    /// Not JSON.
    InvalidJson,
    /// JSON, but neither an envelope nor a frame record.
    WrongShape,
    /// A field that must be there is absent or null.
    MissingField,
    /// A field of another type, or a value out of its range.
    InvalidField,
    /// Neither properties nor payload name store and camera.
    MissingSource,
    /// Envelope and payload disagree on run or frame index.
    EnvelopeMismatch,
    /// An entry of the log whose metadata can't be read, or whose checksum is another.
    BrokenEntry,
    /// A batch that contradicts its own counts and lengths.
    BrokenBatch,
    /// Compressed bytes that don't unpack to what was announced.
    BrokenCompression,
    /// A compression that nobody knows.
    UnknownCompression,
    /// Unpacks to more than the bound.
    TooLarge,
    /// Encrypted by its producer.
    Encrypted,
    /// A message in chunks that can't be put together.
    IncompleteChunks,
}

impl RejectionReason {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 15] = [
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
    ];

    /// The code that the table holds.
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
        }
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A message that can't be a row: a code and a text that names found and wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// The code.
    pub reason: RejectionReason,
    /// What was found and what was wanted.
    pub detail: String,
}

impl Rejection {
    /// Of a reason and a text.
    pub fn new(reason: RejectionReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

//! What a file is, by its first bytes, to say what was found where a video was wanted.

use std::{
    fs::File,
    io::{self, Read},
};

/// Bytes that are looked at.
const HEAD_BYTES: usize = 16;

/// The beginning of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    bytes: Vec<u8>,
    length: u64,
}

impl Head {
    /// Reads the beginning of a regular file.
    pub(super) fn read(path: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        file.take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(Self { bytes, length })
    }

    /// The name of the container format, where it is a known one.
    pub(super) fn container(&self) -> Option<&'static str> {
        match self.bytes.as_slice() {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("MP4"),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => Some("AVI"),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("Matroska"),
            [b'F', b'L', b'V', ..] => Some("FLV"),
            _ => None,
        }
    }

    /// Whether its number of frames is a guess from its length.
    pub(super) fn has_estimated_count(&self) -> bool {
        !matches!(self.container(), Some("MP4" | "AVI"))
    }

    /// What was found: `an MP4 file of 262 bytes`, `15 bytes of text that start with "hello"`.
    pub(super) fn describe(&self) -> String {
        if self.length == 0 {
            return "an empty file of 0 bytes".to_owned();
        }
        if let Some(container) = self.container() {
            return format!(
                "{} {container} file of {} bytes",
                if container == "Matroska" { "a" } else { "an" },
                self.length
            );
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
                format!("{} bytes of text that start with {text:?}", self.length)
            }
            _ => format!("{} bytes that start with {:02x?}", self.length, &self.bytes[..self.bytes.len().min(8)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(bytes: &[u8]) -> String {
        Head { bytes: bytes.to_vec(), length: bytes.len() as u64 }.describe()
    }

    #[test]
    fn files_are_described_by_what_they_are() {
        assert_eq!(described(b""), "an empty file of 0 bytes");
        assert_eq!(described(b"hello\n"), "6 bytes of text that start with \"hello\\n\"");
        assert_eq!(described(b"\0\0\0 ftypisom"), "an MP4 file of 12 bytes");
        assert_eq!(described(b"\x1a\x45\xdf\xa3"), "a Matroska file of 4 bytes");
        assert_eq!(described(&[1, 2, 255]), "3 bytes that start with [01, 02, ff]");
    }
}

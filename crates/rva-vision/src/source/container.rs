//! The kind of a file, by its first bytes, to say what was found where a video was wanted; and whether its outermost
//! boxes reach beyond its end.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// The number of bytes that are looked at.
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

    /// Returns the name of the container format, where it is a known one.
    pub(super) fn container(&self) -> Option<&'static str> {
        match self.bytes.as_slice() {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("MP4"),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => Some("AVI"),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("Matroska"),
            [b'F', b'L', b'V', ..] => Some("FLV"),
            _ => None,
        }
    }

    /// Returns where the container ends beyond the file; `None` where it doesn't, or doesn't know.
    pub(super) fn cut_off(&self, path: &str) -> Option<String> {
        if let Some(packet) = ts_packet(path) {
            let odd = self.length % packet;
            return (odd != 0).then(|| format!("its last packet has {odd} of {packet} bytes"));
        }
        let end = match self.container()? {
            "MP4" => mp4_end(path, self.length).ok()?,
            "AVI" => {
                let size = u32::from_le_bytes(self.bytes.get(4..8)?.try_into().ok()?);
                // A recorder that was killed leaves 0 or all ones; sizes are padded to even numbers.
                (![0, u32::MAX].contains(&size)).then_some(u64::from(size) + 8)
            }
            _ => None,
        }?;
        (end > self.length).then(|| format!("it says that it has {end} bytes, and has {}", self.length))
    }

    /// Returns the kind in words: `an MP4 file of 262 bytes`, `15 bytes of text that start with "hello"`.
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

/// Returns the bytes of a packet of an MPEG transport stream, where it is one: each begins with 47, behind four bytes
/// of time on discs.
fn ts_packet(path: &str) -> Option<u64> {
    const SYNC: u8 = 0x47;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(1024).read_to_end(&mut bytes).ok()?;
    let is_sync = |first: usize, step: usize| (0..4).all(|at| bytes.get(first + at * step) == Some(&SYNC));
    match () {
        () if is_sync(0, 188) => Some(188),
        () if is_sync(4, 192) => Some(192),
        () => None,
    }
}

/// Returns the furthest end of an MP4's outermost boxes that hold pictures or say where they are.
fn mp4_end(path: &str, length: u64) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let (mut at, mut end) = (0, None);
    while at + 8 <= length {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        let wide = if at + 16 <= length { 16 } else { 8 };
        file.read_exact(&mut head[..wide])?;
        let short = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let size = match short {
            // To the end of the file.
            0 => break,
            1 => u64::from_be_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]),
            short => short.into(),
        };
        if size < 8 {
            break;
        }
        at = at.saturating_add(size);
        if matches!(&head[4..8], b"mdat" | b"moof" | b"moov") {
            end = Some(at);
        }
    }
    Ok(end)
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

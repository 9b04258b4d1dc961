//! The way from a file's bytes to UTF-8: packing is taken off, and UTF-16 is turned round.
//!
//! A file's first bytes say what it is, never its name.

use std::io::{self, BufRead, BufReader, Read};

/// The number of bytes that are read at a time.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// The layers of packing that are taken off.
const LAYERS_MAX: usize = 2;

/// The largest window (as a power of 2) that zstd takes without being told to: 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The unpacked bytes that nobody asks about. Beyond them a packed byte may give [`RATIO_MAX`] unpacked ones.
const UNPACKED_FREE_BYTES: u64 = 1 << 30;

/// The most that a file may be packed: records of empty frames shrink about a hundredfold; a file that shrinks more is
/// made to fill a disk.
const RATIO_MAX: u64 = 500;

/// The bytes that are needed to tell what a file is.
const HEAD_BYTES: usize = 512;

const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A reader whose first bytes were looked at.
pub(super) type Peeked = io::Chain<io::Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// Reads enough to tell what a file is: up to `enough` bytes, or as much as a pipe gives that ends in a whole line.
pub(super) fn peek(mut reader: Box<dyn Read + Send>, enough: usize) -> io::Result<(Vec<u8>, Peeked)> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while head.len() < enough && !(head.len() >= 16 && head.contains(&b'\n')) {
        let wanted = buffer.len().min(enough - head.len());
        match reader.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = io::Cursor::new(head.clone()).chain(reader);
    Ok((head, whole))
}

/// Takes packing and encoding off: the returned reader gives UTF-8, as far as the file is text at all.
pub(super) fn plain(reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut reader = reader;
    for _ in 0..LAYERS_MAX {
        let (head, whole) = peek(reader, HEAD_BYTES)?;
        reader = if head.starts_with(&GZIP) {
            unpacked("gzip", whole, |packed| Ok(Box::new(flate2::bufread::MultiGzDecoder::new(packed))))?
        } else if head.starts_with(&ZSTD) || is_skippable_zstd(&head) {
            unpacked("zstd", whole, |packed| {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(Box::new(decoder))
            })?
        } else {
            reader = Box::new(whole);
            break;
        };
    }
    let (head, whole) = peek(reader, HEAD_BYTES)?;
    Ok(match utf16(&head) {
        Some(is_big_endian) => Box::new(Utf16::new(whole, is_big_endian)),
        None => Box::new(whole),
    })
}

/// Returns whether a text begins with a frame that holds nothing to unpack, which tools put before the first one
/// (`pzstd`).
fn is_skippable_zstd(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

type Packed = BufReader<Counted>;

fn unpacked(
    format: &'static str,
    whole: Peeked,
    open: impl FnOnce(Packed) -> io::Result<Box<dyn Read + Send>>,
) -> io::Result<Box<dyn Read + Send>> {
    let packed_bytes = std::sync::Arc::default();
    let counted = Counted { inner: whole, bytes: std::sync::Arc::clone(&packed_bytes) };
    let reader = open(BufReader::with_capacity(BUFFER_BYTES, counted))?;
    Ok(Box::new(Unpacking { format, reader, packed_bytes, bytes: 0 }))
}

struct Counted {
    inner: Peeked,
    bytes: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(read)
    }
}

/// A reader that unpacks, names the format in errors, and ends where a file gives much more than it can hold.
struct Unpacking {
    format: &'static str,
    reader: Box<dyn Read + Send>,
    packed_bytes: std::sync::Arc<std::sync::atomic::AtomicU64>,
    bytes: u64,
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let format = self.format;
        let read = self.reader.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), format!("the {format} data breaks off: found its end, wanted more"))
            }
            kind => io::Error::new(kind, format!("the {format} data is damaged: {error}")),
        })?;
        self.bytes += read as u64;
        let packed = self.packed_bytes.load(std::sync::atomic::Ordering::Relaxed);
        if self.bytes > UNPACKED_FREE_BYTES.max(packed.saturating_mul(RATIO_MAX)) {
            let text = format!(
                "found {} bytes unpacked from {packed} of {format}, wanted at most {RATIO_MAX} times as many",
                self.bytes
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(read)
    }
}

/// Returns whether a text is UTF-16, and whether its bytes come in the order of the network: by its mark, or because it
/// begins as JSON does in it.
fn utf16(head: &[u8]) -> Option<bool> {
    match head {
        [0xff, 0xfe, 0, 0, ..] => None,
        [0xff, 0xfe, ..] => Some(false),
        [0xfe, 0xff, ..] => Some(true),
        [b'{' | b'[', 0, next, 0, ..] if *next != 0 => Some(false),
        [0, b'{' | b'[', 0, next, ..] if *next != 0 => Some(true),
        _ => None,
    }
}

/// A reader of UTF-16 that gives UTF-8. Half a surrogate becomes bytes that are no UTF-8, so that its line is known to
/// be damaged.
struct Utf16 {
    reader: BufReader<Peeked>,
    is_big_endian: bool,
    /// The first half of a pair.
    high: Option<u16>,
    out: Vec<u8>,
    taken: usize,
}

impl Utf16 {
    fn new(whole: Peeked, is_big_endian: bool) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, whole);
        Self { reader, is_big_endian, high: None, out: Vec::new(), taken: 0 }
    }

    fn push(&mut self, unit: u16) {
        if let Some(high) = self.high.take() {
            if let Some(Ok(character)) = char::decode_utf16([high, unit]).next() {
                return self.push_char(character);
            }
            self.out.push(0xff);
        }
        match char::decode_utf16([unit]).next() {
            Some(Ok(character)) => self.push_char(character),
            _ if (0xd800..0xdc00).contains(&unit) => self.high = Some(unit),
            _ => self.out.push(0xff),
        }
    }

    fn push_char(&mut self, character: char) {
        self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Turns the bytes that the buffer holds. Returns false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.out.clear();
        self.taken = 0;
        let buffer = self.reader.fill_buf()?;
        let whole = buffer.len() & !1;
        let from = if self.is_big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        let units: Vec<u16> = buffer[..whole].chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        if whole > 0 {
            self.reader.consume(whole);
            units.into_iter().for_each(|unit| self.push(unit));
            return Ok(true);
        }
        // Half a unit: the rest of it is in the next buffer, or the text ends in the middle.
        let mut pair = Vec::new();
        while pair.len() < 2 {
            let mut byte = [0];
            match self.reader.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => pair.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match pair.as_slice() {
            [one, two] => self.push(from([*one, *two])),
            half => {
                if self.high.take().is_some() || !half.is_empty() {
                    self.out.push(0xff);
                }
                return Ok(!self.out.is_empty());
            }
        }
        Ok(true)
    }
}

impl Read for Utf16 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.out.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let part = buffer.len().min(self.out.len() - self.taken);
        buffer[..part].copy_from_slice(&self.out[self.taken..self.taken + part]);
        self.taken += part;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a slow pipe does.
    struct Drops(io::Cursor<Vec<u8>>);

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        plain(Box::new(io::Cursor::new(bytes.to_vec())))?.read_to_end(&mut whole)?;
        let mut dropped = Vec::new();
        plain(Box::new(Drops(io::Cursor::new(bytes.to_vec()))))?.read_to_end(&mut dropped)?;
        assert_eq!(whole, dropped, "however a reader gives its bytes");
        Ok(whole)
    }

    fn bytes_of(units: &[u16], order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        units.iter().flat_map(|unit| order(*unit)).collect()
    }

    #[test]
    fn utf_16_of_both_orders_is_read_with_and_without_its_mark() {
        let text = "{\"a\":\"é😀\"}\n{\"b\":1}\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let marked: Vec<u16> = std::iter::once(0xfeff).chain(units.iter().copied()).collect();
        for order in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            assert_eq!(read(&bytes_of(&units, order)).unwrap(), text.as_bytes());
            assert_eq!(read(&bytes_of(&marked, order)).unwrap(), format!("\u{feff}{text}").as_bytes());
        }
    }

    #[test]
    fn damaged_utf_16_becomes_bytes_that_are_no_text() {
        let mut bytes = bytes_of(&[0xfeff, b'a'.into(), 0xd83d, b'b'.into(), 0xde00, b'c'.into()], u16::to_le_bytes);
        bytes.push(b'x');
        assert_eq!(read(&bytes).unwrap(), b"\xef\xbb\xbfa\xffb\xffc\xff");
        let bytes = bytes_of(&[0xfeff, 0xd83d], u16::to_le_bytes);
        assert_eq!(read(&bytes).unwrap(), b"\xef\xbb\xbf\xff");
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
        packed
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        // With a checksum, as the command of that name writes one.
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_files_are_read_whatever_they_are_called_and_in_several_parts() {
        let text: Vec<u8> = (0..20_000).flat_map(|n| format!("{{\"n\":{n}}}\n").into_bytes()).collect();
        let twice = [text.clone(), text.clone()].concat();
        for pack in [gzip, zstd] {
            assert!(read(&pack(&text)).unwrap() == text);
            assert!(read(&[pack(&text), pack(&text)].concat()).unwrap() == twice, "several members or frames");
            assert!(read(&gzip(&pack(&text))).unwrap() == text, "packed twice");
        }
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&text)].concat();
        assert!(read(&skippable).unwrap() == text);
    }

    #[test]
    fn a_packed_file_that_breaks_off_or_is_damaged_is_told() {
        let text: Vec<u8> =
            (0..20_000u32).flat_map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
        for (pack, format) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
            let packed = pack(&text);
            for end in [20, packed.len() / 2, packed.len() - 1] {
                let error = read(&packed[..end]).map(|read| read.len()).unwrap_err().to_string();
                assert!(error.contains(format) && error.contains("breaks off"), "{end}: {error}");
            }
            let mut damaged = packed.clone();
            damaged[packed.len() / 2..][..8].fill(0xaa);
            let error = read(&damaged).map(|read| read.len()).unwrap_err().to_string();
            assert!(error.contains(format), "{error}");
        }
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_it_can_hold_is_left() {
        struct Zeros(u64);
        impl Read for Zeros {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let part = buffer.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
                buffer[..part].fill(b'\n');
                self.0 -= part as u64;
                Ok(part)
            }
        }
        let bomb = zstd::stream::encode_all(Zeros(3 << 30), 1).unwrap();
        let mut reader = plain(Box::new(io::Cursor::new(bomb))).unwrap();
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err().to_string();
        assert!(error.contains("bytes unpacked from"), "{error}");
    }
}

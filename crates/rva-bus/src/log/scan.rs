//! Reading of a segment line by line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// The longest line that a reader takes into memory, in bytes; the writer refuses records that would need more.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 256 << 10;

/// The lines of a part of a segment.
pub(crate) struct Lines {
    reader: BufReader<io::Take<File>>,
    line: Vec<u8>,
    offset: u64,
}

/// One line of a segment.
pub(crate) struct Line<'a> {
    /// The offset of its first byte in the segment.
    pub offset: u64,
    /// The offset behind it.
    pub end: u64,
    /// The bytes without the newline.
    pub bytes: &'a [u8],
    /// Set where its newline was there.
    pub whole: bool,
}

impl Lines {
    /// Opens the lines between two offsets.
    pub(super) fn open(path: &Path, start: u64, end: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let length = end.saturating_sub(start);
        let capacity = READ_BYTES.min(usize::try_from(length).unwrap_or(READ_BYTES)).max(512);
        Ok(Self { reader: BufReader::with_capacity(capacity, file.take(length)), line: Vec::new(), offset: start })
    }

    /// Returns the next line; a line beyond [`LINE_BYTES_MAX`] comes as one that isn't whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let whole = self.line.last() == Some(&b'\n');
        if whole {
            self.line.pop();
        }
        let offset = self.offset;
        self.offset += read as u64;
        Ok(Some(Line { offset, end: self.offset, bytes: &self.line, whole }))
    }
}

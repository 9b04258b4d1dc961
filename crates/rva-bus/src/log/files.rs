//! The calls that write a segment, as a seam: tests put a full or failing disk behind it.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// An open segment that is only ever appended to.
pub trait SegmentFile: Send + Sync {
    /// Writes some of `bytes` at the end and returns how many.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Returns when everything written is on the disk.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// Opens segments.
pub trait SegmentFiles: Send + Sync {
    /// Opens a segment for appending, made if it is missing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl SegmentFiles for OsFiles {
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(super::folder::own_file().append(true).create(true).open(path)?))
    }
}

impl SegmentFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

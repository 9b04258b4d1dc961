//! One partition, as its writer sees it.

use super::{
    files::{SegmentFile, SegmentFiles},
    folder::{self, Mark, io_error, permanent},
    line::{self},
    recovery,
    scan::LINE_BYTES_MAX,
};
use crate::{BusError, BusErrorKind, OutgoingMessage};
use rva_types::Timestamp;
use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A segment on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// The number of its first record, also of the one it will get.
    pub first: u64,
    /// The bytes of its whole lines.
    pub bytes: u64,
    /// The time at which its first record was accepted.
    pub first_ts: Option<Timestamp>,
}

/// The files that have to reach the disk before the mark may move.
pub(super) struct Unsynced {
    pub folder: PathBuf,
    pub files: Vec<Arc<dyn SegmentFile>>,
    pub new_segments: bool,
    pub mark: Mark,
    pub mark_file: Arc<File>,
}

pub(super) struct Partition {
    pub folder: PathBuf,
    pub segments: VecDeque<Segment>,
    pub next: u64,
    pub durable: Mark,
    /// The file of the newest segment, open while there is something to sync; else it may have been closed for others.
    active: Option<Arc<dyn SegmentFile>>,
    /// The mark's file, open as `active` is.
    mark_file: Option<Arc<File>>,
    /// The writer's own count when it was last written to.
    pub used: u64,
    unsynced: Vec<Arc<dyn SegmentFile>>,
    new_segments: bool,
    dirty: bool,
    /// Set where a failed write left bytes behind the last whole line, and they couldn't be cut off at once.
    torn: bool,
}

impl Partition {
    /// Opens a partition's folder, made if missing: finds its end, cuts a torn tail, makes the rest durable.
    pub(super) fn open(dir: &Path, key: &str) -> Result<(Self, Option<super::CutTail>), BusError> {
        let folder = dir.join(folder::encode_key(key)?);
        folder::make_folder(&folder)?;
        let found = recovery::recover(&folder)?;
        let mark_file = folder::open_mark(&folder, found.mark)?;
        found.mark.publish(&mark_file).map_err(|error| io_error("write", &folder::mark_path(&folder), error))?;
        let mut partition = Self {
            segments: VecDeque::new(),
            next: found.mark.number + 1,
            durable: found.mark,
            active: None,
            mark_file: None,
            used: 0,
            unsynced: Vec::new(),
            new_segments: false,
            dirty: false,
            torn: false,
            folder,
        };
        for (first, bytes) in found.segments {
            let first_ts = folder::first_ts(&partition.segment_path(first));
            partition.segments.push_back(Segment { first, bytes, first_ts });
        }
        Ok((partition, found.cut))
    }

    pub(super) fn segment_path(&self, first: u64) -> PathBuf {
        folder::segment_path(&self.folder, first)
    }

    /// Returns the bytes of all its segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Returns whether it holds descriptors.
    pub(super) fn is_open(&self) -> bool {
        self.active.is_some() || self.mark_file.is_some()
    }

    /// Closes its files, unless they hold something that isn't synced yet. Returns whether there were any.
    pub(super) fn close(&mut self) -> bool {
        let closes = self.is_open() && !self.dirty && !self.torn;
        if closes {
            self.active = None;
            self.mark_file = None;
        }
        closes
    }

    /// Opens the mark, before anything is written whose sync moves it.
    fn open_mark(&mut self) -> Result<(), BusError> {
        if self.mark_file.is_none() {
            self.mark_file = Some(Arc::new(folder::open_mark(&self.folder, self.durable)?));
        }
        Ok(())
    }

    /// Appends a record to the operating system's file; returns the line's length in bytes.
    pub(super) fn append(
        &mut self,
        files: &dyn SegmentFiles,
        segment_bytes_max: u64,
        now: Timestamp,
        message: &OutgoingMessage,
    ) -> Result<u64, BusError> {
        let line = line::encode(self.next, now, message);
        if line.len() > LINE_BYTES_MAX {
            // No reader would take it: then the whole partition would end here.
            let text =
                format!("found a record of {} bytes with its properties, wanted at most {LINE_BYTES_MAX}", line.len());
            return Err(BusError::new(BusErrorKind::Rejected, text));
        }
        let length = line.len() as u64;
        self.open_mark()?;
        let full = self.segments.back().is_none_or(|last| last.bytes > 0 && last.bytes + length > segment_bytes_max);
        if full {
            self.roll(files)?;
        }
        let Some(segment) = self.segments.back().copied() else {
            return Err(permanent(format!("found no segment in {}, wanted one", self.folder.display())));
        };
        let path = self.segment_path(segment.first);
        let active = match &self.active {
            Some(active) => active.clone(),
            None => {
                let active: Arc<dyn SegmentFile> =
                    files.open(&path).map_err(|error| io_error("open", &path, error))?.into();
                self.active.insert(active).clone()
            }
        };
        if self.torn {
            active.truncate(segment.bytes).map_err(|error| io_error("cut", &path, error))?;
            self.torn = false;
        }
        if let Err(error) = write_all(&*active, &line) {
            // Without this the next record would stand behind half a line.
            self.torn = active.truncate(segment.bytes).is_err();
            return Err(io_error("write record to", &path, error));
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += length;
            segment.first_ts.get_or_insert(now);
        }
        self.next += 1;
        self.dirty = true;
        Ok(length)
    }

    /// Starts a new segment. The old one is synced with the next group.
    pub(super) fn roll(&mut self, files: &dyn SegmentFiles) -> Result<(), BusError> {
        self.open_mark()?;
        let path = self.segment_path(self.next);
        let file = files.open(&path).map_err(|error| io_error("make segment", &path, error))?;
        if let Some(old) = self.active.take() {
            if self.torn
                && let Some(segment) = self.segments.back()
            {
                old.truncate(segment.bytes).map_err(|error| io_error("cut", &path, error))?;
                self.torn = false;
            }
            self.unsynced.push(old);
        }
        self.active = Some(file.into());
        self.segments.push_back(Segment { first: self.next, bytes: 0, first_ts: None });
        self.new_segments = true;
        self.dirty = true;
        Ok(())
    }

    /// Takes the files that have to be synced now; `None` where nothing has changed.
    pub(super) fn take_unsynced(&mut self) -> Option<Unsynced> {
        if !self.dirty {
            return None;
        }
        let (segment, mark_file) = (self.segments.back()?, self.mark_file.clone()?);
        self.dirty = false;
        let mut files = std::mem::take(&mut self.unsynced);
        files.extend(self.active.clone());
        Some(Unsynced {
            folder: self.folder.clone(),
            files,
            new_segments: std::mem::take(&mut self.new_segments),
            mark: Mark { number: self.next - 1, segment: segment.first, offset: segment.bytes },
            mark_file,
        })
    }

    /// Notes that the mark couldn't be written: the next group tries again.
    pub(super) fn stay_dirty(&mut self) {
        self.dirty = true;
    }

    /// Removes the oldest segment's file; never the one that is written.
    pub(super) fn remove_oldest(&mut self) -> Result<Segment, BusError> {
        let Some(oldest) = self.segments.front().copied().filter(|_| self.segments.len() > 1) else {
            return Err(permanent(format!("found one segment in {}, wanted two to remove one", self.folder.display())));
        };
        let path = self.segment_path(oldest.first);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &path, error)),
            _ => {}
        }
        self.segments.pop_front();
        Ok(oldest)
    }

    /// Returns the last record of the oldest segment, where another one follows it.
    pub(super) fn oldest_ends_with(&self) -> Option<u64> {
        self.segments.get(1).map(|second| second.first - 1)
    }
}

/// Makes a group durable: data first, then the names of new segments, then the mark that readers follow.
pub(super) fn sync(group: &Unsynced) -> Result<(), BusError> {
    for file in &group.files {
        file.sync().map_err(|error| io_error("fsync a segment in", &group.folder, error))?;
    }
    if group.new_segments {
        folder::sync_folder(&group.folder)?;
    }
    Ok(())
}

fn write_all(file: &dyn SegmentFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "wrote 0 bytes")),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

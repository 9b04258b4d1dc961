//! The search for the end of a partition after a restart.
//!
//! Below the durable mark nothing is read or changed: what was published stays. Beyond it lie records that were
//! accepted, perhaps never synced, and never seen by a reader. The whole ones are kept and synced; the first line that
//! isn't one ends the log, since a power loss writes pages in any order. What is cut is reported, and where whole
//! records lie behind the cut the bytes are kept beside the log. Without a mark (a log from a copy, say) nothing tells
//! what readers saw, so only a torn last line is cut and any other damage is an error.

use super::{
    CutTail,
    folder::{self, Mark, io_error, permanent},
    line::{self, Damage},
    scan::Lines,
};
use crate::BusError;
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const COPY_BYTES: usize = 256 << 10;

pub(super) struct Recovered {
    pub segments: Vec<(u64, u64)>,
    pub mark: Mark,
    pub cut: Option<CutTail>,
}

/// The place where whole records end.
struct End {
    mark: Mark,
    damage: Option<Damage>,
}

/// Recovers a partition's folder; it is durable and ends with a whole record afterwards.
pub(super) fn recover(folder: &Path) -> Result<Recovered, BusError> {
    let segments = folder::list_segments(folder)?;
    let mark = folder::read_mark(folder, true)?;
    let start = start(folder, mark, &segments)?;
    let end = find_end(folder, start, &segments)?;
    let valid_behind = match &end.damage {
        Some(_) => records_behind(folder, end.mark, &segments)?,
        None => 0,
    };
    if let (None, Some(damage), true) = (mark, &end.damage, valid_behind > 0) {
        let path = folder::segment_path(folder, end.mark.segment);
        return Err(damage_error(&path, end.mark.offset, damage));
    }
    let cut = match &end.damage {
        Some(damage) => Some(cut(folder, end.mark, &segments, damage, valid_behind)?),
        None => None,
    };
    let segments = rewrite(folder, start, end.mark)?;
    Ok(Recovered { segments, mark: end.mark, cut })
}

/// Returns the mark to scan from: the durable one, or the log's oldest record.
fn start(folder: &Path, mark: Option<Mark>, segments: &[(u64, u64)]) -> Result<Mark, BusError> {
    let first_behind = |number: u64| segments.iter().map(|(first, _)| *first).find(|first| *first > number);
    let Some(mark) = mark else {
        let first = segments.first().map_or(1, |(first, _)| *first);
        return Ok(Mark { number: first.saturating_sub(1), segment: first, offset: 0 });
    };
    if mark.number == 0 && mark.offset == 0 {
        return Ok(mark);
    }
    match segments.iter().find(|(first, _)| *first == mark.segment) {
        Some((_, bytes)) if *bytes >= mark.offset => Ok(mark),
        Some((_, bytes)) => Err(shortened(folder, mark, &format!("{bytes} bytes"))),
        // Retention went on while the mark's last write was lost.
        None => match first_behind(mark.number) {
            Some(first) => Ok(Mark { number: first - 1, segment: first, offset: 0 }),
            None => Err(shortened(folder, mark, "no such file")),
        },
    }
}

fn shortened(folder: &Path, mark: Mark, found: &str) -> BusError {
    let path = folder::segment_path(folder, mark.segment);
    let last = match Lines::open(&path, 0, mark.offset) {
        Ok(mut lines) => {
            let mut last = mark.segment.saturating_sub(1);
            while let Ok(Some(line)) = lines.next() {
                match line::decode(line.bytes) {
                    Ok(record) if line.whole => last = record.number,
                    _ => break,
                }
            }
            last
        }
        Err(_) => mark.segment.saturating_sub(1),
    };
    permanent(format!(
        "log shortened: found {found} in {}, which ends with record {last}; wanted {} bytes up to record {}, which was durable: restore that file from a copy, or move the log away",
        path.display(),
        mark.offset,
        mark.number
    ))
}

/// Goes through whole records from `start`, over segments.
fn find_end(folder: &Path, start: Mark, segments: &[(u64, u64)]) -> Result<End, BusError> {
    let mut mark = start;
    for (first, bytes) in segments.iter().filter(|(first, _)| *first >= start.segment) {
        if *first != mark.segment {
            if *first != mark.number + 1 {
                let damage = Damage::Number { found: *first, wanted: mark.number + 1 };
                return Ok(End { mark, damage: Some(damage) });
            }
            mark = Mark { segment: *first, offset: 0, ..mark };
        }
        let path = folder::segment_path(folder, *first);
        let failed = |error: io::Error| io_error("read", &path, error);
        let mut lines = Lines::open(&path, mark.offset, *bytes).map_err(failed)?;
        while let Some(line) = lines.next().map_err(failed)? {
            let damage = match line::decode(line.bytes) {
                _ if !line.whole => Damage::Partial { found: line.bytes.len() },
                Ok(record) if record.number == mark.number + 1 => {
                    mark = Mark { number: record.number, offset: line.end, ..mark };
                    continue;
                }
                Ok(record) => Damage::Number { found: record.number, wanted: mark.number + 1 },
                Err(damage) => damage,
            };
            return Ok(End { mark, damage: Some(damage) });
        }
    }
    Ok(End { mark, damage: None })
}

/// Returns the number of whole records that lie behind the damage.
fn records_behind(folder: &Path, end: Mark, segments: &[(u64, u64)]) -> Result<u64, BusError> {
    let mut count = 0;
    for (first, bytes) in segments.iter().filter(|(first, _)| *first >= end.segment) {
        let path = folder::segment_path(folder, *first);
        let failed = |error: io::Error| io_error("read", &path, error);
        let start = if *first == end.segment { end.offset } else { 0 };
        let mut lines = Lines::open(&path, start, *bytes).map_err(failed)?;
        while let Some(line) = lines.next().map_err(failed)? {
            count += u64::from(line.whole && line::check(line.bytes).is_ok());
        }
    }
    Ok(count)
}

/// Cuts everything behind `end`: the rest of its segment, and later segments whole.
fn cut(
    folder: &Path,
    end: Mark,
    segments: &[(u64, u64)],
    damage: &Damage,
    valid_behind: u64,
) -> Result<CutTail, BusError> {
    let mut bytes_cut = 0;
    for (first, bytes) in segments.iter().filter(|(first, _)| *first >= end.segment).rev() {
        let path = folder::segment_path(folder, *first);
        let keep = if *first == end.segment { end.offset } else { 0 };
        bytes_cut += bytes - keep;
        if valid_behind > 0 && *bytes > keep {
            keep_aside(&path, keep)?;
        }
        if *first == end.segment {
            let file = File::options().write(true).open(&path).map_err(|error| io_error("open", &path, error))?;
            file.set_len(keep).and_then(|()| file.sync_all()).map_err(|error| io_error("cut", &path, error))?;
        } else {
            std::fs::remove_file(&path).map_err(|error| io_error("remove", &path, error))?;
        }
    }
    folder::sync_folder(folder)?;
    let file = folder::segment_path(folder, end.segment);
    Ok(CutTail { file, offset: end.offset, bytes_cut, records_cut: valid_behind, found: damage.to_string() })
}

/// Copies a segment from an offset on beside the log: `NAME.cut-OFFSET`.
fn keep_aside(path: &Path, offset: u64) -> Result<(), BusError> {
    let mut target = path.as_os_str().to_owned();
    target.push(format!(".cut-{offset}"));
    let target = PathBuf::from(target);
    let copy = || -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        let mut from = File::open(path)?;
        from.seek(SeekFrom::Start(offset))?;
        let mut to = folder::own_file().write(true).create(true).truncate(true).open(&target)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    };
    copy().map_err(|error| io_error("copy the cut tail to", &target, error))
}

/// Writes everything beyond the old mark once more over itself and syncs it; returns the segments.
///
/// After a failed fsync the kernel may hold pages that it calls clean though they never reached the disk; a second
/// fsync alone would say yes. Writing the same bytes makes them dirty again.
fn rewrite(folder: &Path, start: Mark, end: Mark) -> Result<Vec<(u64, u64)>, BusError> {
    let segments = folder::list_segments(folder)?;
    for (first, bytes) in segments.iter().filter(|(first, _)| *first >= start.segment) {
        let mut offset = if *first == start.segment { start.offset } else { 0 };
        let path = folder::segment_path(folder, *first);
        let mut write = || -> io::Result<()> {
            let file = File::options().read(true).write(true).open(&path)?;
            let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(*bytes).unwrap_or(COPY_BYTES))];
            while offset < *bytes {
                let length = buffer.len().min(usize::try_from(*bytes - offset).unwrap_or(usize::MAX));
                let part = &mut buffer[..length];
                file.read_exact_at(part, offset)?;
                file.write_all_at(part, offset)?;
                offset += length as u64;
            }
            file.sync_all()
        };
        write().map_err(|error| io_error("rewrite", &path, error))?;
    }
    if end != start || !segments.is_empty() {
        folder::sync_folder(folder)?;
    }
    Ok(segments)
}

/// Returns the error of a damaged line.
pub(super) fn damage_error(path: &Path, offset: u64, damage: &Damage) -> BusError {
    permanent(format!(
        "damaged record in {} at byte {offset}: {damage}; restore that file from a copy, or move it away and go on behind the gap",
        path.display()
    ))
}

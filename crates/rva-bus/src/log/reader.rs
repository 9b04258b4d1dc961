//! The reader, which follows the durable marks, in the writer's process or another one.

use super::{
    folder::{self, Mark, io_error, permanent},
    line::{self, Damage},
    recovery::damage_error,
    scan::Lines,
};
use crate::{BusError, BusErrorKind, EventSource, Message, PartitionRange, seam::memory_bytes};
use async_recursion::async_recursion as boxed;
use rva_types::{OffsetMap, PartitionName, Position};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The interval at which an idle poll looks at the marks.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// The place at which reading goes on in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    next: u64,
    /// The segment and offset of that record, once known.
    at: Option<(u64, u64)>,
}

/// The outcome of one look at the log; nothing of it counts before the poll that asked has returned.
struct Look {
    messages: Vec<Message>,
    cursors: BTreeMap<PartitionName, Cursor>,
    marks: BTreeMap<PartitionName, Mark>,
    error: Option<BusError>,
}

/// The reader of an embedded log: an [`EventSource`]. It works while a writer writes, here or in another process, and
/// also when none runs; it sees what is durable.
///
/// A poll that is dropped loses nothing: the next one gives the same messages.
pub struct LogReader {
    dir: PathBuf,
    identity: String,
    cursors: BTreeMap<PartitionName, Cursor>,
    marks: BTreeMap<PartitionName, Mark>,
    committed: BTreeMap<PartitionName, u64>,
    pending: Option<BusError>,
    polls: usize,
}

impl LogReader {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// Returns `Transient` where there is no log yet (a writer makes it); `Permanent` for a folder that can't be read
    /// or a lost identity.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, BusError> {
        let dir = dir.into();
        let Some(identity) = folder::read_identity(&dir)? else {
            let text = format!("found no log in {}, wanted one: a writer makes it", dir.display());
            return Err(BusError::new(BusErrorKind::Transient, text));
        };
        Ok(Self {
            dir,
            identity,
            cursors: BTreeMap::new(),
            marks: BTreeMap::new(),
            committed: BTreeMap::new(),
            pending: None,
            polls: 0,
        })
    }

    /// Returns the positions that the log was told to be committed, within what is durable: a reader that keeps no
    /// position of its own goes on there. They are a hint that may be behind.
    ///
    /// # Errors
    /// Returns an error where the folder can't be read.
    #[boxed]
    pub async fn acknowledged(&self) -> Result<OffsetMap, BusError> {
        let dir = self.dir.clone();
        blocking(move || {
            let mut offsets = OffsetMap::new();
            for (partition, folder) in folder::list_partitions(&dir)? {
                let durable = folder::read_mark(&folder, true)?.map_or(0, |mark| mark.number);
                let committed = folder::read_committed(&folder).min(durable);
                if committed > 0 {
                    offsets.advance(&partition, Position::of_record(committed));
                }
            }
            Ok(offsets)
        })
        .await
    }

    async fn look(&self, bytes_max: usize) -> Result<Look, BusError> {
        let dir = self.dir.clone();
        let mut look =
            Look { messages: Vec::new(), cursors: self.cursors.clone(), marks: self.marks.clone(), error: None };
        let first = self.polls;
        blocking(move || {
            look.read(&dir, bytes_max, first)?;
            Ok(look)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(permanent(format!("reading the log broke off: {error}"))),
    }
}

#[async_trait::async_trait]
impl EventSource for LogReader {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        let dir = self.dir.clone();
        blocking(move || ranges(&dir)).await
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        let ranges = self.partitions().await?;
        for (partition, position) in offsets.iter() {
            let last = ranges.iter().find(|range| range.partition == *partition).and_then(|range| range.last);
            if last.is_none_or(|last| last < position) || position.ledger != 0 {
                let last = last.map_or("nothing".to_owned(), |last| format!("{last} as its last record"));
                return Err(permanent(format!(
                    "log shortened: found {last} in partition {partition:?} of {}, wanted the position {position} to go on behind: is it the log that the table was filled from?",
                    self.dir.display()
                )));
            }
        }
        self.pending = None;
        self.cursors = offsets
            .iter()
            .map(|(partition, position)| {
                (partition.to_owned(), Cursor { next: position.entry.saturating_add(1), at: None })
            })
            .collect();
        Ok(())
    }

    async fn poll(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        let deadline = Instant::now() + wait;
        loop {
            let look = self.look(bytes_max).await?;
            self.cursors = look.cursors;
            self.marks = look.marks;
            self.polls = self.polls.wrapping_add(1);
            match look.error {
                Some(error) if look.messages.is_empty() => return Err(error),
                error => self.pending = error,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !look.messages.is_empty() || left.is_zero() {
                return Ok(look.messages);
            }
            tokio::time::sleep(left.min(LOOK_INTERVAL)).await;
        }
    }

    async fn acknowledge(&mut self, committed: &OffsetMap) -> Result<(), BusError> {
        let mut news = Vec::new();
        for (partition, position) in committed.iter() {
            if self.committed.get(partition).is_none_or(|held| *held < position.entry) {
                news.push((partition.to_owned(), position.entry, self.dir.join(folder::encode_key(partition)?)));
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        let news = blocking(move || {
            for (_, number, folder) in &news {
                if folder.is_dir() && folder::read_committed(folder) < *number {
                    folder::write_committed(folder, *number)?;
                }
            }
            Ok(news)
        })
        .await?;
        self.committed.extend(news.into_iter().map(|(partition, number, _)| (partition, number)));
        Ok(())
    }
}

fn ranges(dir: &Path) -> Result<Vec<PartitionRange>, BusError> {
    let mut ranges = Vec::new();
    for (partition, folder) in folder::list_partitions(dir)? {
        // Without a mark the writer is just making it.
        let Some(mark) = folder::read_mark(&folder, true)? else { continue };
        let first = folder::list_segments(&folder)?.first().map(|(first, _)| *first);
        ranges.push(PartitionRange {
            skipped_to: None,
            topic: (format!("embedded/{partition}"), 0),
            first: first.filter(|first| *first <= mark.number).map(Position::of_record),
            last: (mark.number > 0).then(|| Position::of_record(mark.number)),
            next: Position::of_record(mark.number + 1),
            partition,
        });
    }
    Ok(ranges)
}

impl Look {
    /// Reads each partition in turn, another one first each time, until there is `bytes_max` of messages.
    fn read(&mut self, dir: &Path, bytes_max: usize, first: usize) -> Result<(), BusError> {
        let mut partitions = folder::list_partitions(dir)?;
        let count = partitions.len();
        partitions.rotate_left(if count == 0 { 0 } else { first % count });
        let mut bytes = 0;
        for (partition, folder) in partitions {
            if bytes >= bytes_max && !self.messages.is_empty() {
                break;
            }
            if let Err(error) = self.read_partition(&partition, &folder, bytes_max, &mut bytes) {
                self.error.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn mark(&mut self, partition: &str, folder: &Path) -> Result<Option<Mark>, BusError> {
        let seen = folder::read_mark(folder, false)?;
        if seen.is_some() && seen == self.marks.get(partition).copied() {
            return Ok(seen);
        }
        let mark = folder::read_mark(folder, true)?;
        if let Some(mark) = mark {
            self.marks.insert(partition.into(), mark);
        }
        Ok(mark)
    }

    fn read_partition(
        &mut self,
        partition: &str,
        folder: &Path,
        bytes_max: usize,
        bytes: &mut usize,
    ) -> Result<(), BusError> {
        let Some(mark) = self.mark(partition, folder)? else { return Ok(()) };
        let mut cursor = match self.cursors.get(partition) {
            Some(cursor) => *cursor,
            None => match folder::list_segments(folder)?.first() {
                Some((first, _)) => Cursor { next: *first, at: Some((*first, 0)) },
                None => Cursor { next: 1, at: None },
            },
        };
        let mut result = Ok(true);
        while matches!(result, Ok(true)) && cursor.next <= mark.number {
            result = self.read_segment(partition, folder, mark, &mut cursor, bytes_max, bytes);
        }
        self.cursors.insert(partition.into(), cursor);
        result.map(|_| ())
    }

    /// Reads on in the cursor's segment; returns whether there may be room for more.
    fn read_segment(
        &mut self,
        partition: &str,
        folder: &Path,
        mark: Mark,
        cursor: &mut Cursor,
        bytes_max: usize,
        bytes: &mut usize,
    ) -> Result<bool, BusError> {
        let (segment, offset) = match cursor.at {
            Some(at) => at,
            None => locate(partition, folder, cursor.next)?,
        };
        let path = folder::segment_path(folder, segment);
        let end = if segment == mark.segment { mark.offset } else { u64::MAX };
        let failed = |error| io_error("read", &path, error);
        let mut lines = match Lines::open(&path, offset, end) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Retention took it, or the writer went on under another name: look where the record is now.
                cursor.at = Some(locate(partition, folder, cursor.next)?).filter(|at| at.0 != segment);
                return Ok(cursor.at.is_some());
            }
            Err(error) => return Err(failed(error)),
        };
        cursor.at = Some((segment, offset));
        while cursor.next <= mark.number {
            let Some(line) = lines.next().map_err(failed)? else {
                return next_segment(partition, folder, mark, segment, cursor);
            };
            let record = match line::decode(line.bytes) {
                _ if !line.whole => Err(Damage::Partial { found: line.bytes.len() }),
                Ok(record) if record.number != cursor.next => {
                    Err(Damage::Number { found: record.number, wanted: cursor.next })
                }
                decoded => decoded,
            };
            let record = record.map_err(|damage| damage_error(&path, line.offset, &damage))?;
            let cost = memory_bytes(record.body.len(), &record.properties);
            if !self.messages.is_empty() && bytes.saturating_add(cost) > bytes_max {
                return Ok(false);
            }
            *bytes += cost;
            *cursor = Cursor { next: record.number + 1, at: Some((segment, line.end)) };
            self.messages.push(Message {
                partition: partition.into(),
                position: Position::of_record(record.number),
                ends_entry: true,
                follows: None,
                rejected: None,
                publish_ts: record.publish_ts,
                properties: record.properties,
                body: record.body,
            });
        }
        Ok(false)
    }
}

/// Goes on in the segment behind `segment`, which has ended.
fn next_segment(
    partition: &str,
    folder: &Path,
    mark: Mark,
    segment: u64,
    cursor: &mut Cursor,
) -> Result<bool, BusError> {
    if segment == mark.segment {
        return Err(permanent(format!(
            "log shortened: {} ends with record {}, wanted it up to record {}, which was durable: restore that file from a copy",
            folder::segment_path(folder, segment).display(),
            cursor.next - 1,
            mark.number
        )));
    }
    if !folder::segment_path(folder, cursor.next).exists() {
        return Err(gap(partition, folder, cursor.next)?);
    }
    cursor.at = Some((cursor.next, 0));
    Ok(true)
}

/// Returns the error of a record that is no longer there.
fn gap(partition: &str, folder: &Path, wanted: u64) -> Result<BusError, BusError> {
    let next = folder::list_segments(folder)?.into_iter().map(|(first, _)| first).find(|first| *first > wanted);
    let next = next.map_or("none".to_owned(), |next| format!("record {next}"));
    Ok(permanent(format!(
        "log starts after our position: found {next} as the next one in {}, wanted record {wanted} of partition {partition:?}; seek behind the gap to go on without what is missing",
        folder.display()
    )))
}

/// Returns the segment and offset of a record.
fn locate(partition: &str, folder: &Path, wanted: u64) -> Result<(u64, u64), BusError> {
    let segments = folder::list_segments(folder)?;
    let Some((segment, bytes)) = segments.into_iter().rev().find(|(first, _)| *first <= wanted) else {
        return Err(gap(partition, folder, wanted)?);
    };
    if segment == wanted {
        return Ok((segment, 0));
    }
    let path = folder::segment_path(folder, segment);
    let failed = |error| io_error("read", &path, error);
    let mut lines = Lines::open(&path, 0, bytes).map_err(failed)?;
    while let Some(line) = lines.next().map_err(failed)? {
        match line::peek(&line.bytes[..line.bytes.len().min(256)]) {
            Some((number, _)) if number.checked_add(1) == Some(wanted) => return Ok((segment, line.end)),
            Some(_) => {}
            None => {
                let damage = line::decode(line.bytes).err();
                let damage = damage.unwrap_or_else(|| Damage::Shape { reason: "no number".into() });
                return Err(damage_error(&path, line.offset, &damage));
            }
        }
    }
    Err(gap(partition, folder, wanted)?)
}

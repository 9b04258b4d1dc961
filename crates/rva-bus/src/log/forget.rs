//! Records that are forgotten: their lines are written over by lines of the same length that say nothing.
//!
//! Numbers have no gaps and readers remember offsets, so no line is taken out. What is written over is committed, and
//! below the durable mark: nobody reads it but who goes back, and the writer never touches it again. A reader that does
//! go back finds a record whose body is `0`.

use super::{
    folder::{self, io_error, permanent},
    line,
    scan::Lines,
};
use crate::BusError;
use base64::{Engine, engine::general_purpose::STANDARD};
use rva_types::{OffsetMap, PartitionName, RecordChoice, Timestamp};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The file in a spool's folder with the records that the broker refuses for good, one a line.
pub(crate) const REFUSED_FILE: &str = "refused.ndjson";

/// The body of a record that was forgotten.
const FORGOTTEN_BODY: &[u8] = b"0";

/// The part of a log that was forgotten, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogForgotten {
    /// The records that say nothing any more.
    pub records: u64,
    /// The bytes of their lines.
    pub bytes: u64,
    /// The segments that they stand in.
    pub segments: u64,
    /// The records that are chosen and stay, since no table has them yet.
    pub waiting: u64,
    /// The chosen records that a broker had refused, and that were kept beside the log.
    pub refused: u64,
    /// The files of tails that were cut off a torn log and held chosen records, or what can't be read.
    pub cut: u64,
    /// The places that can't be read, in words.
    pub unreadable: Vec<String>,
}

impl LogForgotten {
    /// Returns whether nothing was found.
    pub fn is_nothing(&self) -> bool {
        self.records + self.waiting + self.refused + self.cut == 0 && self.unreadable.is_empty()
    }
}

/// The log that is looked through.
struct Look<'a> {
    choice: &'a RecordChoice,
    /// Whether anything is changed.
    writes: bool,
    found: LogForgotten,
}

/// Returns the line of a record that says nothing, as long as the one that it takes the place of, without its newline.
fn blank(number: u64, publish_ts: Timestamp, length: usize) -> Option<Vec<u8>> {
    let mut line = format!("{{\"crc\":\"00000000\",\"n\":{number},\"ts\":\"{publish_ts}\",\"props\":{{}},\"rec\":0");
    let spaces = length.checked_sub(line.len() + 1)?;
    line.push_str(&" ".repeat(spaces));
    line.push('}');
    let mut line = line.into_bytes();
    line::seal(&mut line);
    Some(line)
}

/// Forgets the chosen records of the log in `dir`, as far as they are committed: up to a position of `committed`, or up
/// to the one that the log was told. Without `writes` it only says what there is.
///
/// It can run beside a writer and a reader. A process that is killed meanwhile leaves a log whose other records are as
/// they were; the same call forgets the rest.
///
/// # Errors
/// Returns an error for a folder or a file that can't be read or written.
pub fn forget_records(
    dir: &Path,
    committed: &OffsetMap,
    choice: &RecordChoice,
    writes: bool,
) -> Result<LogForgotten, BusError> {
    let mut look = Look { choice, writes, found: LogForgotten::default() };
    if !dir.is_dir() {
        return Ok(look.found);
    }
    for (partition, folder) in folder::list_partitions(dir)? {
        let Some(mark) = folder::read_mark(&folder, true)? else { continue };
        let known = committed.get(&partition).map_or(0, |position| position.entry);
        let upto = known.max(folder::read_committed(&folder)).min(mark.number);
        for (segment, bytes) in folder::list_segments(&folder)? {
            let end = if segment == mark.segment { mark.offset } else { bytes };
            look.segment(&partition, &folder::segment_path(&folder, segment), end, upto)?;
        }
        look.cut_tails(&partition, &folder)?;
    }
    look.refused(&dir.join(REFUSED_FILE))?;
    Ok(look.found)
}

impl Look<'_> {
    fn segment(&mut self, partition: &PartitionName, path: &Path, end: u64, upto: u64) -> Result<(), BusError> {
        let failed = |error| io_error("read", path, error);
        let mut lines = match Lines::open(path, 0, end) {
            Ok(lines) => lines,
            // Retention took it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut blanks: Vec<(u64, Vec<u8>)> = Vec::new();
        while let Some(line) = lines.next().map_err(failed)? {
            let record = match line::decode(line.bytes) {
                Ok(record) if line.whole => record,
                _ => {
                    self.found.unreadable.push(format!("{} at byte {}", path.display(), line.offset));
                    continue;
                }
            };
            let is_blank = record.properties.is_empty() && record.body == FORGOTTEN_BODY;
            if is_blank || !self.chosen(&record.properties, &record.body, partition, record.publish_ts) {
                continue;
            }
            if record.number > upto {
                self.found.waiting += 1;
                continue;
            }
            let length = line.bytes.len();
            let Some(bytes) = blank(record.number, record.publish_ts, length) else {
                return Err(permanent(format!(
                    "found record {} of {length} bytes in {}, wanted one that another fits over",
                    record.number,
                    path.display()
                )));
            };
            self.found.records += 1;
            self.found.bytes += length as u64;
            blanks.push((line.offset, bytes));
        }
        self.found.segments += u64::from(!blanks.is_empty());
        if self.writes { write_over(path, &blanks) } else { Ok(()) }
    }

    fn chosen(
        &self,
        properties: &BTreeMap<String, String>,
        body: &[u8],
        partition: &PartitionName,
        at: Timestamp,
    ) -> bool {
        self.choice.holds_message(properties, body, Some(partition.as_str()), at)
    }

    /// Takes chosen records, and what can't be read, out of the tails that were cut off and kept aside: nobody reads
    /// them but people.
    fn cut_tails(&mut self, partition: &PartitionName, folder: &Path) -> Result<(), BusError> {
        for path in cut_files(folder)? {
            let failed = |error| io_error("read", &path, error);
            let length = fs::metadata(&path).map_err(failed)?.len();
            let mut lines = Lines::open(&path, 0, length).map_err(failed)?;
            let (mut kept, mut is_hit) = (Vec::new(), false);
            while let Some(line) = lines.next().map_err(failed)? {
                let decoded = line::decode(line.bytes).ok().filter(|_| line.whole);
                let stays = decoded
                    .is_some_and(|record| !self.chosen(&record.properties, &record.body, partition, record.publish_ts));
                if stays {
                    kept.extend_from_slice(line.bytes);
                    kept.push(b'\n');
                } else {
                    is_hit = true;
                }
            }
            if !is_hit {
                continue;
            }
            self.found.cut += 1;
            if !self.writes {
                continue;
            }
            if kept.is_empty() {
                fs::remove_file(&path).map_err(|error| io_error("remove", &path, error))?;
            } else {
                folder::replace(&path, &kept, true)?;
            }
        }
        Ok(())
    }

    /// Writes blanks over the chosen records that a broker refused: its forwarder may add others meanwhile.
    fn refused(&mut self, path: &Path) -> Result<(), BusError> {
        let failed = |error| io_error("read", path, error);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let (mut offset, mut blanks) = (0, Vec::new());
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(failed)?;
            let at = offset;
            offset += line.len() as u64 + 1;
            let Ok(record) = serde_json::from_slice::<RefusedRecord>(&line) else { continue };
            let Ok(body) = STANDARD.decode(record.raw.as_bytes()) else { continue };
            // When it was refused isn't written down: one without a capture time counts as of any time.
            let now = Timestamp::from(std::time::SystemTime::now());
            if self.choice.holds_message(&record.properties, &body, Some(record.partition.as_str()), now) {
                self.found.refused += 1;
                blanks.push((at, vec![b' '; line.len()]));
            }
        }
        if self.writes { write_over(path, &blanks) } else { Ok(()) }
    }
}

#[derive(Deserialize)]
struct RefusedRecord {
    partition: String,
    properties: BTreeMap<String, String>,
    raw: String,
}

/// Returns the files of tails that were cut off in a partition's folder.
fn cut_files(folder: &Path) -> Result<Vec<PathBuf>, BusError> {
    let failed = |error| io_error("read folder", folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains(".ndjson.cut-") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Writes lines over others of the same length, and returns when that is on the disk.
fn write_over(path: &Path, blanks: &[(u64, Vec<u8>)]) -> Result<(), BusError> {
    if blanks.is_empty() {
        return Ok(());
    }
    let write = || -> io::Result<()> {
        let file = File::options().write(true).open(path)?;
        for (offset, bytes) in blanks {
            file.write_all_at(bytes, *offset)?;
        }
        file.sync_all()
    };
    match write() {
        // Retention took it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written.map_err(|error| io_error("write over records of", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventSink, EventSource, LogOptions, LogReader, LogWriter, OutgoingMessage};
    use rva_types::Position;
    use std::time::Duration;

    fn message(camera: &str, at: u32) -> OutgoingMessage {
        let body = format!(
            r#"{{"capture_ts":"2026-01-31T08:00:{at:02}Z","source":{{"camera_id":"{camera}"}},"secret":"s-{camera}-{at}"}}"#
        );
        OutgoingMessage {
            partition_key: camera.into(),
            properties: BTreeMap::from([("camera_id".to_owned(), camera.to_owned())]),
            event_time: None,
            body: body.into(),
        }
    }

    async fn log(dir: &Path, records: u32) -> LogWriter {
        // Some segments for each camera.
        let options = LogOptions { segment_bytes_max: 1000, ..LogOptions::default() };
        let mut writer = LogWriter::open(dir, options).unwrap();
        for at in 0..records {
            for camera in ["door", "till"] {
                writer.send(message(camera, at)).await.unwrap();
            }
        }
        writer.flush().await.unwrap();
        writer
    }

    fn upto(number: u64) -> OffsetMap {
        let mut map = OffsetMap::new();
        map.advance("door", Position::of_record(number));
        map.advance("till", Position::of_record(number));
        map
    }

    async fn bodies(dir: &Path) -> Vec<(String, u64, String)> {
        let mut reader = LogReader::open(dir).unwrap();
        let mut found = Vec::new();
        loop {
            let some = reader.poll(1 << 20, Duration::ZERO).await.unwrap();
            if some.is_empty() {
                break;
            }
            found.extend(some.into_iter().map(|message| {
                let body = String::from_utf8(message.body.to_vec()).unwrap();
                (message.partition.as_str().to_owned(), message.position.entry, body)
            }));
        }
        found.sort();
        found
    }

    fn everything(dir: &Path) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                text.push_str(&everything(&entry.path()));
            } else {
                text.push_str(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap()));
            }
        }
        text
    }

    #[tokio::test]
    async fn chosen_records_say_nothing_and_all_others_are_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let mut writer = log(dir, 20).await;
        let before = bodies(dir).await;
        let choice = RecordChoice::parse(None, Some("door"), Some("2026-01-31T08:00:05Z"), None).unwrap();
        let planned = forget_records(dir, &upto(18), &choice, false).unwrap();
        assert_eq!((planned.records, planned.waiting), (13, 2), "{planned:?}");
        assert_eq!(bodies(dir).await, before, "only looked at");
        // The writer stays open, and goes on in the same segment.
        assert_eq!(forget_records(dir, &upto(18), &choice, true).unwrap(), planned);
        writer.send(message("door", 30)).await.unwrap();
        writer.flush().await.unwrap();
        let after = bodies(dir).await;
        for (old, new) in before.iter().filter(|(camera, ..)| camera == "till").zip(after.iter().skip(21)) {
            assert_eq!(old, new);
        }
        for (_, number, body) in after.iter().take(21) {
            let is_forgotten = (6..=18).contains(number);
            assert_eq!(body == "0", is_forgotten, "{number}: {body}");
        }
        let text = everything(dir);
        assert!((5..18).all(|at| !text.contains(&format!("s-door-{at}\""))) && text.contains("s-door-4\""));
        let again = forget_records(dir, &upto(18), &choice, true).unwrap();
        assert_eq!((again.records, again.waiting), (0, 3), "{again:?}");
        drop(writer);
        // It opens as any log does.
        drop(LogWriter::open(dir, LogOptions::default()).unwrap());
        assert_eq!(bodies(dir).await, after);
    }

    #[tokio::test]
    async fn tails_that_were_cut_off_and_refused_records_are_forgotten_too() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        drop(log(dir, 2).await);
        let tail = dir.join("door/00000000000000000001.ndjson.cut-7");
        fs::copy(dir.join("door/00000000000000000001.ndjson"), &tail).unwrap();
        let record = |camera: &str| {
            let body = STANDARD.encode(message(camera, 1).body);
            format!("{{\"partition\":\"{camera}\",\"n\":1,\"reason\":\"r\",\"properties\":{{}},\"raw\":\"{body}\"}}\n")
        };
        fs::write(dir.join(REFUSED_FILE), record("door") + &record("till")).unwrap();
        let choice = RecordChoice::parse(None, Some("door"), None, None).unwrap();
        let found = forget_records(dir, &OffsetMap::new(), &choice, true).unwrap();
        assert_eq!((found.records, found.waiting, found.cut, found.refused), (0, 2, 1, 1), "{found:?}");
        assert!(!tail.exists(), "all of it was the camera's");
        let refused = fs::read_to_string(dir.join(REFUSED_FILE)).unwrap();
        assert_eq!(refused.trim_start(), record("till"));
        assert_eq!(refused.len(), (record("door") + &record("till")).len());
    }

    #[test]
    fn the_shortest_record_has_room_for_one_that_says_nothing() {
        let at = Timestamp::from_micros(0);
        for body in ["1", "", "{}"] {
            let message = OutgoingMessage { properties: BTreeMap::new(), body: body.into(), ..message("door", 1) };
            let line = line::encode(u64::MAX >> 1, at, &message);
            let blank = blank(u64::MAX >> 1, at, line.len() - 1).unwrap();
            assert_eq!(blank.len() + 1, line.len());
            assert_eq!(line::decode(&blank).unwrap().body, FORGOTTEN_BODY);
        }
    }
}

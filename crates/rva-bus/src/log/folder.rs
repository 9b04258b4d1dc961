//! The files of a log's folder: identity, lock, partitions, segments, durable marks, committed positions.

use crate::{BusError, BusErrorKind, log::line};
use rva_types::{PartitionName, Timestamp};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const IDENTITY: &str = "identity";
const LOCK: &str = "writer.lock";
const MARK: &str = "durable";
const COMMITTED: &str = "committed";
/// The newest format of a log that this program reads and writes. A later one says its number in the second line of
/// [`IDENTITY`]; the first has none.
const FORMAT_MAX: u32 = 1;
/// The rights of folders that are made here, before the user's umask.
const FOLDER_MODE: u32 = 0o700;
/// The rights of files that are made here, before the user's umask.
const FILE_MODE: u32 = 0o600;
/// The longest partition key, in bytes; percent-encoded it is still a legal file name.
const KEY_BYTES_MAX: usize = 64;

/// Turns an error of the file system into one of the seam: the one place that decides what a retry can cure.
pub(crate) fn io_error(doing: &str, path: &Path, error: io::Error) -> BusError {
    let (kind, wanted) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (BusErrorKind::Transient, ", no space left: wanted room on that disk")
        }
        io::ErrorKind::PermissionDenied => {
            (BusErrorKind::Permanent, ", wanted a path that this user may read and write")
        }
        io::ErrorKind::ReadOnlyFilesystem => (BusErrorKind::Permanent, ", wanted a file system that can be written"),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            (BusErrorKind::Transient, "")
        }
        _ => (BusErrorKind::Permanent, ""),
    };
    BusError::new(kind, format!("{doing} {}: {error}{wanted}", path.display())).with_source(error)
}

/// Returns the options that make a file which only its owner reads.
pub(crate) fn own_file() -> fs::OpenOptions {
    let mut options = File::options();
    options.mode(FILE_MODE);
    options
}

pub(crate) fn permanent(text: impl Into<String>) -> BusError {
    BusError::new(BusErrorKind::Permanent, text)
}

pub(crate) fn sync_folder(path: &Path) -> Result<(), BusError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| io_error("fsync folder", path, error))
}

/// Makes a folder and those above it; every one that was made survives a power loss.
pub(crate) fn make_folder(path: &Path) -> Result<(), BusError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    // What cameras saw is for who runs this. An existing folder keeps the rights that its owner gave it.
    match fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("make folder", path, error)),
        _ => sync_folder(parent),
    }
}

/// Replaces a small file so that readers see the old or the new content whole.
pub(crate) fn replace(path: &Path, content: &[u8], durably: bool) -> Result<(), BusError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = own_file().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all(content)?;
        if durably {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    };
    write().map_err(|error| io_error("write", path, error))?;
    match path.parent() {
        Some(folder) if durably => sync_folder(folder),
        _ => Ok(()),
    }
}

// ---- identity and lock

fn no_identity(dir: &Path, found: &str) -> BusError {
    permanent(format!(
        "found {found} in {}, wanted the identity that was made with the log: restore it from the table's stored source, or move the log away",
        dir.join(IDENTITY).display()
    ))
}

fn later_format(path: &Path, found: u32) -> BusError {
    permanent(format!(
        "found format {found} in {}, wanted 1 to {FORMAT_MAX}: a later version of rva wrote this log, go on with that \
         version, or restore a backup of before the upgrade (rva restore); nothing was read or written",
        path.display()
    ))
}

/// Reads the identity of an existing log; `None` where there is no log yet.
pub(crate) fn read_identity(dir: &Path) -> Result<Option<String>, BusError> {
    let path = dir.join(IDENTITY);
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(256).read_to_string(&mut text)) {
        Ok(_) => {
            let (id, format) = text.trim().split_once('\n').unwrap_or((text.trim(), "format 1"));
            let number = format.trim().strip_prefix("format ").and_then(|number| number.parse().ok());
            match (uuid::Uuid::parse_str(id.trim()), number) {
                (Ok(id), Some(1..=FORMAT_MAX)) => Ok(Some(id.to_string())),
                (Ok(_), Some(found)) => Err(later_format(&path, found)),
                _ => Err(no_identity(dir, &format!("{:?}", text.chars().take(64).collect::<String>()))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.is_dir() && !list_partitions(dir)?.is_empty() {
                return Err(no_identity(dir, "nothing"));
            }
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(no_identity(dir, "bytes that are no text")),
        Err(error) => Err(io_error("read", &path, error)),
    }
}

/// Makes a new log's identity.
pub(crate) fn make_identity(dir: &Path) -> Result<String, BusError> {
    let id = uuid::Uuid::new_v4().to_string();
    replace(&dir.join(IDENTITY), format!("{id}\n").as_bytes(), true)?;
    Ok(id)
}

/// Takes the writer's lock; it is held as long as the file is open.
pub(crate) fn lock_writer(dir: &Path) -> Result<File, BusError> {
    let path = dir.join(LOCK);
    let file = own_file()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| io_error("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let text = format!("log {} has a writer already: {}", dir.display(), holder(&path));
            return Err(BusError::new(BusErrorKind::Conflict, text));
        }
        Err(fs::TryLockError::Error(error)) => return Err(io_error("lock", &path, error)),
    }
    // Not the command line: it may hold passwords, and this file is read by others.
    let program = std::env::current_exe().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let program: String = program.unwrap_or_default().chars().filter(|c| is_of_program(*c)).take(64).collect();
    let content = format!("process {} ({program})\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all_at(content.as_bytes(), 0))
        .map_err(|error| io_error("write", &path, error))?;
    Ok(file)
}

/// Returns the holder of the lock as its file names it: program and process, and nothing else that an older version or
/// somebody else wrote there.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(128).read_to_string(&mut text));
    let found = read.ok().and_then(|_| {
        let (number, rest) = text.strip_prefix("process ")?.split_once(' ')?;
        let number: u32 = number.parse().ok()?;
        let program = rest.trim_start_matches('(').split([' ', ')']).next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        Some(match program.chars().all(is_of_program) && !program.is_empty() {
            true => format!("process {number} ({program})"),
            false => format!("process {number}"),
        })
    });
    found.unwrap_or_else(|| "a process that doesn't say its number".to_owned())
}

fn is_of_program(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

// ---- partitions and segments

/// Returns the folder's name of a partition: letters, digits, `-` and `_` stay, every other byte becomes `%XX`.
///
/// Nothing with a dot or a slash remains, so a name can't leave the log or meet one of its own files.
pub(crate) fn encode_key(key: &str) -> Result<String, BusError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(BusError::new(
            BusErrorKind::Rejected,
            format!("found a partition key of {} bytes, wanted 1 to {KEY_BYTES_MAX}", key.len()),
        ));
    }
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(byte as char);
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    // The one file of the log itself that has no dot in its name.
    Ok(if name == IDENTITY { format!("%69{}", &name[1..]) } else { name })
}

/// Returns the key of a partition's folder; `None` for a folder that isn't ours.
pub(crate) fn decode_key(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let key = String::from_utf8(bytes).ok()?;
    (encode_key(&key).ok()?.as_str() == name).then_some(key)
}

/// Returns keys and folders of the partitions, in key order.
pub(crate) fn list_partitions(dir: &Path) -> Result<Vec<(PartitionName, PathBuf)>, BusError> {
    let failed = |error| io_error("read folder", dir, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir()
            && let Some(key) = path.file_name().and_then(|name| name.to_str()).and_then(decode_key)
        {
            found.push((key.into(), path));
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.ndjson"))
}

/// Returns the first record and the size of each segment, in order.
pub(crate) fn list_segments(folder: &Path) -> Result<Vec<(u64, u64)>, BusError> {
    let failed = |error| io_error("read folder", folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(".ndjson")).filter(|stem| stem.len() == 20);
        if let Some(first) = first.and_then(|stem| stem.parse().ok()).filter(|first| (1..=NUMBER_MAX).contains(first)) {
            match entry.metadata() {
                Ok(metadata) => found.push((first, metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns the time of a segment's first record; `None` where it has none that can be read.
pub(crate) fn first_ts(path: &Path) -> Option<Timestamp> {
    let mut start = Vec::with_capacity(256);
    File::open(path).ok()?.take(256).read_to_end(&mut start).ok()?;
    line::peek(&start).map(|(_, ts)| ts)
}

// ---- durable mark and committed position

/// The largest number of a record, as of positions in the interfaces of brokers.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// The mark up to which a partition is durable: the newest record that an fsync covered, and where its line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the newest durable record, 0 for none.
    pub number: u64,
    /// The segment that it ends in.
    pub segment: u64,
    /// The offset behind its newline.
    pub offset: u64,
}

impl Mark {
    /// Returns 72 bytes, always the same length, so that rewriting them in place is one write within one disk sector.
    fn to_text(self) -> String {
        let text = format!("{:020} {:020} {:020}", self.number, self.segment, self.offset);
        format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (numbers, crc) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(numbers.as_bytes()) {
            return None;
        }
        let mut numbers = numbers.split(' ').map(str::parse);
        // No log counts so far; a larger number is damage, and what is added to it would wrap.
        let mut next = || numbers.next()?.ok().filter(|number| *number <= NUMBER_MAX);
        Some(Self { number: next()?, segment: next()?, offset: next()? })
    }

    /// Writes the mark over the old one.
    pub(super) fn publish(self, file: &File) -> io::Result<()> {
        file.write_all_at(self.to_text().as_bytes(), 0)
    }
}

pub(crate) fn mark_path(folder: &Path) -> PathBuf {
    folder.join(MARK)
}

/// Makes a partition's mark if it is missing, durably, and opens it for [`Mark::publish`].
pub(crate) fn open_mark(folder: &Path, if_missing: Mark) -> Result<File, BusError> {
    let path = mark_path(folder);
    if !path.exists() {
        replace(&path, if_missing.to_text().as_bytes(), true)?;
    }
    File::options().write(true).open(&path).map_err(|error| io_error("open", &path, error))
}

/// Reads a partition's mark; `None` where there is none.
///
/// With `sync` the mark is made durable before it is returned. A reader needs that: after a power loss the mark must
/// not lie behind a position that somebody has already acted on.
pub(crate) fn read_mark(folder: &Path, sync: bool) -> Result<Option<Mark>, BusError> {
    let path = mark_path(folder);
    let failed = |error| io_error("read", &path, error);
    let mut found = String::new();
    // A reader may meet the writer half-way through a write: the checksum tells, and the next look is whole.
    for _ in 0..20 {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        found.clear();
        let mut bytes = Vec::new();
        (&file).take(256).read_to_end(&mut bytes).map_err(failed)?;
        found.push_str(&String::from_utf8_lossy(&bytes));
        if let Some(mark) = Mark::parse(&found) {
            if sync {
                file.sync_data().map_err(|error| io_error("fsync", &path, error))?;
            }
            return Ok(Some(mark));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(permanent(format!(
        "found a damaged durable mark {:?} in {}, wanted three numbers and their crc: with the writer stopped remove that file, the next writer makes it anew from the segments",
        found.chars().take(80).collect::<String>(),
        path.display()
    )))
}

/// Remembers that a table holds everything up to `number`: a hint for retention.
pub(crate) fn write_committed(folder: &Path, number: u64) -> Result<(), BusError> {
    let text = format!("{number:020}");
    let crc = crc32c::crc32c(text.as_bytes());
    replace(&folder.join(COMMITTED), format!("{text} {crc:08x}\n").as_bytes(), false)
}

/// Returns the committed position; 0, the safe answer, where it is missing or damaged.
pub(crate) fn read_committed(folder: &Path) -> u64 {
    let parse = |text: String| {
        let (number, crc) = text.trim_end().split_once(' ')?;
        let crc_is_right = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(number.as_bytes());
        if crc_is_right { number.parse().ok() } else { None }
    };
    fs::read_to_string(folder.join(COMMITTED)).ok().and_then(parse).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_lock_names_program_and_process_and_nothing_of_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock_writer(folder.path()).unwrap();
        let path = folder.path().join(LOCK);
        let text = fs::read_to_string(&path).unwrap();
        let own = format!("process {} (rva_bus-", std::process::id());
        assert!(text.starts_with(&own) && text.ends_with(")\n") && !text.contains(['/', '=']), "{text}");
        assert_eq!(mode(&path), 0o600);
        // What a writer of an older version left there.
        held.set_len(0).unwrap();
        held.write_all_at(b"process 42 (/usr/bin/rva run rtsp://admin:hush@cam/1)\n", 0).unwrap();
        let error = lock_writer(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("has a writer already: process 42 (rva)"), "{error}");
        held.write_all_at(b"rtsp://admin:hush@cam/1 and more", 0).unwrap();
        let error = lock_writer(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("a process that doesn't say its number"), "{error}");
    }

    #[test]
    fn what_is_made_is_for_its_owner_and_what_is_there_keeps_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
        let made = there.join("data/log");
        make_folder(&made).unwrap();
        make_identity(&made).unwrap();
        drop(open_mark(&made, Mark { number: 0, segment: 1, offset: 0 }).unwrap());
        write_committed(&made, 5).unwrap();
        assert_eq!((mode(&there), mode(&there.join("data")), mode(&made)), (0o755, 0o700, 0o700));
        for name in [IDENTITY, MARK, COMMITTED] {
            assert_eq!(mode(&made.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_log_of_a_later_format_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let id = make_identity(folder.path()).unwrap();
        let found = |text: &str| {
            fs::write(folder.path().join(IDENTITY), text).unwrap();
            read_identity(folder.path()).map_err(|error| error.to_string())
        };
        assert_eq!(found(&format!("{id}\n")), Ok(Some(id.clone())));
        assert_eq!(found(&format!("{id}\nformat 1\n")), Ok(Some(id.clone())));
        let text = found(&format!("{id}\nformat 2\n")).unwrap_err();
        assert!(text.starts_with("found format 2 in ") && text.contains("go on with that version"), "{text}");
        for damaged in [format!("{id}\nsomething"), "format 2".to_owned(), format!("{id}\nformat x")] {
            let text = found(&damaged).unwrap_err();
            assert!(text.contains("wanted the identity that was made with the log"), "{text}");
        }
    }

    #[test]
    fn numbers_that_no_log_reaches_are_damage_and_no_marks() {
        for (number, is_mark) in [(0, true), (NUMBER_MAX, true), (NUMBER_MAX + 1, false), (u64::MAX, false)] {
            for mark in [
                Mark { number, segment: 1, offset: 0 },
                Mark { number: 1, segment: number, offset: 0 },
                Mark { number: 1, segment: 1, offset: number },
            ] {
                assert_eq!(Mark::parse(&mark.to_text()).is_some(), is_mark, "{mark:?}");
            }
        }
    }

    #[test]
    fn no_partition_key_leaves_the_log_or_meets_its_files() {
        for key in ["cam_01", "../x", "a/b", "..", ".", "identity", "writer.lock", "é ü", "%41", "a%2Fb", "\\", "\0"]
        {
            let name = encode_key(key).unwrap();
            assert!(!name.contains(['/', '.', '\\', '\0']) && name != "identity", "{name}");
            assert_eq!(decode_key(&name).as_deref(), Some(key));
        }
        assert_eq!(encode_key("a/b").unwrap(), "a%2Fb");
        assert_eq!(encode_key("").unwrap_err().kind(), BusErrorKind::Rejected);
        assert_eq!(encode_key(&"x".repeat(65)).unwrap_err().kind(), BusErrorKind::Rejected);
        for foreign in ["lost+found", "a%2fb", "%", "%4", "%FF"] {
            assert_eq!(decode_key(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_mark_reads_back_and_a_damaged_one_is_refused() {
        let mark = Mark { number: 17, segment: 9, offset: 4096 };
        let text = mark.to_text();
        assert_eq!((text.len(), Mark::parse(&text)), (72, Some(mark)));
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] = bad[at].wrapping_add(1);
            assert_eq!(Mark::parse(&String::from_utf8_lossy(&bad)), None, "byte {at}");
        }
        assert_eq!(Mark::parse(""), None);
    }
}

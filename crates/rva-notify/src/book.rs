//! The memory of a process that notifies: what was judged, what fires, and what isn't delivered yet. It is one small
//! file, written whole before anything is sent, so that a restart tells nothing twice and forgets nothing.

use crate::coverage::Cameras;
use crate::judge::Watched;
use crate::notification::{Notification, Spot};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The version of the file's form.
const VERSION: u32 = 1;

/// The most notifications that wait for the webhook; the oldest go first.
pub(crate) const WAITING_MAX: usize = 1_000;

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    watched: Vec<(Spot, Watched)>,
    waiting: VecDeque<Notification>,
    #[serde(default)]
    cameras: Cameras,
}

/// The memory, which this process alone writes while it lives.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    pub(crate) watched: BTreeMap<Spot, Watched>,
    /// The notifications that the webhook hasn't taken yet, the oldest first.
    pub(crate) waiting: VecDeque<Notification>,
    /// The cameras that there are.
    pub(crate) cameras: Cameras,
    /// Held while the process lives.
    _lock: File,
}

impl Book {
    /// Opens the file, or begins one; `None` while another process has it.
    ///
    /// # Errors
    /// Returns an error, with found and wanted, for a file that isn't ours, and where it can't be read or written.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::try_open(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => error,
            kind => {
                let path = path.display();
                io::Error::new(kind, format!("found {path} (notify.state): {error}, wanted a file that can be written"))
            }
        })
    }

    fn try_open(path: &Path) -> io::Result<Option<Self>> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&beside)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let contents = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents {
                version: VERSION,
                watched: Vec::new(),
                waiting: VecDeque::new(),
                cameras: Cameras::default(),
            },
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(wrong(path, format!("{} bytes", metadata.len())));
            }
            Ok(_) => {
                let contents: Contents = serde_json::from_slice(&fs::read(path)?)
                    .map_err(|error| wrong(path, format!("something else ({error})")))?;
                if contents.version != VERSION {
                    return Err(wrong(path, format!("version {}", contents.version)));
                }
                contents
            }
        };
        let Contents { watched, waiting, cameras, .. } = contents;
        let book =
            Self { path: path.to_owned(), watched: watched.into_iter().collect(), waiting, cameras, _lock: lock };
        // A folder that can't be written is told now, not with the first alert.
        book.save()?;
        Ok(Some(book))
    }

    /// Adds a notification that waits. Returns how many older ones had to go.
    pub(crate) fn add(&mut self, notification: Notification) -> usize {
        self.waiting.push_back(notification);
        let over = self.waiting.len().saturating_sub(WAITING_MAX);
        self.waiting.drain(..over);
        over
    }

    /// Writes all of it, so that it survives a loss of power.
    ///
    /// # Errors
    /// Returns an error where it can't be written; the file stays as it was.
    pub(crate) fn save(&self) -> io::Result<()> {
        let watched = self.watched.iter().map(|(spot, watched)| (spot.clone(), *watched)).collect();
        let (waiting, cameras) = (self.waiting.clone(), self.cameras.clone());
        let contents = Contents { version: VERSION, watched, waiting, cameras };
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }
}

fn wrong(path: &Path, found: String) -> io::Error {
    let path = path.display();
    let text = format!(
        "found {found} in {path} (notify.state), wanted what was notified, version {VERSION}: move it away, and alerts that fire are told once more"
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Change, tests::alert};
    use crate::notification::Place;

    fn notification(at: i64) -> Notification {
        let spot = Spot { alert: "a".into(), place: Place { store: "s".into(), camera: None } };
        let change = Change { since_us: at * 1_000_000, at_us: at * 1_000_000, people: Some(1.0), ending: None };
        Notification::of(&spot, Some(&alert(0.0, 1)), &change)
    }

    #[test]
    fn what_is_remembered_is_there_again_and_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/alerts.json");
        let mut book = Book::open(&path).unwrap().unwrap();
        assert!(Book::open(&path).unwrap().is_none(), "a second process waits");
        let spot = Spot { alert: "a".into(), place: Place { store: "s".into(), camera: Some("c".into()) } };
        let watched = Watched { judged_us: 60, since_us: Some(0), is_firing: true };
        book.watched.insert(spot.clone(), watched);
        book.add(notification(7));
        book.save().unwrap();
        drop(book);
        let book = Book::open(&path).unwrap().unwrap();
        assert_eq!(book.watched, BTreeMap::from([(spot, watched)]));
        assert_eq!(book.waiting, [notification(7)]);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 2, "the file and its lock, nothing half-written");
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(&folder.path().join("alerts.json")).unwrap().unwrap();
        let gone: usize = (0..1_003).map(|at| book.add(notification(at))).sum();
        assert_eq!((gone, book.waiting.len()), (3, WAITING_MAX));
        assert_eq!(book.waiting.back(), Some(&notification(1_002)));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = Book::open(&folder.path().join("file/alerts.json")).unwrap_err().to_string();
        assert!(error.contains("file/alerts.json (notify.state): "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.json");
        for text in ["", "{}", "[1]", r#"{"version":2,"watched":[],"waiting":[]}"#] {
            fs::write(&path, text).unwrap();
            let error = Book::open(&path).unwrap_err().to_string();
            assert!(error.contains("(notify.state), wanted what was notified, version 1"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}

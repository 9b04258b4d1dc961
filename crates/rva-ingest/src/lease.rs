//! The lease of a data folder, so that one ingest works in it: a lock on a file, which ends with the process that holds
//! it.

use rva_types::DataFolder;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The interval at which a standby looks whether the first has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The longest text of a process id that is read from the file.
const PID_BYTES_MAX: u64 = 20;

/// An error that says why there is no lease and won't be one.
#[derive(Debug, thiserror::Error)]
#[error("{}: can't be locked: {error}", path.display())]
pub struct LeaseError {
    path: PathBuf,
    error: io::Error,
}

/// The holder of a lease: another process that ingests into this data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBy {
    /// Its process id, where the file told.
    pub pid: Option<u32>,
}

impl HeldBy {
    /// Says who it is.
    pub fn who(self) -> String {
        self.pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    }

    /// Says that it is waited for.
    pub fn waiting_for(self, dir: &Path) -> String {
        format!("{} ingests into {}: waiting as a standby until it ends", self.who(), dir.display())
    }
}

/// The right to ingest into a data folder. It ends when this is dropped or the process dies, however it dies.
///
/// The lease is only good manners: the fence of the commit (I4) keeps two ingests from doing harm.
#[derive(Debug)]
pub struct IngestLease {
    file: File,
}

impl IngestLease {
    /// Takes the lease, or returns its holder.
    ///
    /// # Errors
    /// Returns an error where the lock file can't be opened, locked or written.
    pub fn try_acquire(data_dir: &Path) -> Result<Result<Self, HeldBy>, LeaseError> {
        let path = DataFolder::at(data_dir).ingest_lock();
        let at = |error| LeaseError { path: path.clone(), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&file).take(PID_BYTES_MAX).read_to_string(&mut text);
                return Ok(Err(HeldBy { pid: read.ok().and_then(|_| text.trim().parse().ok()) }));
            }
            Err(TryLockError::Error(error)) => return Err(at(error)),
        }
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(at)?;
        Ok(Ok(Self { file }))
    }

    /// Takes the lease, waiting as a standby while another process holds it; `on_standby` hears of that once. The
    /// future may be dropped while it waits.
    ///
    /// # Errors
    /// Returns an error where the lock file can't be opened, locked or written.
    pub async fn acquire(data_dir: &Path, on_standby: impl FnOnce(HeldBy)) -> Result<Self, LeaseError> {
        let mut on_standby = Some(on_standby);
        loop {
            match Self::try_acquire(data_dir)? {
                Ok(lease) => return Ok(lease),
                Err(held) => {
                    if let Some(tell) = on_standby.take() {
                        tell(held);
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for IngestLease {
    fn drop(&mut self) {
        // The lock ends with the file; an empty file tells a human that nobody holds it.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(file = DataFolder::INGEST_LOCK, %error, "the lock file can't be emptied");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_the_lease_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let first = IngestLease::try_acquire(dir.path()).unwrap().unwrap();
        let held = IngestLease::try_acquire(dir.path()).unwrap().unwrap_err();
        assert_eq!(held.pid, Some(std::process::id()));
        drop(first);
        assert!(IngestLease::try_acquire(dir.path()).unwrap().is_ok());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = IngestLease::try_acquire(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/ingest.lock"), "{error}");
    }

    #[tokio::test]
    async fn a_standby_says_so_once_and_takes_over() {
        let dir = tempfile::tempdir().unwrap();
        let first = IngestLease::try_acquire(dir.path()).unwrap().unwrap();
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let path = dir.path().to_owned();
        let second = tokio::spawn(async move { IngestLease::acquire(&path, |held| told.send(held).unwrap()).await });
        assert_eq!(heard.recv().await.unwrap().pid, Some(std::process::id()));
        drop(first);
        second.await.unwrap().unwrap();
        assert!(heard.recv().await.is_none(), "said once");
    }
}

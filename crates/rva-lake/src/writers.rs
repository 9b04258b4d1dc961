//! The programs that write to the tables of a data folder, by a lock on its folder of tables: whoever is alone there
//! knows that a file that no snapshot names is nobody's any more.

use std::fs::{File, TryLockError};
use std::path::Path;

/// The lock of one program that may write, shared with all others.
#[derive(Debug)]
pub(crate) struct Writers(File);

impl Writers {
    /// Joins the writers to a folder of tables. `None` where the file system has no locks: then nobody is ever alone.
    pub(crate) fn join(folder: &Path) -> Option<Self> {
        let file = File::open(folder).ok()?;
        file.lock_shared().ok()?;
        Some(Self(file))
    }

    /// Keeps all others from joining, if there is no other. The caller writes nothing meanwhile.
    pub(crate) fn alone(&self) -> Option<Alone<'_>> {
        // Dropped in any case: a lock that couldn't be had alone may have been lost.
        let guard = Alone(&self.0);
        self.0.unlock().ok()?;
        match self.0.try_lock() {
            Ok(()) => Some(guard),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
        }
    }
}

/// The time while no other program writes.
pub(crate) struct Alone<'a>(&'a File);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
        let _ = self.0.lock_shared();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_alone_beside_another_and_the_others_wait_for_one_who_is() {
        let folder = tempfile::tempdir().unwrap();
        let one = Writers::join(folder.path()).unwrap();
        let two = Writers::join(folder.path()).unwrap();
        assert!(one.alone().is_none() && two.alone().is_none());
        drop(two);
        let alone = one.alone().unwrap();
        let there = folder.path().to_owned();
        let (told, heard) = std::sync::mpsc::channel();
        let joining = std::thread::spawn(move || {
            let three = Writers::join(&there);
            told.send(()).unwrap();
            three
        });
        assert!(heard.recv_timeout(std::time::Duration::from_millis(200)).is_err(), "it had to wait");
        drop(alone);
        let three = joining.join().unwrap().unwrap();
        assert!(one.alone().is_none());
        drop(three);
        assert!(one.alone().is_some());
    }
}

//! The folder where a query goes on when its memory is full, removed however it ends.

use crate::{exit::Exit, terminal::Terminal};
use anyhow::Context;
use rva_service::StopFlag;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

/// The interval at which the watcher looks for a signal.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A folder of this process, removed when it is dropped.
pub struct SpillFolder {
    path: PathBuf,
}

impl SpillFolder {
    /// Makes a folder in `folder`, or where the system keeps temporary files.
    ///
    /// # Errors
    /// Returns an error where it can't be made.
    pub fn make(folder: Option<&Path>) -> anyhow::Result<Self> {
        let parent = folder.map_or_else(std::env::temp_dir, Path::to_owned);
        let made =
            (0..).map(|number: u32| parent.join(format!("rva-query-{}-{number}", process::id()))).find_map(|path| {
                match make_private(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    made => Some(made.map(|()| path)),
                }
            });
        let path = made.context("found no free name")?;
        let path =
            path.with_context(|| format!("make a folder to spill to in {} (query.spill_dir)", parent.display()))?;
        Ok(Self { path })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the process when a signal comes: at once, whatever the query or the reader of its rows does, and without
    /// leaving the folder behind.
    ///
    /// # Errors
    /// Returns an error where no thread can be started.
    pub fn ends_with(&self, stop: StopFlag, terminal: &Terminal) -> anyhow::Result<()> {
        let (path, terminal) = (self.path.clone(), terminal.clone());
        let watch = move || loop {
            if stop.is_set() {
                // Files may still be made while it is removed.
                let _ = (0..3).any(|_| fs::remove_dir_all(&path).is_ok());
                terminal.say("the query was stopped");
                process::exit(Exit::Interrupted.code().into());
            }
            std::thread::sleep(LOOK_EVERY);
        };
        std::thread::Builder::new().name("signals".into()).spawn(watch).context("start a thread")?;
        Ok(())
    }
}

/// Makes a folder that only its owner can enter: spilled rows are nobody else's business.
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(folder = %self.path.display(), %error, "the folder that a query spilled to stays behind");
        }
    }
}

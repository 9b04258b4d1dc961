//! The zones and lines of the configuration, on their way to `rva.zones`.

use crate::{Drawing, draw, may_pass};
use async_recursion::async_recursion as boxed;
use rva_lake::LakeError;
use rva_service::{Loaded, tables::TableSettings};
use rva_types::{CameraId, StoreId, Timestamp};
use std::time::SystemTime;
use tokio::sync::watch;

/// The newest drawing of the configuration, for whoever writes it into the table.
pub struct Drawings(Option<watch::Sender<Drawing>>);

impl Drawings {
    /// Takes the zones and lines of a configuration, for `cameras` and those that will be seen. Where there is no file and
    /// nothing is drawn, nobody has said anything, and the table stays as it is: a file that holds none says that there
    /// are none.
    ///
    /// # Errors
    /// Returns an error for an id or a pattern that is none.
    pub fn of(loaded: &Loaded, cameras: &[(StoreId, CameraId)]) -> Result<Self, LakeError> {
        let config = &loaded.config;
        let is_said = loaded.file.is_some() || !config.zones.is_empty();
        let drawing = is_said.then(|| drawing(loaded, cameras)).transpose()?;
        Ok(Self(drawing.map(|drawing| watch::channel(drawing).0)))
    }

    /// Returns what always holds the newest drawing; `None` where there is none.
    pub fn newest(&self) -> Option<watch::Receiver<Drawing>> {
        self.0.as_ref().map(watch::Sender::subscribe)
    }

    /// Takes the zones and lines of a configuration that was read again: valid from now on.
    ///
    /// # Errors
    /// Returns the errors of [`Self::of`].
    pub fn take(&self, loaded: &Loaded, cameras: &[(StoreId, CameraId)]) -> Result<(), LakeError> {
        if let Some(sender) = &self.0 {
            sender.send_replace(drawing(loaded, cameras)?);
        }
        Ok(())
    }

    /// Writes the drawing into the table where nobody keeps silver and gold: it is valid from now on,
    /// whoever brings gold up later.
    ///
    /// # Errors
    /// Returns the errors of the catalog and the storage that no waiting cures; the others are logged.
    #[boxed]
    pub async fn write(&self, tables: &TableSettings) -> Result<(), LakeError> {
        let Some(sender) = &self.0 else { return Ok(()) };
        let drawing = sender.borrow().clone();
        if drawing.is_empty() {
            return Ok(());
        }
        let written = async { draw(&tables.open().await?, drawing).await };
        match written.await {
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, "could not write zones and lines, leaves them to `rva refine`");
                Ok(())
            }
            written => written,
        }
    }
}

fn drawing(loaded: &Loaded, cameras: &[(StoreId, CameraId)]) -> Result<Drawing, LakeError> {
    let now = Timestamp::from(SystemTime::now());
    Ok(Drawing::of(&loaded.config, now)?.with_cameras(cameras.iter().cloned()))
}

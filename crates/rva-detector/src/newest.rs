//! The newest frame of a camera, for whoever looks at it now and then.

use crate::FrameTap;
use rva_vision::TrackedFrame;
use std::sync::Arc;
use tokio::sync::watch;

/// A member of the taps that keeps the newest frame alone: the pipeline never waits for who looks, and frames that
/// nobody looked at are let go. One picture is held at a time. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct NewestFrame(watch::Sender<Option<Arc<TrackedFrame>>>);

impl NewestFrame {
    /// Returns the tap that fills it. A camera that is opened again goes on in the same one.
    pub fn tap(&self) -> FrameTap {
        let newest = self.0.clone();
        Box::new(move |frame: &TrackedFrame| {
            newest.send_replace(Some(Arc::new(frame.clone())));
        })
    }

    /// Returns the newest frame; `None` before the first.
    pub fn get(&self) -> Option<Arc<TrackedFrame>> {
        self.0.borrow().clone()
    }

    /// Returns what can wait for a newer one.
    pub fn follow(&self) -> watch::Receiver<Option<Arc<TrackedFrame>>> {
        self.0.subscribe()
    }
}

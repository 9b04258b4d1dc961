//! One sink for several cameras.

use rva_bus::{BusError, EventSink, OutgoingMessage};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A sink that several cameras write to, since a log has one writer. Clones write to the same sink, each message whole;
/// the order within a camera is kept. While one waits for room, the others wait too.
#[derive(Clone)]
pub struct SharedSink(Arc<Mutex<Box<dyn EventSink>>>);

impl SharedSink {
    /// Shares a sink. It is closed when the last clone is dropped.
    pub fn new(sink: impl EventSink + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(sink))))
    }
}

#[async_trait::async_trait]
impl EventSink for SharedSink {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        self.0.lock().await.send(message).await
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        self.0.lock().await.flush().await
    }
}

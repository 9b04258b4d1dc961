//! A log that needs a moment for what it promises, as a broker does.

use rva_bus::{BusError, EventSource, Message, PartitionRange};
use rva_types::OffsetMap;
use std::time::Duration;

/// Gives the messages of another source one by one, and only to who waits for them.
pub struct SlowSource<Inner>(pub Inner);

#[async_trait::async_trait]
impl<Inner: EventSource> EventSource for SlowSource<Inner> {
    fn identity(&self) -> &str {
        self.0.identity()
    }

    async fn partitions(&mut self) -> Result<Vec<PartitionRange>, BusError> {
        self.0.partitions().await
    }

    async fn seek(&mut self, offsets: &OffsetMap) -> Result<(), BusError> {
        self.0.seek(offsets).await
    }

    async fn poll(&mut self, _: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
        if wait.is_zero() {
            return Ok(Vec::new());
        }
        self.0.poll(1, wait).await
    }

    async fn acknowledge(&mut self, committed: &OffsetMap) -> Result<(), BusError> {
        self.0.acknowledge(committed).await
    }
}

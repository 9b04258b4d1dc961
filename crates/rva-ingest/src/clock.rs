//! Time as an argument: the loop asks a [`Clock`], so that a test can turn hours into nothing.

use rva_types::Timestamp;
use std::time::{Duration, Instant, SystemTime};

/// The clock that the loop gets its time from.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    /// Returns wall time, for `ingest_ts`. It may jump.
    fn wall(&self) -> Timestamp;

    /// Returns the time since some fixed moment, for intervals. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits for so long.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Makes a clock that counts from now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

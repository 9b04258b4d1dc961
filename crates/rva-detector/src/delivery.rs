//! Delivery from the pipeline's thread into the sink: nothing is dropped, and a sink that is away is waited for.

use rva_bus::{BusError, BusErrorKind, EventSink, OutgoingMessage};
use rva_types::DoublingWait;
use std::time::{Duration, Instant};

/// The waits between two tries of a send that may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPace {
    /// The wait before the second try; doubled after each.
    pub wait_first: Duration,
    /// The longest wait.
    pub wait_max: Duration,
}

impl Default for RetryPace {
    /// Returns 100 ms, at most 5 s.
    fn default() -> Self {
        Self { wait_first: Duration::from_millis(100), wait_max: Duration::from_secs(5) }
    }
}

/// The fate of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Accepted,
    /// The message was refused for good; the next may pass.
    Rejected,
}

/// A sink that is waited for while its errors are transient.
pub(crate) struct PatientSink<'a> {
    sink: &'a mut dyn EventSink,
    pace: RetryPace,
    /// The function that is told when waiting begins and ends.
    on_wait: &'a (dyn Fn(bool) + Send + Sync),
}

impl<'a> PatientSink<'a> {
    pub(crate) fn new(sink: &'a mut dyn EventSink, pace: RetryPace, on_wait: &'a (dyn Fn(bool) + Send + Sync)) -> Self {
        Self { sink, pace, on_wait }
    }

    /// Sends until the message is accepted or refused.
    ///
    /// # Errors
    /// Returns those of kind conflict or permanent: no retry cures them.
    pub(crate) async fn send(&mut self, message: OutgoingMessage) -> Result<Sent, BusError> {
        let mut waiting = Waiting::new(self.pace);
        loop {
            match self.sink.send(message.clone()).await {
                Ok(()) => {
                    waiting.over(self.on_wait);
                    return Ok(Sent::Accepted);
                }
                Err(error) if error.kind() == BusErrorKind::Rejected => {
                    waiting.over(self.on_wait);
                    tracing::warn!(%error, "the sink refused a record; going on with the next");
                    return Ok(Sent::Rejected);
                }
                Err(error) => waiting.again_after(error, self.on_wait).await?,
            }
        }
    }

    /// Waits until every accepted message is durable.
    ///
    /// # Errors
    /// Returns those of any kind but transient.
    pub(crate) async fn flush(&mut self) -> Result<(), BusError> {
        let mut waiting = Waiting::new(self.pace);
        loop {
            match self.sink.flush().await {
                Ok(()) => {
                    waiting.over(self.on_wait);
                    return Ok(());
                }
                Err(error) => waiting.again_after(error, self.on_wait).await?,
            }
        }
    }
}

/// The tries of one call.
struct Waiting {
    wait: DoublingWait,
    since: Option<Instant>,
}

impl Waiting {
    fn new(pace: RetryPace) -> Self {
        Self { wait: DoublingWait::new(pace.wait_first, pace.wait_max), since: None }
    }

    /// Waits after a transient error, which is said once for each call; returns any other.
    async fn again_after(&mut self, error: BusError, on_wait: &(dyn Fn(bool) + Send + Sync)) -> Result<(), BusError> {
        if error.kind() != BusErrorKind::Transient {
            return Err(error);
        }
        if self.since.is_none() {
            self.since = Some(Instant::now());
            on_wait(true);
            tracing::warn!(%error, "the sink takes nothing at the moment; reading stops until it does");
        }
        tokio::time::sleep(self.wait.take()).await;
        Ok(())
    }

    fn over(&self, on_wait: &(dyn Fn(bool) + Send + Sync)) {
        if let Some(since) = self.since {
            on_wait(false);
            tracing::info!(waited_s = since.elapsed().as_secs_f64(), "the sink takes records again");
        }
    }
}

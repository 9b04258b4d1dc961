//! Complaints of a decoder, told seldom.

use std::time::{Duration, Instant};

/// The least time between two times that they are told.
const EVERY: Duration = Duration::from_secs(10);

/// The complaints that were told, and the time of the last.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: u64,
    at: Option<Instant>,
}

impl Complaints {
    /// Logs that there are `errors` until now, if there are more than were told, and not too soon after the last time.
    pub(super) fn say(&mut self, uri: &str, errors: u64, frame: u64, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if errors == self.told || self.at.is_some_and(|at| now.duration_since(at) < EVERY) {
            return;
        }
        let complaints = errors - self.told;
        (self.told, self.at) = (errors, Some(now));
        tracing::warn!(source = uri, complaints, frame, line = line(), "found damaged data in the stream; it goes on");
    }
}

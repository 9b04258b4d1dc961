//! Stopping: the first signal asks, the second insists.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::{JoinError, JoinHandle};

/// The interval at which an async wait looks at the flag: a clean stop may be late by that.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A request to stop, shared by everything that runs. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct StopFlag {
    flag: Arc<AtomicBool>,
}

impl StopFlag {
    /// Makes a flag that nothing but [`StopFlag::stop`] sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a flag that SIGINT and SIGTERM set. When either comes a second time, the process exits at once, with 130
    /// or 143, from within the signal: nothing that hangs can keep it.
    ///
    /// # Errors
    /// Returns an error where the system refuses to install the signal actions.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Self::new();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order: the first signal finds the flag unset and only sets it.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.flag))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.flag))?;
        }
        Ok(stop)
    }

    /// Asks everything to stop.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Returns whether a stop was asked for.
    pub fn is_stopped(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Returns the flag itself, for code that knows only `AtomicBool`.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Waits until a stop is asked for.
    pub async fn stopped(&self) {
        while !self.is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits for a task's end, from when `stop` is set for `patience` at most. `None`: it goes on.
pub async fn ended_or_stopped<T>(
    task: &mut JoinHandle<T>,
    patience: Duration,
    stop: &StopFlag,
) -> Option<Result<T, JoinError>> {
    let stopped = async {
        stop.stopped().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = task => Some(ended),
        () = stopped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_the_same_flag() {
        let stop = StopFlag::new();
        let other = stop.clone();
        assert!(!other.is_stopped());
        stop.stop();
        assert!(other.is_stopped() && other.shared().load(Ordering::SeqCst));
    }

    #[test]
    fn the_first_signal_only_sets_the_flag() {
        let stop = StopFlag::on_signals().unwrap();
        signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
        assert!(stop.is_stopped());
    }
}

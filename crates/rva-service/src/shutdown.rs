//! Stopping: the first signal asks, the second insists.

use rva_types::StopFlag;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};

/// The interval at which an async wait looks at the flag: a clean stop may be late by that.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Makes a flag that SIGINT and SIGTERM set. When either comes a second time, the process exits at once, with 130 or
/// 143, from within the signal: nothing that hangs can keep it.
///
/// # Errors
/// Returns an error where the system refuses to install the signal actions.
pub fn stop_on_signals() -> std::io::Result<StopFlag> {
    let stop = StopFlag::new();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal finds the flag unset and only sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.shared())?;
        signal_hook::flag::register(signal, stop.shared())?;
    }
    Ok(stop)
}

/// Waits until a stop is asked for.
pub async fn stopped(stop: &StopFlag) {
    while !stop.is_set() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for a task's end, from when `stop` is set for `patience` at most. `None`: it goes on.
pub async fn ended_or_stopped<T>(
    task: &mut JoinHandle<T>,
    patience: Duration,
    stop: &StopFlag,
) -> Option<Result<T, JoinError>> {
    let given_up = async {
        stopped(stop).await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = task => Some(ended),
        () = given_up => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_only_sets_the_flag() {
        let stop = stop_on_signals().unwrap();
        signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
        assert!(stop.is_set());
    }
}

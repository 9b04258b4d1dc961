//! The end of a role's task, or of the patience with it.

use rva_service::StopFlag;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};

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

//! Workers that race for one table.

use rva_lake::{CommitOutcome, LakeError, LakeErrorKind};

/// Lets each worker commit `rounds` times, all at once: `attempt` gets the worker and the round, plans anew and commits,
/// and is called again where it lost against another one.
///
/// # Panics
/// Panics where an attempt fails with anything that a retry doesn't cure.
pub async fn race<Worker>(
    workers: Vec<Worker>,
    rounds: i64,
    attempt: impl AsyncFn(&mut Worker, i64) -> Result<CommitOutcome, LakeError>,
) {
    let attempt = &attempt;
    let each = workers.into_iter().map(move |mut worker| async move {
        for round in 0..rounds {
            loop {
                match attempt(&mut worker, round).await {
                    Ok(CommitOutcome::Committed { .. }) => break,
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}"),
                }
            }
        }
    });
    futures::future::join_all(each).await;
}

//! Runs the steps in a loop that follows bronze until it is told to end.

use crate::counters::RefineCounters;
use crate::error::Trouble;
use crate::refine::Refine;
use crate::step::Stepped;
use rva_lake::LakeErrorKind;
use rva_types::DoublingWait;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The first wait after an error that may pass; it doubles.
const AGAIN_MIN: Duration = Duration::from_millis(200);

/// The longest wait after such an error.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// The number of such errors one after another at which a drain gives up.
const FAILURES_MAX: u32 = 8;

/// The least rest after a step, as a multiple of the time that it took: steps take at most a quarter of all time.
const IDLE_PER_STEP: u32 = 3;

/// The longest such rest, in intervals: who caught up with a backlog in one long step has no less to do after it.
const IDLE_INTERVALS_MAX: u32 = 2;

/// The task of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefinePhase {
    /// Looks at bronze again and again.
    Follow,
    /// Ends once every table is as new as bronze.
    Drain,
    /// Ends at once; each table stays at its position.
    Stop,
}

/// Hears what was done after each step; the text is why it can't go on, if it can't.
pub type RefineObserver<'a> = &'a mut (dyn FnMut(&RefineCounters, Option<&str>) + Send);

/// Runs steps until the phase says that it is over. Tables that aren't open yet are opened first, as often as it takes.
///
/// # Errors
/// Returns the error that nothing cures by itself; while draining also the ninth in a row that may pass.
pub async fn run_refine<Opening: Future<Output = Result<Refine, Trouble>>>(
    mut refine: Option<Refine>,
    open: impl Fn() -> Opening,
    interval: Duration,
    mut phase: watch::Receiver<RefinePhase>,
    observer: RefineObserver<'_>,
) -> Result<(), Trouble> {
    let (mut again, mut failures) = (DoublingWait::new(AGAIN_MIN, AGAIN_MAX), 0);
    loop {
        let now = *phase.borrow_and_update();
        let start = Instant::now();
        let stepped = match now {
            RefinePhase::Stop => return Ok(()),
            _ => tokio::select! {
                stepped = step(&mut refine, &open) => stepped,
                // Wherever it is cut off, the tables say where it goes on.
                () = stopped(phase.clone()) => return Ok(()),
            },
        };
        let wait = match stepped {
            Ok(stepped) => {
                again.reset();
                failures = 0;
                tell(refine.as_ref(), None, observer);
                match (now, stepped) {
                    (RefinePhase::Drain, Stepped::Idle) => return Ok(()),
                    (RefinePhase::Drain, Stepped::Moved) => continue,
                    _ => rest(interval, start.elapsed()),
                }
            }
            Err(error) if may_pass(&error) && !(now == RefinePhase::Drain && failures >= FAILURES_MAX) => {
                failures += 1;
                if let Some(refine) = &mut refine {
                    refine.counters.retries += 1;
                }
                tracing::warn!(%error, failures, "could not refine, tries again");
                tell(refine.as_ref(), Some(&error.to_string()), observer);
                again.take()
            }
            Err(error) => return Err(error),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = phase.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// Returns how long the loop rests after a step that took so long.
fn rest(interval: Duration, took: Duration) -> Duration {
    (took * IDLE_PER_STEP).clamp(interval, interval * IDLE_INTERVALS_MAX)
}

async fn step<Opening: Future<Output = Result<Refine, Trouble>>>(
    refine: &mut Option<Refine>,
    open: &impl Fn() -> Opening,
) -> Result<Stepped, Trouble> {
    let refine = match refine {
        Some(refine) => refine,
        None => refine.insert(open().await?),
    };
    refine.step().await
}

/// Tells the totals; nothing is counted of tables that aren't open.
fn tell(refine: Option<&Refine>, trouble: Option<&str>, observer: RefineObserver<'_>) {
    match refine {
        Some(refine) => observer(&refine.counters, trouble),
        None => observer(&RefineCounters::default(), trouble),
    }
}

/// Returns whether an error may go away by itself.
pub fn may_pass(error: &Trouble) -> bool {
    matches!(error.kind(), LakeErrorKind::Transient | LakeErrorKind::Conflict)
}

async fn stopped(mut phase: watch::Receiver<RefinePhase>) {
    // Nobody is left to stop it: it goes on.
    if phase.wait_for(|phase| *phase == RefinePhase::Stop).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_followed_by_three_times_its_own_time_within_one_and_two_intervals() {
        let rests = [0, 300, 400, 600, 30_000].map(|took| rest(Duration::from_secs(1), Duration::from_millis(took)));
        assert_eq!(rests.map(|rest| rest.as_millis()), [1_000, 1_000, 1_200, 1_800, 2_000]);
    }
}

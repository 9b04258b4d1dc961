//! Commits that take long, told before they fail: each call inside has time-outs and retries of its own, which add up
//! to minutes.

use rva_lake::{CommitStep, StepObserver};
use rva_service::Health;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Names a commit as a part of the service's health.
const COMMIT: &str = "commit";

/// The time that a step may take before it makes the service unready.
const STEP_MAX: Duration = Duration::from_secs(10);

/// The interval at which it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The step that a commit is at, and the time since when. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct CommitWatch(Arc<Mutex<Option<(CommitStep, Instant)>>>);

impl CommitWatch {
    /// Returns an observer that hears of each step before `next` does.
    pub(super) fn before(&self, next: StepObserver) -> StepObserver {
        let watch = self.clone();
        Arc::new(move |step| {
            watch.set(Some((step, Instant::now())));
            next(step);
        })
    }

    /// Notes that no commit is under way.
    pub(super) fn idle(&self) {
        self.set(None);
    }

    fn set(&self, step: Option<(CommitStep, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// Returns what takes too long at `now`.
    fn overdue(&self, now: Instant) -> Option<String> {
        let (step, since) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let lasts = now.saturating_duration_since(since);
        (lasts > STEP_MAX).then(|| format!("the commit has been at {} for {} s", step.name(), lasts.as_secs()))
    }

    /// Tells the health, without end.
    pub(super) async fn tell(&self, health: &Health) -> Infallible {
        loop {
            match self.overdue(Instant::now()) {
                Some(text) => health.not_ready(COMMIT, text),
                None => health.ready(COMMIT),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_overdue_until_the_next_one() {
        let (watch, start) = (CommitWatch::default(), Instant::now());
        let observer = watch.before(Arc::new(|_| {}));
        assert_eq!(watch.overdue(start + STEP_MAX * 9), None, "no commit");
        observer(CommitStep::WriteFiles);
        assert_eq!(watch.overdue(start), None);
        let text = watch.overdue(Instant::now() + STEP_MAX + Duration::from_secs(2)).unwrap();
        assert!(text.contains("write_files for 1"), "{text}");
        watch.idle();
        assert_eq!(watch.overdue(start + STEP_MAX * 9), None);
    }
}

//! The decision when a source is opened again. Time and chance come from the caller.

use rva_types::DoublingWait;
use rva_vision::Reopen;
use std::time::Duration;

/// The waits before a source that broke off or can't be opened is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectPace {
    /// The wait before the first try; doubled after each that fails.
    pub first: Duration,
    /// The longest wait, which is also that for troubles that heal only when somebody changes something.
    pub max: Duration,
}

impl Default for ReconnectPace {
    /// Returns 1 s, at most 60 s.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(60) }
    }
}

/// The pauses of one source.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: ReconnectPace,
    wait: DoublingWait,
}

impl Backoff {
    pub(super) fn new(pace: ReconnectPace) -> Self {
        Self { pace, wait: DoublingWait::new(pace.first, pace.max) }
    }

    /// Returns the pause before the next opening; `None` where there is no use in one. `chance`, in [0, 1), shortens it
    /// by up to half: cameras behind one switch that comes back must not all knock at the same moment.
    pub(super) fn pause(&mut self, reopen: Reopen, chance: f64) -> Option<Duration> {
        if reopen == Reopen::Never {
            return None;
        }
        let due = self.wait.take();
        let whole = match reopen {
            Reopen::AtOnce if due == self.pace.first => Duration::ZERO,
            // One that changes again and again isn't one that is well.
            Reopen::AtOnce | Reopen::Soon => due,
            Reopen::Seldom | Reopen::Never => self.pace.max,
        };
        Some(whole.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0))
    }

    /// Notes that a run lasted so long: one that outlasts the pause that is due has healed.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time >= self.wait.due() {
            self.wait.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: ReconnectPace = ReconnectPace { first: Duration::from_secs(1), max: Duration::from_secs(10) };

    fn seconds(backoff: &mut Backoff, reopen: Reopen, chance: f64) -> Option<f64> {
        backoff.pause(reopen, chance).map(|pause| pause.as_secs_f64())
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_run_that_lasted() {
        let mut backoff = Backoff::new(PACE);
        let pauses: Vec<_> = (0..6).map(|_| seconds(&mut backoff, Reopen::Soon, 0.0).unwrap()).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
        backoff.lasted(Duration::from_secs(9));
        assert_eq!(seconds(&mut backoff, Reopen::Soon, 0.0), Some(10.0), "it broke off sooner than it was waited for");
        backoff.lasted(Duration::from_secs(10));
        assert_eq!(seconds(&mut backoff, Reopen::Soon, 0.0), Some(1.0));
    }

    #[test]
    fn chance_takes_up_to_half() {
        let pauses = [0.0, 0.5, 0.999].map(|chance| seconds(&mut Backoff::new(PACE), Reopen::Soon, chance).unwrap());
        assert!(pauses[0] == 1.0 && pauses[1] == 0.75 && pauses[2] > 0.5 && pauses[2] < 0.51, "{pauses:?}");
    }

    #[test]
    fn what_somebody_must_change_waits_longest_and_what_no_opening_cures_is_given_up() {
        let mut backoff = Backoff::new(PACE);
        assert_eq!(seconds(&mut backoff, Reopen::Seldom, 0.0), Some(10.0));
        assert_eq!(seconds(&mut backoff, Reopen::Never, 0.0), None);
    }

    #[test]
    fn a_changed_stream_goes_on_at_once_but_not_in_a_circle() {
        let mut backoff = Backoff::new(PACE);
        assert_eq!(seconds(&mut backoff, Reopen::AtOnce, 0.0), Some(0.0));
        assert_eq!(seconds(&mut backoff, Reopen::AtOnce, 0.0), Some(2.0));
        backoff.lasted(Duration::from_secs(60));
        assert_eq!(seconds(&mut backoff, Reopen::AtOnce, 0.0), Some(0.0));
    }
}

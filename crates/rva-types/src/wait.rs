//! Waits between tries.

use std::time::Duration;

/// A wait that doubles with each try that fails, up to a longest one, and begins anew when one succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoublingWait {
    first: Duration,
    max: Duration,
    /// The number of waits since the last success.
    taken: u32,
}

impl DoublingWait {
    /// Makes one that begins with `first`; no wait is longer than `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, taken: 0 }
    }

    /// Returns the wait that is due, without taking it.
    pub fn due(&self) -> Duration {
        Self::nth(self.first, self.max, self.taken)
    }

    /// Returns how many waits were taken since the last success.
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// Takes the wait that is due; the next one is twice as long.
    pub fn take(&mut self) -> Duration {
        let due = self.due();
        self.taken = self.taken.saturating_add(1);
        due
    }

    /// Begins anew: something succeeded.
    pub fn reset(&mut self) {
        self.taken = 0;
    }

    /// Returns the wait behind so many others.
    fn nth(first: Duration, max: Duration, taken: u32) -> Duration {
        first.saturating_mul(2u32.saturating_pow(taken)).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let seconds =
            |wait: &mut DoublingWait, count: usize| -> Vec<u64> { (0..count).map(|_| wait.take().as_secs()).collect() };
        let mut wait = DoublingWait::new(Duration::from_secs(1), Duration::from_secs(10));
        assert_eq!(seconds(&mut wait, 6), [1, 2, 4, 8, 10, 10]);
        assert_eq!(wait.taken(), 6);
        wait.reset();
        assert_eq!((wait.taken(), wait.due().as_secs(), seconds(&mut wait, 2)), (0, 1, vec![1, 2]));
        let mut long = DoublingWait::new(Duration::from_secs(9), Duration::from_secs(5));
        assert_eq!(seconds(&mut long, 1), [5]);
        assert_eq!(DoublingWait::nth(Duration::from_secs(1), Duration::MAX, u32::MAX).as_secs(), u64::from(u32::MAX));
    }
}

//! Transient errors: said once, not at every retry, and said again when they are over.

use std::time::Duration;

/// What keeps the loop from going on, and for how many attempts.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    now: Option<(&'static str, String)>,
    attempts: u32,
}

impl Trouble {
    /// An attempt failed. Returns how long to wait before the next: from `min`, doubling, up to `max`.
    pub(crate) fn note(&mut self, place: &'static str, text: &str, min: Duration, max: Duration) -> Duration {
        let known = self.now.as_ref().is_some_and(|(at, said)| *at == place && said == text);
        if !known {
            tracing::warn!("{place}: {text}; reading stops until it is over, the log keeps everything");
            self.now = Some((place, text.to_owned()));
        }
        let wait = min.saturating_mul(1 << self.attempts.min(16)).min(max);
        self.attempts += 1;
        wait
    }

    /// An attempt at `place` succeeded.
    pub(crate) fn cured(&mut self, place: &'static str) -> bool {
        if self.now.as_ref().is_none_or(|(at, _)| *at != place) {
            return false;
        }
        tracing::info!("{place}: works again after {} failed attempts", self.attempts);
        *self = Self::default();
        true
    }

    /// Failed attempts since the last success.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew_when_cured() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut trouble = Trouble::default();
        let waits: Vec<_> = (0..5).map(|_| trouble.note("log", "away", min, max).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000]);
        assert!(!trouble.cured("table"), "another place's success cures nothing");
        assert!(trouble.cured("log"));
        assert_eq!(trouble.note("log", "away", min, max), min);
    }
}

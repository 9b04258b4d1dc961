//! Transient errors, which are said once and not at every retry, said again while they last with what can be done, and
//! said when they are over.

use rva_types::DoublingWait;
use std::time::Duration;

/// The times that a trouble lasts before it is said again, with what can be done about it; the last one repeats.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3600), Duration::from_secs(6 * 3600)];

/// The trouble that keeps the loop from going on, and its duration.
#[derive(Debug)]
pub(crate) struct Trouble {
    now: Option<Now>,
    wait: DoublingWait,
}

#[derive(Debug)]
struct Now {
    place: &'static str,
    /// The text that was said last, and the time.
    said: (String, Duration),
    since: Duration,
    /// The number of times that it was said again.
    reminders: usize,
}

/// The outcome of noting a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The wait before the next attempt.
    pub wait: Duration,
    /// The time that the trouble has lasted.
    pub lasts: Duration,
}

impl Trouble {
    /// Starts without any; the waits between attempts are those of `wait`.
    pub(crate) fn new(wait: DoublingWait) -> Self {
        Self { now: None, wait }
    }

    /// Notes that an attempt failed at `now`.
    pub(crate) fn note(&mut self, place: &'static str, text: &str, way_out: Option<&str>, now: Duration) -> Noted {
        let lasts = match self.now.take().filter(|known| known.place == place) {
            None => {
                tracing::warn!(place, error = %text, "reading stops until this is over, the log keeps everything");
                self.now = Some(Now { place, said: (text.to_owned(), now), since: now, reminders: 0 });
                Duration::ZERO
            }
            Some(mut known) => {
                let lasts = now.saturating_sub(known.since);
                let due = AGAIN.get(known.reminders).copied().unwrap_or(AGAIN[AGAIN.len() - 1]);
                let is_due = if known.reminders < AGAIN.len() { lasts >= due } else { now >= known.said.1 + due };
                if is_due {
                    let way_out = way_out.unwrap_or("look at what it names; it goes on by itself when that works");
                    let lasts_s = lasts.as_secs();
                    tracing::warn!(place, lasts_s, error = %text, way_out = %way_out, "waits for this to be over");
                    known.said = (text.to_owned(), now);
                    known.reminders += 1;
                } else if known.said.0 != text && now >= known.said.1 + AGAIN[0] {
                    // A text with a time in it is another one at every attempt.
                    tracing::warn!(place, error = %text, "still waiting");
                    known.said = (text.to_owned(), now);
                }
                self.now = Some(known);
                lasts
            }
        };
        Noted { wait: self.wait.take(), lasts }
    }

    /// Notes that an attempt at `place` succeeded; returns whether that ends a trouble.
    pub(crate) fn cured(&mut self, place: &'static str) -> bool {
        if self.now.as_ref().is_none_or(|known| known.place != place) {
            return false;
        }
        tracing::info!(place, attempts_failed = self.attempts(), "works again");
        self.now = None;
        self.wait.reset();
        true
    }

    /// Returns the number of failed attempts since the last success.
    pub(crate) fn attempts(&self) -> u32 {
        self.wait.taken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);

    fn none() -> Trouble {
        Trouble::new(DoublingWait::new(FIRST, Duration::from_secs(1)))
    }

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew_when_cured() {
        let mut trouble = none();
        let note = |trouble: &mut Trouble, at: u64| trouble.note("log", "away", None, Duration::from_secs(at));
        let waits: Vec<_> = (0..5).map(|at| note(&mut trouble, at).wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000]);
        assert_eq!(note(&mut trouble, 65).lasts, Duration::from_secs(65));
        assert!(!trouble.cured("table"), "another place's success cures nothing");
        assert!(trouble.cured("log"));
        assert_eq!(note(&mut trouble, 70), Noted { wait: FIRST, lasts: Duration::ZERO });
    }

    #[test]
    fn what_lasts_is_said_again_after_a_minute_and_then_seldom_whatever_the_text_says() {
        let mut trouble = none();
        let mut said = Vec::new();
        for second in 0..8 * 3600 {
            let text = format!("the clock is {second} s behind");
            trouble.note("table", &text, Some("set it right"), Duration::from_secs(second));
            let reminders = trouble.now.as_ref().unwrap().reminders;
            if said.len() < reminders {
                said.push(second);
            }
        }
        assert_eq!(said, [60, 600, 3600, 6 * 3600]);
    }
}

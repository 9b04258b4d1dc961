//! Changes of a live stream since its opening: another rate of pictures.

/// The number of steps that make a rate: it is their median.
const STEPS: usize = 48;
/// The ratio of two rates from which they differ. Cameras vary by less, and change by more (25 to 15).
const RATIO_MIN: f64 = 1.35;
/// The steps that make a rate, in milliseconds: longer ones aren't pictures of a stream but pauses, shorter ones not
/// two pictures.
const STEP_MS: std::ops::Range<f64> = 0.5..5_000.0;

/// A watch of the rate by the stream's own times, so that a machine that lags behind changes nothing.
///
/// The rate is one over the median of the last 48 steps; the first 48 steps after the opening's burst give the one to
/// compare with. Pictures that are lost on the way make some steps longer, and a median ignores them.
#[derive(Debug, Default)]
pub(super) struct RateWatch {
    last_ms: Option<f64>,
    steps: Vec<f64>,
    /// The median step of the opening, in milliseconds.
    opening: Option<f64>,
}

impl RateWatch {
    /// Takes the time of a picture in milliseconds; returns the frames a second before and now where they differ.
    pub(super) fn see(&mut self, ms: f64) -> Option<(f64, f64)> {
        let step = ms - self.last_ms.replace(ms)?;
        if !STEP_MS.contains(&step) {
            return None;
        }
        self.steps.push(step);
        if self.steps.len() < STEPS {
            return None;
        }
        let middle = STEPS / 2;
        let (_, median, _) = self.steps.select_nth_unstable_by(middle, f64::total_cmp);
        let now = *median;
        self.steps.clear();
        let before = *self.opening.get_or_insert(now);
        let ratio = (now / before).max(before / now);
        (ratio >= RATIO_MIN).then_some((1e3 / before, 1e3 / now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds pictures at steps and says what was seen, and after how many.
    fn seen(steps: impl IntoIterator<Item = f64>) -> Option<(usize, i64, i64)> {
        let (mut watch, mut ms) = (RateWatch::default(), 0.0);
        steps.into_iter().enumerate().find_map(|(at, step)| {
            ms += step;
            watch.see(ms).map(|(before, now)| (at, before.round() as i64, now.round() as i64))
        })
    }

    #[test]
    fn another_rate_is_seen_and_named() {
        let (at, before, now) = seen([40.0; 200].into_iter().chain([80.0; 200])).unwrap();
        assert_eq!((before, now), (25, 13));
        assert!((200..300).contains(&at), "{at}");
    }

    #[test]
    fn jitter_lost_pictures_and_pauses_are_no_other_rate() {
        let jitter = (0..2_000).map(|at| 40.0 + f64::from(at * 37 % 21) - 10.0);
        assert_eq!(seen(jitter), None);
        assert_eq!(seen((0..2_000).map(|at| if at % 5 == 0 { 120.0 } else { 40.0 })), None);
        assert_eq!(seen((0..500).map(|at| if at == 250 { 60_000.0 } else { 40.0 })), None);
        assert_eq!(seen([f64::NAN, 0.0, -5.0].repeat(100)), None);
    }
}

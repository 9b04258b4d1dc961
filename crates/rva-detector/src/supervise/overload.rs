//! Overload: the machine is asked for more than it manages.

use rva_vision::FrameCounts;
use std::time::Duration;

/// The share of left out frames from which on it is said, in [0, 1].
const LEFT_OUT_MIN: f64 = 0.1;

/// The interval at which it is said while it lasts.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// A comparison of the frames that came with those that were processed, from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Overload {
    before: FrameCounts,
    /// The time since it was said that it lasts; `None` where it doesn't.
    said: Option<Duration>,
}

impl Overload {
    /// Returns a sentence where more than a tenth of the frames since the last look had to be left out, when that
    /// begins and every ten minutes while it lasts. Frames that a stride leaves out were never wanted.
    pub(super) fn look(&mut self, cameras: usize, now: FrameCounts, since: Duration) -> Option<String> {
        let new = now - std::mem::replace(&mut self.before, now);
        let left_out = new.skipped.by_overload + new.skipped.superseded;
        let wanted = new.processed + left_out;
        if wanted == 0 || (left_out as f64) < wanted as f64 * LEFT_OUT_MIN {
            self.said = None;
            return None;
        }
        let ago = self.said.map(|ago| ago + since);
        let is_due = ago.is_none_or(|ago| ago >= SAY_EVERY);
        self.said = Some(if is_due { Duration::ZERO } else { ago.unwrap_or_default() });
        if !is_due {
            return None;
        }
        let rate = |count: u64| count as f64 / since.as_secs_f64().max(0.001);
        Some(format!(
            "found {:.1} frames a second of {cameras} cameras, managed {:.1}: the others are left out by the capture policy \
             (fewer cameras, --vid-stride, a smaller model or a GPU help)",
            rate(wanted),
            rate(new.processed)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_vision::FramesSkipped;

    fn counts(processed: u64, superseded: u64, by_stride: u64) -> FrameCounts {
        let skipped = FramesSkipped { superseded, by_stride, by_overload: 0 };
        FrameCounts { decoded: processed + superseded + by_stride, processed, skipped, ..FrameCounts::default() }
    }

    #[test]
    fn only_what_was_left_out_since_the_last_look_counts() {
        let mut overload = Overload::default();
        let ten = Duration::from_secs(10);
        assert_eq!(overload.look(1, counts(100, 5, 900), ten), None, "a stride is no overload");
        let text = overload.look(200, counts(200, 4905, 900), ten).unwrap();
        assert!(text.contains("500.0 frames a second of 200 cameras") && text.contains("managed 10.0"), "{text}");
        assert_eq!(overload.look(200, counts(300, 9905, 900), ten), None, "it was said");
        let much_later = overload.look(200, counts(400, 14905, 900), Duration::from_secs(600));
        assert!(much_later.is_some(), "it lasts");
        assert_eq!(overload.look(200, counts(500, 14905, 900), ten), None, "it is over");
        assert!(overload.look(200, counts(600, 19905, 900), ten).is_some(), "it begins again");
        assert_eq!(overload.look(200, counts(600, 19905, 900), ten), None, "nothing came");
    }
}

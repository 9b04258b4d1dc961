//! Media time that always increases, made of times that a container reports rightly most of the time.
//!
//! A time can be judged only by those that follow: a pause lasts, a wild time doesn't. So up to [`AHEAD`] reports of
//! the pictures behind one are looked at before it gets its place.

use rva_types::MediaTime;
use std::collections::VecDeque;

/// The number of reports behind a picture that are looked at where its own is odd.
pub(super) const AHEAD: usize = 4;
/// The step where nothing is known, in microseconds: 25 frames a second.
const UNKNOWN_STEP_MICROS: i64 = 40_000;
/// The number of steps whose median is the usual one.
const STEPS: usize = 15;
/// The number of usual steps up to which a step is in line, and the time beyond them.
const IN_LINE_STEPS: i64 = 3;
const IN_LINE_MICROS: i64 = 500_000;
/// The pause before the very last picture that is believed, in microseconds; nothing behind it can bear it out.
const LAST_PAUSE_MICROS: i64 = 60_000_000;
/// The longest pause within a file, in microseconds: beyond it a clock was set.
const PAUSE_MICROS_MAX: i64 = 24 * 3_600 * 1_000_000;

/// A timeline that makes strictly increasing media times of a container's reports.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    /// The media time of the last picture.
    last: Option<i64>,
    /// The time that is added to a report; it changes where the container's own line breaks off and goes on elsewhere.
    offset: i64,
    /// The last steps that were in line.
    steps: VecDeque<i64>,
    first_step: i64,
    /// The number of reports that weren't believed.
    replaced: u64,
}

impl Timeline {
    /// Makes a timeline before the first frame, which gets 0; a step is one over `fps` while none is known.
    pub(super) fn new(fps: Option<f64>) -> Self {
        let first_step = fps.map_or(UNKNOWN_STEP_MICROS, |fps| ((1e6 / fps).round() as i64).max(1));
        Self { last: None, offset: 0, steps: VecDeque::new(), first_step, replaced: 0 }
    }

    /// Returns the median of the last steps.
    fn usual(&self) -> i64 {
        let mut steps: Vec<i64> = self.steps.iter().copied().collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(self.first_step)
    }

    /// Returns the end of the last frame, one usual step behind its beginning.
    pub(super) fn end(&self) -> MediaTime {
        MediaTime::from_micros(self.last.map_or(0, |last| last.saturating_add(self.usual())))
    }

    /// Returns the longest step that isn't odd.
    fn in_line_max(&self) -> i64 {
        self.usual().saturating_mul(IN_LINE_STEPS).saturating_add(IN_LINE_MICROS)
    }

    /// Returns whether a report needs more than the next one to be judged.
    pub(super) fn is_odd(&self, reported: Option<i64>, next: Option<i64>) -> bool {
        let Some(last) = self.last else { return false };
        let Some(reported) = reported else { return true };
        let step = reported.saturating_add(self.offset).saturating_sub(last);
        step <= 0 || step > self.in_line_max() || next.is_some_and(|next| next < reported)
    }

    /// Returns the media time of the next frame, given the container's reports of it and of those behind it, in
    /// microseconds.
    pub(super) fn place(&mut self, reported: Option<i64>, ahead: &[Option<i64>]) -> MediaTime {
        let Some(last) = self.last else {
            self.offset = reported.map_or(0, i64::saturating_neg);
            self.last = Some(0);
            return MediaTime::from_micros(0);
        };
        let usual = self.usual();
        let own = reported.map(|reported| reported.saturating_add(self.offset));
        let placed = match own {
            Some(own) if self.is_believed(last, own, ahead) => {
                let step = own - last;
                if step <= self.in_line_max() || self.steps.len() < 2 {
                    self.remember(step);
                }
                own
            }
            own => {
                self.replaced += 1;
                match self.returns(last, ahead) {
                    // The line goes on behind it: in between, by even steps.
                    Some((behind, back)) => last + ((back - last) / (behind as i64 + 2)).clamp(1, usual),
                    None => {
                        let placed = last.saturating_add(usual);
                        // Another line begins here, a joined recording or a clock that was set.
                        if let Some(own) = own {
                            self.offset = self.offset.saturating_add(placed.saturating_sub(own));
                        }
                        placed
                    }
                }
            }
        };
        self.last = Some(placed);
        MediaTime::from_micros(placed)
    }

    /// Returns whether the time of a picture is its own: it is on the line, or the line goes on from there.
    fn is_believed(&self, last: i64, own: i64, ahead: &[Option<i64>]) -> bool {
        let step = own.saturating_sub(last);
        if step <= 0 {
            return false;
        }
        let mut known = ahead.iter().flatten().map(|time| time.saturating_add(self.offset));
        if step <= self.in_line_max() {
            // A smaller slip: the next one lies before it and is on the line as well.
            return known.next().is_none_or(|next| next >= own || next <= last);
        }
        if step > PAUSE_MICROS_MAX || self.returns(last, ahead).is_some() {
            return false;
        }
        let known: Vec<i64> = known.collect();
        let Some(next) = known.first() else {
            return step <= LAST_PAUSE_MICROS || self.steps.iter().any(|before| *before >= step / 2);
        };
        // The very first time may be the wild one: the others are far off, and close to each other.
        let is_first_wild = self.steps.is_empty() && step > LAST_PAUSE_MICROS && (next - own).abs() < step / 10;
        known.iter().all(|time| *time > own) && !is_first_wild
    }

    /// Returns where the line is met again: how many reports behind, and when.
    fn returns(&self, last: i64, ahead: &[Option<i64>]) -> Option<(usize, i64)> {
        ahead.iter().enumerate().find_map(|(behind, time)| {
            let time = (*time)?.saturating_add(self.offset);
            let reach = self.in_line_max().saturating_add(self.usual().saturating_mul(behind as i64 + 1));
            (time > last && time.saturating_sub(last) <= reach).then_some((behind, time))
        })
    }

    fn remember(&mut self, step: i64) {
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    /// Returns the media time of the last frame in seconds; 0 before the first.
    pub(super) fn last_secs(&self) -> f64 {
        self.last.unwrap_or_default() as f64 / 1e6
    }

    /// Returns the number of reports that were missing or not believed.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a source places them: with the reports behind each.
    fn placed(fps: Option<f64>, reported: &[Option<i64>]) -> (Vec<i64>, u64) {
        let mut timeline = Timeline::new(fps);
        let times = (0..reported.len()).map(|at| {
            let ahead = &reported[at + 1..reported.len().min(at + 1 + AHEAD)];
            timeline.place(reported[at], ahead).as_micros()
        });
        (times.collect(), timeline.replaced())
    }

    /// Times at 10 frames a second, some of them others, in milliseconds; wanted likewise.
    #[track_caller]
    fn check(reported_ms: &[i64], wanted_ms: &[i64], replaced: u64) {
        let reported: Vec<_> = reported_ms.iter().map(|ms| Some(ms * 1000)).collect();
        let wanted: Vec<_> = wanted_ms.iter().map(|ms| ms * 1000).collect();
        assert_eq!(placed(Some(10.0), &reported), (wanted, replaced));
    }

    #[test]
    fn a_pause_keeps_its_length_wherever_it_is() {
        check(&[0, 100, 200, 3300, 3400], &[0, 100, 200, 3300, 3400], 0);
        check(&[0, 100, 200, 300, 3300], &[0, 100, 200, 300, 3300], 0);
        check(&[0, 3100, 3200, 3300], &[0, 3100, 3200, 3300], 0);
        check(&[0, 60_000, 120_000, 180_000], &[0, 60_000, 120_000, 180_000], 0);
    }

    #[test]
    fn a_wild_time_is_replaced_and_the_line_goes_on() {
        check(&[0, 100, 3_600_200, 300, 400], &[0, 100, 200, 300, 400], 1);
        check(&[0, 100, -9_000, 300, 400], &[0, 100, 200, 300, 400], 1);
        check(&[0, 100, 200, 3_600_300], &[0, 100, 200, 300], 1);
        check(&[0, 100, 9_000_000, 9_000_100, 400, 500], &[0, 100, 200, 300, 400, 500], 2);
        check(&[0, 100, 500, 300, 400], &[0, 100, 200, 300, 400], 1);
        check(&[9_000_000, 100, 200, 300], &[0, 100, 200, 300], 1);
    }

    #[test]
    fn a_recording_that_begins_again_or_whose_clock_is_set_back_goes_on() {
        check(&[0, 100, 200, 0, 100, 200], &[0, 100, 200, 300, 400, 500], 1);
        check(&[5000, 5100, 5200, 1300, 1400, 1500], &[0, 100, 200, 300, 400, 500], 1);
    }

    #[test]
    fn times_that_are_missing_or_twice_there_are_filled_in() {
        let reported: Vec<_> =
            [Some(0), Some(100), None, Some(300), None, None].map(|ms| ms.map(|ms: i64| ms * 1000)).into();
        assert_eq!(placed(Some(10.0), &reported).0, [0, 100_000, 200_000, 300_000, 400_000, 500_000]);
        check(&[0, 100, 100, 200], &[0, 100, 150, 200], 1);
        assert_eq!(placed(None, &[None, None, None]).0, [0, 40_000, 80_000]);
        check(&[-500, -400, -300], &[0, 100, 200], 0);
    }

    proptest! {
        #[test]
        fn times_increase_whatever_is_reported(reported in prop::collection::vec(prop::option::of(prop::num::i64::ANY), 1..50)) {
            let (times, _) = placed(Some(25.0), &reported);
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        }

        #[test]
        fn times_on_a_line_are_kept(step in 1_i64..400_000, count in 2_i64..50) {
            let reported: Vec<_> = (0..count).map(|at| Some(at * step)).collect();
            let wanted: Vec<_> = (0..count).map(|at| at * step).collect();
            prop_assert_eq!(placed(Some(25.0), &reported), (wanted, 0));
        }
    }
}

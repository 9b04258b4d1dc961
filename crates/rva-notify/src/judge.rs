//! The decision: minutes of gold, one after another, to alerts that begin and end. No clock and no I/O.

use crate::hours::Hours;
use chrono_tz::Tz;
use rva_service::{AlertConfig, AlertLimit};
use serde::{Deserialize, Serialize};

/// The microseconds of a minute.
pub(crate) const MINUTE_US: i64 = 60_000_000;

/// The time without a minute after which nobody knows any more whether the condition holds: the alert ends.
pub(crate) const SILENCE_US: i64 = 10 * MINUTE_US;

/// The people of a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MinutePeople {
    /// The start of the minute in microseconds since 1970.
    pub minute_us: i64,
    /// Their number in a frame on average.
    pub average: f64,
    /// The most of them in a frame.
    pub peak: f64,
}

/// The memory of an alert at one place, which a restart goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// The newest minute that was judged; earlier ones count no more.
    pub judged_us: i64,
    /// The first of the minutes, one after another up to the newest, in which the condition held.
    pub since_us: Option<i64>,
    /// Whether it was said that the alert fires.
    pub is_firing: bool,
}

/// The reason why an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// The number came back within its limit.
    WithinLimit,
    /// The hours in which it is watched are over.
    OutOfHours,
    /// There were no pictures any more.
    NoPictures,
    /// The configuration has it no more.
    NotConfigured,
}

/// An alert that begins or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    /// The first moment at which the condition held, in microseconds since 1970.
    pub since_us: i64,
    /// The moment at which it was decided, in microseconds since 1970.
    pub at_us: i64,
    /// The number of people then, where there is one.
    pub people: Option<f64>,
    /// The reason of its end; `None`: it begins.
    pub ending: Option<Ending>,
}

impl Watched {
    /// Judges the minutes that are over, in their order, and returns what changes. `now_us` tells how long there were
    /// none.
    pub(crate) fn judge(
        &mut self,
        alert: &AlertConfig,
        zone: Tz,
        minutes: &[MinutePeople],
        now_us: i64,
    ) -> Vec<Change> {
        let (hours, mut changes) = (Hours::of(alert, zone), Vec::new());
        for minute in minutes {
            if minute.minute_us > self.judged_us {
                changes.extend(self.minute(alert, hours.hold(minute.minute_us), minute));
            }
        }
        if self.is_firing && now_us - (self.judged_us + MINUTE_US) >= SILENCE_US {
            changes.push(self.end(now_us, None, Ending::NoPictures));
        }
        changes
    }

    /// Ends an alert that fires.
    pub(crate) fn end(&mut self, at_us: i64, people: Option<f64>, ending: Ending) -> Change {
        let since_us = self.since_us.take().unwrap_or(at_us);
        self.is_firing = false;
        Change { since_us, at_us, people, ending: Some(ending) }
    }

    fn minute(&mut self, alert: &AlertConfig, is_open: bool, minute: &MinutePeople) -> Option<Change> {
        let follows = minute.minute_us == self.judged_us + MINUTE_US;
        self.judged_us = minute.minute_us;
        let at_us = minute.minute_us + MINUTE_US;
        let (people, holds, is_over) = match alert.limit {
            AlertLimit::Above(limit) => {
                let clear = (limit - alert.hysteresis).max(0.0);
                (minute.average, minute.average > limit, minute.average <= clear)
            }
            AlertLimit::Below(limit) => (minute.peak, minute.peak < limit, minute.peak >= limit + alert.hysteresis),
        };
        if self.is_firing {
            return match (is_open, is_over) {
                (false, _) => Some(self.end(at_us, Some(people), Ending::OutOfHours)),
                (true, true) => Some(self.end(at_us, Some(people), Ending::WithinLimit)),
                (true, false) => None,
            };
        }
        if !(is_open && holds) {
            self.since_us = None;
            return None;
        }
        // A minute without pictures says nothing, so the count begins anew.
        let since_us = self.since_us.filter(|_| follows).unwrap_or(minute.minute_us);
        self.since_us = Some(since_us);
        let wanted_us = i64::try_from(alert.minutes).unwrap_or(i64::MAX).saturating_mul(MINUTE_US);
        if at_us - since_us < wanted_us {
            return None;
        }
        self.is_firing = true;
        Some(Change { since_us, at_us, people: Some(people), ending: None })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use rva_service::AlertOf;

    pub(crate) fn alert(above: f64, minutes: u64) -> AlertConfig {
        AlertConfig {
            name: "queue".into(),
            of: AlertOf::Camera,
            zone: None,
            camera: None,
            store: None,
            limit: AlertLimit::Above(above),
            minutes,
            hysteresis: 1.0,
            between: None,
            days: [true; 7],
        }
    }

    const START: i64 = 1_700_000_000 / 60 * MINUTE_US;

    fn minute(at: i64, people: f64) -> MinutePeople {
        MinutePeople { minute_us: START + at * MINUTE_US, average: people, peak: people.ceil() }
    }

    /// Judges minutes one look after another, and returns in which minute what was told.
    fn told(alert: &AlertConfig, minutes: &[(i64, f64)]) -> Vec<(i64, Option<Ending>)> {
        let mut watched = Watched::default();
        let mut told = Vec::new();
        for (at, people) in minutes {
            let now = START + (at + 1) * MINUTE_US;
            for change in watched.judge(alert, Tz::UTC, &[minute(*at, *people)], now) {
                told.push((*at, change.ending));
            }
        }
        told
    }

    #[test]
    fn a_queue_is_told_once_when_it_lasted_and_once_when_it_is_clearly_over() {
        let queue = alert(5.0, 2);
        // Six people for a minute, then for longer; five are within the limit, but only four end it.
        let people = [6.0, 3.0, 5.1, 7.0, 9.0, 5.0, 4.5, 6.0, 4.0, 3.0, 6.0];
        let minutes: Vec<(i64, f64)> = (0..).zip(people).collect();
        assert_eq!(told(&queue, &minutes), [(3, None), (8, Some(Ending::WithinLimit))]);
    }

    #[test]
    fn a_minute_without_pictures_breaks_what_lasts_and_ends_nothing_until_it_is_long() {
        let queue = alert(5.0, 2);
        assert_eq!(told(&queue, &[(0, 6.0), (2, 6.0)]), [], "nobody knows of the minute between");
        assert_eq!(
            told(&queue, &[(0, 6.0), (1, 6.0), (5, 6.0), (6, 1.0)]),
            [(1, None), (6, Some(Ending::WithinLimit))]
        );
        let mut watched = Watched::default();
        let begins = watched.judge(&queue, Tz::UTC, &[minute(0, 6.0), minute(1, 6.0)], START + 2 * MINUTE_US);
        assert_eq!(begins.len(), 1);
        assert_eq!(watched.judge(&queue, Tz::UTC, &[], START + 11 * MINUTE_US), []);
        let ends = watched.judge(&queue, Tz::UTC, &[], START + 12 * MINUTE_US);
        assert_eq!(ends.iter().map(|change| change.ending).collect::<Vec<_>>(), [Some(Ending::NoPictures)]);
        assert_eq!(watched.judge(&queue, Tz::UTC, &[], START + 99 * MINUTE_US), []);
    }

    #[test]
    fn an_empty_shop_is_one_in_which_no_frame_shows_anybody() {
        let nobody = AlertConfig { limit: AlertLimit::Below(1.0), hysteresis: 0.0, ..alert(0.0, 3) };
        // 0.2 people on average are somebody.
        let people = [0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.1];
        let minutes: Vec<(i64, f64)> = (0..).zip(people).collect();
        assert_eq!(told(&nobody, &minutes), [(5, None), (7, Some(Ending::WithinLimit))]);
    }

    #[test]
    fn the_end_of_the_hours_ends_an_alert_and_nothing_begins_outside_of_them() {
        let start_minute = u16::try_from(START / MINUTE_US % 1_440).unwrap();
        let between = Some(rva_service::DaySpan { from: start_minute, to: start_minute + 3 });
        let nobody = AlertConfig { limit: AlertLimit::Below(1.0), hysteresis: 0.0, between, ..alert(0.0, 2) };
        let minutes: Vec<(i64, f64)> = (0..8).map(|at| (at, 0.0)).collect();
        assert_eq!(told(&nobody, &minutes), [(1, None), (3, Some(Ending::OutOfHours))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// However minutes are split into looks, with some told again, and a restart between any two of them.
        #[test]
        fn looks_and_restarts_change_nothing(
            people in proptest::collection::vec(0u8..9, 1..40),
            cuts in proptest::collection::vec(0usize..40, 0..8),
            minutes in 1u64..4,
        ) {
            let alert = alert(5.0, minutes);
            let all: Vec<MinutePeople> = (0..).zip(&people).map(|(at, people)| minute(at, f64::from(*people))).collect();
            let now = |seen: usize| START + i64::try_from(seen).unwrap() * MINUTE_US;
            let mut once = Watched::default();
            let wanted = once.judge(&alert, Tz::UTC, &all, now(all.len()));
            let (mut watched, mut found) = (Watched::default(), Vec::new());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.push(all.len());
            cuts.sort_unstable();
            for cut in cuts {
                // What was read back from the file of the last process.
                watched = serde_json::from_str(&serde_json::to_string(&watched).unwrap()).unwrap();
                found.extend(watched.judge(&alert, Tz::UTC, &all[cut.saturating_sub(20)..cut], now(cut)));
            }
            if all.len() <= 20 {
                prop_assert_eq!(&found, &wanted);
                prop_assert_eq!(watched, once);
            }
            // Beginnings and ends take turns.
            for (at, change) in found.iter().enumerate() {
                prop_assert_eq!(change.ending.is_some(), at % 2 == 1);
            }
        }
    }
}

//! The pace of a live stream whose pictures come in bursts, which is played at its own speed.
//!
//! HLS gives pictures by the segment, a wireless camera those that it held back. Taken as they come, most of a burst
//! would find the detector busy and be left out, and between bursts nothing would be seen. So a picture waits until it
//! is its turn by the stream's own times. One that comes too late is played at once, and those behind it wait that much
//! longer: the lag is as long as the longest silence was, and no longer. Nothing that is decoded is kept; pictures that
//! wait are still in the connection or in the playlist.

use std::time::{Duration, Instant};

/// The time without a late picture after which the lag is worked off.
const CALM: Duration = Duration::from_secs(60);
/// The part of each step that is gained then is one over this, which nobody sees.
const GAIN: u32 = 100;
/// The longest step of a picture's own time: a longer one is no step but another line of times.
const STEP_MAX: Duration = Duration::from_secs(10);

/// The pace of a stream: the times when its pictures are due.
#[derive(Debug)]
pub(super) struct Pace {
    /// The longest wait: a jump of the stream's times isn't waited for.
    wait_max: Duration,
    last: Option<Last>,
    /// The time when a picture was late, or the line began.
    late_at: Instant,
    /// The time by which pictures are played later than the first one of their line of times was.
    lag: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    reported: i64,
    due: Instant,
}

impl Pace {
    /// Makes a pace at `now`; no picture waits longer than `wait_max`.
    pub(super) fn new(wait_max: Duration, now: Instant) -> Self {
        Self { wait_max: wait_max.min(STEP_MAX), last: None, late_at: now, lag: Duration::ZERO }
    }

    /// Returns the time by which pictures are played later than the first one was, by their own times: as long as they
    /// were waited for.
    pub(super) fn lag(&self) -> Duration {
        self.lag
    }

    /// Returns when a picture is due that is there at `now` and whose own time is `reported`, in microseconds: never
    /// before `now`.
    pub(super) fn due(&mut self, reported: Option<i64>, now: Instant) -> Instant {
        let Some(reported) = reported else { return now };
        let step = self.last.and_then(|last| u64::try_from(reported.checked_sub(last.reported)?).ok());
        let step = step.map(Duration::from_micros).filter(|step| *step <= STEP_MAX);
        let is_calm = now.saturating_duration_since(self.late_at) >= CALM;
        let wanted = self.last.zip(step).map(|(last, step)| {
            let gain = if is_calm { step / GAIN } else { Duration::ZERO };
            (last.due + step - gain, gain)
        });
        let wanted = wanted.filter(|(due, _)| due.saturating_duration_since(now) <= self.wait_max);
        let due = wanted.map_or(now, |(due, _)| due.max(now));
        self.lag = wanted.map_or(Duration::ZERO, |(wanted, gain)| (self.lag + (due - wanted)).saturating_sub(gain));
        if wanted.is_none_or(|(wanted, _)| wanted <= now) {
            self.late_at = now;
        }
        self.last = Some(Last { reported, due });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(40);

    fn secs(secs: f64) -> Duration {
        Duration::from_secs_f64(secs)
    }

    /// Plays pictures, each 40 ms behind the one before by its own time, that come at the given times; says when each
    /// is played. The next is looked at when the one before was played, as a thread does.
    fn played(came: impl IntoIterator<Item = Duration>) -> Vec<Duration> {
        let began = Instant::now();
        let (mut pace, mut now) = (Pace::new(secs(10.0), began), began);
        (0..)
            .zip(came)
            .map(|(index, came)| {
                now = now.max(began + came);
                now = pace.due(Some(index * 40_000), now);
                let lag = (now - began).saturating_sub(STEP * index as u32);
                assert!(pace.lag().abs_diff(lag) <= Duration::from_millis(1), "{:?} is told, {lag:?} is", pace.lag());
                now - began
            })
            .collect()
    }

    #[test]
    fn segments_are_played_at_the_streams_own_speed() {
        // Three segments of 4 s at once, then one every 4 s.
        let came = (0..1000u32).map(|index| Duration::from_secs(u64::from((index / 100).saturating_sub(2)) * 4));
        let played = played(came);
        assert_eq!(played, (0..1000).map(|index| STEP * index).collect::<Vec<_>>());
    }

    #[test]
    fn a_silence_makes_a_lag_of_its_length_once() {
        // Bursts of 1 s at the beginning of each second.
        let came = (0..250u32).map(|index| Duration::from_secs(u64::from(index / 25)));
        assert_eq!(played(came), (0..250).map(|index| STEP * index).collect::<Vec<_>>());
        // Pictures as they are taken, and one silence of 3 s.
        let came = (0..200u32).map(|index| if (50..125).contains(&index) { secs(5.0) } else { STEP * index });
        let lag = secs(3.0);
        let wanted = (0..200).map(|index| STEP * index + if index >= 50 { lag } else { Duration::ZERO });
        assert_eq!(played(came), wanted.collect::<Vec<_>>());
    }

    #[test]
    fn a_lag_is_worked_off_after_a_calm_minute() {
        let came = (0..5_000u32).map(|index| if (50..100).contains(&index) { secs(4.0) } else { STEP * index });
        let lags = (0..).zip(played(came)).map(|(index, played)| played.saturating_sub(STEP * index));
        let lags: Vec<Duration> = lags.collect();
        assert_eq!(lags[100], secs(2.0));
        assert_eq!(lags[1500], secs(2.0), "nothing is hurried within the minute");
        assert!(lags[3_000] < secs(1.5), "{:?}", lags[3_000]);
        assert!(lags.windows(2).skip(100).all(|pair| pair[0].abs_diff(pair[1]) <= STEP / GAIN), "nobody sees it");
    }

    #[test]
    fn jumps_of_the_streams_times_are_not_waited_for() {
        let began = Instant::now();
        let mut pace = Pace::new(secs(5.0), began);
        assert_eq!(pace.due(Some(1_000_000), began), began);
        assert_eq!(pace.due(Some(1_040_000), began), began + STEP);
        for reported in [90_000_000_000, 0, i64::MAX, i64::MIN, 7_000_000] {
            let now = began + secs(1.0);
            assert_eq!(pace.due(Some(reported), now), now, "{reported}");
        }
        assert_eq!(pace.due(Some(7_040_000), began + secs(1.0)), began + secs(1.0) + STEP, "it goes on from there");
        assert_eq!(pace.due(None, began + secs(3.0)), began + secs(3.0));
        assert_eq!(pace.due(Some(15_040_000), began + secs(3.0)), began + secs(3.0), "longer than a wait may be");
    }
}

//! Media time that always increases, and how to tell a whole video from one that breaks off.

use rva_types::MediaTime;

/// The step where nothing is known: 25 frames a second.
const UNKNOWN_STEP_MICROS: i64 = 40_000;

/// How much longer the sound of a Matroska file may be than its pictures before it counts as broken off.
const ESTIMATE_TOLERANCE_SECS: f64 = 2.0;

/// Makes strictly increasing media times of what a container reports.
///
/// OpenCV says 0.0 for the last frames of some H.264 files: where a time doesn't increase, the last step is continued.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    last_micros: Option<i64>,
    step_micros: i64,
    longest_micros: i64,
}

impl Timeline {
    /// Before the first frame; the first step is one over `fps` where it has to be guessed.
    pub(super) fn new(fps: Option<f64>) -> Self {
        let step_micros = fps.map_or(UNKNOWN_STEP_MICROS, |fps| ((1e6 / fps).round() as i64).max(1));
        Self { last_micros: None, step_micros, longest_micros: 0 }
    }

    /// The media time of the next frame, given what the container says, in milliseconds.
    pub(super) fn place(&mut self, reported_ms: f64) -> MediaTime {
        // `as` saturates, and makes 0 of NaN.
        let reported = ((reported_ms * 1e3).round() as i64).max(0);
        let micros = match self.last_micros {
            None => reported,
            Some(last) if reported > last => {
                self.step_micros = reported - last;
                self.longest_micros = self.longest_micros.max(self.step_micros);
                reported
            }
            Some(last) => last.saturating_add(self.step_micros),
        };
        self.last_micros = Some(micros);
        MediaTime::from_micros(micros)
    }

    /// Media time of the last frame in seconds; 0 before the first.
    pub(super) fn last_secs(&self) -> f64 {
        self.last_micros.unwrap_or_default() as f64 / 1e6
    }

    /// The longest reported step in seconds.
    fn longest_secs(&self) -> f64 {
        self.longest_micros as f64 / 1e6
    }
}

/// What a container announces, and how far it can be believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Announcement {
    /// Number of frames.
    pub(super) frames: u64,
    /// Frames a second.
    pub(super) fps: f64,
    /// The number is only the length times the rate, and the length includes the sound (Matroska, anything remote).
    pub(super) is_estimate: bool,
}

impl Announcement {
    /// Announced length in seconds.
    pub(super) fn secs(&self) -> f64 {
        self.frames as f64 / self.fps
    }

    /// Whether a video that ended after `decoded` frames had more to come.
    ///
    /// It has where fewer frames came than announced and the last media time is more than two steps short of the
    /// announced length. A step is one over the announced rate where the demuxer complained that the file ends early
    /// (`is_cut_off`); otherwise it is at least the longest pause of a variable rate, since the last frame may stay as
    /// long, and an estimated length gets a tolerance for sound that outlasts the pictures.
    pub(super) fn is_broken_off(&self, decoded: u64, timeline: &Timeline, is_cut_off: bool) -> bool {
        let step = 1.0 / self.fps;
        let tolerance = match (is_cut_off, self.is_estimate) {
            (true, _) => 2.0 * step,
            (false, false) => 2.0 * step.max(timeline.longest_secs()),
            (false, true) => (2.0 * step.max(timeline.longest_secs())).max(ESTIMATE_TOLERANCE_SECS),
        };
        const ROUNDING_SECS: f64 = 1e-3;
        decoded < self.frames && timeline.last_secs() + tolerance + ROUNDING_SECS < self.secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn placed(fps: Option<f64>, reported: &[f64]) -> Vec<i64> {
        let mut timeline = Timeline::new(fps);
        reported.iter().map(|ms| timeline.place(*ms).as_micros()).collect()
    }

    fn at(reported: &[f64]) -> Timeline {
        let mut timeline = Timeline::new(Some(10.0));
        reported.iter().for_each(|ms| {
            timeline.place(*ms);
        });
        timeline
    }

    #[test]
    fn zeros_at_the_end_continue_the_last_step() {
        assert_eq!(placed(Some(10.0), &[0.0, 100.0, 250.0, 0.0, 0.0]), [0, 100_000, 250_000, 400_000, 550_000]);
    }

    #[test]
    fn without_any_times_the_announced_rate_counts() {
        assert_eq!(placed(Some(10.0), &[0.0, 0.0, 0.0]), [0, 100_000, 200_000]);
        assert_eq!(placed(None, &[0.0, 0.0]), [0, 40_000]);
    }

    #[test]
    fn a_variable_rate_is_kept_as_it_is() {
        assert_eq!(placed(Some(25.0), &[0.0, 40.0, 1640.0, 1680.0]), [0, 40_000, 1_640_000, 1_680_000]);
    }

    proptest! {
        #[test]
        fn times_increase_whatever_is_reported(reported in prop::collection::vec(prop::num::f64::ANY, 1..50)) {
            // Reports that saturate can't be followed by a larger one.
            let reported: Vec<f64> = reported.into_iter().map(|ms| if ms.abs() < 1e12 || ms.is_nan() { ms } else { 0.0 }).collect();
            let times = placed(Some(25.0), &reported);
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        }
    }

    #[test]
    fn whole_videos_are_not_broken_off() {
        let announced = Announcement { frames: 4, fps: 10.0, is_estimate: false };
        assert!(!announced.is_broken_off(4, &at(&[0.0, 100.0, 200.0, 300.0]), false));
        assert!(!announced.is_broken_off(3, &at(&[0.0, 100.0, 200.0]), true), "one frame may be hidden");
        assert!(!announced.is_broken_off(2, &at(&[0.0, 300.0]), false), "a variable rate");
        let with_sound = Announcement { frames: 14, fps: 10.0, is_estimate: true };
        assert!(!with_sound.is_broken_off(4, &at(&[0.0, 100.0, 200.0, 300.0]), false), "sound goes on for a second");
    }

    #[test]
    fn videos_more_than_two_steps_short_are_broken_off() {
        let announced = Announcement { frames: 6, fps: 10.0, is_estimate: false };
        assert!(announced.is_broken_off(3, &at(&[0.0, 100.0, 200.0]), false));
        let paused = at(&[0.0, 200.0]);
        assert!(!announced.is_broken_off(2, &paused, false), "the last frame may stay as long as the longest");
        assert!(announced.is_broken_off(2, &paused, true), "unless the demuxer says that the file is cut off");
        let estimated = Announcement { frames: 60, is_estimate: true, ..announced };
        assert!(estimated.is_broken_off(3, &at(&[0.0, 100.0, 200.0]), false));
    }
}

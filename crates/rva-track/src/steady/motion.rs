//! The motion of a box: where it is, how large, and where it goes.
//!
//! A Kalman filter over (x, y, w, h) of the box, of which x and y have a velocity and the size has none: a box that
//! nobody sees must not grow or shrink away. All noise is a share of the height, as in DeepSORT (Wojke et al., ICIP
//! 2017), and w is measured instead of an aspect ratio, as in BoT-SORT (Aharon et al., 2022, section 3.1). No noise
//! couples two of the quantities, so the filter falls apart into four small ones.
//!
//! Differences: time isn't counted in frames. A step lasts as long as the media time says, in units of 1/30 s, for
//! which the noise is meant; so half the frame rate, a skipped frame and a variable rate need no other parameters.
//! And a measurement's noise grows as its confidence falls (the idea of NSA Kalman, Du et al., "GIAOTracker", ICCVW
//! 2021, equation 6, where it shrinks to nothing at confidence 1), and where somebody is hidden in it.

use super::extent::Extent;
use crate::kalman::Axis;

/// Steps of the noise model a second.
const STEPS_PER_SECOND: f64 = 30.0;
/// Longest time that is extrapolated at once, in steps: a second. After a longer gap nobody is where he went.
const STEPS_MAX: f64 = 30.0;
/// Standard deviations as shares of the height; the first two per step.
const POSITION_STD: f64 = 0.05;
const VELOCITY_STD: f64 = 0.003;
const SIZE_STD: f64 = 0.05;
/// Standard deviations of a measured centre and a measured size at confidence 1, as shares of the height.
const CENTRE_MEASURED_STD: f64 = 0.12;
const SIZE_MEASURED_STD: f64 = 0.05;
/// Standard deviation of the velocity of a new track, as a share of the height per step. A small one: people whom
/// the detector finds anew stand or walk slowly more often than its jitter between two frames would say.
const FIRST_VELOCITY_STD: f64 = 0.02;
/// The share by which the measured deviations are larger at confidence 0 than at 1.
const DOUBT: f64 = 0.5;
/// The share by which they are larger where the box lies wholly on that of a lost track.
const MERGED_DOUBT: f64 = 1.5;

/// A quantity that wanders. It stays above 0 where all that is measured is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Resting {
    value: f64,
    var: f64,
}

impl Resting {
    fn update(&mut self, measured: f64, std: f64) {
        let gain = self.var / (self.var + std * std);
        self.value += gain * (measured - self.value);
        self.var -= gain * self.var;
    }
}

/// The filter of one track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Motion {
    x: Axis,
    y: Axis,
    width: Resting,
    height: Resting,
}

impl Motion {
    /// Starts at a measured box, at rest.
    pub(super) fn new(measured: &Extent) -> Self {
        let height = measured.height;
        let (std, velocity_std) = (2.0 * CENTRE_MEASURED_STD * height, FIRST_VELOCITY_STD * height);
        let size_var = (2.0 * SIZE_MEASURED_STD * height).powi(2);
        Self {
            x: Axis::new(measured.x, std, velocity_std),
            y: Axis::new(measured.y, std, velocity_std),
            width: Resting { value: measured.width, var: size_var },
            height: Resting { value: height, var: size_var },
        }
    }

    /// Goes on by a time in seconds, of which at most one second is extrapolated.
    pub(super) fn predict(&mut self, seconds: f64) {
        let steps = (seconds * STEPS_PER_SECOND).min(STEPS_MAX);
        let height = self.height.value;
        let (std, velocity_std) = (POSITION_STD * height, VELOCITY_STD * height);
        for axis in [&mut self.x, &mut self.y] {
            axis.advance(steps, std * std, steps * velocity_std * velocity_std);
        }
        let size_var = steps * (SIZE_STD * height).powi(2);
        self.width.var += size_var;
        self.height.var += size_var;
    }

    /// Takes in a measured box of a confidence in [0, 1]. `merged` is the overlap with a lost track, in [0, 1]: a
    /// detector that sees two people as one gives a box that neither of them is alone, and both should go on as they
    /// went until they part.
    pub(super) fn update(&mut self, measured: &Extent, conf: f64, merged: f64) {
        let height = self.height.value;
        let doubt = (1.0 + DOUBT * (1.0 - conf)) * (1.0 + MERGED_DOUBT * merged);
        let (std, size_std) = (doubt * CENTRE_MEASURED_STD * height, doubt * SIZE_MEASURED_STD * height);
        self.x.update(measured.x, std);
        self.y.update(measured.y, std);
        self.width.update(measured.width, size_std);
        self.height.update(measured.height, size_std);
    }

    /// Moves the box with the picture that moved under it, by pixels.
    pub(super) fn shift(&mut self, x: f64, y: f64) {
        self.x.value += x;
        self.y.value += y;
    }

    /// Returns the estimated box.
    pub(super) fn extent(&self) -> Extent {
        Extent { x: self.x.value, y: self.y.value, width: self.width.value, height: self.height.value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64) -> Extent {
        Extent { x, y: 100.0, width: 40.0, height: 120.0 }
    }

    fn walked(frames: u32, seconds: f64, pixels_a_second: f64) -> Motion {
        let mut motion = Motion::new(&at(0.0));
        for frame in 1..=frames {
            motion.predict(seconds);
            motion.update(&at(pixels_a_second * seconds * f64::from(frame)), 0.9, 0.0);
        }
        motion
    }

    #[test]
    fn a_new_filter_is_its_measurement_and_stands_still() {
        let mut motion = Motion::new(&at(7.0));
        motion.predict(0.04);
        assert_eq!(motion.extent(), at(7.0));
    }

    #[test]
    fn a_steady_walk_is_foretold_at_every_frame_rate() {
        for rate in [7.0, 14.0, 25.0, 60.0] {
            let mut motion = walked(20 * rate as u32, 1.0 / rate, 60.0);
            motion.predict(0.5);
            let wanted = 60.0 * (20.0 + 0.5);
            assert!((motion.extent().x - wanted).abs() < 1.0, "{rate} a second: {:?}", motion.extent());
        }
    }

    #[test]
    fn an_unsure_measurement_moves_the_box_less() {
        let moved = |conf, merged| {
            let mut motion = walked(10, 1.0 / 30.0, 0.0);
            motion.predict(1.0 / 30.0);
            motion.update(&at(10.0), conf, merged);
            motion.extent().x
        };
        assert!(moved(0.2, 0.0) < moved(0.9, 0.0) && moved(0.2, 0.0) > 0.0);
        assert!(moved(0.9, 0.8) < moved(0.9, 0.0) && moved(0.9, 0.8) > 0.0);
    }

    #[test]
    fn the_size_of_an_unseen_box_stays_and_never_reaches_zero() {
        let mut motion = walked(5, 0.04, 30.0);
        motion.update(&Extent { height: 1e-30, width: 1e-30, ..at(0.0) }, 1.0, 0.0);
        let before = motion.extent();
        (0..90).for_each(|_| motion.predict(0.04));
        let after = motion.extent();
        assert_eq!((after.width, after.height), (before.width, before.height));
        assert!(after.height > 0.0);
    }

    #[test]
    fn after_a_long_gap_a_second_at_most_is_extrapolated() {
        let (mut long, mut second) = (walked(30, 0.04, 60.0), walked(30, 0.04, 60.0));
        long.predict(3600.0);
        second.predict(1.0);
        assert_eq!(long, second);
    }
}

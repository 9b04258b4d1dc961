//! A Kalman filter with constant velocity over centre, width and height of a box, that a camera's motion can be
//! applied to.
//!
//! Source: Aharon et al., "BoT-SORT" (2022), sections 3.1 and 3.2: noise follows the width across and the height down.
//! The camera's 2x2 part turns and scales (x, y), (w, h) and their velocities alike, so centre and size each have a
//! filter of four dimensions and nothing couples the two. The measurement's noise is diagonal: its two numbers are
//! taken in one after the other, which gives the same as both at once without inverting a matrix.

use crate::Warp;
use crate::kalman::Rect;

/// Standard deviations of a position and of a velocity per frame, as shares of the width or the height.
const POSITION_STD: f64 = 1.0 / 20.0;
const VELOCITY_STD: f64 = 1.0 / 160.0;

type Four = [f64; 4];

/// Two quantities, across and down, their velocities per frame, and their covariance.
#[derive(Debug, Clone, Copy)]
struct Pair {
    /// The values across and down, and the velocities of both.
    mean: Four,
    cov: [Four; 4],
}

/// Returns the diagonal of a covariance, for a box of this size: the variances of the two quantities and of their
/// velocities.
fn noise([width, height]: [f64; 2], position: f64, velocity: f64) -> Four {
    let square = |std: f64| std * std;
    [square(position * width), square(position * height), square(velocity * width), square(velocity * height)]
}

impl Pair {
    fn new([across, down]: [f64; 2], size: [f64; 2]) -> Self {
        let vars = noise(size, 2.0 * POSITION_STD, 10.0 * VELOCITY_STD);
        let cov = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { vars[i] } else { 0.0 }));
        Self { mean: [across, down, 0.0, 0.0], cov }
    }

    /// Goes one frame on with F = [[I, I], [0, I]]: x ← F x, P ← F P Fᵀ + Q.
    fn predict(&mut self, size: [f64; 2]) {
        let Self { mean, cov } = self;
        mean[0] += mean[2];
        mean[1] += mean[3];
        let (values, velocities) = cov.split_at_mut(2);
        for (value, velocity) in values.iter_mut().flatten().zip(velocities.iter().flatten()) {
            *value += velocity;
        }
        for row in cov.iter_mut() {
            row[0] += row[2];
            row[1] += row[3];
        }
        for (i, var) in noise(size, POSITION_STD, VELOCITY_STD).into_iter().enumerate() {
            cov[i][i] += var;
        }
    }

    fn update(&mut self, measured: [f64; 2], size: [f64; 2]) {
        let vars = noise(size, POSITION_STD, VELOCITY_STD);
        for (m, measured) in measured.into_iter().enumerate() {
            let row = self.cov[m];
            let innovation_var = row[m] + vars[m];
            let innovation = measured - self.mean[m];
            for i in 0..4 {
                let gain = row[i] / innovation_var;
                self.mean[i] += gain * innovation;
                for (cov, along) in self.cov[i].iter_mut().zip(row) {
                    *cov -= gain * along;
                }
            }
        }
    }

    /// Applies the camera's 2x2 part M, in M = [[M, 0], [0, M]]: x ← M x, P ← M P Mᵀ.
    fn turn(&mut self, [[a, b], [c, d]]: [[f64; 2]; 2]) {
        let turned = |across: f64, down: f64| (a * across + b * down, c * across + d * down);
        for i in [0, 2] {
            (self.mean[i], self.mean[i + 1]) = turned(self.mean[i], self.mean[i + 1]);
            for j in 0..4 {
                (self.cov[i][j], self.cov[i + 1][j]) = turned(self.cov[i][j], self.cov[i + 1][j]);
            }
        }
        for row in &mut self.cov {
            (row[0], row[1]) = turned(row[0], row[1]);
            (row[2], row[3]) = turned(row[2], row[3]);
        }
    }
}

/// The filter of one box: its centre and size, and their velocities. One step is one frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeFilter {
    centre: Pair,
    size: Pair,
}

impl SizeFilter {
    /// Starts at a measured box that has an area, at rest.
    pub(super) fn new(measured: &Rect) -> Self {
        let [x, y, width, height] = measured.xywh();
        let size = [width, height];
        Self { centre: Pair::new([x, y], size), size: Pair::new(size, size) }
    }

    /// Goes one frame on.
    pub(super) fn predict(&mut self) {
        let size = self.extent();
        self.centre.predict(size);
        self.size.predict(size);
    }

    /// Takes in a measured box that has an area.
    pub(super) fn update(&mut self, measured: &Rect) {
        let size = self.extent();
        let [x, y, width, height] = measured.xywh();
        self.centre.update([x, y], size);
        self.size.update([width, height], size);
    }

    /// Keeps the size as it is: a box that nobody sees must not grow or shrink away.
    pub(super) fn hold_size(&mut self) {
        self.size.mean[2..].fill(0.0);
    }

    /// Goes from the coordinates of the picture before to those of this one.
    pub(super) fn follow_camera(&mut self, Warp([[a, b, x], [c, d, y]]): Warp) {
        let part = [[a, b], [c, d]];
        self.centre.turn(part);
        self.size.turn(part);
        self.centre.mean[0] += x;
        self.centre.mean[1] += y;
    }

    /// Returns the estimated box.
    pub(super) fn rect(&self) -> Rect {
        let [width, height] = self.extent();
        Rect::centred(self.centre.mean[0], self.centre.mean[1], width, height)
    }

    fn extent(&self) -> [f64; 2] {
        [self.size.mean[0], self.size.mean[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &Rect, wanted: [f64; 4]) -> bool {
        found.xywh().iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 0.5)
    }

    #[test]
    fn a_steady_walk_is_foretold_and_a_held_size_stays() {
        let at = |t: f64| Rect::centred(100.0 + 4.0 * t, 50.0 - t, 40.0 + t, 120.0 + 2.0 * t);
        let mut filter = SizeFilter::new(&at(0.0));
        for t in 1..60 {
            filter.predict();
            filter.update(&at(f64::from(t)));
        }
        let mut held = filter;
        filter.predict();
        assert!(near(&filter.rect(), at(60.0).xywh()), "{filter:?}");
        let size = held.extent();
        held.hold_size();
        held.predict();
        assert_eq!(held.extent(), size);
    }

    #[test]
    fn both_numbers_at_once_give_the_same_as_one_after_the_other() {
        // P - P Hᵀ S⁻¹ H P with S = H P Hᵀ + R inverted by hand, where a turn has coupled across and down.
        let mut pair = Pair::new([10.0, 20.0], [40.0, 120.0]);
        pair.predict([40.0, 120.0]);
        pair.turn([[0.8, -0.6], [0.6, 0.8]]);
        assert!(pair.cov[0][1].abs() > 1.0, "they are coupled");
        let (before, vars) = (pair, noise([40.0, 120.0], POSITION_STD, VELOCITY_STD));
        pair.update([15.0, 18.0], [40.0, 120.0]);
        let p = before.cov;
        let (s00, s01, s11) = (p[0][0] + vars[0], p[0][1], p[1][1] + vars[1]);
        let det = s00 * s11 - s01 * s01;
        let innovation = [15.0 - before.mean[0], 18.0 - before.mean[1]];
        for (i, found) in pair.cov.iter().enumerate() {
            let gain = [(p[i][0] * s11 - p[i][1] * s01) / det, (p[i][1] * s00 - p[i][0] * s01) / det];
            let mean = before.mean[i] + gain[0] * innovation[0] + gain[1] * innovation[1];
            assert!((pair.mean[i] - mean).abs() < 1e-9, "mean {i}");
            for (j, found) in found.iter().enumerate() {
                let cov = p[i][j] - gain[0] * p[0][j] - gain[1] * p[1][j];
                assert!((found - cov).abs() < 1e-9, "covariance {i} {j}");
            }
        }
    }

    #[test]
    fn a_camera_that_zooms_and_pans_takes_box_and_velocity_along() {
        let mut filter = SizeFilter::new(&Rect::centred(100.0, 50.0, 40.0, 120.0));
        for t in 1..40 {
            filter.predict();
            filter.update(&Rect::centred(100.0 + 3.0 * f64::from(t), 50.0, 40.0, 120.0));
        }
        let [x, y, ..] = filter.rect().xywh();
        filter.follow_camera(Warp([[2.0, 0.0, 7.0], [0.0, 2.0, -5.0]]));
        assert!(near(&filter.rect(), [2.0 * x + 7.0, 2.0 * y - 5.0, 80.0, 240.0]), "{filter:?}");
        filter.predict();
        assert!(near(&filter.rect(), [2.0 * x + 13.0, 2.0 * y - 5.0, 80.0, 240.0]), "{filter:?}");
    }
}

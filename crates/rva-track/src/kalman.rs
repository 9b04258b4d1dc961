//! A Kalman filter with constant velocity over centre, aspect ratio and height of a box.
//!
//! Source: Wojke et al., "Simple online and realtime tracking with a deep association metric" (ICIP 2017), section
//! 2.1, after Bewley et al., SORT (ICIP 2016); ByteTrack uses it unchanged. The eight-dimensional state is
//! (x, y, a, h) and their velocities. Its motion, process noise and measurement noise couple a quantity with its own
//! velocity only, and the first covariance is diagonal: so the filter falls apart into four filters of two
//! dimensions, which give the same numbers for a fraction of the work. In f64, as the authors' own code has it.

use rva_types::BBox;

/// Standard deviation of a position, as a share of the box height (DeepSORT: 1/20).
const POSITION_STD: f64 = 1.0 / 20.0;
/// Standard deviation of a velocity per frame, as a share of the box height (DeepSORT: 1/160).
const VELOCITY_STD: f64 = 1.0 / 160.0;
/// Standard deviations of the aspect ratio: at first and per step, its velocity, and as measured.
const ASPECT_STD: f64 = 1e-2;
const ASPECT_VELOCITY_STD: f64 = 1e-5;
const ASPECT_MEASURED_STD: f64 = 1e-1;

/// A box in f64, xyxy, source pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
}

impl Rect {
    /// Returns the intersection over union, in [0, 1]; 0 where it has no meaning. `margin` is added to every width and
    /// height: 0 for continuous coordinates, 1 where coordinates name whole pixels and both ends belong to the box.
    pub(crate) fn iou(&self, other: &Self, margin: f64) -> f64 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1) + margin;
        let height = self.y2.min(other.y2) - self.y1.max(other.y1) + margin;
        if !(width > 0.0 && height > 0.0) {
            return 0.0;
        }
        let intersection = width * height;
        let union = self.area(margin) + other.area(margin) - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// Returns whether the box has an area: one without can't be followed, since its aspect ratio has no meaning.
    pub(crate) fn has_area(&self) -> bool {
        self.x2 > self.x1 && self.y2 > self.y1
    }

    pub(crate) fn centred(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self { x1: x - width / 2.0, y1: y - height / 2.0, x2: x + width / 2.0, y2: y + height / 2.0 }
    }

    /// Returns the left and the right side. Boxes whose spans don't overlap have an [`Rect::iou`] of 0 with the same
    /// margin.
    pub(crate) fn span(&self, margin: f64) -> (f64, f64) {
        (self.x1, self.x2 + margin)
    }

    pub(crate) fn width(&self) -> f64 {
        self.x2 - self.x1
    }

    /// Returns the x and y of the centre.
    pub(crate) fn centre(&self) -> [f64; 2] {
        [self.x1 + (self.x2 - self.x1) / 2.0, self.y1 + (self.y2 - self.y1) / 2.0]
    }

    pub(crate) fn height(&self) -> f64 {
        self.y2 - self.y1
    }

    /// Returns the least box that holds both.
    pub(crate) fn hull(&self, other: &Self) -> Self {
        Self {
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
            x2: self.x2.max(other.x2),
            y2: self.y2.max(other.y2),
        }
    }

    /// Returns the box at a share of the straight way to another; at 1 exactly the other.
    pub(crate) fn towards(&self, other: &Self, share: f64) -> Self {
        let mix = |from: f64, to: f64| from * (1.0 - share) + to * share;
        Self {
            x1: mix(self.x1, other.x1),
            y1: mix(self.y1, other.y1),
            x2: mix(self.x2, other.x2),
            y2: mix(self.y2, other.y2),
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        [self.x1, self.y1, self.x2, self.y2].iter().all(|side| side.is_finite())
    }

    fn area(&self, margin: f64) -> f64 {
        (self.x2 - self.x1 + margin) * (self.y2 - self.y1 + margin)
    }

    /// Returns centre x, centre y, width and height.
    pub(crate) fn xywh(&self) -> [f64; 4] {
        let (width, height) = (self.width(), self.y2 - self.y1);
        [self.x1 + width / 2.0, self.y1 + height / 2.0, width, height]
    }

    /// Returns centre x, centre y, width over height, and height.
    fn xyah(&self) -> [f64; 4] {
        let (width, height) = (self.x2 - self.x1, self.y2 - self.y1);
        [self.x1 + width / 2.0, self.y1 + height / 2.0, width / height, height]
    }
}

impl Rect {
    /// Returns centre x, centre y, area, and width over height: what SORT's filter measures.
    pub(crate) fn xysr(&self) -> [f64; 4] {
        let [x, y, aspect, _] = self.xyah();
        [x, y, self.area(0.0), aspect]
    }
}

impl From<BBox> for Rect {
    fn from(bbox: BBox) -> Self {
        Self { x1: bbox.x1.into(), y1: bbox.y1.into(), x2: bbox.x2.into(), y2: bbox.y2.into() }
    }
}

impl From<Rect> for BBox {
    fn from(rect: Rect) -> Self {
        Self::new(rect.x1 as f32, rect.y1 as f32, rect.x2 as f32, rect.y2 as f32)
    }
}

/// One quantity, its velocity per step (a frame, where nothing else is said), and their covariance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) value: f64,
    pub(crate) velocity: f64,
    value_var: f64,
    velocity_var: f64,
    covariance: f64,
}

impl Axis {
    pub(crate) fn new(value: f64, std: f64, velocity_std: f64) -> Self {
        Self::with_variances(value, std * std, velocity_std * velocity_std)
    }

    /// Starts at rest, with these variances.
    pub(crate) fn with_variances(value: f64, value_var: f64, velocity_var: f64) -> Self {
        Self { value, velocity: 0.0, value_var, velocity_var, covariance: 0.0 }
    }

    fn predict(&mut self, std: f64, velocity_std: f64) {
        self.step(std * std, velocity_std * velocity_std);
    }

    /// Returns the squared distance of a measured value, in units of the standard deviation of what is expected.
    fn squared_distance(&self, measured: f64, std: f64) -> f64 {
        let innovation = measured - self.value;
        innovation * innovation / (self.value_var + std * std)
    }

    pub(crate) fn update(&mut self, measured: f64, std: f64) {
        self.measure(measured, std * std);
    }

    /// Goes one step on, as [`Axis::advance`] does.
    pub(crate) fn step(&mut self, var: f64, velocity_var: f64) {
        self.advance(1.0, var, velocity_var);
    }

    /// Goes n steps on with F = [[1, n], [0, 1]]: x ← F x, P ← F P Fᵀ + n Q, where `var` is Q's for one step and
    /// `velocity_growth` for all n.
    pub(crate) fn advance(&mut self, steps: f64, var: f64, velocity_growth: f64) {
        self.value += steps * self.velocity;
        self.value_var += steps * (2.0 * self.covariance + steps * self.velocity_var + var);
        self.covariance += steps * self.velocity_var;
        self.velocity_var += velocity_growth;
    }

    /// Takes in a measurement with H = [1, 0]: K = P Hᵀ / s with s = H P Hᵀ + R, x ← x + K (z - H x),
    /// P ← P - K s Kᵀ.
    pub(crate) fn measure(&mut self, measured: f64, var: f64) {
        let innovation_var = self.value_var + var;
        let (gain, velocity_gain) = (self.value_var / innovation_var, self.covariance / innovation_var);
        let innovation = measured - self.value;
        self.value += gain * innovation;
        self.velocity += velocity_gain * innovation;
        self.velocity_var -= velocity_gain * self.covariance;
        self.covariance -= gain * self.covariance;
        self.value_var -= gain * self.value_var;
    }
}

/// The filter of one box: its place and size, and their velocities. One step is one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BoxFilter {
    x: Axis,
    y: Axis,
    aspect: Axis,
    height: Axis,
}

impl BoxFilter {
    /// Starts at a measured box that has an area, at rest.
    pub(crate) fn new(measured: &Rect) -> Self {
        let [x, y, aspect, height] = measured.xyah();
        let (std, velocity_std) = (2.0 * POSITION_STD * height, 10.0 * VELOCITY_STD * height);
        Self {
            x: Axis::new(x, std, velocity_std),
            y: Axis::new(y, std, velocity_std),
            aspect: Axis::new(aspect, ASPECT_STD, ASPECT_VELOCITY_STD),
            height: Axis::new(height, std, velocity_std),
        }
    }

    /// Goes one frame on.
    pub(crate) fn predict(&mut self) {
        let (std, velocity_std) = (POSITION_STD * self.height.value, VELOCITY_STD * self.height.value);
        self.x.predict(std, velocity_std);
        self.y.predict(std, velocity_std);
        self.aspect.predict(ASPECT_STD, ASPECT_VELOCITY_STD);
        self.height.predict(std, velocity_std);
    }

    /// Takes in a measured box that has an area.
    pub(crate) fn update(&mut self, measured: &Rect) {
        let [x, y, aspect, height] = measured.xyah();
        let std = POSITION_STD * self.height.value;
        self.x.update(x, std);
        self.y.update(y, std);
        self.aspect.update(aspect, ASPECT_MEASURED_STD);
        self.height.update(height, std);
    }

    /// Returns the squared Mahalanobis distance of a measured box that has an area: it follows the chi-square
    /// distribution with four degrees of freedom where the box is this one's.
    pub(crate) fn squared_distance(&self, measured: &Rect) -> f64 {
        let [x, y, aspect, height] = measured.xyah();
        let std = POSITION_STD * self.height.value;
        self.x.squared_distance(x, std)
            + self.y.squared_distance(y, std)
            + self.aspect.squared_distance(aspect, ASPECT_MEASURED_STD)
            + self.height.squared_distance(height, std)
    }

    /// Keeps the height as it is: a box that nobody sees must not grow or shrink away.
    pub(crate) fn hold_height(&mut self) {
        self.height.velocity = 0.0;
    }

    /// Returns the estimated box.
    pub(crate) fn rect(&self) -> Rect {
        let (half_width, half_height) = (self.aspect.value * self.height.value / 2.0, self.height.value / 2.0);
        Rect {
            x1: self.x.value - half_width,
            y1: self.y.value - half_height,
            x2: self.x.value + half_width,
            y2: self.y.value + half_height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Matrix = [[f64; 8]; 8];

    fn rect(x1: f64, y1: f64, x2: f64, y2: f64) -> Rect {
        Rect { x1, y1, x2, y2 }
    }

    fn product(a: &Matrix, b: &Matrix) -> Matrix {
        std::array::from_fn(|i| std::array::from_fn(|j| (0..8).map(|k| a[i][k] * b[k][j]).sum()))
    }

    fn transposed(a: &Matrix) -> Matrix {
        std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
    }

    /// The textbook's filter over all eight dimensions. The projected covariance stays diagonal, which the gain uses
    /// and the assertion checks.
    struct Textbook {
        mean: [f64; 8],
        cov: Matrix,
    }

    impl Textbook {
        fn diagonal(std: [f64; 8]) -> Matrix {
            std::array::from_fn(|i| std::array::from_fn(|j| if i == j { std[i] * std[i] } else { 0.0 }))
        }

        fn new(z: [f64; 4]) -> Self {
            let (p, v) = (z[3] / 10.0, z[3] / 16.0);
            let mean = [z[0], z[1], z[2], z[3], 0.0, 0.0, 0.0, 0.0];
            Self { mean, cov: Self::diagonal([p, p, 1e-2, p, v, v, 1e-5, v]) }
        }

        fn predict(&mut self) {
            let (p, v) = (self.mean[3] / 20.0, self.mean[3] / 160.0);
            let motion: Matrix =
                std::array::from_fn(|i| std::array::from_fn(|j| if i == j || j == i + 4 { 1.0 } else { 0.0 }));
            self.mean = std::array::from_fn(|i| (0..8).map(|k| motion[i][k] * self.mean[k]).sum());
            self.cov = product(&product(&motion, &self.cov), &transposed(&motion));
            let noise = Self::diagonal([p, p, 1e-2, p, v, v, 1e-5, v]);
            self.cov = std::array::from_fn(|i| std::array::from_fn(|j| self.cov[i][j] + noise[i][j]));
        }

        fn update(&mut self, z: [f64; 4]) {
            let p = self.mean[3] / 20.0;
            let noise = [p, p, 1e-1, p];
            let cov = self.cov;
            let mean = self.mean;
            for m in 0..4 {
                let coupled = (0..4).any(|other| other != m && cov[m][other] != 0.0);
                assert!(!coupled, "the projected covariance is diagonal");
                let s = cov[m][m] + noise[m] * noise[m];
                let gain: [f64; 8] = std::array::from_fn(|i| cov[i][m] / s);
                for i in 0..8 {
                    self.mean[i] += gain[i] * (z[m] - mean[m]);
                    for j in 0..8 {
                        self.cov[i][j] -= gain[i] * s * gain[j];
                    }
                }
            }
        }
    }

    #[test]
    fn four_small_filters_are_the_one_of_eight_dimensions() {
        let first = rect(10.0, 20.0, 50.0, 140.0);
        let (mut small, mut textbook) = (BoxFilter::new(&first), Textbook::new(first.xyah()));
        for step in 1..60 {
            let t = f64::from(step);
            small.predict();
            textbook.predict();
            if step % 3 != 0 {
                let seen = rect(10.0 + 3.0 * t, 20.0 - t, 50.0 + 3.5 * t, 140.0 - 0.5 * t);
                small.update(&seen);
                textbook.update(seen.xyah());
            }
            let axes = [small.x, small.y, small.aspect, small.height];
            for (i, axis) in axes.iter().enumerate() {
                assert!((axis.value - textbook.mean[i]).abs() < 1e-9, "step {step}, value {i}");
                assert!((axis.velocity - textbook.mean[i + 4]).abs() < 1e-9, "step {step}, velocity {i}");
                assert!((axis.value_var - textbook.cov[i][i]).abs() < 1e-9, "step {step}, variance {i}");
                assert!((axis.covariance - textbook.cov[i][i + 4]).abs() < 1e-9, "step {step}, covariance {i}");
            }
        }
    }

    #[test]
    fn a_new_filter_is_its_measurement_and_stands_still() {
        let seen = rect(10.0, 20.0, 50.0, 140.0);
        let mut filter = BoxFilter::new(&seen);
        assert_eq!(filter.rect(), seen);
        filter.predict();
        assert_eq!(filter.rect(), seen);
    }

    #[test]
    fn a_steady_walk_is_foretold() {
        let at = |t: f64| rect(4.0 * t, 100.0, 40.0 + 4.0 * t, 220.0);
        let mut filter = BoxFilter::new(&at(0.0));
        for step in 1..40 {
            filter.predict();
            filter.update(&at(f64::from(step)));
        }
        filter.predict();
        let (found, wanted) = (filter.rect(), at(40.0));
        assert!((found.x1 - wanted.x1).abs() < 0.5, "{found:?} {wanted:?}");
    }

    #[test]
    fn a_held_height_stays() {
        let mut filter = BoxFilter::new(&rect(0.0, 0.0, 40.0, 100.0));
        for step in 1..10 {
            filter.predict();
            filter.update(&rect(0.0, 0.0, 40.0, 100.0 + 5.0 * f64::from(step)));
        }
        let height = filter.height.value;
        filter.hold_height();
        filter.predict();
        assert_eq!(filter.height.value, height);
    }

    #[test]
    fn iou_of_halves_is_a_third_and_of_nothing_is_zero() {
        let a = rect(0.0, 0.0, 2.0, 1.0);
        assert!((a.iou(&rect(1.0, 0.0, 3.0, 1.0), 0.0) - 1.0 / 3.0).abs() < 1e-12);
        assert!((a.iou(&rect(1.0, 0.0, 3.0, 1.0), 1.0) - 0.5).abs() < 1e-12, "4 of 8 whole pixels");
        assert_eq!(a.iou(&rect(2.0, 0.0, 3.0, 1.0), 0.0), 0.0);
        assert_eq!(a.iou(&rect(f64::NAN, 0.0, 3.0, 1.0), 0.0), 0.0);
        assert_eq!(rect(1.0, 1.0, 1.0, 1.0).iou(&rect(1.0, 1.0, 1.0, 1.0), 0.0), 0.0);
    }
}

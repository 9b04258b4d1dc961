//! SORT's motion model, which OC-SORT shares: a Kalman filter over centre, area and aspect ratio of a box.
//!
//! Source: Bewley et al., "Simple online and realtime tracking" (ICIP 2016), section 3.2.

use crate::kalman::{Axis, Rect};

/// Variances as in the authors' code, in pixels (of the area: square pixels): a new track's measured values and its
/// velocities, of which nothing is known; the process; the measurement of a position and of area and aspect ratio.
const FIRST_VAR: f64 = 10.0;
const FIRST_VELOCITY_VAR: f64 = 10_000.0;
const STEP_VAR: f64 = 1.0;
const STEP_VELOCITY_VAR: f64 = 0.01;
const STEP_AREA_VELOCITY_VAR: f64 = 0.0001;
const POSITION_VAR: f64 = 1.0;
const SHAPE_VAR: f64 = 10.0;

/// SORT's filter: constant velocity of centre and area, constant aspect ratio.
///
/// No matrix of the authors' couples two of the four, so it falls apart into four small filters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AreaFilter {
    x: Axis,
    y: Axis,
    area: Axis,
    aspect: Axis,
}

impl AreaFilter {
    pub(crate) fn new(rect: &Rect) -> Self {
        let [x, y, area, aspect] = rect.xysr();
        let moving = |value| Axis::with_variances(value, FIRST_VAR, FIRST_VELOCITY_VAR);
        Self { x: moving(x), y: moving(y), area: moving(area), aspect: Axis::with_variances(aspect, FIRST_VAR, 0.0) }
    }

    pub(crate) fn predict(&mut self) {
        if self.area.value + self.area.velocity <= 0.0 {
            self.area.velocity = 0.0;
        }
        self.x.step(STEP_VAR, STEP_VELOCITY_VAR);
        self.y.step(STEP_VAR, STEP_VELOCITY_VAR);
        self.area.step(STEP_VAR, STEP_AREA_VELOCITY_VAR);
        self.aspect.step(STEP_VAR, 0.0);
    }

    pub(crate) fn update(&mut self, rect: &Rect) {
        let [x, y, area, aspect] = rect.xysr();
        self.x.measure(x, POSITION_VAR);
        self.y.measure(y, POSITION_VAR);
        self.area.measure(area, SHAPE_VAR);
        self.aspect.measure(aspect, SHAPE_VAR);
    }

    /// Returns the estimated box; it isn't finite where the area or the aspect ratio has gone below 0.
    pub(crate) fn rect(&self) -> Rect {
        let width = (self.area.value * self.aspect.value).sqrt();
        Rect::centred(self.x.value, self.y.value, width, self.area.value / width)
    }
}

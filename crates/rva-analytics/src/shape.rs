//! Polygons and directed lines in shares of the picture: x to the right, y down, both in [0, 1].

use std::fmt;

/// A point in shares of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// The distance from the left.
    pub x: f64,
    /// The distance from the top.
    pub y: f64,
}

impl Share {
    /// Makes a point of x and y.
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }
}

/// The largest number below 1, which an anchor on the right or lower edge becomes.
const BELOW_ONE: f64 = 0.999_999_999_999_999_9;

/// The least area of a zone, as a share of the picture: a hundredth of a pixel of 4K. Below it corners are on one line
/// but for rounding.
const AREA_MIN: f64 = 1e-9;

/// The least width or height of a line, as a share of the picture's: below it both ends are the same but for rounding.
const LENGTH_MIN: f64 = 1e-6;

/// Returns the anchor of a box, its bottom centre, in shares of the picture, in [0, 1).
///
/// `bbox` is left, top, right, bottom in pixels of a picture of `img_w` x `img_h`.
pub fn anchor(bbox: [i32; 4], img_w: i32, img_h: i32) -> Share {
    let x = f64::from(bbox[0]) + f64::from(bbox[2]);
    Share::new(
        (x / 2.0 / f64::from(img_w)).clamp(0.0, BELOW_ONE),
        (f64::from(bbox[3]) / f64::from(img_h)).clamp(0.0, BELOW_ONE),
    )
}

/// Returns twice the area of the triangle `a`, `b`, `p`: positive where `p` is to the right hand of somebody who looks
/// from `a` to `b`.
pub(crate) fn cross(a: Share, b: Share, p: Share) -> f64 {
    (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x)
}

/// Returns the place where the straight way from `p` to `q` meets the line through `a` and `b`, as shares of the way
/// and of the line; `None` where they are parallel.
pub(crate) fn meeting(p: Share, q: Share, a: Share, b: Share) -> Option<(f64, f64)> {
    let (dx, dy) = (q.x - p.x, q.y - p.y);
    let (ex, ey) = (b.x - a.x, b.y - a.y);
    let area = dx * ey - dy * ex;
    if area == 0.0 {
        return None;
    }
    let (fx, fy) = (a.x - p.x, a.y - p.y);
    Some(((fx * ey - fy * ex) / area, (fx * dy - fy * dx) / area))
}

/// An error that says why points are no zone or no line, with found and wanted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// A zone with too few corners.
    #[error("found {found} points, wanted at least 3 for a zone")]
    TooFew {
        /// The number of points.
        found: usize,
    },
    /// A line of another number of points than two.
    #[error("found {found} points, wanted the 2 ends of a line")]
    NotTwo {
        /// The number of points.
        found: usize,
    },
    /// A point outside the picture.
    #[error("found the point {x}, {y}, wanted shares of the picture from 0 to 1")]
    Outside {
        /// Its distance from the left.
        x: f64,
        /// Its distance from the top.
        y: f64,
    },
    /// Two edges that cross or touch.
    #[error("found edge {first} crossing edge {second}, wanted a border that doesn't meet itself (edges count from 1)")]
    Crossing {
        /// The number of the earlier edge, from 1.
        first: usize,
        /// The number of the later edge, from 1.
        second: usize,
    },
    /// Corners on one line.
    #[error("found a zone without area, wanted corners that aren't on one line")]
    NoArea,
    /// Two ends at the same place.
    #[error("found a line without length, wanted two different ends")]
    NoLength,
    /// A line that an anchor can be on one side of only.
    #[error("found a line along the picture's edge, wanted one that people can be on both sides of")]
    AtTheEdge,
}

fn check_inside(points: &[Share]) -> Result<(), ShapeError> {
    let is_inside = |value: f64| (0.0..=1.0).contains(&value);
    match points.iter().find(|point| !is_inside(point.x) || !is_inside(point.y)) {
        Some(&Share { x, y }) => Err(ShapeError::Outside { x, y }),
        None => Ok(()),
    }
}

/// A zone: a polygon with an area whose edges don't meet. Its border belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    corners: Vec<Share>,
}

impl Polygon {
    /// Checks corners, in order, and makes a polygon of them; the last is joined to the first. Neighbours at the same
    /// place count once.
    ///
    /// # Errors
    /// Returns an error for fewer than three corners, one outside the picture, edges that cross, or no area.
    pub fn new(corners: &[Share]) -> Result<Self, ShapeError> {
        check_inside(corners)?;
        let mut corners = corners.to_vec();
        corners.dedup();
        if corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        if corners.len() < 3 {
            return Err(ShapeError::TooFew { found: corners.len() });
        }
        let polygon = Self { corners };
        if polygon.area() < AREA_MIN {
            return Err(ShapeError::NoArea);
        }
        match polygon.first_crossing() {
            Some((first, second)) => Err(ShapeError::Crossing { first, second }),
            None => Ok(polygon),
        }
    }

    /// Returns the corners in order.
    pub fn corners(&self) -> &[Share] {
        &self.corners
    }

    fn edges(&self) -> impl Iterator<Item = (Share, Share)> + '_ {
        let next = self.corners.iter().skip(1).chain(self.corners.first());
        self.corners.iter().copied().zip(next.copied())
    }

    fn area(&self) -> f64 {
        self.edges().map(|(a, b)| a.x * b.y - b.x * a.y).sum::<f64>().abs() / 2.0
    }

    /// Returns the first two edges, from 1, that aren't neighbours and meet, or neighbours that fold back.
    fn first_crossing(&self) -> Option<(usize, usize)> {
        let edges: Vec<_> = self.edges().collect();
        let count = edges.len();
        for first in 0..count {
            for second in first + 1..count {
                let is_next = second == first + 1;
                let is_round = first == 0 && second == count - 1;
                let ((a, b), (c, d)) = (edges[first], edges[second]);
                let crosses = if is_next {
                    folds_back(a, b, d)
                } else if is_round {
                    folds_back(c, d, b)
                } else {
                    meets(a, b, c, d)
                };
                if crosses {
                    return Some((first + 1, second + 1));
                }
            }
        }
        None
    }

    /// Returns whether a point is inside, by the even-odd rule. A point on an edge is.
    pub fn holds(&self, point: Share) -> bool {
        let mut inside = false;
        for (a, b) in self.edges() {
            if is_on(point, a, b) {
                return true;
            }
            if (a.y > point.y) != (b.y > point.y) {
                let x = (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x;
                if point.x < x {
                    inside = !inside;
                }
            }
        }
        inside
    }

    /// Returns the parts of the straight way from `p` to `q` that are inside, as shares of the way, in order.
    pub(crate) fn parts_inside(&self, p: Share, q: Share) -> Vec<(f64, f64)> {
        let mut cuts = vec![0.0, 1.0];
        for (a, b) in self.edges() {
            if let Some((way, edge)) = meeting(p, q, a, b)
                && (0.0..=1.0).contains(&edge)
                && way > 0.0
                && way < 1.0
            {
                cuts.push(way);
            }
        }
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let mut parts: Vec<(f64, f64)> = Vec::new();
        for pair in cuts.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let middle = (from + to) / 2.0;
            if !self.holds(Share::new(p.x + (q.x - p.x) * middle, p.y + (q.y - p.y) * middle)) {
                continue;
            }
            match parts.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => parts.push((from, to)),
            }
        }
        parts
    }
}

fn is_on(p: Share, a: Share, b: Share) -> bool {
    cross(a, b, p) == 0.0 && p.x >= a.x.min(b.x) && p.x <= a.x.max(b.x) && p.y >= a.y.min(b.y) && p.y <= a.y.max(b.y)
}

/// Returns whether the edge from `b` to `c` goes back on the one from `a` to `b`.
fn folds_back(a: Share, b: Share, c: Share) -> bool {
    cross(a, b, c) == 0.0 && (b.x - a.x) * (c.x - b.x) + (b.y - a.y) * (c.y - b.y) < 0.0
}

fn meets(a: Share, b: Share, c: Share, d: Share) -> bool {
    match meeting(a, b, c, d) {
        Some((first, second)) => (0.0..=1.0).contains(&first) && (0.0..=1.0).contains(&second),
        None => is_on(a, c, d) || is_on(b, c, d) || is_on(c, a, b),
    }
}

/// A directed line. `in` is to the right hand of somebody who looks from the first end to the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirectedLine {
    from: Share,
    to: Share,
}

impl DirectedLine {
    /// Checks two ends and makes a line of them.
    ///
    /// # Errors
    /// Returns an error for another number of points, one outside the picture, no length, or a line along the picture's
    /// edge, which nobody can cross.
    pub fn new(ends: &[Share]) -> Result<Self, ShapeError> {
        check_inside(ends)?;
        let &[from, to] = ends else { return Err(ShapeError::NotTwo { found: ends.len() }) };
        if (to.x - from.x).abs() < LENGTH_MIN && (to.y - from.y).abs() < LENGTH_MIN {
            return Err(ShapeError::NoLength);
        }
        let along = |a: f64, b: f64| a == b && (a == 0.0 || a == 1.0);
        if along(from.x, to.x) || along(from.y, to.y) {
            return Err(ShapeError::AtTheEdge);
        }
        Ok(Self { from, to })
    }

    /// Returns the first end.
    pub fn from(&self) -> Share {
        self.from
    }

    /// Returns the second end.
    pub fn to(&self) -> Share {
        self.to
    }

    /// Returns the side of an anchor in a picture of `img_w` x `img_h` pixels; `None` where it is nearer to the line
    /// than `band` of the picture's diagonal.
    pub fn side(&self, anchor: Share, img_w: i32, img_h: i32, band: f64) -> Option<Direction> {
        let (w, h) = (f64::from(img_w), f64::from(img_h));
        let (dx, dy) = ((self.to.x - self.from.x) * w, (self.to.y - self.from.y) * h);
        let area = cross(self.from, self.to, anchor) * w * h;
        // Roots, not `hypot`, which engines round differently.
        if area.abs() < band * (w * w + h * h).sqrt() * (dx * dx + dy * dy).sqrt() {
            return None;
        }
        Some(if area > 0.0 { Direction::In } else { Direction::Out })
    }

    /// Returns whether the straight way from `p` to `q` passes between the ends.
    pub(crate) fn is_passed(&self, p: Share, q: Share) -> bool {
        meeting(p, q, self.from, self.to)
            .is_some_and(|(way, line)| (0.0..=1.0).contains(&way) && (0.0..=1.0).contains(&line))
    }
}

/// The direction in which a line is crossed; also the side that somebody is on then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the right hand.
    In,
    /// To the left hand.
    Out,
}

impl Direction {
    /// Returns the word in the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(points: &[(f64, f64)]) -> Vec<Share> {
        points.iter().map(|&(x, y)| Share::new(x, y)).collect()
    }

    fn polygon(points: &[(f64, f64)]) -> Polygon {
        Polygon::new(&shares(points)).unwrap()
    }

    #[test]
    fn what_is_no_zone_is_refused_by_name() {
        let error = |points: &[(f64, f64)]| Polygon::new(&shares(points)).unwrap_err();
        assert_eq!(error(&[(0.1, 0.1), (0.5, 0.5)]), ShapeError::TooFew { found: 2 });
        assert_eq!(error(&[(0.1, 0.1), (0.5, 0.5), (0.1, 0.1)]), ShapeError::TooFew { found: 2 });
        assert_eq!(error(&[(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)]), ShapeError::NoArea);
        assert_eq!(error(&[(0.1, 0.2), (0.2, 0.4), (0.3, 0.6)]), ShapeError::NoArea);
        assert_eq!(error(&[(0.1, 0.3), (0.7, 0.6), (0.3, 0.4), (0.9, 0.7)]), ShapeError::NoArea);
        assert_eq!(error(&[(0.1, 0.1), (1.1, 0.5), (0.9, 0.9)]), ShapeError::Outside { x: 1.1, y: 0.5 });
        assert!(matches!(error(&[(0.1, 0.1), (f64::NAN, 0.5), (0.9, 0.9)]), ShapeError::Outside { .. }));
        let bow_tie = [(0.1, 0.1), (0.9, 0.8), (0.9, 0.1), (0.1, 0.9)];
        assert_eq!(error(&bow_tie), ShapeError::Crossing { first: 1, second: 3 });
        let spike = [(0.1, 0.1), (0.9, 0.1), (0.5, 0.1), (0.5, 0.9)];
        assert_eq!(error(&spike), ShapeError::Crossing { first: 1, second: 2 });
        assert_eq!(polygon(&[(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.1)]).corners().len(), 3);
    }

    #[test]
    fn what_is_no_line_is_refused_by_name() {
        let error = |points: &[(f64, f64)]| DirectedLine::new(&shares(points)).unwrap_err();
        assert_eq!(error(&[(0.1, 0.1)]), ShapeError::NotTwo { found: 1 });
        assert_eq!(error(&[(0.1, 0.1), (0.1, 0.1)]), ShapeError::NoLength);
        assert_eq!(error(&[(0.3, 0.3), (0.1 + 0.2, 0.3)]), ShapeError::NoLength);
        assert_eq!(error(&[(0.0, 0.1), (0.0, 0.9)]), ShapeError::AtTheEdge);
        assert_eq!(error(&[(0.2, -0.1), (0.0, 0.9)]), ShapeError::Outside { x: 0.2, y: -0.1 });
    }

    #[test]
    fn the_border_belongs_to_the_zone_also_where_it_is_concave() {
        let zone = polygon(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0)]);
        for inside in [(0.0, 0.0), (0.5, 0.0), (1.0, 0.7), (0.5, 0.5), (0.25, 0.75), (0.2, 0.3)] {
            assert!(zone.holds(Share::new(inside.0, inside.1)), "{inside:?}");
        }
        for outside in [(0.5, 0.6), (0.4, 0.9), (0.5, 1.0)] {
            assert!(!zone.holds(Share::new(outside.0, outside.1)), "{outside:?}");
        }
    }

    #[test]
    fn a_way_through_a_concave_zone_has_two_parts_inside() {
        let zone = polygon(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0)]);
        let parts = zone.parts_inside(Share::new(0.0, 0.75), Share::new(1.0, 0.75));
        assert_eq!(parts, [(0.0, 0.25), (0.75, 1.0)]);
        assert_eq!(zone.parts_inside(Share::new(0.1, 0.1), Share::new(0.1, 0.1)), [(0.0, 1.0)]);
        assert_eq!(zone.parts_inside(Share::new(0.5, 0.8), Share::new(0.5, 0.9)), []);
    }

    #[test]
    fn anchors_are_clamped_into_the_picture() {
        assert_eq!(anchor([2, 0, 6, 40], 10, 50), Share::new(0.4, 0.8));
        let corner = anchor([10, 0, 10, 50], 10, 50);
        assert!(corner.x < 1.0 && corner.y < 1.0 && (corner.x * 10.0).floor() == 9.0);
        assert_eq!(BELOW_ONE, 1.0f64.next_down());
    }

    #[test]
    fn in_is_to_the_right_hand_at_any_rotation() {
        for degrees in 0..360 {
            let (sin, cos) = (f64::from(degrees) * std::f64::consts::PI / 180.0).sin_cos();
            let at = |forward: f64, right: f64| {
                Share::new(0.5 + 0.3 * (forward * cos - right * sin), 0.5 + 0.3 * (forward * sin + right * cos))
            };
            let line = DirectedLine::new(&[at(-1.0, 0.0), at(1.0, 0.0)]).unwrap();
            assert_eq!(line.side(at(0.0, 1.0), 100, 100, 0.01), Some(Direction::In), "{degrees}");
            assert_eq!(line.side(at(0.0, -1.0), 100, 100, 0.01), Some(Direction::Out), "{degrees}");
            assert_eq!(line.side(at(0.2, 0.001), 100, 100, 0.01), None, "{degrees}");
        }
    }

    #[test]
    fn the_dead_band_is_measured_in_pixels() {
        let line = DirectedLine::new(&[Share::new(0.5, 0.1), Share::new(0.5, 0.9)]).unwrap();
        // The diagonal of 2000 x 200 is 2010: 20 pixels are 0.01 of the width.
        let at = |x: f64| line.side(Share::new(x, 0.5), 2000, 200, 0.01);
        assert_eq!((at(0.5099), at(0.5101)), (None, Some(Direction::Out)));
    }
}

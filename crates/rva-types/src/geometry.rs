//! Boxes and points in source pixels.

/// A point in source pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// The distance from the left.
    pub x: f32,
    /// The distance from the top.
    pub y: f32,
}

/// The width and height of a picture in pixels, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSize {
    /// The number of columns.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
}

/// An axis-parallel box, xyxy, source pixels, finite.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BBox {
    /// The left side.
    pub x1: f32,
    /// The top side.
    pub y1: f32,
    /// The right side.
    pub x2: f32,
    /// The bottom side.
    pub y2: f32,
}

impl BBox {
    /// Makes a box of left, top, right and bottom.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Returns the width in pixels, not below 0.
    pub fn width(&self) -> f32 {
        (self.x2 - self.x1).max(0.0)
    }

    /// Returns the height in pixels, not below 0.
    pub fn height(&self) -> f32 {
        (self.y2 - self.y1).max(0.0)
    }

    /// Returns the area in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Returns the centre.
    pub fn centroid(&self) -> Point {
        Point { x: (self.x1 + self.x2) / 2.0, y: (self.y1 + self.y2) / 2.0 }
    }

    /// Returns the bottom centre, where a standing person touches the floor.
    pub fn anchor(&self) -> Point {
        Point { x: (self.x1 + self.x2) / 2.0, y: self.y2 }
    }

    /// Returns the intersection over union, in [0, 1]; 0 where both are empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let h = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        let intersection = w * h;
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// Returns the part inside a picture.
    pub fn clipped(&self, size: ImageSize) -> Self {
        let (w, h) = (size.width as f32, size.height as f32);
        Self {
            x1: self.x1.clamp(0.0, w),
            y1: self.y1.clamp(0.0, h),
            x2: self.x2.clamp(0.0, w),
            y2: self.y2.clamp(0.0, h),
        }
    }

    /// Returns whether no coordinate is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.x1.is_finite() && self.y1.is_finite() && self.x2.is_finite() && self.y2.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_halves_is_a_third() {
        let a = BBox::new(0.0, 0.0, 2.0, 1.0);
        let b = BBox::new(1.0, 0.0, 3.0, 1.0);
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&BBox::new(5.0, 5.0, 6.0, 6.0)), 0.0);
        assert_eq!(BBox::default().iou(&BBox::default()), 0.0);
    }

    #[test]
    fn the_anchor_is_the_bottom_centre() {
        assert_eq!(BBox::new(2.0, 3.0, 6.0, 9.0).anchor(), Point { x: 4.0, y: 9.0 });
    }

    #[test]
    fn clipping_keeps_boxes_inside() {
        let size = ImageSize { width: 10, height: 5 };
        assert_eq!(BBox::new(-3.0, 1.0, 12.0, 9.0).clipped(size), BBox::new(0.0, 1.0, 10.0, 5.0));
    }
}

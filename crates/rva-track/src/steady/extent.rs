//! Boxes by their centre and size, and measures of how alike two of them are.

use rva_types::BBox;

/// A box with an area in f64, source pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Extent {
    /// Converts a box; `None` for one without finite numbers or without an area, which can't be followed.
    pub(super) fn of(bbox: BBox) -> Option<Self> {
        let [x1, y1, x2, y2] = [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(f64::from);
        let has_area = bbox.is_finite() && x2 > x1 && y2 > y1;
        has_area.then(|| Self { x: (x1 + x2) / 2.0, y: (y1 + y2) / 2.0, width: x2 - x1, height: y2 - y1 })
    }

    pub(super) fn bbox(&self) -> BBox {
        let [x1, y1] = [self.left(), self.top()];
        BBox::new(x1 as f32, y1 as f32, (x1 + self.width) as f32, (y1 + self.height) as f32)
    }

    /// Returns the left and the right side.
    pub(super) fn span(&self) -> (f64, f64) {
        (self.left(), self.right())
    }

    fn left(&self) -> f64 {
        self.x - self.width / 2.0
    }

    fn right(&self) -> f64 {
        self.x + self.width / 2.0
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.height / 2.0
    }

    fn top(&self) -> f64 {
        self.y - self.height / 2.0
    }

    /// Returns the box with every side pushed outwards by a share of its own width or height, as in C-BIoU (Yang et
    /// al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the
    /// Matching Space", WACV 2023, section 3.1).
    pub(super) fn expanded(&self, share: f64) -> Self {
        let factor = 1.0 + 2.0 * share;
        Self { width: self.width * factor, height: self.height * factor, ..*self }
    }

    /// Returns the intersection over union, in [0, 1].
    pub(super) fn iou(&self, other: &Self) -> f64 {
        let width = self.right().min(other.right()) - self.left().max(other.left());
        let height = self.bottom().min(other.bottom()) - self.top().max(other.top());
        if !(width > 0.0 && height > 0.0) {
            return 0.0;
        }
        let intersection = width * height;
        let union = self.width * self.height + other.width * other.height - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// Returns the intersection over union of the vertical ranges alone, in [0, 1]: on a floor it tells near from far
    /// where boxes overlap (HMIoU of Hybrid-SORT, Yang et al., AAAI 2024, equation 4).
    pub(super) fn vertical_iou(&self, other: &Self) -> f64 {
        let common = self.bottom().min(other.bottom()) - self.top().max(other.top());
        let spanned = self.bottom().max(other.bottom()) - self.top().min(other.top());
        if common > 0.0 { common / spanned } else { 0.0 }
    }

    /// Returns the smaller height over the larger, in [0, 1].
    pub(super) fn height_ratio(&self, other: &Self) -> f64 {
        self.height.min(other.height) / self.height.max(other.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(x1: f32, y1: f32, x2: f32, y2: f32) -> Extent {
        Extent::of(BBox::new(x1, y1, x2, y2)).unwrap()
    }

    #[test]
    fn a_box_without_area_or_numbers_is_none() {
        for (x1, y1, x2, y2) in [(0.0, 0.0, 0.0, 9.0), (0.0, 9.0, 4.0, 0.0), (f32::NAN, 0.0, 1.0, 1.0)] {
            assert_eq!(Extent::of(BBox::new(x1, y1, x2, y2)), None);
        }
    }

    #[test]
    fn a_box_comes_back_as_it_went_in() {
        let bbox = BBox::new(10.0, 20.0, 50.5, 140.25);
        assert_eq!(Extent::of(bbox).map(|e| e.bbox()), Some(bbox));
    }

    #[test]
    fn overlaps_are_those_of_hand_computed_boxes() {
        let (a, b) = (extent(0.0, 0.0, 2.0, 1.0), extent(1.0, 0.0, 3.0, 1.0));
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(a.iou(&extent(2.0, 0.0, 3.0, 1.0)), 0.0);
        assert!((extent(0.0, 0.0, 1.0, 3.0).vertical_iou(&extent(9.0, 1.0, 10.0, 4.0)) - 0.5).abs() < 1e-12);
        assert_eq!(a.vertical_iou(&extent(0.0, 1.0, 2.0, 2.0)), 0.0);
        assert_eq!(a.height_ratio(&extent(0.0, 0.0, 1.0, 4.0)), 0.25);
        let wide = extent(0.0, 0.0, 10.0, 20.0).expanded(0.1);
        assert!((wide.left() + 1.0).abs() < 1e-12 && (wide.bottom() - 22.0).abs() < 1e-12);
    }
}

//! The likeness of two boxes, and the assignment of tracks to detections by it.

use super::extent::Extent;
use crate::matching::{Matching, Pair};

/// The conditions under which two boxes are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Likeness {
    /// Likeness above which (exclusive) two boxes may be a pair, in [0, 1].
    pub(super) floor: f64,
    /// The share of their size by which both boxes are expanded before their overlap is taken.
    pub(super) expansion: f64,
    /// Set where the likeness is also multiplied with the ratio of the heights.
    pub(super) size_matters: bool,
}

impl Likeness {
    /// Returns the IoU of the expanded boxes times the IoU of the vertical ranges, in [0, 1].
    fn of(&self, track: &Extent, detection: &Extent) -> f64 {
        let iou = track.expanded(self.expansion).iou(&detection.expanded(self.expansion));
        if iou <= self.floor {
            return iou;
        }
        let vertical = track.vertical_iou(detection);
        let size = if self.size_matters { track.height_ratio(detection) } else { 1.0 };
        iou * vertical * size
    }

    /// Returns the pairs (row, column) that make the sum of (likeness - floor) largest.
    pub(super) fn pairs<'a>(&self, rows: &[Extent], columns: &[Extent], matching: &'a mut Matching) -> &'a [Pair] {
        let span = |extent: &Extent| extent.expanded(self.expansion).span();
        matching.find(rows.iter().map(span), columns.iter().map(span), -self.floor, |row, column| {
            -self.of(&rows[row], &columns[column])
        });
        matching.assign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Likeness = Likeness { floor: 0.2, expansion: 0.0, size_matters: false };

    fn extent((x, y, width, height): (f64, f64, f64, f64)) -> Extent {
        Extent { x, y, width, height }
    }

    fn pairs(likeness: Likeness, tracks: &[Extent], detections: &[Extent]) -> Vec<(usize, usize)> {
        let mut matching = Matching::default();
        likeness.pairs(tracks, detections, &mut matching).iter().map(|pair| (pair.row, pair.column)).collect()
    }

    #[test]
    fn the_sum_counts_and_not_the_nearest_pair() {
        let tracks = [(0.0, 0.0, 10.0, 10.0), (3.0, 0.0, 10.0, 10.0)].map(extent);
        let detections = [(2.0, 0.0, 10.0, 10.0), (-4.0, 0.0, 10.0, 10.0)].map(extent);
        assert_eq!(pairs(PLAIN, &tracks, &detections), [(0, 1), (1, 0)]);
    }

    #[test]
    fn a_box_of_another_height_is_less_alike() {
        let (track, small) = (extent((0.0, 0.0, 10.0, 20.0)), extent((0.0, 0.0, 10.0, 10.0)));
        assert_eq!(PLAIN.of(&track, &track), 1.0);
        assert!((PLAIN.of(&track, &small) - 0.25).abs() < 1e-12);
        let strict = Likeness { size_matters: true, ..PLAIN };
        assert!((strict.of(&track, &small) - 0.125).abs() < 1e-12);
    }

    #[test]
    fn expansion_reaches_boxes_that_only_just_miss() {
        let (track, beside) = (extent((0.0, 0.0, 10.0, 20.0)), extent((11.0, 0.0, 10.0, 20.0)));
        let wide = Likeness { expansion: 0.3, floor: 0.1, size_matters: false };
        assert_eq!(PLAIN.of(&track, &beside), 0.0);
        assert_eq!(pairs(wide, &[track], &[beside]), [(0, 0)]);
    }
}

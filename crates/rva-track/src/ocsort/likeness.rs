//! Measures of how alike two boxes are: overlap, and its generalisations that tell apart boxes without any.

use crate::kalman::Rect;
use crate::params::{ParamKind, Scalar};
use std::f64::consts::PI;

/// The measure of likeness (`asso_func`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AssoFunc {
    /// Intersection over union.
    #[default]
    Iou,
    /// Rezatofighi et al., "Generalized intersection over union" (CVPR 2019): less the empty share of the hull.
    Giou,
    /// Zheng et al., "Distance-IoU loss" (AAAI 2020), equation 10: distance of the centres and aspect ratio as well.
    Ciou,
    /// The same paper, equation 6: less the squared distance of the centres over that of the hull's corners.
    Diou,
}

impl AssoFunc {
    const NAMES: &'static [&'static str] = &["iou", "giou", "ciou", "diou"];
    /// The words that the parameter takes.
    pub(crate) const KIND: ParamKind = ParamKind::OneOf(Self::NAMES);

    fn name(self) -> &'static str {
        match self {
            Self::Iou => "iou",
            Self::Giou => "giou",
            Self::Ciou => "ciou",
            Self::Diou => "diou",
        }
    }

    /// Returns the likeness in [0, 1]; 0 or NaN where it has no meaning. As in the authors' code, what lies in [-1, 1]
    /// is brought to [0, 1] by adding 1 and halving; so a threshold means something else for each measure.
    pub(crate) fn of(self, a: &Rect, b: &Rect) -> f64 {
        let iou = a.iou(b, 0.0);
        match self {
            Self::Iou => iou,
            Self::Giou => {
                let hull = a.hull(b);
                let (areas, hull) = (a.width() * a.height() + b.width() * b.height(), hull.width() * hull.height());
                // intersection = iou * union, and union = areas - intersection.
                let union = areas / (1.0 + iou);
                halved(iou - (hull - union) / hull)
            }
            Self::Diou => halved(iou - distance(a, b)),
            Self::Ciou => {
                let turn = |rect: &Rect| (rect.width() / rect.height()).atan();
                let v = 4.0 / (PI * PI) * (turn(a) - turn(b)).powi(2);
                let alpha = if v > 0.0 { v / (1.0 - iou + v) } else { 0.0 };
                halved(iou - distance(a, b) - alpha * v)
            }
        }
    }
}

impl Scalar for AssoFunc {
    fn read(text: &str) -> Option<Self> {
        [Self::Iou, Self::Giou, Self::Ciou, Self::Diou].into_iter().find(|func| func.name() == text)
    }

    fn fits(&self, kind: &ParamKind) -> bool {
        matches!(kind, ParamKind::OneOf(names) if names.contains(&self.name()))
    }

    fn shown(&self) -> String {
        self.name().into()
    }
}

fn halved(signed: f64) -> f64 {
    (signed + 1.0) / 2.0
}

/// Returns the squared distance of the centres, over that of the hull's corners.
fn distance(a: &Rect, b: &Rect) -> f64 {
    let ([ax, ay], [bx, by], hull) = (a.centre(), b.centre(), a.hull(b));
    ((ax - bx).powi(2) + (ay - by).powi(2)) / (hull.width().powi(2) + hull.height().powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_of_their_papers() {
        // 10 x 10 beside 10 x 20, with 5 x 10 in common: IoU 50 / 250, hull 15 x 20, centres 5 apart both ways.
        let (a, b) = (Rect::centred(5.0, 5.0, 10.0, 10.0), Rect::centred(10.0, 10.0, 10.0, 20.0));
        let iou = 50.0 / 250.0;
        let diou = iou - 50.0 / (15.0f64.powi(2) + 20.0f64.powi(2));
        let v = 4.0 / (PI * PI) * (1.0f64.atan() - 0.5f64.atan()).powi(2);
        let wanted = [
            (AssoFunc::Iou, iou),
            (AssoFunc::Giou, (1.0 + iou - 50.0 / 300.0) / 2.0),
            (AssoFunc::Diou, (1.0 + diou) / 2.0),
            (AssoFunc::Ciou, (1.0 + diou - v * v / (1.0 - iou + v)) / 2.0),
        ];
        for (func, wanted) in wanted {
            assert!((func.of(&a, &b) - wanted).abs() < 1e-12, "{func:?}: {} and {wanted}", func.of(&a, &b));
            assert!((func.of(&a, &a) - 1.0).abs() < 1e-12, "{func:?}");
        }
    }

    #[test]
    fn all_but_overlap_know_a_near_box_from_a_far_one() {
        let [a, near, far] = [0.0, 15.0, 90.0].map(|x| Rect::centred(x, 0.0, 10.0, 20.0));
        assert_eq!(AssoFunc::Iou.of(&a, &near), 0.0);
        for func in [AssoFunc::Giou, AssoFunc::Ciou, AssoFunc::Diou] {
            assert!(func.of(&a, &near) > func.of(&a, &far), "{func:?}");
        }
    }
}

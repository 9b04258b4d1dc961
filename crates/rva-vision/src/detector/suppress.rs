//! The way from the network's raw output to detections in source pixels, as Ultralytics' `non_max_suppression`
//! (`multi_label=False`) and `scale_boxes` define it, on torchvision's greedy `nms`.

use super::{DetectOptions, Selection};
use crate::Prepared;
use rva_types::{BBox, Detection};

/// The most boxes that take part in the suppression, of which the most confident ones do (Ultralytics' `max_nms`).
const CANDIDATES_MAX: usize = 30_000;

/// The distance in input pixels that boxes are moved by, times their class, so that classes don't suppress each other
/// (Ultralytics' `max_wh`).
const CLASS_OFFSET: f32 = 7680.0;

/// The suppression, which decides which detections stay.
#[derive(Debug, Clone)]
pub(crate) struct Suppression {
    conf: f32,
    iou: f32,
    classes: Option<Vec<u32>>,
    max_det: usize,
    agnostic: bool,
    /// The best score of each anchor, reused.
    best: Vec<f32>,
}

/// A box in input pixels.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    bbox: BBox,
    conf: f32,
    class_id: u32,
}

impl Suppression {
    /// Makes a suppression with the thresholds and the class filter of the options.
    pub(crate) fn new(options: &DetectOptions) -> Self {
        Self {
            conf: options.conf,
            iou: options.iou,
            classes: options.classes.clone(),
            max_det: options.max_det,
            agnostic: options.agnostic_nms,
            best: Vec::new(),
        }
    }

    /// Changes which confidences and classes stay.
    pub(crate) fn select(&mut self, selection: &Selection) {
        self.conf = selection.conf;
        self.classes.clone_from(&selection.classes);
    }

    /// Returns the detections of one picture, best first, clipped to it. `output` is `[4 + classes, anchors]` row by
    /// row: centre x and y, width and height in input pixels, then a score in [0, 1] for each class.
    pub(crate) fn detections(&mut self, output: &[f32], anchors: usize, prepared: &Prepared) -> Vec<Detection> {
        if anchors == 0 {
            return Vec::new();
        }
        let mut candidates = self.candidates(output, anchors);
        // Stable: of equal confidences the earlier anchor comes first, so that a run can be repeated to the byte.
        candidates.sort_by(|a, b| b.conf.total_cmp(&a.conf));
        candidates.truncate(CANDIDATES_MAX);
        let kept = self.suppress(&candidates);
        kept.into_iter().map(|candidate| to_source(&candidate, prepared)).collect()
    }

    /// Returns the detections of one picture by a model that suppresses by itself, best first, clipped to it. Each row
    /// of `output` is left, top, right and bottom in input pixels, a score in [0, 1] and a class id; rows that aren't
    /// used have score 0.
    ///
    /// # Errors
    /// Returns a text for a row above the threshold whose class id is none of `classes`.
    pub(crate) fn finished(
        &self,
        output: &[f32],
        classes: usize,
        prepared: &Prepared,
    ) -> Result<Vec<Detection>, String> {
        let (rows, _) = output.as_chunks::<6>();
        let strong = rows.iter().filter(|row| row[4] > self.conf && row[4].is_finite());
        let mut candidates = Vec::new();
        for &[x1, y1, x2, y2, conf, class] in strong {
            if class.fract() != 0.0 || !(0.0..classes as f32).contains(&class) {
                return Err(format!("found class {class} in an output row, wanted a whole number below {classes}"));
            }
            let (bbox, class_id) = (BBox::new(x1, y1, x2, y2), class as u32);
            let is_wanted = self.classes.as_ref().is_none_or(|wanted| wanted.contains(&class_id));
            if is_wanted && bbox.is_finite() && x2 > x1 && y2 > y1 {
                candidates.push(Candidate { bbox, conf, class_id });
            }
        }
        candidates.sort_by(|a, b| b.conf.total_cmp(&a.conf));
        candidates.truncate(self.max_det);
        Ok(candidates.iter().map(|candidate| to_source(candidate, prepared)).collect())
    }

    /// Returns the detections of one picture by a model that answers with queries, best first, clipped to it. Each row
    /// of `output` is centre x and y, width and height as parts of the input, then a logit for each class; a class
    /// without a name is none. A query may answer with several classes: of all its answers the best count, as many as
    /// there are queries, as in RF-DETR's own `PostProcess`.
    pub(crate) fn queries(&self, output: &[f32], class_names: &[String], prepared: &Prepared) -> Vec<Detection> {
        let row = 4 + class_names.len();
        let (width, height) = (prepared.input_size.width as f32, prepared.input_size.height as f32);
        let mut candidates = Vec::new();
        for query in output.chunks_exact(row) {
            let (place, logits) = query.split_at(4);
            let (x, y, w, h) = (place[0] * width, place[1] * height, place[2] * width / 2.0, place[3] * height / 2.0);
            let bbox = BBox::new(x - w, y - h, x + w, y + h);
            let answers = (0u32..).zip(logits.iter().zip(class_names)).filter(|(_, (_, name))| !name.is_empty());
            let answers = answers.map(|(class_id, (logit, _))| (class_id, sigmoid(*logit)));
            candidates.extend(answers.filter(|(_, conf)| *conf > self.conf).map(|(class_id, conf)| Candidate {
                bbox,
                conf,
                class_id,
            }));
        }
        candidates.sort_by(|a, b| b.conf.total_cmp(&a.conf));
        candidates.truncate(output.len() / row);
        candidates.retain(|Candidate { bbox, class_id, .. }| {
            let is_wanted = self.classes.as_ref().is_none_or(|wanted| wanted.contains(class_id));
            is_wanted && bbox.is_finite() && bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1
        });
        candidates.truncate(self.max_det);
        candidates.iter().map(|candidate| to_source(candidate, prepared)).collect()
    }

    fn candidates(&mut self, output: &[f32], anchors: usize) -> Vec<Candidate> {
        let scores = &output[4 * anchors..];
        self.best.clear();
        self.best.resize(anchors, f32::NEG_INFINITY);
        // Class by class and not anchor by anchor: that is how the scores lie in memory. The best score alone, which
        // the compiler makes vector code of; few anchors are above the threshold, and only those are asked for their
        // class.
        for row in scores.chunks_exact(anchors) {
            for (best, &score) in self.best.iter_mut().zip(row) {
                *best = if score > *best { score } else { *best };
            }
        }
        let row = |index: usize| &output[index * anchors..(index + 1) * anchors];
        let (x, y, width, height) = (row(0), row(1), row(2), row(3));
        let class_of = |i: usize, best: f32| (0u32..).zip(scores.chunks_exact(anchors)).find(|(_, row)| row[i] == best);
        let strong = self.best.iter().enumerate().filter(|(_, conf)| **conf > self.conf);
        strong
            .filter_map(|(i, &conf)| class_of(i, conf).map(|(class_id, _)| (i, conf, class_id)))
            .filter(|(.., class_id)| self.classes.as_ref().is_none_or(|classes| classes.contains(class_id)))
            .map(|(i, conf, class_id)| {
                let (w, h) = (width[i] / 2.0, height[i] / 2.0);
                Candidate { bbox: BBox::new(x[i] - w, y[i] - h, x[i] + w, y[i] + h), conf, class_id }
            })
            // A network that overflowed gives boxes that no arithmetic can place.
            .filter(|candidate| candidate.bbox.is_finite() && candidate.conf.is_finite())
            .collect()
    }

    /// Suppresses greedily: a box stays unless one that stayed overlaps it by more than `iou`. It ends at `max_det`,
    /// since later boxes can't change earlier ones.
    fn suppress(&self, candidates: &[Candidate]) -> Vec<Candidate> {
        let mut kept: Vec<(BBox, Candidate)> = Vec::new();
        for candidate in candidates {
            if kept.len() == self.max_det {
                break;
            }
            let offset = if self.agnostic { 0.0 } else { candidate.class_id as f32 * CLASS_OFFSET };
            let BBox { x1, y1, x2, y2 } = candidate.bbox;
            let moved = BBox::new(x1 + offset, y1 + offset, x2 + offset, y2 + offset);
            if kept.iter().all(|(other, _)| other.iou(&moved) <= self.iou) {
                kept.push((moved, *candidate));
            }
        }
        kept.into_iter().map(|(_, candidate)| candidate).collect()
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

fn to_source(candidate: &Candidate, prepared: &Prepared) -> Detection {
    let BBox { x1, y1, x2, y2 } = candidate.bbox;
    let x = |value: f32| (value - prepared.pad_left) / prepared.scale_x;
    let y = |value: f32| (value - prepared.pad_top) / prepared.scale_y;
    Detection {
        bbox: BBox::new(x(x1), y(y1), x(x2), y(y2)).clipped(prepared.source_size),
        conf: candidate.conf.clamp(0.0, 1.0),
        class_id: candidate.class_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::ImageSize;

    /// A 100 x 200 picture, 50 x 50 in an input of 60 x 50, five columns of border on each side.
    fn prepared() -> Prepared {
        Prepared {
            chw: Vec::new().into(),
            input_size: ImageSize { width: 60, height: 50 },
            source_size: ImageSize { width: 100, height: 200 },
            scale_x: 0.5,
            scale_y: 0.25,
            pad_left: 5.0,
            pad_top: 0.0,
        }
    }

    /// Anchors as (cx, cy, w, h, scores) to the planar output.
    fn output<const C: usize>(anchors: &[([f32; 4], [f32; C])]) -> Vec<f32> {
        let boxes = (0..4).flat_map(|i| anchors.iter().map(move |(b, _)| b[i]));
        let scores = (0..C).flat_map(|i| anchors.iter().map(move |(_, s)| s[i]));
        boxes.chain(scores).collect()
    }

    fn run<const C: usize>(options: DetectOptions, anchors: &[([f32; 4], [f32; C])]) -> Vec<Detection> {
        Suppression::new(&options).detections(&output(anchors), anchors.len(), &prepared())
    }

    fn confs(detections: &[Detection]) -> Vec<f32> {
        detections.iter().map(|d| d.conf).collect()
    }

    #[test]
    fn boxes_come_back_in_source_pixels_clipped_and_best_first() {
        let found = run(
            DetectOptions::default(),
            &[([20.0, 10.0, 10.0, 4.0], [0.5, 0.3]), ([0.0, 45.0, 30.0, 20.0], [0.1, 0.9])],
        );
        let wanted = [
            Detection { bbox: BBox::new(0.0, 140.0, 20.0, 200.0), conf: 0.9, class_id: 1 },
            Detection { bbox: BBox::new(20.0, 32.0, 40.0, 48.0), conf: 0.5, class_id: 0 },
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn rows_of_a_model_that_suppresses_by_itself_come_back_in_source_pixels() {
        let rows = [
            [15.0, 8.0, 25.0, 12.0, 0.5, 0.0],
            [0.0, 35.0, 15.0, 55.0, 0.9, 1.0],
            [15.5, 8.0, 25.0, 12.0, 0.45, 0.0],
            [20.0, 8.0, 20.0, 12.0, 0.8, 0.0],
            [15.0, 8.0, 25.0, f32::NAN, 0.8, 0.0],
            [0.0; 6],
        ];
        let run = |options: DetectOptions| Suppression::new(&options).finished(rows.as_flattened(), 2, &prepared());
        let found = run(DetectOptions::default()).unwrap();
        let wanted = [
            Detection { bbox: BBox::new(0.0, 140.0, 20.0, 200.0), conf: 0.9, class_id: 1 },
            Detection { bbox: BBox::new(20.0, 32.0, 40.0, 48.0), conf: 0.5, class_id: 0 },
            Detection { bbox: BBox::new(21.0, 32.0, 40.0, 48.0), conf: 0.45, class_id: 0 },
        ];
        assert_eq!(found, wanted, "and what the model left overlapping stays");
        let classes = Some(vec![0]);
        assert_eq!(run(DetectOptions { classes, max_det: 1, ..Default::default() }).unwrap(), wanted[1..2]);
        assert_eq!(run(DetectOptions { conf: 0.5, ..Default::default() }).unwrap(), wanted[..1]);
        for class in [2.0, -1.0, 0.5, f32::NAN] {
            let row = [1.0, 1.0, 9.0, 9.0, 0.9, class];
            let error = Suppression::new(&DetectOptions::default()).finished(&row, 2, &prepared()).unwrap_err();
            assert!(error.contains("wanted a whole number below 2"), "{error}");
        }
    }

    #[test]
    fn answers_of_queries_come_back_in_source_pixels_each_class_by_itself() {
        let names = ["", "person", "cart"].map(str::to_owned);
        // A logit of ln 3 is 0.75, of ln 4 is 0.8, of ln 9 is 0.9.
        let (most, more, some, none) = (9f32.ln(), 4f32.ln(), 3f32.ln(), -9.0);
        let rows = [
            [0.5, 0.5, 0.25, 0.2, most, some, none],
            [0.5, 0.9, 0.5, 0.4, none, more, most],
            [0.5, 0.5, 0.0, 0.2, none, most, none],
            [0.5, f32::NAN, 0.25, 0.2, none, most, none],
            [0.5, 0.5, 0.25, 0.2, none, f32::NAN, 0.0],
        ];
        let run = |options: DetectOptions| Suppression::new(&options).queries(rows.as_flattened(), &names, &prepared());
        let (first, second) = (BBox::new(35.0, 80.0, 65.0, 120.0), BBox::new(20.0, 140.0, 80.0, 200.0));
        let near = |found: &[Detection], wanted: &[(u32, f32, BBox)]| {
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (found, (class_id, conf, bbox)) in found.iter().zip(wanted) {
                assert_eq!(found.class_id, *class_id);
                assert!((found.conf - conf).abs() < 1e-6 && found.bbox.iou(bbox) > 0.9999, "{found:?} is not {bbox:?}");
            }
        };
        let all = [(2, 0.9, second), (1, 0.8, second), (1, 0.75, first)];
        near(&run(DetectOptions { conf: 0.6, ..Default::default() }), &all);
        near(&run(DetectOptions { conf: 0.6, classes: Some(vec![1]), ..Default::default() }), &all[1..]);
        near(&run(DetectOptions { conf: 0.6, max_det: 1, ..Default::default() }), &all[..1]);
        near(&run(DetectOptions { conf: 0.77, ..Default::default() }), &all[..2]);
    }

    #[test]
    fn no_more_answers_count_than_there_are_queries() {
        let names = ["person", "cart"].map(str::to_owned);
        let row = |person: f32, cart: f32| [0.5, 0.5, 0.25, 0.2, person, cart];
        let rows = [row(3.0, 2.0), row(1.0, 4.0)];
        let options = DetectOptions { classes: Some(vec![0]), ..Default::default() };
        let found = Suppression::new(&options).queries(rows.as_flattened(), &names, &prepared());
        assert_eq!(found.len(), 1, "the two best answers are a cart and a person; the filter comes after: {found:?}");
        assert!((found[0].conf - sigmoid(3.0)).abs() < 1e-6);
    }

    #[test]
    fn a_confidence_at_the_threshold_is_not_kept() {
        let at = |conf| run(DetectOptions { conf: 0.25, ..Default::default() }, &[([20.0, 20.0, 9.0, 9.0], [conf])]);
        assert_eq!(at(0.25), []);
        assert_eq!(confs(&at(0.2501)), [0.2501]);
    }

    /// Two 10 x 10 boxes, the second moved by 2.5: overlap 75 / 125 = 0.6 exactly.
    fn pair(second: [f32; 2]) -> [([f32; 4], [f32; 2]); 2] {
        [([20.0, 20.0, 10.0, 10.0], [0.9, 0.0]), ([22.5, 20.0, 10.0, 10.0], second)]
    }

    #[test]
    fn only_an_overlap_above_the_threshold_suppresses() {
        let kept = |iou| confs(&run(DetectOptions { iou, ..Default::default() }, &pair([0.8, 0.0])));
        assert_eq!(kept(0.59), [0.9]);
        assert_eq!(kept(0.6), [0.9, 0.8]);
    }

    #[test]
    fn classes_suppress_each_other_only_when_agnostic() {
        let kept = |agnostic_nms| {
            confs(&run(DetectOptions { iou: 0.5, agnostic_nms, ..Default::default() }, &pair([0.0, 0.8])))
        };
        assert_eq!(kept(false), [0.9, 0.8]);
        assert_eq!(kept(true), [0.9]);
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing() {
        // The second overlaps both others by 0.6; the third overlaps the first by 50 / 150 only.
        let anchors: [_; 3] = [20.0, 22.5, 25.0].map(|x| ([x, 20.0, 10.0, 10.0], [1.0 - x / 100.0]));
        let found = run(DetectOptions { iou: 0.5, ..Default::default() }, &anchors);
        assert_eq!(found.iter().map(|d| d.bbox.x1).collect::<Vec<_>>(), [20.0, 30.0]);
    }

    #[test]
    fn only_the_best_class_of_a_box_counts_and_the_filter_comes_after_it() {
        let anchors = [([20.0, 20.0, 9.0, 9.0], [0.6, 0.7, 0.7])];
        assert_eq!(run(DetectOptions::default(), &anchors)[0].class_id, 1, "the first of equals");
        let filtered = |id| run(DetectOptions { classes: Some(vec![id]), ..Default::default() }, &anchors);
        assert_eq!(filtered(0), [], "0.6 is not the best of this box");
        assert_eq!(filtered(1).len(), 1);
    }

    #[test]
    fn at_most_max_det_stay_and_they_are_the_best() {
        let anchors: Vec<_> = (0..9).map(|i| ([5.0 * i as f32, 20.0, 4.0, 4.0], [0.5 + i as f32 / 100.0])).collect();
        let found = run(DetectOptions { max_det: 2, ..Default::default() }, &anchors);
        assert_eq!(confs(&found), [0.58, 0.57]);
    }

    #[test]
    fn values_that_are_no_numbers_give_no_detections() {
        let broken = [f32::NAN, f32::INFINITY];
        for value in broken {
            assert_eq!(run(DetectOptions::default(), &[([value, 20.0, 9.0, 9.0], [0.9])]), []);
            assert_eq!(run(DetectOptions::default(), &[([20.0, 20.0, 9.0, 9.0], [value])]), []);
        }
        assert_eq!(run::<1>(DetectOptions::default(), &[]), []);
    }
}

//! Average precision of detections, as COCO scores it.
//!
//! Source: Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014); the numbers are those of pycocotools'
//! `COCOeval` for boxes.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most detections of an image and class that count, the best first.
const DETECTIONS_MAX: usize = 100;
/// The points of recall at which precision is read.
const RECALLS: usize = 101;
const THRESHOLDS: usize = 10;

/// A box of the truth or of a detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionBox {
    /// The picture's number.
    pub image: u64,
    /// The class's number.
    pub class: u64,
    /// Left, top, width, height in pixels.
    pub bbox: [f64; 4],
    /// Confidence in [0, 1]; of no meaning for the truth.
    pub score: f64,
    /// Area in pixels, of the truth's outline where it has one.
    pub area: f64,
    /// Marks many objects in one box of the truth: it is no miss, and what lies on it no false alarm.
    pub is_crowd: bool,
}

/// The objects that a detector should have found, and the pictures that they are in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionTruth {
    /// Every picture that was looked at, those without objects too: anything found in those is a false alarm.
    pub images: BTreeSet<u64>,
    /// The objects, all of them in `images`.
    pub boxes: Vec<DetectionBox>,
}

/// An error that says why a file isn't COCO's.
#[derive(Debug, thiserror::Error)]
pub enum DetectionError {
    /// A text that isn't the JSON that is wanted.
    #[error("{file}: found {error}, wanted {wanted}")]
    Json {
        /// The file as the caller named it.
        file: String,
        /// The shape that was wanted.
        wanted: &'static str,
        /// The parser's error, with line and column.
        error: serde_json::Error,
    },
    /// A box that can't be.
    #[error("{file}: found bbox {found:?} of image {image}, wanted finite numbers and sizes from 0")]
    Box {
        /// The file as the caller named it.
        file: String,
        /// The picture's number.
        image: u64,
        /// The box as it stands there: left, top, width, height.
        found: [f64; 4],
    },
    /// An object in a picture that isn't there.
    #[error("{file}: found an annotation of image {image}, wanted one of the {images} images listed")]
    Unlisted {
        /// The file as the caller named it.
        file: String,
        /// The picture's number.
        image: u64,
        /// The number of pictures that the file lists.
        images: usize,
    },
}

#[derive(Deserialize)]
struct CocoImage {
    id: u64,
}

#[derive(Deserialize)]
struct CocoTruth {
    images: Vec<CocoImage>,
    annotations: Vec<CocoAnnotation>,
}

#[derive(Deserialize)]
struct CocoAnnotation {
    image_id: u64,
    category_id: u64,
    bbox: [f64; 4],
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct CocoResult {
    image_id: u64,
    category_id: u64,
    bbox: [f64; 4],
    score: f64,
}

fn checked(file: &str, found: DetectionBox) -> Result<DetectionBox, DetectionError> {
    let [.., width, height] = found.bbox;
    let is_good = found.bbox.iter().all(|v| v.is_finite()) && width >= 0.0 && height >= 0.0 && found.score.is_finite();
    let (image, bbox) = (found.image, found.bbox);
    if is_good { Ok(found) } else { Err(DetectionError::Box { file: file.to_owned(), image, found: bbox }) }
}

/// Reads ground truth: COCO's `instances_*.json`. A `file` is named in errors only.
///
/// # Errors
/// Returns an error for another shape, boxes that can't be, or an annotation of a picture that isn't listed.
pub fn ground_truth_from_coco(file: &str, text: &str) -> Result<DetectionTruth, DetectionError> {
    let wanted = "COCO ground truth: an object with images of id and annotations of image_id, category_id, bbox";
    let json = |error| DetectionError::Json { file: file.to_owned(), wanted, error };
    let truth: CocoTruth = serde_json::from_str(text).map_err(json)?;
    let images: BTreeSet<u64> = truth.images.into_iter().map(|image| image.id).collect();
    let boxes = truth.annotations.into_iter().map(|a| {
        if !images.contains(&a.image_id) {
            let (file, image) = (file.to_owned(), a.image_id);
            return Err(DetectionError::Unlisted { file, image, images: images.len() });
        }
        let area = a.area.unwrap_or(a.bbox[2] * a.bbox[3]);
        let (image, class, is_crowd) = (a.image_id, a.category_id, a.iscrowd != 0);
        checked(file, DetectionBox { image, class, bbox: a.bbox, score: 1.0, area, is_crowd })
    });
    let boxes = boxes.collect::<Result<_, _>>()?;
    Ok(DetectionTruth { images, boxes })
}

/// Reads results: COCO's list of image_id, category_id, bbox, score.
///
/// # Errors
/// Fails as [`ground_truth_from_coco`] does.
pub fn results_from_coco(file: &str, text: &str) -> Result<Vec<DetectionBox>, DetectionError> {
    let wanted = "COCO results: a list of image_id, category_id, bbox, score";
    let json = |error| DetectionError::Json { file: file.to_owned(), wanted, error };
    let results: Vec<CocoResult> = serde_json::from_str(text).map_err(json)?;
    let boxes = results.into_iter().map(|r| {
        let (image, class, area) = (r.image_id, r.category_id, r.bbox[2] * r.bbox[3]);
        checked(file, DetectionBox { image, class, bbox: r.bbox, score: r.score, area, is_crowd: false })
    });
    boxes.collect()
}

/// Average precision, as means over the classes that the truth has, in [0, 1]; `None` without truth of that size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ApScores {
    /// The precision over IoU 0.50 to 0.95 (AP50:95).
    pub ap: Option<f64>,
    /// The precision at IoU 0.50.
    pub ap50: Option<f64>,
    /// The precision at IoU 0.75.
    pub ap75: Option<f64>,
    /// The precision for objects below 32² pixels.
    pub ap_small: Option<f64>,
    /// The precision for those up to 96² pixels.
    pub ap_medium: Option<f64>,
    /// The precision for larger ones.
    pub ap_large: Option<f64>,
    /// The recall with at most 100 detections a picture, over IoU 0.50 to 0.95.
    pub ar: Option<f64>,
}

/// Returns numpy's `linspace(0.5, 0.95, 10)` to the last bit: an overlap exactly at a threshold decides a match.
fn threshold(at: usize) -> f64 {
    if at == THRESHOLDS - 1 { 0.95 } else { 0.5 + at as f64 * ((0.95 - 0.5) / (THRESHOLDS - 1) as f64) }
}

/// Returns numpy's `linspace(0, 1, 101)` to the last bit: 35 of 100 found don't reach its 0.35000000000000003.
fn recall_point(at: usize) -> f64 {
    at as f64 * 0.01
}

fn iou(found: &DetectionBox, truth: &DetectionBox) -> f64 {
    let overlap = |i: usize| {
        let end = (found.bbox[i] + found.bbox[i + 2]).min(truth.bbox[i] + truth.bbox[i + 2]);
        (end - found.bbox[i].max(truth.bbox[i])).max(0.0)
    };
    let intersection = overlap(0) * overlap(1);
    let area = |b: &DetectionBox| b.bbox[2] * b.bbox[3];
    let union = if truth.is_crowd { area(found) } else { area(found) + area(truth) - intersection };
    if union > 0.0 { intersection / union } else { 0.0 }
}

/// The fate of one detection at each threshold.
struct Judged {
    score: f64,
    matched: [bool; THRESHOLDS],
    ignored: [bool; THRESHOLDS],
}

/// Matches greedily in one picture, the best detection first: each takes the true box that it overlaps most. Returns
/// the number of true boxes that count.
fn judge(truth: &[&DetectionBox], found: &[&DetectionBox], range: (f64, f64), judged: &mut Vec<Judged>) -> usize {
    let outside = |area: f64| area < range.0 || area > range.1;
    let mut truth: Vec<(&DetectionBox, bool)> = truth.iter().map(|t| (*t, t.is_crowd || outside(t.area))).collect();
    truth.sort_by_key(|(_, ignored)| *ignored);
    let mut found = found.to_vec();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(DETECTIONS_MAX);
    let first = judged.len();
    judged.extend(found.iter().map(|f| Judged {
        score: f.score,
        matched: [false; THRESHOLDS],
        ignored: [outside(f.area); THRESHOLDS],
    }));
    for at in 0..THRESHOLDS {
        let mut taken = vec![false; truth.len()];
        for (found, judged) in found.iter().zip(&mut judged[first..]) {
            let (mut best, mut least) = (None, threshold(at).min(1.0 - 1e-10));
            for (i, (candidate, ignored)) in truth.iter().enumerate() {
                if taken[i] && !candidate.is_crowd {
                    continue;
                }
                // Ignored ones come last: none of them is taken from a real one.
                if best.is_some_and(|b: usize| !truth[b].1) && *ignored {
                    break;
                }
                let overlap = iou(found, candidate);
                if overlap >= least {
                    (best, least) = (Some(i), overlap);
                }
            }
            if let Some(i) = best {
                taken[i] = true;
                judged.matched[at] = true;
                judged.ignored[at] = truth[i].1;
            }
        }
    }
    truth.iter().filter(|(_, ignored)| !ignored).count()
}

/// Returns the mean precision over the recall points, and the final recall, at one threshold.
fn precision(judged: &[Judged], truths: usize, at: usize) -> (f64, f64) {
    let (mut hits, mut alarms) = (0.0, 0.0);
    let mut curve: Vec<(f64, f64)> = Vec::new();
    for judged in judged.iter().filter(|judged| !judged.ignored[at]) {
        if judged.matched[at] {
            hits += 1.0;
        } else {
            alarms += 1.0;
        }
        curve.push((hits / truths as f64, hits / (hits + alarms + f64::EPSILON)));
    }
    let recall = curve.last().map_or(0.0, |(recall, _)| *recall);
    for i in (1..curve.len()).rev() {
        curve[i - 1].1 = curve[i - 1].1.max(curve[i].1);
    }
    let at_recall = |wanted: f64| {
        let point = curve.partition_point(|(recall, _)| *recall < wanted);
        curve.get(point).map_or(0.0, |(_, precision)| *precision)
    };
    let sum: f64 = (0..RECALLS).map(|i| at_recall(recall_point(i))).sum();
    (sum / RECALLS as f64, recall)
}

/// Returns precision and recall of one class within a range of areas, at each threshold; `None` without such truth.
fn of_class(
    images: &BTreeSet<u64>,
    truth: &ByImage<'_>,
    found: &ByImage<'_>,
    range: (f64, f64),
) -> Option<[(f64, f64); THRESHOLDS]> {
    let (mut judged, mut truths) = (Vec::new(), 0);
    let none = Vec::new();
    for image in images {
        let (truth, found) = (truth.get(image).unwrap_or(&none), found.get(image).unwrap_or(&none));
        truths += judge(truth, found, range, &mut judged);
    }
    judged.sort_by(|a, b| b.score.total_cmp(&a.score));
    (truths > 0).then(|| std::array::from_fn(|at| precision(&judged, truths, at)))
}

type ByImage<'a> = BTreeMap<u64, Vec<&'a DetectionBox>>;

/// Scores detections against the truth. Detections in pictures that the truth doesn't list, and of classes that it
/// has no object of, don't count, as in COCO.
pub fn score_detections(truth: &DetectionTruth, found: &[DetectionBox]) -> ApScores {
    let mut classes: BTreeMap<u64, (ByImage<'_>, ByImage<'_>)> = BTreeMap::new();
    for t in &truth.boxes {
        classes.entry(t.class).or_default().0.entry(t.image).or_default().push(t);
    }
    for f in found {
        if let Some((_, boxes)) = classes.get_mut(&f.class) {
            boxes.entry(f.image).or_default().push(f);
        }
    }
    let mean = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let within = |range: (f64, f64)| -> Vec<[(f64, f64); THRESHOLDS]> {
        classes.values().filter_map(|(objects, found)| of_class(&truth.images, objects, found, range)).collect()
    };
    let (small, large) = (32f64.powi(2), 96f64.powi(2));
    let all = within((0.0, 1e10));
    let over_all = |scores: &[[(f64, f64); THRESHOLDS]]| mean(scores.iter().flatten().map(|(ap, _)| *ap).collect());
    let at = |i: usize| mean(all.iter().map(|class| class[i].0).collect());
    ApScores {
        ap: over_all(&all),
        ap50: at(0),
        ap75: at(5),
        ap_small: over_all(&within((0.0, small))),
        ap_medium: over_all(&within((small, large))),
        ap_large: over_all(&within((large, 1e10))),
        ar: mean(all.iter().flatten().map(|(_, recall)| *recall).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(image: u64, x: f64, score: f64) -> DetectionBox {
        DetectionBox { image, class: 1, bbox: [x, 0.0, 100.0, 100.0], score, area: 10_000.0, is_crowd: false }
    }

    fn truth_of(boxes: &[DetectionBox]) -> DetectionTruth {
        DetectionTruth { images: boxes.iter().map(|b| b.image).collect(), boxes: boxes.to_vec() }
    }

    #[test]
    fn all_found_is_one_and_nothing_found_is_zero() {
        let truth = [at(1, 0.0, 1.0), at(2, 50.0, 1.0)];
        assert_eq!(score_detections(&truth_of(&truth), &truth).ap, Some(1.0));
        let none = score_detections(&truth_of(&truth), &[]);
        assert_eq!((none.ap, none.ap_large, none.ap_small), (Some(0.0), Some(0.0), None));
    }

    #[test]
    fn a_false_alarm_with_a_better_score_costs_precision() {
        let truth = [at(1, 0.0, 1.0)];
        let scores = score_detections(&truth_of(&truth), &[at(1, 500.0, 0.9), at(1, 0.0, 0.8)]);
        assert!((scores.ap50.unwrap() - 0.5).abs() < 1e-9, "{scores:?}");
    }

    #[test]
    fn wrong_files_are_named() {
        let text = ground_truth_from_coco("gt.json", "[]").unwrap_err().to_string();
        assert!(text.contains("gt.json") && text.contains("annotations"), "{text}");
        let stray = r#"{"images":[{"id":1}],"annotations":[{"image_id":7,"category_id":1,"bbox":[0,0,1,1]}]}"#;
        let text = ground_truth_from_coco("gt.json", stray).unwrap_err().to_string();
        assert_eq!(text, "gt.json: found an annotation of image 7, wanted one of the 1 images listed");
        let bad = r#"[{"image_id":3,"category_id":1,"bbox":[0,0,-1,2],"score":0.5}]"#;
        let text = results_from_coco("r.json", bad).unwrap_err().to_string();
        assert!(text.contains("image 3") && text.contains("-1"), "{text}");
    }
}

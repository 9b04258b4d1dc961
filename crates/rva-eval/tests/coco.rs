//! Equality of average precision with pycocotools, on pictures that are made up.

// Clippy's exemption covers test functions only, and these files are all test.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_eval::{ApScores, ground_truth_from_coco, results_from_coco, score_detections};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// Largest difference of a score.
const TOLERANCE: f64 = 1e-4;

/// A small generator of numbers: the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn within(&mut self, low: f64, high: f64) -> f64 {
        low + self.roll() * (high - low)
    }
}

fn truth_of(images: u64, classes: u64, annotations: &[Value]) -> Value {
    let of = |n: u64| (1..=n).map(|id| json!({"id": id, "name": id.to_string()})).collect::<Vec<_>>();
    json!({"info": {}, "images": of(images), "categories": of(classes), "annotations": annotations})
}

fn annotation(id: usize, image: u64, class: u64, bbox: [f64; 4], is_crowd: bool) -> Value {
    json!({"id": id, "image_id": image, "category_id": class, "bbox": bbox, "area": bbox[2] * bbox[3] * 0.9,
           "iscrowd": u8::from(is_crowd)})
}

fn result(image: u64, class: u64, bbox: [f64; 4], score: f64) -> Value {
    json!({"image_id": image, "category_id": class, "bbox": bbox, "score": score})
}

/// Twenty pictures, four classes and all sizes: crowds, misses, shifted and double boxes, wrong classes, false alarms.
fn made_up(seed: u64, harm: f64) -> (Value, Value) {
    let mut dice = Dice(seed);
    let (mut annotations, mut results) = (Vec::new(), Vec::new());
    for image in 1..=20 {
        for _ in 0..dice.within(1.0, 12.0) as usize {
            let class = dice.within(1.0, 4.999) as u64;
            // Sizes on both sides of 32 and 96 pixels.
            let (width, height) = (dice.within(8.0, 160.0), dice.within(8.0, 160.0));
            let [x, y] = [dice.within(0.0, 500.0), dice.within(0.0, 350.0)];
            let is_crowd = dice.roll() < 0.1;
            annotations.push(annotation(annotations.len() + 1, image, class, [x, y, width, height], is_crowd));
            let copies = if is_crowd { 4 } else { 1 + usize::from(dice.roll() < 0.2 * harm) };
            for _ in 0..copies {
                if dice.roll() < 0.2 * harm {
                    continue;
                }
                let mut moved = |size: f64| dice.within(-0.25, 0.25) * size * harm;
                let (dx, dy, dw, dh) = (moved(width), moved(height), moved(width), moved(height));
                let class = if dice.roll() < 0.1 * harm { class % 4 + 1 } else { class };
                // Few levels, so that many scores are equal.
                let score = (dice.roll() * 20.0).round() / 20.0;
                results.push(result(image, class, [x + dx, y + dy, width + dw, height + dh], score));
            }
            if dice.roll() < 0.3 * harm {
                let bbox = [dice.within(0.0, 500.0), dice.within(0.0, 350.0), width, height];
                results.push(result(image, class, bbox, dice.roll()));
            }
        }
    }
    (truth_of(20, 4, &annotations), Value::Array(results))
}

fn reference(truth: &str, results: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (truth_path, results_path) = (folder.path().join("truth.json"), folder.path().join("results.json"));
    fs::write(&truth_path, truth).unwrap();
    fs::write(&results_path, results).unwrap();
    let python = std::env::var("RVA_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/pycocotools_reference.py");
    let output = Command::new(python).arg(script).args([&truth_path, &results_path]).output().unwrap();
    assert!(output.status.success(), "pycocotools: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Scores both ways, compares every figure, and gives ours back.
fn compare(name: &str, truth: &Value, results: &Value) -> ApScores {
    let (truth, results) = (truth.to_string(), results.to_string());
    let truths = ground_truth_from_coco("truth.json", &truth).unwrap();
    let ours = score_detections(&truths, &results_from_coco("results.json", &results).unwrap());
    let theirs = reference(&truth, &results);
    let ApScores { ap, ap50, ap75, ap_small, ap_medium, ap_large, ar } = ours;
    let named = [
        ("ap", ap),
        ("ap50", ap50),
        ("ap75", ap75),
        ("ap_small", ap_small),
        ("ap_medium", ap_medium),
        ("ap_large", ap_large),
        ("ar", ar),
    ];
    for (metric, ours) in named {
        let theirs = theirs[metric].as_f64();
        let is_equal = match (ours, theirs) {
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= TOLERANCE,
            (None, None) => true,
            _ => false,
        };
        assert!(is_equal, "{name}, {metric}: ours {ours:?}, pycocotools' {theirs:?}");
    }
    ours
}

#[test]
fn made_up_pictures_score_as_in_pycocotools() {
    for (name, seed, harm) in [("exact", 1, 0.0), ("good", 2, 0.3), ("fair", 3, 0.7), ("bad", 4, 1.0)] {
        let (truth, results) = made_up(seed, harm);
        let ours = compare(name, &truth, &results);
        let sizes = [ours.ap_small, ours.ap_medium, ours.ap_large];
        assert!(sizes.iter().all(Option::is_some), "{name} lacks a size: {ours:?}");
    }
}

#[test]
fn false_alarms_in_pictures_without_objects_count_as_in_pycocotools() {
    let bbox = [10.0, 10.0, 100.0, 100.0];
    let truth = truth_of(2, 1, &[annotation(1, 1, 1, bbox, false)]);
    let ours = compare("empty-picture", &truth, &json!([result(2, 1, bbox, 0.9), result(1, 1, bbox, 0.8)]));
    assert!((ours.ap50.unwrap() - 0.5).abs() < 1e-9, "{ours:?}");
}

#[test]
fn recall_is_read_at_the_same_points_as_in_pycocotools() {
    // Of 100 objects 35 are found without an error, the rest behind alarms: 35 % of recall is below numpy's
    // 0.35000000000000003, so precision there is the lower one that follows.
    let boxes: Vec<_> = (0..100).map(|i| [f64::from(i % 10) * 60.0, f64::from(i / 10) * 60.0, 50.0, 50.0]).collect();
    let annotations: Vec<_> = boxes.iter().enumerate().map(|(i, b)| annotation(i + 1, 1, 1, *b, false)).collect();
    let mut results: Vec<_> = boxes[..35].iter().map(|bbox| result(1, 1, *bbox, 0.9)).collect();
    results.extend((0..30).map(|_| result(1, 1, [2000.0, 2000.0, 50.0, 50.0], 0.8)));
    results.extend(boxes[35..70].iter().map(|bbox| result(1, 1, *bbox, 0.7)));
    compare("recall-points", &truth_of(1, 1, &annotations), &Value::Array(results));
}

#[test]
fn overlaps_exactly_at_a_threshold_count_as_in_pycocotools() {
    // Boxes of 100 x 100 in which the result fills the first n columns: an IoU of n / 100 exactly.
    let (mut annotations, mut results) = (Vec::new(), Vec::new());
    for (i, columns) in (50..=95).step_by(5).enumerate() {
        let (image, columns) = (i as u64 + 1, f64::from(columns));
        annotations.push(annotation(i + 1, image, 1, [0.0, 0.0, 100.0, 100.0], false));
        results.push(result(image, 1, [0.0, 0.0, columns, 100.0], 0.9));
    }
    compare("thresholds", &truth_of(10, 1, &annotations), &Value::Array(results));
}

#[test]
fn only_the_hundred_best_of_a_picture_and_class_count_as_in_pycocotools() {
    let bbox = [10.0, 10.0, 100.0, 100.0];
    let mut results: Vec<_> =
        (0..100).map(|i| result(1, 1, [1000.0 + f64::from(i) * 200.0, 0.0, 100.0, 100.0], 0.9)).collect();
    results.push(result(1, 1, bbox, 0.5));
    let ours = compare("hundred", &truth_of(1, 1, &[annotation(1, 1, 1, bbox, false)]), &Value::Array(results));
    assert_eq!(ours.ap, Some(0.0), "the hundred and first must not count");
}

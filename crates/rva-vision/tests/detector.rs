//! The detector on real models against recorded detections and against Python's ONNX Runtime, and on the small models
//! of `tests/models` for layouts, element types and sizes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{library, python};
use opencv::{prelude::*, videoio};
use rva_testkit::{repository, shared};
use rva_types::{BBox, Detection, ImageSize};
use rva_vision::{
    BatchOptions, DetectOptions, Detector, Device, FoundLibrary, Image, Prepared, Selection, SharedModel,
    VisionErrorKind, YoloDetector, devices, resolve_classes,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn toy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{name}.onnx"))
}

fn load(library: &FoundLibrary, model: &Path, options: &DetectOptions) -> YoloDetector {
    YoloDetector::load(library, model, options).unwrap_or_else(|error| panic!("{error}"))
}

fn detect(detector: &mut dyn Detector, image: &Image) -> Vec<Detection> {
    let prepared = detector.preparer().prepare(image).unwrap();
    let mut found = detector.infer(&[prepared]).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn picture(path: &Path) -> Image {
    Image::decode(&std::fs::read(path).unwrap()).unwrap()
}

/// Detections by Python for each entry of `options` (JSON), or `None` where its packages are missing.
fn python_detections(model: &Path, picture: &str, options: &str) -> Option<Vec<Vec<Detection>>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/yolo_reference.py");
    let packages = Command::new(python()).args(["-c", "import cv2, numpy, onnxruntime"]).output();
    if !packages.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: Python has no onnxruntime, numpy or cv2");
        return None;
    }
    let output = Command::new(python()).arg(script).arg(model).args([picture, options]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lists: Vec<Vec<[f32; 6]>> = serde_json::from_slice(&output.stdout).unwrap();
    let detection = |[x1, y1, x2, y2, conf, class]: [f32; 6]| Detection {
        bbox: BBox::new(x1, y1, x2, y2),
        conf,
        class_id: class as u32,
    };
    Some(lists.into_iter().map(|list| list.into_iter().map(detection).collect()).collect())
}

/// Every wanted object is found once, and nothing else: same class, confidence within 0.01, overlap of at least 0.98.
fn assert_same(found: &[Detection], wanted: &[Detection], what: &str) {
    let mut left: Vec<Detection> = found.to_vec();
    for object in wanted {
        let place = left.iter().position(|d| {
            d.class_id == object.class_id && (d.conf - object.conf).abs() <= 0.01 && d.bbox.iou(&object.bbox) >= 0.98
        });
        let place = place.unwrap_or_else(|| panic!("{what}: no {object:?} among {left:?}"));
        left.remove(place);
    }
    assert!(left.is_empty(), "{what}: found besides {left:?}");
}

fn bus_as_recorded() -> Option<Vec<Detection>> {
    let recorded = std::fs::read(shared("images/bus.expected.json")?).unwrap();
    let recorded: serde_json::Value = serde_json::from_slice(&recorded).unwrap();
    let object = |object: &serde_json::Value| {
        let side = |i: usize| object["xyxy"][i].as_f64().unwrap() as f32;
        Detection {
            bbox: BBox::new(side(0), side(1), side(2), side(3)),
            conf: object["conf"].as_f64().unwrap() as f32,
            class_id: object["cls"].as_u64().unwrap() as u32,
        }
    };
    Some(recorded["results"]["fp32_recon"].as_array().unwrap().iter().map(object).collect())
}

#[test]
fn float_models_find_the_recorded_objects_of_the_bus() {
    let (Some(library), Some(wanted), Some(bus)) = (library(), bus_as_recorded(), shared("images/bus.jpg")) else {
        return;
    };
    assert_eq!(wanted.len(), 5, "four persons and a bus");
    for name in ["yolov8n.onnx", "yolov8n-dynbatch.onnx"] {
        let Some(model) = shared(&format!("models/{name}")) else { return };
        let mut detector = load(&library, &model, &DetectOptions::default());
        let description = detector.description().clone();
        assert_eq!((description.name.as_str(), description.device.as_str()), (name, "cpu"));
        assert_eq!((description.class_names.len(), description.class_names[5].as_str()), (80, "bus"));
        assert_eq!(description.input_size, ImageSize { width: 640, height: 640 });
        let bus = picture(&bus);
        assert_same(&detect(&mut detector, &bus), &wanted, name);
        let prepared = detector.preparer().prepare(&bus).unwrap();
        let batch = detector.infer(&[prepared.clone(), prepared.clone(), prepared]).unwrap();
        assert_eq!(batch.len(), 3);
        batch.iter().for_each(|found| assert_same(found, &wanted, name));
    }
}

#[test]
fn quantised_models_find_what_pythons_runtime_finds() {
    let (Some(library), Some(bus)) = (library(), shared("images/bus.jpg")) else { return };
    for name in ["yolov8n-u8.onnx", "yolov8n-416-u8.onnx"] {
        let Some(model) = shared(&format!("models/{name}")) else { return };
        let path = bus.to_str().unwrap();
        let Some(wanted) = python_detections(&model, path, r#"[{"conf": 0.25, "iou": 0.7}]"#) else { return };
        let found = detect(&mut load(&library, &model, &DetectOptions::default()), &picture(&bus));
        assert!(wanted[0].len() >= 4, "{name}: {wanted:?}");
        assert_same(&found, &wanted[0], name);
    }
}

#[test]
fn thresholds_classes_and_bounds_mean_what_ultralytics_means() {
    let (Some(library), Some(bus)) = (library(), shared("images/bus.jpg")) else { return };
    let Some(model) = shared("models/yolov8n.onnx") else { return };
    // No score or overlap of this picture lies close to these thresholds.
    let entries = r#"[{"conf": 0.07, "iou": 0.7}, {"conf": 0.55, "iou": 0.1}, {"conf": 0.55, "iou": 0.1, "agnostic": true},
        {"conf": 0.07, "iou": 0.75, "max_det": 3}, {"conf": 0.07, "iou": 0.85}, {"conf": 0.07, "iou": 0.85, "classes": [5]}]"#;
    let of = |conf, iou| DetectOptions { conf, iou, ..Default::default() };
    let options = [
        of(0.07, 0.7),
        of(0.55, 0.1),
        DetectOptions { agnostic_nms: true, ..of(0.55, 0.1) },
        DetectOptions { max_det: 3, ..of(0.07, 0.75) },
        of(0.07, 0.85),
        DetectOptions { classes: Some(vec![5]), ..of(0.07, 0.85) },
    ];
    let Some(wanted) = python_detections(&model, bus.to_str().unwrap(), entries) else { return };
    let numbers: Vec<usize> = wanted.iter().map(Vec::len).collect();
    assert_eq!(numbers[..5], [7, 4, 3, 3, 9], "the cases differ");
    let bus = picture(&bus);
    for (options, wanted) in options.iter().zip(&wanted) {
        let found = detect(&mut load(&library, &model, options), &bus);
        assert_same(&found, wanted, &format!("{options:?}"));
    }
}

/// People of frame 700 of `vtest.avi`, as Python's ONNX Runtime gave them; looked at on the picture.
const PEOPLE: [[f32; 5]; 8] = [
    [184.73, 165.81, 211.21, 238.46, 0.904],
    [475.20, 136.84, 493.57, 200.65, 0.890],
    [519.00, 167.10, 543.72, 233.98, 0.883],
    [364.21, 171.88, 396.35, 253.43, 0.877],
    [100.45, 285.37, 143.02, 392.42, 0.873],
    [680.62, 215.90, 728.03, 306.73, 0.870],
    [278.48, 208.52, 308.40, 293.12, 0.865],
    [405.31, 152.48, 426.13, 205.27, 0.622],
];

#[test]
fn the_projects_own_model_finds_the_people_of_the_demo_footage() {
    let clips = ["/usr/share/doc/opencv-doc/examples/data/vtest.avi".into(), repository().join("data/cache/vtest.avi")];
    let Some(clip) = clips.iter().find(|path| path.exists()) else {
        eprintln!("skipped: no vtest.avi, which Debian's opencv-doc brings");
        return;
    };
    let Some(library) = library() else { return };
    let mut detector =
        load(&library, &repository().join("data/models/demo-person-416.onnx"), &DetectOptions::default());
    assert_eq!(detector.description().class_names, ["person"]);
    let mut video = videoio::VideoCapture::from_file_def(clip.to_str().unwrap()).unwrap();
    let mut frame = opencv::core::Mat::default();
    (0..=700).for_each(|_| assert!(video.read(&mut frame).unwrap()));
    let size = ImageSize { width: frame.cols() as u32, height: frame.rows() as u32 };
    let image = Image::from_bgr(size, frame.data_bytes().unwrap().to_vec()).unwrap();
    let wanted = PEOPLE.map(|[x1, y1, x2, y2, conf]| Detection { bbox: BBox::new(x1, y1, x2, y2), conf, class_id: 0 });
    assert_same(&detect(&mut detector, &image), &wanted, "frame 700");
}

/// A picture of one colour given as red and green.
fn colour(size: ImageSize, red: u8, green: u8) -> Image {
    Image::from_bgr(size, [0, green, red].repeat((size.width * size.height) as usize)).unwrap()
}

const SQUARE: ImageSize = ImageSize { width: 128, height: 128 };

/// Detections of the toys: one box of 64 x 64 around (64, 64).
fn assert_toy(found: &[Detection], class_id: u32, conf: f32, tolerance: f32) {
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].class_id, found[0].bbox), (class_id, BBox::new(32.0, 32.0, 96.0, 96.0)));
    assert!((found[0].conf - conf).abs() <= tolerance, "{} is not {conf}", found[0].conf);
}

#[test]
fn fixed_and_symbolic_batches_in_both_float_types_give_each_picture_its_own_detections() {
    let Some(library) = library() else { return };
    for (name, half) in
        [("plain", false), ("batch-of-2", false), ("symbolic", false), ("half", true), ("half-input", true)]
    {
        let imgsz = (name == "symbolic").then_some(SQUARE);
        let mut detector = load(&library, &toy(name), &DetectOptions { imgsz, half, ..Default::default() });
        assert_eq!(detector.description().class_names, ["red", "green's"], "{name}");
        assert_eq!(detector.description().input_size, SQUARE, "{name}");
        let mut preparer = detector.preparer();
        let pictures = [(255, 0), (0, 204), (0, 0), (153, 51), (51, 102)];
        let batch: Vec<Prepared> =
            pictures.iter().map(|&(r, g)| preparer.prepare(&colour(SQUARE, r, g)).unwrap()).collect();
        let found = detector.infer(&batch).unwrap();
        assert_eq!(found.len(), 5, "{name}");
        for (i, class_id, conf) in [(0, 0, 1.0), (1, 1, 0.8), (3, 0, 0.6), (4, 1, 0.4)] {
            assert_toy(&found[i], class_id, conf, if half { 1e-3 } else { 1e-4 });
        }
        assert_eq!(found[2], [], "{name}: black is nothing");
        assert_eq!(detector.infer(&[]).unwrap(), [] as [Vec<Detection>; 0]);
    }
}

#[test]
fn models_that_suppress_by_themselves_give_their_rows_in_source_pixels() {
    let Some(library) = library() else { return };
    let wide = ImageSize { width: 256, height: 128 };
    for name in ["end-to-end", "end-to-end-symbolic"] {
        let mut detector = load(&library, &toy(name), &DetectOptions::default());
        let mut preparer = detector.preparer();
        let pictures = [(SQUARE, 255, 204), (wide, 255, 0), (SQUARE, 0, 0), (SQUARE, 51, 255)];
        let batch: Vec<Prepared> =
            pictures.iter().map(|&(size, r, g)| preparer.prepare(&colour(size, r, g)).unwrap()).collect();
        let found = detector.infer(&batch).unwrap();
        let (red, green) = (BBox::new(16.0, 32.0, 80.0, 96.0), BBox::new(64.0, 0.0, 128.0, 64.0));
        // The wide picture fills the middle half of the input, at half its size; the rest is grey, 114 of 255.
        let red_of_wide = BBox::new(32.0, 0.0, 160.0, 128.0);
        let wanted: [&[(u32, f32, BBox)]; 4] = [
            &[(0, 1.0, red), (1, 0.8, green)],
            &[(0, (255.0 + 114.0) / 2.0 / 255.0, red_of_wide)],
            &[],
            &[(1, 1.0, green)],
        ];
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
            for (found, (class_id, conf, bbox)) in found.iter().zip(wanted) {
                assert_eq!((found.class_id, found.bbox), (*class_id, *bbox), "{name}");
                assert!((found.conf - conf).abs() <= 1e-3, "{name}: {} is not {conf}", found.conf);
            }
        }
        detector.select(Selection { conf: 0.1, classes: Some(vec![1]) }).unwrap();
        assert_eq!(detector.infer(&batch[1..2]).unwrap()[0][0].class_id, 1, "{name}");
    }
}

#[test]
fn models_like_rt_detr_give_their_ranks_in_source_pixels() {
    let Some(library) = library() else { return };
    for name in ["ranked", "ranked-of-1"] {
        let mut detector = load(&library, &toy(name), &DetectOptions::default());
        assert_eq!(detector.description().input_size, ImageSize { width: 64, height: 128 }, "{name}");
        let mut preparer = detector.preparer();
        // Pictures fill the input whatever their shape: no grey border takes part in the means.
        let (wide, high) = (ImageSize { width: 400, height: 100 }, ImageSize { width: 32, height: 64 });
        let pictures = [(wide, 255, 204), (high, 102, 0), (wide, 0, 0)];
        let batch: Vec<Prepared> =
            pictures.iter().map(|&(size, r, g)| preparer.prepare(&colour(size, r, g)).unwrap()).collect();
        let found = detector.infer(&batch).unwrap();
        let wanted: [&[(u32, f32, BBox)]; 3] = [
            &[(0, 1.0, BBox::new(0.0, 0.0, 200.0, 100.0)), (1, 0.8, BBox::new(100.0, 0.0, 300.0, 50.0))],
            &[(0, 0.4, BBox::new(0.0, 0.0, 16.0, 64.0))],
            &[],
        ];
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
            for (found, (class_id, conf, bbox)) in found.iter().zip(wanted) {
                assert_eq!((found.class_id, found.bbox), (*class_id, *bbox), "{name}");
                assert!((found.conf - conf).abs() <= 1e-4, "{name}: {} is not {conf}", found.conf);
            }
        }
    }
}

/// The colour that models of the DETR family take part in their logits, by RF-DETR's mean and deviation.
fn normalised(byte: u8, mean: f32, std: f32) -> f32 {
    (f32::from(byte) / 255.0 - mean) / std
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[test]
fn models_like_rf_detr_give_the_answers_of_their_queries_in_source_pixels() {
    let Some(library) = library() else { return };
    let input = ImageSize { width: 64, height: 96 };
    // Pictures fill the input whatever their shape: no grey border takes part in the means.
    let (wide, high) = (ImageSize { width: 400, height: 100 }, ImageSize { width: 32, height: 64 });
    let places = |size: ImageSize| {
        let (w, h) = (size.width as f32, size.height as f32);
        [BBox::new(0.25 * w, 0.0, 0.75 * w, 0.5 * h), BBox::new(0.0, 0.0, 0.5 * w, h)]
    };
    let imagenet = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];
    // For each model: what it does to colours, and query, class and channel of its three answers.
    let cases = [
        ("queries-coco", imagenet, [(0, 1, 0), (0, 17, 1), (1, 90, 2)]),
        ("queries-own", imagenet, [(0, 0, 0), (1, 1, 1), (1, 2, 2)]),
        ("queries-noted", [(0.5, 0.5), (0.25, 0.25), (0.0, 2.0)], [(0, 0, 0), (1, 1, 1), (1, 2, 2)]),
        ("queries-transformers", [(0.0, 1.0); 3], [(0, 0, 0), (1, 1, 1), (1, 2, 2)]),
    ];
    for (name, colours, answers) in cases {
        let options = DetectOptions { conf: 0.05, ..Default::default() };
        let mut detector = load(&library, &toy(name), &options);
        assert_eq!(detector.description().input_size, input, "{name}");
        let mut preparer = detector.preparer();
        let pictures = [(wide, [200, 90, 150]), (high, [10, 255, 0])];
        let batch: Vec<Prepared> = pictures
            .iter()
            .map(|(size, [r, g, b])| {
                let pixels = [*b, *g, *r].repeat((size.width * size.height) as usize);
                preparer.prepare(&Image::from_bgr(*size, pixels).unwrap()).unwrap()
            })
            .collect();
        let found = detector.infer(&batch).unwrap();
        for (found, (size, rgb)) in found.iter().zip(pictures) {
            let mut wanted: Vec<_> = answers
                .iter()
                .map(|&(query, class_id, channel): &(usize, u32, usize)| {
                    let (mean, std) = colours[channel];
                    (class_id, sigmoid(normalised(rgb[channel], mean, std)), places(size)[query])
                })
                .collect();
            wanted.sort_by(|a, b| b.1.total_cmp(&a.1));
            // No more answers count than there are queries.
            wanted.truncate(2);
            assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
            for (found, (class_id, conf, bbox)) in found.iter().zip(wanted) {
                assert_eq!(found.class_id, class_id, "{name}");
                assert!(found.bbox.iou(&bbox) > 0.999, "{name}: {found:?} is not at {bbox:?}");
                assert!((found.conf - conf).abs() <= 1e-3, "{name}: {} is not {conf}", found.conf);
            }
        }
    }
}

#[test]
fn people_of_a_model_with_cocos_categories_are_found_by_name_and_by_its_own_id() {
    let Some(library) = library() else { return };
    let mut detector = load(&library, &toy("queries-coco"), &DetectOptions::default());
    let names = detector.description().class_names.clone();
    assert_eq!((names[1].as_str(), names[90].as_str(), names[0].as_str()), ("person", "toothbrush", ""));
    let wanted = |text: &str| resolve_classes(&[text.to_owned()], &names).map_err(|error| error.to_string());
    assert_eq!(wanted("person").unwrap(), [1]);
    assert!(wanted("0").unwrap_err().contains("found class id 0, which is no class of the model"));
    detector.select(Selection { conf: 0.25, classes: Some(vec![1]) }).unwrap();
    let found = detect(&mut detector, &colour(SQUARE, 255, 0));
    assert_eq!((found.len(), found[0].class_id, found[0].bbox), (1, 1, BBox::new(32.0, 0.0, 96.0, 64.0)));
    let error = detector.select(Selection { conf: 0.25, classes: Some(vec![12]) }).unwrap_err();
    assert_eq!(error.kind(), VisionErrorKind::Config, "{error}");
    let options = DetectOptions { classes: Some(vec![0]), ..Default::default() };
    let error = YoloDetector::load(&library, &toy("queries-coco"), &options).unwrap_err();
    assert!(error.to_string().contains("found class id 0, which is no class of the model"), "{error}");
}

#[test]
fn a_symbolic_size_is_what_the_user_wants_or_what_the_metadata_says() {
    let Some(library) = library() else { return };
    let size = |imgsz| {
        load(&library, &toy("symbolic"), &DetectOptions { imgsz, ..Default::default() }).description().input_size
    };
    assert_eq!(size(None), ImageSize { width: 128, height: 96 });
    let wide = ImageSize { width: 320, height: 64 };
    assert_eq!(size(Some(wide)), wide);
    let odd = Some(ImageSize { width: 100, height: 64 });
    let error = refusal(&library, "symbolic", &DetectOptions { imgsz: odd, ..Default::default() });
    assert!(
        error.contains("imgsz 64x100") && error.contains("multiples of the stride 32") && error.contains("64x128"),
        "{error}"
    );
}

#[test]
fn another_size_than_the_models_own_is_refused() {
    let Some(library) = library() else { return };
    let imgsz = Some(ImageSize { width: 640, height: 640 });
    let error = refusal(&library, "plain", &DetectOptions { imgsz, ..Default::default() });
    assert!(error.contains("made for 128x128") && error.contains("wanted imgsz 640x640"), "{error}");
    load(&library, &toy("plain"), &DetectOptions { imgsz: Some(SQUARE), ..Default::default() });
}

#[test]
fn a_network_input_of_too_many_pixels_is_refused_whoever_wants_it() {
    let Some(library) = library() else { return };
    let wide = ImageSize { width: 320, height: 64 };
    for (name, imgsz, pixels) in
        [("symbolic", Some(wide), 320 * 64), ("symbolic", None, 96 * 128), ("plain", None, 128 * 128)]
    {
        let options = |pixels_max| DetectOptions { imgsz, pixels_max, ..Default::default() };
        load(&library, &toy(name), &options(pixels));
        let error = refusal(&library, name, &options(pixels - 1));
        assert!(error.contains("found a network input of") && error.contains("capture.pixels_max"), "{error}");
    }
}

fn refusal(library: &FoundLibrary, name: &str, options: &DetectOptions) -> String {
    let error = YoloDetector::load(library, &toy(name), options).unwrap_err();
    assert_eq!(error.kind(), VisionErrorKind::Model, "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("{name}.onnx")) && text.contains("found") && text.contains("wanted"), "{text}");
    text
}

#[test]
fn models_of_other_layouts_and_without_class_names_are_refused_with_what_they_are() {
    let Some(library) = library() else { return };
    let cases = [
        ("no-names", "found no class names"),
        ("bad-names", "read class names"),
        ("other-count", "[1, 6, 16] with 3 class names: another layout; wanted [batch, 7, anchors]"),
        ("segment", r#"the task "segment", wanted "detect""#),
        ("segment-unsaid", "2 outputs (output0 float32 [1, 38, 84]; output1 float32 [1, 32, 16, 16])"),
        ("classify", r#"the task "classify""#),
        ("classify-unsaid", "output output0 float32 [1, 2]"),
        ("pose", r#"the task "pose""#),
        ("yolov5", "[1, 252, 7] with 2 class names: YOLOv5's layout"),
        ("turned", "[1, 84, 7] with 3 class names: YOLOv8's layout turned round"),
        ("ranked-no-names", "found no class names"),
        ("queries-no-names", "found no class names, wanted the names of the 4 classes"),
        ("queries-colours-unsaid", "nothing that says how colours are normalised"),
        ("queries-masks", "the output \"masks\" of a model for segmentation"),
        ("yolov5-of-one", "[1, 25200, 6] with 1 class names: YOLOv5's layout"),
        ("grey-input", "[1, 1, 64, 64]"),
        ("byte-input", "images u8 [1, 3, 64, 64]"),
    ];
    for (name, wanted) in cases {
        let text = refusal(&library, name, &DetectOptions::default());
        assert!(text.contains(wanted), "{text} should name {wanted}");
    }
}

#[test]
fn files_that_are_no_model_are_refused() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(toy("plain")).unwrap();
    let files: [(&str, &[u8], &str); 5] = [
        ("text.onnx", b"this is no model at all", "isn't ONNX"),
        ("empty.onnx", b"", "an empty file"),
        ("weights.pt", b"PK\x03\x04 and so on", "yolo export"),
        ("cut.onnx", &whole[..whole.len() / 2], "isn't ONNX"),
        ("picture.onnx", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "isn't ONNX"),
    ];
    for (name, bytes, wanted) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = YoloDetector::load(&library, &path, &DetectOptions::default()).unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Model, "{error}");
        assert!(error.to_string().contains(wanted) && error.to_string().contains(name), "{error}");
    }
    let missing = YoloDetector::load(&library, &folder.path().join("no.onnx"), &DetectOptions::default()).unwrap_err();
    assert_eq!(missing.kind(), VisionErrorKind::NotFound);
    let inside = YoloDetector::load(&library, folder.path(), &DetectOptions::default()).unwrap_err();
    assert!(inside.kind() == VisionErrorKind::Model && inside.to_string().contains("a folder"), "{inside}");
}

#[test]
fn options_that_the_model_cannot_follow_are_refused() {
    let Some(library) = library() else { return };
    let half = refusal(&library, "plain", &DetectOptions { half: true, ..Default::default() });
    assert!(half.contains("takes float32, wanted float16 for half"), "{half}");
    let load = |options| YoloDetector::load(&library, &toy("plain"), &options).unwrap_err();
    let classes = load(DetectOptions { classes: Some(vec![0, 2]), ..Default::default() });
    assert_eq!(classes.kind(), VisionErrorKind::Config);
    assert!(classes.to_string().contains("found class id 2, wanted 0 to 1"), "{classes}");
    let conf = load(DetectOptions { conf: f32::NAN, ..Default::default() });
    assert!(conf.kind() == VisionErrorKind::Config && conf.to_string().contains("conf NaN"), "{conf}");
}

#[test]
fn a_picture_prepared_for_another_size_is_refused() {
    let Some(library) = library() else { return };
    let mut plain = load(&library, &toy("plain"), &DetectOptions::default());
    let other = load(&library, &toy("symbolic"), &DetectOptions::default());
    let prepared = other.preparer().prepare(&colour(SQUARE, 9, 9)).unwrap();
    let error = plain.infer(&[prepared]).unwrap_err().to_string();
    assert!(error.contains("prepared for 96x128, wanted 128x128"), "{error}");
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_names_those_that_are() {
    let Some(library) = library() else { return };
    let there = devices(&library).unwrap();
    assert_eq!(there[0], Device::Cpu);
    for device in [Device::Cuda(63), Device::TensorRt(63)] {
        assert!(!there.contains(&device));
        let error =
            YoloDetector::load(&library, &toy("plain"), &DetectOptions { device, ..Default::default() }).unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Device, "{error}");
        let names: Vec<String> = there.iter().map(Device::to_string).collect();
        for wanted in [device.to_string(), library.version.clone(), format!("has here: {}", names.join(", "))] {
            assert!(error.to_string().contains(&wanted), "{error} should name {wanted}");
        }
    }
}

#[test]
fn a_second_library_in_one_process_is_refused() {
    let Some(library) = library() else { return };
    load(&library, &toy("plain"), &DetectOptions::default());
    let other = FoundLibrary { path: "/elsewhere/libonnxruntime.so".into(), ..library.clone() };
    let error = YoloDetector::load(&other, &toy("plain"), &DetectOptions::default()).unwrap_err();
    assert_eq!(error.kind(), VisionErrorKind::Runtime);
    assert!(error.to_string().contains(&library.path.display().to_string()), "{error}");
}

/// The pictures of each camera through a detector of its own and through a shared one, by the camera's own choice.
fn shared_and_own(library: &FoundLibrary, model: &Path, cameras: &[(f32, Option<Vec<u32>>)], image: &Image) {
    let loaded = load(library, model, &DetectOptions::default());
    let shared = SharedModel::start(Box::new(loaded), BatchOptions::default()).unwrap();
    let asking = cameras.iter().map(|(conf, classes)| {
        let detector = shared.detector(Selection { conf: *conf, classes: classes.clone() }).unwrap();
        (conf, classes, detector)
    });
    // All are made before the first asks, so that they share calls.
    let asking: Vec<_> = asking.collect();
    std::thread::scope(|scope| {
        for (conf, classes, mut detector) in asking {
            scope.spawn(move || {
                let options = DetectOptions { conf: *conf, classes: classes.clone(), ..Default::default() };
                let wanted = detect(&mut load(library, model, &options), image);
                for _ in 0..2 {
                    assert_same(&detect(&mut detector, image), &wanted, &format!("conf {conf}, classes {classes:?}"));
                }
            });
        }
    });
}

#[test]
fn a_shared_detector_finds_what_one_of_its_own_finds() {
    let Some(library) = library() else { return };
    let Some(bus) = shared("images/bus.jpg") else { return };
    let bus = picture(&bus);
    let cameras = [(0.25, None), (0.1, Some(vec![0])), (0.5, Some(vec![0]))];
    shared_and_own(&library, &repository().join("data/models/demo-person-416.onnx"), &cameras, &bus);
    let Some(model) = shared("models/yolov8n-dynbatch.onnx") else { return };
    let cameras = [(0.25, None), (0.1, Some(vec![0])), (0.25, Some(vec![5]))];
    shared_and_own(&library, &model, &cameras, &bus);
}

//! The detector on an NVIDIA card against the processor. Where there is no card, or the library has no CUDA, it says
//! so.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_types::{Detection, ImageSize};
use rva_vision::{DetectOptions, Detector, Device, Image, Prepared, YoloDetector, devices, find_library};
use std::path::{Path, PathBuf};

/// A picture with something in it: the first frame's stand-in is the shared bus, else a gradient.
fn picture() -> Image {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("RVA_SHARED").map_or(own, PathBuf::from).join("images/bus.jpg");
    if let Ok(bytes) = std::fs::read(shared) {
        return Image::decode(&bytes).unwrap();
    }
    let size = ImageSize { width: 640, height: 480 };
    Image::from_bgr(size, (0..3 * 640 * 480).map(|i| (i / 640 % 256) as u8).collect()).unwrap()
}

fn assert_same(found: &[Detection], wanted: &[Detection], device: Device) {
    assert_eq!(found.len(), wanted.len(), "{device}");
    for (a, b) in found.iter().zip(wanted) {
        assert!(a.class_id == b.class_id && a.bbox.iou(&b.bbox) > 0.95 && (a.conf - b.conf).abs() < 0.02, "{device}");
    }
}

#[test]
fn a_card_finds_what_the_processor_finds_alone_and_in_batches() {
    let Ok(library) = find_library(None) else {
        eprintln!("skipped: no ONNX Runtime library");
        return;
    };
    let cards: Vec<Device> = devices(&library).unwrap().into_iter().filter(|&device| device != Device::Cpu).collect();
    if !cards.iter().any(|device| matches!(device, Device::Cuda(_))) {
        eprintln!("skipped: no CUDA device");
        return;
    }
    let named = std::env::var_os("RVA_GPU_MODEL").map(PathBuf::from);
    let model =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/models/demo-person-416.onnx"));
    let on = |device| {
        let options = DetectOptions { device, ..DetectOptions::default() };
        YoloDetector::load(&library, &model, &options).unwrap_or_else(|error| panic!("{error}"))
    };
    let mut processor = on(Device::Cpu);
    let prepared: Prepared = processor.preparer().prepare(&picture()).unwrap();
    let wanted = processor.infer(std::slice::from_ref(&prepared)).unwrap().remove(0);
    for device in cards {
        let mut detector = on(device);
        assert_eq!(detector.description().device, device.to_string());
        assert_same(&detector.infer(std::slice::from_ref(&prepared)).unwrap()[0], &wanted, device);
        for found in detector.infer(&vec![prepared.clone(); 5]).unwrap() {
            assert_same(&found, &wanted, device);
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_with_those_that_are() {
    let Ok(library) = find_library(None) else {
        eprintln!("skipped: no ONNX Runtime library");
        return;
    };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/models/demo-person-416.onnx");
    for device in [Device::Cuda(63), Device::TensorRt(63)] {
        let options = DetectOptions { device, ..DetectOptions::default() };
        let error = YoloDetector::load(&library, &model, &options).unwrap_err();
        assert_eq!(error.kind(), rva_vision::VisionErrorKind::Device);
        let text = error.to_string();
        assert!(text.contains(&format!("use device {device}")) && text.contains("has here: cpu"), "{text}");
    }
}

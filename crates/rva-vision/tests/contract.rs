//! One contract for every `FrameSource` and one for every `Detector`, the fakes too.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{clip, image, library, text};
use rva_testkit::vision::{
    detector_contract,
    fake::{FakeDetector, FakeSource, person},
    source_contract,
};
use rva_types::ImageSize;
use rva_vision::{
    BatchOptions, DetectOptions, Detector, FrameSource, Image, OpenOptions, Selection, SharedModel, SourceSpec,
    YoloDetector, open,
};
use std::{path::Path, sync::Arc};

fn opened(source: &str) -> Box<dyn FrameSource> {
    open(&SourceSpec::parse(source).unwrap(), &OpenOptions::default()).unwrap()
}

#[test]
fn the_fake_source_keeps_the_contract_of_sources() {
    source_contract("fake", || Box::new(FakeSource::new(9)));
    source_contract("live fake", || Box::new(FakeSource::new(5).live()));
}

#[test]
fn videos_keep_the_contract_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("motion.avi", ['M', 'J', 'P', 'G']), ("mpeg4.mp4", ['m', 'p', '4', 'v'])] {
        let path = folder.path().join(name);
        clip(&path, codec, 10.0, 13);
        source_contract(name, || opened(text(&path)));
    }
}

#[test]
fn folders_of_images_keep_the_contract_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    (1..=6).for_each(|at| image(&folder.path().join(format!("{at}.png")), 40));
    source_contract("images", || opened(text(folder.path())));
}

#[test]
fn the_fake_detector_keeps_the_contract_of_detectors() {
    let mut source = FakeSource::new(4);
    let pictures: Vec<_> = std::iter::from_fn(|| source.next_frame().unwrap()).map(|frame| frame.image).collect();
    detector_contract("fake", &pictures, || {
        Box::new(FakeDetector::new(|index| match index {
            3 => Vec::new(),
            index => vec![person(index as f32, 0.9), person(1.0, 0.3)],
        }))
    });
}

/// Pictures of one colour, given as red and green; the toys see no more.
fn colours() -> Vec<Arc<Image>> {
    let colour = |(width, height, red, green)| {
        let size = ImageSize { width, height };
        let bytes = [0, green, red].repeat((width * height) as usize);
        Arc::new(Image::from_bgr(size, bytes).unwrap())
    };
    [(128, 128, 255, 0), (256, 128, 0, 204), (128, 128, 0, 0), (64, 128, 153, 51)].map(colour).into()
}

#[test]
fn networks_keep_the_contract_of_detectors_alone_and_shared() {
    let Some(library) = library() else { return };
    for (name, imgsz) in [
        ("plain", None),
        ("batch-of-2", None),
        ("symbolic", Some(ImageSize { width: 128, height: 128 })),
        ("end-to-end", None),
    ] {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{name}.onnx"));
        let options = DetectOptions { imgsz, ..DetectOptions::default() };
        let load = || Box::new(YoloDetector::load(&library, &model, &options).unwrap());
        detector_contract(name, &colours(), || load());
        let shared = SharedModel::start(load(), BatchOptions::default()).unwrap();
        detector_contract(&format!("{name}, shared"), &colours(), || -> Box<dyn Detector> {
            Box::new(shared.detector(Selection { conf: options.conf, classes: None }).unwrap())
        });
    }
}

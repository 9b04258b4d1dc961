//! The contracts of [`FrameSource`] and [`Detector`].

use rva_types::{Detection, MediaTime};
use rva_vision::{Detector, Frame, FrameSource, Image};
use std::sync::Arc;

/// The frames of a source from its first to its end.
fn whole(source: &mut dyn FrameSource) -> Vec<Frame> {
    let frames = std::iter::from_fn(|| source.next_frame().unwrap()).collect();
    for _ in 0..2 {
        assert!(source.next_frame().unwrap().is_none(), "behind the end comes nothing");
        assert!(!source.skip_frame().unwrap(), "behind the end there is nothing to go past");
    }
    frames
}

fn same(one: &Frame, other: &Frame) -> bool {
    (one.index, one.media_time, one.image.bgr_bytes()) == (other.index, other.media_time, other.image.bgr_bytes())
}

/// Holds a source to its contract: `open` opens the same one each time, with frames of one size and nothing damaged.
///
/// # Panics
/// Panics where it breaks a clause.
pub fn source_contract(name: &str, open: impl Fn() -> Box<dyn FrameSource>) {
    let mut source = open();
    let description = source.description().clone();
    assert!(!description.uri.is_empty(), "{name}: a source says where it is");
    assert!(!source.begin_next_run(), "{name}: nothing changed before the first frame");
    let frames = whole(&mut *source);
    assert!(frames.len() >= 4, "{name}: found {} frames, wanted enough to see something", frames.len());
    assert!(!source.begin_next_run(), "{name}: no run follows");
    assert_eq!(source.description(), &description, "{name}: reading changes no fact");
    assert_eq!(source.counts(), rva_vision::SourceCounts::default(), "{name}: nothing is damaged");

    // Frames are counted from 1, go on in time, and have the size that the source says.
    let indices: Vec<u64> = frames.iter().map(|frame| frame.index).collect();
    assert_eq!(indices, (1..=frames.len() as u64).collect::<Vec<_>>(), "{name}");
    let times: Vec<MediaTime> = frames.iter().map(|frame| frame.media_time).collect();
    assert!(times.is_sorted_by(|one, other| one < other), "{name}: media time rises: {times:?}");
    assert!(frames.iter().all(|frame| frame.image.size() == description.size), "{name}: one size");
    assert!(description.frame_count.is_none() || !description.is_live, "{name}: a live source has no end to announce");

    // Opened again it gives the same.
    let again = whole(&mut *open());
    assert_eq!(again.len(), frames.len(), "{name}");
    assert!(frames.iter().zip(&again).all(|(one, other)| same(one, other)), "{name}: the same frames again");

    // What is gone past is counted and has its place in time; the others are what they would have been.
    for first in [0, 1] {
        let mut source = open();
        for (at, frame) in frames.iter().enumerate() {
            if at % 2 == first {
                assert!(source.skip_frame().unwrap(), "{name}: frame {} is there", at + 1);
            } else {
                let found = source.next_frame().unwrap().unwrap();
                assert!(same(&found, frame), "{name}: frame {} is another behind a skipped one", at + 1);
            }
        }
        assert!(!source.skip_frame().unwrap(), "{name}");
    }
}

/// Holds a detector to its contract: `open` gives the same one each time; it finds something in one of the pictures.
///
/// # Panics
/// Panics where it breaks a clause.
pub fn detector_contract(name: &str, pictures: &[Arc<Image>], mut open: impl FnMut() -> Box<dyn Detector>) {
    let mut detector = open();
    let description = detector.description().clone();
    assert!(!description.name.is_empty() && !description.device.is_empty(), "{name}: {description:?}");
    assert!(description.input_size.width > 0 && description.input_size.height > 0, "{name}: {description:?}");

    // A preparer belongs to another thread, and two of them do the same.
    let mut preparer = detector.preparer();
    let elsewhere = detector.preparer();
    let theirs = std::thread::scope(|scope| {
        let mut elsewhere = elsewhere;
        let prepare = move || pictures.iter().map(|picture| elsewhere.prepare(picture).unwrap()).collect::<Vec<_>>();
        scope.spawn(prepare).join().unwrap()
    });
    let batch: Vec<_> = pictures.iter().map(|picture| preparer.prepare(picture).unwrap()).collect();
    assert_eq!(batch, theirs, "{name}: two preparers");
    for (picture, prepared) in pictures.iter().zip(&batch) {
        assert_eq!(prepared.source_size, picture.size(), "{name}");
        assert_eq!(prepared.input_size, description.input_size, "{name}");
        let (width, height) = (prepared.input_size.width, prepared.input_size.height);
        assert_eq!(prepared.chw.len(), 3 * (width * height) as usize, "{name}: three planes");
    }

    // Each picture has its own answer, in order, alone or with others; nothing asked is nothing answered.
    let found = detector.infer(&batch).unwrap();
    assert_eq!(found.len(), pictures.len(), "{name}");
    assert!(found.iter().any(|found| !found.is_empty()), "{name}: found nothing at all");
    for (prepared, found) in batch.iter().zip(&found) {
        assert_eq!(
            detector.infer(std::slice::from_ref(prepared)).unwrap(),
            std::slice::from_ref(found),
            "{name}: alone"
        );
    }
    let backwards: Vec<_> = batch.iter().rev().cloned().collect();
    let found_backwards = detector.infer(&backwards).unwrap();
    assert!(found_backwards.iter().rev().eq(&found), "{name}: the order of a batch");
    assert!(detector.infer(&[]).unwrap().is_empty(), "{name}");
    assert_eq!(detector.infer(&batch).unwrap(), found, "{name}: it remembers nothing");
    assert_eq!(detector.description(), &description, "{name}: working changes no fact");
    drop(detector);
    assert_eq!(open().infer(&batch).unwrap(), found, "{name}: opened again");

    for (picture, found) in pictures.iter().zip(&found) {
        assert!(found.is_sorted_by(|one, other| one.conf >= other.conf), "{name}: best first: {found:?}");
        let (width, height) = (picture.size().width as f32, picture.size().height as f32);
        for Detection { bbox, conf, class_id } in found {
            assert!((0.0..=1.0).contains(conf), "{name}: confidence {conf}");
            let inside = bbox.x1 >= 0.0 && bbox.y1 >= 0.0 && bbox.x2 <= width && bbox.y2 <= height;
            assert!(inside && bbox.x1 < bbox.x2 && bbox.y1 < bbox.y2, "{name}: {bbox:?} in {width} x {height}");
            let names = description.class_names.len();
            assert!(names == 0 || (*class_id as usize) < names, "{name}: class {class_id} of {names}");
        }
    }
}

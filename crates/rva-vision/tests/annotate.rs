//! Annotated video as a user sees it: what is on disk while it grows and after, and what is in the pictures.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_types::{BBox, Detection, ImageSize, MediaTime, TrackedDetection};
use rva_vision::{AnnotateOptions, AnnotatedWriter, Annotator, Image, OpenOptions, SourceSpec, VisionErrorKind, open};
use std::{fs, path::Path, process::Command};

const SIZE: ImageSize = ImageSize { width: 160, height: 120 };
const GREY: u8 = 60;

fn grey(size: ImageSize) -> Image {
    Image::from_bgr(size, vec![GREY; 3 * size.width as usize * size.height as usize]).unwrap()
}

fn person(track_id: Option<u64>, left: f32) -> TrackedDetection {
    let bbox = BBox::new(left, 40.0, left + 30.0, 100.0);
    TrackedDetection { detection: Detection { bbox, conf: 0.87, class_id: 0 }, track_id }
}

fn millis(millis: i64) -> MediaTime {
    MediaTime::from_micros(millis * 1000)
}

fn names() -> Vec<String> {
    vec!["person".to_owned()]
}

fn quiet() -> AnnotateOptions {
    AnnotateOptions { trail_frames: 0, has_labels: false }
}

fn file_names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn pixel(image: &Image, x: u32, y: u32) -> [u8; 3] {
    let at = 3 * (y * image.size().width + x) as usize;
    image.bgr_bytes()[at..at + 3].try_into().unwrap()
}

/// The latest picture of a writer, without loss.
fn latest(writer: &AnnotatedWriter) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latest.png");
    writer.snapshot(&path).unwrap();
    assert_eq!(file_names(folder.path()), ["latest.png"]);
    Image::decode(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn pictures_are_drawn_without_a_video() {
    let mut annotator = Annotator::new(&quiet());
    assert_eq!(annotator.encode("png").unwrap_err().kind(), VisionErrorKind::Empty);
    annotator.draw(&grey(SIZE), &[person(Some(1), 20.0)], &names()).unwrap();
    let drawn = Image::decode(&annotator.encode("png").unwrap()).unwrap();
    assert_eq!(drawn.size(), SIZE);
    assert_ne!(pixel(&drawn, 20, 70), [GREY; 3], "the left side of the box");
    assert_eq!(pixel(&drawn, 35, 70), [GREY; 3], "inside of it");
    assert_eq!(annotator.encode("gif").unwrap_err().kind(), VisionErrorKind::Config);
}

#[test]
fn every_container_can_be_written_and_read_back_at_its_rate() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.mov", "a.mkv", "a.AVI"] {
        let path = folder.path().join(name);
        let mut writer = AnnotatedWriter::create(&path, SIZE, 12.5, &AnnotateOptions::default()).unwrap();
        for at in 0..20 {
            writer.write(millis(80 * at), &grey(SIZE), &[person(Some(1), at as f32)], &names()).unwrap();
        }
        assert_eq!(writer.written(), 20);
        writer.finish().unwrap();
        let mut source = open(&SourceSpec::parse(path.to_str().unwrap()).unwrap(), &OpenOptions::default()).unwrap();
        assert_eq!(source.description().size, SIZE, "{name}");
        let times: Vec<i64> =
            std::iter::from_fn(|| source.next_frame().unwrap()).map(|frame| frame.media_time.as_micros()).collect();
        assert_eq!(times, (0..20).map(|at| at * 80_000).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_video_has_its_name_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.mp4");
    fs::write(&path, "the video of an earlier run").unwrap();
    for is_finished in [false, true] {
        let mut writer = AnnotatedWriter::create(&path, SIZE, 10.0, &quiet()).unwrap();
        (0..5).for_each(|_| writer.write(millis(0), &grey(SIZE), &[], &[]).unwrap());
        assert_eq!(file_names(folder.path()), ["people.mp4", "people.unfinished.mp4"]);
        if is_finished {
            writer.finish().unwrap()
        } else {
            drop(writer)
        }
        assert_eq!(file_names(folder.path()), ["people.mp4"]);
        let is_old = fs::read(&path).unwrap() == b"the video of an earlier run";
        assert_eq!(is_old, !is_finished);
    }
}

#[test]
fn boxes_are_drawn_on_a_copy_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = AnnotatedWriter::create(&folder.path().join("a.avi"), SIZE, 10.0, &quiet()).unwrap();
    let image = grey(SIZE);
    let not_finite = TrackedDetection {
        detection: Detection { bbox: BBox::new(f32::NAN, 0.0, 5.0, 5.0), conf: 0.9, class_id: 0 },
        track_id: Some(9),
    };
    writer.write(millis(0), &image, &[person(Some(3), 20.0), not_finite, person(None, 90.0)], &names()).unwrap();
    assert!(image.bgr_bytes().iter().all(|byte| *byte == GREY), "the picture itself stays as it was");
    let drawn = latest(&writer);
    let (tracked, untracked) = (pixel(&drawn, 20, 70), pixel(&drawn, 90, 70));
    assert_ne!(tracked, [GREY; 3]);
    assert_eq!(untracked, [170; 3]);
    let edges = |x: u32, y: u32, left: u32| {
        (left..=left + 30).contains(&x)
            && (40..=100).contains(&y)
            && (x == left || x == left + 30 || y == 40 || y == 100)
    };
    for y in 0..SIZE.height {
        for x in 0..SIZE.width {
            let wanted = match (edges(x, y, 20), edges(x, y, 90)) {
                (true, _) => tracked,
                (_, true) => untracked,
                _ => [GREY; 3],
            };
            assert_eq!(pixel(&drawn, x, y), wanted, "at {x}, {y}");
        }
    }
}

#[test]
fn a_track_keeps_its_colour_and_leaves_a_trail_that_fades() {
    let folder = tempfile::tempdir().unwrap();
    let options = AnnotateOptions { trail_frames: 4, has_labels: false };
    let mut writer = AnnotatedWriter::create(&folder.path().join("a.avi"), SIZE, 10.0, &options).unwrap();
    let mut colours = Vec::new();
    for at in 0..3 {
        writer.write(millis(0), &grey(SIZE), &[person(Some(3), 20.0 + 20.0 * at as f32)], &names()).unwrap();
        colours.push(pixel(&latest(&writer), 20 + 20 * at, 70));
    }
    assert!(colours.iter().all(|colour| *colour == colours[0]), "{colours:?}");
    // Anchors were at x 35, 55 and 75; the box now begins at 60.
    // The line is smoothed, so its colour is only about that of the box.
    let trail = pixel(&latest(&writer), 45, 100);
    let distance: u8 = (0..3).map(|at| trail[at].abs_diff(colours[0][at])).max().unwrap();
    assert!(distance < 40, "found {trail:?} between the first two anchors, wanted about {:?}", colours[0]);
    (0..4).for_each(|_| writer.write(millis(0), &grey(SIZE), &[], &names()).unwrap());
    assert_eq!(latest(&writer).bgr_bytes(), grey(SIZE).bgr_bytes(), "nothing remains of a lost track");
}

#[test]
fn labels_are_written_above_boxes_and_inside_at_the_top() {
    let folder = tempfile::tempdir().unwrap();
    let size = ImageSize { width: 320, height: 240 };
    let options = AnnotateOptions { trail_frames: 0, has_labels: true };
    let mut writer = AnnotatedWriter::create(&folder.path().join("a.avi"), size, 10.0, &options).unwrap();
    for (top, rows) in [(100.0, 85..100), (0.0, 2..15)] {
        let bbox = BBox::new(50.0, top, 90.0, top + 60.0);
        let tracked = TrackedDetection { detection: Detection { bbox, conf: 0.5, class_id: 0 }, track_id: Some(1) };
        writer.write(millis(0), &grey(size), &[tracked], &names()).unwrap();
        let drawn = latest(&writer);
        let changed = rows.clone().filter(|y| pixel(&drawn, 60, *y) != [GREY; 3]).count();
        assert!(changed >= 8, "{changed} of rows {rows:?} should be covered by the label");
    }
}

#[test]
fn pictures_of_another_size_are_fitted_and_snapshots_keep_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    let mut writer = AnnotatedWriter::create(&path, SIZE, 10.0, &quiet()).unwrap();
    let tall = ImageSize { width: 90, height: 240 };
    writer.write(millis(0), &grey(tall), &[], &[]).unwrap();
    assert_eq!(latest(&writer).size(), tall);
    writer.finish().unwrap();
    let mut source = open(&SourceSpec::parse(path.to_str().unwrap()).unwrap(), &OpenOptions::default()).unwrap();
    let frame = source.next_frame().unwrap().unwrap().image;
    assert_eq!(frame.size(), SIZE);
    let (bar, middle) = (pixel(&frame, 10, 60)[1], pixel(&frame, 80, 60)[1]);
    assert!(bar < 10 && middle.abs_diff(GREY) < 10, "bar {bar}, middle {middle}");
}

#[test]
fn bad_targets_are_refused_with_found_and_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let tiny = ImageSize { width: 1, height: 9 };
    let cases = [
        (path("a.gif"), SIZE, 10.0, VisionErrorKind::Config, "found extension \"gif\", wanted one of mp4"),
        (path("a.mp4"), SIZE, 0.0, VisionErrorKind::Config, "found 0 frames a second"),
        (path("a.mp4"), SIZE, f64::NAN, VisionErrorKind::Config, "found NaN frames a second"),
        (path("a.mp4"), tiny, 10.0, VisionErrorKind::Config, "found 1 x 9 pixels"),
        (path("no/such/a.mp4"), SIZE, 10.0, VisionErrorKind::Io, "wanted a folder that exists"),
    ];
    for (path, size, fps, kind, wanted) in cases {
        let error = AnnotatedWriter::create(&path, size, fps, &quiet()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(wanted) && error.to_string().contains("a."), "{error}");
    }
    assert_eq!(file_names(folder.path()), [""; 0]);
}

#[test]
fn nothing_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let writer = AnnotatedWriter::create(&folder.path().join("a.mp4"), SIZE, 10.0, &quiet()).unwrap();
    let error = writer.snapshot(&folder.path().join("a.png")).unwrap_err();
    assert_eq!(error.kind(), VisionErrorKind::Empty);
    assert_eq!(writer.snapshot(&folder.path().join("a.txt")).unwrap_err().kind(), VisionErrorKind::Config);
    assert_eq!(writer.finish().unwrap_err().kind(), VisionErrorKind::Empty);
    assert_eq!(file_names(folder.path()), [""; 0]);
}

#[test]
fn a_video_that_was_damaged_on_disk_is_not_called_finished() {
    let folder = tempfile::tempdir().unwrap();
    for (name, wanted) in [("a.mp4", "can't end the video"), ("a.mkv", "found a video of 0 frames after writing 5")] {
        let path = folder.path().join(name);
        let mut writer = AnnotatedWriter::create(&path, SIZE, 10.0, &quiet()).unwrap();
        (0..5).for_each(|at| writer.write(millis(100 * at), &grey(SIZE), &[], &[]).unwrap());
        fs::remove_file(folder.path().join(name.replace("a.", "a.unfinished."))).unwrap();
        let error = writer.finish().unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Io);
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(file_names(folder.path()), [""; 0]);
    }
}

/// What ffprobe says of the first stream, `key=value` a line; none where there is no ffprobe.
fn probed(path: &Path, entries: &str) -> Option<Vec<String>> {
    let arguments = ["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "default=nw=1"];
    let Ok(output) = Command::new("ffprobe").args(arguments).arg(path).output() else {
        println!("skipped: ffprobe not found");
        return None;
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// Names and places of an MP4's outermost boxes.
fn boxes(path: &Path) -> Vec<String> {
    let (bytes, mut at, mut names) = (fs::read(path).unwrap(), 0, Vec::new());
    while at + 8 <= bytes.len() {
        names.push(String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned());
        at += u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    names
}

#[test]
fn browsers_play_a_video_and_each_picture_is_shown_when_it_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    // Announced at 1000 a second; seen 67 ms apart, with a pause, a burst and a picture an hour later.
    let times: Vec<i64> = (0..60).map(|at| at * 67).chain([9_000, 9_001, 9_040, 3_609_040]).collect();
    for (name, size, wanted) in [
        ("a.mp4", SIZE, (160, 120)),
        ("odd.mp4", ImageSize { width: 161, height: 121 }, (162, 122)),
        ("a.mov", SIZE, (160, 120)),
        ("a.mkv", SIZE, (160, 120)),
    ] {
        let path = folder.path().join(name);
        let mut writer = AnnotatedWriter::create(&path, size, 1000.0, &quiet()).unwrap();
        for at in &times {
            writer.write(millis(5_000 + at), &grey(size), &[person(Some(1), (at % 90) as f32)], &names()).unwrap();
        }
        writer.finish().unwrap();
        let Some(stream) = probed(&path, "stream=codec_name,pix_fmt,width,height,color_range") else { return };
        let (width, height) = (format!("width={}", wanted.0), format!("height={}", wanted.1));
        assert_eq!(stream, ["codec_name=h264", &width, &height, "pix_fmt=yuv420p", "color_range=tv"], "{name}");
        let seconds = probed(&path, "frame=pts_time").unwrap();
        let found: Vec<i64> = seconds
            .iter()
            .filter_map(|line| line.strip_prefix("pts_time="))
            .map(|seconds| (seconds.parse::<f64>().unwrap() * 1e3).round() as i64)
            .collect();
        assert_eq!(found, times, "{name}");
        if name != "a.mkv" {
            let boxes = boxes(&path);
            let at = |name: &str| boxes.iter().position(|found| found == name);
            assert!(at("moov").is_some() && at("moov") < at("mdat"), "{name}: {boxes:?}");
        }
    }
}

#[test]
fn a_video_lasts_as_long_as_its_source() {
    let folder = tempfile::tempdir().unwrap();
    for (name, tolerance) in [("a.mp4", 1), ("a.mkv", 2), ("a.avi", 20)] {
        let path = folder.path().join(name);
        let mut writer = AnnotatedWriter::create(&path, SIZE, 15.0, &quiet()).unwrap();
        (0..90).for_each(|at| writer.write(millis(at * 200 / 3), &grey(SIZE), &[], &[]).unwrap());
        writer.finish().unwrap();
        let Some(found) = probed(&path, "format=duration") else { return };
        let found: f64 = found[0].trim_start_matches("duration=").parse().unwrap();
        assert!((found * 1e3 - 6_000.0).abs() <= f64::from(tolerance), "{name}: {found} s");
    }
}

#[test]
fn the_first_picture_keeps_its_colours() {
    let folder = tempfile::tempdir().unwrap();
    let size = ImageSize { width: 65, height: 49 };
    let path = folder.path().join("a.mp4");
    let mut writer = AnnotatedWriter::create(&path, size, 10.0, &quiet()).unwrap();
    let pixels: Vec<u8> = (0..49).flat_map(|y| (0..65).flat_map(move |x| [x * 3, y * 4, 100])).collect();
    let image = Image::from_bgr(size, pixels).unwrap();
    (0..3).for_each(|at| writer.write(millis(at * 100), &image, &[], &[]).unwrap());
    writer.finish().unwrap();
    let mut source = open(&SourceSpec::parse(path.to_str().unwrap()).unwrap(), &OpenOptions::default()).unwrap();
    let found = source.next_frame().unwrap().unwrap().image;
    for (x, y) in [(10, 10), (50, 40), (64, 48), (0, 48)] {
        let (found, wanted) = (pixel(&found, x, y), pixel(&image, x, y));
        let most = (0..3).map(|at| found[at].abs_diff(wanted[at])).max().unwrap();
        assert!(most <= 12, "at {x}, {y}: {found:?}, wanted {wanted:?}");
    }
    // What is beyond the picture repeats its edge.
    assert!(pixel(&found, 65, 20)[2].abs_diff(100) <= 12, "{:?}", pixel(&found, 65, 20));
}

//! Files as phones, recorders and browsers write them: pixels, times and counts against those of ffmpeg itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_testkit::ffmpeg;
use rva_vision::{FrameSource, Image, OpenOptions, SourceSpec, VisionError, VisionErrorKind, open};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

struct Read {
    sizes: Vec<(u32, u32)>,
    millis: Vec<i64>,
    pixels: Vec<Vec<u8>>,
    replaced: u64,
    runs: usize,
    error: Option<VisionErrorKind>,
}

/// Reads to the end, over all runs.
fn read(path: &Path) -> Read {
    let mut source = open(&SourceSpec::parse(path.to_str().unwrap()).unwrap(), &OpenOptions::default()).unwrap();
    let mut read = Read { sizes: vec![], millis: vec![], pixels: vec![], replaced: 0, runs: 1, error: None };
    let mut in_run = 0;
    loop {
        match source.next_frame() {
            Ok(Some(frame)) => {
                in_run += 1;
                assert_eq!(frame.index, in_run, "indices of a run count from 1");
                assert_eq!(frame.image.size(), source.description().size);
                read.sizes.push((frame.image.size().width, frame.image.size().height));
                read.millis.push((frame.media_time.as_micros() + 500).div_euclid(1000));
                read.pixels.push(frame.image.bgr_bytes().to_vec());
            }
            Ok(None) => break,
            Err(error) if error.kind() == VisionErrorKind::SourceChanged => {
                assert!(source.begin_next_run(), "{error}");
                (in_run, read.runs) = (0, read.runs + 1);
            }
            Err(error) => read.error = Some(error.kind()),
        }
    }
    read.replaced = source.counts().times_replaced;
    assert!(read.millis.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", read.millis);
    read
}

fn failing(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("RVA_SHARED").map_or(root, PathBuf::from);
    let path = shared.join("failing/video").join(name);
    if !path.is_file() {
        println!("skipped: shared files not found");
        return None;
    }
    Some(path)
}

/// Pictures and times as ffmpeg and ffprobe see them, the first time taken from all.
fn by_ffmpeg(path: &Path) -> Option<(Vec<u8>, Vec<i64>)> {
    let name = path.to_str().unwrap();
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i", name, "-an", "-vsync", "passthrough", "-pix_fmt", "bgr24", "-f", "rawvideo", "-"])
        .output();
    let Ok(output) = output else {
        println!("skipped: ffmpeg not found");
        return None;
    };
    let times = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0", name])
        .output()
        .unwrap();
    let times: Vec<f64> = String::from_utf8(times.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(',').next()?.trim().parse().ok())
        .collect();
    let first = times.first().copied().unwrap_or_default();
    Some((output.stdout, times.iter().map(|time| ((time - first) * 1e3).round() as i64).collect()))
}

/// Mean difference of two pictures, in grey levels.
fn difference(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| f64::from(one.abs_diff(*other))).sum::<f64>() / one.len() as f64
}

#[track_caller]
fn same_as_ffmpeg(path: &Path) {
    let found = read(path);
    let Some((pixels, millis)) = by_ffmpeg(path) else { return };
    assert_eq!(found.error, None, "{}", path.display());
    assert_eq!(found.millis.len(), millis.len(), "{}: frames", path.display());
    for (at, (found, wanted)) in found.millis.iter().zip(&millis).enumerate() {
        assert!((found - wanted).abs() <= 1, "{}: frame {at} at {found} ms, wanted {wanted}", path.display());
    }
    let bytes = found.pixels[0].len();
    assert_eq!(pixels.len(), bytes * found.pixels.len(), "{}: bytes", path.display());
    for (at, (found, wanted)) in found.pixels.iter().zip(pixels.chunks_exact(bytes)).enumerate() {
        let difference = difference(found, wanted);
        assert!(difference < 1.0, "{}: frame {at} differs by {difference}", path.display());
    }
}

#[test]
fn files_of_phones_recorders_and_browsers_are_read_as_ffmpeg_reads_them() {
    for name in [
        "portrait.mp4",
        "trimmed.mp4",
        "obs.mp4",
        "longaudio.mkv",
        "pause-before-end.mp4",
        "browser.webm",
        "mjpeg1000.avi",
    ] {
        let Some(path) = failing(name) else { return };
        same_as_ffmpeg(&path);
    }
}

#[test]
fn a_portrait_clip_is_upright() {
    let (Some(path), Some(right)) = (failing("portrait.mp4"), failing("portrait.right.png")) else { return };
    let right = Image::decode(&fs::read(right).unwrap()).unwrap();
    let found = read(&path);
    assert_eq!(found.sizes[0], (right.size().width, right.size().height));
    assert!(difference(&found.pixels[0], right.bgr_bytes()) < 2.0);
}

#[test]
fn times_behind_a_wild_one_go_on_by_the_usual_step_and_are_counted() {
    let Some(path) = failing("one-wrong-time.mkv") else { return };
    let found = read(&path);
    // The muxer gave all 37 frames from there on the same wild time.
    assert_eq!((found.millis.len(), found.replaced, found.error), (67, 37, None));
    for (at, found) in found.millis.iter().enumerate() {
        let wanted = at as i64 * 1000 / 15;
        assert!((found - wanted).abs() <= 15, "frame {at} at {found} ms, wanted {wanted}");
    }
}

#[test]
fn another_colour_range_is_the_same_run_and_nothing_is_lost() {
    let Some(path) = failing("range.mp4") else { return };
    let found = read(&path);
    assert_eq!((found.millis.len(), found.runs, found.error), (140, 1, None));
}

#[test]
fn every_turn_and_mirror_of_a_container_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mp4");
    if !ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=160x96:rate=10:duration=0.5",
        "-c:v",
        "libx264",
        plain.to_str().unwrap(),
    ]) {
        return;
    }
    let bytes = fs::read(&plain).unwrap();
    let one = 0x0001_0000_i32;
    let plain_matrix: Vec<u8> =
        [one, 0, 0, 0, one, 0, 0, 0, 0x4000_0000].iter().flat_map(|number| number.to_be_bytes()).collect();
    // The track's matrix is the last of the two that say "as it is"; the movie's stands before it.
    let at = bytes.windows(36).rposition(|window| window == plain_matrix).unwrap();
    for (a, b, c, d) in [
        (1, 0, 0, 1),
        (-1, 0, 0, 1),
        (-1, 0, 0, -1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, 1, -1, 0),
        (0, -1, -1, 0),
        (0, -1, 1, 0),
    ] {
        let mut turned = bytes.clone();
        let matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 0x4000_0000];
        turned.splice(at..at + 36, matrix.iter().flat_map(|number: &i32| number.to_be_bytes()));
        let path = folder.path().join(format!("{a}{b}{c}{d}.mp4"));
        fs::write(&path, turned).unwrap();
        same_as_ffmpeg(&path);
    }
}

#[test]
fn a_file_whose_size_changes_goes_on_as_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.ts");
    let mut joined = Vec::new();
    for (size, rate) in [("160x96", "10"), ("96x64", "10")] {
        let part = folder.path().join("part.ts");
        let picture = format!("testsrc=size={size}:rate={rate}:duration=3");
        if !ffmpeg(&["-f", "lavfi", "-i", &picture, "-c:v", "libx264", part.to_str().unwrap()]) {
            return;
        }
        joined.extend(fs::read(part).unwrap());
    }
    fs::write(&path, joined).unwrap();
    let found = read(&path);
    assert_eq!((found.runs, found.error), (2, None));
    let count = |size| found.sizes.iter().filter(|found| **found == size).count();
    assert_eq!((count((160, 96)), count((96, 64))), (30, 30));
    assert!((found.millis[59] - 5_900).abs() <= 2, "{:?}", found.millis);
}

#[test]
fn complete_files_of_every_shape_are_whole_and_cut_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let picture = ["-f", "lavfi", "-i", "testsrc=size=160x96:rate=25:duration=4", "-f", "lavfi", "-i"];
    for (name, sound, options) in [
        ("short-sound.mp4", "sine=duration=1", &["-movflags", "+faststart"][..]),
        ("long-sound.mp4", "sine=duration=9", &["-movflags", "+faststart"]),
        ("fragments.mp4", "sine=duration=5", &["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-g", "10"]),
        ("skip.mp4", "sine=duration=4", &["-movflags", "frag_keyframe+empty_moov+skip_trailer", "-g", "10"]),
        ("dash.mp4", "sine=duration=4", &["-movflags", "dash+frag_keyframe+global_sidx", "-g", "10"]),
        ("b.mkv", "sine=duration=9", &["-bf", "3"]),
        ("b.ts", "sine=duration=9", &["-bf", "3"]),
        ("ten.mp4", "sine=duration=4", &["-pix_fmt", "yuv420p10le", "-movflags", "+faststart"]),
    ] {
        let path = folder.path().join(name);
        let mut arguments = picture.to_vec();
        arguments.extend([sound, "-c:v", "libx264"]);
        arguments.extend(options);
        arguments.push(path.to_str().unwrap());
        if !ffmpeg(&arguments) {
            return;
        }
        same_as_ffmpeg(&path);
        let bytes = fs::read(&path).unwrap();
        let half = folder.path().join(format!("half-{name}"));
        fs::write(&half, &bytes[..bytes.len() / 2 / 188 * 188 + 101]).unwrap();
        let found = read(&half);
        assert_eq!(found.error, Some(VisionErrorKind::Incomplete), "{name}");
        assert!((5..=100).contains(&found.millis.len()), "{name}: {}", found.millis.len());
    }
}

#[test]
fn a_slow_clip_with_sound_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow.mkv");
    let made = ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x48:rate=1/60:duration=300",
        "-f",
        "lavfi",
        "-i",
        "sine=duration=300",
        "-c:v",
        "libx264",
        path.to_str().unwrap(),
    ]);
    if made {
        assert_eq!(read(&path).millis, [0, 60_000, 120_000, 180_000, 240_000]);
    }
}

/// What is seen of the runs of a source: for each the file that it names, and the milliseconds of its frames.
type Runs = Vec<(String, Vec<i64>)>;

/// Reads every run of a source to its end, each frame or every second one, and the error that ended it.
fn runs(source: &str, stride: u64) -> (Runs, Option<VisionError>) {
    let mut source = open(&SourceSpec::parse(source).unwrap(), &OpenOptions::default()).unwrap();
    let name = |source: &dyn FrameSource| {
        let path = PathBuf::from(&source.description().uri);
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    let mut runs = vec![(name(&*source), Vec::new())];
    let mut count = 0;
    loop {
        let next = if count % stride == 0 { source.next_frame() } else { source.skip_frame().map(|_| None) };
        match next {
            Ok(Some(frame)) => {
                assert_eq!(frame.image.size(), source.description().size);
                count += 1;
                assert_eq!(frame.index, count, "indices of a run count from 1");
                runs.last_mut().unwrap().1.push((frame.media_time.as_micros() + 500).div_euclid(1000));
            }
            Ok(None) if count % stride != 0 => count += 1,
            Ok(None) => return (runs, None),
            Err(error) if error.kind() == VisionErrorKind::SourceChanged => {
                assert!(source.next_frame().unwrap().is_none(), "nothing comes before the next run is begun");
                assert!(source.begin_next_run(), "{error}");
                (count, _) = (0, runs.push((name(&*source), Vec::new())));
            }
            Err(error) => return (runs, Some(error)),
        }
    }
}

/// Makes a video of that many frames; false where there is no ffmpeg.
fn video(path: &Path, size: &str, rate: u32, frames: u32) -> bool {
    let (input, frames) = (format!("testsrc=size={size}:rate={rate}"), frames.to_string());
    ffmpeg(&["-f", "lavfi", "-i", &input, "-frames:v", &frames, "-c:v", "mjpeg", path.to_str().unwrap()])
}

#[test]
fn videos_of_a_folder_follow_each_other_in_natural_order_each_as_a_run_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    if !(video(&at("10.mkv"), "96x64", 25, 6)
        && video(&at("2.avi"), "160x96", 10, 5)
        && video(&at("1.MOV"), "96x64", 10, 3))
    {
        return;
    }
    fs::copy(at("2.avi"), at("._2.avi")).unwrap();
    fs::write(at("notes.txt"), "no video").unwrap();
    fs::create_dir(at("3.avi")).unwrap();
    let wanted = [
        ("1.MOV".to_owned(), vec![0, 100, 200]),
        ("2.avi".to_owned(), vec![300, 400, 500, 600, 700]),
        ("10.mkv".to_owned(), vec![800, 840, 880, 920, 960, 1000]),
    ];
    let (found, error) = runs(folder.path().to_str().unwrap(), 1);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, wanted);
    let pattern = at("*[0-9].[aM]*").to_str().unwrap().to_owned();
    assert_eq!(runs(&pattern, 1).0, wanted[..2]);
    // What is skipped takes its time as well.
    let every_second = |times: &[i64]| times.iter().copied().step_by(2).collect::<Vec<_>>();
    let skipping: Vec<_> = runs(folder.path().to_str().unwrap(), 2).0;
    assert_eq!(skipping, wanted.clone().map(|(name, times)| (name, every_second(&times))));
}

#[test]
fn a_broken_video_of_a_folder_is_left_out_and_named_after_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    if !(video(&at("a.avi"), "96x64", 10, 3)
        && video(&at("c.avi"), "96x64", 10, 40)
        && video(&at("e.avi"), "96x64", 10, 4))
    {
        return;
    }
    let bytes = fs::read(at("c.avi")).unwrap();
    fs::write(at("c.avi"), &bytes[..bytes.len() / 2]).unwrap();
    for name in ["0.mp4", "b.mp4", "f.mp4"] {
        fs::write(at(name), "this is no video at all").unwrap();
    }
    let (found, error) = runs(folder.path().to_str().unwrap(), 1);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.avi", "c.avi", "e.avi"]);
    assert_eq!(found[0].1, [0, 100, 200]);
    let (cut, last) = (&found[1].1, &found[2].1);
    assert!((5..35).contains(&cut.len()) && cut[0] == 300, "{cut:?}");
    let begins = cut.last().unwrap() + 100;
    assert_eq!(*last, [begins, begins + 100, begins + 200, begins + 300]);
    let error = error.unwrap();
    assert_eq!(error.kind(), VisionErrorKind::Incomplete, "{error}");
    for part in ["found 4 of 6 videos that can't be read or break off", "0.mp4", folder.path().to_str().unwrap()] {
        assert!(error.to_string().contains(part), "{error} should name {part}");
    }
}

#[test]
fn folders_without_a_video_that_can_be_read_or_with_images_too_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |kind: VisionErrorKind, wanted: &[&str]| {
        let spec = SourceSpec::parse(folder.path().to_str().unwrap()).unwrap();
        let error = open(&spec, &OpenOptions::default()).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        wanted.iter().for_each(|part| assert!(error.to_string().contains(part), "{error} should name {part}"));
    };
    refused(VisionErrorKind::Empty, &["found a folder with 0 other entries and no images or videos", "mp4"]);
    for name in ["a.mp4", "b.mp4"] {
        fs::write(folder.path().join(name), "this is no video at all").unwrap();
    }
    refused(VisionErrorKind::Unreadable, &["found 2 videos that can't be read", "a.mp4", "wanted at least one"]);
    fs::write(folder.path().join("a.jpg"), "no matter").unwrap();
    let pattern = |all: &str| format!("{:?}", folder.path().join(all));
    let (videos, images) = (pattern("*.mp4"), pattern("*.jpg"));
    refused(VisionErrorKind::Config, &["found 1 images and 2 videos, wanted one kind", &videos, &images]);
}

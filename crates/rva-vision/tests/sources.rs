//! Sources as a user gives them: real clips, clips made here, and every kind of bad input.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{clip, image, names, read_all, refused, text, whole};
use rva_testkit::{ffmpeg, shared, vtest};
use rva_vision::{Frame, FrameSource, OpenOptions, SourceSpec, VisionErrorKind, open};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

#[test]
fn vtest_gives_795_frames_a_tenth_of_a_second_apart() {
    let Some(path) = vtest() else { return };
    let source = open(&SourceSpec::parse(text(&path)).unwrap(), &OpenOptions::default()).unwrap();
    let description = source.description();
    assert_eq!((description.size.width, description.size.height), (768, 576));
    assert_eq!((description.fps, description.frame_count, description.is_live), (Some(10.0), Some(795), false));
    let wanted: Vec<i64> = (0..795).map(|at| at * 100_000).collect();
    assert_eq!(whole(&path), wanted);
}

#[test]
fn h264_files_whose_last_times_are_zero_still_increase_to_the_end() {
    for (name, frames) in
        [("one-by-one-person-detection", 1394), ("store-aisle", 67), ("worker-zone", 71), ("people", 23)]
    {
        let Some(path) = shared(&format!("video/{name}.mp4")) else { return };
        let times = whole(&path);
        assert_eq!(times.len(), frames, "{name}");
        let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let last = *steps.last().unwrap();
        assert!(steps.contains(&last) && last <= *steps.iter().max().unwrap(), "{name}: {steps:?}");
    }
}

#[test]
fn clips_of_each_container_are_whole_and_keep_their_rate() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec, fps) in [
        ("a.mp4", ['m', 'p', '4', 'v'], 25.0),
        ("a.avi", ['M', 'J', 'P', 'G'], 12.5),
        ("a.mkv", ['m', 'p', '4', 'v'], 20.0),
    ] {
        let path = folder.path().join(name);
        clip(&path, codec, fps, 30);
        let times = whole(&path);
        assert_eq!(times.len(), 30, "{name}");
        for (at, time) in times.iter().enumerate() {
            let wanted = at as f64 * 1e6 / fps;
            assert!((*time as f64 - wanted).abs() <= 1000.0, "{name}: frame {at} at {time}, wanted {wanted}");
        }
    }
}

#[test]
fn frames_have_pixels_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    clip(&path, ['M', 'J', 'P', 'G'], 10.0, 5);
    let mut source = open(&SourceSpec::parse(text(&path)).unwrap(), &OpenOptions::default()).unwrap();
    let frames: Vec<Frame> = std::iter::from_fn(|| source.next_frame().unwrap()).collect();
    for (at, frame) in frames.iter().enumerate() {
        let brightest = brightest_column(frame);
        let wanted = at * 3 + 4;
        assert!(brightest.abs_diff(wanted) <= 5, "frame {at}: stripe at {brightest}, wanted {wanted}");
    }
}

fn brightest_column(frame: &Frame) -> usize {
    let width = frame.image.size().width as usize;
    let row = &frame.image.bgr_bytes()[..width * 3];
    let bright: Vec<usize> = (0..width).filter(|x| row[x * 3 + 2] > 150).collect();
    bright.iter().sum::<usize>() / bright.len().max(1)
}

#[test]
fn skipped_frames_keep_their_index_and_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("a.avi");
    clip(&video, ['M', 'J', 'P', 'G'], 10.0, 5);
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    (0..5).for_each(|at| image(&images.join(format!("{at}.png")), 40 + at));
    for path in [video, images] {
        let spec = SourceSpec::parse(text(&path)).unwrap();
        let mut all = open(&spec, &OpenOptions::default()).unwrap();
        let all: Vec<Frame> = std::iter::from_fn(|| all.next_frame().unwrap()).collect();
        let mut source = open(&spec, &OpenOptions::default()).unwrap();
        for wanted in [1, 3] {
            assert!(source.skip_frame().unwrap());
            let frame = source.next_frame().unwrap().unwrap();
            assert_eq!((frame.index, frame.media_time), (all[wanted].index, all[wanted].media_time));
            assert_eq!(frame.image.bgr_bytes(), all[wanted].image.bgr_bytes());
        }
        assert!(source.skip_frame().unwrap());
        assert!(!source.skip_frame().unwrap() && source.next_frame().unwrap().is_none());
    }
}

#[test]
fn a_variable_rate_keeps_its_pauses_and_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.mkv", "a.avi"] {
        let path = folder.path().join(name);
        let frames = "testsrc=size=160x120:rate=25:duration=4,select='lt(n,40)+gt(n,79)'";
        if !ffmpeg(&["-f", "lavfi", "-i", frames, "-vsync", "vfr", "-c:v", "mpeg4", text(&path)]) {
            return;
        }
        let times = whole(&path);
        assert_eq!(times.len(), 60, "{name}");
        let (before, after) = (times[39], times[40]);
        assert!((before - 1_560_000).abs() <= 1000 && (after - 3_200_000).abs() <= 1000, "{name}: {before} {after}");
    }
}

#[test]
fn sound_that_outlasts_the_pictures_is_not_a_broken_video() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mkv");
    let picture = "testsrc=size=160x120:rate=25:duration=2";
    let made =
        ffmpeg(&["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=duration=3", "-c:v", "mpeg4", text(&path)]);
    if made {
        assert_eq!(whole(&path).len(), 50);
    }
}

#[test]
fn rotation_metadata_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, rotated) = (folder.path().join("a.mp4"), folder.path().join("r.mp4"));
    let frames = "testsrc=size=160x120:rate=10:duration=1";
    if !ffmpeg(&["-f", "lavfi", "-i", frames, "-c:v", "mpeg4", text(&plain)]) {
        return;
    }
    assert!(ffmpeg(&["-i", text(&plain), "-metadata:s:v", "rotate=90", "-c", "copy", text(&rotated)]));
    let mut source = open(&SourceSpec::parse(text(&rotated)).unwrap(), &OpenOptions::default()).unwrap();
    let size = source.description().size;
    assert_eq!((size.width, size.height), (120, 160));
    assert_eq!(source.next_frame().unwrap().unwrap().image.size(), size);
}

#[test]
fn videos_that_break_off_are_incomplete_and_give_what_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.avi");
    clip(&whole, ['M', 'J', 'P', 'G'], 10.0, 40);
    let half = cut(&whole);
    let (times, error) = read_all(text(&half)).unwrap();
    assert!((10..30).contains(&times.len()), "{}", times.len());
    let found = format!("found {} frames", times.len());
    names(&error.unwrap(), VisionErrorKind::Incomplete, &[text(&half), &found, "wanted 40 frames and 4.00 s"]);
    for name in ["a.mp4", "a.mkv"] {
        let path = folder.path().join(name);
        let frames = "testsrc=size=160x120:rate=25:duration=4";
        if !ffmpeg(&["-f", "lavfi", "-i", frames, "-c:v", "mpeg4", "-movflags", "+faststart", text(&path)]) {
            return;
        }
        let half = cut(&path);
        let (times, error) = read_all(text(&half)).unwrap();
        assert!((20..80).contains(&times.len()), "{name}: {}", times.len());
        let found = format!("found {} frames", times.len());
        names(&error.unwrap(), VisionErrorKind::Incomplete, &[text(&half), &found, "wanted 100 frames and 4.00 s"]);
    }
}

/// The first half of a file, beside it.
fn cut(path: &Path) -> PathBuf {
    let bytes = fs::read(path).unwrap();
    let half = path.with_file_name(format!("half-{}", path.file_name().unwrap().to_str().unwrap()));
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    half
}

#[test]
fn an_mp4_without_its_index_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    clip(&path, ['m', 'p', '4', 'v'], 10.0, 20);
    refused(
        text(&cut(&path)),
        VisionErrorKind::Unreadable,
        &["found an MP4 file of", "moov atom not found", "wanted a whole"],
    );
}

#[test]
fn what_is_no_video_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("notes.mp4"), "hello, this is no video").unwrap();
    fs::write(path("nothing.mp4"), "").unwrap();
    fs::write(path("noise.avi"), [7, 255, 3, 200].repeat(500)).unwrap();
    refused(
        text(&path("notes.mp4")),
        VisionErrorKind::Unreadable,
        &["notes.mp4", "23 bytes of text", "hello", "wanted a"],
    );
    refused(text(&path("nothing.mp4")), VisionErrorKind::Unreadable, &["an empty file of 0 bytes"]);
    refused(text(&path("noise.avi")), VisionErrorKind::Unreadable, &["2000 bytes that start with [07, ff, 03, c8"]);
}

#[test]
fn a_video_without_frames_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written.avi");
    clip(&written, ['M', 'J', 'P', 'G'], 10.0, 0);
    refused(text(&written), VisionErrorKind::Empty, &["written.avi", "wanted at least 1"]);
    let path = folder.path().join("a.mp4");
    let frames = "testsrc=size=160x120:rate=10:duration=1";
    if ffmpeg(&["-f", "lavfi", "-i", frames, "-frames:v", "0", "-c:v", "mpeg4", text(&path)]) {
        refused(text(&path), VisionErrorKind::Empty, &["a.mp4", "wanted at least 1"]);
    }
}

#[test]
fn missing_files_and_cameras_are_not_found() {
    refused(
        "/no/such/clip.mp4",
        VisionErrorKind::NotFound,
        &["/no/such/clip.mp4", "found no such file", "wanted a video"],
    );
    refused("/no/such/*.jpg", VisionErrorKind::NotFound, &["/no/such/*.jpg", "found nothing that matches"]);
    if cfg!(target_os = "linux") {
        refused("987", VisionErrorKind::NotFound, &["webcam:987", "found no /dev/video987"]);
    }
}

#[test]
fn a_picture_or_film_of_too_many_pixels_is_refused_before_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    image(&path, 400);
    let mut bytes = fs::read(&path).unwrap();
    bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    fs::write(&path, bytes).unwrap();
    refused(text(&path), VisionErrorKind::Unreadable, &["65535 x 65535", "67108864"]);
    let film = folder.path().join("a.avi");
    clip(&film, ['M', 'J', 'P', 'G'], 10.0, 3);
    let options = OpenOptions { pixels_max: 1000, ..OpenOptions::default() };
    let error = open(&SourceSpec::parse(text(&film)).unwrap(), &options).map(|_| ()).unwrap_err();
    names(&error, VisionErrorKind::Unreadable, &["1000 pixels"]);
}

#[test]
fn an_image_rate_outside_its_range_is_refused() {
    for image_fps in [0.0, -1.0, f64::NAN, 1001.0] {
        let options = OpenOptions { image_fps, ..OpenOptions::default() };
        let error = open(&SourceSpec::parse("x.png").unwrap(), &options).map(|_| ()).unwrap_err();
        names(&error, VisionErrorKind::Config, &[&format!("image_fps {image_fps}"), "above 0"]);
    }
}

#[test]
fn a_refused_stream_says_why_and_keeps_its_credentials() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("rtsp://admin:s3cret@127.0.0.1:{port}/ch1");
    let error = read_all(&url).unwrap_err();
    names(&error, VisionErrorKind::Refused, &[&format!("rtsp://127.0.0.1:{port}/ch1"), "refuses the connection"]);
    let all = format!("{error} {error:?}");
    assert!(!all.contains("s3cret") && !all.contains("admin"), "{all}");
}

#[test]
fn a_stream_that_does_not_answer_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://admin:s3cret@{}/ch1", listener.local_addr().unwrap());
    let options = OpenOptions { open_timeout: Duration::from_millis(300), ..OpenOptions::default() };
    let error = open(&SourceSpec::parse(&url).unwrap(), &options).map(|_| ()).unwrap_err();
    names(&error, VisionErrorKind::Stalled, &["says nothing within 0.3 s"]);
}

/// Answers one HTTP request after another with the same status, further headers, and body, until the test ends.
fn serve(status: &'static str, body: Vec<u8>) -> std::net::SocketAddr {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!("HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            // The client may have seen enough.
            let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
        }
    });
    address
}

#[test]
fn a_remote_file_is_read_like_a_local_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    clip(&path, ['M', 'J', 'P', 'G'], 10.0, 12);
    let address = serve("200 OK", fs::read(&path).unwrap());
    let url = format!("http://bob:s3cret@{address}/a.avi?token=s3cret");
    let source = open(&SourceSpec::parse(&url).unwrap(), &OpenOptions::default()).unwrap();
    let description = source.description();
    assert_eq!(description.uri, format!("http://{address}/a.avi?token=***"));
    assert!(!description.is_live);
    drop(source);
    let (times, error) = read_all(&url).unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(times, whole(&path));
}

#[test]
fn a_wrong_password_is_told_from_other_failures() {
    let address = serve("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"camera\"", Vec::new());
    let error = read_all(&format!("http://admin:s3cret@{address}/a.mp4")).unwrap_err();
    names(&error, VisionErrorKind::Unauthorized, &["user or password are refused (401)"]);
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn live_streams_are_stamped_by_the_wall_clock_and_have_no_right_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mjpg");
    if !ffmpeg(&["-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=1", "-f", "mjpeg", text(&path)]) {
        return;
    }
    let url = format!("http://{}/a.mjpg", serve("200 OK", fs::read(&path).unwrap()));
    let mut source: Box<dyn FrameSource> = open(&SourceSpec::parse(&url).unwrap(), &OpenOptions::default()).unwrap();
    assert!(source.description().is_live);
    assert_eq!(source.description().frame_count, None);
    let mut times = Vec::new();
    let error = loop {
        match source.next_frame() {
            Ok(frame) => times.push(frame.expect("a live source has no right end").media_time),
            Err(error) => break error,
        }
    };
    assert_eq!(times.len(), 10);
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    names(&error, VisionErrorKind::Incomplete, &["found its end after 10 frames", "wanted it to go on"]);
}

/// Runs one test of this file in a process of its own and gives its stderr.
fn stderr_of(test: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env_remove("OPENCV_LOG_LEVEL")
        .env_remove("OPENCV_FFMPEG_DEBUG")
        .env_remove("OPENCV_FFMPEG_LOGLEVEL")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{test}: {stdout}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_libraries_say_nothing_on_stderr() {
    for test in [
        "a_refused_stream_says_why_and_keeps_its_credentials",
        "a_wrong_password_is_told_from_other_failures",
        "an_mp4_without_its_index_says_so",
        "videos_that_break_off_are_incomplete_and_give_what_they_have",
        "missing_files_and_cameras_are_not_found",
    ] {
        assert_eq!(stderr_of(test), "", "{test}");
    }
}

#[test]
fn a_device_file_that_is_no_camera_is_refused() {
    if cfg!(unix) {
        refused("/dev/null", VisionErrorKind::Unreadable, &["/dev/null: found a device", "wanted a file"]);
    }
}

#[test]
fn nothing_is_kept_of_frames_that_were_given() {
    let Some(path) = vtest() else { return };
    let resident_pages = || {
        let pages = fs::read_to_string("/proc/self/statm").ok()?;
        pages.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let mut source = open(&SourceSpec::parse(text(&path)).unwrap(), &OpenOptions::default()).unwrap();
    let Some(before) = resident_pages() else {
        println!("skipped: no /proc/self/statm");
        return;
    };
    let mut bytes = 0;
    while let Some(frame) = source.next_frame().unwrap() {
        bytes += frame.image.bgr_bytes().len() as u64;
    }
    let grown = resident_pages().unwrap().saturating_sub(before) * 4096;
    assert!(grown < bytes / 4, "grew by {grown} bytes while {bytes} bytes of pixels went by");
}

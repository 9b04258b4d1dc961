//! Recordings as phones, recorders and browsers write them, through the program: records, exit codes, annotated videos.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Ran, command, demo_model, runtime_library, rva, workspace};
use rva_testkit::ffmpeg;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::tempdir;

const START: &str = "2026-01-31T08:00:00Z";

/// What a record says of its frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    run: String,
    frame: u64,
    /// Milliseconds since the start.
    at: i64,
    size: (u64, u64),
}

fn said(records: &str) -> Vec<Said> {
    let read = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        // Within the hour of the start: `2026-01-31T08:MM:SS.ffffff+00:00`.
        let time = record["capture_ts"].as_str().unwrap();
        assert!(time.starts_with("2026-01-31T08:"), "{time}");
        let (minutes, seconds): (i64, f64) = (time[14..16].parse().unwrap(), time[17..26].parse().unwrap());
        Said {
            run: record["pipeline_run_id"].as_str().unwrap().to_owned(),
            frame: record["frame_index"].as_u64().unwrap(),
            at: minutes * 60_000 + (seconds * 1e3).round() as i64,
            size: ["width", "height"].map(|side| record["image_size"][side].as_u64().unwrap()).into(),
        }
    };
    records.lines().map(read).collect()
}

fn has_runtime() -> bool {
    let is_there = runtime_library().is_some();
    if !is_there {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
    }
    is_there
}

fn failing(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("RVA_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let path = shared.join("failing/video").join(name);
    if !path.is_file() {
        eprintln!("skipped: shared files not found");
        return None;
    }
    has_runtime().then_some(path)
}

fn detect(folder: &Path, source: &Path, more: &[&str]) -> Ran {
    let (source, model) = (source.display().to_string(), demo_model().display().to_string());
    let arguments = ["detect", &source, "--model", &model, "--start-time", START, "--output", "x.ndjson"];
    rva(folder, &[&arguments, more].concat())
}

/// Times of the pictures as ffprobe sees them, in milliseconds from the first; `None` without ffprobe.
fn shown_at(video: &Path) -> Option<Vec<i64>> {
    let arguments = ["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0"];
    let Ok(output) = Command::new("ffprobe").args(arguments).arg(video).output() else {
        eprintln!("skipped: ffprobe not found");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let times: Vec<f64> = text.lines().filter_map(|line| line.split(',').next()?.trim().parse().ok()).collect();
    let first = times.first().copied().unwrap_or_default();
    Some(times.iter().map(|time| ((time - first) * 1e3).round() as i64).collect())
}

/// Two clips of other sizes behind each other, 30 frames each, ten a second.
fn joined(folder: &Path) -> Option<PathBuf> {
    if !has_runtime() {
        return None;
    }
    let (mut bytes, part) = (Vec::new(), folder.join("part.ts"));
    for size in ["160x96", "96x64"] {
        let picture = format!("testsrc=size={size}:rate=10:duration=3");
        if !ffmpeg(&["-f", "lavfi", "-i", &picture, "-c:v", "libx264", part.to_str().unwrap()]) {
            return None;
        }
        bytes.extend(fs::read(&part).unwrap());
    }
    fs::write(folder.join("joined.ts"), bytes).unwrap();
    Some(folder.join("joined.ts"))
}

/// Two runs of 30 frames, one behind the other.
#[track_caller]
fn are_two_runs(said: &[Said]) {
    let runs: BTreeSet<&str> = said.iter().map(|said| said.run.as_str()).collect();
    assert_eq!((said.len(), runs.len()), (60, 2));
    for (part, size) in [(&said[..30], (160, 96)), (&said[30..], (96, 64))] {
        assert!(part.iter().all(|said| said.run == part[0].run && said.size == size), "{part:?}");
        assert_eq!(part.iter().map(|said| said.frame).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    }
    for (at, said) in said.iter().enumerate() {
        assert!((said.at - 100 * at as i64).abs() <= 2, "frame {at}: {said:?}");
    }
    assert!(said[0].run < said[30].run, "ids of runs are in the order of time");
}

#[test]
fn a_joined_file_is_two_runs_of_one_command_in_records_table_and_annotated_video() {
    let folder = tempdir().unwrap();
    let Some(file) = joined(folder.path()) else { return };
    detect(folder.path(), &file, &["--save=x.mp4"]).exits(0);
    are_two_runs(&said(&fs::read_to_string(folder.path().join("x.ndjson")).unwrap()));
    let Some(shown) = shown_at(&folder.path().join("x.mp4")) else { return };
    assert_eq!(shown, (0..60).map(|at| at * 100).collect::<Vec<_>>());

    let (file, model) = (file.display().to_string(), demo_model().display().to_string());
    let run = ["run", &file, "--model", &model, "--start-time", START, "--data-dir", "d"];
    rva(folder.path(), &run).exits(0).says(&["60 rows committed"]);
    let sql = "SELECT payload FROM bronze_raw ORDER BY pipeline_run_id, frame_index";
    let rows = rva(folder.path(), &["query", sql, "--format", "json", "--data-dir", "d"]).exits(0).stdout;
    let payloads =
        rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()["payload"].as_str().map(str::to_owned));
    are_two_runs(&said(&payloads.map(Option::unwrap).collect::<Vec<_>>().join("\n")));
}

#[test]
fn files_of_phones_recorders_and_browsers_are_read_whole_with_their_own_times() {
    // Frames, milliseconds from the first to the last, and size, as ffprobe sees them.
    for (name, frames, last, size) in [
        ("portrait.mp4", 5, 267, (480, 270)),
        ("trimmed.mp4", 29, 1_867, (240, 136)),
        ("obs.mp4", 134, 4_433, (240, 136)),
        ("longaudio.mkv", 67, 4_400, (240, 136)),
        ("range.mp4", 140, 9_267, (240, 136)),
        ("pause-before-end.mp4", 67, 7_400, (240, 136)),
        ("one-wrong-time.mkv", 67, 4_400, (240, 136)),
        ("mjpeg1000.avi", 24, 1_533, (160, 90)),
        ("browser.webm", 67, 4_400, (160, 90)),
    ] {
        let folder = tempdir().unwrap();
        let Some(path) = failing(name) else { return };
        let ran = detect(folder.path(), &path, &["--save=x.mp4"]).exits(0);
        let is_wild = name == "one-wrong-time.mkv";
        assert_eq!(ran.stderr.contains("a time that can't be right"), is_wild, "{name}: {}", ran.stderr);
        let said = said(&fs::read_to_string(folder.path().join("x.ndjson")).unwrap());
        assert_eq!(said.iter().map(|said| said.frame).collect::<Vec<_>>(), (1..=frames).collect::<Vec<_>>(), "{name}");
        let first = said[0].clone();
        assert!(said.iter().all(|said| said.run == first.run && said.size == size), "{name}");
        assert!(said.windows(2).all(|pair| pair[0].at < pair[1].at), "{name}");
        let found = said.last().unwrap().at - first.at;
        assert!((found - last).abs() <= 15, "{name}: the last at {found} ms, wanted {last}");
        let Some(shown) = shown_at(&folder.path().join("x.mp4")) else { return };
        let wanted: Vec<i64> = said.iter().map(|said| said.at - first.at).collect();
        assert_eq!(shown.len(), wanted.len(), "{name}");
        let is_there = shown.iter().zip(&wanted).all(|(shown, wanted)| (shown - wanted).abs() <= 1);
        assert!(is_there, "{name}: the annotated video shows them at {shown:?}, wanted {wanted:?}");
    }
}

#[test]
fn pictures_of_phones_are_read_and_a_broken_one_leaves_the_others_of_its_folder() {
    let folder = tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for name in ["motion.jpg", "portrait.webp"] {
        let Some(path) = failing(name) else { return };
        detect(folder.path(), &path, &[]).exits(0);
        assert_eq!(said(&fs::read_to_string(folder.path().join("x.ndjson")).unwrap()).len(), 1, "{name}");
        fs::copy(&path, pictures.join(name)).unwrap();
    }
    let bytes = fs::read(pictures.join("motion.jpg")).unwrap();
    fs::write(pictures.join("n-broken.jpg"), &bytes[..600]).unwrap();
    detect(folder.path(), &pictures, &[]).exits(3).says(&["n-broken.jpg", "1 of 3 images"]);
    let said = said(&fs::read_to_string(folder.path().join("x.ndjson")).unwrap());
    assert_eq!(said.iter().map(|said| (said.frame, said.at)).collect::<Vec<_>>(), [(1, 0), (3, 2_000)]);
}

#[test]
fn a_wild_time_is_not_waited_for_in_real_time() {
    let folder = tempdir().unwrap();
    let Some(path) = failing("one-wrong-time.mkv") else { return };
    let started = Instant::now();
    detect(folder.path(), &path, &["--realtime"]).exits(0);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_millis(4_300), "{:?}", started.elapsed());
}

#[test]
fn an_interrupt_leaves_an_annotated_video_that_is_whole_to_there() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("long.mp4");
    let picture = "testsrc=size=160x96:rate=10:duration=120";
    if !has_runtime() || !ffmpeg(&["-f", "lavfi", "-i", picture, "-c:v", "libx264", file.to_str().unwrap()]) {
        return;
    }
    let (file, model) = (file.display().to_string(), demo_model().display().to_string());
    let (start, realtime) = (["--start-time", START], ["--realtime", "--output", "x.ndjson", "--save=x.mp4"]);
    let arguments = [&["detect", &file, "--model", &model], &start[..], &realtime[..]].concat();
    let mut child = command(folder.path(), &arguments).stderr(Stdio::null()).spawn().unwrap();
    let records = || fs::read_to_string(folder.path().join("x.ndjson")).unwrap_or_default();
    let started = Instant::now();
    while records().lines().count() < 20 {
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain for records");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    let said = said(&records());
    assert!(said.len() < 1_000, "the interrupt came too late");
    let Some(shown) = shown_at(&folder.path().join("x.mp4")) else { return };
    // Frames that a slow machine leaves out are gaps in both.
    assert_eq!(shown, said.iter().map(|frame| frame.at - said[0].at).collect::<Vec<_>>());
}

/// A folder of two whole videos of three and four frames, ten a second, and one that is none between them.
fn shelf(folder: &Path) -> bool {
    let shelf = folder.join("shelf");
    fs::create_dir(&shelf).unwrap();
    fs::write(shelf.join("b.mp4"), "this is no video at all").unwrap();
    has_runtime()
        && [("a.avi", "96x64", "3"), ("c.avi", "160x96", "4")].into_iter().all(|(name, size, frames)| {
            let (picture, path) = (format!("testsrc=size={size}:rate=10"), shelf.join(name));
            ffmpeg(&["-f", "lavfi", "-i", &picture, "-frames:v", frames, "-c:v", "mjpeg", path.to_str().unwrap()])
        })
}

/// The frames of both videos of [`shelf`], each a run of its own.
#[track_caller]
fn are_of_the_shelf(records: &str) {
    let frames: Vec<_> = said(records).into_iter().map(|said| (said.frame, said.at, said.size)).collect();
    let first = (1..=3).map(|frame| (frame, 100 * frame as i64 - 100, (96, 64)));
    let second = (1..=4).map(|frame| (frame, 100 * frame as i64 + 200, (160, 96)));
    assert_eq!(frames, first.chain(second).collect::<Vec<_>>());
    let of = |key: &str| -> Vec<String> {
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap()[key].as_str().unwrap().to_owned();
        records.lines().map(read).collect()
    };
    let (runs, files) = (of("pipeline_run_id"), of("source_uri"));
    assert!(runs[..3].iter().all(|run| *run == runs[0]) && runs[3..].iter().all(|run| *run == runs[3]), "{runs:?}");
    assert!(runs[0] < runs[3], "ids of runs are in the order of time");
    assert!(files[..3].iter().all(|file| file == "shelf/a.avi") && files[3..].iter().all(|file| file == "shelf/c.avi"));
}

#[test]
fn a_folder_of_videos_is_one_camera_whose_videos_follow_each_other_in_records_table_and_annotated_videos() {
    let folder = tempdir().unwrap();
    if !shelf(folder.path()) {
        return;
    }
    let wanted = ["shelf: found 1 of 3 videos that can't be read or break off", "shelf/b.mp4"];
    detect(folder.path(), Path::new("shelf"), &["--save=out"]).exits(3).says(&wanted);
    are_of_the_shelf(&fs::read_to_string(folder.path().join("x.ndjson")).unwrap());
    for (name, times) in [("a.mp4", &[0, 100, 200][..]), ("c.mp4", &[0, 100, 200, 300])] {
        let Some(shown) = shown_at(&folder.path().join("out/cam_01").join(name)) else { return };
        assert_eq!(shown, times, "{name}");
    }
    let one_file = detect(folder.path(), Path::new("shelf"), &["--save=x.mp4"]).exits(2);
    one_file.says(&["found --save=x.mp4, a file, for the videos of a folder, wanted a folder"]);

    let model = demo_model().display().to_string();
    fs::write(folder.path().join("rva.yaml"), format!("start_time: {START}\ncameras:\n  aisle: {{source: shelf/}}\n"))
        .unwrap();
    rva(folder.path(), &["run", "--model", &model, "--data-dir", "d"]).exits(3).says(&["7 rows committed", "b.mp4"]);
    let sql = "SELECT payload FROM bronze_raw WHERE camera_id = 'aisle' ORDER BY pipeline_run_id, frame_index";
    let rows = rva(folder.path(), &["query", sql, "--format", "json", "--data-dir", "d"]).exits(0).stdout;
    let payload = |row: &str| serde_json::from_str::<Value>(row).unwrap()["payload"].as_str().unwrap().to_owned();
    are_of_the_shelf(&rows.lines().map(payload).collect::<Vec<_>>().join("\n"));

    fs::remove_file(folder.path().join("shelf/b.mp4")).unwrap();
    detect(folder.path(), Path::new("shelf/*.avi"), &[]).exits(0);
    are_of_the_shelf(&fs::read_to_string(folder.path().join("x.ndjson")).unwrap());
    fs::write(folder.path().join("shelf/p.jpg"), "a preview").unwrap();
    let mixed = detect(folder.path(), Path::new("shelf"), &[]).exits(2);
    mixed.says(&["found 1 images and 2 videos, wanted one kind", "shelf/*.avi"]);
}

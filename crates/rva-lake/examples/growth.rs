//! `make bench NAME=growth`: what a table costs after many commits. `growth write FOLDER COMMITS [once]` makes them as
//! fast as they go, with maintenance between (`once`: the same rows in one commit, without); `growth read FOLDER` is a
//! process that begins on them. Both print CSV lines `what,commits,value,unit`.
#![allow(clippy::unwrap_used, reason = "a measurement that fails ends")]

use rva_lake::{Batch, BronzeRow, CommitOutcome, HousekeepingLimits, Lake, LakeOptions, MergeLimits, TableSink};
use rva_testkit::measure::{cpu_seconds, median, sizes, status_kib};
use rva_types::{BronzeEvent, CameraId, EventKey, OffsetMap, Position, RunId, StoreId, Timestamp};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The cameras of a commit, each with a frame.
const CAMERAS: u64 = 4;

/// The commits between two looks of maintenance: ten minutes of a commit a second. What came since the look before isn't
/// merged yet.
const LOOK_EVERY: u64 = 600;

/// The commits whose median stands for those around them.
const WINDOW: usize = 200;

fn at(number: u64) -> OffsetMap {
    let mut map = OffsetMap::new();
    if number > 0 {
        map.advance("cam_00", Position::of_record(number));
    }
    map
}

fn row(camera: u64, frame: u64) -> BronzeRow {
    let camera = format!("cam_{camera:02}");
    let run = RunId::parse(format!("018f0000000070008000{:012x}", frame / 100_000)).unwrap();
    let frame_index = i64::try_from(frame).unwrap();
    let key = EventKey { run, camera: CameraId::parse(camera.as_str()).unwrap(), frame_index };
    let payload = format!(r#"{{"frame_index":{frame},"source":{{"camera_id":"{camera}"}},"detections":[]}}"#);
    let store = StoreId::parse("store_01").unwrap();
    let event = BronzeEvent { schema_version: "1.0".into(), key, payload: payload.into(), store };
    BronzeRow { event, ingest_ts: Timestamp::from_micros(1_700_000_000_000_000 + frame_index) }
}

fn rows(frames: std::ops::RangeInclusive<u64>) -> Vec<BronzeRow> {
    frames.flat_map(|frame| (0..CAMERAS).map(move |camera| row(camera, frame))).collect()
}

fn say(what: &str, commits: u64, value: f64, unit: &str) {
    println!("{what},{commits},{value:.3},{unit}");
}

fn say_sizes(folder: &Path, commits: u64) {
    let warehouse = rva_types::DataFolder::at(folder).warehouse();
    let (files, bytes) = sizes(&warehouse, &[".avro", ".metadata.json"]);
    say("metadata files on disk", commits, files as f64, "files");
    say("metadata on disk", commits, bytes as f64 / 1e6, "MB");
    let (files, bytes) = sizes(&warehouse, &[".parquet"]);
    say("data files on disk", commits, files as f64, "files");
    say("data on disk", commits, bytes as f64 / 1e6, "MB");
}

async fn say_table(lake: &Lake, commits: u64) {
    let table = lake.tables().await.unwrap().into_iter().find(|table| table.name == "rva.bronze_raw").unwrap();
    say("data files of the table", commits, table.files as f64, "files");
    say("snapshots of the table", commits, table.snapshots as f64, "snapshots");
}

async fn write(folder: &Path, commits: u64, is_once: bool) {
    let mut options = LakeOptions::default();
    // Hours pass in minutes here.
    options.housekeeping = HousekeepingLimits {
        orphan_age: Duration::from_secs(60),
        walk_every: Duration::from_secs(60),
        ..options.housekeeping
    };
    let lake = Lake::open_embedded(folder, options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let limits = MergeLimits { age_min: Duration::ZERO, ..MergeLimits::default() };
    let mut maintenance = lake.maintenance(None, &limits).unwrap();
    let mut looked = SystemTime::now();
    let batches = if is_once { vec![1..=commits] } else { (1..=commits).map(|number| number..=number).collect() };
    let (mut times, mut cpu) = (Vec::new(), cpu_seconds());
    let mut told = 0;
    let (mut merging, mut written) = (Duration::ZERO, 0);
    for frames in batches {
        let (first, last) = (*frames.start(), *frames.end());
        let batch = Batch { source: "bench|growth".into(), from: at(first - 1), to: at(last), rows: rows(frames) };
        let began = Instant::now();
        let outcome = sink.commit(&batch).await.unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e3);
        assert!(matches!(outcome, CommitOutcome::Committed { rows_known: 0, .. }), "{outcome:?}");
        if last % LOOK_EVERY == 0 && !is_once {
            let began = SystemTime::now();
            let merged = maintenance.merge(std::mem::replace(&mut looked, began)).await.unwrap();
            let bytes: u64 = merged.iter().map(|merged| merged.bytes_written).sum();
            merging += began.elapsed().unwrap_or_default();
            written += bytes;
        }
        let is_told = [WINDOW as u64, 1_000, 2_000, 5_000].contains(&last) || last % 10_000 == 0 || last == commits;
        if !is_once && is_told {
            let window = &times[times.len().saturating_sub(WINDOW)..];
            say("commit (median)", last, median(window), "ms");
            let mut sorted = window.to_vec();
            sorted.sort_by(f64::total_cmp);
            say("commit (99 of 100)", last, sorted[sorted.len() * 99 / 100], "ms");
            let now = cpu_seconds();
            say(
                "processor a commit since the last line with merges",
                last,
                (now - cpu) * 1e3 / (last - told) as f64,
                "ms",
            );
            (cpu, told) = (now, last);
            say("merges up to here", last, merging.as_secs_f64(), "s");
            say("written again by merges up to here", last, written as f64 / 1e6, "MB");
            say("resident memory", last, status_kib("VmRSS") as f64 / 1024.0, "MiB");
            say_sizes(folder, last);
            say_table(&lake, last).await;
        }
    }
    say_table(&lake, commits).await;
}

async fn read(folder: &Path) {
    let began = Instant::now();
    let lake = Lake::open_embedded(folder, LakeOptions::default()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let resume = sink.resume_point().await.unwrap();
    let next = resume.offsets.get("cam_00").unwrap().entry + 1;
    say("start: position known", next - 1, began.elapsed().as_secs_f64() * 1e3, "ms");
    let queries = [
        ("count(*)", "SELECT count(*) FROM bronze_raw"),
        (
            "frames of one run",
            "SELECT count(*) FROM bronze_raw WHERE pipeline_run_id = '018f0000000070008000000000000000'",
        ),
    ];
    for (name, query) in queries {
        let asked = Instant::now();
        lake.sql(query).await.unwrap().collect().await.unwrap();
        say(name, next - 1, asked.elapsed().as_secs_f64() * 1e3, "ms");
    }
    let committing = Instant::now();
    let batch = Batch { source: "bench|growth".into(), from: resume.offsets, to: at(next), rows: rows(next..=next) };
    sink.commit(&batch).await.unwrap();
    say("start: first commit", next - 1, committing.elapsed().as_secs_f64() * 1e3, "ms");
    say("resident memory of a reader, most", next - 1, status_kib("VmHWM") as f64 / 1024.0, "MiB");
}

fn main() {
    // DataFusion's planner recurses deeply in builds for development.
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(16 << 20).enable_all().build().unwrap();
    let work = async {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["write", folder, commits] => write(Path::new(folder), commits.parse().unwrap(), false).await,
            ["write", folder, commits, "once"] => write(Path::new(folder), commits.parse().unwrap(), true).await,
            ["read", folder] => read(Path::new(folder)).await,
            found => panic!("found {found:?}, wanted write FOLDER COMMITS [once] or read FOLDER"),
        }
    };
    runtime.block_on(runtime.spawn(work)).unwrap();
}

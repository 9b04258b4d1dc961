//! `make bench NAME=refine`: a shop's day as bronze, a shop's day as it happens, and a year of refreshes.
//!
//! `shop write FOLDER CAMERAS RATE HOURS DETECTIONS` writes bronze as the ingest does, a commit each ten minutes,
//! and `shop more FOLDER CAMERAS RATE HOURS` one more of ten seconds.
//! `shop live FOLDER CAMERAS RATE SECONDS BEFORE` writes frames into the folder's log as cameras do, in real time,
//! after `BEFORE` seconds of the same hour at once, and prints how long each frame took from its capture until
//! `gold_people_per_minute` counted it; an ingest and a refine run beside it. `shop grow FOLDER REFRESHES` makes so
//! many small commits of bronze that reach over a year of twenty cameras, refines after each, and prints what that costs.
//! `shop freshness FOLDER RVA VIDEO MODEL CAMERAS WARM_UP` (`make bench NAME=freshness`) runs the program `RVA` on so many
//! cameras that play a video, and prints how long each stage kept a frame after so many seconds. All print CSV lines.
#![allow(clippy::unwrap_used, reason = "a measurement that fails ends")]

mod freshness;
mod grow;
mod live;
mod people;

use people::Camera;
use rva_lake::{Batch, BronzeRow, CommitOutcome, Lake, LakeOptions, TableSink};
use rva_types::{BronzeEvent, EventKey, OffsetMap, Position, Timestamp};
use std::path::Path;

/// As in our programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-03-02T00:00:00Z, a Monday.
const MIDNIGHT: i64 = 1_772_409_600_000_000;

/// The seconds of a commit.
const COMMIT_SECONDS: f64 = 600.0;

/// Returns the row that the ingest makes of a frame, ten seconds after its capture.
fn bronze_row(camera: &mut Camera, index: u64) -> (BronzeRow, usize) {
    let frame = camera.frame(index);
    let frame_index = i64::try_from(index).unwrap();
    let key = EventKey { run: camera.run.clone(), camera: camera.source.camera_id.clone(), frame_index };
    let (store, payload) = (camera.source.store_id.clone(), frame.json.as_str().into());
    let event = BronzeEvent { schema_version: "1.0".into(), key, payload, store };
    (BronzeRow { event, ingest_ts: Timestamp::from_micros(frame.at.as_micros() + 10_000_000) }, frame.detections)
}

async fn write(folder: &Path, cameras: usize, rate: f64, hours: f64, detections: f64) {
    let lake = Lake::open_embedded(folder, LakeOptions::default()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let frames = (hours * 3600.0 * rate) as u64;
    let mean = detections / (frames as f64 * cameras as f64);
    let start = Timestamp::from_micros(MIDNIGHT);
    let mut cameras: Vec<_> = (0..cameras).map(|at| Camera::new(at, rate, start, mean, hours >= 24.0)).collect();
    let step = (COMMIT_SECONDS * rate) as u64;
    let (mut from, mut rows_written, mut detections_written) = (OffsetMap::new(), 0, 0);
    let mut first = 1;
    while first <= frames {
        let last = (first + step - 1).min(frames);
        let mut rows = Vec::new();
        for camera in &mut cameras {
            for index in first..=last {
                let (row, detections) = bronze_row(camera, index);
                rows.push(row);
                detections_written += detections;
            }
        }
        rows_written += rows.len();
        let mut to = from.clone();
        to.advance("log", Position::of_record(rows_written as u64));
        let batch = Batch { source: "shop day".into(), from, to: to.clone(), rows };
        let outcome = sink.commit(&batch).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { rows_known: 0, .. }), "{outcome:?}");
        (from, first) = (to, last + 1);
    }
    println!("frames,{rows_written}\ndetections,{detections_written}");
}

/// Writes a commit of ten seconds that follow on the day, of new runs.
async fn more(folder: &Path, cameras: usize, rate: f64, hours: f64) {
    let lake = Lake::open_embedded(folder, LakeOptions::default()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let from = sink.resume_point().await.unwrap().offsets;
    let start = Timestamp::from_micros(MIDNIGHT + (hours * 3600e6) as i64 - 60_000_000);
    let mut rows = Vec::new();
    for at in 0..cameras {
        let mut camera = Camera::new(at, rate, start, 1.0, false);
        rows.extend((1..=(rate * 10.0) as u64).map(|index| bronze_row(&mut camera, index).0));
    }
    let mut to = from.clone();
    to.advance("log", Position::of_record(from.get("log").unwrap().entry + rows.len() as u64));
    let batch = Batch { source: "shop day".into(), from, to, rows };
    let outcome = sink.commit(&batch).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { rows_known: 0, .. }), "{outcome:?}");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(16 << 20).enable_all().build().unwrap();
    let work = async {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["write", folder, cameras, rate, hours, detections] => {
                let [rate, hours, detections] = [rate, hours, detections].map(|text| text.parse().unwrap());
                write(Path::new(folder), cameras.parse().unwrap(), rate, hours, detections).await;
            }
            ["more", folder, cameras, rate, hours] => {
                let [rate, hours] = [rate, hours].map(|text| text.parse().unwrap());
                more(Path::new(folder), cameras.parse().unwrap(), rate, hours).await;
            }
            ["live", folder, cameras, rate, seconds, before] => {
                let [rate, seconds, before] = [rate, seconds, before].map(|text| text.parse().unwrap());
                live::run(Path::new(folder), cameras.parse().unwrap(), rate, seconds, before).await;
            }
            ["grow", folder, refreshes] => grow::run(Path::new(folder), refreshes.parse().unwrap()).await,
            ["freshness", folder, rva, video, model, cameras, warm_up] => {
                let warm_up = std::time::Duration::from_secs(warm_up.parse().unwrap());
                freshness::run(Path::new(folder), rva, video, model, cameras.parse().unwrap(), warm_up);
            }
            found => panic!(
                "found {found:?}, wanted write FOLDER CAMERAS RATE HOURS DETECTIONS, live FOLDER CAMERAS RATE SECONDS \
                 BEFORE, grow FOLDER REFRESHES or freshness FOLDER RVA VIDEO MODEL CAMERAS WARM_UP"
            ),
        }
    };
    runtime.block_on(runtime.spawn(work)).unwrap();
}

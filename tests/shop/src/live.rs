//! Cameras that write into the log in real time, and the moment at which gold counts what they saw.

use crate::people::Camera;
use rva_bus::{EventSink, LogOptions, LogWriter, OutgoingMessage};
use rva_lake::{CellKind, Columns, Lake, LakeOptions, RowFilter, TableView};
use rva_types::Timestamp;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

const HOUR_US: i64 = 3_600_000_000;

/// The people of a frame on average.
const MEAN_PEOPLE: f64 = 1.5;

const PEOPLE: &Columns = &[("camera_id", CellKind::Text), ("frames", CellKind::Long)];

fn now_us() -> i64 {
    Timestamp::from(SystemTime::now()).as_micros()
}

async fn send(log: &mut LogWriter, camera: &mut Camera, index: u64) {
    let frame = camera.frame(index);
    let source = &camera.source;
    let ids = [("store_id", source.store_id.as_str()), ("camera_id", source.camera_id.as_str())];
    let ids = ids.into_iter().chain([("stream_id", source.stream_id.as_str()), ("schema_version", "1.0")]);
    let properties: BTreeMap<String, String> = ids.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let partition_key = source.camera_id.to_string();
    let body = frame.json.into_bytes().into();
    log.send(OutgoingMessage { partition_key, properties, event_time: Some(frame.at), body }).await.unwrap();
}

/// Returns the frames that gold has of each camera.
async fn counted(view: &TableView) -> BTreeMap<String, u64> {
    let mut frames = BTreeMap::new();
    for row in view.rows(PEOPLE, &RowFilter::default()).await.unwrap() {
        let (Some(camera), Some(count)) = (row[0].text(), row[1].whole()) else { continue };
        *frames.entry(camera.to_string()).or_default() += u64::try_from(count).unwrap();
    }
    frames
}

/// Watches gold until every camera's last frame is counted; a line for each camera, frame and its seconds.
async fn watch(lake: Lake, cameras: usize, before: u64, last: u64, shown_at: impl Fn(u64) -> i64) -> Vec<f64> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let (mut seconds, mut sequence) = (Vec::new(), 0);
    let patience = Instant::now();
    while seen.len() < cameras || seen.values().any(|frames| *frames < last) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(patience.elapsed() < Duration::from_secs(7200), "gold never counted all frames: {seen:?}");
        let Some(view) = lake.view("gold_people_per_minute").await.unwrap() else { continue };
        if view.sequence() == sequence {
            continue;
        }
        // A table that changes while it is read is read again.
        let now = now_us();
        sequence = view.sequence();
        for (camera, frames) in counted(&view).await {
            let held = seen.entry(camera).or_default();
            for frame in (*held + 1)..=frames {
                if frame > before {
                    seconds.push((now - shown_at(frame)) as f64 / 1e6);
                }
            }
            *held = (*held).max(frames);
        }
    }
    seconds
}

pub async fn run(folder: &Path, cameras: usize, rate: f64, seconds: f64, before_seconds: f64) {
    let lake = Lake::open_embedded(folder, LakeOptions::default()).await.unwrap();
    let mut log = LogWriter::open(folder.join("log"), LogOptions::default()).unwrap();
    // Times are of an hour that begins `before_seconds` before now, so that the whole of it is being worked on.
    let hour = now_us() / HOUR_US * HOUR_US;
    let start = Timestamp::from_micros(hour);
    let mut all: Vec<_> = (0..cameras).map(|at| Camera::new(at, rate, start, MEAN_PEOPLE, false)).collect();
    let before = (before_seconds * rate) as u64;
    let began = Instant::now();
    for camera in &mut all {
        for index in 1..=before {
            send(&mut log, camera, index).await;
        }
    }
    log.flush().await.unwrap();
    println!(
        "frames sent at once,{}\nseconds to send them,{:.2}",
        before * cameras as u64,
        began.elapsed().as_secs_f64()
    );
    // All that came before is caught up first.
    let caught_up = Instant::now();
    watch(lake.clone(), cameras, before, before, |_| 0).await;
    println!("seconds until gold counted them,{:.2}", caught_up.elapsed().as_secs_f64());
    let last = before + (seconds * rate) as u64;
    let (first_at, step) = (now_us(), (1e6 / rate) as i64);
    let shown_at = move |index: u64| first_at + i64::try_from(index - before).unwrap() * step;
    let watching = tokio::spawn(watch(lake, cameras, before, last, shown_at));
    for index in before + 1..=last {
        let wait = shown_at(index) - now_us();
        tokio::time::sleep(Duration::from_micros(wait.max(0).unsigned_abs())).await;
        for camera in &mut all {
            send(&mut log, camera, index).await;
        }
    }
    log.flush().await.unwrap();
    let mut seconds = watching.await.unwrap();
    seconds.sort_by(f64::total_cmp);
    println!("frames as they happened,{}", seconds.len());
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p100", 1.0)] {
        let at = ((seconds.len() as f64 * share) as usize).min(seconds.len() - 1);
        println!("seconds from capture to gold {name},{:.2}", seconds[at]);
    }
}

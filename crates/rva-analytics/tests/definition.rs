//! Gold equals its defining SQL, written by hand in data/queries/gold and run by DataFusion over the same silver.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::*;
use datafusion::{
    arrow::{
        array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
        util::display::{ArrayFormatter, FormatOptions},
    },
    datasource::MemTable,
    prelude::SessionContext,
};
use rva_analytics::{FrameRows, HourRows, Zones};
use rva_types::{RunId, Timestamp};
use std::sync::Arc;

/// A small generator: the same scenes from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64 (Steele, Lea, Flood 2014)
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Two runs across a full hour, out of order, with people without a track, other classes, odd picture sizes, clocks
/// that jump.
fn scene(seed: u64) -> Vec<FrameRows> {
    let mut random = Random(seed);
    let mut frames = Vec::new();
    for run in ["run-a", "run/b"] {
        let walks: Vec<_> = (0..random.below(6))
            .map(|track| {
                let mut t = random.share() * 30.0;
                let count = 2 + random.below(6);
                let points: Vec<_> = (0..count)
                    .map(|_| {
                        t += random.share() * 8.0;
                        (t, random.share() * 1.1 - 0.05, random.share() * 1.1)
                    })
                    .collect();
                let hidden = random.share() * 40.0;
                Walk::new(track as i64, &points).hidden(hidden, hidden + random.share() * 4.0)
            })
            .collect();
        let fps = [1.0, 4.0, 10.0][random.below(3) as usize];
        let mut film = film_from(&walks, fps, 60.0, T0 - micros(30.0) + random.below(1_000_000) as i64);
        for rows in &mut film {
            rows.frame.key.run = RunId::parse(run).unwrap();
            for detection in &mut rows.detections {
                detection.conf = 0.4 + random.share() * 0.6;
                match random.below(20) {
                    0 => detection.track_id = None,
                    1 => detection.class_name = Some("cart".into()),
                    2 => detection.class_name = None,
                    _ => {}
                }
            }
            if random.below(200) == 0 {
                (rows.frame.img_w, rows.frame.img_h) = (1920, 1080);
            }
            if random.below(300) == 0 {
                let back = rows.frame.capture_ts.as_micros() - micros(random.share() * 20.0);
                rows.frame.capture_ts = Timestamp::from_micros(back);
            }
            rows.frame.people = rows.detections.iter().filter(|detection| detection.is_person()).count() as i32;
        }
        frames.extend(film);
    }
    for at in (1..frames.len()).rev() {
        frames.swap(at, random.below(at as u64 + 1) as usize);
    }
    frames
}

fn zones() -> Zones {
    let until = |from: i64, to: Option<i64>, points: &str| rva_analytics::ZoneDefinition {
        valid_from_us: from,
        valid_to_us: to,
        ..shape("aisle", "line", points)
    };
    let zone = |name: &str, from: i64, to: Option<i64>, points: &str| rva_analytics::ZoneDefinition {
        valid_from_us: from,
        valid_to_us: to,
        ..shape(name, "zone", points)
    };
    Zones::new([
        until(0, None, "[[0.5,0.05],[0.45,0.95]]"),
        rva_analytics::ZoneDefinition { valid_from_us: 0, ..shape("short", "line", "[[0.2,0.5],[0.6,0.5]]") },
        rva_analytics::ZoneDefinition { name: "moved".into(), ..until(0, Some(T0), "[[0.1,0.1],[0.9,0.9]]") },
        rva_analytics::ZoneDefinition { name: "moved".into(), ..until(T0, None, "[[0.9,0.1],[0.1,0.9]]") },
        zone("bay", 0, None, "[[0.1,0.2],[0.9,0.2],[0.9,1],[0.5,0.5],[0.1,1]]"),
        zone("strip", 0, None, "[[0.495,0],[0.505,0],[0.505,1],[0.495,1]]"),
        zone("shelf", 0, Some(T0), "[[0.2,0.3],[0.7,0.3],[0.7,0.8]]"),
        zone("shelf", T0, Some(T0 + micros(20.0)), "[[0.3,0.3],[0.8,0.3],[0.8,0.8],[0.3,0.8]]"),
    ])
}

fn text<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
}

fn whole(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn long(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn double(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).unwrap()
}

fn silver_frames(frames: &[FrameRows]) -> RecordBatch {
    let keys = || frames.iter().map(|rows| &rows.frame.key);
    batch(vec![
        ("pipeline_run_id", text(keys().map(|key| Some(key.run.as_str())))),
        ("store_id", text(keys().map(|key| Some(key.store.as_str())))),
        ("camera_id", text(keys().map(|key| Some(key.camera.as_str())))),
        ("frame_index", long(keys().map(|key| Some(key.frame_index)))),
        ("capture_ts", times(frames.iter().map(|rows| Some(rows.frame.capture_ts.as_micros())))),
        ("people", whole(frames.iter().map(|rows| rows.frame.people))),
    ])
}

fn silver_detections(frames: &[FrameRows]) -> RecordBatch {
    let all: Vec<_> =
        frames.iter().flat_map(|rows| rows.detections.iter().map(move |found| (&rows.frame, found))).collect();
    let side = |at: usize| whole(all.iter().map(move |(_, found)| found.bbox[at]));
    batch(vec![
        ("pipeline_run_id", text(all.iter().map(|(frame, _)| Some(frame.key.run.as_str())))),
        ("store_id", text(all.iter().map(|(frame, _)| Some(frame.key.store.as_str())))),
        ("camera_id", text(all.iter().map(|(frame, _)| Some(frame.key.camera.as_str())))),
        ("frame_index", long(all.iter().map(|(frame, _)| Some(frame.key.frame_index)))),
        ("capture_ts", times(all.iter().map(|(frame, _)| Some(frame.capture_ts.as_micros())))),
        ("img_w", whole(all.iter().map(|(frame, _)| frame.img_w))),
        ("img_h", whole(all.iter().map(|(frame, _)| frame.img_h))),
        ("det_id", text(all.iter().map(|(_, found)| Some(&*found.det_id)))),
        ("class_name", text(all.iter().map(|(_, found)| found.class_name.as_deref()))),
        ("conf", double(all.iter().map(|(_, found)| Some(found.conf)))),
        ("bbox_x1", side(0)),
        ("bbox_y1", side(1)),
        ("bbox_x2", side(2)),
        ("bbox_y2", side(3)),
        ("track_id", long(all.iter().map(|(_, found)| found.track_id))),
    ])
}

fn zone_rows(zones: &Zones) -> RecordBatch {
    let all = zones.of(&store(), &camera()).all();
    let points: Vec<_> = all.iter().map(|zone| zone.shape.points()).collect();
    batch(vec![
        ("store_id", text(all.iter().map(|zone| Some(zone.store.as_str())))),
        ("camera_id", text(all.iter().map(|zone| Some(zone.camera.as_str())))),
        ("name", text(all.iter().map(|zone| Some(&*zone.name)))),
        ("kind", text(all.iter().map(|zone| Some(zone.shape.kind())))),
        ("points", text(points.iter().map(|points| Some(points.as_str())))),
        ("valid_from", times(all.iter().map(|zone| Some(zone.valid_from_us)))),
        ("valid_to", times(all.iter().map(|zone| zone.valid_to_us))),
    ])
}

/// Rows as text, cell by cell: nulls, bits of doubles and all.
fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()),
        );
    }
    rows
}

const NAMES: [&str; 10] = [
    "minute_by_cam",
    "hour_by_cam",
    "people_per_minute",
    "camera_minute",
    "zone_heatmap",
    "zone_dwell",
    "track_summary",
    "line_crossings",
    // Before the next one, which reads it.
    "zone_visits",
    "zone_minute",
];

/// What `rva-analytics` says, in the columns of the contract.
fn ours(table: &str, rows: &HourRows) -> RecordBatch {
    let camera_of = |camera: &rva_analytics::CameraKey| (camera.store.to_string(), camera.camera.to_string());
    let keyed = |keys: Vec<(String, String)>, rest: Vec<(&'static str, ArrayRef)>| {
        let mut columns = vec![
            ("store_id", text(keys.iter().map(|key| Some(key.0.as_str())))),
            ("camera_id", text(keys.iter().map(|key| Some(key.1.as_str())))),
        ];
        columns.extend(rest);
        batch(columns)
    };
    match table {
        "minute_by_cam" => {
            let all = || rows.minute.iter();
            keyed(
                all().map(|row| camera_of(&row.camera)).collect(),
                vec![
                    ("ts_minute", times(all().map(|row| Some(row.minute_us)))),
                    ("detection_count", long(all().map(|row| Some(row.detection_count)))),
                    ("unique_tracks", long(all().map(|row| Some(row.unique_tracks)))),
                    ("avg_conf", double(all().map(|row| row.avg_conf))),
                    ("bbox_area_ratio_avg", double(all().map(|row| row.bbox_area_ratio_avg))),
                ],
            )
        }
        "hour_by_cam" => {
            let all = || rows.hour.iter();
            keyed(
                all().map(|row| camera_of(&row.hour.camera_key())).collect(),
                vec![
                    ("ts_hour", times(all().map(|row| Some(row.hour.hour_us)))),
                    ("detection_count", long(all().map(|row| Some(row.detection_count)))),
                    ("unique_tracks", long(all().map(|row| Some(row.unique_tracks)))),
                    ("avg_conf", double(all().map(|row| row.avg_conf))),
                ],
            )
        }
        "people_per_minute" => {
            let all = || rows.people.iter();
            keyed(
                all().map(|row| camera_of(&row.camera)).collect(),
                vec![
                    ("ts_minute", times(all().map(|row| Some(row.minute_us)))),
                    ("detections", long(all().map(|row| Some(row.detections)))),
                    ("unique_people", long(all().map(|row| Some(row.unique_people)))),
                    ("frames", long(all().map(|row| Some(row.frames)))),
                    ("people_max", whole(all().map(|row| row.people_max))),
                    ("people_avg", double(all().map(|row| row.people_avg))),
                ],
            )
        }
        "camera_minute" => {
            let all = || rows.camera_minute.iter();
            keyed(
                all().map(|row| camera_of(&row.camera)).collect(),
                vec![
                    ("ts_minute", times(all().map(|row| Some(row.minute_us)))),
                    ("frames", long(all().map(|row| Some(row.frames)))),
                    ("first_ts", times(all().map(|row| Some(row.first_us)))),
                    ("last_ts", times(all().map(|row| Some(row.last_us)))),
                    ("longest_gap_seconds", double(all().map(|row| Some(row.longest_gap_us as f64 / 1e6)))),
                    ("runs", long(all().map(|row| Some(row.runs)))),
                ],
            )
        }
        "zone_heatmap" => {
            let all = || rows.zone_heatmap.iter();
            keyed(
                all().map(|row| camera_of(&row.key.hour.camera_key())).collect(),
                vec![
                    ("ts_hour", times(all().map(|row| Some(row.key.hour.hour_us)))),
                    ("zone_x", whole(all().map(|row| i32::from(row.key.cell.0)))),
                    ("zone_y", whole(all().map(|row| i32::from(row.key.cell.1)))),
                    ("hits", long(all().map(|row| Some(row.hits)))),
                    ("unique_tracks", long(all().map(|row| Some(row.unique_tracks)))),
                ],
            )
        }
        "zone_dwell" => {
            let all = || rows.zone_dwell.iter();
            keyed(
                all().map(|row| camera_of(&row.key.hour.camera_key())).collect(),
                vec![
                    ("ts_hour", times(all().map(|row| Some(row.key.hour.hour_us)))),
                    ("zone_x", whole(all().map(|row| i32::from(row.key.cell.0)))),
                    ("zone_y", whole(all().map(|row| i32::from(row.key.cell.1)))),
                    ("visits", long(all().map(|row| Some(row.dwell.visits)))),
                    ("total_dwell_seconds", double(all().map(|row| Some(row.total_seconds())))),
                    ("avg_dwell_seconds", double(all().map(|row| row.avg_seconds()))),
                ],
            )
        }
        "track_summary" => {
            let all = || rows.track_summary.iter().map(|row| (&row.key, &row.summary));
            let of =
                |value: fn(&rva_analytics::TrackSummary) -> f64| double(all().map(move |(_, row)| Some(value(row))));
            keyed(
                all().map(|(key, _)| (key.store.to_string(), key.camera.to_string())).collect(),
                vec![
                    ("pipeline_run_id", text(rows.track_summary.iter().map(|row| Some(row.key.run.as_str())))),
                    ("track_id", long(all().map(|(key, _)| Some(key.track_id)))),
                    ("frames", long(all().map(|(_, row)| Some(row.frames)))),
                    ("start_time", times(all().map(|(_, row)| Some(row.start_us)))),
                    ("end_time", times(all().map(|(_, row)| Some(row.end_us)))),
                    ("duration_seconds", of(|row| row.duration_seconds())),
                    ("min_x", of(|row| row.min_x)),
                    ("max_x", of(|row| row.max_x)),
                    ("delta_x", of(|row| row.max_x - row.min_x)),
                    ("min_y", of(|row| row.min_y)),
                    ("max_y", of(|row| row.max_y)),
                    ("delta_y", of(|row| row.max_y - row.min_y)),
                    ("avg_x", of(|row| row.avg_x)),
                    ("avg_y", of(|row| row.avg_y)),
                    ("avg_conf", of(|row| row.avg_conf)),
                ],
            )
        }
        "line_crossings" => {
            let all = || rows.line_crossings.iter().map(|row| (&row.key, &row.crossing));
            keyed(
                all().map(|(key, _)| (key.store.to_string(), key.camera.to_string())).collect(),
                vec![
                    ("pipeline_run_id", text(rows.line_crossings.iter().map(|row| Some(row.key.run.as_str())))),
                    ("track_id", long(all().map(|(key, _)| Some(key.track_id)))),
                    ("line", text(rows.line_crossings.iter().map(|row| Some(&*row.crossing.line)))),
                    ("crossing", long(all().map(|(_, row)| Some(i64::from(row.number))))),
                    ("crossed_at", times(all().map(|(_, row)| Some(row.at_us)))),
                    ("direction", text(all().map(|(_, row)| Some(row.direction.word())))),
                    ("x", double(all().map(|(_, row)| Some(row.anchor.x)))),
                    ("y", double(all().map(|(_, row)| Some(row.anchor.y)))),
                ],
            )
        }
        "zone_visits" => {
            let all = || rows.zone_visits.iter().map(|row| (&row.key, &row.visit));
            keyed(
                all().map(|(key, _)| (key.store.to_string(), key.camera.to_string())).collect(),
                vec![
                    ("pipeline_run_id", text(rows.zone_visits.iter().map(|row| Some(row.key.run.as_str())))),
                    ("track_id", long(all().map(|(key, _)| Some(key.track_id)))),
                    ("zone", text(rows.zone_visits.iter().map(|row| Some(&*row.visit.zone)))),
                    ("visit", long(all().map(|(_, row)| Some(i64::from(row.number))))),
                    ("entered_at", times(all().map(|(_, row)| Some(row.entered_us)))),
                    ("left_at", times(all().map(|(_, row)| Some(row.left_us)))),
                    ("dwell_seconds", double(all().map(|(_, row)| Some(row.dwell_seconds())))),
                ],
            )
        }
        "zone_minute" => {
            let all = || rows.zone_minute.iter();
            keyed(
                all().map(|row| camera_of(&row.camera)).collect(),
                vec![
                    ("zone", text(rows.zone_minute.iter().map(|row| Some(&*row.zone)))),
                    ("ts_minute", times(all().map(|row| Some(row.minute_us)))),
                    ("frames", long(all().map(|row| Some(row.frames)))),
                    ("people_max", whole(all().map(|row| row.people_max))),
                    ("people_avg", double(all().map(|row| row.people_avg))),
                    ("entered", long(all().map(|row| Some(row.entered)))),
                    ("left", long(all().map(|row| Some(row.left)))),
                    ("dwell_seconds", double(all().map(|row| Some(row.dwell_us as f64 / 1e6)))),
                ],
            )
        }
        other => panic!("no table {other}"),
    }
}

async fn theirs(context: &SessionContext, table: &str) -> Vec<RecordBatch> {
    let path = format!("{}/../../data/queries/gold/{table}.sql", env!("CARGO_MANIFEST_DIR"));
    let query = std::fs::read_to_string(&path).unwrap();
    let frame = context.sql(&query).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    frame.collect().await.unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn compare(seeds: std::ops::Range<u64>) -> Vec<usize> {
    let zones = zones();
    let mut counts = vec![0; NAMES.len()];
    for seed in seeds {
        let frames = scene(seed);
        let mut context = SessionContext::new();
        datafusion_functions_json::register_all(&mut context).unwrap();
        context.register_batch("silver_frames", silver_frames(&frames)).unwrap();
        context.register_batch("silver_detections", silver_detections(&frames)).unwrap();
        context.register_batch("zones", zone_rows(&zones)).unwrap();
        let rows = rows(&frames, &zones);
        for (at, table) in NAMES.into_iter().enumerate() {
            let found = theirs(&context, table).await;
            if table == "zone_visits" {
                let schema = found.first().map_or_else(|| panic!("no columns"), RecordBatch::schema);
                let visits = MemTable::try_new(schema, vec![found.clone()]).unwrap();
                context.register_table("gold_zone_visits", Arc::new(visits)).unwrap();
            }
            let (mut ours, mut theirs) = (cells(&[ours(table, &rows)]), cells(&found));
            ours.sort();
            theirs.sort();
            counts[at] += theirs.len();
            assert_eq!(ours, theirs, "gold_{table} of seed {seed}");
        }
    }
    counts
}

/// DataFusion's planner recurses deeply without optimisation.
#[test]
fn each_table_equals_its_defining_sql() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(0..12))
    });
    let counts = thread.unwrap().join().unwrap();
    println!("rows compared: {:?}", NAMES.iter().zip(&counts).collect::<Vec<_>>());
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

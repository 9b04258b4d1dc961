//! Refreshes of tables that grow to a year.

use crate::{MIDNIGHT, bronze_row, people::Camera};
use rva_lake::{Batch, HousekeepingLimits, Lake, LakeOptions, MergeLimits, TableSink};
use rva_refine::Refine;
use rva_testkit::measure::{cpu_seconds, median, sizes, status_kib};
use rva_types::{OffsetMap, Position, Timestamp};
use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

const CAMERAS: usize = 20;
const YEAR_SECONDS: f64 = 365.0 * 86_400.0;

/// The frames of a camera in a refresh, a second apart.
const FRAMES: u64 = 3;

/// The refreshes whose median stands for those around them, and those between two lines.
const WINDOW: usize = 100;

/// The refreshes between two looks of maintenance: a day of the 10,000 of a year. A service looks each ten minutes.
const LOOK_EVERY: usize = 27;

pub async fn run(folder: &Path, refreshes: usize) {
    let mut options = LakeOptions::default();
    // Hours pass in minutes here.
    let housekeeping = HousekeepingLimits { orphan_age: Duration::from_secs(60), ..options.housekeeping };
    options.housekeeping = HousekeepingLimits { walk_every: Duration::from_secs(60), ..housekeeping };
    let lake = Lake::open_embedded(folder, options).await.unwrap();
    let limits = MergeLimits { age_min: Duration::ZERO, ..MergeLimits::default() };
    let mut maintenance = lake.maintenance(None, &limits).unwrap();
    let mut looked = SystemTime::now();
    let mut sink = lake.bronze_sink().unwrap();
    let mut refine = Refine::open(&lake, rva_analytics::Rules::default()).await.unwrap();
    let step_us = (YEAR_SECONDS / refreshes as f64 * 1e6) as i64;
    let (mut from, mut rows_written) = (OffsetMap::new(), 0);
    let (mut times, mut cpus) = (Vec::new(), Vec::new());
    println!("what,refreshes,value,unit");
    for at in 1..=refreshes {
        let start = Timestamp::from_micros(MIDNIGHT + at as i64 * step_us);
        let mut rows = Vec::new();
        for number in 0..CAMERAS {
            let mut camera = Camera::new(number, 1.0, start, 2.0, false);
            rows.extend((1..=FRAMES).map(|index| bronze_row(&mut camera, index).0));
        }
        rows_written += rows.len() as u64;
        let mut to = from.clone();
        to.advance("log", Position::of_record(rows_written));
        let batch = Batch { source: "shop year".into(), from, to: to.clone(), rows };
        sink.commit(&batch).await.unwrap();
        from = to;
        let (began, cpu) = (Instant::now(), cpu_seconds());
        refine.drain().await.unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e3);
        cpus.push((cpu_seconds() - cpu) * 1e3);
        if at % LOOK_EVERY == 0 {
            let began = SystemTime::now();
            maintenance.merge(std::mem::replace(&mut looked, began)).await.unwrap();
        }
        if at == WINDOW || at % 500 == 0 || at == refreshes {
            let recent = times.len().saturating_sub(WINDOW);
            println!("refresh (median of {WINDOW}),{at},{:.1},ms", median(&times[recent..]));
            let mean = cpus[recent..].iter().sum::<f64>() / (cpus.len() - recent) as f64;
            println!("processor of a refresh (mean of {WINDOW}),{at},{mean:.1},ms");
            // Without those in which a table's folder is looked through: once a day, but once a minute here.
            println!("processor of a refresh (median of {WINDOW}),{at},{:.1},ms", median(&cpus[recent..]));
            println!("resident memory,{at},{},MiB", status_kib("VmRSS") / 1024);
            let (files, bytes) = sizes(&folder.join("warehouse"), &[".avro", ".metadata.json"]);
            println!("metadata,{at},{files},files\nmetadata,{at},{:.1},MB", bytes as f64 / 1e6);
            let (files, bytes) = sizes(&folder.join("warehouse"), &[".parquet"]);
            println!("data,{at},{files},files\ndata,{at},{:.1},MB", bytes as f64 / 1e6);
        }
    }
}

//! A data folder whose bronze grows, and the two ways to know what gold must be.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use rva_lake::{Lake, SqlOptions};

#[path = "shop.rs"]
mod shop;
pub use shop::*;

/// The defining SQL of every table that has one.
pub const DEFINED: [(&str, &str); 10] = [
    ("gold_minute_by_cam", include_str!("../../../../data/queries/gold/minute_by_cam.sql")),
    ("gold_hour_by_cam", include_str!("../../../../data/queries/gold/hour_by_cam.sql")),
    ("gold_people_per_minute", include_str!("../../../../data/queries/gold/people_per_minute.sql")),
    ("gold_camera_minute", include_str!("../../../../data/queries/gold/camera_minute.sql")),
    ("gold_zone_heatmap", include_str!("../../../../data/queries/gold/zone_heatmap.sql")),
    ("gold_zone_dwell", include_str!("../../../../data/queries/gold/zone_dwell.sql")),
    ("gold_track_summary", include_str!("../../../../data/queries/gold/track_summary.sql")),
    ("gold_line_crossings", include_str!("../../../../data/queries/gold/line_crossings.sql")),
    ("gold_zone_visits", include_str!("../../../../data/queries/gold/zone_visits.sql")),
    ("gold_zone_minute", include_str!("../../../../data/queries/gold/zone_minute.sql")),
];

pub async fn sql(lake: &Lake, text: &str) -> Vec<Vec<String>> {
    let answer = lake.sql_with(text, &SqlOptions::default()).await;
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {text}"));
    cells(&answer.collect().await.unwrap())
}

/// Rows as text, cell by cell, nulls too.
fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>()),
        );
    }
    rows.sort();
    rows
}

/// Whether two cells say the same, doubles to 1e-9.
fn same(one: &str, other: &str) -> bool {
    one == other
        || matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(a), Ok(b)) if (a - b).abs() <= 1e-9 * a.abs().max(1.0))
}

/// Every table that has a definition in SQL equals it, and silver holds each row of bronze once. Returns how many rows
/// of gold were compared.
pub async fn assert_equal(lake: &Lake, place: &str) -> usize {
    let count = async |text: &str| sql(lake, text).await[0][0].parse::<u64>().unwrap();
    let bronze = count("SELECT count(*) FROM bronze_raw").await;
    let frames = count("SELECT count(*) FROM silver_frames").await;
    let whole = count("SELECT count(*) FROM silver_rejects WHERE det_id IS NULL").await;
    assert_eq!(bronze, frames + whole, "{place}: R1");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM silver_frames GROUP BY pipeline_run_id, store_id, camera_id, \
                 frame_index HAVING count(*) > 1)";
    assert_eq!(count(twice).await, 0, "{place}: a frame twice");
    let detections = count("SELECT count(*) FROM silver_detections").await;
    let of_frames = count("SELECT coalesce(sum(detections), 0) FROM silver_frames").await;
    assert_eq!(detections, of_frames, "{place}: detections");
    let mut rows = 0;
    for (table, definition) in DEFINED {
        let wanted = sql(lake, definition).await;
        let found = sql(lake, &format!("SELECT * FROM {table}")).await;
        let differ = wanted.iter().zip(&found).find(|(a, b)| !a.iter().zip(b.iter()).all(|(a, b)| same(a, b)));
        assert!(differ.is_none(), "{place}: {table}: wanted and found {differ:#?}");
        assert_eq!(found.len(), wanted.len(), "{place}: {table}: rows");
        rows += found.len();
    }
    rows
}

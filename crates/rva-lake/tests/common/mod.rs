//! What the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part; a panic is how a test fails")]

use rva_lake::{Lake, LakeOptions, MergeLimits};
#[allow(unused_imports, reason = "each test uses a part of it")]
pub use rva_testkit::{
    folder,
    lake::{SOURCE, at, batch, quick, row, row_of},
};
use rva_types::Timestamp;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub async fn opened(dir: &Path, options: LakeOptions) -> Lake {
    Lake::open_embedded(dir, options).await.unwrap()
}

/// Every file that is there may be merged.
pub fn all() -> MergeLimits {
    MergeLimits { files_min: 2, age_min: Duration::ZERO, ..MergeLimits::default() }
}

/// A moment at which all that is there has been written.
pub fn soon() -> SystemTime {
    SystemTime::now() + Duration::from_secs(1)
}

/// The folder of the bronze table of a data folder.
pub fn bronze_folder(data_dir: &std::path::Path) -> std::path::PathBuf {
    let folders = std::fs::read_dir(data_dir.join("warehouse/rva")).unwrap().map(|entry| entry.unwrap().path());
    let is_bronze = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("bronze_raw-");
    folders.into_iter().find(is_bronze).unwrap()
}

/// Every (run, camera, frame index) of the table, sorted, read through iceberg's own scan.
pub async fn table_keys(lake: &rva_lake::Lake) -> Vec<(String, String, i64)> {
    use arrow::array::AsArray;
    use futures::TryStreamExt;
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let scan = table.scan().select(["pipeline_run_id", "camera_id", "frame_index"]).build().unwrap();
    let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
    let mut keys = Vec::new();
    for batch in batches {
        let (runs, cameras) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let frames = batch.column(2).as_primitive::<arrow::datatypes::Int64Type>();
        for at in 0..batch.num_rows() {
            keys.push((runs.value(at).to_owned(), cameras.value(at).to_owned(), frames.value(at)));
        }
    }
    keys.sort();
    keys
}

/// The keys of a run on `cam_01`.
pub fn keys_of(run: &str, frames: impl IntoIterator<Item = i64>) -> Vec<(String, String, i64)> {
    frames.into_iter().map(|frame| (run.to_owned(), "cam_01".to_owned(), frame)).collect()
}

/// Every row of the dead-letter table.
pub async fn dead_letters(lake: &rva_lake::Lake) -> Vec<rva_types::DeadLetter> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
    use futures::TryStreamExt;
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_dead_letters"]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let stream = table.scan().select_all().build().unwrap().to_arrow().await.unwrap();
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let text = |at: usize, name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(at).to_owned();
        let time = |at: usize, name: &str| {
            let column = batch.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>();
            Timestamp::from_micros(column.value(at))
        };
        for at in 0..batch.num_rows() {
            let pairs = batch.column_by_name("properties").unwrap().as_map().value(at);
            let (keys, values) = (pairs.column(0).as_string::<i32>(), pairs.column(1).as_string::<i32>());
            let pairs = (0..pairs.len()).map(|i| (keys.value(i).to_owned(), values.value(i).to_owned()));
            let code = text(at, "reason");
            rows.push(rva_types::DeadLetter {
                topic: text(at, "topic"),
                partition: batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>().value(at),
                message_id: text(at, "message_id"),
                publish_ts: time(at, "publish_ts"),
                reason: rva_types::RejectionReason::ALL.into_iter().find(|reason| reason.code() == code).unwrap(),
                detail: text(at, "detail"),
                raw: batch.column_by_name("raw").unwrap().as_binary::<i64>().value(at).to_vec(),
                properties: pairs.collect(),
                ingest_ts: time(at, "ingest_ts"),
            });
        }
    }
    rows
}

/// What another engine does to the bronze table: any change of its metadata, swapped in on the catalog's database.
/// (iceberg builds a `TableCommit` only inside itself.)
pub async fn change_metadata(
    data_dir: &std::path::Path,
    catalog: &dyn iceberg::Catalog,
    change: impl FnOnce(iceberg::spec::TableMetadataBuilder) -> iceberg::Result<iceberg::spec::TableMetadataBuilder>,
) {
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = catalog.load_table(&ident).await.unwrap();
    let builder = table.metadata().clone().into_builder(table.metadata_location().map(str::to_owned));
    let metadata = change(builder).unwrap().build().unwrap().metadata;
    swap_metadata(data_dir, &table, &metadata).await;
}

/// The table as changed by somebody whose clock is ahead.
pub async fn change_in_the_future(data_dir: &std::path::Path, catalog: &dyn iceberg::Catalog, ahead_ms: i64) {
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = catalog.load_table(&ident).await.unwrap();
    let mut json = serde_json::to_value(table.metadata()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json["last-updated-ms"] = (i64::try_from(now.as_millis()).unwrap() + ahead_ms).into();
    let metadata = serde_json::from_value(json).unwrap();
    swap_metadata(data_dir, &table, &metadata).await;
}

async fn swap_metadata(
    data_dir: &std::path::Path,
    table: &iceberg::table::Table,
    metadata: &iceberg::spec::TableMetadata,
) {
    use sqlx::Connection;
    let old = table.metadata_location().unwrap();
    let location: iceberg::MetadataLocation = old.parse().unwrap();
    let location = location.with_next_version();
    metadata.write_to(table.file_io(), &location).await.unwrap();
    let url = format!("sqlite://{}", data_dir.join("catalog.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let swap = "UPDATE iceberg_tables SET metadata_location = ? WHERE metadata_location = ?";
    let swapped = sqlx::query(swap).bind(location.to_string()).bind(old).execute(&mut connection).await.unwrap();
    assert_eq!(swapped.rows_affected(), 1);
}

//! Keys of the bronze tables, each as often as it is there.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use iceberg::TableIdent;
use rva_lake::Lake;

/// Run, camera, frame.
pub type Key = (String, String, i64);

pub fn bronze_ident() -> TableIdent {
    TableIdent::from_strs(["rva", "bronze_raw"]).unwrap()
}

#[allow(dead_code, reason = "not every test that has this module looks at dead letters")]
pub fn dead_ident() -> TableIdent {
    TableIdent::from_strs(["rva", "bronze_dead_letters"]).unwrap()
}

pub async fn scan<const N: usize>(
    lake: &Lake,
    ident: &TableIdent,
    columns: [&str; N],
) -> iceberg::Result<Vec<RecordBatch>> {
    let table = lake.catalog().load_table(ident).await?;
    table.scan().select(columns).build()?.to_arrow().await?.try_collect().await
}

pub fn text(batch: &RecordBatch, column: &str, row: usize) -> String {
    batch.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned()
}

pub async fn bronze_keys(lake: &Lake) -> iceberg::Result<Vec<Key>> {
    let mut keys = Vec::new();
    for batch in scan(lake, &bronze_ident(), ["pipeline_run_id", "camera_id", "frame_index"]).await? {
        let frames = batch.column_by_name("frame_index").unwrap().as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            keys.push((text(&batch, "pipeline_run_id", row), text(&batch, "camera_id", row), frames.value(row)));
        }
    }
    Ok(keys)
}

//! A row of `rva.bronze_deletions`.

use crate::rows::{TableRow, strings, times};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use iceberg::spec::{PrimitiveType, Transform, Type};
use rva_types::Timestamp;
use std::sync::Arc;

/// The columns that a lookup reads.
pub(crate) const COLUMNS: &[&str] = &["pipeline_run_id", "camera_id", "first_frame", "last_frame", "snapshot_id"];

/// Frame indexes that were deleted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub run: String,
    pub camera: String,
    pub first: i64,
    pub last: i64,
    /// The snapshot of bronze that took the rows away.
    pub snapshot: i64,
    pub noted: Timestamp,
}

impl TableRow for Deletion {
    const TABLE: &'static str = "bronze_deletions";
    const PARTITION: &'static [(&'static str, Transform)] = &[];
    const PLAIN: &'static [&'static str] = &[];
    const BLOOM: &'static str = "pipeline_run_id";
    const SORTED_BY: &'static [&'static str] = &["pipeline_run_id", "camera_id", "first_frame"];

    fn columns() -> Vec<(&'static str, Type)> {
        let (text, long) = (Type::Primitive(PrimitiveType::String), Type::Primitive(PrimitiveType::Long));
        let kinds = [text.clone(), text, long.clone(), long.clone(), long, Type::Primitive(PrimitiveType::Timestamptz)];
        COLUMNS.iter().copied().chain(["noted_ts"]).zip(kinds).collect()
    }

    fn size_bytes(&self) -> usize {
        self.run.len() + self.camera.len() + 64
    }

    fn bloom(&self) -> &str {
        &self.run
    }

    fn column(name: &str, _kind: &DataType, rows: &[&Self]) -> Result<Option<ArrayRef>, ArrowError> {
        let rows = rows.iter();
        let longs = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        Ok(Some(match name {
            "pipeline_run_id" => strings(rows.map(|row| row.run.as_str())),
            "camera_id" => strings(rows.map(|row| row.camera.as_str())),
            "first_frame" => longs(rows.map(|row| row.first).collect()),
            "last_frame" => longs(rows.map(|row| row.last).collect()),
            "snapshot_id" => longs(rows.map(|row| row.snapshot).collect()),
            "noted_ts" => times(rows.map(|row| row.noted)),
            _ => return Ok(None),
        }))
    }
}

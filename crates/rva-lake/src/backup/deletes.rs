//! Deletes by position: files that name other files in their rows.

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use iceberg::spec::{DataFile, DataFileFormat};
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

/// Iceberg's number of the column with the path of the file whose row is hidden.
pub(crate) const PATH_FIELD: i32 = 2_147_483_546;

/// The column's name, which Iceberg fixes too.
const PATH: &str = "file_path";

/// Returns a file of deletes whose rows name other places.
pub(crate) fn moved_deletes(bytes: Bytes, file: &DataFile, moved: impl Fn(&str) -> String) -> Result<Bytes> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::DataInvalid, format!("could not write {} anew: {error}", file.file_path()))
    };
    if file.file_format() != DataFileFormat::Parquet {
        let text = format!("found {} as {}, wanted deletes in Parquet", file.file_path(), file.file_format());
        return Err(Error::new(ErrorKind::FeatureUnsupported, text));
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| failed(&error))?;
    let schema = builder.schema().clone();
    let (at, field) = schema.column_with_name(PATH).ok_or_else(|| failed(&"found no column file_path"))?;
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), None).map_err(|error| failed(&error))?;
    for batch in builder.build().map_err(|error| failed(&error))? {
        let batch = batch.map_err(|error| failed(&error))?;
        let paths = cast(batch.column(at), &DataType::Utf8).map_err(|error| failed(&error))?;
        let paths: StringArray = paths.as_string::<i32>().iter().map(|path| path.map(&moved)).collect();
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns[at] = cast(&(Arc::new(paths) as ArrayRef), field.data_type()).map_err(|error| failed(&error))?;
        let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| failed(&error))?;
        writer.write(&batch).map_err(|error| failed(&error))?;
    }
    Ok(writer.into_inner().map_err(|error| failed(&error))?.into())
}

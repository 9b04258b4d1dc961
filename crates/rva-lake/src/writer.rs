//! Rows to data files: zstd Parquet whose statistics can be trusted.

use crate::errors::{lake_error, permanent};
use crate::location::{EncodedLocations, UniqueNames};
use crate::options::LakeOptions;
use crate::rows::TableRow;
use crate::seam::LakeError;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use iceberg::arrow::{RecordBatchPartitionSplitter, schema_to_arrow_schema};
use iceberg::spec::{DataFile, PartitionKey};
use iceberg::table::Table;
use iceberg::writer::base_writer::data_file_writer::{DataFileWriter, DataFileWriterBuilder};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows are turned into Arrow in pieces of about this size, which bounds what the conversion holds.
const CHUNK_BYTES: usize = 1 << 20;

/// Pages of half the usual size: a page is held twice while it is compressed, and the files are no larger.
const PAGE_BYTES: usize = 512 << 10;

/// After how many rows a page's size is looked at: a thousand, the usual number, are a megabyte of records.
const PAGE_CHECK_ROWS: usize = 256;

/// Level 3 of zstd: JSON shrinks about tenfold, and it is the level other engines write.
const ZSTD_LEVEL: i32 = 3;

/// iceberg derives a file's bounds from those of its row groups and skips one whose statistics were cut off, so bounds
/// could exclude rows that are there: nothing is cut off, and columns of free text have no statistics at all.
fn properties<R: TableRow>(options: &LakeOptions) -> Result<WriterProperties, LakeError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|error| permanent("set the compression level", error))?;
    let path = |name: &str| ColumnPath::new(name.split('.').map(str::to_owned).collect());
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_truncate_length(None)
        .set_column_index_truncate_length(None)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(options.row_group_bytes))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_CHECK_ROWS);
    for name in R::PLAIN {
        builder = builder
            .set_column_statistics_enabled(path(name), EnabledStatistics::None)
            .set_column_dictionary_enabled(path(name), false);
    }
    for name in R::BLOOM {
        // Few distinct values a row group: a run is thousands of rows.
        builder =
            builder.set_column_bloom_filter_enabled(path(name), true).set_column_bloom_filter_ndv(path(name), 1000);
    }
    Ok(builder.build())
}

type Builder = DataFileWriterBuilder<ParquetWriterBuilder, EncodedLocations, UniqueNames>;
type Writer = DataFileWriter<ParquetWriterBuilder, EncodedLocations, UniqueNames>;

/// Writers, one a table partition, each written in one go.
struct Writers {
    builder: Builder,
    splitter: Option<RecordBatchPartitionSplitter>,
    open: Vec<Writer>,
    closed: Vec<DataFile>,
}

impl Writers {
    /// Writes the rows of one partition.
    async fn write<R: TableRow>(&mut self, schema: &SchemaRef, rows: &[&R]) -> iceberg::Result<()> {
        let mut writer = None;
        let chunks = chunks(rows);
        let is_large = chunks.len() > 1;
        for chunk in chunks {
            let batch = R::batch(schema, chunk).map_err(|error| {
                iceberg::Error::new(iceberg::ErrorKind::DataInvalid, "build an Arrow batch").with_source(error)
            })?;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(self.builder.build(self.key_of(&batch)?).await?),
            };
            writer.write(batch).await?;
        }
        let Some(mut writer) = writer else { return Ok(()) };
        if is_large {
            // What it holds is worth more than the wait.
            self.closed.extend(writer.close().await?);
        } else {
            self.open.push(writer);
        }
        Ok(())
    }

    /// The partition of a batch whose rows are all in one.
    fn key_of(&self, batch: &RecordBatch) -> iceberg::Result<Option<PartitionKey>> {
        let Some(splitter) = &self.splitter else { return Ok(None) };
        Ok(splitter.split(&batch.slice(0, 1))?.into_iter().next().map(|(key, _)| key))
    }

    /// The small ones all at once: on an object store each close is a round trip.
    async fn close(self) -> iceberg::Result<Vec<DataFile>> {
        let closing = self.open.into_iter().map(|mut writer| async move { writer.close().await });
        let small = futures::future::try_join_all(closing).await?;
        Ok(self.closed.into_iter().chain(small.into_iter().flatten()).collect())
    }
}

/// Pieces of about [`CHUNK_BYTES`], a row at least.
fn chunks<'a, 'b, R: TableRow>(mut rest: &'a [&'b R]) -> Vec<&'a [&'b R]> {
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let mut bytes = 0;
        let length = rest.iter().take_while(|row| {
            let first = bytes == 0;
            bytes += row.size_bytes();
            first || bytes <= CHUNK_BYTES
        });
        let (chunk, later) = rest.split_at(length.count());
        chunks.push(chunk);
        rest = later;
    }
    chunks
}

/// Writes rows as files of the table's current schema and partition spec. The files are durable when this returns.
///
/// # Errors
/// As the storage says; nothing that was written is referenced by the table.
pub(crate) async fn write_files<R: TableRow>(
    table: &Table,
    rows: &[&R],
    options: &LakeOptions,
) -> Result<Vec<DataFile>, LakeError> {
    let metadata = table.metadata();
    let schema = metadata.current_schema().clone();
    let arrow_schema: SchemaRef =
        Arc::new(schema_to_arrow_schema(&schema).map_err(|error| lake_error("derive the Arrow schema", error))?);
    let spec = metadata.default_partition_spec().clone();
    let splitter = if spec.is_unpartitioned() {
        None
    } else {
        let splitter = RecordBatchPartitionSplitter::try_new_with_computed_values(schema.clone(), spec);
        Some(splitter.map_err(|error| lake_error("split rows by partition", error))?)
    };
    let builder = DataFileWriterBuilder::new(RollingFileWriterBuilder::new(
        ParquetWriterBuilder::new(properties::<R>(options)?, schema),
        options.file_bytes_max,
        table.file_io().clone(),
        EncodedLocations::of(metadata),
        UniqueNames,
    ));
    let mut writers = Writers { builder, splitter, open: Vec::new(), closed: Vec::new() };
    let failed = |error| lake_error(format_args!("write data files of {}", table.identifier()), error);
    // One partition after the other, in the log's order within each: what is written holds one row group, not one of each.
    let mut partitions: BTreeMap<&str, Vec<&R>> = BTreeMap::new();
    for row in rows {
        partitions.entry(row.partition()).or_default().push(row);
    }
    for rows in partitions.into_values() {
        writers.write(&arrow_schema, &rows).await.map_err(failed)?;
    }
    writers.close().await.map_err(failed)
}

//! The way from rows to data files: zstd Parquet whose statistics can be trusted.

use crate::errors::{lake_error, permanent};
use crate::location::{EncodedLocations, UniqueNames};
use crate::options::LakeOptions;
use crate::partition::{PartitionRows, Partitioner};
use crate::rows::TableRow;
use crate::seam::LakeError;
use arrow::datatypes::SchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::HashSet;
use std::sync::Arc;

/// The bytes, about, of the pieces in which rows are turned into Arrow, which bounds what the conversion holds.
const CHUNK_BYTES: usize = 1 << 20;

/// The bytes of a page, half the usual size: a page is held twice while it is compressed, and the files are no larger.
const PAGE_BYTES: usize = 512 << 10;

/// The rows after which a page's size is looked at: a thousand, the usual number, are a megabyte of records.
const PAGE_CHECK_ROWS: usize = 256;

/// The level of zstd: JSON shrinks about tenfold, and it is the level other engines write.
const ZSTD_LEVEL: i32 = 3;

/// The number of files that are written at the same time: on an object store each is a round trip, and each is a
/// descriptor.
const FILES_AT_ONCE: usize = 32;

/// The bytes that rows of files which are written at the same time have together, at most.
const BYTES_AT_ONCE: usize = 4 << 20;

/// The share of wrong answers of a bloom filter that says yes although it should say no.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// The number of distinct values beyond which a filter grows no more: it is a megabyte then, and says yes more often.
const BLOOM_VALUES_MAX: usize = 800_000;

/// The rows below which a file has no dictionaries and no bounds of pages: they would be larger than what they serve.
const SMALL_ROWS: usize = 32;

/// The rows of a file, as far as its form depends on them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowCount {
    pub rows: usize,
    /// The number of values that the column with the filter has.
    pub blooms: usize,
}

/// Returns the properties that a file of so many rows is written with.
///
/// iceberg derives a file's bounds from those of its row groups and skips one whose statistics were cut off, so bounds
/// could exclude rows that are there: nothing is cut off, and columns of free text have no statistics at all.
fn properties<R: TableRow>(options: &LakeOptions, count: RowCount) -> Result<WriterProperties, LakeError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|error| permanent("set the compression level", error))?;
    let path = |name: &str| ColumnPath::new(name.split('.').map(str::to_owned).collect());
    let is_small = count.rows < SMALL_ROWS;
    let statistics = if is_small { EnabledStatistics::Chunk } else { EnabledStatistics::Page };
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(!is_small)
        .set_offset_index_disabled(is_small)
        .set_statistics_enabled(statistics)
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
    // The writer folds the filter of a row group that holds fewer than the file.
    let distinct = count.blooms.clamp(1, BLOOM_VALUES_MAX) as u64;
    builder = builder
        .set_column_bloom_filter_enabled(path(R::BLOOM), true)
        .set_column_bloom_filter_fpp(path(R::BLOOM), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_ndv(path(R::BLOOM), distinct);
    Ok(builder.build())
}

/// Returns the number of values that the column with the filter has.
fn distinct_blooms<R: TableRow>(rows: &[&R]) -> usize {
    let mut seen = HashSet::new();
    let mut last = None;
    for row in rows {
        let value = row.bloom();
        if last != Some(value) {
            seen.insert(value);
            last = Some(value);
        }
    }
    seen.len()
}

/// The builder of the writers of data files.
pub(crate) type FilesBuilder = DataFileWriterBuilder<ParquetWriterBuilder, EncodedLocations, UniqueNames>;

/// Returns the builder of the writers of files of the table's current schema. A file is closed at `bytes_max`.
///
/// # Errors
/// Returns `Permanent` for settings that the writer refuses.
pub(crate) fn files_builder<R: TableRow>(
    table: &Table,
    options: &LakeOptions,
    count: RowCount,
    bytes_max: usize,
) -> Result<FilesBuilder, LakeError> {
    let metadata = table.metadata();
    Ok(DataFileWriterBuilder::new(RollingFileWriterBuilder::new(
        ParquetWriterBuilder::new(properties::<R>(options, count)?, metadata.current_schema().clone()),
        bytes_max,
        table.file_io().clone(),
        EncodedLocations::of(metadata),
        UniqueNames,
    )))
}

/// The settings that every file of a batch is written with.
struct Files<'a> {
    table: &'a Table,
    options: &'a LakeOptions,
    arrow_schema: SchemaRef,
}

impl Files<'_> {
    /// Writes the rows of one partition; its files are closed when this returns.
    async fn write<R: TableRow>(&self, partition: PartitionRows, rows: &[&R]) -> Result<Vec<DataFile>, LakeError> {
        let rows: Vec<&R> = partition.rows.iter().filter_map(|at| rows.get(*at).copied()).collect();
        let failed = |error| lake_error(format_args!("write data files of {}", self.table.identifier()), error);
        let count = RowCount { rows: rows.len(), blooms: distinct_blooms(&rows) };
        let builder = files_builder::<R>(self.table, self.options, count, self.options.file_bytes_max)?;
        // Also where the table isn't partitioned: the file must say under which spec it was written.
        let mut writer = builder.build(Some(partition.key)).await.map_err(failed)?;
        for chunk in chunks(&rows) {
            let batch =
                R::batch(&self.arrow_schema, chunk).map_err(|error| permanent("build an Arrow batch", error))?;
            writer.write(batch).await.map_err(failed)?;
        }
        writer.close().await.map_err(failed)
    }
}

/// Splits the partitions into groups whose files are written at the same time: one that is large is a group of its own.
fn groups<R: TableRow>(partitions: Vec<PartitionRows>, rows: &[&R]) -> Vec<Vec<PartitionRows>> {
    let mut groups: Vec<Vec<PartitionRows>> = Vec::new();
    let mut room = 0;
    for partition in partitions {
        let bytes: usize = partition.rows.iter().filter_map(|at| rows.get(*at)).map(|row| row.size_bytes()).sum();
        match groups.last_mut() {
            Some(group) if bytes <= room && group.len() < FILES_AT_ONCE => group.push(partition),
            _ => {
                room = BYTES_AT_ONCE;
                groups.push(vec![partition]);
            }
        }
        room = room.saturating_sub(bytes);
    }
    groups
}

/// Splits rows into pieces of about [`CHUNK_BYTES`], a row at least.
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
/// Fails as the storage does; nothing that was written is referenced by the table.
pub(crate) async fn write_files<R: TableRow>(
    table: &Table,
    rows: &[&R],
    options: &LakeOptions,
) -> Result<Vec<DataFile>, LakeError> {
    let metadata = table.metadata();
    let schema = metadata.current_schema().clone();
    let arrow_schema =
        Arc::new(schema_to_arrow_schema(&schema).map_err(|error| lake_error("derive the Arrow schema", error))?);
    let partitions = Partitioner::of::<R>(metadata)?.split(rows)?;
    let files = Files { table, options, arrow_schema };
    // A partition's rows stay in the log's order, and are written in one go: what is written holds one row group, not
    // one of each.
    let mut written = Vec::with_capacity(partitions.len());
    for group in groups(partitions, rows) {
        let writing = group.into_iter().map(|partition| files.write(partition, rows));
        written.extend(futures::future::try_join_all(writing).await?.into_iter().flatten());
    }
    Ok(written)
}

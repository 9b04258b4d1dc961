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
use std::{collections::BTreeMap, sync::Arc};

/// Rows are turned into Arrow in pieces of about this size, which bounds what the conversion holds.
const CHUNK_BYTES: usize = 4 << 20;

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
        .set_max_row_group_bytes(Some(options.row_group_bytes));
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

/// Open writers, one a table partition.
struct Writers {
    builder: Builder,
    splitter: Option<RecordBatchPartitionSplitter>,
    open: BTreeMap<String, Writer>,
}

impl Writers {
    async fn write_to(&mut self, key: Option<PartitionKey>, batch: RecordBatch) -> iceberg::Result<()> {
        let name = key.as_ref().map(PartitionKey::to_path).unwrap_or_default();
        if !self.open.contains_key(&name) {
            let writer = self.builder.build(key).await?;
            self.open.insert(name.clone(), writer);
        }
        match self.open.get_mut(&name) {
            Some(writer) => writer.write(batch).await,
            None => Ok(()),
        }
    }

    async fn write(&mut self, batch: RecordBatch) -> iceberg::Result<()> {
        let Some(splitter) = &self.splitter else { return self.write_to(None, batch).await };
        for (key, part) in splitter.split(&batch)? {
            self.write_to(Some(key), part).await?;
        }
        Ok(())
    }

    /// All at once: on an object store each close is a round trip.
    async fn close(self) -> iceberg::Result<Vec<DataFile>> {
        let closing = self.open.into_values().map(|mut writer| async move { writer.close().await });
        Ok(futures::future::try_join_all(closing).await?.into_iter().flatten().collect())
    }
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
    let mut writers = Writers { builder, splitter, open: BTreeMap::new() };
    let failed = |error| lake_error(format_args!("write data files of {}", table.identifier()), error);
    let mut rest = rows;
    while !rest.is_empty() {
        let mut bytes = 0;
        let length = rest.iter().take_while(|row| {
            let first = bytes == 0;
            bytes += row.size_bytes();
            first || bytes <= CHUNK_BYTES
        });
        let (chunk, later) = rest.split_at(length.count());
        let batch = R::batch(&arrow_schema, chunk).map_err(|error| permanent("build an Arrow batch", error))?;
        writers.write(batch).await.map_err(failed)?;
        rest = later;
    }
    writers.close().await.map_err(failed)
}

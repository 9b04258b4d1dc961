//! Reading of a few columns of one data file, which skips row groups that can't hold what is looked for.

use crate::errors::{lake_error, permanent};
use crate::files::FileEntry;
use crate::seam::LakeError;
use arrow::array::BooleanArray;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use iceberg::arrow::ArrowFileReader;
use iceberg::io::FileMetadata;
use iceberg::table::Table;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ArrowReaderOptions, RowFilter};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescriptor;
use std::io::Cursor;

/// The rows of a batch: three columns of so many rows are small, and a payload beside them is some megabytes.
const BATCH_ROWS: usize = 2048;

/// Returns the leaf of a column: by Iceberg's field id, or by name in a file without ids.
fn leaf(schema: &SchemaDescriptor, id: Option<i32>, name: &str) -> Option<usize> {
    let ids = |at: usize| {
        let info = schema.column(at).self_type().get_basic_info().clone();
        info.has_id().then(|| info.id())
    };
    (0..schema.num_columns())
        .find(|at| id.is_some() && ids(*at) == id)
        .or_else(|| (0..schema.num_columns()).find(|at| schema.column(*at).path().string() == name))
}

/// The bytes up to which a file is read as a whole: one round trip in place of four.
const WHOLE_BYTES_MAX: u64 = 128 << 10;

/// The texts up to which a bloom filter is asked for each of them; of more it would let nearly every row group pass.
const BLOOM_TEXTS_MAX: usize = 64;

/// Returns those of ascending texts that a row group's statistics leave room for.
fn texts_within<'a, 'b>(group: &RowGroupMetaData, leaf: usize, texts: &'a [&'b str]) -> &'a [&'b str] {
    let Some(Statistics::ByteArray(found)) = group.column(leaf).statistics() else { return texts };
    match (found.min_bytes_opt(), found.max_bytes_opt()) {
        (Some(low), Some(high)) => {
            let behind = &texts[texts.partition_point(|text| text.as_bytes() < low)..];
            &behind[..behind.partition_point(|text| text.as_bytes() <= high)]
        }
        _ => texts,
    }
}

/// A data file that was opened: its columns' leaves in our order, and the row groups that may hold what is looked for.
struct Opened {
    builder: ParquetRecordBatchStreamBuilder<Box<dyn AsyncFileReader>>,
    leaves: Vec<usize>,
    groups: Vec<usize>,
}

async fn open(
    table: &Table,
    file: &FileEntry,
    columns: &[&str],
    texts: &[&str],
    options: ArrowReaderOptions,
) -> Result<Opened, LakeError> {
    let doing = || format!("read {}", file.path);
    let io = table.file_io();
    let input = io.new_input(&file.path).map_err(|error| lake_error(doing(), error))?;
    let reader = input.reader().await.map_err(|error| lake_error(doing(), error))?;
    let reader: Box<dyn AsyncFileReader> = if file.size <= WHOLE_BYTES_MAX {
        Box::new(Cursor::new(reader.read(0..file.size).await.map_err(|error| lake_error(doing(), error))?))
    } else {
        Box::new(ArrowFileReader::new(FileMetadata { size: file.size }, reader))
    };
    // Types by the Parquet schema alone: other engines embed Arrow types of their own.
    let options = options.with_skip_arrow_metadata(true);
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await.map_err(|error| {
        lake_error(doing(), iceberg::Error::new(iceberg::ErrorKind::Unexpected, "parquet").with_source(error))
    })?;
    let schema = table.metadata().current_schema();
    let leaves: Option<Vec<usize>> =
        columns.iter().map(|name| leaf(builder.parquet_schema(), schema.field_id_by_name(name), name)).collect();
    let Some(leaves) = leaves else {
        let text = format!("found no columns {columns:?} in {}, wanted them", file.path);
        return Err(LakeError::new(crate::LakeErrorKind::Permanent, text));
    };
    let mut groups = Vec::new();
    for at in 0..builder.metadata().num_row_groups() {
        if texts.is_empty() {
            groups.push(at);
            continue;
        }
        let within = texts_within(builder.metadata().row_group(at), leaves[0], texts);
        if within.is_empty() {
            continue;
        }
        let bloom = match within.len() <= BLOOM_TEXTS_MAX {
            true => builder.get_row_group_column_bloom_filter(at, leaves[0]).await.ok().flatten(),
            false => None,
        };
        if bloom.is_none_or(|bloom| within.iter().any(|text| bloom.check(text))) {
            groups.push(at);
        }
    }
    Ok(Opened { builder, leaves, groups })
}

/// Returns the places of columns in what a projection gives, which keeps the file's order.
fn places(leaves: &[usize]) -> Vec<usize> {
    let mut order = leaves.to_vec();
    order.sort_unstable();
    leaves.iter().filter_map(|leaf| order.iter().position(|at| at == leaf)).collect()
}

impl Opened {
    async fn each(
        self,
        file: &FileEntry,
        mut take: impl FnMut(&RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        let doing = || format!("read {}", file.path);
        let Self { builder, leaves, groups } = self;
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves.iter().copied());
        let stream = builder.with_row_groups(groups).with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let mut stream = stream.map_err(|error| permanent(doing(), error))?;
        let failed = |error: parquet::errors::ParquetError| {
            lake_error(doing(), iceberg::Error::new(iceberg::ErrorKind::Unexpected, "parquet").with_source(error))
        };
        let places = places(&leaves);
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            let batch = batch.project(&places).map_err(|error| permanent(doing(), error))?;
            take(&batch)?;
        }
        Ok(())
    }
}

/// Calls `take` for each batch of the named columns, in the order of `columns`. Only row groups that may hold one of
/// `texts`, which are ascending, in the first column are read: by their statistics, and by their bloom filter where there is one. Without
/// texts all are.
///
/// # Errors
/// Returns an error for a file that can't be read, `Permanent` for one without the columns.
pub(crate) async fn read_columns(
    table: &Table,
    file: &FileEntry,
    columns: &[&str],
    texts: &[&str],
    take: impl FnMut(&RecordBatch) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    open(table, file, columns, texts, ArrowReaderOptions::new()).await?.each(file, take).await
}

/// Calls `take` as [`read_columns`] does, for those rows whose `keys` are wanted, and with another column behind them,
/// of which only the pages with such rows are read.
///
/// # Errors
/// Fails as [`read_columns`] does.
pub(crate) async fn read_matching(
    table: &Table,
    file: &FileEntry,
    keys: &[&str],
    column: &str,
    texts: &[&str],
    is_wanted: impl Fn(&RecordBatch) -> Result<BooleanArray, ArrowError> + Send + 'static,
    take: impl FnMut(&RecordBatch) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    let columns: Vec<&str> = keys.iter().copied().chain([column]).collect();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let mut opened = open(table, file, &columns, texts, options).await?;
    let key_leaves = &opened.leaves[..keys.len()];
    let mask = ProjectionMask::leaves(opened.builder.parquet_schema(), key_leaves.iter().copied());
    let places = places(key_leaves);
    let filter = ArrowPredicateFn::new(mask, move |batch| is_wanted(&batch.project(&places)?));
    opened.builder = opened.builder.with_row_filter(RowFilter::new(vec![Box::new(filter)]));
    opened.each(file, take).await
}

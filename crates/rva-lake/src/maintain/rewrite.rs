//! The rows of small files, sorted and written again.

use super::plan::{Group, MergeLimits};
use super::sort::Sorter;
use crate::errors::{lake_error, permanent};
use crate::options::{CommitStep, LakeOptions};
use crate::rows::TableRow;
use crate::seam::{LakeError, LakeErrorKind};
use crate::writer::{RowCount, files_builder};
use ahash::RandomState;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use iceberg::Runtime;
use iceberg::arrow::{ArrowReaderBuilder, schema_to_arrow_schema};
use iceberg::scan::FileScanTask;
use iceberg::spec::{DataFile, NameMapping, PartitionKey, PartitionSpecRef};
use iceberg::table::Table;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use std::collections::HashSet;
use std::sync::Arc;

/// The rows of a batch that is read: a payload of each is held.
const BATCH_ROWS: usize = 1024;

/// Names the property with the columns of files that have no field ids.
const NAME_MAPPING: &str = "schema.name-mapping.default";

/// Returns a group's files as a scan reads them: every column of the table's schema, whatever schema a file has.
pub(crate) fn tasks(table: &Table, group: &Group, spec: &PartitionSpecRef) -> Vec<iceberg::Result<FileScanTask>> {
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    // How an engine that wrote no field ids says which column is which.
    let mapping =
        metadata.properties().get(NAME_MAPPING).and_then(|text| serde_json::from_str::<NameMapping>(text).ok());
    let mapping = mapping.map(Arc::new);
    let fields: Vec<i32> = schema.as_struct().fields().iter().map(|field| field.id).collect();
    let task = |file: &DataFile| {
        FileScanTask::builder()
            .with_file_size_in_bytes(file.file_size_in_bytes())
            .with_start(0)
            .with_length(file.file_size_in_bytes())
            .with_record_count(Some(file.record_count()))
            .with_data_file_path(file.file_path().to_owned())
            .with_data_file_format(file.file_format())
            .with_schema(Arc::clone(schema))
            .with_project_field_ids(fields.clone())
            .with_partition(Some(file.partition().clone()))
            .with_partition_spec(Some(Arc::clone(spec)))
            .with_name_mapping(mapping.clone())
            .with_case_sensitive(true)
            .build()
    };
    group.files.iter().map(|file| Ok(task(file))).collect()
}

/// Returns a batch in the types that the table's schema has in Arrow.
pub(crate) fn typed(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, LakeError> {
    let failed = |error| permanent("read the rows of small files", error);
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| match column.data_type() {
        found if found == field.data_type() => Ok(Arc::clone(column)),
        _ => cast(column, field.data_type()),
    });
    let columns: Vec<_> = columns.collect::<Result<_, _>>().map_err(failed)?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(failed)
}

/// The number of texts in a column, by their digests.
#[derive(Default)]
pub(crate) struct Distinct {
    hashes: RandomState,
    seen: HashSet<u64>,
}

impl Distinct {
    pub(crate) fn note(&mut self, batch: &RecordBatch, name: &str) {
        let texts = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        self.seen.extend(texts.into_iter().flatten().flatten().map(|text| self.hashes.hash_one(text)));
    }

    /// Returns their number.
    pub(crate) fn count(&self) -> usize {
        self.seen.len()
    }
}

/// Writes the rows of a group's files again, sorted. The files are durable when this returns.
///
/// # Errors
/// Fails as the storage does; nothing that was written is referenced by the table.
pub(super) async fn rewrite<R: TableRow>(
    table: &Table,
    group: &Group,
    limits: &MergeLimits,
    options: &LakeOptions,
    written: &mut Vec<DataFile>,
) -> Result<(), LakeError> {
    let metadata = table.metadata();
    let failed = |error| lake_error(format_args!("merge small files of {}", table.identifier()), error);
    let schema: SchemaRef = Arc::new(schema_to_arrow_schema(metadata.current_schema()).map_err(failed)?);
    let folder = limits.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
    let mut sorter = Sorter::new(Arc::clone(&schema), R::SORTED_BY, limits.memory, &folder)?;
    let mut distinct = Distinct::default();
    let reader = ArrowReaderBuilder::new(table.file_io().clone(), Runtime::current())
        .with_batch_size(BATCH_ROWS)
        .with_data_file_concurrency_limit(1)
        .build();
    let Some(spec) = metadata.partition_spec_by_id(group.spec) else {
        let text =
            format!("found no partition spec {} in {}, wanted that of its files", group.spec, table.identifier());
        return Err(LakeError::new(LakeErrorKind::Conflict, text));
    };
    let tasks = futures::stream::iter(tasks(table, group, spec)).boxed();
    let mut stream = reader.read(tasks).map_err(failed)?.stream();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let batch = typed(&schema, &batch)?;
        distinct.note(&batch, R::BLOOM);
        sorter.push(batch)?;
    }
    options.step(CommitStep::WriteFiles);
    let rows = usize::try_from(group.rows()).unwrap_or(usize::MAX);
    let count = RowCount { rows, blooms: distinct.count() };
    let bytes_max = usize::try_from(limits.file_bytes).unwrap_or(usize::MAX);
    let key = PartitionKey::new(spec.as_ref().clone(), Arc::clone(metadata.current_schema()), group.partition.clone());
    let builder = files_builder::<R>(table, options, count, bytes_max)?;
    let mut writer = builder.build(Some(key)).await.map_err(failed)?;
    let mut sorted = sorter.sorted()?;
    while let Some(batch) = sorted.next()? {
        writer.write(batch).await.map_err(failed)?;
        // A sort is work without a wait: others have their turn.
        tokio::task::yield_now().await;
    }
    let files = writer.close().await.map_err(failed)?;
    let found: u64 = files.iter().map(DataFile::record_count).sum();
    written.extend(files);
    options.step(CommitStep::FilesClosed);
    if found != group.rows() {
        let text = format!("found {found} rows in small files of {}, wanted {}", table.identifier(), group.rows());
        return Err(LakeError::new(LakeErrorKind::Permanent, text));
    }
    Ok(())
}

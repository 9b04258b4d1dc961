//! An Iceberg table as DataFusion sees it: projection and prunable filters go into iceberg's scan, rows stream out.
//!
//! The columns are those of the table now. Its newest snapshot may be from before another engine added or renamed some:
//! a column is found there by its id, and is null where it isn't.

use super::filters::{PRUNING, predicate};
use arrow::array::{Array, ArrayData, ArrayRef, make_array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::Runtime;
use iceberg::arrow::{ArrowFileReader, ArrowReaderBuilder, schema_to_arrow_schema};
use iceberg::expr::Predicate;
use iceberg::io::{FileIO, FileMetadata};
use iceberg::scan::FileScanTask;
use iceberg::table::Table;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

/// Names a column that is cheap to read when a query, such as `count(*)`, wants none.
const COUNTING: &str = "frame_index";

/// A table at one snapshot.
#[derive(Debug)]
pub(super) struct IcebergTable {
    table: Table,
    schema: SchemaRef,
}

impl IcebergTable {
    pub(super) fn new(table: Table) -> iceberg::Result<Self> {
        let schema = schema_to_arrow_schema(table.metadata().current_schema())?;
        let fields: Vec<Field> = schema.fields().iter().map(|field| without_metadata(field)).collect();
        Ok(Self { table, schema: Arc::new(Schema::new(fields)) })
    }
}

/// Returns a field without metadata: field ids are Iceberg's business, and would, at any depth, show up as a difference
/// between equal types.
fn without_metadata(field: &Field) -> Field {
    let plain = |field: &FieldRef| Arc::new(without_metadata(field));
    let kind = match field.data_type() {
        DataType::List(item) => DataType::List(plain(item)),
        DataType::LargeList(item) => DataType::LargeList(plain(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::Map(entry, sorted) => DataType::Map(plain(entry), *sorted),
        other => other.clone(),
    };
    Field::new(field.name(), kind, field.is_nullable())
}

/// Returns the names of the table's columns in the schema of its newest snapshot; `None` for a column that isn't there.
fn names_then(table: &Table, schema: &SchemaRef) -> Vec<Option<String>> {
    let metadata = table.metadata();
    let (now, snapshot) = (metadata.current_schema(), metadata.current_snapshot());
    let then = snapshot.and_then(|snapshot| snapshot.schema(metadata).ok()).unwrap_or_else(|| Arc::clone(now));
    let names = schema.fields().iter().map(|field| {
        let id = now.field_id_by_name(field.name())?;
        then.field_by_id(id).map(|field| field.name.clone())
    });
    names.collect()
}

#[async_trait::async_trait]
impl TableProvider for IcebergTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match predicate(filter) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all);
        let counting = self.schema.index_of(COUNTING).unwrap_or(0);
        let read = if wanted.is_empty() { vec![counting] } else { wanted.clone() };
        let schema: SchemaRef = Arc::new(self.schema.project(&read)?);
        // A filter that prunes names columns; where one was called otherwise then, nothing is pruned.
        let all_names = names_then(&self.table, &self.schema);
        let is_same = self.schema.fields().iter().zip(&all_names).all(|(field, then)| {
            !PRUNING.contains(&field.name().as_str()) || then.as_deref() == Some(field.name().as_str())
        });
        let prunable = filters.iter().filter(|_| is_same).filter_map(predicate);
        let scan = Scan {
            table: self.table.clone(),
            names: names_then(&self.table, &schema),
            schema: Arc::clone(&schema),
            filter: prunable.reduce(Predicate::and),
        };
        // The rest of the projection: nothing, or only the columns that nobody asked for.
        let none: Vec<usize> = Vec::new();
        let narrowed = wanted.is_empty().then_some(&none);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(scan)], narrowed, [], false, limit)?))
    }
}

#[derive(Debug)]
struct Scan {
    table: Table,
    schema: SchemaRef,
    /// The names of the schema's columns in the snapshot that is read.
    names: Vec<Option<String>>,
    filter: Option<Predicate>,
}

fn external(error: iceberg::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Returns a batch in the names and types that the plan was made for.
fn conform(batch: &RecordBatch, schema: &SchemaRef, names: &[Option<String>]) -> Result<RecordBatch> {
    let columns = schema.fields().iter().zip(names).map(|(field, name)| {
        let Some(name) = name else { return Ok(new_null_array(field.data_type(), batch.num_rows())) };
        match batch.column_by_name(name) {
            Some(column) => as_type(column, field.data_type()),
            // A file from before the column.
            None if !can_be_filled(field.data_type()) => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(DataFusionError::Execution(format!("found no column {name} in a data file's rows"))),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &options)?)
}

/// Returns a column in another type: under other labels where it is the same by shape, else converted.
fn as_type(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    match relabelled(column.to_data(), wanted) {
        Some(data) => Ok(make_array(data)),
        None => Ok(cast(column, wanted)?),
    }
}

/// Returns the same values under a type that differs in the names and metadata of inner fields alone.
fn relabelled(data: ArrayData, wanted: &DataType) -> Option<ArrayData> {
    if data.data_type() == wanted {
        return Some(data);
    }
    let inner: Vec<DataType> = match (data.data_type(), wanted) {
        (DataType::List(_), DataType::List(item))
        | (DataType::LargeList(_), DataType::LargeList(item))
        | (DataType::Map(..), DataType::Map(item, _)) => vec![item.data_type().clone()],
        (DataType::Struct(found), DataType::Struct(fields)) if found.len() == fields.len() => {
            fields.iter().map(|field| field.data_type().clone()).collect()
        }
        _ => return None,
    };
    let children: Option<Vec<_>> =
        data.child_data().iter().cloned().zip(&inner).map(|(child, kind)| relabelled(child, kind)).collect();
    data.into_builder().data_type(wanted.clone()).child_data(children?).build().ok()
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, filter, schema) = (self.table.clone(), self.filter.clone(), Arc::clone(&self.schema));
        let names = self.names.clone();
        let rows = async move {
            let mut there: Vec<&String> = names.iter().flatten().collect();
            // Of columns that aren't there yet only the number of rows is wanted: that of any other.
            let then = table.metadata().current_snapshot().and_then(|it| it.schema(table.metadata()).ok());
            let any = then.and_then(|then| then.as_struct().fields().first().map(|field| field.name.clone()));
            // As it is of columns that a file may lack altogether.
            let all_fillable = schema.fields().iter().all(|field| can_be_filled(field.data_type()));
            if there.is_empty() || !all_fillable && !there.iter().any(|name| Some(*name) == any.as_ref()) {
                there.extend(&any);
            }
            rows_of(&table, there, filter, schema, names.clone()).await
        };
        let stream = futures::stream::once(rows).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// Returns the rows of a table's newest snapshot.
async fn rows_of(
    table: &Table,
    read: Vec<&String>,
    filter: Option<Predicate>,
    schema: SchemaRef,
    names: Vec<Option<String>>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let mut scan = table.scan().select(read);
    if let Some(filter) = filter {
        scan = scan.with_filter(filter);
    }
    let scan = scan.build().map_err(external)?;
    let stream = if schema.fields().iter().all(|field| can_be_filled(field.data_type())) {
        scan.to_arrow().await.map_err(external)?.boxed()
    } else {
        let io = table.file_io().clone();
        let tasks = scan.plan_files().await.map_err(external)?;
        tasks.and_then(move |task| rows_of_file(io.clone(), task)).try_flatten().boxed()
    };
    Ok(stream.map_err(external).map(move |batch| batch.and_then(|batch| conform(&batch, &schema, &names))).boxed())
}

/// Returns whether iceberg's reader makes nulls of a type for a file that was written before the column was added.
fn can_be_filled(kind: &DataType) -> bool {
    !matches!(
        kind,
        DataType::LargeBinary
            | DataType::FixedSizeBinary(_)
            | DataType::Time64(_)
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::Map(..)
            | DataType::Struct(_)
    )
}

/// Returns the rows of one file, without the columns that it doesn't have and that the reader couldn't make nulls of.
async fn rows_of_file(
    io: FileIO,
    mut task: FileScanTask,
) -> iceberg::Result<BoxStream<'static, iceberg::Result<RecordBatch>>> {
    let there = ids_in_file(&io, &task).await?;
    let schema = schema_to_arrow_schema(task.schema())?;
    let fields = task.schema().as_struct().fields().iter().zip(schema.fields());
    let missing: HashSet<i32> = fields
        .filter(|(field, arrow)| !can_be_filled(arrow.data_type()) && !there.contains(&field.id))
        .map(|(field, _)| field.id)
        .collect();
    task.project_field_ids.retain(|id| !missing.contains(id));
    let reader = ArrowReaderBuilder::new(io, Runtime::current()).build();
    let tasks = Box::pin(futures::stream::iter([Ok(task)]));
    Ok(reader.read(tasks)?.stream().boxed())
}

/// Returns the field ids of a data file's columns, as they stand in it.
async fn ids_in_file(io: &FileIO, task: &FileScanTask) -> iceberg::Result<HashSet<i32>> {
    let reader = io.new_input(task.data_file_path())?.reader().await?;
    let reader = ArrowFileReader::new(FileMetadata { size: task.file_size_in_bytes }, reader);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let columns = builder.parquet_schema().root_schema().get_fields();
    Ok(columns
        .iter()
        .map(|column| column.get_basic_info())
        .filter(|info| info.has_id())
        .map(|info| info.id())
        .collect())
}

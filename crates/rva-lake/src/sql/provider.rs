//! An Iceberg table as DataFusion sees it: projection and prunable filters go into iceberg's scan, rows stream out.

use super::filters::predicate;
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::expr::Predicate;
use iceberg::table::Table;
use std::any::Any;
use std::sync::Arc;

/// A column that is cheap to read when a query, such as `count(*)`, wants none.
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
        // Field ids are Iceberg's business; as metadata they would show up as a difference between equal types.
        let fields: Vec<Field> =
            schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(Default::default())).collect();
        Ok(Self { table, schema: Arc::new(Schema::new(fields)) })
    }
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
        let scan = Scan {
            table: self.table.clone(),
            schema: Arc::clone(&schema),
            filter: filters.iter().filter_map(predicate).reduce(Predicate::and),
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
    filter: Option<Predicate>,
}

fn external(error: iceberg::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A batch in the types that the plan was made for.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            DataFusionError::Execution(format!("found no column {} in a data file's rows", field.name()))
        })?;
        Ok(if column.data_type() == field.data_type() { Arc::clone(column) } else { cast(column, field.data_type())? })
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &options)?)
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, filter, schema) = (self.table.clone(), self.filter.clone(), Arc::clone(&self.schema));
        let rows = async move {
            let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            let mut scan = table.scan().select(names);
            if let Some(filter) = filter {
                scan = scan.with_filter(filter);
            }
            let stream = scan.build().map_err(external)?.to_arrow().await.map_err(external)?;
            Ok::<_, DataFusionError>(
                stream.map_err(external).map(move |batch| batch.and_then(|batch| conform(&batch, &schema))),
            )
        };
        let stream = futures::stream::once(rows).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

//! The partitions that rows belong into under the table's current spec, whoever made it.

use crate::errors::{lake_error, permanent};
use crate::rows::TableRow;
use crate::seam::LakeError;
use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::{arrow_primitive_to_literal, schema_to_arrow_schema};
use iceberg::spec::{Literal, PartitionKey, PartitionSpecRef, SchemaRef, Struct, TableMetadata, Transform, Type};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use std::collections::HashMap;
use std::sync::Arc;

/// The number of rows whose partition is computed at once, so that little is held for it.
const ROWS_AT_ONCE: usize = 4096;

/// The source of one field of a spec: the column that it is made of, and the transform.
struct Source {
    /// The column; `None` for one that isn't ours, which is null in every row of ours, and so is everything made of it.
    column: Option<(String, DataType)>,
    transform: Transform,
    function: BoxedTransformFunction,
    result: Type,
}

impl Source {
    fn values<R: TableRow>(&self, rows: &[&R]) -> Result<Vec<Option<Literal>>, LakeError> {
        let nothing = || vec![None; rows.len()];
        if self.transform == Transform::Void {
            return Ok(nothing());
        }
        let Some((name, kind)) = &self.column else { return Ok(nothing()) };
        let arrow_failed = |error| permanent(format_args!("build column {name}"), error);
        let Some(column) = R::column(name, kind, rows).map_err(arrow_failed)? else { return Ok(nothing()) };
        let iceberg_failed = |error| lake_error(format_args!("apply {} to {name}", self.transform), error);
        let column = known(kind, &self.transform, column).map_err(arrow_failed)?;
        let made = self.function.transform(column);
        arrow_primitive_to_literal(&made.map_err(iceberg_failed)?, &self.result).map_err(iceberg_failed)
    }
}

/// Returns a column in a type that the transform knows: the truncation of bytes knows the smaller of Arrow's two alone.
fn known(kind: &DataType, transform: &Transform, column: ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    match (transform, kind) {
        (Transform::Truncate(_), DataType::LargeBinary) => cast(&column, &DataType::Binary),
        (_, kind) if kind != column.data_type() => cast(&column, kind),
        _ => Ok(column),
    }
}

/// The rows of one partition, by their places, in the order in which they came.
pub(crate) struct PartitionRows {
    pub key: PartitionKey,
    pub rows: Vec<usize>,
}

/// A partitioner that tells rows apart by the partition that the table's current spec puts them into.
pub(crate) struct Partitioner {
    schema: SchemaRef,
    spec: PartitionSpecRef,
    sources: Vec<Source>,
}

impl Partitioner {
    /// Makes the partitioner of a table.
    ///
    /// # Errors
    /// Returns `Permanent` for a spec with a transform that isn't known, or of a column that is no more.
    pub(crate) fn of<R: TableRow>(metadata: &TableMetadata) -> Result<Self, LakeError> {
        let (schema, spec) = (metadata.current_schema().clone(), metadata.default_partition_spec().clone());
        let failed = |error| permanent(format_args!("write under partition spec {}", spec.spec_id()), error);
        let kinds = spec.partition_type(&schema).map_err(failed)?;
        let arrow: ArrowSchemaRef = Arc::new(schema_to_arrow_schema(&schema).map_err(failed)?);
        let sources = spec.fields().iter().zip(kinds.fields()).map(|(field, kind)| {
            let name = schema.name_by_field_id(field.source_id).filter(|name| R::is_ours(name));
            let column = name.and_then(|name| Some((name.to_owned(), arrow.field_with_name(name).ok()?)));
            Ok(Source {
                column: column.map(|(name, field)| (name, field.data_type().clone())),
                function: create_transform_function(&field.transform)?,
                transform: field.transform,
                result: (*kind.field_type).clone(),
            })
        });
        let sources = sources.collect::<iceberg::Result<_>>().map_err(failed)?;
        Ok(Self { schema, spec, sources })
    }

    /// Returns every partition that there are rows for, in the order in which the first of each came.
    pub(crate) fn split<R: TableRow>(&self, rows: &[&R]) -> Result<Vec<PartitionRows>, LakeError> {
        let mut places: HashMap<Struct, usize> = HashMap::new();
        let mut found: Vec<PartitionRows> = Vec::new();
        for (chunk, first) in rows.chunks(ROWS_AT_ONCE).zip((0..).step_by(ROWS_AT_ONCE)) {
            let columns = self.sources.iter().map(|source| source.values(chunk));
            let mut columns: Vec<_> =
                columns.map(|values| values.map(Vec::into_iter)).collect::<Result<_, LakeError>>()?;
            for row in first..first + chunk.len() {
                let values = Struct::from_iter(columns.iter_mut().map(|column| column.next().flatten()));
                let place = *places.entry(values.clone()).or_insert_with(|| {
                    let key = PartitionKey::new((*self.spec).clone(), Arc::clone(&self.schema), values);
                    found.push(PartitionRows { key, rows: Vec::new() });
                    found.len() - 1
                });
                found[place].rows.push(row);
            }
        }
        Ok(found)
    }
}

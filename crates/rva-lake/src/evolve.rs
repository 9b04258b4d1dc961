//! Partitions a table anew: another field, for the rows that come from now on. What is there stays as it is, and every
//! engine reads both.

use crate::change::SwapMetadata;
use crate::definition::table_ident;
use crate::errors::lake_error;
use crate::options::LakeOptions;
use crate::rows::BronzeRow;
use crate::seam::{LakeError, LakeErrorKind};
use iceberg::spec::{PartitionSpec, Transform, UnboundPartitionField, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{Catalog, TableRequirement, TableUpdate};
use rva_types::DoublingWait;

/// The column whose day is the further field of bronze.
const COLUMN: &str = "ingest_ts";

/// The name of that field, as every engine shows it.
const FIELD: &str = "ingest_ts_day";

/// Returns whether a spec tells the days of a column apart already.
fn tells_days(spec: &PartitionSpec, column: i32) -> bool {
    let is_fine = |transform: &Transform| matches!(transform, Transform::Day | Transform::Hour | Transform::Identity);
    spec.fields().iter().any(|field| field.source_id == column && is_fine(&field.transform))
}

/// Returns the table's spec with a further field; `None` where it has one of that kind.
///
/// # Errors
/// Returns `Permanent` where another field has the name already.
fn with_day(table: &Table) -> Result<Option<UnboundPartitionSpec>, LakeError> {
    let (ident, metadata) = (table.identifier(), table.metadata());
    let spec = metadata.default_partition_spec();
    let wrong = |found: &str, wanted: &str| {
        let text = format!("could not partition {ident} by day: found {found}, wanted {wanted}");
        LakeError::new(LakeErrorKind::Permanent, text)
    };
    let Some(column) = metadata.current_schema().field_id_by_name(COLUMN) else {
        return Err(wrong("no such column", COLUMN));
    };
    if tells_days(spec, column) {
        return Ok(None);
    }
    if let Some(field) = spec.fields().iter().find(|field| field.name == FIELD) {
        let found = format!("a field {FIELD} that is {} of another column", field.transform);
        return Err(wrong(&found, "that name free; rename the field"));
    }
    // The same field under another spec has its number already.
    let before = metadata
        .partition_specs_iter()
        .flat_map(|spec| spec.fields())
        .find(|field| field.source_id == column && field.transform == Transform::Day);
    let number = before.map_or_else(|| metadata.last_partition_id().saturating_add(1), |field| field.field_id);
    let field = UnboundPartitionField::builder()
        .source_id(column)
        .field_id(number)
        .name(FIELD.to_owned())
        .transform(Transform::Day)
        .build();
    let fields = spec.fields().iter().cloned().map(UnboundPartitionField::from).chain([field]);
    let failed = |error| lake_error(format_args!("partition {ident} by day"), error);
    Ok(Some(UnboundPartitionSpec::builder().add_partition_fields(fields).map_err(failed)?.build()))
}

/// Partitions bronze by the day of the ingest too, where that is wanted and it isn't yet.
///
/// # Errors
/// Returns `Permanent` for a table that can't be; else it fails as the catalog does.
pub(crate) async fn partition_by_day(
    catalog: &dyn Catalog,
    swap: &dyn SwapMetadata,
    options: &LakeOptions,
) -> Result<(), LakeError> {
    if !options.partition_by_day {
        return Ok(());
    }
    let ident = table_ident::<BronzeRow>();
    let failed = |error| lake_error(format_args!("partition {ident} by day"), error);
    let mut last = None;
    let mut wait = DoublingWait::new(options.retry.wait_first, options.retry.wait_max);
    for attempt in 0..options.retry.attempts_max.max(1) {
        if attempt > 0 {
            tokio::time::sleep(wait.take()).await;
        }
        // Also after an error: another process may have been faster, or the answer was lost.
        let table = catalog.load_table(&ident).await.map_err(failed)?;
        let Some(spec) = with_day(&table)? else {
            if attempt > 0 {
                tracing::info!(table = %ident, field = FIELD, "partitioned the table anew");
            }
            return Ok(());
        };
        let metadata = table.metadata();
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: metadata.last_partition_id() },
            TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
        ];
        let updates = vec![TableUpdate::AddSpec { spec }, TableUpdate::SetDefaultSpec { spec_id: -1 }];
        last = swap.swap(&ident, requirements, updates).await.err();
    }
    let table = catalog.load_table(&ident).await.map_err(failed)?;
    match (with_day(&table)?, last) {
        (None, _) => Ok(()),
        (Some(_), Some(error)) => Err(failed(error)),
        (Some(_), None) => {
            let text = format!("could not partition {ident} by day: the catalog said yes, and the table is as it was");
            Err(LakeError::new(LakeErrorKind::Transient, text))
        }
    }
}

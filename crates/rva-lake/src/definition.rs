//! The tables as they must be, and the check that an existing one is.

use crate::errors::lake_error;
use crate::rows::TableRow;
use crate::seam::{LakeError, LakeErrorKind};
use iceberg::spec::{PrimitiveType, TableMetadata, Transform, Type, UnboundPartitionField, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use std::collections::HashMap;

/// The namespace of every table.
pub(crate) const NAMESPACE: &str = "rva";

/// Entries of the metadata log; older metadata.json files are deleted by housekeeping.
const METADATA_LOG_MAX: &str = "20";

/// Where Iceberg's numbers of partition fields begin.
const PARTITION_FIELD_FIRST: i32 = 1000;

pub(crate) fn table_ident<R: TableRow>() -> TableIdent {
    TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), R::TABLE.to_owned())
}

/// The table, made if it isn't there and checked if it is.
///
/// # Errors
/// `Permanent`: a table with other columns. As the catalog says.
pub(crate) async fn ensure_table<R: TableRow>(catalog: &dyn Catalog) -> Result<Table, LakeError> {
    let ident = table_ident::<R>();
    let failed = |error| lake_error(format_args!("open table {ident}"), error);
    if !catalog.table_exists(&ident).await.map_err(failed)? {
        match create_table::<R>(catalog).await {
            Ok(table) => return Ok(table),
            // Another process was faster.
            Err(_) if catalog.table_exists(&ident).await.map_err(failed)? => {}
            Err(error) => return Err(lake_error(format_args!("create table {ident}"), error)),
        }
    }
    let table = catalog.load_table(&ident).await.map_err(failed)?;
    check_columns::<R>(table.metadata())?;
    Ok(table)
}

async fn create_table<R: TableRow>(catalog: &dyn Catalog) -> iceberg::Result<Table> {
    let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
    if !catalog.namespace_exists(&namespace).await?
        && let Err(error) = catalog.create_namespace(&namespace, HashMap::new()).await
        && !catalog.namespace_exists(&namespace).await?
    {
        return Err(error);
    }
    let schema = R::schema()?;
    let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
    if let Some(name) = R::PARTITION
        && let Some(id) = schema.field_id_by_name(name)
    {
        let field = UnboundPartitionField::builder()
            .source_id(id)
            // Nessie wants it said, although the catalog numbers the fields anew.
            .field_id(PARTITION_FIELD_FIRST)
            .name(name.to_owned())
            .transform(Transform::Identity)
            .build();
        spec = spec.add_partition_fields([field])?;
    }
    let properties = HashMap::from([
        ("write.format.default".to_owned(), "parquet".to_owned()),
        ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
        ("write.metadata.previous-versions-max".to_owned(), METADATA_LOG_MAX.to_owned()),
    ]);
    let creation = TableCreation::builder()
        .name(R::TABLE.to_owned())
        .schema(schema)
        .partition_spec(spec.build())
        .properties(properties)
        .build();
    catalog.create_table(&namespace, creation).await
}

/// Types by shape: the ids inside a map are the table's own business.
fn same_type(found: &Type, wanted: &Type) -> bool {
    match (found, wanted) {
        (Type::Primitive(found), Type::Primitive(wanted)) => found == wanted,
        (Type::Map(found), Type::Map(wanted)) => {
            same_type(&found.key_field.field_type, &wanted.key_field.field_type)
                && same_type(&found.value_field.field_type, &wanted.value_field.field_type)
        }
        _ => false,
    }
}

fn refused(table: &str, column: &str, found: &str, wanted: &str) -> LakeError {
    let text = format!("table {NAMESPACE}.{table}, column {column}: found {found}, wanted {wanted}");
    LakeError::new(LakeErrorKind::Permanent, text)
}

/// Our columns by name, type and order. Further columns after ours are somebody's own and stay null in our rows.
pub(crate) fn check_columns<R: TableRow>(metadata: &TableMetadata) -> Result<(), LakeError> {
    let fields = metadata.current_schema().as_struct().fields();
    for (at, (name, wanted)) in R::columns().into_iter().enumerate() {
        let Some(field) = fields.get(at) else {
            return Err(refused(R::TABLE, name, "no such column", &wanted.to_string()));
        };
        if field.name != name {
            let found = format!("{} in place {}", field.name, at + 1);
            return Err(refused(R::TABLE, name, &found, &format!("{name} there")));
        }
        if same_type(&field.field_type, &wanted) {
            continue;
        }
        let without_zone = matches!(*field.field_type, Type::Primitive(PrimitiveType::Timestamp));
        if name == "ingest_ts" && without_zone {
            let found = "timestamp without zone, as the predecessor system wrote it";
            let way_out =
                format!("{wanted}; copy the rows into a new table with data/queries/copy_predecessor_bronze.sql");
            return Err(refused(R::TABLE, name, found, &way_out));
        }
        return Err(refused(R::TABLE, name, &field.field_type.to_string(), &wanted.to_string()));
    }
    if let Some(field) = fields.iter().skip(R::columns().len()).find(|field| field.required) {
        return Err(refused(R::TABLE, &field.name, "a required column that is not ours", "an optional one"));
    }
    Ok(())
}

//! The definitions of the tables, and the check that an existing one is as it must be.

use crate::deletion::Deletion;
use crate::errors::{lake_error, status};
use crate::options::LakeOptions;
use crate::places::{TablePlaces, check_table};
use crate::rows::{BronzeRow, TableRow};
use crate::seam::{LakeError, LakeErrorKind};
use crate::storage::plain;
use iceberg::spec::{PrimitiveType, TableMetadata, Transform, Type, UnboundPartitionField, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use rva_types::DeadLetter;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The catalog's name, in SQL and for other engines that open `catalog.db`.
pub const CATALOG: &str = "lakehouse";

/// The namespace of every table.
pub(crate) const NAMESPACE: &str = "rva";

/// The number of entries of the metadata log; older metadata.json files are deleted by housekeeping.
const METADATA_LOG_MAX: &str = "20";

/// Names the property with the time at which we made the table, in milliseconds since 1970. Files that are older are
/// somebody else's.
pub(crate) const MADE: &str = "rva.made-ms";

/// Names the table property with the moment since which the table has every row that it ever had, in microseconds since
/// 1970, by the time of records.
pub(crate) const WHOLE_SINCE: &str = "rva.whole-since";

/// Names the property of a namespace with the folder of its tables.
const LOCATION: &str = "location";

/// The first of Iceberg's numbers of partition fields.
const PARTITION_FIELD_FIRST: i32 = 1000;

pub(crate) fn table_ident<R: TableRow>() -> TableIdent {
    TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), R::TABLE.to_owned())
}

/// Returns the names of the tables that are ours.
pub(crate) fn our_tables() -> [&'static str; 3] {
    [BronzeRow::TABLE, DeadLetter::TABLE, Deletion::TABLE]
}

/// Returns a folder that no table had before: a renamed table keeps its own, and so does one that was dropped and is
/// wanted back.
pub(crate) fn own_folder(folder: &str, name: &str) -> String {
    format!("{}/{name}-{}", folder.trim_end_matches('/'), Uuid::now_v7().simple())
}

/// Opens the tables that a log is committed to, as [`ensure_table`] does.
///
/// # Errors
/// Fails as [`ensure_table`] does.
pub(crate) async fn ensure_bronze(catalog: &dyn Catalog, options: &LakeOptions) -> Result<(), LakeError> {
    ensure_table::<BronzeRow>(catalog, options).await?;
    ensure_table::<DeadLetter>(catalog, options).await?;
    Ok(())
}

/// Opens a table, made if it isn't there and checked if it is.
///
/// # Errors
/// Returns `Permanent` for a table with other columns, or one that sends us where we must not write; else it fails as
/// the catalog does.
pub(crate) async fn ensure_table<R: TableRow>(
    catalog: &dyn Catalog,
    options: &LakeOptions,
) -> Result<Table, LakeError> {
    let ident = table_ident::<R>();
    let failed = |error| lake_error(format_args!("open table {ident}"), error);
    if !catalog.table_exists(&ident).await.map_err(failed)? {
        match create_table::<R>(catalog).await {
            Ok(table) => {
                check_table(&ident, table.metadata(), &options.allowed)?;
                check_empty(catalog, &table, options).await?;
                tracing::info!(table = %ident, location = table.metadata().location(), "made the table");
                return Ok(table);
            }
            // Another process was faster.
            Err(_) if catalog.table_exists(&ident).await.map_err(failed)? => {}
            Err(error) => return Err(lake_error(format_args!("create table {ident}"), error)),
        }
    }
    let table = catalog.load_table(&ident).await.map_err(failed)?;
    check_table(&ident, table.metadata(), &options.allowed)?;
    check_columns::<R>(table.metadata())?;
    Ok(table)
}

/// Refuses a folder that is somebody's already: a renamed or dropped table may have its files there.
async fn check_empty(catalog: &dyn Catalog, table: &Table, options: &LakeOptions) -> Result<(), LakeError> {
    let (ident, location) = (table.identifier(), table.metadata().location());
    let places = TablePlaces::of(table.metadata(), &options.allowed);
    let failed = |error| lake_error(format_args!("look into the folder of {ident}"), error);
    let listed = match options.lister.storage().list(location).await {
        Ok(listed) => listed,
        // Keys that the catalog vends come with a table's files, and may not list. Who can't look into the folder
        // deletes no orphans there either.
        Err(error) if !options.lister.has_own_keys(location) => {
            tracing::info!(table = %ident, location, %error, "can't look into the new table's folder, takes it as it was given");
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    };
    let own = table.metadata_location().map(plain);
    let other = listed.iter().find(|file| places.hold(&file.location) && Some(plain(&file.location)) != own);
    let Some(other) = other else { return Ok(()) };
    // Only the entry in the catalog that was made a moment ago; no file is touched.
    catalog.drop_table(ident).await.map_err(failed)?;
    let text = format!(
        "the catalog gave table {ident} the folder {location}, which holds files already: found {}, wanted an empty \
         one; give namespace {NAMESPACE} a `location` property that names a folder for new tables, or move the old \
         table's folder away if nobody needs it",
        other.location
    );
    Err(LakeError::new(LakeErrorKind::Permanent, text))
}

/// Returns a folder of its own for a new table, where the catalog says where the namespace is; `None` where the catalog
/// decides.
pub(crate) async fn new_location(catalog: &dyn Catalog, namespace: &NamespaceIdent, name: &str) -> Option<String> {
    let found = catalog.get_namespace(namespace).await.ok()?;
    found.properties().get(LOCATION).filter(|location| !location.is_empty()).map(|folder| own_folder(folder, name))
}

async fn create_table<R: TableRow>(catalog: &dyn Catalog) -> iceberg::Result<Table> {
    let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
    if !catalog.namespace_exists(&namespace).await?
        && let Err(error) = catalog.create_namespace(&namespace, HashMap::new()).await
        && !catalog.namespace_exists(&namespace).await?
    {
        return Err(error);
    }
    let location = new_location(catalog, &namespace, R::TABLE).await;
    let asked = location.is_some();
    match catalog.create_table(&namespace, creation::<R>(location)?).await {
        // It wants to say itself where tables are.
        Err(error) if asked && matches!(status(&error.to_string()), Some(400 | 403 | 422)) => {
            catalog.create_table(&namespace, creation::<R>(None)?).await
        }
        made => made,
    }
}

fn creation<R: TableRow>(location: Option<String>) -> iceberg::Result<TableCreation> {
    let schema = R::schema()?;
    let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
    for ((name, transform), number) in R::PARTITION.iter().zip(PARTITION_FIELD_FIRST..) {
        let Some(id) = schema.field_id_by_name(name) else { continue };
        let field = UnboundPartitionField::builder()
            .source_id(id)
            // Nessie wants it said, although the catalog numbers the fields anew.
            .field_id(number)
            .name(if *transform == Transform::Identity { (*name).to_owned() } else { format!("{name}_{transform}") })
            .transform(*transform)
            .build();
        spec = spec.add_partition_fields([field])?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let properties = HashMap::from([
        ("write.format.default".to_owned(), "parquet".to_owned()),
        ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
        ("write.metadata.previous-versions-max".to_owned(), METADATA_LOG_MAX.to_owned()),
        (MADE.to_owned(), now.as_millis().to_string()),
    ]);
    Ok(TableCreation::builder()
        .name(R::TABLE.to_owned())
        .location_opt(location)
        .schema(schema)
        .partition_spec(spec.build())
        .properties(properties)
        .build())
}

/// Compares types by shape: the ids inside a map are the table's own business. A type that another engine widened, as
/// Iceberg allows it, holds all that ours does.
fn same_type(found: &Type, wanted: &Type) -> bool {
    match (found, wanted) {
        (Type::Primitive(PrimitiveType::Long), Type::Primitive(PrimitiveType::Int)) => true,
        (Type::Primitive(found), Type::Primitive(wanted)) => found == wanted,
        (Type::Map(found), Type::Map(wanted)) => {
            same_type(&found.key_field.field_type, &wanted.key_field.field_type)
                && same_type(&found.value_field.field_type, &wanted.value_field.field_type)
        }
        _ => false,
    }
}

fn refused(table: &str, column: &str, found: &str, wanted: &str) -> LakeError {
    let mut text = format!("table {NAMESPACE}.{table}, column {column}: found {found}, wanted {wanted}");
    if ["silver_", "gold_"].iter().any(|layer| table.starts_with(layer)) {
        // Worked out of what stands elsewhere: nothing is lost.
        text.push_str(
            "; somebody else made this table: rename or drop it, and the next start makes its own from bronze",
        );
    }
    LakeError::new(LakeErrorKind::Permanent, text)
}

/// Checks our columns by name, type and order. Further columns after ours are somebody's own and stay null in our rows.
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

//! The catalog of a data folder, SQLite in `catalog.db`, in spite of what other engines may have done to it.
//!
//! The crate's own catalog puts a table at `warehouse/NAMESPACE/NAME`, so a table that is made after another of that
//! name was renamed would share its folder: here each new table gets a folder of its own. And it can't go on where
//! another engine put the metadata elsewhere (`write.metadata.path`): such a commit is made here. What a table's
//! metadata says is kept in memory: it names hundreds of snapshots, a job loads it several times a commit, and a
//! metadata file never changes. The catalog is asked each time which file is the newest.

use crate::change::SwapMetadata;
use crate::definition::CATALOG;
use crate::definition::{NAMESPACE, our_tables, own_folder};
use crate::errors::lake_error;
use crate::layer::{CatalogLayer, Layered};
use crate::places::METADATA_PATH;
use crate::seam::{LakeError, LakeErrorKind};
use crate::storage::{make_folder, plain};
use async_recursion::async_recursion as boxed;
use iceberg::io::{FileIO, StorageFactory};
use iceberg::spec::{TableMetadata, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{
    Catalog, CatalogBuilder, Error, ErrorKind, MetadataLocation, NamespaceIdent, Result, Runtime, TableCommit,
    TableCreation, TableIdent, TableRequirement, TableUpdate,
};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rva_types::DataFolder;
use sqlx::{Connection, SqliteConnection, SqlitePool, sqlite::SqlitePoolOptions};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;

/// The most connections to the catalog besides those of the crate's.
const CONNECTIONS_MAX: u32 = 2;

/// Opens the catalog of a data folder; folder and catalog are made if they aren't there, tables are not.
///
/// # Errors
/// Fails as [`Lake::open_embedded`](crate::Lake::open_embedded) does.
#[boxed]
pub async fn embedded_catalog(
    data_dir: &Path,
    storage: Arc<dyn StorageFactory>,
) -> std::result::Result<Arc<dyn Catalog>, LakeError> {
    Ok(embedded_parts(data_dir, storage).await?.0)
}

/// Opens the catalog of a data folder and the way to change files in it; folder and catalog are made if they aren't
/// there, tables are not.
///
/// # Errors
/// Returns `Permanent` for a folder that can't be written, `Transient` for no space left, or a catalog that is locked.
pub(crate) async fn embedded_parts(
    data_dir: &Path,
    storage: Arc<dyn StorageFactory>,
) -> std::result::Result<(Arc<dyn Catalog>, Arc<dyn SwapMetadata>), LakeError> {
    let dir = absolute(data_dir)?;
    let warehouse = DataFolder::at(&dir).warehouse();
    let made = warehouse.clone();
    tokio::task::spawn_blocking(move || make_folder(&made))
        .await
        .map_err(|error| LakeError::new(LakeErrorKind::Transient, "folder work was cut off").with_source(error))?
        .map_err(|error| folder_error("make", &warehouse, error))?;
    set_wal(&dir).await?;
    let inner = sql_catalog(&dir, "mode=rwc", storage).await?;
    let failed = |error: sqlx::Error| catalog_error(&dir, error);
    let places = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX);
    let places = places.connect_lazy(&sqlite_url(&dir, "mode=rw")).map_err(failed)?;
    let catalog = Arc::new(Layered(EmbeddedCatalog { inner, dir, places, known: Mutex::default() }));
    Ok((Arc::clone(&catalog) as Arc<dyn Catalog>, catalog as Arc<dyn SwapMetadata>))
}

/// Opens the catalog to read. It makes nothing.
pub(crate) async fn reading_catalog(
    dir: &Path,
    storage: Arc<dyn StorageFactory>,
) -> std::result::Result<Arc<dyn Catalog>, LakeError> {
    Ok(Arc::new(sql_catalog(dir, reading_mode(dir), storage).await?))
}

pub(crate) fn absolute(data_dir: &Path) -> std::result::Result<PathBuf, LakeError> {
    // A link's target may not exist yet: then the folder is about to be made there.
    let dir = fs::canonicalize(data_dir)
        .or_else(|_| std::path::absolute(data_dir))
        .map_err(|error| folder_error("find", data_dir, error))?;
    match dir.to_str() {
        Some(text) if !text.contains(['?', '#']) && !text.split('/').any(|part| part == "..") => Ok(dir),
        _ => {
            let text =
                format!("found data folder {}, wanted a path in UTF-8 without \"?\", \"#\" and \"..\"", dir.display());
            Err(LakeError::new(LakeErrorKind::Permanent, text))
        }
    }
}

pub(crate) fn folder_error(doing: &str, path: &Path, error: io::Error) -> LakeError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::Interrupted => {
            LakeErrorKind::Transient
        }
        _ => LakeErrorKind::Permanent,
    };
    LakeError::new(kind, format!("could not {doing} {}: {error}", path.display())).with_source(error)
}

/// Returns `sqlite:///path?mode`, every byte that means something in a URL encoded.
fn sqlite_url(dir: &Path, mode: &str) -> String {
    let path = DataFolder::at(dir).catalog();
    let mut url = String::from("sqlite://");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{url}?{mode}")
}

/// Returns the mode in which an existing catalog is opened to be read. A catalog in WAL mode needs its side files.
/// Where none can be made and none holds anything, nobody writes either; one that holds commits must not be passed
/// over.
///
/// The file is asked about, never opened: closing any descriptor of it drops the locks of this process's SQLite
/// connections. The next program to close the catalog would take itself for the last one and remove the write-ahead
/// log, and what is committed here afterwards would be lost.
fn reading_mode(dir: &Path) -> &'static str {
    let file = DataFolder::at(dir).catalog();
    let wal = fs::metadata(DataFolder::at(dir).catalog_wal()).map_or(0, |found| found.len());
    if accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS).is_ok() {
        "mode=rw"
    } else if wal > 0 {
        "mode=ro"
    } else {
        "mode=ro&immutable=1"
    }
}

/// Sets write-ahead logging, which stays set in the file. Without it a reader can make a commit fail that the catalog
/// then reports as done; the reload after each commit is the second net.
async fn set_wal(dir: &Path) -> std::result::Result<(), LakeError> {
    let failed = |error: sqlx::Error| catalog_error(dir, error);
    // SQLite would make it readable by everybody; its other files take the rights of this one. One that is there isn't
    // opened: closing it would drop the locks of this process's other connections. What is wrong here SQLite says.
    let _ = fs::File::options().write(true).create_new(true).mode(0o600).open(DataFolder::at(dir).catalog());
    let mut connection = SqliteConnection::connect(&sqlite_url(dir, "mode=rwc")).await.map_err(failed)?;
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode=WAL").fetch_one(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let text = format!("found journal mode {mode} in {}, wanted wal", DataFolder::at(dir).catalog().display());
    Err(LakeError::new(LakeErrorKind::Transient, text))
}

fn catalog_error(dir: &Path, error: sqlx::Error) -> LakeError {
    let path = DataFolder::at(dir).catalog();
    lake_error(
        format_args!("open catalog {}", path.display()),
        Error::new(ErrorKind::Unexpected, error.to_string()).with_source(error),
    )
}

async fn sql_catalog(
    dir: &Path,
    mode: &str,
    storage: Arc<dyn StorageFactory>,
) -> std::result::Result<SqlCatalog, LakeError> {
    SqlCatalogBuilder::default()
        .uri(sqlite_url(dir, mode))
        .warehouse_location(warehouse(dir))
        .sql_bind_style(SqlBindStyle::QMark)
        .with_storage_factory(storage)
        .load(CATALOG, HashMap::new())
        .await
        .map_err(|error| lake_error(format_args!("open catalog {}", DataFolder::at(dir).catalog().display()), error))
}

fn warehouse(dir: &Path) -> String {
    format!("file://{}", DataFolder::at(dir).warehouse().display())
}

/// Puts what is in the write-ahead log of a catalog into its file, which is whole then without its side files.
///
/// # Errors
/// Returns `Transient` while another program reads it.
pub(crate) async fn settled(dir: &Path) -> std::result::Result<(), LakeError> {
    let failed = |error: sqlx::Error| catalog_error(dir, error);
    let mut connection = SqliteConnection::connect(&sqlite_url(dir, "mode=rw")).await.map_err(failed)?;
    let busy: i64 =
        sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    if busy == 0 {
        return Ok(());
    }
    let text = format!("found {} in use, wanted it alone", DataFolder::at(dir).catalog().display());
    Err(LakeError::new(LakeErrorKind::Transient, text))
}

/// Refuses a data folder that was moved or copied: Iceberg's paths are absolute and still point at its old place. Then
/// the file that the catalog names lies at the same place in this folder. A table that somebody keeps elsewhere
/// doesn't.
pub(crate) async fn check_not_moved(dir: &Path) -> std::result::Result<(), LakeError> {
    let wanted = format!("{}/", DataFolder::at(dir).warehouse().display());
    for name in our_tables() {
        let Some(found) = table_place(dir, name).await?.map(|found| plain(&found)) else { continue };
        let Some((was, rest)) = found.split_once(&format!("/{}/", DataFolder::WAREHOUSE)) else { continue };
        if found.starts_with(&wanted) || !Path::new(&wanted).join(rest).exists() {
            continue;
        }
        let text = format!(
            "data folder {} was moved: found table {NAMESPACE}.{name} at {found}, wanted it under {wanted}; \
             move the folder back to {was}; `rva backup` and `rva restore` move tables",
            dir.display()
        );
        return Err(LakeError::new(LakeErrorKind::Permanent, text));
    }
    Ok(())
}

const PLACE: &str =
    "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";

/// Reads where the catalog says that a table's metadata is, from the database: a table whose metadata isn't there any
/// more can't be loaded.
async fn table_place(dir: &Path, name: &str) -> std::result::Result<Option<String>, LakeError> {
    let failed = |error: sqlx::Error| catalog_error(dir, error);
    let mut connection = SqliteConnection::connect(&sqlite_url(dir, reading_mode(dir))).await.map_err(failed)?;
    let place = sqlx::query_scalar(PLACE)
        .bind(CATALOG)
        .bind(NAMESPACE)
        .bind(name)
        .fetch_optional(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(place)
}

/// The crate's catalog, with a folder of its own for each new table.
#[derive(Debug)]
struct EmbeddedCatalog {
    inner: SqlCatalog,
    dir: PathBuf,
    /// The connections by which places of metadata are read and swapped.
    places: SqlitePool,
    /// The metadata that was read or written last of each table.
    known: Mutex<HashMap<TableIdent, Known>>,
}

/// The contents of a metadata file.
#[derive(Debug, Clone)]
struct Known {
    location: String,
    metadata: TableMetadataRef,
    io: FileIO,
}

impl Known {
    fn of(table: &Table) -> Result<Self> {
        let location = table.metadata_location_result()?.to_owned();
        Ok(Self { location, metadata: table.metadata_ref(), io: table.file_io().clone() })
    }

    fn table(self, ident: &TableIdent) -> Result<Table> {
        Table::builder()
            .identifier(ident.clone())
            .file_io(self.io)
            .metadata(self.metadata)
            .metadata_location(self.location)
            .runtime(Runtime::current())
            .build()
    }
}

#[async_trait::async_trait]
impl CatalogLayer for EmbeddedCatalog {
    fn inner(&self) -> &dyn Catalog {
        &self.inner
    }

    async fn create_table(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<Table> {
        if creation.location.is_none() {
            let folder = format!("{}/{}", warehouse(&self.dir), namespace.join("/"));
            creation.location = Some(own_folder(&folder, &creation.name));
        }
        self.inner.create_table(namespace, creation).await
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        if let Some(known) = self.known(table)
            && self.place(table).await?.as_ref() == Some(&known.location)
        {
            return known.table(table);
        }
        let loaded = self.inner.load_table(table).await?;
        self.keep(table, Known::of(&loaded)?);
        Ok(loaded)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let table = self.load_table(commit.identifier()).await?;
        let old = table.metadata_location_result()?.to_owned();
        if old.parse::<MetadataLocation>().is_err() || table.metadata().properties().contains_key(METADATA_PATH) {
            return self.update_elsewhere(table, commit).await;
        }
        let staged = commit.apply(table)?;
        let new = staged.metadata_location_result()?;
        staged.metadata().write_to(staged.file_io(), &new.parse()?).await?;
        self.swap_location(staged.identifier(), &old, Known::of(&staged)?).await?;
        Ok(staged)
    }
}

#[async_trait::async_trait]
impl SwapMetadata for Layered<EmbeddedCatalog> {
    async fn swap(
        &self,
        ident: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<()> {
        let table = self.0.load_table(ident).await?;
        for requirement in requirements {
            requirement.check(Some(table.metadata()))?;
        }
        let old = table.metadata_location_result()?.to_owned();
        let mut builder = table.metadata().clone().into_builder(Some(old.clone()));
        for update in updates {
            builder = update.apply(builder)?;
        }
        let metadata = builder.build()?.metadata;
        let new = match old.parse::<MetadataLocation>() {
            Ok(location) if !table.metadata().properties().contains_key(METADATA_PATH) => {
                let location = location.with_next_version().with_new_metadata(&metadata);
                metadata.write_to(table.file_io(), &location).await?;
                location.to_string()
            }
            _ => {
                let new = elsewhere(&metadata, &old);
                table.file_io().new_output(&new)?.write(serde_json::to_vec(&metadata)?.into()).await?;
                new
            }
        };
        let new = Known { location: new, metadata: metadata.into(), io: table.file_io().clone() };
        self.0.swap_location(ident, &old, new).await
    }
}

/// Returns a new file for metadata that another engine keeps in a folder of its own.
fn elsewhere(metadata: &TableMetadata, old: &str) -> String {
    let name = format!("{:0>5}-{}.metadata.json", version_of(old) + 1, Uuid::new_v4());
    match metadata.properties().get(METADATA_PATH) {
        Some(folder) => format!("{}/{name}", folder.trim_end_matches('/')),
        None => format!("{}/metadata/{name}", metadata.location()),
    }
}

impl EmbeddedCatalog {
    fn known(&self, ident: &TableIdent) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(ident).cloned()
    }

    fn keep(&self, ident: &TableIdent, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(ident.clone(), known);
    }

    /// Reads which metadata file of a table is the newest; `None` where there is no such table.
    async fn place(&self, ident: &TableIdent) -> Result<Option<String>> {
        let failed =
            |error: sqlx::Error| Error::new(ErrorKind::Unexpected, "could not read the catalog").with_source(error);
        sqlx::query_scalar(PLACE)
            .bind(CATALOG)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .fetch_optional(&self.places)
            .await
            .map_err(failed)
    }

    /// Commits to a table whose metadata isn't where the crate can write it.
    async fn update_elsewhere(&self, table: Table, commit: TableCommit) -> Result<Table> {
        let (ident, io) = (table.identifier().clone(), table.file_io().clone());
        let old = table.metadata_location_result()?.to_owned();
        let name = format!("{:0>5}-{}.metadata.json", version_of(&old) + 1, Uuid::new_v4());
        // The crate derives the new name from the old one, so it is given one that it understands.
        let stand_in = format!("{}/metadata/{name}", table.metadata().location());
        let table = Table::builder()
            .identifier(ident.clone())
            .file_io(io.clone())
            .metadata(table.metadata_ref())
            .metadata_location(stand_in.clone())
            .runtime(Runtime::current())
            .build()?;
        let staged = commit.apply(table)?;
        let metadata = with_log_entry(staged.metadata(), &stand_in, &old)?;
        let new = elsewhere(&metadata, &old);
        io.new_output(&new)?.write(serde_json::to_vec(&metadata)?.into()).await?;
        let new = Known { location: new, metadata: metadata.into(), io };
        self.swap_location(&ident, &old, new.clone()).await?;
        new.table(&ident)
    }

    /// Compares and sets the place of a table's metadata.
    async fn swap_location(&self, ident: &TableIdent, old: &str, new: Known) -> Result<()> {
        let failed =
            |error: sqlx::Error| Error::new(ErrorKind::Unexpected, "could not write the catalog").with_source(error);
        let swapped = sqlx::query(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? WHERE catalog_name = ? \
             AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
        )
        .bind(&new.location)
        .bind(old)
        .bind(CATALOG)
        .bind(ident.namespace().join("."))
        .bind(ident.name())
        .bind(old)
        .execute(&self.places)
        .await
        .map_err(failed)?;
        if swapped.rows_affected() == 1 {
            self.keep(ident, new);
            return Ok(());
        }
        let text = format!("another commit to {ident} was first");
        Err(Error::new(ErrorKind::CatalogCommitConflicts, text).with_retryable(true))
    }
}

/// Returns the number that a metadata file's name begins with: `00007-….metadata.json`, `v7.metadata.json`.
fn version_of(location: &str) -> u64 {
    let name = location.rsplit('/').next().unwrap_or(location);
    let digits: String = name.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Returns the metadata with another file named in its log.
fn with_log_entry(metadata: &TableMetadata, found: &str, wanted: &str) -> Result<TableMetadata> {
    let mut json = serde_json::to_value(metadata)?;
    let log = json.get_mut("metadata-log").and_then(|log| log.as_array_mut()).into_iter().flatten();
    for entry in log.filter(|entry| entry.get("metadata-file").and_then(|file| file.as_str()) == Some(found)) {
        if let Some(file) = entry.get_mut("metadata-file") {
            *file = wanted.into();
        }
    }
    Ok(serde_json::from_value(json)?)
}

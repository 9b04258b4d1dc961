//! [`Lake`]: a catalog with the bronze tables in it.

use crate::bronze::BronzeSink;
use crate::dead_letters::DeadLetterSink;
use crate::definition::{NAMESPACE, ensure_table};
use crate::errors::lake_error;
use crate::options::LakeOptions;
use crate::rest::{RestOptions, rest_catalog};
use crate::rows::BronzeRow;
use crate::seam::{LakeError, LakeErrorKind};
use crate::state::StateKeys;
use crate::storage::make_folder;
use iceberg::io::StorageFactory;
use iceberg::{Catalog, CatalogBuilder, NamespaceIdent, TableIdent};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rva_types::DeadLetter;
use sqlx::{Connection, SqliteConnection};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The catalog's name, in SQL and for other engines that open `catalog.db`.
pub const CATALOG: &str = "lakehouse";
/// The catalog's file in a data folder.
pub const CATALOG_FILE: &str = "catalog.db";
/// The folder of the tables' files in a data folder.
pub const WAREHOUSE_FOLDER: &str = "warehouse";

/// A catalog and the options under which its tables are written and read. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) options: LakeOptions,
}

/// Without the catalog, which may hold secrets.
impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens, or makes, the lake of a data folder: `catalog.db`, `warehouse/`, namespace `rva` and the bronze tables.
    ///
    /// # Errors
    /// `Permanent`: a folder that can't be written, one that was moved since its tables were made, a table with other
    /// columns. `Transient`: no space left, a catalog that is locked.
    pub async fn open_embedded(data_dir: &Path, options: LakeOptions) -> Result<Self, LakeError> {
        let catalog = embedded_catalog(data_dir, Arc::clone(&options.storage)).await?;
        check_not_moved(catalog.as_ref(), &absolute(data_dir)?).await?;
        Self::from_parts(catalog, options).await
    }

    /// Opens the lake of a data folder to read. Makes nothing.
    ///
    /// # Errors
    /// `Permanent`: no catalog there, a folder that was moved or can't be read.
    pub async fn open_embedded_read_only(data_dir: &Path, options: LakeOptions) -> Result<Self, LakeError> {
        let dir = absolute(data_dir)?;
        let file = dir.join(CATALOG_FILE);
        match fs::metadata(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!(
                    "found no {CATALOG_FILE} in {}, wanted a data folder that was ingested into",
                    dir.display()
                );
                return Err(LakeError::new(LakeErrorKind::Permanent, text));
            }
            Err(error) => return Err(folder_error("read", &file, error)),
        }
        let mode = reading_mode(&dir);
        let catalog: Arc<dyn Catalog> = Arc::new(sql_catalog(&dir, mode, Arc::clone(&options.storage)).await?);
        check_not_moved(catalog.as_ref(), &dir).await?;
        Ok(Self { catalog, options })
    }

    /// Opens the lake of a REST catalog: namespace `rva` and the bronze tables are made where they aren't there.
    /// `options` say how the catalog's object store is reached ([`LakeOptions::with_s3`]).
    ///
    /// # Errors
    /// `Transient`: catalog or store don't answer. `Permanent`: the address isn't a catalog's, it refuses us, the store
    /// does, the bucket isn't there, a table has other columns.
    pub async fn open_rest(rest: &RestOptions, options: LakeOptions) -> Result<Self, LakeError> {
        let catalog = rest_catalog(rest, Arc::clone(&options.storage)).await?;
        Self::from_parts(catalog, options).await
    }

    /// Opens the lake of a REST catalog to read. Makes nothing.
    ///
    /// # Errors
    /// As [`Lake::open_rest`].
    pub async fn open_rest_read_only(rest: &RestOptions, options: LakeOptions) -> Result<Self, LakeError> {
        let catalog = rest_catalog(rest, Arc::clone(&options.storage)).await?;
        Ok(Self { catalog, options })
    }

    /// A lake over any catalog, for instance one that is wrapped with faults. Makes namespace and tables.
    ///
    /// # Errors
    /// As [`Lake::open_embedded`].
    pub async fn from_parts(catalog: Arc<dyn Catalog>, options: LakeOptions) -> Result<Self, LakeError> {
        StateKeys::of_job(&options.job)?;
        ensure_table::<BronzeRow>(catalog.as_ref()).await?;
        ensure_table::<DeadLetter>(catalog.as_ref()).await?;
        Ok(Self { catalog, options })
    }

    /// The sink of `rva.bronze_raw`. Nothing is read before its first call.
    ///
    /// # Errors
    /// `Permanent`: a job name that can't be a property key.
    pub fn bronze_sink(&self) -> Result<BronzeSink, LakeError> {
        BronzeSink::new(self)
    }

    /// The sink of `rva.bronze_dead_letters`. Nothing is read before its first call.
    ///
    /// # Errors
    /// `Permanent`: a job name that can't be a property key.
    pub fn dead_letter_sink(&self) -> Result<DeadLetterSink, LakeError> {
        DeadLetterSink::new(self)
    }

    /// The catalog, for other engines' work on the same tables.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog)
    }
}

/// The catalog of a data folder; folder and catalog are made if they aren't there, tables are not.
///
/// # Errors
/// `Permanent`: a folder that can't be written. `Transient`: no space left, a catalog that is locked.
pub async fn embedded_catalog(
    data_dir: &Path,
    storage: Arc<dyn StorageFactory>,
) -> Result<Arc<dyn Catalog>, LakeError> {
    let dir = absolute(data_dir)?;
    let warehouse = dir.join(WAREHOUSE_FOLDER);
    let made = warehouse.clone();
    tokio::task::spawn_blocking(move || make_folder(&made))
        .await
        .map_err(|error| LakeError::new(LakeErrorKind::Transient, "folder work was cut off").with_source(error))?
        .map_err(|error| folder_error("make", &warehouse, error))?;
    set_wal(&dir).await?;
    Ok(Arc::new(sql_catalog(&dir, "mode=rwc", storage).await?))
}

fn absolute(data_dir: &Path) -> Result<PathBuf, LakeError> {
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

fn folder_error(doing: &str, path: &Path, error: io::Error) -> LakeError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::Interrupted => {
            LakeErrorKind::Transient
        }
        _ => LakeErrorKind::Permanent,
    };
    LakeError::new(kind, format!("could not {doing} {}: {error}", path.display())).with_source(error)
}

/// `sqlite:///path?mode`, every byte that means something in a URL encoded.
fn sqlite_url(dir: &Path, mode: &str) -> String {
    let path = dir.join(CATALOG_FILE);
    let mut url = String::from("sqlite://");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{url}?{mode}")
}

/// How an existing catalog is opened to be read. A catalog in WAL mode needs its side files. Where none can be made and
/// none holds anything, nobody writes either; one that holds commits must not be passed over.
///
/// The file is asked about, never opened: closing any descriptor of it drops the locks of this process's SQLite
/// connections. The next program to close the catalog would take itself for the last one and remove the write-ahead
/// log, and what is committed here afterwards would be lost.
fn reading_mode(dir: &Path) -> &'static str {
    let file = dir.join(CATALOG_FILE);
    let wal = fs::metadata(dir.join(format!("{CATALOG_FILE}-wal"))).map_or(0, |found| found.len());
    if accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS).is_ok() {
        "mode=rw"
    } else if wal > 0 {
        "mode=ro"
    } else {
        "mode=ro&immutable=1"
    }
}

/// Write-ahead logging stays set in the file. Without it a reader can make a commit fail that the catalog then
/// reports as done; the reload after each commit is the second net.
async fn set_wal(dir: &Path) -> Result<(), LakeError> {
    let failed = |error: sqlx::Error| catalog_error(dir, error);
    // SQLite would make it readable by everybody; its other files take the rights of this one. What is wrong here it says.
    let _ = fs::File::options().append(true).create(true).mode(0o600).open(dir.join(CATALOG_FILE));
    let mut connection = SqliteConnection::connect(&sqlite_url(dir, "mode=rwc")).await.map_err(failed)?;
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode=WAL").fetch_one(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let text = format!("found journal mode {mode} in {}, wanted wal", dir.join(CATALOG_FILE).display());
    Err(LakeError::new(LakeErrorKind::Transient, text))
}

fn catalog_error(dir: &Path, error: sqlx::Error) -> LakeError {
    let path = dir.join(CATALOG_FILE);
    // SQLite's primary codes: 8 read-only, 14 cannot open, 23 not authorised, 26 not a database, 11 damaged.
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    let kind = match code.map(|code| code & 0xff) {
        Some(8 | 11 | 14 | 23 | 26) => LakeErrorKind::Permanent,
        _ => LakeErrorKind::Transient,
    };
    LakeError::new(kind, format!("could not open catalog {}: {error}", path.display())).with_source(error)
}

async fn sql_catalog(
    dir: &Path,
    mode: &str,
    storage: Arc<dyn StorageFactory>,
) -> Result<iceberg_catalog_sql::SqlCatalog, LakeError> {
    SqlCatalogBuilder::default()
        .uri(sqlite_url(dir, mode))
        .warehouse_location(format!("file://{}", dir.join(WAREHOUSE_FOLDER).display()))
        .sql_bind_style(SqlBindStyle::QMark)
        .with_storage_factory(storage)
        .load(CATALOG, HashMap::new())
        .await
        .map_err(|error| lake_error(format_args!("open catalog {}", dir.join(CATALOG_FILE).display()), error))
}

/// Iceberg's paths are absolute: a data folder that was moved or copied still points at its old place.
async fn check_not_moved(catalog: &dyn Catalog, dir: &Path) -> Result<(), LakeError> {
    let failed = |error| lake_error(format_args!("list the tables of {}", dir.display()), error);
    let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
    if !catalog.namespace_exists(&namespace).await.map_err(failed)? {
        return Ok(());
    }
    let wanted = format!("file://{}/", dir.join(WAREHOUSE_FOLDER).display());
    for ident in catalog.list_tables(&namespace).await.map_err(failed)? {
        let Some(found) = table_place(dir, &ident).await? else { continue };
        if !found.starts_with(&wanted) {
            let was = found.split(&format!("/{WAREHOUSE_FOLDER}/")).next().unwrap_or(&found);
            let was = was.strip_prefix("file://").unwrap_or(was);
            let text = format!(
                "data folder {} was moved: found table {ident} at {found}, wanted it under {wanted}; \
                 move the folder back to {was}, or replay into a new one",
                dir.display()
            );
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
    }
    Ok(())
}

/// Where the catalog says that a table's metadata is. Read from the database: a table whose metadata isn't there any
/// more can't be loaded.
async fn table_place(dir: &Path, ident: &TableIdent) -> Result<Option<String>, LakeError> {
    let failed = |error: sqlx::Error| catalog_error(dir, error);
    let mut connection = SqliteConnection::connect(&sqlite_url(dir, reading_mode(dir))).await.map_err(failed)?;
    let place = sqlx::query_scalar(
        "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
    )
    .bind(CATALOG)
    .bind(ident.namespace().join("."))
    .bind(ident.name())
    .fetch_optional(&mut connection)
    .await
    .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(place)
}

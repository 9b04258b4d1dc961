//! The place that a backup is restored to: a data folder that has no tables, or a namespace of a REST catalog.

use crate::backup::capture::in_order;
use crate::backup::record::{Backup, TableBackup};
use crate::definition::{new_location, own_folder};
use crate::embedded::{absolute, embedded_parts, folder_error, settled};
use crate::errors::lake_error;
use crate::options::LakeOptions;
use crate::rest::rest_parts;
use crate::rest_options::RestOptions;
use crate::seam::{LakeError, LakeErrorKind};
use crate::storage::plain;
use iceberg::io::Storage;
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use rva_types::DataFolder;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// The folder of a data folder in which its catalog is made: a restore that was cut off is told by it.
const RESTORING: &str = ".restoring";

/// Properties of a namespace that say where it was.
const PLACES: [&str; 2] = ["location", "owner"];

/// The place of restored tables.
#[derive(Debug, Clone)]
pub enum RestoreTarget {
    /// A data folder, which has no tables yet. A log may be there.
    Folder(PathBuf),
    /// A namespace of a REST catalog that has none of the tables.
    Rest {
        /// The catalog.
        rest: Box<RestOptions>,
        /// The namespace's name.
        namespace: String,
    },
}

/// A target that was found empty.
pub(crate) struct Prepared {
    pub catalog: Arc<dyn Catalog>,
    namespace: NamespaceIdent,
    folder: Option<PathBuf>,
}

fn refused(text: String) -> LakeError {
    LakeError::new(LakeErrorKind::Permanent, text)
}

impl RestoreTarget {
    /// Refuses a target that has something; makes what is needed.
    pub(crate) async fn prepare(&self, backup: &Backup, options: &LakeOptions) -> Result<Prepared, LakeError> {
        match self {
            Self::Folder(folder) => {
                let folder = empty_folder(folder)?;
                let (catalog, _) = embedded_parts(&folder.join(RESTORING), Arc::clone(&options.storage)).await?;
                let namespace = NamespaceIdent::new(backup.namespace.clone());
                Ok(Prepared { catalog, namespace, folder: Some(folder) })
            }
            Self::Rest { rest, namespace } => {
                let (catalog, _) = rest_parts(rest, Arc::clone(&options.storage)).await?;
                let prepared = Prepared { catalog, namespace: NamespaceIdent::new(namespace.clone()), folder: None };
                prepared.refuse_tables(backup).await?;
                Ok(prepared)
            }
        }
    }
}

/// Returns a data folder that has no tables. What a restore that was cut off left there goes: there was nothing before.
fn empty_folder(folder: &Path) -> Result<PathBuf, LakeError> {
    let folder = absolute(folder)?;
    let holds = |path: &Path| path.try_exists().map_err(|error| folder_error("look for", path, error));
    let catalog = DataFolder::at(&folder).catalog();
    let refuse = |path: &Path| {
        let text = format!(
            "found {} already, wanted a data folder without tables: nothing was written; name another one (--to), or \
             move it away",
            path.display()
        );
        Err(refused(text))
    };
    if holds(&catalog)? {
        return refuse(&catalog);
    }
    let (warehouse, restoring) = (DataFolder::at(&folder).warehouse(), folder.join(RESTORING));
    if holds(&restoring)? {
        for path in [&warehouse, &restoring] {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(folder_error("remove what an earlier restore left in", path, error));
                }
                _ => {}
            }
        }
        tracing::info!(folder = %folder.display(), "begins a restore again that was cut off");
    }
    let is_empty = match fs::read_dir(&warehouse) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(folder_error("look into", &warehouse, error)),
    };
    if is_empty { Ok(folder) } else { refuse(&warehouse) }
}

impl Prepared {
    fn ident(&self, name: &str) -> TableIdent {
        TableIdent::new(self.namespace.clone(), name.to_owned())
    }

    async fn refuse_tables(&self, backup: &Backup) -> Result<(), LakeError> {
        let failed = |error| lake_error(format_args!("list the tables of {}", self.namespace), error);
        if !self.catalog.namespace_exists(&self.namespace).await.map_err(failed)? {
            return Ok(());
        }
        let found = self.catalog.list_tables(&self.namespace).await.map_err(failed)?;
        let names: Vec<&str> = backup.tables.iter().map(|table| table.name.as_str()).collect();
        match found.iter().find(|ident| names.contains(&ident.name())) {
            None => Ok(()),
            Some(ident) => Err(refused(format!(
                "found table {ident} already, wanted a namespace without the tables of the backup: nothing was \
                 written; name another one (--to), or drop or rename it"
            ))),
        }
    }

    /// Makes the namespace where it is missing.
    pub(crate) async fn make_namespace(&self, backup: &Backup) -> Result<(), LakeError> {
        let failed = |error| lake_error(format_args!("make namespace {}", self.namespace), error);
        if self.catalog.namespace_exists(&self.namespace).await.map_err(failed)? {
            return Ok(());
        }
        let kept = backup.properties.iter().filter(|(key, _)| !PLACES.contains(&key.as_str()));
        let properties: HashMap<String, String> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.catalog.create_namespace(&self.namespace, properties).await.map_err(failed).map(drop)
    }

    /// Returns a folder of its own for a table, where the catalog has its tables.
    pub(crate) async fn location(&self, table: &TableBackup, options: &LakeOptions) -> Result<String, LakeError> {
        if let Some(folder) = &self.folder {
            let warehouse = DataFolder::at(folder).warehouse().join(self.namespace.join("/"));
            return Ok(own_folder(&format!("file://{}", warehouse.display()), &table.name));
        }
        if let Some(location) = new_location(self.catalog.as_ref(), &self.namespace, &table.name).await {
            return Ok(location);
        }
        // It decides itself, when it makes a table.
        let ident = self.ident(&table.name);
        let failed = |error| lake_error(format_args!("ask where {ident} is to be"), error);
        let schema = table.metadata.current_schema().as_ref().clone();
        let creation = TableCreation::builder().name(table.name.clone()).schema(schema).build();
        let made = self.catalog.create_table(&self.namespace, creation).await.map_err(failed)?;
        self.catalog.drop_table(&ident).await.map_err(failed)?;
        let location = made.metadata().location().trim_end_matches('/').to_owned();
        if let Some(metadata) = made.metadata_location().filter(|place| plain(place).starts_with(&plain(&location))) {
            options.lister.storage().delete(metadata).await.map_err(failed)?;
        }
        let (above, _) = location.rsplit_once('/').unwrap_or((location.as_str(), ""));
        Ok(own_folder(above, &table.name))
    }

    /// Makes the tables known, each in front of those that follow it: whoever opens the catalog meanwhile finds a table
    /// that it reads, or misses one that it works out again.
    pub(crate) async fn register(self, places: HashMap<&str, String>) -> Result<(), LakeError> {
        let mut idents: Vec<TableIdent> = places.keys().map(|name| self.ident(name)).collect();
        in_order(&mut idents);
        let mut done = Vec::new();
        for ident in idents.iter().rev() {
            let Some(place) = places.get(ident.name()) else { continue };
            let registered = self.catalog.register_table(ident, place.clone()).await;
            if let Err(error) = registered {
                let done = if done.is_empty() { "nothing".to_owned() } else { done.join(", ") };
                let doing =
                    format!("register {ident} ({done} is registered: drop that before the backup is restored again)");
                return Err(lake_error(doing, error));
            }
            done.push(ident.to_string());
        }
        let Some(folder) = self.folder else { return Ok(()) };
        drop(self.catalog);
        // The catalog appears with all its tables, or not at all.
        let restoring = folder.join(RESTORING);
        settled(&restoring).await?;
        let (from, to) = (restoring.join(DataFolder::CATALOG), DataFolder::at(&folder).catalog());
        let appear = || {
            fs::File::open(&from)?.sync_all()?;
            fs::rename(&from, &to)?;
            fs::File::open(&folder)?.sync_all()?;
            fs::remove_dir_all(&restoring)
        };
        appear().map_err(|error| folder_error("finish the catalog", &to, error))
    }
}

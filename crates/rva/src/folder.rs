//! The data folder as a command needs it: absolute, there, with tables or a log, writable.

use anyhow::Context;
use rva_lake::Lake;
use rva_service::{
    CatalogKind, Loaded,
    tables::{TableSettings, Tables},
};
use rva_types::DataFolder;
use std::{fs, os::unix::fs::DirBuilderExt, path::Path};

/// Opens the tables that the configuration names, to read: of the data folder, or of a REST catalog.
///
/// # Errors
/// Returns an error where there are none, or they can't be reached.
pub async fn lake_to_read(loaded: &Loaded) -> anyhow::Result<Lake> {
    table_settings(loaded)?.open_to_read().await.context("open the tables")
}

/// Returns the settings of the tables that the configuration names; those of a data folder must be there.
///
/// # Errors
/// Returns an error where there are none, or for keys that don't fit together.
pub fn table_settings(loaded: &Loaded) -> anyhow::Result<TableSettings> {
    let mut settings = TableSettings::of(loaded)?;
    if loaded.config.catalog.kind == CatalogKind::Embedded {
        let folder = absolute(&loaded.config.data_dir)?;
        folder.wants_tables()?;
        settings.tables = Tables::Embedded(folder.root().to_owned());
    }
    Ok(settings)
}

/// Returns the same for whoever writes: the data folder can be written.
///
/// # Errors
/// Returns the errors of [`table_settings`], and why the folder can't be written.
pub fn table_settings_to_write(loaded: &Loaded) -> anyhow::Result<TableSettings> {
    let settings = table_settings(loaded)?;
    if let Tables::Embedded(root) = &settings.tables {
        absolute(root)?.make_writable()?;
    }
    Ok(settings)
}

/// Returns the paths of a folder, which need not exist. Iceberg stores absolute paths, so it is made absolute.
///
/// # Errors
/// Returns an error where the working directory is gone.
pub fn absolute(path: &Path) -> anyhow::Result<DataFolder> {
    let root = std::path::absolute(path).with_context(|| format!("find data folder {}", path.display()))?;
    // The same folder through a link is the same folder.
    Ok(DataFolder::at(fs::canonicalize(&root).unwrap_or(root)))
}

/// Checks of what a command needs of a data folder.
pub trait Checks {
    /// Checks that there are tables to read.
    ///
    /// # Errors
    /// Returns an error where there are none, which says which command makes some.
    fn wants_tables(&self) -> anyhow::Result<()>;

    /// Checks that there is a log to read.
    ///
    /// # Errors
    /// Returns an error where there is none, which says which command makes one.
    fn wants_log(&self) -> anyhow::Result<()>;

    /// Makes the folder, if it isn't there, and checks that it can be written.
    ///
    /// # Errors
    /// Returns why it can't, with the path.
    fn make_writable(&self) -> anyhow::Result<()>;
}

impl Checks for DataFolder {
    fn wants_tables(&self) -> anyhow::Result<()> {
        if holds(self, &self.catalog())? {
            return Ok(());
        }
        anyhow::bail!(
            "found no catalog.db in {}, wanted a data folder with tables: `rva run` and `rva ingest` make one (--data-dir names another)",
            self.root().display()
        )
    }

    fn wants_log(&self) -> anyhow::Result<()> {
        if holds(self, &self.log())? {
            return Ok(());
        }
        anyhow::bail!(
            "found no log/ in {}, wanted a data folder with a log: `rva run` and `rva replay` make one (--data-dir names another)",
            self.root().display()
        )
    }

    fn make_writable(&self) -> anyhow::Result<()> {
        let wanted =
            || format!("data folder {} can't be used, wanted a folder that can be written", self.root().display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.root()).with_context(wanted)?;
        let probe = self.root().join(format!(".probe-{}", std::process::id()));
        fs::write(&probe, b"").with_context(wanted)?;
        fs::remove_file(&probe).with_context(wanted)
    }
}

/// Returns whether something is there; not being allowed to look is an error, not an absence.
fn holds(folder: &DataFolder, path: &Path) -> anyhow::Result<bool> {
    path.try_exists().with_context(|| {
        format!("data folder {} can't be used, wanted a folder that can be read", folder.root().display())
    })
}

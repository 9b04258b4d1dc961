//! The layout of a data folder, which every program that opens one has from here.

use std::path::{Path, PathBuf};

/// The paths of a data folder. It knows where things lie, and touches none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// The file of the Iceberg catalog.
    pub const CATALOG: &'static str = "catalog.db";
    /// The folder of the tables.
    pub const WAREHOUSE: &'static str = "warehouse";
    /// The folder of the embedded log.
    pub const LOG: &'static str = "log";
    /// The file whose lock says who ingests.
    pub const INGEST_LOCK: &'static str = "ingest.lock";
    /// The folder of annotated videos and pictures.
    pub const ANNOTATED: &'static str = "annotated";

    /// Makes the paths of a folder, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the file of the Iceberg catalog.
    pub fn catalog(&self) -> PathBuf {
        self.root.join(Self::CATALOG)
    }

    /// Returns the log that SQLite writes ahead of the catalog's file.
    pub fn catalog_wal(&self) -> PathBuf {
        self.root.join(format!("{}-wal", Self::CATALOG))
    }

    /// Returns the folder of the tables.
    pub fn warehouse(&self) -> PathBuf {
        self.root.join(Self::WAREHOUSE)
    }

    /// Returns the folder of the embedded log.
    pub fn log(&self) -> PathBuf {
        self.root.join(Self::LOG)
    }

    /// Returns the file whose lock says who ingests.
    pub fn ingest_lock(&self) -> PathBuf {
        self.root.join(Self::INGEST_LOCK)
    }

    /// Returns the folder of annotated videos and pictures, where no other place is named.
    pub fn annotated(&self) -> PathBuf {
        self.root.join(Self::ANNOTATED)
    }
}

//! [`Lake`]: a catalog, and the options under which its tables are written and read.

use crate::change::{NoSwap, SwapMetadata};
use crate::definition::ensure_bronze;
use crate::embedded::{absolute, check_not_moved, embedded_parts, folder_error, reading_catalog};
use crate::evolve::partition_by_day;
use crate::lists::FileLists;
use crate::options::LakeOptions;
use crate::rest::rest_parts;
use crate::rest_options::RestOptions;
use crate::seam::{LakeError, LakeErrorKind};
use crate::writers::Writers;
use async_recursion::async_recursion as boxed;
use iceberg::Catalog;
use rva_types::{DataFolder, JobName};
use std::{fs, io, path::Path, sync::Arc};

/// A catalog and the options under which its tables are written and read. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) swap: Arc<dyn SwapMetadata>,
    pub(crate) options: LakeOptions,
    /// What reads have found of the tables' files.
    pub(crate) lists: FileLists,
    /// The programs that write to the same data folder; `None` where nobody can tell.
    pub(crate) writers: Option<Arc<Writers>>,
}

/// Leaves out the catalog, which may hold secrets.
impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens, or makes, the lake of a data folder: `catalog.db`, `warehouse/`, namespace `rva` and the bronze tables.
    ///
    /// # Errors
    /// Returns `Permanent` for a folder that can't be written, one that was moved since its tables were made, or a
    /// table with other columns; `Transient` for no space left, or a catalog that is locked.
    #[boxed]
    pub async fn open_embedded(data_dir: &Path, options: LakeOptions) -> Result<Self, LakeError> {
        let (catalog, swap) = embedded_parts(data_dir, Arc::clone(&options.storage)).await?;
        let dir = absolute(data_dir)?;
        check_not_moved(&dir).await?;
        let warehouse = DataFolder::at(&dir).warehouse();
        let writers = tokio::task::spawn_blocking(move || Writers::join(&warehouse)).await.ok().flatten();
        let lake = Self::from_parts(catalog, options).await?.with_swap(swap);
        Self { writers: writers.map(Arc::new), ..lake }.partitioned().await
    }

    /// Opens the lake of a data folder to read. It makes nothing.
    ///
    /// # Errors
    /// Returns `Permanent` where there is no catalog, or for a folder that was moved or can't be read.
    #[boxed]
    pub async fn open_embedded_read_only(data_dir: &Path, options: LakeOptions) -> Result<Self, LakeError> {
        let dir = absolute(data_dir)?;
        let file = DataFolder::at(&dir).catalog();
        match fs::metadata(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!(
                    "found no {} in {}, wanted a data folder that was ingested into",
                    DataFolder::CATALOG,
                    dir.display()
                );
                return Err(LakeError::new(LakeErrorKind::Permanent, text));
            }
            Err(error) => return Err(folder_error("read", &file, error)),
        }
        let catalog = reading_catalog(&dir, Arc::clone(&options.storage)).await?;
        check_not_moved(&dir).await?;
        Ok(Self {
            catalog,
            swap: Arc::new(NoSwap("a lake to read")),
            options,
            lists: FileLists::default(),
            writers: None,
        })
    }

    /// Opens the lake of a REST catalog: namespace `rva` and the bronze tables are made where they aren't there.
    /// `options` say how the catalog's object store is reached ([`LakeOptions::with_s3`]).
    ///
    /// # Errors
    /// Returns `Transient` where catalog or store don't answer; `Permanent` where the address isn't a catalog's, it or
    /// the store refuses us, the bucket isn't there, or a table has other columns.
    #[boxed]
    pub async fn open_rest(rest: &RestOptions, options: LakeOptions) -> Result<Self, LakeError> {
        let (catalog, swap) = rest_parts(rest, Arc::clone(&options.storage)).await?;
        Self::from_parts(catalog, options).await?.with_swap(swap).partitioned().await
    }

    /// Opens the lake of a REST catalog to read. It makes nothing.
    ///
    /// # Errors
    /// Fails as [`Lake::open_rest`] does.
    #[boxed]
    pub async fn open_rest_read_only(rest: &RestOptions, options: LakeOptions) -> Result<Self, LakeError> {
        let (catalog, _) = rest_parts(rest, Arc::clone(&options.storage)).await?;
        Ok(Self {
            catalog,
            swap: Arc::new(NoSwap("a lake to read")),
            options,
            lists: FileLists::default(),
            writers: None,
        })
    }

    /// Partitions the tables as the options want them.
    async fn partitioned(self) -> Result<Self, LakeError> {
        partition_by_day(self.catalog.as_ref(), self.swap.as_ref(), &self.options).await?;
        Ok(self)
    }

    /// Makes a lake over any catalog, for instance one that is wrapped with faults, with its namespace and tables.
    ///
    /// # Errors
    /// Fails as [`Lake::open_embedded`] does.
    #[boxed]
    pub async fn from_parts(catalog: Arc<dyn Catalog>, options: LakeOptions) -> Result<Self, LakeError> {
        ensure_bronze(catalog.as_ref(), &options).await?;
        Ok(Self {
            catalog,
            swap: Arc::new(NoSwap("another catalog")),
            options,
            lists: FileLists::default(),
            writers: None,
        })
    }

    /// Sets the way to change files: that of an embedded catalog, or one that is wrapped with faults.
    #[must_use]
    pub fn with_swap(mut self, swap: Arc<dyn SwapMetadata>) -> Self {
        self.swap = swap;
        self
    }

    /// Returns the way in which files are changed.
    pub fn swap(&self) -> Arc<dyn SwapMetadata> {
        Arc::clone(&self.swap)
    }

    /// Returns the same tables for another job, whose offsets are its own.
    #[must_use]
    pub fn for_job(&self, job: JobName) -> Self {
        let mut lake = self.clone();
        lake.options.job = job;
        lake
    }

    /// Returns the catalog, for other engines' work on the same tables.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog)
    }
}

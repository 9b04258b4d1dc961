//! The lake's own storage on a bad disk.

use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use iceberg::{Error, ErrorKind, Result};
use rva_lake::storage::LakeStorageFactory;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex};

/// A call of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageCall {
    /// Looks whether a file is there, or how large it is.
    Look,
    /// Reads a whole file.
    Read,
    /// Opens a file for reading.
    Open,
    /// Writes a whole file.
    Write,
    /// Opens a file for writing.
    Create,
    /// Writes a part of an open file.
    WritePart,
    /// Makes an open file durable.
    Close,
    /// Deletes a file.
    Delete,
    /// Deletes many files.
    DeleteMany,
}

/// A plan of faults: says what strikes when the storage is called.
#[async_trait::async_trait]
pub trait StorageFaults: fmt::Debug + Send + Sync + 'static {
    /// Fails a call instead of having it done.
    ///
    /// # Errors
    /// Returns the error that the call gives.
    async fn before(&self, call: StorageCall, path: &str) -> Result<()>;

    /// Returns where the process is alive; of a dead one no write comes back.
    async fn alive(&self) {}
}

/// No faults at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

#[async_trait::async_trait]
impl StorageFaults for NoFaults {
    async fn before(&self, _: StorageCall, _: &str) -> Result<()> {
        Ok(())
    }
}

/// No space left for files whose path ends so, while it is set. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct FullDisk(Arc<Mutex<Option<&'static str>>>);

impl FullDisk {
    /// Refuses files that end so from now on.
    pub fn for_files_ending_in(&self, ending: Option<&'static str>) {
        *self.0.lock().unwrap() = ending;
    }
}

#[async_trait::async_trait]
impl StorageFaults for FullDisk {
    async fn before(&self, call: StorageCall, path: &str) -> Result<()> {
        let ending = *self.0.lock().unwrap();
        if matches!(call, StorageCall::Write | StorageCall::Create) && ending.is_some_and(|it| path.ends_with(it)) {
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(Error::new(ErrorKind::Unexpected, format!("could not write {path}")).with_source(error));
        }
        Ok(())
    }
}

fn no_faults() -> Arc<dyn StorageFaults> {
    Arc::new(NoFaults)
}

fn no_storage() -> Arc<dyn Storage> {
    Arc::new(LakeStorageFactory::default().storage())
}

/// Makes storages with faults.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaultyFactory {
    inner: LakeStorageFactory,
    #[serde(skip, default = "no_faults")]
    faults: Arc<dyn StorageFaults>,
}

impl FaultyFactory {
    /// Wraps a factory.
    pub fn over(inner: LakeStorageFactory, faults: impl StorageFaults) -> Self {
        Self { inner, faults: Arc::new(faults) }
    }
}

#[typetag::serde]
impl StorageFactory for FaultyFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(FaultyStorage { inner: self.inner.build(config)?, faults: Arc::clone(&self.faults) }))
    }
}

/// A storage that passes calls on, but for what a plan says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaultyStorage {
    #[serde(skip, default = "no_storage")]
    inner: Arc<dyn Storage>,
    #[serde(skip, default = "no_faults")]
    faults: Arc<dyn StorageFaults>,
}

struct FaultyWrite {
    inner: Box<dyn FileWrite>,
    faults: Arc<dyn StorageFaults>,
    path: String,
}

#[async_trait::async_trait]
impl FileWrite for FaultyWrite {
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        self.faults.before(StorageCall::WritePart, &self.path).await?;
        self.inner.write(bytes).await
    }

    async fn close(&mut self) -> Result<()> {
        self.faults.before(StorageCall::Close, &self.path).await?;
        self.inner.close().await?;
        self.faults.alive().await;
        Ok(())
    }
}

#[async_trait::async_trait]
#[typetag::serde]
impl Storage for FaultyStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.faults.before(StorageCall::Look, path).await?;
        self.inner.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.faults.before(StorageCall::Look, path).await?;
        self.inner.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<bytes::Bytes> {
        self.faults.before(StorageCall::Read, path).await?;
        self.inner.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.faults.before(StorageCall::Open, path).await?;
        self.inner.reader(path).await
    }

    async fn write(&self, path: &str, bytes: bytes::Bytes) -> Result<()> {
        self.faults.before(StorageCall::Write, path).await?;
        self.inner.write(path, bytes).await?;
        self.faults.alive().await;
        Ok(())
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        self.faults.before(StorageCall::Create, path).await?;
        let inner = self.inner.writer(path).await?;
        Ok(Box::new(FaultyWrite { inner, faults: Arc::clone(&self.faults), path: path.to_owned() }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.faults.before(StorageCall::Delete, path).await?;
        self.inner.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.faults.before(StorageCall::DeleteMany, path).await?;
        self.inner.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        self.faults.before(StorageCall::DeleteMany, "").await?;
        self.inner.delete_stream(paths).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

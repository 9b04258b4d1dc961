//! Files inside the process, through `object_store`.

use super::StoredFile;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use iceberg::io::{FileMetadata, FileRead, FileWrite};
use iceberg::{Error, ErrorKind, Result};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use std::{ops::Range, sync::Arc};

fn failed(doing: &str, path: &Path, error: object_store::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("could not {doing} memory:/{path}")).with_source(error)
}

#[derive(Debug, Clone, Default)]
pub(super) struct MemoryStore(Arc<InMemory>);

impl MemoryStore {
    pub(super) async fn exists(&self, path: Path) -> Result<bool> {
        match self.0.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("look for", &path, error)),
        }
    }

    pub(super) async fn metadata(&self, path: Path) -> Result<FileMetadata> {
        let found = self.0.head(&path).await.map_err(|error| failed("look at", &path, error))?;
        Ok(FileMetadata { size: found.size })
    }

    pub(super) async fn read(&self, path: Path) -> Result<Bytes> {
        let found = self.0.get(&path).await.map_err(|error| failed("read", &path, error))?;
        found.bytes().await.map_err(|error| failed("read", &path, error))
    }

    pub(super) fn reader(&self, path: Path) -> Box<dyn FileRead> {
        Box::new(MemoryRead { store: self.clone(), path })
    }

    pub(super) fn writer(&self, path: Path) -> Box<dyn FileWrite> {
        Box::new(MemoryWrite { store: self.clone(), path, bytes: Some(BytesMut::new()) })
    }

    pub(super) async fn delete(&self, path: Path) -> Result<()> {
        match self.0.delete(&path).await {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(failed("delete", &path, error)),
            _ => Ok(()),
        }
    }

    pub(super) async fn delete_folder(&self, path: Path) -> Result<()> {
        let found: Vec<_> =
            self.0.list(Some(&path)).try_collect().await.map_err(|error| failed("list", &path, error))?;
        for file in found {
            self.delete(file.location).await?;
        }
        Ok(())
    }

    pub(super) async fn list(&self, path: Path) -> Result<Vec<StoredFile>> {
        let found: Vec<_> =
            self.0.list(Some(&path)).try_collect().await.map_err(|error| failed("list", &path, error))?;
        Ok(found
            .into_iter()
            .map(|file| StoredFile {
                location: format!("memory:/{}", file.location),
                size: file.size,
                modified: file.last_modified.into(),
            })
            .collect())
    }
}

#[derive(Debug)]
struct MemoryRead {
    store: MemoryStore,
    path: Path,
}

#[async_trait::async_trait]
impl FileRead for MemoryRead {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.store.0.get_range(&self.path, range).await.map_err(|error| failed("read", &self.path, error))
    }
}

struct MemoryWrite {
    store: MemoryStore,
    path: Path,
    bytes: Option<BytesMut>,
}

#[async_trait::async_trait]
impl FileWrite for MemoryWrite {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unexpected, format!("memory:/{} is closed", self.path));
        self.bytes.as_mut().ok_or_else(closed)?.extend_from_slice(&bs);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unexpected, format!("memory:/{} is closed", self.path));
        let bytes = self.bytes.take().ok_or_else(closed)?.freeze();
        self.store.0.put(&self.path, bytes.into()).await.map_err(|error| failed("write", &self.path, error))?;
        Ok(())
    }
}

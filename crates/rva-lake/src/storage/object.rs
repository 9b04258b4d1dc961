//! Files in an object store, through `object_store`: the one inside the process and S3 alike.

use super::StoredFile;
use bytes::Bytes;
use futures::TryStreamExt;
use iceberg::io::{FileMetadata, FileRead, FileWrite};
use iceberg::{Error, ErrorKind, Result};
use object_store::{ObjectStore, ObjectStoreExt, buffered::BufWriter, path::Path};
use std::{ops::Range, sync::Arc};
use tokio::io::AsyncWriteExt;

/// A file up to this size is one request, a larger one an upload in parts of this size. S3's least is 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A store, and what its locations begin with: `memory:/`, `s3://bucket/`.
#[derive(Debug, Clone)]
pub(super) struct ObjectFiles {
    store: Arc<dyn ObjectStore>,
    prefix: Arc<str>,
}

impl ObjectFiles {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: prefix.into() }
    }

    fn failed(&self, doing: &str, path: &Path, error: object_store::Error) -> Error {
        Error::new(ErrorKind::Unexpected, format!("could not {doing} {}{path}", self.prefix)).with_source(error)
    }

    pub(super) async fn exists(&self, path: Path) -> Result<bool> {
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look for", &path, error)),
        }
    }

    pub(super) async fn metadata(&self, path: Path) -> Result<FileMetadata> {
        let found = self.store.head(&path).await.map_err(|error| self.failed("look at", &path, error))?;
        Ok(FileMetadata { size: found.size })
    }

    pub(super) async fn read(&self, path: Path) -> Result<Bytes> {
        let found = self.store.get(&path).await.map_err(|error| self.failed("read", &path, error))?;
        found.bytes().await.map_err(|error| self.failed("read", &path, error))
    }

    pub(super) fn reader(&self, path: Path) -> Box<dyn FileRead> {
        Box::new(ObjectRead { files: self.clone(), path })
    }

    pub(super) fn writer(&self, path: Path) -> Box<dyn FileWrite> {
        let upload = BufWriter::with_capacity(Arc::clone(&self.store), path.clone(), PART_BYTES);
        Box::new(ObjectWrite { files: self.clone(), path, upload: Some(upload) })
    }

    pub(super) async fn delete(&self, path: Path) -> Result<()> {
        match self.store.delete(&path).await {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => {
                Err(self.failed("delete", &path, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn delete_folder(&self, path: Path) -> Result<()> {
        let found: Vec<_> =
            self.store.list(Some(&path)).try_collect().await.map_err(|error| self.failed("list", &path, error))?;
        for file in found {
            self.delete(file.location).await?;
        }
        Ok(())
    }

    pub(super) async fn list(&self, path: Path) -> Result<Vec<StoredFile>> {
        let found: Vec<_> =
            self.store.list(Some(&path)).try_collect().await.map_err(|error| self.failed("list", &path, error))?;
        Ok(found
            .into_iter()
            .map(|file| StoredFile {
                location: format!("{}{}", self.prefix, file.location),
                size: file.size,
                modified: file.last_modified.into(),
            })
            .collect())
    }
}

#[derive(Debug)]
struct ObjectRead {
    files: ObjectFiles,
    path: Path,
}

#[async_trait::async_trait]
impl FileRead for ObjectRead {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let read = self.files.store.get_range(&self.path, range);
        read.await.map_err(|error| self.files.failed("read", &self.path, error))
    }
}

/// An upload. The file appears whole, when it is closed; parts of an upload that fails or is dropped are given back.
struct ObjectWrite {
    files: ObjectFiles,
    path: Path,
    upload: Option<BufWriter>,
}

impl ObjectWrite {
    fn take(&mut self) -> Result<BufWriter> {
        self.upload.take().ok_or_else(|| {
            let text = format!("{}{} is closed, or a write to it failed", self.files.prefix, self.path);
            Error::new(ErrorKind::Unexpected, text)
        })
    }
}

/// Best effort: what a dead process leaves is the bucket's lifecycle rule's.
async fn abort(mut upload: BufWriter) {
    if let Err(error) = upload.abort().await {
        tracing::debug!(%error, "could not abort an upload");
    }
}

#[async_trait::async_trait]
impl FileWrite for ObjectWrite {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        let mut upload = self.take()?;
        match upload.put(bs).await {
            Ok(()) => {
                self.upload = Some(upload);
                Ok(())
            }
            Err(error) => {
                abort(upload).await;
                Err(self.files.failed("write", &self.path, error))
            }
        }
    }

    async fn close(&mut self) -> Result<()> {
        let mut upload = self.take()?;
        match upload.shutdown().await {
            Ok(()) => Ok(()),
            Err(error) => {
                // Nothing to give back: a single request leaves nothing, and an upload in parts that can't be completed
                // gives its own parts back.
                // An I/O error here is object_store's own, wrapped: what it says decides what a retry can cure.
                let error = match error.downcast::<object_store::Error>() {
                    Ok(error) => error,
                    Err(error) => object_store::Error::Generic { store: "upload", source: error.into() },
                };
                Err(self.files.failed("write", &self.path, error))
            }
        }
    }
}

impl Drop for ObjectWrite {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort(upload));
        }
    }
}

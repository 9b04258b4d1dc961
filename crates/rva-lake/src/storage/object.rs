//! Files in an object store, through `object_store`: the one inside the process and S3 alike.

use super::StoredFile;
use bytes::Bytes;
use futures::TryStreamExt;
use iceberg::io::{FileMetadata, FileRead, FileWrite};
use iceberg::{Error, ErrorKind, Result};
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayloadMut, path::Path};
use std::{ops::Range, sync::Arc};
use tokio::task::JoinSet;

/// The size up to which a file is one request; a larger one is an upload in parts of this size. S3's least is 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A store, and the beginning of its locations: `memory:/`, `s3://bucket/`.
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
        Box::new(ObjectWrite { files: self.clone(), path, upload: Some(Upload::default()) })
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

/// The number of parts of one file that are on their way at a time.
const PARTS_AT_ONCE: usize = 8;

/// An upload in parts.
#[derive(Debug)]
struct Parts {
    upload: Box<dyn MultipartUpload>,
    tasks: JoinSet<object_store::Result<()>>,
}

impl Parts {
    /// Waits until at most this many parts are on their way.
    async fn wait(&mut self, at_most: usize) -> object_store::Result<()> {
        while self.tasks.len() > at_most {
            match self.tasks.join_next().await {
                Some(Ok(sent)) => sent?,
                Some(Err(error)) => {
                    return Err(object_store::Error::Generic { store: "upload", source: error.into() });
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Gives the parts back as far as it can: parts that a dead process or a store that is away leaves are the bucket's
    /// lifecycle rule's.
    async fn abort(mut self) {
        self.tasks.shutdown().await;
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, "could not abort an upload, its parts stay in the store");
        }
    }
}

/// The bytes that are written so far. (object_store's own writer gives parts back when the completion is refused, and
/// leaves them when a part is.)
#[derive(Debug, Default)]
struct Upload {
    buffer: PutPayloadMut,
    parts: Option<Parts>,
}

impl Upload {
    async fn send_part(&mut self, files: &ObjectFiles, path: &Path) -> object_store::Result<()> {
        if self.parts.is_none() {
            let upload = files.store.put_multipart(path).await?;
            self.parts = Some(Parts { upload, tasks: JoinSet::new() });
        }
        if let Some(parts) = &mut self.parts {
            parts.wait(PARTS_AT_ONCE - 1).await?;
            let part = std::mem::take(&mut self.buffer);
            parts.tasks.spawn(parts.upload.put_part(part.freeze()));
        }
        Ok(())
    }

    async fn write(&mut self, files: &ObjectFiles, path: &Path, mut bytes: Bytes) -> object_store::Result<()> {
        while !bytes.is_empty() {
            let room = PART_BYTES - self.buffer.content_length();
            self.buffer.push(bytes.split_to(room.min(bytes.len())));
            if self.buffer.content_length() == PART_BYTES {
                self.send_part(files, path).await?;
            }
        }
        Ok(())
    }

    async fn complete(&mut self, files: &ObjectFiles, path: &Path) -> object_store::Result<()> {
        if self.parts.is_some() && !self.buffer.is_empty() {
            self.send_part(files, path).await?;
        }
        match &mut self.parts {
            None => files.store.put(path, std::mem::take(&mut self.buffer).freeze()).await.map(drop),
            Some(parts) => {
                parts.wait(0).await?;
                parts.upload.complete().await.map(drop)
            }
        }
    }

    async fn abort(self) {
        if let Some(parts) = self.parts {
            parts.abort().await;
        }
    }
}

/// A file being written. It appears whole, when it is closed; parts of an upload that fails or is dropped are given
/// back.
struct ObjectWrite {
    files: ObjectFiles,
    path: Path,
    upload: Option<Upload>,
}

impl ObjectWrite {
    fn closed(&self) -> Error {
        let text = format!("{}{} is closed, or a write to it failed", self.files.prefix, self.path);
        Error::new(ErrorKind::Unexpected, text)
    }

    async fn failed(&mut self, error: object_store::Error) -> Error {
        if let Some(upload) = self.upload.take() {
            upload.abort().await;
        }
        self.files.failed("write", &self.path, error)
    }
}

// The upload stays in its place over each wait: a write that is cut off is given back by `drop`.
#[async_trait::async_trait]
impl FileWrite for ObjectWrite {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        let Some(upload) = &mut self.upload else { return Err(self.closed()) };
        match upload.write(&self.files, &self.path, bs).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn close(&mut self) -> Result<()> {
        let Some(upload) = &mut self.upload else { return Err(self.closed()) };
        match upload.complete(&self.files, &self.path).await {
            Ok(()) => {
                self.upload = None;
                Ok(())
            }
            Err(error) => Err(self.failed(error).await),
        }
    }
}

impl Drop for ObjectWrite {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(upload.abort());
        }
    }
}

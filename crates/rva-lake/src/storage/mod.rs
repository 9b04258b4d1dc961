//! The storage of the tables' files: one [`StorageFactory`] of our own for every scheme.
//!
//! `file://` and bare absolute paths are local files that survive a power loss; `s3://` is a bucket; `memory:/` is a
//! store inside the process. A location is parsed into a place before anything is done with it; text is never joined
//! to text.

mod allowed;
mod local;
mod object;
mod s3;

pub use allowed::AllowedLocations;
pub(crate) use allowed::is_inside;
pub(crate) use local::make_folder;
pub use s3::{S3Keys, S3Options};

use async_recursion::async_recursion as boxed;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use iceberg::{Error, ErrorKind, Result};
use object::ObjectFiles;
use s3::S3Stores;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, time::SystemTime};

/// A file of the warehouse as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// The location, in the form that the table's metadata uses.
    pub location: String,
    /// The size in bytes.
    pub size: u64,
    /// The time at which it was last written.
    pub modified: SystemTime,
}

/// The place that a location points to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Local(PathBuf),
    Memory(object_store::path::Path),
    S3 { bucket: String, path: object_store::path::Path },
}

fn refused(location: &str, wanted: &str) -> Error {
    Error::new(ErrorKind::DataInvalid, format!("found location {location:?}, wanted {wanted}"))
}

/// Parses a location. As in iceberg's own storages nothing is percent-decoded: `store_id=..%2Fx` is a folder of that
/// very name.
fn place(location: &str) -> Result<Place> {
    let object = |path: &str, wanted: &str| {
        object_store::path::Path::parse(path).map_err(|error| refused(location, wanted).with_source(error))
    };
    if let Some(rest) = location.strip_prefix("memory:") {
        return object(rest.trim_start_matches('/'), "memory:/PATH").map(Place::Memory);
    }
    // Spark and Flink of old write s3a and s3n for the same thing.
    if let Some(rest) = ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| location.strip_prefix(scheme)) {
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refused(location, "s3://BUCKET/PATH"));
        }
        let path = object(path, "s3://BUCKET/PATH without empty parts, \".\" and \"..\"")?;
        return Ok(Place::S3 { bucket: bucket.to_owned(), path });
    }
    let path = location.strip_prefix("file:").unwrap_or(location);
    let path = path.strip_prefix("//").unwrap_or(path);
    let escapes = path.split('/').any(|part| part == "..");
    if path.contains("://") || !path.starts_with('/') || escapes || path.contains('\0') {
        return Err(refused(location, "file:///PATH, s3://BUCKET/PATH or memory:/PATH without \"..\""));
    }
    Ok(Place::Local(PathBuf::from(path)))
}

/// Returns the one spelling of a place, to compare locations that different engines wrote.
pub(crate) fn plain(location: &str) -> String {
    normal(location).unwrap_or_else(|| location.to_owned())
}

/// Returns the one spelling of a location that could be used at all: without `..` and of a scheme that is known.
pub(crate) fn normal(location: &str) -> Option<String> {
    Some(match place(location).ok()? {
        Place::Local(path) => path.to_string_lossy().into_owned(),
        Place::Memory(path) => format!("memory:/{path}"),
        Place::S3 { bucket, path } => format!("s3://{bucket}/{path}"),
    })
}

/// The storage of a lake: local files, S3 and memory behind one type, chosen by each location's scheme.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LakeStorage {
    #[serde(skip, default = "in_memory")]
    memory: ObjectFiles,
    #[serde(skip)]
    s3: S3Stores,
    #[serde(skip)]
    allowed: AllowedLocations,
}

fn in_memory() -> ObjectFiles {
    ObjectFiles::new(Arc::new(object_store::memory::InMemory::new()), "memory:/")
}

impl Default for LakeStorage {
    fn default() -> Self {
        Self { memory: in_memory(), s3: S3Stores::default(), allowed: AllowedLocations::default() }
    }
}

impl LakeStorage {
    /// Returns the place that a location points to, if that is one that may be touched.
    fn place(&self, location: &str) -> Result<Place> {
        let place = place(location)?;
        self.allowed.check(location)?;
        Ok(place)
    }

    /// Lists every file under a location, in no order. A folder that isn't there holds none.
    ///
    /// # Errors
    /// Returns an error for a location that can't be parsed, or a folder that can't be read.
    #[boxed]
    pub async fn list(&self, location: &str) -> Result<Vec<StoredFile>> {
        match self.place(location)? {
            Place::Local(path) => local::list(path).await,
            Place::Memory(path) => self.memory.list(path).await,
            Place::S3 { bucket, path } => self.s3.bucket(&bucket)?.list(path).await,
        }
    }
}

#[async_trait]
#[typetag::serde(name = "RvaLakeStorage")]
impl Storage for LakeStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        match self.place(path)? {
            Place::Local(path) => local::exists(path).await,
            Place::Memory(path) => self.memory.exists(path).await,
            Place::S3 { bucket, path } => self.s3.bucket(&bucket)?.exists(path).await,
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        match self.place(path)? {
            Place::Local(path) => local::metadata(path).await,
            Place::Memory(path) => self.memory.metadata(path).await,
            Place::S3 { bucket, path } => self.s3.bucket(&bucket)?.metadata(path).await,
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        match self.place(path)? {
            Place::Local(path) => local::read(path).await,
            Place::Memory(path) => self.memory.read(path).await,
            Place::S3 { bucket, path } => self.s3.bucket(&bucket)?.read(path).await,
        }
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        match self.place(path)? {
            Place::Local(path) => local::reader(path).await,
            Place::Memory(path) => Ok(self.memory.reader(path)),
            Place::S3 { bucket, path } => Ok(self.s3.bucket(&bucket)?.reader(path)),
        }
    }

    async fn write(&self, path: &str, bs: Bytes) -> Result<()> {
        let mut writer = self.writer(path).await?;
        writer.write(bs).await?;
        writer.close().await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        match self.place(path)? {
            Place::Local(path) => local::writer(path).await,
            Place::Memory(path) => Ok(self.memory.writer(path)),
            Place::S3 { bucket, path } => Ok(self.s3.bucket(&bucket)?.writer(path)),
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.place(path)? {
            Place::Local(path) => local::delete(path).await,
            Place::Memory(path) => self.memory.delete(path).await,
            Place::S3 { bucket, path } => self.s3.bucket(&bucket)?.delete(path).await,
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        match self.place(path)? {
            Place::Local(path) => local::delete_folder(path).await,
            Place::Memory(path) => self.memory.delete_folder(path).await,
            Place::S3 { bucket, path } => self.s3.bucket(&bucket)?.delete_folder(path).await,
        }
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        self.place(path)?;
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        self.place(path)?;
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// A factory of [`LakeStorage`]s. Those of one factory share their memory and their S3 clients.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LakeStorageFactory {
    #[serde(skip)]
    storage: LakeStorage,
}

impl LakeStorageFactory {
    /// Makes a factory that reaches `s3://` locations, and nothing else until [`LakeStorageFactory::allowing`] says so.
    pub fn with_s3(options: S3Options) -> Self {
        let allowed = AllowedLocations::object_stores();
        Self { storage: LakeStorage { s3: S3Stores::new(options), allowed, ..LakeStorage::default() } }
    }

    /// Allows other places.
    pub fn allowing(mut self, allowed: AllowedLocations) -> Self {
        self.storage.allowed = allowed;
        self
    }

    /// Returns whether a location can be reached without keys that a catalog vends.
    pub(crate) fn has_own_keys(&self, location: &str) -> bool {
        !location.starts_with("s3") || self.storage.s3.has_keys()
    }

    /// Returns the storage that this factory gives out, for listings: iceberg's own trait has none.
    pub fn storage(&self) -> LakeStorage {
        self.storage.clone()
    }
}

#[typetag::serde(name = "RvaLakeStorageFactory")]
impl StorageFactory for LakeStorageFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(LakeStorage { s3: self.storage.s3.of_config(config), ..self.storage.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_that_leave_their_folder_or_name_another_scheme_are_refused() {
        for bad in [
            "file:///a/../b",
            "/a/..",
            "relative/path",
            "gs://bucket/key",
            "s3:///key",
            "s3://b/../c",
            "file:a",
            "memory:/a/../b",
            "",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
        let local = |path: &str| Place::Local(PathBuf::from(path));
        assert_eq!(place("file:///a/store_id=..%2Fx/f").unwrap(), local("/a/store_id=..%2Fx/f"));
        assert_eq!(place("file:/a/b").unwrap(), local("/a/b"));
        assert_eq!(place("/a/b").unwrap(), local("/a/b"));
        let s3 = |bucket: &str, path: &str| Place::S3 {
            bucket: bucket.into(),
            path: object_store::path::Path::parse(path).unwrap(),
        };
        assert_eq!(place("s3://b/data/store_id=..%2Fx/f").unwrap(), s3("b", "data/store_id=..%2Fx/f"));
        assert_eq!(place("s3a://b/c").unwrap(), s3("b", "c"));
    }

    #[test]
    fn spellings_of_one_place_are_one() {
        assert_eq!(plain("s3a://b/c"), plain("s3://b/c"));
        assert_eq!(plain("file:/a/b"), plain("/a/b"));
        assert_eq!(plain("memory:///a"), plain("memory:/a"));
        assert_ne!(plain("s3://b/c"), plain("/b/c"));
    }

    async fn round_trip(root: &str) {
        let storage = LakeStorage::default();
        let path = format!("{root}/deep/er/file.bin");
        assert!(!storage.exists(&path).await.unwrap());
        let mut writer = storage.writer(&path).await.unwrap();
        writer.write(Bytes::from_static(b"hello ")).await.unwrap();
        writer.write(Bytes::from_static(b"world")).await.unwrap();
        assert!(!storage.exists(&path).await.unwrap(), "a file appears whole, when it is closed");
        writer.close().await.unwrap();
        assert!(writer.close().await.is_err(), "closing twice is an error");
        assert_eq!(storage.read(&path).await.unwrap(), Bytes::from_static(b"hello world"));
        assert_eq!(storage.metadata(&path).await.unwrap().size, 11);
        let reader = storage.reader(&path).await.unwrap();
        assert_eq!(reader.read(6..11).await.unwrap(), Bytes::from_static(b"world"));
        let listed: Vec<_> = storage.list(root).await.unwrap().into_iter().map(|f| (f.location, f.size)).collect();
        assert_eq!(listed, [(path.clone(), 11)]);
        storage.write(&path, Bytes::from_static(b"again")).await.unwrap();
        assert_eq!(storage.new_input(&path).unwrap().read().await.unwrap(), Bytes::from_static(b"again"));
        storage.delete(&path).await.unwrap();
        storage.delete(&path).await.unwrap();
        assert!(storage.read(&path).await.is_err());
        storage.write(&path, Bytes::new()).await.unwrap();
        storage.delete_prefix(&format!("{root}/deep")).await.unwrap();
        assert!(!storage.exists(&path).await.unwrap());
        assert_eq!(storage.list(root).await.unwrap(), []);
    }

    #[tokio::test]
    async fn local_files_keep_the_storage_contract() {
        let dir = tempfile::tempdir().unwrap();
        round_trip(&format!("file://{}", dir.path().display())).await;
    }

    #[tokio::test]
    async fn memory_keeps_the_storage_contract() {
        round_trip("memory:/warehouse").await;
    }

    #[tokio::test]
    async fn a_writer_that_was_not_closed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let storage = LakeStorage::default();
        let mut writer = storage.writer(&format!("file://{}/x/f", dir.path().display())).await.unwrap();
        writer.write(Bytes::from_static(b"half")).await.unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(dir.path().join("x")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn an_error_names_the_file_and_what_was_tried() {
        let storage = LakeStorage::default();
        let error = storage.read("file:///no/such/file").await.unwrap_err().to_string();
        assert!(error.contains("/no/such/file") && error.contains("read"), "{error}");
    }
}

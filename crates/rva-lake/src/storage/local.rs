//! Local files that survive a power loss: temporary name in the same folder, write, fsync, rename, fsync of the
//! folder and of the parent of every folder that was made. Blocking calls run on the blocking pool.

use super::StoredFile;
use bytes::Bytes;
use iceberg::io::{FileMetadata, FileRead, FileWrite};
use iceberg::{Error, ErrorKind, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    sync::Arc,
};

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("could not {doing} {}: {error}", path.display())).with_source(error)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Unexpected, "file work was cut off").with_source(error))?
}

pub(super) async fn exists(path: PathBuf) -> Result<bool> {
    blocking(move || path.try_exists().map_err(|error| failed("look for", &path, error))).await
}

pub(super) async fn metadata(path: PathBuf) -> Result<FileMetadata> {
    blocking(move || {
        let found = fs::metadata(&path).map_err(|error| failed("look at", &path, error))?;
        Ok(FileMetadata { size: found.len() })
    })
    .await
}

pub(super) async fn read(path: PathBuf) -> Result<Bytes> {
    blocking(move || fs::read(&path).map(Bytes::from).map_err(|error| failed("read", &path, error))).await
}

#[derive(Debug)]
struct LocalRead {
    file: Arc<File>,
    path: PathBuf,
}

pub(super) async fn reader(path: PathBuf) -> Result<Box<dyn FileRead>> {
    blocking(move || {
        let file = File::open(&path).map_err(|error| failed("open", &path, error))?;
        Ok(Box::new(LocalRead { file: Arc::new(file), path }) as Box<dyn FileRead>)
    })
    .await
}

#[async_trait::async_trait]
impl FileRead for LocalRead {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        blocking(move || {
            let length = range.end.saturating_sub(range.start);
            let size = file.metadata().map_err(|error| failed("look at", &path, error))?.len();
            if range.end > size {
                let text = format!("found {size} bytes in {}, wanted {}..{}", path.display(), range.start, range.end);
                return Err(Error::new(ErrorKind::DataInvalid, text));
            }
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, range.start).map_err(|error| failed("read", &path, error))?;
            Ok(Bytes::from(bytes))
        })
        .await
    }
}

/// Makes a folder and those above it; each new one is durable in its parent.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    make_folder(parent)?;
    // What cameras saw is for who runs this; an existing folder keeps the rights that its owner gave it.
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => File::open(parent)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file under its temporary name. If it is dropped without `close` it is removed.
struct LocalWrite {
    open: Option<Open>,
    path: PathBuf,
}

struct Open {
    file: File,
    temporary: PathBuf,
}

pub(super) async fn writer(path: PathBuf) -> Result<Box<dyn FileWrite>> {
    blocking(move || {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            let text = format!("found path {}, wanted a file in a folder", path.display());
            return Err(Error::new(ErrorKind::DataInvalid, text));
        };
        make_folder(folder).map_err(|error| failed("make folder", folder, error))?;
        // A name of its own for each attempt: two writers of one path never share a temporary file.
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), uuid::Uuid::new_v4().simple()));
        let file = File::create_new(&temporary).map_err(|error| failed("create", &temporary, error))?;
        Ok(Box::new(LocalWrite { open: Some(Open { file, temporary }), path }) as Box<dyn FileWrite>)
    })
    .await
}

impl LocalWrite {
    fn take(&mut self) -> Result<Open> {
        self.open.take().ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, format!("{} is closed, or a write to it failed", self.path.display()))
        })
    }
}

#[async_trait::async_trait]
impl FileWrite for LocalWrite {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        let (mut open, path) = (self.take()?, self.path.clone());
        let open = blocking(move || match open.file.write_all(&bs) {
            Ok(()) => Ok(open),
            Err(error) => {
                let _ = fs::remove_file(&open.temporary);
                Err(failed("write", &path, error))
            }
        })
        .await?;
        self.open = Some(open);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let (open, path) = (self.take()?, self.path.clone());
        blocking(move || {
            let finish = || {
                open.file.sync_all()?;
                fs::rename(&open.temporary, &path)?;
                path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
            };
            finish().map_err(|error: io::Error| {
                let _ = fs::remove_file(&open.temporary);
                failed("finish", &path, error)
            })
        })
        .await
    }
}

impl Drop for LocalWrite {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = fs::remove_file(open.temporary);
        }
    }
}

pub(super) async fn delete(path: PathBuf) -> Result<()> {
    blocking(move || match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", &path, error)),
        _ => Ok(()),
    })
    .await
}

pub(super) async fn delete_folder(path: PathBuf) -> Result<()> {
    blocking(move || match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete folder", &path, error)),
        _ => Ok(()),
    })
    .await
}

pub(super) async fn list(root: PathBuf) -> Result<Vec<StoredFile>> {
    blocking(move || {
        let (mut files, mut folders) = (Vec::new(), vec![root]);
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("list", &folder, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed("list", &folder, error))?;
                let kind = entry.file_type().map_err(|error| failed("look at", &entry.path(), error))?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file()
                    // A file that vanished while we looked was a temporary one.
                    && let Ok(found) = entry.metadata()
                {
                    let modified = found.modified().map_err(|error| failed("look at", &entry.path(), error))?;
                    let location = format!("file://{}", entry.path().display());
                    files.push(StoredFile { location, size: found.len(), modified });
                }
            }
        }
        Ok(files)
    })
    .await
}

//! Copies of files, with their digest.

use crate::backup::record::hex;
use bytes::Bytes;
use iceberg::io::{InputFile, OutputFile};
use iceberg::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

/// The bytes of a file that are held at a time.
const PIECE_BYTES: u64 = 8 << 20;

/// The number of files that are copied at the same time.
pub(crate) const COPIES_AT_ONCE: usize = 8;

/// The size and the digest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub size: u64,
    pub sha256: String,
}

async fn through(input: &InputFile, mut take: impl AsyncFnMut(Bytes) -> Result<()>) -> Result<Content> {
    let size = input.metadata().await?.size;
    let reader = input.reader().await?;
    let mut digest = Sha256::new();
    let mut at = 0;
    while at < size {
        let end = (at + PIECE_BYTES).min(size);
        let piece = reader.read(at..end).await?;
        if piece.len() as u64 != end - at {
            let text = format!("found {} bytes at {at} of {}, wanted {}", piece.len(), input.location(), end - at);
            return Err(Error::new(ErrorKind::DataInvalid, text));
        }
        digest.update(&piece);
        take(piece).await?;
        at = end;
    }
    Ok(Content { size, sha256: hex(&digest.finalize()) })
}

/// Reads a file for its digest.
pub(crate) async fn content(input: &InputFile) -> Result<Content> {
    through(input, async |_| Ok(())).await
}

/// Copies a file; `wanted` is what it must hold, or nothing appears.
pub(crate) async fn copy(input: &InputFile, output: &OutputFile, wanted: Option<&Content>) -> Result<Content> {
    let mut writer = output.writer().await?;
    let found = through(input, async |piece| writer.write(piece).await).await?;
    if let Some(wanted) = wanted.filter(|wanted| **wanted != found) {
        return Err(differs(input.location(), &found, wanted));
    }
    writer.close().await?;
    Ok(found)
}

/// Returns the error of a file that isn't what it was.
pub(crate) fn differs(location: &str, found: &Content, wanted: &Content) -> Error {
    let text = format!(
        "found {location} damaged: {} bytes with SHA-256 {}, wanted {} bytes with {}",
        found.size, found.sha256, wanted.size, wanted.sha256
    );
    Error::new(ErrorKind::DataInvalid, text)
}

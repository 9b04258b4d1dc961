//! Compressed payloads. The announced size is a promise that the bytes must keep, and never larger than the bound: the
//! output goes into a buffer of that size, so no input can make more of it.

use bytes::Bytes;
use pulsar::proto::CompressionType;
use rva_types::{Rejection, RejectionReason};
use std::io::{self, Read};

/// The beginning of Snappy's frame format. The official clients write the raw block, the Rust client the frames.
const SNAPPY_FRAME: &[u8] = b"\xff\x06\x00\x00sNaPpY";

fn broken(text: String) -> Rejection {
    Rejection::new(RejectionReason::BrokenCompression, text)
}

/// Returns the bytes that were compressed, at most `bytes_max`.
pub(super) fn unpack(kind: i32, announced: u32, payload: Bytes, bytes_max: usize) -> Result<Bytes, Rejection> {
    let Ok(kind) = CompressionType::try_from(kind) else {
        let text = format!("found the compression {kind}, wanted none, LZ4, ZLIB, ZSTD or SNAPPY");
        return Err(Rejection::new(RejectionReason::UnknownCompression, text));
    };
    if kind == CompressionType::None {
        return Ok(payload);
    }
    let wanted = usize::try_from(announced).unwrap_or(usize::MAX);
    if wanted > bytes_max {
        let text = format!("found {wanted} bytes behind {kind:?}, wanted at most {bytes_max} (ingest.entry_bytes_max)");
        return Err(Rejection::new(RejectionReason::TooLarge, text));
    }
    let failed = |error: io::Error| broken(format!("unpack {} bytes with {kind:?}: {error}", payload.len()));
    let mut unpacked = vec![0; wanted];
    let found = fill(kind, &payload, &mut unpacked).map_err(failed)?;
    if found != wanted {
        return Err(broken(format!("found {found} bytes behind {kind:?}, wanted the {wanted} that are announced")));
    }
    Ok(unpacked.into())
}

/// Fills `to` and returns how many bytes there are; returns an error also where there are more than fit.
fn fill(kind: CompressionType, from: &[u8], to: &mut [u8]) -> io::Result<usize> {
    match kind {
        CompressionType::None => Err(io::Error::other("found nothing to unpack")),
        CompressionType::Lz4 => {
            let size = i32::try_from(to.len()).map_err(io::Error::other)?;
            lz4::block::decompress_to_buffer(from, Some(size), to)
        }
        CompressionType::Zlib => exactly(flate2::read::ZlibDecoder::new(from), to),
        CompressionType::Zstd => zstd::bulk::decompress_to_buffer(from, to),
        CompressionType::Snappy if from.starts_with(SNAPPY_FRAME) => {
            exactly(snap::read::FrameDecoder::new(from), to) //
        }
        CompressionType::Snappy => {
            let found = snap::raw::decompress_len(from).map_err(io::Error::other)?;
            match found == to.len() {
                true => snap::raw::Decoder::new().decompress(from, to).map_err(io::Error::other),
                false => Ok(found),
            }
        }
    }
}

fn exactly(mut from: impl Read, to: &mut [u8]) -> io::Result<usize> {
    from.read_exact(to)?;
    match from.read(&mut [0])? {
        0 => Ok(to.len()),
        more => Ok(to.len() + more),
    }
}

//! The way from the bytes of an entry, as the broker keeps them, to messages; or to the one reason why not. Pure.
//!
//! An entry is whatever somebody who may produce has sent: the broker looks at its metadata and never at its payload.
//! So nothing in it is believed. Lengths and counts are compared with the bytes that are there, sizes are bounds and no
//! orders to reserve memory, and anything that is wrong is one [`Rejection`] for the whole entry, never an error of the
//! stream.

mod batch;
mod chunks;
mod compression;
mod look;

pub use look::{Outcome, unpack_entries};

pub(super) use chunks::{ChunkPart, Joined, Joins};

use crate::seam::memory_bytes;
use bytes::{Buf, Bytes};
use prost::Message as _;
use pulsar::proto::{KeyValue, MessageMetadata};
use rva_types::{Rejection, RejectionReason, Timestamp};
use std::collections::BTreeMap;

/// The most bytes of an entry's metadata, or of one message's in a batch. Properties cost some ten times as much in
/// memory.
const METADATA_BYTES_MAX: usize = 1 << 20;

/// The most bytes of an entry that a dead letter keeps.
pub(super) const RAW_BYTES_MAX: usize = 1 << 20;

const MAGIC_CHECKSUM: u16 = 0x0e01;
const MAGIC_BROKER_METADATA: u16 = 0x0e02;

/// The last microsecond of the year 9999, which every engine can still read.
const PUBLISH_TS_MAX: i64 = 253_402_300_799_999_999;

/// A message of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub properties: BTreeMap<String, String>,
    pub body: Bytes,
}

/// The content of an entry.
#[derive(Debug)]
pub(super) enum Content {
    /// Messages: one without an index, or those of a batch.
    Messages { messages: Vec<Unpacked>, is_batch: bool },
    /// A part of a message.
    Chunk(ChunkPart),
    /// No message that can be had.
    Rejected(Rejection),
}

/// An entry that was looked at.
#[derive(Debug)]
pub(super) struct Entry {
    /// The time at which the broker took it, as its producer says; within what tables can hold.
    pub publish_ts: Timestamp,
    /// The number of messages that the broker counts it as: as many as the producer claims.
    pub claimed: i64,
    /// The properties of the entry, for a dead letter.
    pub properties: BTreeMap<String, String>,
    /// Metadata and payload as they were stored, for a dead letter.
    pub raw: Bytes,
    pub content: Content,
}

/// Looks at an entry: `bytes` is what follows the command in the broker's frame. Unpacked it may cost `bytes_max` of
/// memory.
pub(super) fn open(bytes: Bytes, bytes_max: usize) -> Entry {
    let raw = bytes.clone();
    let (metadata, payload) = match split(bytes) {
        Ok(parts) => parts,
        Err(rejection) => return Entry::rejected(raw, rejection),
    };
    let raw = stored(raw, &metadata, &payload);
    let metadata = match metadata_of(&metadata) {
        Ok(metadata) => metadata,
        Err(rejection) => return Entry::rejected(raw, rejection),
    };
    let content = content_of(&metadata, payload, bytes_max).unwrap_or_else(Content::Rejected);
    let properties = match &content {
        // They are in the message.
        Content::Messages { .. } => BTreeMap::new(),
        Content::Chunk(_) | Content::Rejected(_) => properties_of(metadata.properties),
    };
    Entry {
        publish_ts: timestamp(metadata.publish_time),
        claimed: i64::from(metadata.num_messages_in_batch.unwrap_or(1)),
        properties,
        raw,
        content,
    }
}

impl Entry {
    fn rejected(raw: Bytes, rejection: Rejection) -> Self {
        Self {
            publish_ts: Timestamp::from_micros(0),
            claimed: 1,
            properties: BTreeMap::new(),
            raw,
            content: Content::Rejected(rejection),
        }
    }
}

/// Cuts the raw bytes of a rejected entry, and says in the rejection how many they were.
pub(super) fn cut(raw: Bytes, rejection: Rejection) -> (Bytes, Rejection) {
    if raw.len() <= RAW_BYTES_MAX {
        // A slice would keep a whole frame alive; this one is all of it.
        return (raw, rejection);
    }
    let detail = format!("{} (the first {RAW_BYTES_MAX} of {} bytes are kept)", rejection.detail, raw.len());
    (Bytes::copy_from_slice(&raw[..RAW_BYTES_MAX]), Rejection::new(rejection.reason, detail))
}

fn broken(text: impl AsRef<str>) -> Rejection {
    Rejection::new(RejectionReason::BrokenEntry, text)
}

/// Returns the stored bytes: length of the metadata, metadata, payload, without what the broker puts before.
fn stored(bytes: Bytes, metadata: &Bytes, payload: &Bytes) -> Bytes {
    bytes.slice(bytes.len() - payload.len() - metadata.len() - size_of::<u32>()..)
}

fn take(bytes: &mut Bytes, wanted: usize, what: &str) -> Result<Bytes, Rejection> {
    if bytes.len() < wanted {
        return Err(broken(format!("found {} bytes of {what}, wanted {wanted}", bytes.len())));
    }
    Ok(bytes.split_to(wanted))
}

fn take_u32(bytes: &mut Bytes, what: &str) -> Result<u32, Rejection> {
    Ok(take(bytes, size_of::<u32>(), what)?.get_u32())
}

fn starts_with(bytes: &Bytes, magic: u16) -> bool {
    bytes.starts_with(&magic.to_be_bytes())
}

/// Splits metadata and payload; the checksum, where there is one, is compared.
fn split(mut bytes: Bytes) -> Result<(Bytes, Bytes), Rejection> {
    if starts_with(&bytes, MAGIC_BROKER_METADATA) {
        bytes.advance(size_of::<u16>());
        let length = take_u32(&mut bytes, "the broker's metadata")? as usize;
        take(&mut bytes, length, "the broker's metadata")?;
    }
    if starts_with(&bytes, MAGIC_CHECKSUM) {
        bytes.advance(size_of::<u16>());
        let wanted = take_u32(&mut bytes, "the checksum")?;
        let found = crc32c::crc32c(&bytes);
        if found != wanted {
            return Err(broken(format!("found the checksum {found:08x}, wanted {wanted:08x}")));
        }
    }
    let length = take_u32(&mut bytes, "the length of the metadata")? as usize;
    let metadata = take(&mut bytes, length, "metadata")?;
    Ok((metadata, bytes))
}

fn metadata_of(bytes: &Bytes) -> Result<MessageMetadata, Rejection> {
    if bytes.len() > METADATA_BYTES_MAX {
        let text = format!("found {} bytes of metadata, wanted at most {METADATA_BYTES_MAX}", bytes.len());
        return Err(Rejection::new(RejectionReason::TooLarge, text));
    }
    MessageMetadata::decode(&bytes[..]).map_err(|error| broken(format!("found no metadata: {error}")))
}

fn timestamp(millis: u64) -> Timestamp {
    let micros = i64::try_from(millis).ok().and_then(|millis| millis.checked_mul(1000));
    Timestamp::from_micros(micros.unwrap_or(PUBLISH_TS_MAX).min(PUBLISH_TS_MAX))
}

fn properties_of(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

fn content_of(metadata: &MessageMetadata, payload: Bytes, bytes_max: usize) -> Result<Content, Rejection> {
    if let Some(part) = chunks::part_of(metadata, &payload) {
        return part.map(Content::Chunk);
    }
    let packed = Packed::of(metadata);
    let payload = packed.unpack(payload, bytes_max)?;
    let Some(count) = metadata.num_messages_in_batch else {
        let properties = properties_of(metadata.properties.clone());
        within(memory_bytes(payload.len(), &properties), bytes_max)?;
        return Ok(Content::Messages { messages: vec![Unpacked { properties, body: payload }], is_batch: false });
    };
    let messages = batch::messages_of(payload, count, bytes_max)?;
    Ok(Content::Messages { messages, is_batch: true })
}

fn within(bytes: usize, bytes_max: usize) -> Result<(), Rejection> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let text = format!("found {bytes} bytes of messages, wanted at most {bytes_max} (ingest.entry_bytes_max)");
    Err(Rejection::new(RejectionReason::TooLarge, text))
}

/// The packing of a payload, as its metadata say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    compression: i32,
    uncompressed_size: u32,
    /// The names of the keys that it is encrypted with.
    encrypted_with: Vec<String>,
}

impl Packed {
    fn of(metadata: &MessageMetadata) -> Self {
        Self {
            compression: metadata.compression.unwrap_or(0),
            uncompressed_size: metadata.uncompressed_size.unwrap_or(0),
            encrypted_with: metadata.encryption_keys.iter().map(|key| key.key.clone()).collect(),
        }
    }

    fn unpack(&self, payload: Bytes, bytes_max: usize) -> Result<Bytes, Rejection> {
        if let Some(key) = self.encrypted_with.first() {
            let name: String = key.chars().take(64).collect();
            let text = format!("found a message encrypted with the key {name:?}, wanted one that isn't encrypted");
            return Err(Rejection::new(RejectionReason::Encrypted, text));
        }
        compression::unpack(self.compression, self.uncompressed_size, payload, bytes_max)
    }
}

#[cfg(test)]
mod tests;

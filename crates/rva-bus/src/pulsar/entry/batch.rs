//! The messages of a batch: each has a length, metadata and a payload.

use super::{METADATA_BYTES_MAX, Unpacked, properties_of, within};
use crate::seam::memory_bytes;
use bytes::{Buf, Bytes};
use prost::Message as _;
use pulsar::proto::SingleMessageMetadata;
use rva_types::{Rejection, RejectionReason};
use std::collections::BTreeMap;

/// The fewest bytes that a message takes: its length, and the metadata that say that its payload has no bytes.
const MESSAGE_BYTES_MIN: usize = 6;

fn broken(text: String) -> Rejection {
    Rejection::new(RejectionReason::BrokenBatch, text)
}

/// Returns exactly `count` messages; together with what they cost beside their bytes they have at most `bytes_max`.
pub(super) fn messages_of(mut payload: Bytes, count: i32, bytes_max: usize) -> Result<Vec<Unpacked>, Rejection> {
    let fits = payload.len() / MESSAGE_BYTES_MIN;
    let count = match usize::try_from(count) {
        Ok(count @ 1..) if count <= fits => count,
        _ => {
            let text = format!("found a count of {count} in a batch of {} bytes, wanted 1 to {fits}", payload.len());
            return Err(broken(text));
        }
    };
    within(count.saturating_mul(memory_bytes(0, &BTreeMap::new())), bytes_max)?;
    let mut messages = Vec::with_capacity(count);
    let mut bytes = 0usize;
    for index in 0..count {
        let message = next(&mut payload).map_err(|text| broken(format!("message {index} of {count}: {text}")))?;
        bytes = bytes.saturating_add(memory_bytes(message.body.len(), &message.properties));
        within(bytes, bytes_max)?;
        messages.push(message);
    }
    Ok(messages)
}

fn next(payload: &mut Bytes) -> Result<Unpacked, String> {
    if payload.len() < size_of::<u32>() {
        return Err(format!("found {} bytes, wanted a length", payload.len()));
    }
    let length = payload.get_u32() as usize;
    let most = METADATA_BYTES_MAX.min(payload.len());
    if length > most {
        return Err(format!("found {length} bytes of metadata, wanted at most {most}"));
    }
    let metadata = payload.split_to(length);
    let metadata = SingleMessageMetadata::decode(metadata).map_err(|error| format!("found no metadata: {error}"))?;
    let length = metadata.payload_size;
    match usize::try_from(length) {
        Ok(length) if length <= payload.len() => {
            let body = payload.split_to(length);
            Ok(Unpacked { properties: properties_of(metadata.properties), body })
        }
        _ => Err(format!("found a payload of {length} bytes, wanted at most {}", payload.len())),
    }
}

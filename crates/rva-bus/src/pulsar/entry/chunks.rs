//! Messages that came in chunks: entries of their own, among them those of other producers.

use super::{Packed, RAW_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use pulsar::proto::MessageMetadata;
use rva_types::{Position, Rejection, RejectionReason, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// The bytes that a part costs beside its own.
const PART_OVERHEAD_BYTES: usize = 128;

/// The number of messages whose name is kept after they were put together, so that a part that is sent again is known.
const DONE_MAX: usize = 64;

/// The message that a part belongs to: its producer, and the name that it gave the message.
type Key = (String, String);

/// A part of a message.
#[derive(Debug)]
pub(in super::super) struct ChunkPart {
    key: Key,
    index: usize,
    of: usize,
    /// The bytes of all parts together, as each part says.
    total: usize,
    packed: Packed,
    bytes: Bytes,
}

/// A message whose parts were put together, or that can't be.
#[derive(Debug)]
pub(in super::super) struct Joined {
    pub publish_ts: Timestamp,
    pub properties: BTreeMap<String, String>,
    /// The message, or all its parts as far as they are kept, with the reason.
    pub body: Result<Bytes, (Bytes, Rejection)>,
}

fn incomplete(text: String) -> Rejection {
    Rejection::new(RejectionReason::IncompleteChunks, text)
}

/// Returns the part that an entry is; `None` where it isn't one.
pub(super) fn part_of(metadata: &MessageMetadata, payload: &Bytes) -> Option<Result<ChunkPart, Rejection>> {
    let of = metadata.num_chunks_from_msg.unwrap_or(0);
    let index = metadata.chunk_id.unwrap_or(0);
    // A message in one chunk is a message.
    if of <= 1 && index == 0 {
        return None;
    }
    let total = metadata.total_chunk_msg_size.unwrap_or(0);
    let wrong = || {
        incomplete(format!(
            "found chunk {index} of {of} with {total} bytes in all, wanted an index, a number and a size that fit together"
        ))
    };
    let (Ok(of), Ok(index), Ok(total)) = (usize::try_from(of), usize::try_from(index), usize::try_from(total)) else {
        return Some(Err(wrong()));
    };
    let uuid = metadata.uuid.clone().unwrap_or_default();
    if index >= of || payload.len() > total || uuid.is_empty() {
        return Some(Err(wrong()));
    }
    let key = (metadata.producer_name.clone(), uuid);
    Some(Ok(ChunkPart { key, index, of, total, packed: Packed::of(metadata), bytes: payload.clone() }))
}

/// A message that is being put together.
#[derive(Debug)]
struct Join {
    /// The position at which its last part was found.
    last: Position,
    publish_ts: Timestamp,
    properties: BTreeMap<String, String>,
    packed: Packed,
    of: usize,
    total: usize,
    /// The index that comes next.
    next: usize,
    parts: Vec<Bytes>,
    kept: usize,
    found: usize,
    /// The reason why it will not be a message; the rest of its parts is only counted then.
    doomed: Option<Rejection>,
}

impl Join {
    fn add(&mut self, part: ChunkPart) {
        // The producer sent it again.
        if part.index < self.next && self.doomed.is_none() {
            return;
        }
        if part.index != self.next && self.doomed.is_none() {
            self.doomed =
                Some(incomplete(format!("found chunk {} of {}, wanted chunk {}", part.index, self.of, self.next)));
        }
        self.next = part.index + 1;
        self.found = self.found.saturating_add(part.bytes.len());
        let mut bytes = part.bytes;
        if self.doomed.is_some() {
            bytes.truncate(RAW_BYTES_MAX.saturating_sub(self.kept));
        }
        if !bytes.is_empty() {
            self.kept += bytes.len();
            self.parts.push(bytes);
        }
    }

    fn finish(self, bytes_max: usize) -> Joined {
        let Self { publish_ts, properties, packed, of, total, parts, next, found, doomed, .. } = self;
        let raw = || joined(&parts);
        let body = match doomed {
            Some(rejection) => Err((raw(), counted(rejection, of, found))),
            None if next < of => {
                let text = format!("found {next} of {of} chunks and no more, wanted all");
                Err((raw(), counted(incomplete(text), of, found)))
            }
            None if found != total => {
                let text = format!("found {found} bytes in {of} chunks, wanted {total}");
                Err((raw(), counted(incomplete(text), of, found)))
            }
            None => {
                let raw = raw();
                packed.unpack(raw.clone(), bytes_max).map_err(|rejection| (raw, counted(rejection, of, found)))
            }
        };
        Joined { publish_ts, properties, body }
    }
}

fn joined(parts: &[Bytes]) -> Bytes {
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}

fn counted(rejection: Rejection, of: usize, found: usize) -> Rejection {
    let detail = format!("{} (a message in {of} chunks, of which {found} bytes were found)", rejection.detail);
    Rejection::new(rejection.reason, detail)
}

/// The messages of a partition that are being put together.
#[derive(Debug, Default)]
pub(in super::super) struct Joins {
    open: BTreeMap<Key, Join>,
    done: VecDeque<Key>,
}

impl Joins {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns the bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.open.values().map(|join| join.kept + (join.parts.len() + 1) * PART_OVERHEAD_BYTES).sum()
    }

    /// Takes a part that came at `position`; returns the message, when it was the last one.
    pub(crate) fn add(
        &mut self,
        part: ChunkPart,
        (position, publish_ts): (Position, Timestamp),
        properties: BTreeMap<String, String>,
        bytes_max: usize,
    ) -> Option<Joined> {
        let key = part.key.clone();
        let is_last = part.index + 1 == part.of;
        if part.index > 0 && !self.open.contains_key(&key) && self.done.contains(&key) {
            // The producer had no receipt for it.
            return None;
        }
        let join = self.open.entry(key.clone()).or_insert_with(|| Join {
            last: position,
            publish_ts,
            properties,
            packed: part.packed.clone(),
            of: part.of,
            total: part.total,
            next: 0,
            parts: Vec::new(),
            kept: 0,
            found: 0,
            doomed: (part.total > bytes_max).then(|| {
                let text = format!("found {} bytes, wanted at most {bytes_max} (ingest.entry_bytes_max)", part.total);
                Rejection::new(RejectionReason::TooLarge, text)
            }),
        });
        if (part.of, part.total) != (join.of, join.total) && join.doomed.is_none() {
            join.doomed = Some(incomplete(format!(
                "found a part of {} chunks with {} bytes, wanted {} with {}",
                part.of, part.total, join.of, join.total
            )));
        }
        join.last = position;
        join.add(part);
        if !is_last {
            return None;
        }
        let join = self.open.remove(&key)?;
        self.done.push_back(key);
        if self.done.len() > DONE_MAX {
            self.done.pop_front();
        }
        Some(join.finish(bytes_max))
    }

    /// Gives up the open messages, and returns each with the position of the last part that was found.
    pub(crate) fn give_up(&mut self, bytes_max: usize) -> Vec<(Position, Joined)> {
        std::mem::take(&mut self.open).into_values().map(|join| (join.last, join.finish(bytes_max))).collect()
    }
}

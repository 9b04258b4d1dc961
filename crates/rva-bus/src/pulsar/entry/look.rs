//! The unpacker as the source uses it, without a broker: for those who feed it foreign bytes.

use super::{Content, Joins, Unpacked, cut, open};
use bytes::Bytes;
use rva_types::{Position, Rejection};
use std::collections::BTreeMap;

/// Properties and body of each message that was found, or what a dead letter would hold, and why.
pub type Outcome = Result<Vec<(BTreeMap<String, String>, Bytes)>, (Bytes, Rejection)>;

/// Unpacks entries that follow each other in a partition; chunks are put together, and given up at the end. Each entry,
/// or message in chunks, may cost `bytes_max`.
pub fn unpack_entries(entries: impl IntoIterator<Item = Bytes>, bytes_max: usize) -> Vec<Outcome> {
    let mut joins = Joins::default();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (number, bytes) in (0..).zip(entries) {
        let entry = open(bytes, bytes_max);
        let at = Position { ledger: 1, entry: number, batch_index: -1 };
        match entry.content {
            Content::Messages { messages, .. } => {
                let parts = |Unpacked { properties, body }| (properties, body);
                outcomes.push(Ok(messages.into_iter().map(parts).collect()));
            }
            Content::Chunk(part) => {
                let joined = joins.add(part, (at, entry.publish_ts), entry.properties, bytes_max);
                outcomes.extend(joined.map(|joined| joined.body.map(|body| vec![(joined.properties, body)])));
            }
            Content::Rejected(rejection) => outcomes.push(Err(cut(entry.raw, rejection))),
        }
    }
    let given_up = joins.give_up(bytes_max).into_iter();
    outcomes.extend(given_up.map(|(_, joined)| joined.body.map(|body| vec![(joined.properties, body)])));
    outcomes
}

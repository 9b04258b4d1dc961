//! Rows that lost: their key is in the table with another payload, so they become dead letters.
//!
//! Anybody who knows a run can send its future frames before the camera does, and the first one stays. The genuine
//! record must not vanish as one that was known already, so the loser is kept as a dead letter, whose reason can be
//! alerted on.

use crate::{Cut, origin::Origin};
use rva_lake::BronzeRow;
use rva_types::{DeadLetter, EventKey, OffsetMap, PropertyName, Rejection, RejectionReason};
use std::collections::BTreeSet;

impl Cut {
    /// Takes rows out, by their places, and returns the dead letters that they become. A dead letter holds the record,
    /// and of the message's properties store and camera; its message id leads to the message itself.
    pub fn lose(&mut self, places: &[usize]) -> Vec<DeadLetter> {
        let letters = self.letters(places);
        self.remove(places);
        letters
    }

    /// Returns the dead letters that rows would become.
    pub(crate) fn letters(&self, places: &[usize]) -> Vec<DeadLetter> {
        let rows = places.iter().filter_map(|at| Some((self.bronze.rows.get(*at)?, self.origins.get(*at)?)));
        rows.map(|(row, origin)| letter(row, origin)).collect()
    }

    /// Takes rows out, by their places.
    pub(crate) fn remove(&mut self, places: &[usize]) {
        let places: BTreeSet<usize> = places.iter().copied().collect();
        let mut at = 0..;
        self.bronze.rows.retain(|_| !at.next().is_some_and(|at| places.contains(&at)));
        let mut at = 0..;
        self.origins.retain(|_| !at.next().is_some_and(|at| places.contains(&at)));
    }

    /// Returns the places of rows whose messages were looked at when a table had `offsets`.
    pub(crate) fn up_to(&self, offsets: &OffsetMap) -> Vec<usize> {
        let is_included = |origin: &Origin| offsets.includes(&origin.range.partition, origin.position);
        (0..).zip(&self.origins).filter(|(_, origin)| is_included(origin)).map(|(at, _)| at).collect()
    }
}

fn letter(row: &BronzeRow, origin: &Origin) -> DeadLetter {
    let EventKey { run, camera, frame_index } = &row.event.key;
    let rejection = Rejection::new(
        RejectionReason::KeyConflict,
        format!(
            "found another payload for run {run}, camera {camera}, frame {frame_index} than came first, wanted the same"
        ),
    );
    let (topic, partition) = origin.range.topic.clone();
    DeadLetter {
        topic,
        partition,
        message_id: origin.position.to_string(),
        publish_ts: origin.publish_ts,
        reason: rejection.reason,
        detail: rejection.detail,
        raw: row.event.payload.as_bytes().to_vec(),
        properties: [(PropertyName::STORE_ID, row.event.store.as_str()), (PropertyName::CAMERA_ID, camera.as_str())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ingest_ts: row.ingest_ts,
    }
}

//! Tells a row that comes again from one that claims a known key with another payload.
//!
//! The key index says that a key is there; what is there under it only the table says. Reading it back for every
//! repeated row would make a file that is replayed as dear as a new one, so digests of the newest payloads are held in
//! memory. They are keyed by numbers of this process, so nobody outside can make two payloads that look alike. A digest
//! only ever acquits: before a row is called a conflict, the stored payload itself is compared with it.

use crate::columns::read_matching;
use crate::files::{FileEntry, FileList};
use crate::keys::blocks::{BatchBlock, KEY_COLUMNS, blocks_of, keys_of};
use crate::keys::search::{Piece, search};
use crate::rows::BronzeRow;
use crate::seam::{LakeError, LakeErrorKind};
use ahash::RandomState;
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt};
use iceberg::table::Table;
use rva_types::EventKey;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The most digests that are held, in two halves of which the older one is dropped: about 2 MiB. Half of it is what a
/// hash set of 2^17 places holds before it grows.
const DIGESTS_MAX: usize = 7 << 15;

/// The number of files that are read at the same time: of each a page of payloads or two is held.
const FILES_AT_ONCE: usize = 8;

/// The digests of the newest keys, each with its payload.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    hashes: RandomState,
    young: HashSet<u64, RandomState>,
    old: HashSet<u64, RandomState>,
    /// The digests of the batch that is being committed.
    staged: Vec<u64>,
}

impl Payloads {
    /// Begins a batch.
    pub(crate) fn begin(&mut self) {
        self.staged.clear();
    }

    fn digest(&self, row: &BronzeRow) -> u64 {
        self.hashes.hash_one((&row.event.key, row.event.payload.as_bytes()))
    }

    /// Returns whether the table is known to hold this payload under its key; `false` says nothing.
    pub(crate) fn holds(&self, row: &BronzeRow) -> bool {
        let digest = self.digest(row);
        self.young.contains(&digest) || self.old.contains(&digest)
    }

    /// Notes a row that the table holds, or will hold once the batch is committed.
    pub(crate) fn stage(&mut self, row: &BronzeRow) {
        let digest = self.digest(row);
        self.staged.push(digest);
    }

    /// Takes over what was staged: the batch is in the table.
    pub(crate) fn commit(&mut self) {
        for digest in std::mem::take(&mut self.staged) {
            if self.young.len() >= DIGESTS_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(digest);
        }
    }

    /// Drops every digest: nothing that is held can be relied on.
    pub(crate) fn forget(&mut self) {
        *self = Self { hashes: self.hashes.clone(), ..Self::default() };
    }
}

/// The rows of a batch whose keys are known, and whose payloads may be others.
#[derive(Debug)]
pub(crate) struct Suspects<'a> {
    rows: &'a [BronzeRow],
    table: Vec<usize>,
    batch: Vec<usize>,
}

/// The verdict of the table on suspects.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// The rows whose payload is there, by their place in the batch.
    pub same: Vec<usize>,
    /// The rows under whose key there are only other payloads, by their place in the batch.
    pub other: Vec<usize>,
    pub files_read: u64,
}

impl<'a> Suspects<'a> {
    pub(crate) fn of(rows: &'a [BronzeRow]) -> Self {
        Self { rows, table: Vec::new(), batch: Vec::new() }
    }

    /// Adds a row whose key the table holds.
    pub(crate) fn of_table(&mut self, at: usize) {
        self.table.push(at);
    }

    /// Adds a row whose key an earlier row of the batch has.
    pub(crate) fn of_batch(&mut self, at: usize) {
        self.batch.push(at);
    }

    /// Returns the rows whose payload isn't that of the first row of their key, which is one of `fresh`.
    pub(crate) fn within_batch(&self, fresh: &[usize]) -> Vec<usize> {
        if self.batch.is_empty() {
            return Vec::new();
        }
        let first: HashMap<&EventKey, usize> = fresh.iter().map(|at| (&self.rows[*at].event.key, *at)).collect();
        let differs = |at: &usize| {
            let row = &self.rows[*at].event;
            first.get(&row.key).is_some_and(|first| !is_same(&self.rows[*first].event.payload, &row.payload))
        };
        self.batch.iter().copied().filter(differs).collect()
    }

    /// Compares the payloads of rows whose keys the table holds with what it holds, reading those files that may.
    ///
    /// # Errors
    /// Returns the error of a file that can't be read.
    pub(crate) async fn compare(&self, table: &Table, files: &FileList) -> Result<Compared, LakeError> {
        let mut compared = Compared::default();
        if self.table.is_empty() {
            return Ok(compared);
        }
        // For each key of a suspect whether its payload was found, and whether another one was.
        let mut seen = vec![(false, false); self.rows.len()];
        let asked = Asked::of(self.rows, &self.table);
        let pieces: Vec<Piece<'_>> = asked.blocks.iter().map(BatchBlock::piece).collect();
        let may_hold = search(files.iter(), &pieces).files;
        compared.files_read = may_hold.len() as u64;
        let reading: Vec<_> = may_hold.iter().map(|file| self.compare_file(table, file, &asked)).collect();
        let mut reading = futures::stream::iter(reading).buffer_unordered(FILES_AT_ONCE);
        while let Some(found) = reading.try_next().await? {
            for (at, is_same) in found {
                let (same, other) = &mut seen[at];
                *same |= is_same;
                *other |= !is_same;
            }
        }
        for at in &self.table {
            match seen[*at] {
                (true, _) => compared.same.push(*at),
                (false, true) => compared.other.push(*at),
                // Somebody deleted it: the key stays known.
                (false, false) => {}
            }
        }
        Ok(compared)
    }

    /// Returns the rows whose keys a file holds, and whether with the same payload.
    async fn compare_file(
        &self,
        table: &Table,
        file: &FileEntry,
        asked: &Asked<'a>,
    ) -> Result<Vec<(usize, bool)>, LakeError> {
        let (digests, hashes) = (Arc::clone(&asked.digests), asked.hashes.clone());
        let is_wanted = move |batch: &arrow::record_batch::RecordBatch| {
            let keys = keys_of(batch).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            let mut matches = vec![false; batch.num_rows()];
            for (at, key) in keys {
                matches[at] = digests.contains(&hashes.hash_one(key));
            }
            Ok(BooleanArray::from(matches))
        };
        let mut found = Vec::new();
        read_matching(table, file, KEY_COLUMNS, "payload", &asked.runs, is_wanted, |batch| {
            let wrong =
                || LakeError::new(LakeErrorKind::Permanent, format!("found other payload types in {}", file.path));
            let payloads = batch.column(KEY_COLUMNS.len()).as_string_opt::<i32>().ok_or_else(wrong)?;
            for (place, key) in keys_of(batch)? {
                if payloads.is_null(place) {
                    continue;
                }
                for at in asked.by_key.get(&key).into_iter().flatten() {
                    found.push((*at, is_same(payloads.value(place), &self.rows[*at].event.payload)));
                }
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// A key as texts and a number.
type Key<'a> = (&'a str, &'a str, i64);

/// The keys of suspects, which are asked of files.
struct Asked<'a> {
    blocks: Vec<BatchBlock>,
    /// The runs, ascending, each once.
    runs: Vec<&'a str>,
    by_key: HashMap<Key<'a>, Vec<usize>>,
    /// Digests of the keys: who reads a file filters its rows by them before it reads payloads.
    digests: Arc<HashSet<u64>>,
    hashes: RandomState,
}

impl<'a> Asked<'a> {
    fn of(rows: &'a [BronzeRow], places: &[usize]) -> Self {
        let (blocks, _) = blocks_of(places.iter().map(|at| &rows[*at].event.key));
        let mut by_key: HashMap<Key<'a>, Vec<usize>> = HashMap::new();
        for at in places {
            let EventKey { run, camera, frame_index } = &rows[*at].event.key;
            by_key.entry((run.as_str(), camera.as_str(), *frame_index)).or_default().push(*at);
        }
        let runs: BTreeSet<&str> = by_key.keys().map(|(run, _, _)| *run).collect();
        let hashes = RandomState::new();
        let digests = by_key.keys().map(|key| hashes.hash_one(key)).collect();
        Self { blocks, runs: runs.into_iter().collect(), by_key, digests: Arc::new(digests), hashes }
    }
}

/// Returns whether two payloads say the same: by their bytes, or as JSON, where only blanks or the order of fields
/// differ.
fn is_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (serde_json::from_str::<Value>(one), serde_json::from_str::<Value>(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::{BronzeEvent, CameraId, RunId, StoreId, Timestamp};

    fn row(frame_index: i64, payload: &str) -> BronzeRow {
        let (run, camera) = (RunId::parse("run").unwrap(), CameraId::parse("cam").unwrap());
        let key = EventKey { run, camera, frame_index };
        let store = StoreId::parse("store").unwrap();
        let event = BronzeEvent { schema_version: "1.0".into(), key, payload: payload.into(), store };
        BronzeRow { event, ingest_ts: Timestamp::from_micros(1) }
    }

    #[test]
    fn a_digest_acquits_only_the_payload_that_was_committed() {
        let mut payloads = Payloads::default();
        payloads.stage(&row(1, "a"));
        assert!(!payloads.holds(&row(1, "a")), "not before the commit");
        payloads.commit();
        assert!(payloads.holds(&row(1, "a")));
        assert!(!payloads.holds(&row(1, "b")) && !payloads.holds(&row(2, "a")));
        payloads.forget();
        assert!(!payloads.holds(&row(1, "a")));
    }

    #[test]
    fn the_digests_are_bounded_and_the_newest_stay() {
        let mut payloads = Payloads::default();
        for number in 0..3 * DIGESTS_MAX as u64 {
            payloads.staged.push(number);
            payloads.commit();
        }
        assert!(payloads.young.len() + payloads.old.len() <= DIGESTS_MAX);
        assert!(payloads.young.contains(&(3 * DIGESTS_MAX as u64 - 1)));
    }

    #[test]
    fn the_same_record_written_otherwise_is_the_same() {
        assert!(is_same(r#"{"a":1,"b":[0.50]}"#, r#"{ "b": [0.5], "a": 1 }"#));
        assert!(!is_same(r#"{"a":1}"#, r#"{"a":2}"#));
        assert!(!is_same("x", "y"));
    }
}

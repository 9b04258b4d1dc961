//! Lookups of keys, so that each event is there once: a key is looked up in the table before its row is appended.
//!
//! The index holds, for each (run, camera), ranges of frame indexes of which it is known what the table holds
//! ([`KnownFrames`]). What isn't known is asked of the table, whose data files are the truth: first of their bounds, which
//! are in memory and most times say that no file holds anything at these frames or behind them ([`search`]); the files
//! that may are read, many at the same time, and of them the key columns. Keys of rows that somebody deleted stay known
//! ([`Deletions`]).
//!
//! A run that goes on is thus looked up once, however long it lasts, and costs some hundred bytes.

pub(crate) mod blocks;
mod known;
mod read;
pub(crate) mod search;

use crate::conflicts::{Payloads, Suspects};
use crate::deletions::Deletions;
use crate::files::{FileEntry, FileList};
use crate::key_check::{CheckedRows, KeyCheck};
use crate::lake::Lake;
use crate::rows::BronzeRow;
use crate::seam::{Batch, KeyIndexCounts, LakeError};
use crate::state::StoredState;
use ahash::{HashMap, HashMapExt};
use blocks::{BatchBlock, RunKey, blocks_of};
use iceberg::table::Table;
use known::{KnownFrames, bit, block_of};
use read::{WantedBlocks, files_within, read_files};
use roaring::RoaringBitmap;
use search::{Piece, search};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A run that is held.
#[derive(Debug, Default)]
struct Held {
    frames: KnownFrames,
    used: u64,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct KeyIndex {
    runs: HashMap<RunKey, Held>,
    bytes: usize,
    bytes_max: usize,
    clock: u64,
    /// The keys of the batch that is being committed, by run and block.
    staged: Vec<(RunKey, i64, RoaringBitmap)>,
    /// Files that others added, and whose keys the held runs lack yet.
    added: Vec<Arc<FileEntry>>,
    /// The keys that were deleted from the table, which stay known.
    deletions: Deletions,
    /// The digests of payloads that the table holds, those of the newest rows.
    payloads: Payloads,
    pub(crate) counts: KeyIndexCounts,
}

/// Returns the frame indexes that the table holds of each of the blocks, which were looked up.
fn held_of<'a>(runs: &'a HashMap<RunKey, Held>, blocks: &[BatchBlock]) -> Vec<Option<&'a RoaringBitmap>> {
    let held = |block: &BatchBlock| runs.get(&block.key)?.frames.block(block.number());
    blocks.iter().map(held).collect()
}

impl KeyIndex {
    pub(crate) fn new(lake: &Lake) -> Self {
        Self {
            runs: HashMap::new(),
            bytes: 0,
            bytes_max: lake.options.key_bytes_max,
            clock: 0,
            staged: Vec::new(),
            added: Vec::new(),
            deletions: Deletions::new(lake),
            payloads: Payloads::default(),
            counts: KeyIndexCounts::default(),
        }
    }

    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.added.clear();
        self.bytes = 0;
    }

    /// Changes what is known of a run, and counts its bytes anew.
    fn change(&mut self, key: &RunKey, change: impl FnOnce(&mut KnownFrames)) {
        let held = match self.runs.get_mut(key) {
            Some(held) => held,
            None => self.runs.entry(key.clone()).or_default(),
        };
        held.used = self.clock;
        change(&mut held.frames);
        self.bytes -= held.bytes;
        held.bytes = held.frames.size_bytes();
        self.bytes += held.bytes;
    }

    /// Adds the keys of files that others added to the runs that are held.
    async fn follow_added(&mut self, table: &Table) -> Result<(), LakeError> {
        if self.runs.is_empty() {
            self.added.clear();
        }
        if self.added.is_empty() {
            return Ok(());
        }
        let known = self.runs.iter().map(|(key, held)| (key, held.frames.ranges()));
        let files = files_within(&self.added, known);
        let mut wanted = WantedBlocks::default();
        for key in self.runs.keys() {
            wanted.add(key.clone(), None);
        }
        let wanted = Arc::new(wanted);
        self.counts.files_read += files.len() as u64;
        let found = read_files(table, files, &wanted).await?;
        for ((place, block), frames) in found.frames {
            self.change(wanted.run(place), |known| known.add(block, &frames));
        }
        self.added.clear();
        Ok(())
    }

    /// Learns what the table holds at and around blocks of a batch.
    async fn learn(&mut self, table: &Table, files: &FileList, missing: &[&BatchBlock]) -> Result<(), LakeError> {
        let pieces: Vec<Piece<'_>> = missing.iter().map(|block| block.piece()).collect();
        let bounds = search(files.iter(), &pieces);
        let mut by_run: HashMap<&RunKey, BTreeSet<i64>> = HashMap::new();
        for block in missing {
            by_run.entry(&block.key).or_default().insert(block.number());
        }
        let mut wanted = WantedBlocks::default();
        let places: HashMap<&RunKey, usize> =
            by_run.into_iter().map(|(key, blocks)| (key, wanted.add(key.clone(), Some(blocks)))).collect();
        let wanted = Arc::new(wanted);
        self.counts.files_read += bounds.files.len() as u64;
        let mut found = read_files(table, bounds.files, &wanted).await?;
        let (by_name, runs) = (wanted.places(), wanted.run_names());
        self.deletions
            .of_runs(table, &runs, |run, camera, first, last| {
                if let Some(place) = by_name.get(&(run, camera)) {
                    found.add_range(&wanted, *place, first, last);
                }
            })
            .await?;
        for (block, mut free) in missing.iter().zip(bounds.free) {
            let Some(place) = places.get(&block.key) else { continue };
            found.narrow(*place, block.number(), &mut free);
            let frames = found.frames.remove(&(*place, block.number())).unwrap_or_default();
            self.change(&block.key, |known| {
                known.add(block.number(), &frames);
                known.cover(free.0, free.1);
            });
        }
        Ok(())
    }

    /// Makes what is held say what the table says now, and learns what it says of blocks of a batch.
    ///
    /// It may be dropped half-way: what is known then is true, and what isn't yet is looked up again.
    async fn prepare(&mut self, table: &Table, files: &mut FileList, blocks: &[BatchBlock]) -> Result<(), LakeError> {
        self.deletions.note(table).await?;
        files.follow(table).await?;
        let changes = files.take_changes();
        if changes.removed {
            // Rows may have gone with the files.
            self.clear();
            self.payloads.forget();
        } else {
            self.added.extend(changes.added);
            self.follow_added(table).await?;
        }
        self.clock += 1;
        let mut missing = Vec::new();
        for block in blocks {
            match self.runs.get_mut(&block.key) {
                Some(held) if held.frames.covers(block.first, block.last) => held.used = self.clock,
                _ => missing.push(block),
            }
        }
        self.counts.blocks_loaded += missing.len() as u64;
        if missing.is_empty() { Ok(()) } else { self.learn(table, files, &missing).await }
    }

    /// Returns for each row whether the table holds its key.
    pub(crate) async fn holds(
        &mut self,
        table: &Table,
        files: &mut FileList,
        rows: &[BronzeRow],
    ) -> Result<Vec<bool>, LakeError> {
        let (blocks, places) = blocks_of(rows.iter().map(|row| &row.event.key));
        self.prepare(table, files, &blocks).await?;
        let held = held_of(&self.runs, &blocks);
        let holds = rows
            .iter()
            .zip(places)
            .map(|(row, block)| held[block].is_some_and(|frames| frames.contains(bit(row.event.key.frame_index))));
        Ok(holds.collect())
    }

    /// Forgets old frames of the runs that were not used for longest, and then the runs, until there is room again.
    fn shrink(&mut self) {
        if self.bytes <= self.bytes_max {
            return;
        }
        // Some more than the bound wants, so that not every commit looks through all runs.
        let wanted = self.bytes_max / 4 * 3;
        let mut by_age: Vec<(u64, RunKey)> = self.runs.iter().map(|(key, held)| (held.used, key.clone())).collect();
        by_age.sort_unstable();
        for (_, key) in &by_age {
            if self.bytes <= wanted {
                return;
            }
            let Some(held) = self.runs.get_mut(key) else { continue };
            held.frames.trim();
            let bytes = held.frames.size_bytes();
            self.counts.blocks_dropped += u64::from(bytes < held.bytes);
            self.bytes = self.bytes - held.bytes + bytes;
            held.bytes = bytes;
        }
        for (_, key) in &by_age {
            if self.bytes <= wanted {
                return;
            }
            if let Some(held) = self.runs.remove(key) {
                self.bytes -= held.bytes;
                self.counts.blocks_dropped += 1;
            }
        }
    }
}

impl KeyCheck<BronzeRow> for KeyIndex {
    async fn select(
        &mut self,
        table: &Table,
        files: &mut FileList,
        batch: &Batch<BronzeRow>,
        _stored: &StoredState,
    ) -> Result<CheckedRows, LakeError> {
        self.staged.clear();
        let (blocks, places) = blocks_of(batch.rows.iter().map(|row| &row.event.key));
        self.prepare(table, files, &blocks).await?;
        let held = held_of(&self.runs, &blocks);
        let mut staged = vec![RoaringBitmap::new(); blocks.len()];
        let (mut fresh, mut suspects) = (Vec::new(), Suspects::of(&batch.rows));
        self.payloads.begin();
        for (at, (row, block)) in batch.rows.iter().zip(places).enumerate() {
            let bit = bit(row.event.key.frame_index);
            if held[block].is_some_and(|held| held.contains(bit)) {
                if !self.payloads.holds(row) {
                    suspects.of_table(at);
                }
            } else if staged[block].insert(bit) {
                self.payloads.stage(row);
                fresh.push(at);
            } else {
                // A key that comes twice in the batch is known the second time.
                suspects.of_batch(at);
            }
        }
        let staged = blocks.into_iter().zip(staged).filter(|(_, frames)| !frames.is_empty());
        self.staged = staged.map(|(BatchBlock { key, first, .. }, frames)| (key, block_of(first), frames)).collect();
        let mut conflicts = suspects.within_batch(&fresh);
        let found = suspects.compare(table, files).await?;
        self.counts.payload_files_read += found.files_read;
        found.same.into_iter().for_each(|at| self.payloads.stage(&batch.rows[at]));
        conflicts.extend(found.other);
        conflicts.sort_unstable();
        Ok(CheckedRows { fresh, conflicts })
    }

    fn committed(&mut self) {
        for (key, block, frames) in std::mem::take(&mut self.staged) {
            if self.runs.contains_key(&key) {
                self.change(&key, |known| known.add(block, &frames));
            }
        }
        self.payloads.commit();
        self.shrink();
    }

    fn forget(&mut self) {
        self.staged.clear();
        self.clear();
        self.payloads.forget();
    }

    fn properties(&self) -> Option<(String, String)> {
        self.deletions.property()
    }
}

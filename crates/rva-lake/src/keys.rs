//! Lookups of keys, so that each event is there once: a key is looked up in the table before its row is appended.
//!
//! The index holds blocks of frame indexes of a (run, camera) as bitmaps. A block that isn't held is loaded from the
//! table, whose data files are the truth; only files whose bounds allow it are read, and of them the key columns. Keys
//! of rows that somebody deleted stay known ([`Deletions`]).

use crate::columns::read_columns;
use crate::commit::{KeyCheck, Selection};
use crate::conflicts::{Payloads, Suspects};
use crate::deletions::Deletions;
use crate::errors::permanent;
use crate::files::{FileEntry, FileList, SortedKey};
use crate::lake::Lake;
use crate::rows::BronzeRow;
use crate::seam::{Batch, LakeError, LakeErrorKind};
use crate::state::StoredState;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use iceberg::table::Table;
use roaring::RoaringBitmap;
use rva_types::EventKey;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The columns of the key, in the order of [`FileEntry::spans`].
pub(crate) const KEY_COLUMNS: &[&str] = &["pipeline_run_id", "camera_id", "frame_index"];

/// The bits of a frame index in a block: 2^16 of them, so that a bitmap is one container of at most 8 KiB.
const BLOCK_BITS: u32 = 16;

/// A block of frame indexes of one run and camera. Any `i64` has a block: the high bits, sign included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct BlockKey {
    run: Arc<str>,
    camera: Arc<str>,
    number: i64,
}

impl BlockKey {
    fn of(run: &str, camera: &str, frame_index: i64) -> Self {
        Self { run: run.into(), camera: camera.into(), number: frame_index >> BLOCK_BITS }
    }

    fn first(&self) -> i64 {
        self.number << BLOCK_BITS
    }

    fn last(&self) -> i64 {
        self.first() | ((1 << BLOCK_BITS) - 1)
    }

    fn may_be_in(&self, file: &FileEntry) -> bool {
        file.may_hold(&self.run, &self.camera, self.first(), self.last())
    }
}

/// Returns those blocks of `wanted` that a file may hold keys of.
fn blocks_in<'a>(wanted: &'a BTreeSet<BlockKey>, file: &'a FileEntry) -> impl Iterator<Item = &'a BlockKey> {
    let block = |(run, camera, frame_index): SortedKey| BlockKey { run, camera, number: frame_index >> BLOCK_BITS };
    let (first, last) = file.key_bounds();
    let within = wanted.range((first.map(block), last.map(block)));
    within.filter(move |block| block.may_be_in(file))
}

/// Returns the place of a frame index in its block.
fn bit(frame_index: i64) -> u32 {
    // The low 16 bits of a two's complement number: never negative, never larger than 65,535.
    u32::try_from(frame_index & ((1 << BLOCK_BITS) - 1)).unwrap_or(0)
}

#[derive(Debug)]
struct Block {
    frames: RoaringBitmap,
    used: u64,
}

/// The cost of lookups, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyIndexCounts {
    /// The number of blocks that were loaded because they weren't held.
    pub blocks_loaded: u64,
    /// The number of data files whose key columns were read.
    pub files_read: u64,
    /// The number of data files of which payloads were read, to compare them with those of known keys.
    pub payload_files_read: u64,
    /// The number of blocks that were dropped to stay within the bound.
    pub blocks_dropped: u64,
}

#[derive(Debug)]
pub(crate) struct KeyIndex {
    blocks: HashMap<BlockKey, Block>,
    blocks_max: usize,
    clock: u64,
    /// The keys of the batch that is being committed.
    staged: HashMap<BlockKey, RoaringBitmap>,
    /// The keys that were deleted from the table, which stay known.
    deletions: Deletions,
    /// The digests of payloads that the table holds, those of the newest rows.
    payloads: Payloads,
    pub(crate) counts: KeyIndexCounts,
}

impl KeyIndex {
    pub(crate) fn new(lake: &Lake) -> Self {
        Self {
            blocks: HashMap::new(),
            blocks_max: lake.options.key_blocks_max,
            clock: 0,
            staged: HashMap::new(),
            deletions: Deletions::new(lake),
            payloads: Payloads::default(),
            counts: KeyIndexCounts::default(),
        }
    }

    pub(crate) fn blocks_held(&self) -> usize {
        self.blocks.len()
    }

    /// Reads the keys of `files` into those blocks of `wanted` that they may hold.
    async fn load(
        &mut self,
        table: &Table,
        files: &[Arc<FileEntry>],
        wanted: &BTreeSet<BlockKey>,
    ) -> Result<(), LakeError> {
        for file in files {
            let blocks: HashSet<&BlockKey> = blocks_in(wanted, file).collect();
            if blocks.is_empty() {
                continue;
            }
            let runs: BTreeSet<&str> = blocks.iter().map(|block| &*block.run).collect();
            let runs: Vec<&str> = runs.into_iter().collect();
            self.counts.files_read += 1;
            let held = &mut self.blocks;
            read_columns(table, file, KEY_COLUMNS, &runs, |batch| {
                for (_, (run, camera, frame_index)) in keys_of(batch)? {
                    let key = BlockKey::of(run, camera, frame_index);
                    if blocks.contains(&key)
                        && let Some(block) = held.get_mut(&key)
                    {
                        block.frames.insert(bit(frame_index));
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Puts keys that were deleted into those blocks of `wanted` that they are in.
    async fn load_deleted(&mut self, table: &Table, wanted: &BTreeSet<BlockKey>) -> Result<(), LakeError> {
        let runs: BTreeSet<&str> = wanted.iter().map(|block| &*block.run).collect();
        let held = &mut self.blocks;
        self.deletions
            .of_runs(table, &runs, |run, camera, first, last| {
                let numbers = (first >> BLOCK_BITS)..=(last >> BLOCK_BITS);
                let probe = |number| BlockKey { run: run.into(), camera: camera.into(), number };
                for key in wanted.range(probe(*numbers.start())..=probe(*numbers.end())) {
                    if let Some(block) = held.get_mut(key) {
                        block.frames.insert_range(bit(first.max(key.first()))..=bit(last.min(key.last())));
                    }
                }
            })
            .await
    }

    /// Makes the held blocks say what the table says now, and loads those of `wanted` that are missing.
    async fn prepare(
        &mut self,
        table: &Table,
        files: &mut FileList,
        wanted: BTreeSet<BlockKey>,
    ) -> Result<(), LakeError> {
        self.deletions.note(table).await?;
        files.follow(table).await?;
        let changes = files.take_changes();
        if changes.removed {
            // Rows may have gone with the files.
            self.blocks.clear();
            self.payloads.forget();
        } else if !changes.added.is_empty() && !self.blocks.is_empty() {
            let held: BTreeSet<BlockKey> = self.blocks.keys().cloned().collect();
            if let Err(error) = self.load(table, &changes.added, &held).await {
                // The list has moved on, the blocks have not.
                self.blocks.clear();
                return Err(error);
            }
        }
        self.clock += 1;
        let missing: BTreeSet<BlockKey> =
            wanted.iter().filter(|block| !self.blocks.contains_key(block)).cloned().collect();
        for block in &missing {
            self.blocks.insert(block.clone(), Block { frames: RoaringBitmap::new(), used: self.clock });
        }
        self.counts.blocks_loaded += missing.len() as u64;
        if !missing.is_empty() {
            let candidates: Vec<_> =
                files.iter().filter(|file| blocks_in(&missing, file).next().is_some()).cloned().collect();
            let loaded = match self.load(table, &candidates, &missing).await {
                Ok(()) => self.load_deleted(table, &missing).await,
                failed => failed,
            };
            if let Err(error) = loaded {
                // A block that was read half-way would let a known key through.
                self.blocks.retain(|key, _| !missing.contains(key));
                return Err(error);
            }
        }
        for block in &wanted {
            if let Some(held) = self.blocks.get_mut(block) {
                held.used = self.clock;
            }
        }
        Ok(())
    }

    /// Returns for each row whether the table holds its key.
    pub(crate) async fn holds(
        &mut self,
        table: &Table,
        files: &mut FileList,
        rows: &[BronzeRow],
    ) -> Result<Vec<bool>, LakeError> {
        let (blocks, places) = blocks_of(rows);
        self.prepare(table, files, blocks.iter().cloned().collect()).await?;
        let holds = rows.iter().zip(places).map(|(row, block)| {
            let frames = self.blocks.get(&blocks[block]).map(|held| &held.frames);
            frames.is_some_and(|frames| frames.contains(bit(row.event.key.frame_index)))
        });
        Ok(holds.collect())
    }

    /// Drops the blocks that were not used for longest.
    fn shrink(&mut self) {
        let surplus = self.blocks.len().saturating_sub(self.blocks_max);
        if surplus == 0 {
            return;
        }
        let mut by_age: Vec<(u64, BlockKey)> =
            self.blocks.iter().map(|(key, block)| (block.used, key.clone())).collect();
        by_age.sort();
        for (_, key) in by_age.into_iter().take(surplus) {
            self.blocks.remove(&key);
            self.counts.blocks_dropped += 1;
        }
    }
}

/// Returns the blocks of a batch's keys, each once, and of each row the place of its block among them.
fn blocks_of(rows: &[BronzeRow]) -> (Vec<BlockKey>, Vec<usize>) {
    let mut blocks = Vec::new();
    let mut known: HashMap<(&str, &str, i64), usize> = HashMap::new();
    let places = rows.iter().map(|row| {
        let EventKey { run, camera, frame_index } = &row.event.key;
        *known.entry((run.as_str(), camera.as_str(), frame_index >> BLOCK_BITS)).or_insert_with(|| {
            blocks.push(BlockKey::of(run.as_str(), camera.as_str(), *frame_index));
            blocks.len() - 1
        })
    });
    let places = places.collect();
    (blocks, places)
}

impl KeyCheck<BronzeRow> for KeyIndex {
    async fn select(
        &mut self,
        table: &Table,
        files: &mut FileList,
        batch: &Batch<BronzeRow>,
        _stored: &StoredState,
    ) -> Result<Selection, LakeError> {
        self.staged.clear();
        let (blocks, places) = blocks_of(&batch.rows);
        self.prepare(table, files, blocks.iter().cloned().collect()).await?;
        let held: Vec<_> = blocks.iter().map(|block| self.blocks.get(block).map(|held| &held.frames)).collect();
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
        self.staged = blocks.into_iter().zip(staged).filter(|(_, frames)| !frames.is_empty()).collect();
        let mut conflicts = suspects.within_batch(&fresh);
        let found = suspects.compare(table, files).await?;
        self.counts.payload_files_read += found.files_read;
        found.same.into_iter().for_each(|at| self.payloads.stage(&batch.rows[at]));
        conflicts.extend(found.other);
        conflicts.sort_unstable();
        Ok(Selection { fresh, conflicts })
    }

    fn committed(&mut self) {
        for (key, frames) in std::mem::take(&mut self.staged) {
            if let Some(block) = self.blocks.get_mut(&key) {
                block.frames |= frames;
            }
        }
        self.payloads.commit();
        self.shrink();
    }

    fn forget(&mut self) {
        self.staged.clear();
        self.blocks.clear();
        self.payloads.forget();
    }

    fn properties(&self) -> Option<(String, String)> {
        self.deletions.property()
    }
}

/// Returns the key columns of a batch and each row's place, rows with a null left out.
pub(crate) fn keys_of(batch: &RecordBatch) -> Result<impl Iterator<Item = (usize, (&str, &str, i64))>, LakeError> {
    let wrong = |at: usize| {
        let found = batch.column(at).data_type();
        let text = format!("found key column {} of type {found}, wanted string or long", KEY_COLUMNS[at]);
        LakeError::new(LakeErrorKind::Permanent, text)
    };
    let runs = batch.column(0).as_string_opt::<i32>().ok_or_else(|| wrong(0))?;
    let cameras = batch.column(1).as_string_opt::<i32>().ok_or_else(|| wrong(1))?;
    let frames = arrow::compute::cast(batch.column(2), &arrow::datatypes::DataType::Int64)
        .map_err(|error| permanent("read frame indexes", error))?;
    let frames = frames.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(2))?.clone();
    let rows = 0..batch.num_rows();
    Ok(rows
        .filter({
            let frames = frames.clone();
            move |at| runs.is_valid(*at) && cameras.is_valid(*at) && frames.is_valid(*at)
        })
        .map(move |at| (at, (runs.value(at), cameras.value(at), frames.value(at)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Span;

    fn file(runs: Option<(&str, &str)>, cameras: Option<(&str, &str)>, frames: Option<(i64, i64)>) -> FileEntry {
        let text = |span: Option<(&str, &str)>| {
            span.map_or(Span::Unknown, |(first, last)| Span::Text(first.into(), last.into()))
        };
        let frames = frames.map_or(Span::Unknown, |(first, last)| Span::Number(first, last));
        FileEntry { path: "x".into(), size: 1, spans: vec![text(runs), text(cameras), frames] }
    }

    /// Every combination of spans, also unknown ones, against every block: the range leaves out none that may be there.
    #[test]
    fn the_range_of_a_file_holds_every_block_that_its_bounds_allow() {
        let names = ["a", "b", "b\0", "bb", "c", "\u{10ffff}"];
        let frames = [i64::MIN, -70_000, -1, 0, 65_535, 65_536, 200_000, i64::MAX];
        let mut wanted = BTreeSet::new();
        for run in names {
            for camera in names {
                wanted.extend(frames.map(|frame| BlockKey::of(run, camera, frame)));
            }
        }
        let mut texts = vec![None];
        let mut numbers = vec![None];
        for (at, first) in names.iter().enumerate() {
            texts.extend(names[at..].iter().map(|last| Some((*first, *last))));
        }
        for (at, first) in frames.iter().enumerate() {
            numbers.extend(frames[at..].iter().map(|last| Some((*first, *last))));
        }
        for runs in &texts {
            for cameras in &texts {
                for frames in &numbers {
                    let file = file(*runs, *cameras, *frames);
                    let found: Vec<_> = blocks_in(&wanted, &file).collect();
                    let allowed: Vec<_> = wanted.iter().filter(|block| block.may_be_in(&file)).collect();
                    assert_eq!(found, allowed, "{file:?}");
                }
            }
        }
        let turned = file(Some(("b", "a")), Some(("b", "a")), Some((1, 0)));
        assert_eq!(blocks_in(&wanted, &turned).count(), 0);
    }

    #[test]
    fn twenty_thousand_files_and_twenty_thousand_cameras_are_not_compared_each_with_each() {
        let name = |number: usize| format!("{number:05}");
        let wanted: BTreeSet<_> = (0..20_000).map(|number| BlockKey::of(&name(number), &name(number), 0)).collect();
        let looked_at = (0..20_000).map(|number| {
            let name = name(number);
            let file = file(Some((&name, &name)), Some((&name, &name)), Some((1, 9)));
            let block = |(run, camera, frame): SortedKey| BlockKey { run, camera, number: frame >> BLOCK_BITS };
            let (first, last) = file.key_bounds();
            assert_eq!(blocks_in(&wanted, &file).count(), 1);
            wanted.range((first.map(block), last.map(block))).count()
        });
        assert_eq!(looked_at.sum::<usize>(), 20_000);
    }
}

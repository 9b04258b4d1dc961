//! Reads the keys of many files at the same time.

use super::blocks::{KEY_COLUMNS, RunKey, keys_of};
use super::known::{bit, block_of, first_of, last_of};
use super::search::{Piece, search};
use crate::columns::read_columns;
use crate::files::FileEntry;
use crate::seam::{LakeError, LakeErrorKind};
use ahash::HashMap;
use futures::{StreamExt, TryStreamExt};
use iceberg::table::Table;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The number of files that are read at the same time: on an object store each is a round trip.
const FILES_AT_ONCE: usize = 16;

/// The number of tasks that files are shared out to at most: reading many small ones takes a processor each.
const TASKS_MAX: usize = 4;

/// The files below which one task reads them all.
const TASK_FILES_MIN: usize = 64;

/// Blocks of frame indexes of runs that are looked for.
#[derive(Debug, Default)]
pub(super) struct WantedBlocks {
    runs: Vec<RunKey>,
    /// The blocks of each run; `None` for all.
    blocks: Vec<Option<BTreeSet<i64>>>,
}

/// The keys that files hold.
#[derive(Debug, Default)]
pub(super) struct FoundKeys {
    /// The frame indexes of blocks that were looked for.
    pub frames: HashMap<(usize, i64), RoaringBitmap>,
    /// The first and the last frame index of other blocks of the same runs.
    passed: HashMap<usize, HashMap<i64, (i64, i64)>>,
    /// Ranges that are in none of the blocks, or in more than one.
    ranges: HashMap<usize, Vec<(i64, i64)>>,
}

impl FoundKeys {
    fn union(&mut self, other: Self) {
        for (block, frames) in other.frames {
            *self.frames.entry(block).or_default() |= frames;
        }
        for (place, blocks) in other.passed {
            for (block, (first, last)) in blocks {
                self.pass(place, block, first, last);
            }
        }
        for (place, ranges) in other.ranges {
            self.ranges.entry(place).or_default().extend(ranges);
        }
    }

    fn pass(&mut self, place: usize, block: i64, first: i64, last: i64) {
        let passed = self.passed.entry(place).or_default().entry(block).or_insert((first, last));
        *passed = (passed.0.min(first), passed.1.max(last));
    }

    /// Adds a range of frame indexes, as far as it is in blocks that are looked for.
    pub(super) fn add_range(&mut self, wanted: &WantedBlocks, place: usize, first: i64, last: i64) {
        for block in wanted.within(place, first, last) {
            let within = bit(first.max(first_of(block)))..=bit(last.min(last_of(block)));
            self.frames.entry((place, block)).or_default().insert_range(within);
        }
        self.ranges.entry(place).or_default().push((first, last));
    }

    /// Narrows a range around a block of a run to where nothing else was found but in blocks that are looked for.
    pub(super) fn narrow(&self, place: usize, block: i64, free: &mut (i64, i64)) {
        let passed = self.passed.get(&place).into_iter().flat_map(HashMap::values);
        for (first, last) in passed.chain(self.ranges.get(&place).into_iter().flatten()) {
            if *first < first_of(block) {
                free.0 = free.0.max(last.saturating_add(1).min(first_of(block)));
            }
            if *last > last_of(block) {
                free.1 = free.1.min(first.saturating_sub(1).max(last_of(block)));
            }
        }
    }
}

impl WantedBlocks {
    /// Adds a run, of which the given blocks are looked for or all, and returns its place.
    pub(super) fn add(&mut self, run: RunKey, blocks: Option<BTreeSet<i64>>) -> usize {
        self.runs.push(run);
        self.blocks.push(blocks);
        self.runs.len() - 1
    }

    pub(super) fn run(&self, at: usize) -> &RunKey {
        &self.runs[at]
    }

    fn is_wanted(&self, at: usize, block: i64) -> bool {
        self.blocks[at].as_ref().is_none_or(|blocks| blocks.contains(&block))
    }

    /// Returns the blocks of a run that are looked for and that a range reaches into.
    fn within(&self, at: usize, first: i64, last: i64) -> impl Iterator<Item = i64> {
        let blocks = block_of(first)..=block_of(last);
        self.blocks[at].iter().flat_map(move |wanted| wanted.range(blocks.clone())).copied()
    }

    /// Returns the names of all runs, ascending, each once.
    pub(super) fn run_names(&self) -> BTreeSet<&str> {
        self.runs.iter().map(|key| key.run.as_str()).collect()
    }

    /// Returns the places of runs and cameras.
    pub(super) fn places(&self) -> HashMap<(&str, &str), usize> {
        self.runs.iter().enumerate().map(|(at, key)| ((key.run.as_str(), key.camera.as_str()), at)).collect()
    }
}

/// Reads the keys of one file.
async fn read_file(
    table: &Table,
    file: &FileEntry,
    wanted: &WantedBlocks,
    places: &HashMap<(&str, &str), usize>,
    runs: &[&str],
) -> Result<FoundKeys, LakeError> {
    let mut found = FoundKeys::default();
    read_columns(table, file, KEY_COLUMNS, runs, |batch| {
        // Rows of one run follow each other, or come in turns: most are of the block before or of one that is there.
        let mut last: Option<((&str, &str), Option<usize>)> = None;
        for (_, (run, camera, frame_index)) in keys_of(batch)? {
            let place = match last {
                Some((key, place)) if key == (run, camera) => place,
                _ => places.get(&(run, camera)).copied(),
            };
            last = Some(((run, camera), place));
            let Some(place) = place else { continue };
            let block = (place, block_of(frame_index));
            if wanted.is_wanted(place, block.1) {
                found.frames.entry(block).or_default().insert(bit(frame_index));
            } else {
                found.pass(block.0, block.1, frame_index, frame_index);
            }
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

async fn read_share(
    table: Table,
    files: Vec<Arc<FileEntry>>,
    wanted: Arc<WantedBlocks>,
) -> Result<FoundKeys, LakeError> {
    let (places, runs) = (wanted.places(), wanted.run_names());
    let runs: Vec<&str> = runs.into_iter().collect();
    let reading: Vec<_> = files.iter().map(|file| read_file(&table, file, &wanted, &places, &runs)).collect();
    let reading = futures::stream::iter(reading).buffer_unordered(FILES_AT_ONCE);
    let union = async |mut all: FoundKeys, found| {
        all.union(found);
        Ok(all)
    };
    reading.try_fold(FoundKeys::default(), union).await
}

/// Reads the keys of files, as far as they are of runs that are looked for.
///
/// # Errors
/// Returns the error of a file that can't be read; nothing is told of the others then.
pub(super) async fn read_files(
    table: &Table,
    files: Vec<Arc<FileEntry>>,
    wanted: &Arc<WantedBlocks>,
) -> Result<FoundKeys, LakeError> {
    let tasks = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(TASKS_MAX);
    let share = files.len().div_ceil(tasks).max(TASK_FILES_MIN);
    // They end with this call, also where it is dropped.
    let mut reading = JoinSet::new();
    for files in files.chunks(share) {
        reading.spawn(read_share(table.clone(), files.to_vec(), Arc::clone(wanted)));
    }
    let mut all = FoundKeys::default();
    while let Some(read) = reading.join_next().await {
        let failed =
            |error| LakeError::new(LakeErrorKind::Transient, "read keys of files: a task ended").with_source(error);
        all.union(read.map_err(|error: tokio::task::JoinError| failed(error))??);
    }
    Ok(all)
}

/// Returns those of `files` that may hold frames of the ranges which are known of runs.
pub(super) fn files_within<'a>(
    files: &'a [Arc<FileEntry>],
    known: impl Iterator<Item = (&'a RunKey, &'a [(i64, i64)])>,
) -> Vec<Arc<FileEntry>> {
    let pieces = known.flat_map(|(key, ranges)| {
        let (run, camera) = (key.run.as_str(), key.camera.as_str());
        ranges.iter().map(move |(first, last)| Piece { run, camera, first: *first, last: *last })
    });
    search(files.iter(), &pieces.collect::<Vec<_>>()).files
}

//! The keys of rows, in blocks: of a batch that is looked up, and of what is read from the table.

use super::known::block_of;
use super::search::Piece;
use crate::errors::permanent;
use crate::seam::{LakeError, LakeErrorKind};
use ahash::{HashMap, HashMapExt};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rva_types::{CameraId, EventKey, RunId};

/// The columns of the key, in the order of [`FileEntry::spans`].
pub(crate) const KEY_COLUMNS: &[&str] = &["pipeline_run_id", "camera_id", "frame_index"];

/// A run of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RunKey {
    pub run: RunId,
    pub camera: CameraId,
}

/// The frame indexes of a batch in one block of a run.
#[derive(Debug)]
pub(crate) struct BatchBlock {
    pub(super) key: RunKey,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl BatchBlock {
    pub(crate) fn piece(&self) -> Piece<'_> {
        Piece { run: self.key.run.as_str(), camera: self.key.camera.as_str(), first: self.first, last: self.last }
    }

    pub(super) fn number(&self) -> i64 {
        block_of(self.first)
    }
}

/// Returns the blocks of keys, each once, and of each key the place of its block among them.
pub(crate) fn blocks_of<'a>(keys: impl Iterator<Item = &'a EventKey>) -> (Vec<BatchBlock>, Vec<usize>) {
    let mut blocks: Vec<BatchBlock> = Vec::new();
    let mut known: HashMap<(&str, &str, i64), usize> = HashMap::new();
    let places = keys.map(|EventKey { run, camera, frame_index }| {
        let at = *known.entry((run.as_str(), camera.as_str(), block_of(*frame_index))).or_insert_with(|| {
            let key = RunKey { run: run.clone(), camera: camera.clone() };
            blocks.push(BatchBlock { key, first: *frame_index, last: *frame_index });
            blocks.len() - 1
        });
        let block = &mut blocks[at];
        (block.first, block.last) = (block.first.min(*frame_index), block.last.max(*frame_index));
        at
    });
    let places = places.collect();
    (blocks, places)
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

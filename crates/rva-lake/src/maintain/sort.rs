//! A sort of more rows than memory holds: what is full is sorted and written to a file of its own, and the files are
//! merged.

use crate::errors::permanent;
use crate::seam::{LakeError, LakeErrorKind};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// The bytes, about, of a batch that is given back.
const CHUNK_BYTES: usize = 1 << 20;

/// The most rows of a batch that is given back.
const CHUNK_ROWS_MAX: usize = 8192;

/// The bytes of a page of a file that is merged: one of each file is held.
const RUN_PAGE_BYTES: usize = 64 << 10;

/// The rows of a batch that is read of each file that is merged.
const RUN_BATCH_ROWS: usize = 128;

/// A row by its batch and its place there.
type Place = (usize, usize);

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> LakeError {
    permanent("sort the rows of small files", error)
}

fn spill_failed(folder: &Path, error: impl std::error::Error + Send + Sync + 'static) -> LakeError {
    let text = format!("could not sort rows in {}: {error}", folder.display());
    LakeError::new(LakeErrorKind::Transient, text).with_source(error)
}

/// The columns that are sorted by, as bytes whose order is theirs.
struct Order {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Order {
    fn of(schema: &SchemaRef, names: &[&str]) -> Result<Self, LakeError> {
        let columns: Vec<usize> = names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let fields = columns.iter().map(|at| SortField::new(schema.field(*at).data_type().clone()));
        Ok(Self { converter: RowConverter::new(fields.collect()).map_err(failed)?, columns })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Rows, LakeError> {
        let columns: Vec<_> = self.columns.iter().map(|at| batch.column(*at).clone()).collect();
        self.converter.convert_columns(&columns).map_err(failed)
    }
}

/// A sorter that takes batches and gives them back in order.
pub(super) struct Sorter {
    schema: SchemaRef,
    order: Order,
    /// The bytes that are held at most.
    memory: usize,
    folder: PathBuf,
    held: Vec<(RecordBatch, Rows)>,
    held_bytes: usize,
    rows: usize,
    bytes: usize,
    runs: Vec<File>,
}

impl Sorter {
    /// Makes a sorter of rows of a schema, by the columns of those names that it has. Files are made in `folder`.
    pub(crate) fn new(schema: SchemaRef, names: &[&str], memory: usize, folder: &Path) -> Result<Self, LakeError> {
        let order = Order::of(&schema, names)?;
        let folder = folder.to_owned();
        Ok(Self { schema, order, memory, folder, held: Vec::new(), held_bytes: 0, rows: 0, bytes: 0, runs: Vec::new() })
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// Returns `Transient` where no file can be written.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        let rows = self.order.rows(&batch)?;
        let bytes = batch.get_array_memory_size() + rows.size();
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        if self.held_bytes + bytes > self.memory && !self.held.is_empty() {
            self.spill()?;
        }
        self.held_bytes += bytes;
        self.held.push((batch, rows));
        Ok(())
    }

    /// Returns the rows in order.
    ///
    /// # Errors
    /// Returns `Transient` where no file can be written or read.
    pub(crate) fn sorted(mut self) -> Result<Sorted, LakeError> {
        let chunk = self.chunk_rows();
        if self.runs.is_empty() {
            return Ok(Sorted::Held { order: places(&self.held), batches: batches(self.held), next: 0, chunk });
        }
        self.spill()?;
        let order = self.order;
        let folder = self.folder;
        let mut merge = Merge {
            batches: Vec::new(),
            rows: Vec::new(),
            heap: BinaryHeap::new(),
            runs: Vec::new(),
            order,
            folder,
            chunk,
        };
        for file in self.runs {
            merge.open(file)?;
        }
        Ok(Sorted::Merged(Box::new(merge)))
    }

    fn chunk_rows(&self) -> usize {
        (CHUNK_BYTES / (self.bytes / self.rows.max(1)).max(1)).clamp(1, CHUNK_ROWS_MAX)
    }

    fn spill(&mut self) -> Result<(), LakeError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk_rows();
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let (order, batches) = (places(&held), batches(held));
        let file = unnamed(&self.folder)?;
        let properties = WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(RUN_PAGE_BYTES)
            .set_write_batch_size(RUN_BATCH_ROWS)
            .set_max_row_group_bytes(Some(8 * CHUNK_BYTES))
            .build();
        let written = file.try_clone().map_err(|error| spill_failed(&self.folder, error))?;
        let lost = |error| spill_failed(&self.folder, error);
        let mut writer = ArrowWriter::try_new(written, self.schema.clone(), Some(properties)).map_err(lost)?;
        for some in order.chunks(chunk) {
            writer.write(&interleaved(&batches, some)?).map_err(lost)?;
        }
        writer.close().map_err(lost)?;
        self.runs.push(file);
        Ok(())
    }
}

fn batches(held: Vec<(RecordBatch, Rows)>) -> Vec<RecordBatch> {
    held.into_iter().map(|(batch, _)| batch).collect()
}

/// Returns the places of all rows, in order; rows of one key stay as they came.
fn places(held: &[(RecordBatch, Rows)]) -> Vec<Place> {
    let all = held.iter().enumerate().flat_map(|(batch, (rows, _))| (0..rows.num_rows()).map(move |row| (batch, row)));
    let mut places: Vec<Place> = all.collect();
    places.sort_by(|one, other| held[one.0].1.row(one.1).cmp(&held[other.0].1.row(other.1)));
    places
}

fn interleaved(batches: &[RecordBatch], places: &[Place]) -> Result<RecordBatch, LakeError> {
    interleave_record_batch(&batches.iter().collect::<Vec<_>>(), places).map_err(failed)
}

/// Makes a file that has no name any more: however this process ends, it is gone.
fn unnamed(folder: &Path) -> Result<File, LakeError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = folder.join(format!("rva-maintain-{}.run", uuid::Uuid::now_v7()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| spill_failed(folder, error))?;
    std::fs::remove_file(&path).map_err(|error| spill_failed(folder, error))?;
    Ok(file)
}

/// Rows in order, batch by batch.
pub(super) enum Sorted {
    /// All of them were held.
    Held { batches: Vec<RecordBatch>, order: Vec<Place>, next: usize, chunk: usize },
    /// They are merged from files.
    Merged(Box<Merge>),
}

impl Sorted {
    /// Returns the next rows; `None` at the end.
    ///
    /// # Errors
    /// Returns `Transient` where a file can't be read.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        match self {
            Self::Held { batches, order, next, chunk } => {
                let some = &order[*next..order.len().min(*next + *chunk)];
                if some.is_empty() {
                    return Ok(None);
                }
                *next += some.len();
                interleaved(batches, some).map(Some)
            }
            Self::Merged(merge) => merge.next(),
        }
    }
}

/// A merge of sorted files.
pub(super) struct Merge {
    /// The batches that rows are taken from: the newest of each file, and those that given rows lie in.
    batches: Vec<RecordBatch>,
    rows: Vec<Rows>,
    /// The next row of each file.
    heap: BinaryHeap<Reverse<(OwnedRow, usize, Place)>>,
    runs: Vec<ParquetRecordBatchReader>,
    order: Order,
    folder: PathBuf,
    chunk: usize,
}

impl Merge {
    fn open(&mut self, file: File) -> Result<(), LakeError> {
        let opened =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| spill_failed(&self.folder, error))?;
        let reader = opened.with_batch_size(RUN_BATCH_ROWS).build();
        self.runs.push(reader.map_err(|error| spill_failed(&self.folder, error))?);
        self.load(self.runs.len() - 1)
    }

    /// Reads the next batch of a file, if there is one.
    fn load(&mut self, run: usize) -> Result<(), LakeError> {
        for batch in self.runs[run].by_ref() {
            let batch = batch.map_err(|error| spill_failed(&self.folder, error))?;
            if batch.num_rows() > 0 {
                let rows = self.order.rows(&batch)?;
                self.heap.push(Reverse((rows.row(0).owned(), run, (self.batches.len(), 0))));
                self.batches.push(batch);
                self.rows.push(rows);
                return Ok(());
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        let mut taken = Vec::new();
        while taken.len() < self.chunk {
            let Some(Reverse((_, run, (batch, row)))) = self.heap.pop() else { break };
            taken.push((batch, row));
            if row + 1 < self.batches[batch].num_rows() {
                let next = self.rows[batch].row(row + 1).owned();
                self.heap.push(Reverse((next, run, (batch, row + 1))));
            } else {
                self.load(run)?;
            }
        }
        if taken.is_empty() {
            return Ok(None);
        }
        let given = interleaved(&self.batches, &taken)?;
        self.forget_read();
        Ok(Some(given))
    }

    /// Drops the batches that no row will be taken from.
    fn forget_read(&mut self) {
        let heads: Vec<_> = std::mem::take(&mut self.heap).into_vec();
        let (mut batches, mut rows) = (Vec::new(), Vec::new());
        let old_batches = std::mem::take(&mut self.batches);
        let mut old_rows: Vec<Option<Rows>> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        for Reverse((key, run, (batch, row))) in heads {
            let Some(held) = old_rows[batch].take() else { continue };
            self.heap.push(Reverse((key, run, (batches.len(), row))));
            batches.push(old_batches[batch].clone());
            rows.push(held);
        }
        (self.batches, self.rows) = (batches, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn batch(rows: &[(&str, i64, i64)]) -> RecordBatch {
        let text: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>());
        let key: ArrayRef = Arc::new(rows.iter().map(|row| (row.1 >= 0).then_some(row.1)).collect::<Int64Array>());
        let place: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>());
        RecordBatch::try_from_iter_with_nullable([("text", text, true), ("key", key, true), ("place", place, true)])
            .unwrap()
    }

    /// Rows of three cameras in no order, some without a key.
    fn rows(count: i64) -> Vec<(&'static str, i64, i64)> {
        let names = ["door", "till", "a"];
        (0..count).map(|at| (names[(at % 3) as usize], (at * 7919) % 1013 - 5, at)).collect()
    }

    fn sorted(memory: usize, all: &[(&str, i64, i64)]) -> (Vec<i64>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(batch(&[]).schema(), &["text", "key", "absent"], memory, folder.path()).unwrap();
        for some in all.chunks(100) {
            sorter.push(batch(some)).unwrap();
        }
        let runs = sorter.runs.len();
        let mut sorted = sorter.sorted().unwrap();
        let mut found = Vec::new();
        while let Some(batch) = sorted.next().unwrap() {
            found.extend(batch.column(2).as_primitive::<Int64Type>().values());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file has a name");
        (found, runs)
    }

    #[test]
    fn rows_come_back_in_order_and_those_of_one_key_as_they_came() {
        let all = rows(5000);
        let mut wanted = all.clone();
        wanted.sort_by_key(|row| (row.0, row.1.max(-1)));
        let wanted: Vec<i64> = wanted.iter().map(|row| row.2).collect();
        for (memory, spills) in [(usize::MAX, false), (40_000, true), (1, true)] {
            let (found, runs) = sorted(memory, &all);
            assert_eq!(runs > 1, spills, "{memory}");
            assert_eq!(found, wanted, "{memory}");
        }
    }

    #[test]
    fn no_rows_are_no_rows() {
        assert!(sorted(1, &[]).0.is_empty());
    }
}

//! The sink of `rva.bronze_dead_letters`.

use crate::columns::read_columns;
use crate::commit::TableJob;
use crate::errors::permanent;
use crate::files::FileList;
use crate::key_check::{CheckedRows, KeyCheck};
use crate::lake::Lake;
use crate::seam::{Batch, CommitOutcome, LakeError, LakeErrorKind, ResumePoint, TableSink};
use crate::state::StoredState;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use iceberg::table::Table;
use rva_types::{DeadLetter, PartitionName, Position};
use std::collections::{BTreeSet, HashSet};

/// The columns of the key, in the order of the files' spans. The message id leads: it prunes row groups.
const KEY_COLUMNS: &[&str] = &["message_id", "topic", "partition"];

/// The beginning of the topic of an embedded partition; the partition's name follows.
const EMBEDDED: &str = "embedded/";

/// Returns the partition of the log that a dead letter comes from: the camera in the embedded log, the number on
/// Pulsar.
fn partition_name(row: &DeadLetter) -> PartitionName {
    row.topic.strip_prefix(EMBEDDED).map_or_else(|| row.partition.to_string().into(), PartitionName::from)
}

/// A sink that appends dead letters to `rva.bronze_dead_letters`, each once: one at or below the table's own map is
/// left out if its (topic, partition, message id) is in the table.
pub struct DeadLetterSink {
    job: TableJob<DeadLetter, DeadLetterKeys>,
}

impl Lake {
    /// Makes the sink of `rva.bronze_dead_letters`. Nothing is read before its first call.
    ///
    /// # Errors
    /// Returns `Permanent` for a job name that can't be a property key.
    pub fn dead_letter_sink(&self) -> Result<DeadLetterSink, LakeError> {
        DeadLetterSink::new(self)
    }
}

impl DeadLetterSink {
    fn new(lake: &Lake) -> Result<Self, LakeError> {
        Ok(Self { job: TableJob::new(lake, DeadLetterKeys, FileList::of_columns(KEY_COLUMNS))? })
    }
}

#[async_trait::async_trait]
impl TableSink<DeadLetter> for DeadLetterSink {
    async fn resume_point(&mut self) -> Result<ResumePoint, LakeError> {
        self.job.resume_point().await
    }

    async fn commit(&mut self, batch: &Batch<DeadLetter>) -> Result<CommitOutcome, LakeError> {
        self.job.commit(batch).await
    }

    async fn holds(&mut self, rows: &[DeadLetter]) -> Result<Vec<bool>, LakeError> {
        let table = self.job.table().await?;
        let asked = rows.iter().map(key).collect();
        let held = held(&table, &mut self.job.files, &asked).await?;
        Ok(rows.iter().map(|row| held.contains(&key(row))).collect())
    }
}

/// A check that holds nothing in memory: dead letters are few, and those beyond the map need no lookup.
struct DeadLetterKeys;

type Key = (String, String, i64);

fn key(row: &DeadLetter) -> Key {
    (row.message_id.clone(), row.topic.clone(), i64::from(row.partition))
}

async fn held(table: &Table, files: &mut FileList, asked: &BTreeSet<Key>) -> Result<HashSet<Key>, LakeError> {
    let mut held = HashSet::new();
    if asked.is_empty() {
        return Ok(held);
    }
    files.follow(table).await?;
    let ids: Vec<&str> = asked.iter().map(|(id, ..)| id.as_str()).collect();
    for file in files.iter() {
        let [id_span, topic_span, partition_span] = file.spans.as_slice() else { continue };
        let possible = asked.iter().any(|(id, topic, partition)| {
            id_span.may_hold_text(id)
                && topic_span.may_hold_text(topic)
                && partition_span.may_hold_any(*partition, *partition)
        });
        if !possible {
            continue;
        }
        read_columns(table, file, KEY_COLUMNS, &ids, |batch| {
            let wrong = || LakeError::new(LakeErrorKind::Permanent, format!("found other key types in {}", file.path));
            let ids = batch.column(0).as_string_opt::<i32>().ok_or_else(wrong)?;
            let topics = batch.column(1).as_string_opt::<i32>().ok_or_else(wrong)?;
            let numbers = arrow::compute::cast(batch.column(2), &DataType::Int64)
                .map_err(|error| permanent("read partition numbers", error))?;
            let numbers = numbers.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
            for at in 0..batch.num_rows() {
                if ids.is_valid(at) && topics.is_valid(at) && numbers.is_valid(at) {
                    let key = (ids.value(at).to_owned(), topics.value(at).to_owned(), numbers.value(at));
                    if asked.contains(&key) {
                        held.insert(key);
                    }
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(held)
}

impl KeyCheck<DeadLetter> for DeadLetterKeys {
    async fn select(
        &mut self,
        table: &Table,
        files: &mut FileList,
        batch: &Batch<DeadLetter>,
        stored: &StoredState,
    ) -> Result<CheckedRows, LakeError> {
        let offsets = stored.offsets();
        // A message id that is no position can't be compared with the map: the table decides.
        let asked = batch.rows.iter().filter(|row| {
            let position: Option<Position> = row.message_id.parse().ok();
            position.is_none_or(|position| offsets.includes(&partition_name(row), position))
        });
        let asked = asked.map(key).collect();
        let mut known = held(table, files, &asked).await?;
        let fresh = (0..).zip(&batch.rows).filter(|(_, row)| known.insert(key(row))).map(|(at, _)| at).collect();
        Ok(CheckedRows { fresh, conflicts: Vec::new() })
    }

    fn committed(&mut self) {}

    fn forget(&mut self) {}

    fn partitions_of(batch: &Batch<DeadLetter>) -> BTreeSet<PartitionName> {
        batch.rows.iter().map(partition_name).collect()
    }
}

//! Chosen rows leave a table: the files that hold some are written again without them.

use super::matching::Matcher;
use crate::change::Change;
use crate::commit::TableJob;
use crate::definition::check_columns;
use crate::errors::{is_not_found, lake_error, permanent};
use crate::maintain::plan::{Group, Live, LiveFile, live};
use crate::maintain::rewrite::{Distinct, tasks, typed};
use crate::maintain::table::of_maintenance;
use crate::options::{CommitStep, LakeOptions};
use crate::refined::NoKeys;
use crate::rows::TableRow;
use crate::seam::{CommitOutcome, LakeError, LakeErrorKind};
use crate::writer::{RowCount, files_builder};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use iceberg::Runtime;
use iceberg::arrow::{ArrowReaderBuilder, schema_to_arrow_schema};
use iceberg::scan::ArrowRecordBatchStream;
use iceberg::spec::{DataFile, DataFileFormat, FormatVersion, Operation, PartitionKey, PartitionSpecRef};
use iceberg::table::Table;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use std::collections::HashSet;
use std::sync::Arc;

/// The rows of a batch that is read: a payload of each is held.
const BATCH_ROWS: usize = 1024;

/// The most files that are written again in one commit.
const FILES_AT_ONCE: usize = 64;

/// The bytes of files that are written again in one commit, unless one file alone has more.
const BYTES_AT_ONCE: u64 = 512 << 20;

/// The number of commits that are lost one after another before a removal gives up.
const LOST_MAX: u32 = 8;

/// The rows that left a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TakenRows {
    /// The table's name, without the namespace.
    pub table: &'static str,
    /// The rows that left.
    pub rows: u64,
    /// The rows of the same files that stay, and were written again.
    pub rows_kept: u64,
    /// The files that went.
    pub files: u64,
}

/// A live file with chosen rows.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    file: LiveFile,
    pub rows: u64,
}

/// Finds the live files with chosen rows. `clean` are the paths of those that are known to hold none; others join them.
///
/// # Errors
/// Fails as the storage does.
pub(crate) async fn hits(
    table: &Table,
    live: Live,
    matcher: &Matcher,
    clean: &mut HashSet<String>,
) -> Result<Vec<Hit>, LakeError> {
    let schema = table.metadata().current_schema();
    let mut found = Vec::new();
    for file in live.files {
        let path = file.file.file_path().to_owned();
        if clean.contains(&path) || !matcher.may_hold(&file.file, schema) {
            continue;
        }
        if file.file.file_format() != DataFileFormat::Parquet {
            let text = format!("found {path} in another form than Parquet, wanted to look for chosen rows in it");
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
        let rows = match matcher.holds_all(&file.file, schema) {
            true => file.file.record_count(),
            false => matcher.rows_in(&path, bytes_of(table, &path).await?)?,
        };
        if rows > 0 {
            found.push(Hit { file, rows });
        } else {
            clean.insert(path);
        }
    }
    // Those of one partition spec after another.
    found.sort_by_key(|hit| hit.file.spec);
    Ok(found)
}

async fn bytes_of(table: &Table, path: &str) -> Result<bytes::Bytes, LakeError> {
    let read = async { table.file_io().new_input(path)?.read().await };
    read.await.map_err(|error| {
        let is_gone = is_not_found(&error);
        let error = lake_error(format_args!("read {path}"), error);
        // Somebody replaced it meanwhile: the table is looked at again.
        if is_gone { LakeError::new(LakeErrorKind::Conflict, error.to_string()) } else { error }
    })
}

/// Returns the first files, as many as one commit takes: all of one partition spec.
fn first(hits: &[Hit]) -> &[Hit] {
    let spec = hits.first().map(|hit| hit.file.spec);
    let mut bytes = 0;
    let fits = hits.iter().take(FILES_AT_ONCE).take_while(|hit| {
        let is_first = bytes == 0;
        bytes += hit.file.file.file_size_in_bytes();
        Some(hit.file.spec) == spec && (is_first || bytes <= BYTES_AT_ONCE)
    });
    let count = fits.count();
    &hits[..count]
}

/// Refuses a table whose files can't be written again as they are.
fn refuse(table: &Table, hiding: Option<&str>) -> Result<(), LakeError> {
    let refused = |found: String, wanted: &str| {
        let text = format!("found {found} in {}, wanted {wanted}", table.identifier());
        Err(LakeError::new(LakeErrorKind::Permanent, text))
    };
    if table.metadata().format_version() != FormatVersion::V2 {
        return refused(format!("format {}", table.metadata().format_version()), "v2 to take rows out of it");
    }
    match hiding {
        Some(file) => refused(
            format!("delete file {file} of another engine"),
            "none: let that engine rewrite the files (`rewrite_data_files`, `optimize`), then ask again",
        ),
        None => Ok(()),
    }
}

/// Takes chosen rows out of a table, as often as it takes until none is left. `clean` are the paths of files that are
/// known to hold none.
///
/// # Errors
/// Fails as a commit does; what was committed before stays, and the same call goes on from there.
pub(crate) async fn take_rows<R: TableRow>(
    job: &mut TableJob<R, NoKeys>,
    matcher: &Matcher,
    clean: &mut HashSet<String>,
    options: &LakeOptions,
) -> Result<TakenRows, LakeError> {
    let mut taken = TakenRows { table: R::TABLE, ..TakenRows::default() };
    let mut lost = 0;
    loop {
        // What a rollback took back is taken again.
        job.resume_point().await?;
        let table = job.table().await?;
        check_columns::<R>(table.metadata())?;
        let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
        let live = live(&table).await.map_err(failed)?;
        let hiding = live.hiding.clone();
        let found = match hits(&table, live, matcher, clean).await {
            Err(error) if error.kind() == LakeErrorKind::Conflict && lost < LOST_MAX => {
                lost += 1;
                continue;
            }
            found => found?,
        };
        let some = first(&found);
        if some.is_empty() {
            return Ok(taken);
        }
        refuse(&table, hiding.as_deref())?;
        match replace(job, &table, some, matcher, options).await? {
            Some(kept) => {
                lost = 0;
                taken.rows += some.iter().map(|hit| hit.rows).sum::<u64>();
                taken.rows_kept += kept;
                taken.files += some.len() as u64;
            }
            None if lost < LOST_MAX => lost += 1,
            None => {
                let text =
                    format!("could not take rows out of {}: others were faster, {lost} times", table.identifier());
                return Err(LakeError::new(LakeErrorKind::Transient, text));
            }
        }
    }
}

/// Puts files without chosen rows into the place of some; returns the number of their rows, `None` where another was
/// faster.
async fn replace<R: TableRow>(
    job: &mut TableJob<R, NoKeys>,
    table: &Table,
    some: &[Hit],
    matcher: &Matcher,
    options: &LakeOptions,
) -> Result<Option<u64>, LakeError> {
    let mut written: Vec<DataFile> = Vec::new();
    for hit in some {
        match rewritten::<R>(table, hit, matcher, options).await {
            Ok(files) => written.extend(files),
            // A file that isn't there any more: somebody else replaced it.
            Err(error) if error.kind() == LakeErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let kept = written.iter().map(DataFile::record_count).sum();
    let change = of_maintenance(
        table,
        Change {
            operation: Operation::Overwrite,
            added: written,
            spec: some.first().map_or(table.metadata().default_partition_spec_id(), |hit| hit.file.spec),
            removed: some.iter().map(|hit| hit.file.file.file_path().to_owned()).collect(),
            moves_rows: true,
            cleans: false,
            ages: matcher.ages(),
        },
    );
    // What was written and isn't committed is an orphan without chosen rows, and goes when it is old.
    match job.change(&change).await? {
        CommitOutcome::Committed { .. } => Ok(Some(kept)),
        CommitOutcome::Fenced(_) | CommitOutcome::Conflicting(_) => Ok(None),
    }
}

/// The rows of a file without the chosen ones, some at a time and in their order.
struct Staying<'a> {
    table: &'a Table,
    matcher: &'a Matcher,
    schema: SchemaRef,
    batches: ArrowRecordBatchStream,
}

impl<'a> Staying<'a> {
    fn of(
        table: &'a Table,
        group: &Group,
        spec: &PartitionSpecRef,
        schema: &SchemaRef,
        matcher: &'a Matcher,
    ) -> Result<Self, LakeError> {
        let failed = |error| lake_error(format_args!("read files of {}", table.identifier()), error);
        let reader = ArrowReaderBuilder::new(table.file_io().clone(), Runtime::current())
            .with_batch_size(BATCH_ROWS)
            .with_data_file_concurrency_limit(1)
            .build();
        let tasks = futures::stream::iter(tasks(table, group, spec)).boxed();
        let batches = reader.read(tasks).map_err(failed)?.stream();
        Ok(Self { table, matcher, schema: Arc::clone(schema), batches })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        let failed = |error| lake_error(format_args!("read files of {}", self.table.identifier()), error);
        let Some(batch) = self.batches.try_next().await.map_err(failed)? else { return Ok(None) };
        let batch = typed(&self.schema, &batch)?;
        let left_out = |error| permanent("leave rows out", error);
        let stays = not(&self.matcher.mask(&batch)?).map_err(left_out)?;
        filter_record_batch(&batch, &stays).map(Some).map_err(left_out)
    }
}

/// Writes the rows of a file again that aren't chosen, in their order and under its partition.
async fn rewritten<R: TableRow>(
    table: &Table,
    hit: &Hit,
    matcher: &Matcher,
    options: &LakeOptions,
) -> Result<Vec<DataFile>, LakeError> {
    if hit.rows == hit.file.file.record_count() {
        return Ok(Vec::new());
    }
    let metadata = table.metadata();
    let failed = |error| lake_error(format_args!("write files of {} again", table.identifier()), error);
    let LiveFile { file, spec, .. } = &hit.file;
    let group = Group { spec: *spec, partition: file.partition().clone(), files: vec![file.clone()] };
    let Some(spec) = metadata.partition_spec_by_id(group.spec) else {
        let text =
            format!("found no partition spec {} in {}, wanted that of its files", group.spec, table.identifier());
        return Err(LakeError::new(LakeErrorKind::Permanent, text));
    };
    let schema: SchemaRef = Arc::new(schema_to_arrow_schema(metadata.current_schema()).map_err(failed)?);
    let (mut rows, mut distinct) = (0, Distinct::default());
    let mut staying = Staying::of(table, &group, spec, &schema, matcher)?;
    while let Some(batch) = staying.next().await? {
        rows += batch.num_rows();
        distinct.note(&batch, R::BLOOM);
    }
    let wanted = usize::try_from(file.record_count().saturating_sub(hit.rows)).unwrap_or(usize::MAX);
    if rows != wanted {
        let text = format!("found {rows} rows that stay in {}, wanted {wanted}", file.file_path());
        return Err(LakeError::new(LakeErrorKind::Permanent, text));
    }
    if rows == 0 {
        return Ok(Vec::new());
    }
    options.step(CommitStep::WriteFiles);
    let key = PartitionKey::new(spec.as_ref().clone(), Arc::clone(metadata.current_schema()), group.partition.clone());
    let count = RowCount { rows, blooms: distinct.count() };
    let builder = files_builder::<R>(table, options, count, options.file_bytes_max)?;
    let mut writer = builder.build(Some(key)).await.map_err(failed)?;
    let mut staying = Staying::of(table, &group, spec, &schema, matcher)?;
    while let Some(batch) = staying.next().await? {
        if batch.num_rows() > 0 {
            writer.write(batch).await.map_err(failed)?;
        }
    }
    let files = writer.close().await.map_err(failed)?;
    options.step(CommitStep::FilesClosed);
    Ok(files)
}

/// Returns the number of chosen rows of a file that no snapshot need name; `None` where it has gone or can't be read.
pub(super) async fn rows_of(table: &Table, path: &str, matcher: &Matcher) -> Option<u64> {
    matcher.rows_in(path, bytes_of(table, path).await.ok()?).ok()
}

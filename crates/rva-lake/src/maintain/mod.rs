//! Maintenance: a table stays as fast as it was on the first day.
//!
//! A commit every ten seconds leaves a file every ten seconds, and a reader opens each of them. So small files that
//! nobody adds to any more are merged into a few large ones, sorted so that statistics prune, by a `replace` snapshot:
//! the same rows in other files. Nothing else changes. A follower of the table passes over such a snapshot, and the
//! positions that jobs keep in their own snapshots stay where they are.
//!
//! A merge takes seconds and writers commit meanwhile, so it isn't planned on one snapshot but on the files that go:
//! what came since stays, and only where one of them has gone the merge has lost. Then what it wrote is deleted, once
//! the table was read again and doesn't name it, and the next look at the table plans anew.

pub(crate) mod plan;
mod report;
pub(crate) mod retain;
pub(crate) mod rewrite;
mod sort;
pub(crate) mod table;

pub use plan::MergeLimits;
pub use report::{MergePlan, Merged, Orphan, TablePlan};
pub use retain::Aged;
pub use table::MAINTAIN_JOB;

use crate::change::Change;
use crate::commit::TableJob;
use crate::definition::{NAMESPACE, check_columns};
use crate::errors::lake_error;
use crate::every_table::{OfTable, of_every_table};
use crate::files::FileList;
use crate::lake::Lake;
use crate::refined::NoKeys;
use crate::rows::TableRow;
use crate::seam::{CommitOutcome, LakeError, LakeErrorKind};
use crate::storage::StoredFile;
use async_recursion::async_recursion as boxed;
use iceberg::spec::{DataFile, FormatVersion, Operation, TableMetadata};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableIdent};
use plan::{Group, Live, groups, live};
use rewrite::rewrite;
use std::collections::BTreeSet;
use std::time::SystemTime;
use table::{Maintained, Young, of_maintenance, patient};

/// The most groups whose files go in one commit.
const GROUPS_AT_ONCE: usize = 64;

/// The number of merges that are lost one after another before a table is left for later.
const LOST_MAX: u32 = 5;

/// A merge that was written and not committed, because it lost.
enum Outcome {
    Committed(Vec<DataFile>),
    Lost,
}

/// One table's maintenance.
#[async_trait::async_trait]
trait Maintain: Send {
    async fn plan(&mut self, now: SystemTime) -> Result<TablePlan, LakeError>;
    async fn merge(&mut self, now: SystemTime) -> Result<Merged, LakeError>;
}

/// The findings of a look at a table.
struct Found {
    table: Table,
    live: Live,
    groups: Vec<Group>,
}

impl<R: TableRow> Maintained<R> {
    async fn look(&mut self, now: SystemTime) -> Result<Found, LakeError> {
        let table = self.job.table().await?;
        check_columns::<R>(table.metadata())?;
        let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
        let live = live(&table).await.map_err(failed)?;
        // Rows of version 3 have ids of their own, which a file that is written again would have to carry.
        let can_merge = table.metadata().format_version() == FormatVersion::V2;
        let groups = if can_merge {
            groups(&live, |spec| is_written(table.metadata(), spec), R::REPLACES, &self.limits, now)
        } else {
            Vec::new()
        };
        Ok(Found { table, live, groups })
    }

    /// Writes the files of some groups again, and puts them into the place of the old ones.
    async fn replace(&mut self, table: &Table, some: &[Group]) -> Result<Outcome, LakeError> {
        let mut written = Vec::new();
        for group in some {
            let done = rewrite::<R>(table, group, &self.limits, &self.lake.options, &mut written).await;
            if let Err(error) = done {
                // Nobody was told of them.
                self.delete(table, &written).await;
                return match error.kind() {
                    // A file that isn't there any more: somebody else replaced it.
                    LakeErrorKind::Conflict => Ok(Outcome::Lost),
                    _ => Err(error),
                };
            }
        }
        let removed = some.iter().flat_map(|group| &group.files).map(|file| file.file_path().to_owned()).collect();
        let change = of_maintenance(
            table,
            Change {
                operation: Operation::Replace,
                added: written.clone(),
                spec: some.first().map_or(table.metadata().default_partition_spec_id(), |group| group.spec),
                removed,
                moves_rows: true,
                cleans: false,
                ages: false,
            },
        );
        match self.job.change(&change).await {
            Ok(CommitOutcome::Committed { .. }) => Ok(Outcome::Committed(written)),
            Ok(_) => {
                self.give_up(table, &written).await?;
                Ok(Outcome::Lost)
            }
            Err(error) => {
                let is_unknown = self.job.may_have_sent() && self.lake.options.rules().reload_after_unknown;
                // What may still land keeps its files. They are orphans if it doesn't, and go when they are old.
                if !is_unknown {
                    self.delete(table, &written).await;
                }
                Err(error)
            }
        }
    }

    /// Deletes what a lost merge wrote, once another look at the table proves that it lost.
    async fn give_up(&mut self, planned: &Table, written: &[DataFile]) -> Result<(), LakeError> {
        if self.job.may_have_sent() {
            let table = self.job.table().await?;
            let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
            let named: BTreeSet<String> =
                live(&table).await.map_err(failed)?.files.iter().map(|live| live.file.file_path().to_owned()).collect();
            let is_there = written.iter().any(|file| named.contains(file.file_path()));
            // On the very snapshot that it was planned on it could still land.
            let is_same = table.metadata().current_snapshot_id() == planned.metadata().current_snapshot_id();
            if is_there || is_same {
                return Ok(());
            }
        }
        self.delete(planned, written).await;
        Ok(())
    }

    async fn delete(&self, table: &Table, written: &[DataFile]) {
        for file in written {
            if let Err(error) = table.file_io().delete(file.file_path()).await {
                tracing::info!(file = file.file_path(), %error, "a file that wasn't committed stays until it is an old orphan");
            }
        }
    }
}

/// Returns whether files can be written under a partition spec of the table: its columns are still there.
fn is_written(metadata: &TableMetadata, spec: i32) -> bool {
    let schema = metadata.current_schema();
    metadata.partition_spec_by_id(spec).is_some_and(|spec| spec.partition_type(schema).is_ok())
}

/// Returns the first groups, as many as one commit takes: all of one partition spec.
fn first(groups: &[Group], limits: &MergeLimits) -> usize {
    let mut bytes = 0;
    let spec = groups.first().map(|group| group.spec);
    let of_spec = groups.iter().take_while(|group| Some(group.spec) == spec);
    let fits = of_spec.take(GROUPS_AT_ONCE).take_while(|group| {
        let is_first = bytes == 0;
        bytes += group.bytes();
        is_first || bytes <= limits.file_bytes
    });
    fits.count()
}

/// Returns why files of a table stay as they are.
fn left(live: &Live, metadata: &TableMetadata) -> Option<String> {
    if metadata.format_version() != FormatVersion::V2 {
        return Some(format!("found format {}, wanted v2", metadata.format_version()));
    }
    if let Some(file) = &live.hiding {
        return Some(format!("another engine hides rows by {file}"));
    }
    let others = live.files.iter().filter(|file| !is_written(metadata, file.spec)).count();
    (others > 0).then(|| format!("{others} files of a partition spec whose columns are gone stay as they are"))
}

#[async_trait::async_trait]
impl<R: TableRow> Maintain for Maintained<R> {
    async fn plan(&mut self, now: SystemTime) -> Result<TablePlan, LakeError> {
        let Found { table, live, groups } = self.look(now).await?;
        let ageing = self.ageing(&table, now).await?.filter(|aged| aged.rows > 0);
        let metadata = table.metadata();
        let (found, expiring) = self.job.tidying(&table, now).await?;
        let (files, orphans_left) = match found {
            Ok(files) => (files, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let orphan = |file: StoredFile| {
            let age = now.duration_since(file.modified).unwrap_or_default();
            Orphan { location: file.location, bytes: file.size, age }
        };
        let mut orphans: Vec<Orphan> = files.into_iter().map(orphan).collect();
        orphans.sort_by(|one, other| (other.age, &one.location).cmp(&(one.age, &other.location)));
        let path = |group: &Group| {
            let spec = metadata.partition_spec_by_id(group.spec).unwrap_or(metadata.default_partition_spec());
            spec.partition_to_path(&group.partition, metadata.current_schema().clone())
        };
        let merges = groups.iter().map(|group| MergePlan {
            partition: path(group),
            files: group.files.len() as u64,
            rows: group.rows(),
            bytes: group.bytes(),
            files_after: group.bytes().div_ceil(self.limits.file_bytes.max(1)).max(1),
        });
        Ok(TablePlan {
            table: R::TABLE,
            files: live.files.len() as u64,
            bytes: live.files.iter().map(|live| live.file.file_size_in_bytes()).sum(),
            merges: merges.collect(),
            left: left(&live, metadata),
            ageing,
            snapshots: metadata.snapshots().len() as u64,
            snapshots_expiring: expiring as u64,
            orphans,
            orphans_left,
        })
    }

    async fn merge(&mut self, now: SystemTime) -> Result<Merged, LakeError> {
        let mut merged = Merged { table: R::TABLE, ..Merged::default() };
        let stays = match self.retain(now).await? {
            Ok(aged) => {
                merged.aged = aged.map_or(0, |aged| aged.rows);
                None
            }
            Err(why) => Some(why),
        };
        let mut lost = 0;
        loop {
            // A rollback of the table takes our own commits back too: then the files are merged again.
            self.job.resume_point().await?;
            let Found { table, live, groups } = self.look(now).await?;
            merged.left = left(&live, table.metadata()).or_else(|| stays.clone());
            let some = &groups[..first(&groups, &self.limits)];
            if some.is_empty() {
                if merged.commits == 0 {
                    // A table that nobody commits to grows old too.
                    self.job.housekeep(&table).await;
                }
                return Ok(merged);
            }
            match self.replace(&table, some).await? {
                Outcome::Committed(files) => {
                    lost = 0;
                    merged.note(some, &files);
                }
                Outcome::Lost => {
                    lost += 1;
                    merged.lost += 1;
                    if lost == LOST_MAX {
                        merged.left = Some(format!("others changed the files first, {lost} times in a row"));
                        return Ok(merged);
                    }
                }
            }
        }
    }
}

impl Merged {
    fn note(&mut self, groups: &[Group], written: &[DataFile]) {
        self.commits += 1;
        self.files += groups.iter().map(|group| group.files.len() as u64).sum::<u64>();
        self.rows += groups.iter().map(Group::rows).sum::<u64>();
        self.bytes += groups.iter().map(Group::bytes).sum::<u64>();
        self.files_written += written.len() as u64;
        self.bytes_written += written.iter().map(DataFile::file_size_in_bytes).sum::<u64>();
        tracing::info!(
            table = self.table,
            files = self.files,
            files_written = self.files_written,
            rows = self.rows,
            "merged small files"
        );
    }
}

/// A way to make the maintenance of one table.
type Make = fn(&Lake, &MergeLimits) -> Result<Box<dyn Maintain>, LakeError>;

fn made<R: TableRow>(lake: &Lake, limits: &MergeLimits) -> Result<Box<dyn Maintain>, LakeError> {
    let lake = patient(lake);
    let job = TableJob::new(&lake, NoKeys, FileList::of_columns(&[]))?;
    Ok(Box::new(Maintained::<R> { lake, limits: limits.clone(), job, young: Young::default() }))
}

/// The name of a table and the way to make its maintenance.
struct Named;

impl OfTable for Named {
    type Made = (&'static str, Make);

    fn of_table<R: TableRow>(&self, _: Option<&'static str>) -> Self::Made {
        (R::TABLE, made::<R>)
    }
}

impl Lake {
    /// Returns the names of the tables that can be maintained, without the namespace.
    pub fn maintained() -> Vec<&'static str> {
        of_every_table(&Named).into_iter().map(|(name, _)| name).collect()
    }

    /// Returns a maintained table's name without the namespace.
    ///
    /// # Errors
    /// Returns `Permanent` for a name that isn't one of [`Lake::maintained`].
    pub fn maintained_name(name: &str) -> Result<&'static str, LakeError> {
        let plain = name.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        let tables = Self::maintained();
        tables.iter().copied().find(|table| *table == plain).ok_or_else(|| {
            let text = format!("found table {name:?}, wanted one of {}", tables.join(", "));
            LakeError::new(LakeErrorKind::Permanent, text)
        })
    }

    /// Makes the maintenance of a table, or of all tables.
    ///
    /// # Errors
    /// Returns `Permanent` for a name that isn't one of [`Lake::maintained`].
    pub fn maintenance(&self, table: Option<&str>, limits: &MergeLimits) -> Result<Maintenance, LakeError> {
        let wanted = table.map(Self::maintained_name).transpose()?;
        let tables = of_every_table(&Named).into_iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
        let tables = tables.map(|(name, make)| Ok((name, make(self, limits)?)));
        Ok(Maintenance { lake: self.clone(), tables: tables.collect::<Result<_, LakeError>>()? })
    }

    /// Says which small files of a table, or of all tables, would be merged. It changes nothing.
    ///
    /// # Errors
    /// Fails as [`Lake::maintenance`] does, and as catalog and storage do.
    #[boxed]
    pub async fn plan_merges(
        &self,
        table: Option<&str>,
        limits: &MergeLimits,
        now: SystemTime,
    ) -> Result<Vec<TablePlan>, LakeError> {
        self.maintenance(table, limits)?.plan(now).await
    }

    /// Merges the small files of a table, or of all tables: those that [`Lake::plan_merges`] tells at this moment.
    ///
    /// # Errors
    /// Fails as [`Lake::plan_merges`] does, and as a commit does. What was committed before stays.
    #[boxed]
    pub async fn merge_files(
        &self,
        table: Option<&str>,
        limits: &MergeLimits,
        now: SystemTime,
    ) -> Result<Vec<Merged>, LakeError> {
        self.maintenance(table, limits)?.merge(now).await
    }
}

/// The maintenance of some tables, which remembers from one look to the next what needn't be looked at again.
pub struct Maintenance {
    lake: Lake,
    tables: Vec<(&'static str, Box<dyn Maintain>)>,
}

impl Maintenance {
    async fn is_there(lake: &Lake, name: &str) -> Result<bool, LakeError> {
        let ident = TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), name.to_owned());
        let found = lake.catalog.table_exists(&ident).await;
        found.map_err(|error| lake_error(format_args!("look for table {ident}"), error))
    }

    /// Says which small files would be merged. It changes nothing.
    ///
    /// # Errors
    /// Fails as catalog and storage do.
    #[boxed]
    pub async fn plan(&mut self, now: SystemTime) -> Result<Vec<TablePlan>, LakeError> {
        let mut plans = Vec::new();
        for (name, table) in &mut self.tables {
            if Self::is_there(&self.lake, name).await? {
                plans.push(table.plan(now).await?);
            }
        }
        Ok(plans)
    }

    /// Merges small files and keeps house in each table.
    ///
    /// # Errors
    /// Fails as catalog and storage do, with the first error, once the other tables had their turn. What was committed
    /// stays.
    #[boxed]
    pub async fn merge(&mut self, now: SystemTime) -> Result<Vec<Merged>, LakeError> {
        let (mut merged, mut failed) = (Vec::new(), None);
        for (name, table) in &mut self.tables {
            if !Self::is_there(&self.lake, name).await? {
                continue;
            }
            match table.merge(now).await {
                Ok(done) => merged.push(done),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(merged), Err)
    }
}

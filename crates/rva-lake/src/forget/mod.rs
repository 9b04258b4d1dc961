//! Forgetting on request: the rows of a choice leave the tables, and their bytes go with them.
//!
//! A row that is deleted stays in old snapshots until they expire, and in files until they are orphans of an age. Who
//! asks to be forgotten wants neither. So it goes in steps, each of which can be repeated:
//!
//! 1. **Rows.** Files of bronze and of the dead letters that hold chosen rows are written again without them
//!    (`overwrite`). The keys of the events are noted in `rva.bronze_deletions`, so that no replay brings them back.
//! 2. **What follows.** Refine works silver and gold out again: the caller has it do so between the steps.
//! 3. **A clean present.** A `replace` snapshot whose manifests name no file that went: their bounds would hold ids.
//! 4. **The past.** Every snapshot before it expires, and each file that only those named is deleted at once.
//!
//! Writers go on beside it, fenced as beside any change of files. Readers of old snapshots break, which is the point.

mod backups;
mod erase;
pub(crate) mod kinds;
pub(crate) mod matching;
pub(crate) mod rows;
mod strangers;

pub use backups::HoldingBackup;
pub use erase::ErasedPast;
pub use rows::TakenRows;

use crate::change::Change;
use crate::commit::TableJob;
use crate::definition::{NAMESPACE, check_columns, table_ident};
use crate::deletions::Deletions;
use crate::errors::lake_error;
use crate::every_table::{OfTable, of_every_table};
use crate::files::FileList;
use crate::lake::Lake;
use crate::maintain::plan::live;
use crate::maintain::table::{of_maintenance, patient};
use crate::refined::NoKeys;
use crate::rows::{BronzeRow, TableRow};
use crate::seam::{CommitOutcome, LakeError, LakeErrorKind};
use async_recursion::async_recursion as boxed;
use erase::{Erasing, names_gone, past};
use iceberg::spec::Operation;
use iceberg::{NamespaceIdent, TableIdent};
use matching::{Matcher, RowKind};
use rva_types::{RecordChoice, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The number of times that a clean present is tried while others commit.
const ATTEMPTS_MAX: u32 = 8;

/// The chosen rows of a table, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenRows {
    /// The table's name, without the namespace.
    pub table: &'static str,
    /// The rows. Those of gold are worked out again, or go; rejects have no time, so they count only where no time is
    /// chosen.
    pub rows: u64,
    /// The files that hold them.
    pub files: u64,
    /// The files that older snapshots name and that may hold chosen rows, by their bounds.
    pub old_files: u64,
}

/// One table, as it is asked to forget.
#[async_trait::async_trait]
trait Forget: Send {
    async fn chosen(&mut self, matcher: &Matcher) -> Result<ChosenRows, LakeError>;
    async fn take_rows(&mut self, matcher: &Matcher) -> Result<TakenRows, LakeError>;
    /// Returns whether chosen rows lie in the table's past.
    async fn has_past(&mut self, matcher: &Matcher) -> Result<bool, LakeError>;
    /// Makes the newest snapshot one that names no file that went; returns its number.
    async fn clean(&mut self) -> Result<i64, LakeError>;
}

struct Forgetful<R: TableRow> {
    lake: Lake,
    job: TableJob<R, NoKeys>,
    /// The paths of files that were read and hold no chosen row: a file never changes.
    clean: HashSet<String>,
}

#[async_trait::async_trait]
impl<R: TableRow> Forget for Forgetful<R> {
    async fn chosen(&mut self, matcher: &Matcher) -> Result<ChosenRows, LakeError> {
        let table = self.job.table().await?;
        check_columns::<R>(table.metadata())?;
        let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
        let live = live(&table).await.map_err(failed)?;
        let hits = match is_judged(matcher) {
            true => rows::hits(&table, live, matcher, &mut self.clean).await?,
            false => Vec::new(),
        };
        let old_files = past(&table, matcher, true).await?.files;
        let rows = hits.iter().map(|hit| hit.rows).sum();
        Ok(ChosenRows { table: R::TABLE, rows, files: hits.len() as u64, old_files })
    }

    async fn take_rows(&mut self, matcher: &Matcher) -> Result<TakenRows, LakeError> {
        rows::take_rows(&mut self.job, matcher, &mut self.clean, &self.lake.options).await
    }

    async fn has_past(&mut self, matcher: &Matcher) -> Result<bool, LakeError> {
        Ok(!past(&self.job.table().await?, matcher, false).await?.is_clean())
    }

    async fn clean(&mut self) -> Result<i64, LakeError> {
        for _ in 0..ATTEMPTS_MAX {
            self.job.resume_point().await?;
            let table = self.job.table().await?;
            let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
            if !names_gone(&table).await.map_err(failed)? {
                return Ok(table.metadata().current_snapshot().map_or(0, |snapshot| snapshot.sequence_number()));
            }
            let change = of_maintenance(
                &table,
                Change {
                    operation: Operation::Replace,
                    added: Vec::new(),
                    spec: table.metadata().default_partition_spec_id(),
                    removed: BTreeSet::new(),
                    moves_rows: false,
                    cleans: true,
                    ages: false,
                },
            );
            if matches!(self.job.change(&change).await?, CommitOutcome::Committed { .. }) {
                // What came behind it meanwhile took no chosen row: the commit itself is what stays.
                let table = self.job.table().await?;
                return Ok(table.metadata().current_snapshot().map_or(0, |snapshot| snapshot.sequence_number()));
            }
        }
        let text = format!("could not commit to rva.{}: others were faster, {ATTEMPTS_MAX} times", R::TABLE);
        Err(LakeError::new(LakeErrorKind::Transient, text))
    }
}

/// Returns whether rows of a table can be told by a choice: rejects have no time of a record.
fn is_judged(matcher: &Matcher) -> bool {
    matcher.kind != RowKind::Timeless || matcher.choice.span_us() == (i64::MIN, i64::MAX)
}

/// A way to make one table's part.
type Make = fn(&Lake) -> Result<Box<dyn Forget>, LakeError>;

fn made<R: TableRow>(lake: &Lake) -> Result<Box<dyn Forget>, LakeError> {
    let lake = patient(lake);
    let job = TableJob::new(&lake, NoKeys, FileList::of_columns(&[]))?;
    Ok(Box::new(Forgetful::<R> { lake, job, clean: HashSet::new() }))
}

/// The name of a table, what its rows are, and the way to make its part.
struct Named;

impl OfTable for Named {
    type Made = (&'static str, RowKind, Make);

    fn of_table<R: TableRow>(&self, time: Option<&'static str>) -> Self::Made {
        (R::TABLE, RowKind::of(R::TABLE, time), made::<R>)
    }
}

/// A table's part of a removal.
struct Part {
    name: &'static str,
    matcher: Matcher,
    table: Box<dyn Forget>,
}

/// The removal of the rows of a choice from the tables that there are. Its steps come in the order of its methods.
pub struct Forgetting {
    lake: Lake,
    parts: Vec<Part>,
    /// The tables whose past goes, with the number of the first snapshot that stays.
    cleaned: BTreeMap<&'static str, i64>,
}

impl Lake {
    /// Makes the removal of the rows of a choice. Nothing is changed yet.
    ///
    /// # Errors
    /// Fails as the catalog does.
    #[boxed]
    pub async fn forgetting(&self, choice: &RecordChoice) -> Result<Forgetting, LakeError> {
        let mut parts = Vec::new();
        for (name, kind, make) in of_every_table(&Named) {
            let ident = TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), name.to_owned());
            let failed = |error| lake_error(format_args!("look for table {ident}"), error);
            if self.catalog.table_exists(&ident).await.map_err(failed)? {
                parts.push(Part { name, matcher: Matcher { choice: choice.clone(), kind }, table: make(self)? });
            }
        }
        Ok(Forgetting { lake: self.clone(), parts, cleaned: BTreeMap::new() })
    }
}

impl Forgetting {
    /// Returns whether there are tables of silver or gold, which must follow each step.
    pub fn has_followers(&self) -> bool {
        self.parts.iter().any(|part| is_refined(part.name))
    }

    /// Says which rows are chosen now, by table. It changes nothing.
    ///
    /// # Errors
    /// Fails as catalog and storage do.
    #[boxed]
    pub async fn chosen(&mut self) -> Result<Vec<ChosenRows>, LakeError> {
        let mut found = Vec::new();
        for part in &mut self.parts {
            found.push(part.table.chosen(&part.matcher).await?);
        }
        Ok(found)
    }

    /// Takes the chosen rows out of bronze and the dead letters, and notes the keys of those events. Silver and gold
    /// must follow then. Who says which records of a log the tables have, and writes over those, calls it once more
    /// afterwards: an ingest may have brought some in between.
    ///
    /// # Errors
    /// Fails as a commit does; the same call goes on from there.
    #[boxed(?Send)]
    pub async fn take_events(&mut self) -> Result<Vec<TakenRows>, LakeError> {
        let taken = self.take(|part| !is_refined(part.name)).await?;
        self.note().await?;
        Ok(taken)
    }

    /// Takes the chosen rows out of silver that are still there, since bronze doesn't have them: none, most times. Gold
    /// must follow then.
    ///
    /// # Errors
    /// Fails as [`Forgetting::take_events`] does.
    #[boxed]
    pub async fn take_silver(&mut self) -> Result<Vec<TakenRows>, LakeError> {
        self.take(|part| part.name.starts_with("silver_") && is_judged(&part.matcher)).await
    }

    /// Takes the chosen rows before a moment out of gold: rows that can't be worked out again, since silver lost rows of
    /// that time by their age. An hour goes whole.
    ///
    /// # Errors
    /// Fails as [`Forgetting::take_events`] does.
    #[boxed]
    pub async fn take_gold(&mut self, before: Timestamp) -> Result<Vec<TakenRows>, LakeError> {
        let mut taken = Vec::new();
        for part in self.parts.iter_mut().filter(|part| part.name.starts_with("gold_")) {
            let Some(choice) = part.matcher.choice.before(before) else { continue };
            taken.push(part.table.take_rows(&Matcher { choice, kind: part.matcher.kind }).await?);
        }
        Ok(taken)
    }

    async fn take(&mut self, of: impl Fn(&Part) -> bool) -> Result<Vec<TakenRows>, LakeError> {
        let mut taken = Vec::new();
        for part in self.parts.iter_mut().filter(|part| of(part)) {
            taken.push(part.table.take_rows(&part.matcher).await?);
        }
        Ok(taken)
    }

    /// Notes which events were deleted from bronze, before their files go.
    async fn note(&self) -> Result<(), LakeError> {
        if !self.parts.iter().any(|part| part.name == BronzeRow::TABLE) {
            return Ok(());
        }
        let ident = table_ident::<BronzeRow>();
        let failed = |error| lake_error(format_args!("load table {ident}"), error);
        let bronze = self.lake.catalog.load_table(&ident).await.map_err(failed)?;
        Deletions::new(&self.lake).note_now(&bronze).await
    }

    /// Makes the newest snapshot of each table whose past holds chosen rows one that names no file that went; returns
    /// the number of those tables. Silver and gold must follow then: what they haven't read can't go.
    ///
    /// # Errors
    /// Fails as a commit does; the same call goes on from there.
    #[boxed]
    pub async fn clean(&mut self) -> Result<usize, LakeError> {
        for part in &mut self.parts {
            if part.table.has_past(&part.matcher).await? {
                let number = part.table.clean().await?;
                self.cleaned.insert(part.name, number);
            }
        }
        Ok(self.cleaned.len())
    }

    /// Expires the past of the tables that were cleaned, and deletes the files that only it named; of every table, also
    /// those that no snapshot names and that hold chosen rows. Tables of which nothing went or should go are left out.
    ///
    /// # Errors
    /// Fails as catalog and storage do; the same steps from the first one end what was begun.
    #[boxed(?Send)]
    pub async fn erase(&mut self) -> Result<Vec<ErasedPast>, LakeError> {
        let mut erased = Vec::new();
        // What follows goes first: a table that follows none needs no other's past.
        for part in self.parts.iter().rev() {
            let first_kept = self.cleaned.get(part.name).copied();
            let ident = TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), part.name.to_owned());
            let erasing = Erasing { lake: &self.lake, ident, matcher: &part.matcher, first_kept };
            erased.push(erasing.run().await?);
        }
        erased.retain(|past| !past.is_nothing());
        erased.reverse();
        Ok(erased)
    }
}

fn is_refined(name: &str) -> bool {
    name.starts_with("silver_") || name.starts_with("gold_")
}

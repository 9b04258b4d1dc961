//! The fenced commit: rows and offsets in one catalog swap, whose outcome is known before it is told.

use crate::change::{Built, Change, SwapMetadata, build};
use crate::definition::{check_columns, table_ident};
use crate::errors::lake_error;
use crate::fence::{Expected, Fence};
use crate::files::FileList;
use crate::housekeeping::Housekeeper;
use crate::key_check::KeyCheck;
use crate::lake::Lake;
use crate::layer::Layered;
use crate::options::{CommitStep, LakeOptions};
use crate::places::check_table;
use crate::rows::TableRow;
use crate::seam::{Batch, CommitOutcome, LakeError, LakeErrorKind, ResumePoint};
use crate::state::{JobState, StateKeys, StoredState, TRACEPARENT_KEY, Written};
use crate::storage::StoredFile;
use crate::work::{BuiltOn, FileChange, Pending, TableAt, Work, check_clock, check_source, is_fenced};
use crate::writer::write_files;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, TableIdent};
use rva_types::DoublingWait;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// The outcome of one attempt.
enum Attempt {
    Done(CommitOutcome, Box<Table>),
    /// Another worker was faster; the table says what a fenced one must know.
    Fenced(ResumePoint),
    /// The keys of these rows are there with other contents; nothing was sent.
    Conflicting(Vec<usize>),
    /// The table moved on, or doesn't say that the commit happened: it is to be tried again on what it is now.
    Again(Option<LakeError>),
}

/// The commits of one job to one table.
pub(crate) struct TableJob<R, K> {
    catalog: Arc<dyn Catalog>,
    swap: Arc<dyn SwapMetadata>,
    ident: TableIdent,
    keys: StateKeys,
    options: LakeOptions,
    pub(crate) check: K,
    pub(crate) files: FileList,
    housekeeper: Housekeeper,
    pending: Option<Pending>,
    /// The rollback that the owner was told of. One that nobody was told of must not be hidden by a commit on top.
    rollback_told: Option<u64>,
    /// The id and number of the last commit of the job that was known.
    last: Option<(String, u64)>,
    /// Whether what was fenced last had been sent before.
    fenced_after_sending: bool,
    /// The trace of the commits that follow.
    pub(crate) traceparent: Option<String>,
    /// Properties of the table that are set by changes.
    pub(crate) noted: BTreeMap<String, String>,
    rows: std::marker::PhantomData<fn() -> R>,
}

impl<R: TableRow, K: KeyCheck<R>> TableJob<R, K> {
    pub(crate) fn new(lake: &Lake, check: K, files: FileList) -> Result<Self, LakeError> {
        Ok(Self {
            catalog: Arc::clone(&lake.catalog),
            swap: Arc::clone(&lake.swap),
            ident: table_ident::<R>(),
            keys: StateKeys::of_job(&lake.options.job),
            options: lake.options.clone(),
            check,
            files,
            housekeeper: Housekeeper::knowing(lake.options.homes.clone()),
            pending: None,
            rollback_told: None,
            last: None,
            fenced_after_sending: false,
            traceparent: None,
            noted: BTreeMap::new(),
            rows: std::marker::PhantomData,
        })
    }

    async fn load(&self, step: CommitStep) -> Result<Table, LakeError> {
        self.options.step(step);
        let timeout = self.options.retry.call_timeout;
        let loaded = match tokio::time::timeout(timeout, self.catalog.load_table(&self.ident)).await {
            Ok(loaded) => loaded.map_err(|error| lake_error(format_args!("load table {}", self.ident), error))?,
            Err(_) => {
                let text = format!("could not load table {}: no answer in {timeout:?}", self.ident);
                return Err(LakeError::new(LakeErrorKind::Transient, text));
            }
        };
        check_table(&self.ident, loaded.metadata(), &self.options.allowed)?;
        Ok(loaded)
    }

    /// Reads the table as it is now.
    pub(crate) async fn table(&self) -> Result<Table, LakeError> {
        self.load(CommitStep::Load).await
    }

    pub(crate) async fn resume_point(&mut self) -> Result<ResumePoint, LakeError> {
        let table = match self.load(CommitStep::Load).await {
            // The table may just have been changed.
            Err(error) if error.kind() == LakeErrorKind::Conflict => {
                tokio::time::sleep(self.options.retry.wait_max).await;
                self.load(CommitStep::Load).await.map_err(|error| error.at_second_look())?
            }
            loaded => loaded?,
        };
        check_columns::<R>(table.metadata())?;
        let mut stored = self.keys.read(&table).await?;
        // Another worker may have gone on from where a rollback led before we saw it.
        if let Some((commit, sequence)) =
            self.last.take_if(|(commit, _)| self.keys.left_out(&table.metadata_ref(), commit))
        {
            tracing::warn!(table = %self.ident, commit, "the table was rolled back behind our last commit");
            stored.rolled_back_from.get_or_insert(sequence);
        }
        Ok(self.told(&stored))
    }

    /// Returns what the owner hears of the table, and remembers that it was told.
    fn told(&mut self, stored: &StoredState) -> ResumePoint {
        self.rollback_told = stored.rolled_back_from;
        self.last = stored.held.as_ref().map(|held| (held.commit.clone(), held.sequence));
        stored.resume_point()
    }

    pub(crate) async fn commit(&mut self, batch: &Batch<R>) -> Result<CommitOutcome, LakeError> {
        if batch.rows.is_empty() && batch.from == batch.to {
            return Ok(CommitOutcome::Committed { rows_appended: 0, rows_known: 0 });
        }
        self.carry(&Work::Batch(batch)).await
    }

    /// Puts files in the place of others and moves the offsets, in one catalog swap. It is fenced too where it was
    /// built on a snapshot that isn't the table's newest any more.
    pub(crate) async fn change(&mut self, change: &FileChange) -> Result<CommitOutcome, LakeError> {
        if change.is_nothing() {
            return Ok(CommitOutcome::Committed { rows_appended: 0, rows_known: 0 });
        }
        self.carry(&Work::Change(change)).await
    }

    /// Returns whether the catalog may have been asked for the last work that didn't end in a commit.
    pub(crate) fn may_have_sent(&self) -> bool {
        self.fenced_after_sending || self.pending.as_ref().is_some_and(|pending| pending.sent)
    }

    async fn carry(&mut self, work: &Work<'_, R>) -> Result<CommitOutcome, LakeError> {
        if self.pending.as_ref().is_some_and(|pending| !pending.is_of(work)) {
            self.pending = None;
        }
        self.fenced_after_sending = false;
        let retry = self.options.retry;
        let mut wait = DoublingWait::new(retry.wait_first, retry.wait_max);
        let mut last = None;
        for attempt in 0..retry.attempts_max.max(1) {
            if attempt > 0 {
                tokio::time::sleep(wait.take()).await;
            }
            match self.attempt(work).await {
                Ok(Attempt::Done(outcome, table)) => {
                    self.pending = None;
                    self.options.step(CommitStep::Known);
                    self.housekeep(&table).await;
                    return Ok(outcome);
                }
                Ok(Attempt::Fenced(resume)) => {
                    self.fenced_after_sending = self.pending.take().is_some_and(|pending| pending.sent);
                    self.check.forget();
                    self.files.forget();
                    return Ok(CommitOutcome::Fenced(resume));
                }
                Ok(Attempt::Conflicting(rows)) => {
                    // What was sent before can't land any more: the table has moved on since.
                    self.pending = None;
                    return Ok(CommitOutcome::Conflicting(rows));
                }
                Ok(Attempt::Again(reason)) => last = reason.or(last),
                // A file that isn't there: somebody may have changed the table since it was loaded.
                Err(error) if matches!(error.kind(), LakeErrorKind::Transient | LakeErrorKind::Conflict) => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
            if !self.options.rules().reload_after_unknown {
                self.pending = None;
                break;
            }
        }
        let attempts = retry.attempts_max;
        let reason = last.as_ref().map_or_else(|| "other writers were faster".to_owned(), ToString::to_string);
        let text = format!("could not commit to {} in {attempts} attempts: {reason}", self.ident);
        // Another look cured nothing.
        let is_damaged = last.as_ref().is_some_and(|last| last.kind() == LakeErrorKind::Conflict);
        let kind = if is_damaged { LakeErrorKind::Permanent } else { LakeErrorKind::Transient };
        let way_out = last.as_ref().and_then(LakeError::way_out);
        let error = LakeError::new(kind, text);
        let error = way_out.into_iter().fold(error, LakeError::with_way_out);
        Err(match last {
            Some(last) => error.with_source(last),
            None => error,
        })
    }

    async fn attempt(&mut self, work: &Work<'_, R>) -> Result<Attempt, LakeError> {
        let table = self.load(CommitStep::Load).await?;
        let metadata = table.metadata_ref();
        let mut pending = match self.pending.take() {
            Some(pending) if pending.table == metadata.uuid() => pending,
            _ => {
                check_columns::<R>(&metadata)?;
                Pending::of(work, metadata.uuid())
            }
        };
        if pending.sent && self.keys.holds_commit(&metadata, &pending.commit) {
            return Ok(self.known(&pending, table));
        }
        let result = self.build_and_send(&table, work, &mut pending).await;
        self.pending = Some(pending);
        result
    }

    /// Notes that the commit is in the table: everything held in memory follows.
    fn known(&mut self, pending: &Pending, table: Table) -> Attempt {
        self.check.committed();
        let sequence = self.keys.mirror_sequence(table.metadata());
        self.last = Some((pending.commit.clone(), sequence));
        if pending.change.is_none() {
            self.files.committed(&table, &pending.files, pending.looked_up.and_then(|TableAt(snapshot)| snapshot));
        }
        let fresh = pending.checked.fresh.len();
        let outcome =
            CommitOutcome::Committed { rows_appended: fresh as u64, rows_known: (pending.rows - fresh) as u64 };
        Attempt::Done(outcome, Box::new(table))
    }

    async fn build_and_send(
        &mut self,
        table: &Table,
        work: &Work<'_, R>,
        pending: &mut Pending,
    ) -> Result<Attempt, LakeError> {
        let stored = self.keys.read(table).await?;
        if self.options.rules().fence {
            let is_untold = stored.rolled_back_from.is_some() && stored.rolled_back_from != self.rollback_told;
            if is_untold || is_fenced::<R, K>(work, &stored, table.metadata().current_snapshot_id()) {
                return Ok(Attempt::Fenced(stored.resume_point()));
            }
            check_source(&self.ident, work, &stored)?;
        }
        check_clock(table, SystemTime::now())?;
        if let Work::Batch(batch) = work {
            self.stage(table, batch, &stored, pending).await?;
        }
        if !pending.checked.conflicts.is_empty() {
            return Ok(Attempt::Conflicting(pending.checked.conflicts.clone()));
        }
        let offsets = work.offsets_on(&stored);
        if pending.files.is_empty() && pending.removes_nothing() && offsets == stored.offsets() {
            // Every row was there already, and the offsets are where they were.
            let outcome = CommitOutcome::Committed { rows_appended: 0, rows_known: pending.rows as u64 };
            return Ok(Attempt::Done(outcome, Box::new(table.clone())));
        }
        let state = JobState {
            source: work.source().to_owned(),
            sequence: stored.next_sequence(),
            commit: pending.commit.clone(),
            offsets,
        };
        let answer = match work {
            // A swap is void on another snapshot than its own, and keys are looked up again: what a fence stops can be
            // shown by the crate's append alone, which tries again on any table.
            Work::Batch(_) if self.swap.can_swap() && self.options.rules().fence => {
                // As the crate's own append, which leaves a manifest for each commit and never merges them.
                let built = self.built(table, table, &state, &pending.append()).await?;
                self.send_change(built, pending).await
            }
            Work::Batch(_) => self.send(table, &stored, &state, pending).await,
            Work::Change(change) => match self.built(table, self.base(change, table), &state, &change.change).await {
                Ok(built) => self.send_change(built, pending).await,
                // Files to merge that aren't there as they were: no other look brings them back.
                Err(error)
                    if error.kind() == LakeErrorKind::Conflict && matches!(change.built_on, BuiltOn::Files(_)) =>
                {
                    tracing::debug!(table = %self.ident, %error, "files that were to be merged were changed by another");
                    return Ok(Attempt::Fenced(stored.resume_point()));
                }
                Err(error) => Err(error),
            },
        };
        self.settle(answer, pending).await
    }

    /// Looks up keys and writes files, unless that was done on this very table.
    async fn stage(
        &mut self,
        table: &Table,
        batch: &Batch<R>,
        stored: &StoredState,
        pending: &mut Pending,
    ) -> Result<(), LakeError> {
        let metadata = table.metadata();
        let now = TableAt(metadata.current_snapshot_id());
        let mut checked = pending.checked.clone();
        if pending.looked_up != Some(now) {
            self.options.step(CommitStep::KeyLookup);
            checked = self.check.select(table, &mut self.files, batch, stored).await?;
        }
        let spec = metadata.default_partition_spec_id();
        if checked.conflicts.is_empty() && (pending.spec != Some(spec) || checked != pending.checked) {
            self.options.step(CommitStep::WriteFiles);
            let rows: Vec<&R> = checked.fresh.iter().filter_map(|at| batch.rows.get(*at)).collect();
            pending.spec = None;
            pending.files = write_files(table, &rows, &self.options).await?;
            pending.spec = Some(spec);
            self.options.step(CommitStep::FilesClosed);
        }
        pending.checked = checked;
        pending.looked_up = Some(now);
        Ok(())
    }

    /// Returns the properties of a commit; a map that is too large for them is written first.
    async fn state_properties(
        &self,
        table: &Table,
        state: &JobState,
    ) -> Result<(HashMap<String, String>, (String, String)), LakeError> {
        let Written { mut summary, mirror, file } = self.keys.write(state, table, self.options.offsets_inline_max)?;
        if let Some((location, bytes)) = file {
            let failed = |error| lake_error(format_args!("commit to {}", self.ident), error);
            let output = table.file_io().new_output(location).map_err(failed)?;
            output.write(bytes).await.map_err(failed)?;
        }
        if let Some(traceparent) = &self.traceparent {
            summary.insert(TRACEPARENT_KEY.to_owned(), traceparent.clone());
        }
        Ok((summary, mirror))
    }

    /// Returns the table whose files stay where a change is put in.
    fn base<'a>(&self, change: &'a FileChange, table: &'a Table) -> &'a Table {
        match &change.built_on {
            BuiltOn::Files(planned) if !self.options.rules().rebase => planned,
            BuiltOn::Files(_) | BuiltOn::Snapshot(_) => table,
        }
    }

    /// Writes the manifests of a change.
    async fn built(&self, table: &Table, base: &Table, state: &JobState, change: &Change) -> Result<Built, LakeError> {
        self.options.step(CommitStep::BuildManifest);
        let (summary, mirror) = self.state_properties(table, state).await?;
        let noted = self.noted.iter().map(|(key, value)| (key.clone(), value.clone()));
        let properties = noted.chain(self.check.properties()).chain([mirror]).collect();
        build(table, base, change, summary, properties, self.options.manifests_max).await
    }

    async fn send_change(&self, built: Built, pending: &mut Pending) -> Result<(), LakeError> {
        pending.sent = true;
        self.options.step(CommitStep::CommitSent);
        let timeout = self.options.retry.call_timeout;
        let swap = self.swap.swap(&self.ident, built.requirements, built.updates);
        let answer = tokio::time::timeout(timeout, swap).await;
        self.options.step(CommitStep::CommitReturned);
        match answer {
            Ok(answer) => answer.map_err(|error| lake_error(format_args!("change files of {}", self.ident), error)),
            Err(_) => {
                let text = format!("could not change files of {}: no answer in {timeout:?}", self.ident);
                Err(LakeError::new(LakeErrorKind::Transient, text))
            }
        }
    }

    async fn send(
        &self,
        table: &Table,
        stored: &StoredState,
        state: &JobState,
        pending: &mut Pending,
    ) -> Result<(), LakeError> {
        self.options.step(CommitStep::BuildManifest);
        let failed = |error| lake_error(format_args!("commit to {}", self.ident), error);
        let (summary, (mirror, value)) = self.state_properties(table, state).await?;
        let catalog = Layered(Fence {
            inner: Arc::clone(&self.catalog),
            keys: self.keys.clone(),
            expected: Expected {
                table: table.metadata().uuid(),
                location: table.metadata().location().to_owned(),
                source: stored.source().map(str::to_owned),
                offsets: stored.offsets(),
                snapshot: table.metadata().current_snapshot_id(),
            },
            options: self.options.clone(),
            sent: AtomicBool::new(false),
        });
        let transaction = Transaction::new(table);
        let append = transaction
            .fast_append()
            // It would read every manifest; our names are unique.
            .with_check_duplicate(false)
            .set_snapshot_properties(summary)
            .add_data_files(pending.files.iter().cloned());
        let transaction = append.apply(transaction).map_err(failed)?;
        let mirrored = transaction.update_table_properties().set(mirror, value);
        let mirrored = self.check.properties().into_iter().fold(mirrored, |all, (key, value)| all.set(key, value));
        let transaction = mirrored.apply(transaction).map_err(failed)?;
        let answer = transaction.commit(&catalog).await;
        pending.sent |= catalog.0.sent.load(Ordering::SeqCst);
        answer.map(drop).map_err(failed)
    }

    /// Decides what became of a commit: whatever the catalog answered, the table says it (I6).
    async fn settle(&mut self, answer: Result<(), LakeError>, pending: &Pending) -> Result<Attempt, LakeError> {
        if !pending.sent {
            // Our own fence, or an error before anything was sent.
            return again(answer.err());
        }
        if !self.options.rules().reload_after_unknown {
            answer?;
            let table = self.load(CommitStep::Reload).await?;
            return Ok(self.known(pending, table));
        }
        let table = self.load(CommitStep::Reload).await?;
        if self.keys.holds_commit(&table.metadata_ref(), &pending.commit) {
            return Ok(self.known(pending, table));
        }
        again(answer.err())
    }

    /// Returns the orphans in the table's folder that may go, or the reason why nothing there may, and the number of
    /// snapshots that may expire. It changes nothing.
    pub(crate) async fn tidying(
        &mut self,
        table: &Table,
        now: SystemTime,
    ) -> Result<(Result<Vec<StoredFile>, String>, usize), LakeError> {
        let orphans = self.housekeeper.orphans(&self.catalog, table, &mut self.files, &self.options).await?;
        let expiring = Housekeeper::expiring(&self.catalog, table, &self.options.housekeeping, now).await?;
        Ok((orphans, expiring))
    }

    /// Does housekeeping, which never fails a commit that is known.
    pub(crate) async fn housekeep(&mut self, table: &Table) {
        let result = self.housekeeper.after_commit(&self.catalog, table, &mut self.files, &self.options).await;
        if let Err(error) = result {
            tracing::warn!(table = %self.ident, %error, "housekeeping failed, it is tried again after later commits");
        }
    }
}

/// Returns another attempt, unless nothing but somebody's hand can cure what came of this one.
fn again(error: Option<LakeError>) -> Result<Attempt, LakeError> {
    match error {
        Some(error) if matches!(error.kind(), LakeErrorKind::Permanent | LakeErrorKind::Rejected) => Err(error),
        error => Ok(Attempt::Again(error)),
    }
}

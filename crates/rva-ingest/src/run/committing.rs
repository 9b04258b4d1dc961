//! The way from memory into the tables: dead letters, bronze, then the acknowledgement (I2, I5, I6).

use super::{BRONZE, DEAD_LETTERS, Ingest, Step, Then, of_table};
use crate::{Cut, IngestError, IngestEvent, Phase, error::with_causes};
use rva_lake::{Batch, CommitOutcome, LakeError, LakeErrorKind};
use rva_types::{DeadLetter, OffsetMap, RejectionReason};

/// The number of failed attempts to commit after which [`Phase::Stop`] gives up.
const STOP_ATTEMPTS_MAX: u32 = 3;

impl Ingest<'_> {
    /// Cuts a batch of everything complete; `then` follows its commit.
    pub(super) fn cut(&mut self, then: Then) -> Option<Step> {
        let mut cut = self.batcher.cut()?;
        self.then = then;
        let rows = std::mem::take(&mut cut.dead);
        if rows.is_empty() {
            return Some(Step::CommitBronze(cut));
        }
        let from = self.held.dead.clone();
        let to = from.merged(&cut.bronze.to);
        let dead = Batch { source: self.identity.clone(), from, to, rows };
        Some(Step::CommitDead { dead, cut })
    }

    /// Ends with an error, but commits first what was read before it.
    pub(super) fn cut_or_fail(&mut self, error: IngestError) -> Result<Step, IngestError> {
        if self.batcher.has_news() {
            let step = self.cut(Then::Fail(error));
            return Ok(step.unwrap_or(Step::Rebuild));
        }
        Err(error)
    }

    pub(super) fn start_over(&mut self) -> Step {
        self.counters.rebuilds += 1;
        Step::Rebuild
    }

    /// Commits dead letters, first of all: bronze's map alone is the resume point, so a crash in between only repeats
    /// them.
    pub(super) async fn commit_dead(&mut self, dead: Batch<DeadLetter>, cut: Cut) -> Result<Step, IngestError> {
        match self.dead.commit(&dead).await {
            Ok(CommitOutcome::Committed { rows_appended: _, rows_known }) => {
                self.cured(DEAD_LETTERS);
                self.counters.dead_letter_commits += 1;
                self.counters.dead_letters_known += rows_known;
                for letter in &dead.rows {
                    *self.counters.dead_letters.entry(letter.reason).or_default() += 1;
                    self.counters.conflicts += u64::from(letter.reason == RejectionReason::KeyConflict);
                }
                self.held.dead = dead.to;
                Ok(Step::CommitBronze(cut))
            }
            Ok(CommitOutcome::Conflicting(rows)) => {
                let text = format!("found {} conflicts among dead letters, wanted none", rows.len());
                Err(IngestError::Table { table: DEAD_LETTERS, error: LakeError::new(LakeErrorKind::Permanent, text) })
            }
            Ok(CommitOutcome::Fenced(_)) => Ok(self.on_fenced(DEAD_LETTERS)),
            Err(error) => {
                self.give_up(DEAD_LETTERS, dead.rows.len(), &error)?;
                self.recover(of_table(DEAD_LETTERS, error), Step::CommitDead { dead, cut }).await
            }
        }
    }

    pub(super) async fn commit_bronze(&mut self, mut cut: Cut) -> Result<Step, IngestError> {
        if let Err(error) = self.leave_out_dead(&mut cut).await {
            self.give_up(DEAD_LETTERS, cut.bronze.rows.len(), &error)?;
            return self.recover(of_table(DEAD_LETTERS, error), Step::CommitBronze(cut)).await;
        }
        if !self.options.rules().acknowledge_after_commit {
            self.acknowledge(cut.bronze.to.clone()).await;
        }
        let traced = cut.traced();
        self.bronze.note_trace(if traced.is_empty() { None } else { self.observer.on_commit(&traced) });
        let began = self.clock.elapsed();
        let outcome = self.bronze.commit(&cut.bronze).await;
        let took = self.clock.elapsed().saturating_sub(began);
        self.counters.keys = self.bronze.key_counts();
        match outcome {
            Ok(CommitOutcome::Committed { rows_appended, rows_known }) => {
                self.cured(BRONZE);
                self.counters.commits += 1;
                self.counters.rows += rows_appended;
                self.counters.rows_known += rows_known;
                let to = cut.bronze.to;
                self.held.bronze = to.clone();
                self.batcher.mark_committed(&to, self.clock.elapsed());
                self.tell(IngestEvent::Committed { offsets: to.clone(), rows: rows_appended, took });
                // I5: only now, and never beyond the table's map.
                self.acknowledge(to).await;
                match std::mem::replace(&mut self.then, Then::Read) {
                    Then::Read => Ok(Step::Read),
                    Then::Rebuild => Ok(self.start_over()),
                    Then::Fail(error) => Err(error),
                }
            }
            Ok(CommitOutcome::Fenced(_)) => Ok(self.on_fenced(BRONZE)),
            Ok(CommitOutcome::Conflicting(places)) => Ok(self.on_conflicts(cut, &places)),
            Err(error) => {
                self.give_up(BRONZE, cut.bronze.rows.len(), &error)?;
                self.recover(of_table(BRONZE, error), Step::CommitBronze(cut)).await
            }
        }
    }

    /// Makes dead letters of rows that lost, which are committed first; the rest of the batch follows.
    fn on_conflicts(&mut self, mut cut: Cut, places: &[usize]) -> Step {
        self.cured(BRONZE);
        let rows = cut.lose(places);
        if let Some(first) = rows.first() {
            let (conflicts, first) = (rows.len(), &first.detail);
            tracing::warn!(table = BRONZE, conflicts, %first, "other records have their keys: they become dead letters");
        }
        let from = self.held.dead.clone();
        let to = from.merged(&cut.bronze.to);
        let dead = Batch { source: self.identity.clone(), from, to, rows };
        Step::CommitDead { dead, cut }
    }

    /// Leaves out rows that are dead letters already, also where they would be judged otherwise now: after a crash
    /// between the commits of both tables the same messages may come in another order, or later than a day before their
    /// capture time.
    async fn leave_out_dead(&mut self, cut: &mut Cut) -> Result<(), LakeError> {
        let Some(maybe_dead) = self.held.maybe_dead() else { return Ok(()) };
        let places = cut.up_to(maybe_dead);
        if places.is_empty() {
            return Ok(());
        }
        let held = self.dead.holds(&cut.letters(&places)).await?;
        let dead: Vec<usize> = places.into_iter().zip(held).filter(|(_, is_held)| *is_held).map(|(at, _)| at).collect();
        cut.remove(&dead);
        Ok(())
    }

    /// Gives up where a stop would wait for a table that is away.
    fn give_up(&self, table: &'static str, rows: usize, error: &LakeError) -> Result<(), IngestError> {
        if self.phase() == Phase::Stop && self.trouble.attempts() >= STOP_ATTEMPTS_MAX {
            let error = LakeError::new(error.kind(), with_causes(error));
            return Err(IngestError::Stopped { table, rows, error });
        }
        Ok(())
    }

    fn on_fenced(&mut self, table: &'static str) -> Step {
        self.cured(table);
        self.counters.fenced += 1;
        self.then = Then::Read;
        tracing::warn!(table, "another worker advanced our partitions; its commit holds, our batch is dropped");
        self.tell(IngestEvent::Fenced);
        self.start_over()
    }

    /// Acknowledges offsets to the log. A failure is only a hint that is late: the next acknowledgement covers it.
    pub(super) async fn acknowledge(&mut self, offsets: OffsetMap) {
        if offsets.is_empty() {
            return;
        }
        match self.source.acknowledge(&offsets).await {
            Ok(()) => self.tell(IngestEvent::Acknowledged { offsets }),
            Err(error) => {
                self.counters.acknowledge_failures += 1;
                let error = with_causes(&error);
                tracing::debug!(%error, "acknowledgement failed, the next one covers it");
            }
        }
    }
}

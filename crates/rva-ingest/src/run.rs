//! The loop: read, decide, commit dead letters, commit bronze, acknowledge. Every fault leads back to what the table
//! says.

mod committing;
mod held;
mod progress;
mod reading;

use crate::{
    Batcher, Clock, Cut, Gap, Halt, IngestCounters, IngestEnd, IngestError, IngestEvent, IngestObserver, IngestOptions,
    IngestReport, Phase, StartRules,
    error::with_causes,
    plan_start,
    start::{check_identity, check_rollback},
    trouble::{Noted, Trouble},
};
use async_recursion::async_recursion as boxed;
use held::Held;
use progress::{Progress, Promises};
use rva_bus::{BusError, BusErrorKind, EventSource, PartitionRange};
use rva_lake::{Batch, BronzeRow, LakeError, LakeErrorKind, ResumePoint, TableSink};
use rva_types::{DeadLetter, DoublingWait, OffsetMap};
use std::time::Duration;
use tokio::sync::watch;

const BRONZE: &str = "bronze_raw";
const DEAD_LETTERS: &str = "bronze_dead_letters";
const LOG: &str = "log";

/// Reads a log into the bronze tables until `phase` ends it.
///
/// Memory is bounded by [`IngestOptions::buffered_bytes_max`] and one poll. While a table or the log is away nothing
/// is read; that is logged once, and once more when it is over.
///
/// # Errors
/// Returns an error where no retry helps, or an operator must decide. Messages that were read before are committed
/// first where that is possible; the log keeps the rest.
#[boxed]
pub async fn run_ingest(
    source: &mut dyn EventSource,
    bronze: &mut dyn TableSink<BronzeRow>,
    dead: &mut dyn TableSink<DeadLetter>,
    options: &IngestOptions,
    clock: &dyn Clock,
    phase: watch::Receiver<Phase>,
    observer: &mut dyn IngestObserver,
) -> Result<IngestReport, IngestError> {
    let identity = source.identity().to_owned();
    let batcher = Batcher::new(&identity, OffsetMap::new(), OffsetMap::new());
    let ingest = Ingest {
        source,
        bronze,
        dead,
        options,
        clock,
        phase,
        observer,
        identity,
        batcher,
        counters: IngestCounters::default(),
        trouble: Trouble::new(DoublingWait::new(options.backoff_min, options.backoff_max)),
        held: Held::default(),
        promises: Promises::default(),
        progress: Progress::default(),
        then: Then::Read,
    };
    ingest.run().await
}

/// The next step of the loop.
enum Step {
    /// Starts from what the table says.
    Rebuild,
    Read,
    CommitDead {
        dead: Batch<DeadLetter>,
        cut: Cut,
    },
    CommitBronze(Cut),
    End(IngestEnd),
}

/// The step that follows a commit.
enum Then {
    Read,
    Rebuild,
    Fail(IngestError),
}

/// The reason why a step could not be done.
enum Failure {
    /// A failure of which the same step may be cured later.
    Retry {
        place: &'static str,
        text: String,
        way_out: Option<&'static str>,
    },
    Fatal(IngestError),
}

struct Ingest<'a> {
    source: &'a mut dyn EventSource,
    bronze: &'a mut dyn TableSink<BronzeRow>,
    dead: &'a mut dyn TableSink<DeadLetter>,
    options: &'a IngestOptions,
    clock: &'a dyn Clock,
    phase: watch::Receiver<Phase>,
    observer: &'a mut dyn IngestObserver,
    identity: String,
    batcher: Batcher,
    counters: IngestCounters,
    trouble: Trouble,
    held: Held,
    promises: Promises,
    progress: Progress,
    then: Then,
}

impl Ingest<'_> {
    async fn run(mut self) -> Result<IngestReport, IngestError> {
        let mut step = Step::Rebuild;
        loop {
            step = match step {
                Step::Rebuild => match self.rebuild_unless_stopped().await {
                    None => Step::End(IngestEnd::Stopped),
                    Some(Ok(())) => Step::Read,
                    Some(Err(failure)) => self.recover(failure, Step::Rebuild).await?,
                },
                Step::Read => self.read().await?,
                Step::CommitDead { dead, cut } => self.commit_dead(dead, cut).await?,
                Step::CommitBronze(cut) => self.commit_bronze(cut).await?,
                Step::End(end) => {
                    let offsets = self.batcher.committed().clone();
                    return Ok(IngestReport { end, offsets, counters: self.counters });
                }
            };
        }
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn tell(&mut self, event: IngestEvent) {
        self.observer.on_event(&event, &self.counters);
    }

    /// Waits after a transient failure and does the same step again; anything else ends the ingest.
    async fn recover(&mut self, failure: Failure, again: Step) -> Result<Step, IngestError> {
        let (place, text, way_out) = match failure {
            Failure::Retry { place, text, way_out } => (place, text, way_out),
            Failure::Fatal(error) => return Err(error),
        };
        if self.phase() == Phase::Stop && matches!(again, Step::Rebuild) {
            return Ok(Step::End(IngestEnd::Stopped));
        }
        self.wait_out(place, text, way_out).await?;
        Ok(again)
    }

    /// Waits before the next attempt. A drain, which somebody waits for, waits only so long.
    async fn wait_out(
        &mut self,
        place: &'static str,
        text: String,
        way_out: Option<&'static str>,
    ) -> Result<(), IngestError> {
        match place {
            LOG => self.counters.retries_log += 1,
            _ => self.counters.retries_table += 1,
        }
        let Noted { wait, lasts } = self.trouble.note(place, &text, way_out, self.clock.elapsed());
        if self.phase() == Phase::Drain && lasts >= self.options.drain_patience {
            let way_out = way_out.map(|way_out| format!("; {way_out}")).unwrap_or_default();
            return Err(IngestError::Overdue { place, seconds: lasts.as_secs(), text: format!("{text}{way_out}") });
        }
        self.tell(IngestEvent::Waiting { text: format!("{place}: {text}") });
        self.pause(wait).await;
        Ok(())
    }

    /// Waits; a change of phase cuts it short.
    async fn pause(&mut self, wait: Duration) {
        let phase = &mut self.phase;
        let changed = async {
            if phase.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.clock.sleep(wait) => {}
            () = changed => {}
        }
    }

    fn cured(&mut self, place: &'static str) {
        if self.trouble.cured(place) {
            self.tell(IngestEvent::Recovered);
        }
    }

    /// Rebuilds; `None` where it was stopped while a table or the log was slow, or while another reader had the log (a
    /// standby). Nothing that was read waits for a commit then.
    async fn rebuild_unless_stopped(&mut self) -> Option<Result<(), Failure>> {
        let mut phase = self.phase.clone();
        let stopped = async {
            if phase.wait_for(|phase| *phase == Phase::Stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            rebuilt = self.rebuild() => Some(rebuilt),
            () = stopped => None,
        }
    }

    /// Forgets everything that was read and starts from what the tables say now (I8).
    async fn rebuild(&mut self) -> Result<(), Failure> {
        let dead_point = self.dead.resume_point().await.map_err(|error| of_table(DEAD_LETTERS, error))?;
        self.cured(DEAD_LETTERS);
        let point = self.bronze.resume_point().await.map_err(|error| of_table(BRONZE, error))?;
        self.cured(BRONZE);
        // The ranges are asked for after the table, or another worker's newer commit would look like a short log.
        let ranges = self.source.partitions().await.map_err(of_log)?;
        self.check_dead_letters(&dead_point).map_err(|halt| Failure::Fatal(halt.into()))?;
        let options = self.options;
        let rules = StartRules {
            table: BRONZE,
            identity: &self.identity,
            known: &self.held.bronze,
            on_rollback: options.on_rollback,
            accept_gap: options.accept_gap,
        };
        let plan = plan_start(rules, &point, &ranges, |partition| options.owns(partition))
            .map_err(|halt| Failure::Fatal(halt.into()))?;
        self.source.seek(&plan.read).await.map_err(of_log)?;
        let is_news = self.held.begin(plan.committed.clone(), dead_point.offsets, plan.rolled_back_from);
        self.note_start(&point, is_news, &plan.gaps);
        self.batcher = Batcher::new(&self.identity, plan.committed, plan.read);
        self.learn(&ranges);
        self.promises = Promises::default();
        self.progress.hear(self.clock.elapsed());
        self.tell(IngestEvent::Started { offsets: self.held.bronze.clone() });
        // The acknowledgement of the last commit may have been lost with the process that made it.
        self.acknowledge(self.held.bronze.clone()).await;
        Ok(())
    }

    fn check_dead_letters(&self, point: &ResumePoint) -> Result<(), Halt> {
        let rules = StartRules {
            table: DEAD_LETTERS,
            identity: &self.identity,
            known: &self.held.dead,
            on_rollback: self.options.on_rollback,
            accept_gap: self.options.accept_gap,
        };
        check_identity(rules, point)?;
        check_rollback(rules, point)
    }

    fn note_start(&mut self, point: &ResumePoint, rolled_back_from: Option<u64>, gaps: &[Gap]) {
        if let Some(from) = rolled_back_from {
            self.counters.rollbacks += 1;
            self.progress.forget();
            let (to, offsets) = (point.sequence, point.offsets.to_text());
            tracing::warn!(table = BRONZE, from, to, %offsets, "the table was rolled back; the log is read again");
        }
        for gap in gaps {
            self.note_lost(gap);
        }
    }

    fn note_lost(&mut self, gap: &Gap) {
        self.counters.records_lost += gap.records;
        tracing::warn!(records = gap.records, %gap, "records are lost, which was accepted");
    }

    fn learn(&mut self, ranges: &[PartitionRange]) {
        for range in ranges {
            self.batcher.learn(range);
        }
    }
}

/// Returns the failure that an error of the log is: a retry can cure everything but permanent errors.
fn of_log(error: BusError) -> Failure {
    match error.kind() {
        BusErrorKind::Transient | BusErrorKind::Conflict => {
            Failure::Retry { place: LOG, text: with_causes(&error), way_out: None }
        }
        BusErrorKind::Rejected | BusErrorKind::Permanent => Failure::Fatal(IngestError::Log(error)),
    }
}

/// Returns the failure that an error of a table is.
fn of_table(table: &'static str, error: LakeError) -> Failure {
    match error.kind() {
        LakeErrorKind::Transient | LakeErrorKind::Conflict => {
            Failure::Retry { place: table, text: with_causes(&error), way_out: error.way_out() }
        }
        LakeErrorKind::Rejected | LakeErrorKind::Permanent => Failure::Fatal(IngestError::Table { table, error }),
    }
}

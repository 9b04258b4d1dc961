//! Takes one step after another: silver to bronze, gold to silver.

use crate::counters::RefineCounters;
use crate::drawing::{Drawer, Drawing};
use crate::error::Trouble;
use crate::gold::Gold;
use crate::rebuild::{Rebuild, RebuildTables};
use crate::silver::Silver;
#[cfg(feature = "mutants")]
use crate::step::RefineRules;
use crate::step::{BRONZE_TABLE, Stepped, sequence_of};
use async_recursion::async_recursion as boxed;
use rva_analytics::Rules;
use rva_lake::{Lake, REFINE_JOB, TableView};
use rva_service::Traces;
use std::time::SystemTime;
use tokio::sync::watch;

/// Keeps silver and gold current from bronze.
pub struct Refine {
    lake: Lake,
    silver: Silver,
    gold: Gold,
    drawer: Option<Drawer>,
    traces: Traces,
    /// The position of silver in bronze that this process saw last; `None` before its first look.
    seen_at: Option<u64>,
    /// The totals so far.
    pub counters: RefineCounters,
}

impl Refine {
    /// Opens the tables, which are made where they are missing.
    ///
    /// # Errors
    /// Returns `Permanent` for a table with other columns, and the errors of the catalog.
    #[boxed]
    pub async fn open(lake: &Lake, rules: Rules) -> Result<Self, Trouble> {
        let lake = lake.for_job(REFINE_JOB);
        let silver = Silver::open(&lake, rules).await?;
        let gold = Gold::open(&lake, rules).await?;
        Ok(Self {
            lake,
            silver,
            gold,
            drawer: None,
            traces: Traces::default(),
            seen_at: None,
            counters: RefineCounters::default(),
        })
    }

    /// Returns the refinement with zones and lines that it draws before each step: the newest that `drawings` holds.
    /// Without them it reads `rva.zones` as it is.
    ///
    /// # Errors
    /// Returns the errors of [`Refine::open`].
    #[boxed]
    pub async fn with_drawings(mut self, drawings: watch::Receiver<Drawing>) -> Result<Self, Trouble> {
        self.drawer = Some(Drawer::open(&self.lake, drawings).await?);
        Ok(self)
    }

    /// Returns the refinement with a sender of traces: each step that takes commits of bronze which name a trace is one,
    /// linked with those.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.traces = traces;
        self
    }

    async fn draw(&mut self) -> Result<Stepped, Trouble> {
        match &mut self.drawer {
            Some(drawer) => drawer.step(&self.lake, &self.gold.seen).await,
            None => Ok(Stepped::Idle),
        }
    }

    /// Returns the refinement with another bound of the hours that it holds in memory, in bytes. Default 256 MiB; reaching
    /// it costs a scan of silver.
    #[must_use]
    pub fn hold_at_most(mut self, bytes: usize) -> Self {
        self.gold.hold_at_most(bytes);
        self
    }

    /// Returns the refinement with rules broken.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_rules(mut self, rules: RefineRules) -> Self {
        self.silver.kept = rules;
        self.gold.kept = rules;
        self
    }

    /// Brings every table to its input as it is now; each has its own position, so any call may be the last one.
    ///
    /// # Errors
    /// Returns the errors of catalog and storage, and `Permanent` for an input whose past is gone, or that is another
    /// table than before.
    #[boxed]
    pub async fn step(&mut self) -> Result<Stepped, Trouble> {
        let (before, began) = (self.seen_at, SystemTime::now());
        let drawn = self.draw().await?;
        let silver = self.silver.step(&self.lake, None, &mut self.counters).await?;
        let silver_at = SystemTime::now();
        let is_new = !self.silver.seen.is_subset(&self.gold.seen);
        self.gold.seen.append(&mut self.silver.seen);
        // The shapes of cameras that nobody had seen, before their first hours are worked out.
        let drawn = if is_new { drawn.and(self.draw().await?) } else { drawn };
        let gold = self.gold.step(&self.lake, None, &mut self.counters).await?;
        let bronze = self.look().await?;
        // What came before the first step of a process is no news of it.
        if let (Some(bronze), Some(before), true) = (bronze, before, self.traces.is_on()) {
            self.trace(&bronze, before, [began, silver_at, SystemTime::now()]);
        }
        Ok(drawn.and(silver).and(gold))
    }

    /// Steps until there is nothing to do.
    ///
    /// # Errors
    /// Returns the errors of [`Refine::step`].
    #[boxed]
    pub async fn drain(&mut self) -> Result<(), Trouble> {
        while self.step().await? == Stepped::Moved {}
        Ok(())
    }

    /// Works tables out again, whatever stands there, and then what is new.
    ///
    /// # Errors
    /// Returns the errors of [`Refine::step`].
    #[boxed]
    pub async fn rebuild(&mut self, rebuild: &Rebuild) -> Result<(), Trouble> {
        self.draw().await?;
        if rebuild.tables == RebuildTables::Silver {
            // A fenced attempt leaves a table as it was; what came meanwhile is a step.
            self.silver.step(&self.lake, Some(rebuild), &mut self.counters).await?;
        }
        while self.silver.step(&self.lake, None, &mut self.counters).await? == Stepped::Moved {}
        self.gold.step(&self.lake, Some(rebuild), &mut self.counters).await?;
        self.drain().await
    }

    /// Sends the trace of a step that brought silver on from a position of bronze: from when to when each part took.
    fn trace(&self, bronze: &TableView, before: u64, [began, silver_at, gold_at]: [SystemTime; 3]) {
        // What came meanwhile is the next step's.
        let reached = self.counters.position;
        if reached <= before {
            return;
        }
        let names = bronze.traceparents(before, reached);
        let Some(mut step) = self.traces.gather("refine", began, names.iter().map(String::as_str)) else { return };
        step.set("rva.commits", i64::try_from(reached - before).unwrap_or(i64::MAX));
        step.part("silver", began, silver_at);
        step.part("gold", silver_at, gold_at);
        step.end(gold_at);
    }

    /// Notes the positions of bronze and of the tables in the counters, and returns bronze.
    async fn look(&mut self) -> Result<Option<TableView>, Trouble> {
        let Some(bronze) = self.lake.view(BRONZE_TABLE).await? else { return Ok(None) };
        self.seen_at = Some(self.counters.position);
        self.counters.bronze = bronze.sequence();
        if let Some(frames) = self.lake.view("silver_frames").await? {
            let resume = self.lake.position_of(&frames).await?;
            self.counters.position = sequence_of(&resume.offsets, BRONZE_TABLE).unwrap_or(0);
            self.seen_at = Some(self.counters.position);
        }
        Ok(Some(bronze))
    }
}

//! Takes one step after another: silver to bronze, gold to silver.

use crate::counters::RefineCounters;
use crate::drawing::{Drawer, Drawing};
use crate::error::Trouble;
use crate::gold::Gold;
use crate::silver::Silver;
use rva_analytics::Rules;
use rva_lake::{Lake, REFINE_JOB};
use rva_types::{OffsetMap, Position, Timestamp};
use tokio::sync::watch;

/// The table that everything is made of.
pub(crate) const BRONZE_TABLE: &str = "bronze_raw";

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// There was nothing to do: all is as new as its input.
    Idle,
    /// Something was committed, or has to be looked at again.
    Moved,
}

impl Stepped {
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Idle { other } else { Self::Moved }
    }
}

/// Rules that a mutant breaks, to show that the suite notices. Without the feature `mutants` nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "only a build for tests names it"))]
pub struct RefineRules {
    /// Commits rows and position together; else the position goes first.
    pub together: bool,
    /// Works a touched track out whole, in every hour that it reaches.
    pub whole_tracks: bool,
    /// Writes again what replaced files held of other hours.
    pub keeps_others: bool,
    /// Works the time out again in which zones and lines are others than they were.
    pub redraws: bool,
    /// Adds new rows to hours in memory only where those are at the table's position.
    pub drops_hot: bool,
}

impl RefineRules {
    pub(crate) const KEPT: Self =
        Self { together: true, whole_tracks: true, keeps_others: true, redraws: true, drops_hot: true };
}

#[cfg(feature = "mutants")]
impl Default for RefineRules {
    fn default() -> Self {
        Self::KEPT
    }
}

/// A request to work tables out again although their rows stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The tables.
    pub tables: RebuildTables,
    /// The first moment and the end, in microseconds since 1970; `None`: all of time.
    pub span: Option<(i64, i64)>,
}

impl Rebuild {
    /// Parses a name, a first and a last day; no first day is all of time, no last day the first one.
    ///
    /// # Errors
    /// Returns found and wanted, with the flag that `rva refine` has for it.
    pub fn parse(table: &str, from: Option<&str>, to: Option<&str>) -> Result<Self, String> {
        let tables = RebuildTables::parse(table).ok_or_else(|| {
            format!("--rebuild: found {table:?}, wanted one of {}", RebuildTables::names().join(", "))
        })?;
        let Some(from) = from else { return Ok(Self { tables, span: None }) };
        let first = day("--from", from)?;
        let last = to.map_or(Ok(first), |to| day("--to", to))?;
        if last.1 <= first.0 {
            let to = to.unwrap_or_default();
            return Err(format!("--to: found {to}, wanted a day that isn't before {from}"));
        }
        Ok(Self { tables, span: Some((first.0, last.1)) })
    }
}

/// Returns a day's first moment and its end, in microseconds since 1970.
///
/// # Errors
/// Returns found and wanted, with the flag, where the text isn't a day like 2026-01-31.
pub fn day(flag: &str, text: &str) -> Result<(i64, i64), String> {
    const DAY_US: i64 = 86_400_000_000;
    let start = Timestamp::parse(&format!("{text}T00:00:00Z"));
    let start = start.map_err(|_| format!("{flag}: found {text:?}, wanted a day like 2026-01-31"))?;
    Ok((start.as_micros(), start.as_micros() + DAY_US))
}

/// The tables that are worked out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildTables {
    /// All of silver, and then all of gold.
    Silver,
    /// All of gold.
    Gold,
    /// One table of gold, by its name.
    One(String),
}

impl RebuildTables {
    /// Parses `silver`, `gold`, or the name of a table of gold; `None`: it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "silver" => Some(Self::Silver),
            "gold" => Some(Self::Gold),
            name => {
                let name = name.strip_prefix("rva.").unwrap_or(name);
                crate::gold::NAMES.contains(&name).then(|| Self::One(name.to_owned()))
            }
        }
    }

    /// Returns the names that can be asked for.
    pub fn names() -> Vec<&'static str> {
        ["silver", "gold"].into_iter().chain(crate::gold::NAMES).collect()
    }

    pub(crate) fn holds(&self, gold: &str) -> bool {
        match self {
            Self::Silver | Self::Gold => true,
            Self::One(name) => name == gold,
        }
    }
}

/// Returns a map of positions: numbers of snapshots by table.
pub(crate) fn position<const N: usize>(tables: [(&str, u64); N]) -> OffsetMap {
    let mut map = OffsetMap::new();
    for (table, number) in tables {
        map.advance(table, Position::of_record(number));
    }
    map
}

/// Returns the number that a map holds for a table.
pub(crate) fn sequence_of(map: &OffsetMap, table: &str) -> Option<u64> {
    map.get(table).map(|position| position.entry)
}

/// Keeps silver and gold current from bronze.
pub struct Refine {
    lake: Lake,
    silver: Silver,
    gold: Gold,
    drawer: Option<Drawer>,
    /// The totals so far.
    pub counters: RefineCounters,
}

impl Refine {
    /// Opens the tables, which are made where they are missing.
    ///
    /// # Errors
    /// Returns `Permanent` for a table with other columns, and the errors of the catalog.
    pub async fn open(lake: &Lake, rules: Rules) -> Result<Self, Trouble> {
        let lake = lake.for_job(REFINE_JOB);
        let silver = Silver::open(&lake, rules).await?;
        let gold = Gold::open(&lake, rules).await?;
        Ok(Self { lake, silver, gold, drawer: None, counters: RefineCounters::default() })
    }

    /// Returns the refinement with zones and lines that it draws before each step: the newest that `drawings` holds.
    /// Without them it reads `rva.zones` as it is.
    ///
    /// # Errors
    /// Returns the errors of [`Refine::open`].
    pub async fn with_drawings(mut self, drawings: watch::Receiver<Drawing>) -> Result<Self, Trouble> {
        self.drawer = Some(Drawer::open(&self.lake, drawings).await?);
        Ok(self)
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
    pub async fn step(&mut self) -> Result<Stepped, Trouble> {
        let drawn = self.draw().await?;
        let silver = self.silver.step(&self.lake, None, &mut self.counters).await?;
        let is_new = !self.silver.seen.is_subset(&self.gold.seen);
        self.gold.seen.append(&mut self.silver.seen);
        // The shapes of cameras that nobody had seen, before their first hours are worked out.
        let drawn = if is_new { drawn.and(self.draw().await?) } else { drawn };
        let gold = self.gold.step(&self.lake, None, &mut self.counters).await?;
        self.look().await?;
        Ok(drawn.and(silver).and(gold))
    }

    /// Steps until there is nothing to do.
    ///
    /// # Errors
    /// Returns the errors of [`Refine::step`].
    pub async fn drain(&mut self) -> Result<(), Trouble> {
        while self.step().await? == Stepped::Moved {}
        Ok(())
    }

    /// Works tables out again, whatever stands there, and then what is new.
    ///
    /// # Errors
    /// Returns the errors of [`Refine::step`].
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

    /// Notes the positions of bronze and of the tables in the counters.
    async fn look(&mut self) -> Result<(), Trouble> {
        let Some(bronze) = self.lake.view(BRONZE_TABLE).await? else { return Ok(()) };
        self.counters.bronze = bronze.sequence();
        if let Some(frames) = self.lake.view("silver_frames").await? {
            let resume = self.lake.position_of(&frames).await?;
            self.counters.position = sequence_of(&resume.offsets, BRONZE_TABLE).unwrap_or(0);
        }
        Ok(())
    }
}

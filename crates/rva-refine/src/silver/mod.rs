//! Turns bronze into silver: each row once, in the order of bronze's snapshots.
//!
//! The three tables have a position each, moved in the commit of their rows. Frames commit last: whoever reads
//! detections up to the position of frames misses none. After a crash between two commits the tables are at different
//! positions, and each goes on from its own.

mod rows;

use crate::counters::RefineCounters;
use crate::error::{Trouble, expired, permanent};
use crate::gold::extents::CameraOf;
use crate::rebuild::Rebuild;
use crate::step::{BRONZE_TABLE, RefineRules, Stepped, position, sequence_of};
use futures::TryStreamExt;
use rows::{StoreDay, Wanted, day_after};
use rva_analytics::Rules;
use rva_lake::{
    CommitOutcome, Lake, RefinedTable, Replaced, ResumePoint, RowChange, RowFilter, Shape, SilverDetections,
    SilverFrames, SilverRejects, Since, Span, Staged, TableView,
};
use rva_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use rows::{BRONZE, Exploder, SilverRows, day_of};

/// The most rows that are held before they are written.
const ROWS_MAX: usize = 50_000;

/// Detections, rejects and frames, in the order in which they are committed.
const SILVER_TABLES: [SilverTable; 3] = [SilverTable::Detections, SilverTable::Rejects, SilverTable::Frames];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SilverTable {
    Detections,
    Rejects,
    Frames,
}

impl SilverTable {
    fn take(self, rows: &mut SilverRows) -> Vec<rva_lake::Cells> {
        std::mem::take(match self {
            Self::Detections => &mut rows.detections,
            Self::Rejects => &mut rows.rejects,
            Self::Frames => &mut rows.frames,
        })
    }
}

/// A table that is being brought up to bronze.
struct Going<'a> {
    kind: SilverTable,
    table: &'a mut Box<dyn RefinedTable>,
    view: TableView,
    resume: ResumePoint,
    staged: Staged,
    replaced: Replaced,
}

/// The three tables of silver.
pub(crate) struct Silver {
    tables: Vec<Box<dyn RefinedTable>>,
    rules: Rules,
    #[cfg(feature = "mutants")]
    pub(crate) kept: RefineRules,
    /// The cameras of the rows that were exploded.
    pub(crate) seen: BTreeSet<CameraOf>,
}

/// The rows that bring a table up.
enum Plan {
    /// The rows of these files.
    Files(Vec<rva_lake::ChangedFile>),
    /// Every row since a moment, in microseconds since 1970; bronze doesn't have all of those before.
    All(i64),
    /// The rows of these days, and all rejects of their shops.
    Days(BTreeSet<StoreDay>),
}

impl Silver {
    #[cfg(feature = "mutants")]
    const fn kept(&self) -> RefineRules {
        self.kept
    }

    #[cfg(not(feature = "mutants"))]
    const fn kept(&self) -> RefineRules {
        RefineRules::KEPT
    }

    pub(crate) async fn open(lake: &Lake, rules: Rules) -> Result<Self, Trouble> {
        let tables = vec![
            lake.refined::<SilverDetections>().await?,
            lake.refined::<SilverRejects>().await?,
            lake.refined::<SilverFrames>().await?,
        ];
        Ok(Self {
            tables,
            rules,
            #[cfg(feature = "mutants")]
            kept: RefineRules::KEPT,
            seen: BTreeSet::new(),
        })
    }

    /// Brings all three tables to bronze as it is now.
    pub(crate) async fn step(
        &mut self,
        lake: &Lake,
        rebuild: Option<&Rebuild>,
        counters: &mut RefineCounters,
    ) -> Result<Stepped, Trouble> {
        let Some(bronze) = lake.view(BRONZE_TABLE).await? else { return Ok(Stepped::Idle) };
        let mut resumes = Vec::new();
        for table in &mut self.tables {
            resumes.push(table.resume_point().await?);
        }
        // Tables at one position are brought up together: bronze is read once.
        let mut groups: BTreeMap<Option<u64>, Vec<usize>> = BTreeMap::new();
        for (at, resume) in resumes.iter().enumerate() {
            check_source(&bronze, resume, rebuild.is_some(), self.tables[at].name())?;
            let is_of_it = resume.source.as_deref() == Some(bronze.identity().as_str());
            let from = sequence_of(&resume.offsets, BRONZE_TABLE).filter(|_| is_of_it);
            if from.unwrap_or(0) != bronze.sequence() || rebuild.is_some() {
                groups.entry(from).or_default().push(at);
            }
        }
        let (mut stepped, mut views) = (Stepped::Idle, Vec::new());
        if !groups.is_empty() {
            for table in &mut self.tables {
                views.push(table.view().await?);
            }
        }
        let since = whole_since(&bronze, &views);
        for (from, places) in groups {
            let follower = match places.first() {
                Some(at) if !bronze.keeps_history() => Some(self.tables[*at].view().await?),
                _ => None,
            };
            // Silver that wasn't made yet has nothing that could stay.
            let since = if from.is_some() { since } else { i64::MIN };
            let plan = self.plan(&bronze, (from, since), follower.as_ref(), rebuild, counters).await?;
            let resumes: Vec<_> = places.iter().map(|at| (*at, resumes[*at].clone())).collect();
            stepped = stepped.and(self.bring_up(&bronze, &plan, resumes, counters).await?);
        }
        Ok(stepped)
    }

    async fn plan(
        &self,
        bronze: &TableView,
        (from, since): (Option<u64>, i64),
        follower: Option<&TableView>,
        rebuild: Option<&Rebuild>,
        counters: &mut RefineCounters,
    ) -> Result<Plan, Trouble> {
        if let Some(rebuild) = rebuild {
            return self.rebuilt(bronze, since, rebuild).await;
        }
        match bronze.since_seen(from, follower).await? {
            Since::Appended(files) => Ok(Plan::Files(files)),
            Since::Everything => Ok(Plan::All(since)),
            Since::Expired => Err(expired(BRONZE_TABLE, from, "silver")),
            Since::Changed { added, removed } => {
                counters.corrections += 1;
                tracing::warn!(
                    files_added = added.len(),
                    files_removed = removed.len(),
                    "somebody changed rows of bronze: the days that they lie in are worked out again"
                );
                let mut days = BTreeSet::new();
                let mut exploder = Exploder::of(self.rules);
                for file in added.iter().chain(&removed) {
                    let read = bronze.rows_of_file(file, BRONZE, |rows| {
                        for row in &rows {
                            let (store, day) = exploder.day(row);
                            // A row that is a reject alone has no day, but its shop is named; so it is with one that
                            // bronze doesn't have whole any more.
                            days.insert((store, day.filter(|day| *day >= since).unwrap_or(i64::MIN)));
                        }
                        Ok(())
                    });
                    read.await?;
                }
                Ok(Plan::Days(days))
            }
        }
    }

    /// Returns the plan of a rebuild: everything, or the days of its span in every shop.
    async fn rebuilt(&self, bronze: &TableView, since: i64, rebuild: &Rebuild) -> Result<Plan, Trouble> {
        let Some((from_us, to_us)) = rebuild.span else { return Ok(Plan::All(since)) };
        let mut stores = BTreeSet::new();
        let mut stream = std::pin::pin!(bronze.scan(&BRONZE[5..6], &RowFilter::default()).await?);
        while let Some(rows) = stream.try_next().await? {
            stores.extend(rows.iter().filter_map(|row| crate::ids::text(row, 0).cloned()));
        }
        let mut days = BTreeSet::new();
        for store in stores {
            let mut day = day_of(from_us).max(since);
            while day < to_us {
                days.insert((Arc::clone(&store), day));
                day = day_after(day);
            }
        }
        Ok(Plan::Days(days))
    }

    async fn bring_up(
        &mut self,
        bronze: &TableView,
        plan: &Plan,
        resumes: Vec<(usize, ResumePoint)>,
        counters: &mut RefineCounters,
    ) -> Result<Stepped, Trouble> {
        let rules_kept = self.kept();
        let mut going = Vec::new();
        for (at, table) in self.tables.iter_mut().enumerate() {
            let Some((_, resume)) = resumes.iter().find(|(place, _)| *place == at) else { continue };
            let view = table.view().await?;
            let replaced = replaced(SILVER_TABLES[at], table, &view, plan).await?;
            let (staged, resume) = (Staged::default(), resume.clone());
            going.push(Going { kind: SILVER_TABLES[at], table, view, resume, staged, replaced });
        }
        let mut exploder = Exploder::of(self.rules);
        let mut rows = SilverRows::default();
        match plan {
            Plan::Files(files) => {
                for file in files {
                    let now = Timestamp::from(SystemTime::now());
                    let read = bronze.rows_of_file(file, BRONZE, |found| {
                        found.iter().for_each(|row| exploder.add(row, now, &mut rows, counters));
                        Ok(())
                    });
                    read.await?;
                    flush(&mut going, &mut rows, ROWS_MAX).await?;
                }
            }
            Plan::All(since) => {
                exploder.wanted = Wanted::Since(*since);
                read_all(bronze, RowFilter::default(), &mut exploder, &mut going, &mut rows, counters).await?;
            }
            Plan::Days(days) => {
                exploder.wanted = Wanted::Days(days.clone());
                let stores: BTreeSet<&Arc<str>> = days.iter().map(|(store, _)| store).collect();
                for store in stores {
                    let filter = RowFilter { texts: vec![("store_id", store.to_string())], ..RowFilter::default() };
                    read_all(bronze, filter, &mut exploder, &mut going, &mut rows, counters).await?;
                }
            }
        }
        self.seen.append(&mut exploder.seen);
        for going in &mut going {
            let kept = std::mem::take(&mut going.replaced.kept);
            going.table.stage(&going.view, kept, &mut going.staged).await?;
        }
        flush(&mut going, &mut rows, 0).await?;
        let mut stepped = Stepped::Idle;
        for mut going in going {
            if !rules_kept.together {
                position_first(&mut going, bronze).await?;
            }
            stepped = stepped.and(commit(going, bronze, counters).await?);
        }
        Ok(stepped)
    }
}

/// Returns the first day since which bronze has all that silver was made of, and silver all that was made of it, in
/// microseconds since 1970. Rows of days before may have gone by their age, and what silver has of those days stays as
/// it is.
pub(crate) fn whole_since(bronze: &TableView, silver: &[TableView]) -> i64 {
    // Rejects age by when they were found: they say nothing of days.
    let timed = silver.iter().filter(|view| view.name() != SilverRejects::TABLE);
    let since = timed.chain([bronze]).filter_map(TableView::whole_since).max();
    since.map_or(i64::MIN, |since| day_after(day_of(since.saturating_sub(1))))
}

/// Refuses a position that is one in another bronze than this, unless silver is rebuilt.
fn check_source(bronze: &TableView, resume: &ResumePoint, rebuilds: bool, name: &str) -> Result<(), Trouble> {
    match &resume.source {
        Some(source) if *source != bronze.identity() && !rebuilds => {
            let found = bronze.identity();
            Err(permanent(format!(
                "found table {found}, wanted {source}, which rva.{name} was made of: bring that table back, or make \
                 silver of this one with `rva refine --rebuild silver`"
            )))
        }
        _ => Ok(()),
    }
}

/// Finds the files that a plan replaces, and takes over the rows of them that it doesn't.
async fn replaced(
    kind: SilverTable,
    table: &mut Box<dyn RefinedTable>,
    view: &TableView,
    plan: &Plan,
) -> Result<Replaced, Trouble> {
    match plan {
        Plan::Files(_) => Ok(Replaced::default()),
        Plan::All(since) => {
            // Rejects have no capture time.
            let from_us = if kind == SilverTable::Rejects { i64::MIN } else { *since };
            let first = usize::from(kind == SilverTable::Detections);
            let keeps = |row: &rva_lake::Cells| crate::ids::whole(row, first + 4).is_some_and(|at| at < from_us);
            let all = Span { store: None, from_us, to_us: i64::MAX };
            Ok(table.replace(view, &[all], &|row| kind != SilverTable::Rejects && keeps(row)).await?)
        }
        Plan::Days(days) if kind == SilverTable::Rejects => {
            let stores: BTreeSet<Arc<str>> = days.iter().map(|(store, _)| Arc::clone(store)).collect();
            let whole = |store: &Arc<str>| Span { store: Some(Arc::clone(store)), from_us: i64::MIN, to_us: i64::MAX };
            let spans: Vec<Span> = stores.iter().map(whole).collect();
            let keeps = move |row: &rva_lake::Cells| !crate::ids::text(row, 1).is_some_and(|at| stores.contains(at));
            Ok(table.replace(view, &spans, &keeps).await?)
        }
        Plan::Days(days) => {
            let span = |(store, day): &StoreDay| Span {
                store: Some(Arc::clone(store)),
                from_us: *day,
                to_us: day_after(*day),
            };
            let spans: Vec<Span> = days.iter().map(span).collect();
            // Store and capture time stand a place later where the version stands first.
            let first = usize::from(kind == SilverTable::Detections);
            let keeps = move |row: &rva_lake::Cells| {
                let day = crate::ids::whole(row, first + 4).map(day_of);
                let store = crate::ids::text(row, first + 1);
                !matches!((store, day), (Some(store), Some(day)) if days.contains(&(Arc::clone(store), day)))
            };
            Ok(table.replace(view, &spans, &keeps).await?)
        }
    }
}

async fn read_all(
    bronze: &TableView,
    filter: RowFilter,
    exploder: &mut Exploder,
    going: &mut [Going<'_>],
    rows: &mut SilverRows,
    counters: &mut RefineCounters,
) -> Result<(), Trouble> {
    let mut stream = std::pin::pin!(bronze.scan(BRONZE, &filter).await?);
    while let Some(found) = stream.try_next().await? {
        let now = Timestamp::from(SystemTime::now());
        found.iter().for_each(|row| exploder.add(row, now, rows, counters));
        flush(going, rows, ROWS_MAX).await?;
    }
    Ok(())
}

/// Writes what is held, if it is more than `most`.
async fn flush(going: &mut [Going<'_>], rows: &mut SilverRows, most: usize) -> Result<(), Trouble> {
    if rows.detections.len() + rows.frames.len() + rows.rejects.len() <= most {
        return Ok(());
    }
    for going in going {
        let own = going.kind.take(rows);
        going.table.stage(&going.view, own, &mut going.staged).await?;
    }
    // What belongs to a table that is further already.
    *rows = SilverRows::default();
    Ok(())
}

/// Commits the position before the rows, which must never be done: a crash between the two commits loses rows.
async fn position_first(going: &mut Going<'_>, bronze: &TableView) -> Result<(), Trouble> {
    let to = position([(BRONZE_TABLE, bronze.sequence())]);
    let (from, source) = (going.resume.offsets.clone(), bronze.identity());
    let (staged, replaced) = (Staged::default(), Replaced::default());
    let change = RowChange { source, from, to, staged, replaced };
    going.table.commit(&going.view, &change).await?;
    going.view = going.table.view().await?;
    going.resume = going.table.resume_point().await?;
    Ok(())
}

async fn commit(going: Going<'_>, bronze: &TableView, counters: &mut RefineCounters) -> Result<Stepped, Trouble> {
    let Going { table, view, resume, mut staged, replaced, .. } = going;
    staged.saw(bronze).await?;
    let to = position([(BRONZE_TABLE, bronze.sequence())]);
    let change = RowChange { source: bronze.identity(), from: resume.offsets, to, staged, replaced };
    counters.commit(table.name(), table.commit(&view, &change).await?)
}

/// Counts the outcome of a commit.
impl RefineCounters {
    pub(crate) fn commit(&mut self, table: &'static str, outcome: CommitOutcome) -> Result<Stepped, Trouble> {
        match outcome {
            CommitOutcome::Committed { .. } => {
                *self.commits.entry(table).or_default() += 1;
                Ok(Stepped::Moved)
            }
            CommitOutcome::Fenced(_) => {
                self.fenced += 1;
                tracing::info!(table, "somebody else changed the table meanwhile: it is worked out again");
                Ok(Stepped::Moved)
            }
            CommitOutcome::Conflicting(_) => Err(permanent(format!("found conflicting rows in rva.{table}"))),
        }
    }
}

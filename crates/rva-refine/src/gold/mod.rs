//! Turns silver into gold: the hours that new rows touch are worked out again, and replaced.
//!
//! Rows of silver since a table's position say which hours of which cameras are touched, and by which tracks. A track
//! is one path from its first detection to its last, so every hour that a touched track reaches is touched too. The new
//! rows of those hours are `rva-analytics`' function of silver; the files that held the hours go, what they held of
//! other hours is written again, and the position moves, all in one commit.

pub(crate) mod extents;
mod hot;
mod hours;
mod load;
pub(crate) mod rows;
mod touched;
mod work;
pub(crate) mod zones;

use crate::counters::RefineCounters;
use crate::error::Trouble;
use crate::ids::{text, whole};
use crate::rebuild::Rebuild;
use crate::silver::day_of;
use crate::step::{BRONZE_TABLE, RefineRules, Stepped, position, sequence_of};
use extents::{CameraOf, Extents};
use hot::Hot;
use hours::CameraHour;
use load::StoreSilver;
use rows::{NAMES, TIME_AT, cells_of};
use rva_analytics::{HourRows, Rules, Zones, hour_of};
use rva_lake::{
    CameraMinute, Cells, HourByCam, Lake, LineCrossings, MinuteByCam, PeoplePerMinute, RefinedTable, Replaced,
    ResumePoint, RowChange, Shape, Span, Staged, TableView, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute,
    ZoneTable, ZoneVisits,
};
use rva_types::OffsetMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::OnceCell;
use touched::{Reached, Touched};
use work::StoreWork;

const HOUR_US: i64 = 3_600_000_000;

const DAY_US: i64 = 24 * HOUR_US;

/// The most cameras of a shop that are read together.
const CAMERAS_AT_ONCE: usize = 8;

/// The most hours of cameras that are read at once.
const CAMERA_HOURS_AT_ONCE: usize = 8;

/// The most rows of all tables that are held before they are written.
const ROWS_MAX: usize = 30_000;

/// The ten tables of gold.
pub(crate) struct Gold {
    tables: Vec<Box<dyn RefinedTable>>,
    rules: Rules,
    #[cfg(feature = "mutants")]
    pub(crate) kept: RefineRules,
    /// The cameras that were worked out.
    pub seen: BTreeSet<CameraOf>,
    hot: Hot,
}

/// The inputs at one moment.
struct Input {
    frames: TableView,
    detections: TableView,
    /// The zones that were drawn, and the table of them.
    zones: Zones,
    drawn: TableView,
    /// The identities of all three tables, and the positions up to which they are read.
    source: String,
    to: OffsetMap,
}

impl Input {
    fn keeps_history(&self) -> bool {
        [&self.frames, &self.detections, &self.drawn].iter().all(|view| view.keeps_history())
    }
}

/// A table that is being brought up to its input.
struct Going<'a> {
    at: usize,
    table: &'a mut Box<dyn RefinedTable>,
    view: TableView,
    resume: ResumePoint,
    staged: Staged,
    replaced: Replaced,
    rows: Vec<Cells>,
}

impl Gold {
    #[cfg(feature = "mutants")]
    const fn kept(&self) -> RefineRules {
        self.kept
    }

    #[cfg(not(feature = "mutants"))]
    const fn kept(&self) -> RefineRules {
        RefineRules::KEPT
    }

    pub(crate) async fn open(lake: &Lake, rules: Rules) -> Result<Self, Trouble> {
        // Made here too: gold reads it, whoever draws.
        lake.refined::<ZoneTable>().await?;
        let tables = vec![
            lake.refined::<TrackSummary>().await?,
            lake.refined::<MinuteByCam>().await?,
            lake.refined::<HourByCam>().await?,
            lake.refined::<PeoplePerMinute>().await?,
            lake.refined::<CameraMinute>().await?,
            lake.refined::<ZoneHeatmap>().await?,
            lake.refined::<ZoneDwell>().await?,
            lake.refined::<ZoneVisits>().await?,
            lake.refined::<ZoneMinute>().await?,
            lake.refined::<LineCrossings>().await?,
        ];
        Ok(Self {
            tables,
            rules,
            seen: BTreeSet::new(),
            hot: Hot::default(),
            #[cfg(feature = "mutants")]
            kept: RefineRules::KEPT,
        })
    }

    /// Returns the inputs; `None`: there is nothing yet, or silver's tables aren't at one position, which its next step
    /// brings about.
    async fn input(lake: &Lake) -> Result<Option<Input>, Trouble> {
        let (frames, detections) = (lake.view("silver_frames").await?, lake.view("silver_detections").await?);
        let drawn = lake.view(ZoneTable::TABLE).await?;
        let (Some(frames), Some(detections), Some(drawn)) = (frames, detections, drawn) else { return Ok(None) };
        let of_bronze = |resume: ResumePoint| (resume.source.clone(), sequence_of(&resume.offsets, BRONZE_TABLE));
        let positions = (lake.position_of(&frames).await?, lake.position_of(&detections).await?);
        if frames.sequence() == 0 || of_bronze(positions.0) != of_bronze(positions.1) {
            return Ok(None);
        }
        let source = format!("{}+{}+{}", frames.identity(), detections.identity(), drawn.identity());
        let to = position([
            ("silver_frames", frames.sequence()),
            ("silver_detections", detections.sequence()),
            (ZoneTable::TABLE, drawn.sequence()),
        ]);
        let zones = zones::read(&drawn).await?;
        Ok(Some(Input { frames, detections, zones, drawn, source, to }))
    }

    /// Holds at most so many bytes of hours in memory.
    pub(crate) fn hold_at_most(&mut self, bytes: usize) {
        self.hot.bytes_max = bytes;
    }

    /// Brings every table to silver as it is now.
    pub(crate) async fn step(
        &mut self,
        lake: &Lake,
        rebuild: Option<&Rebuild>,
        counters: &mut RefineCounters,
    ) -> Result<Stepped, Trouble> {
        let Some(input) = Self::input(lake).await? else { return Ok(Stepped::Idle) };
        // Tables at one position are brought up together; the one that knows the tracks' extents goes before the
        // others.
        let mut groups: Vec<(OffsetMap, Vec<(usize, ResumePoint)>)> = Vec::new();
        for (at, table) in self.tables.iter_mut().enumerate() {
            let resume = table.resume_point().await?;
            let known = resume.source.as_deref() == Some(input.source.as_str());
            let from = if known { resume.offsets.clone() } else { OffsetMap::new() };
            let asked = rebuild.is_some_and(|rebuild| rebuild.tables.holds(NAMES[at]));
            if from == input.to && !asked {
                continue;
            }
            match groups.iter_mut().find(|(held, _)| *held == from) {
                Some((_, tables)) => tables.push((at, resume)),
                None => groups.push((from, vec![(at, resume)])),
            }
        }
        let mut stepped = Stepped::Idle;
        for (from, resumes) in groups {
            let follower = match resumes.first() {
                Some((at, _)) if !input.keeps_history() => Some(self.tables[*at].view().await?),
                _ => None,
            };
            let since = self.whole_since(&input, &resumes).await?;
            let reached = Reached { offsets: &from, follower: follower.as_ref() };
            let mut touched = self.touched(reached, &input, rebuild, since, counters).await?;
            touched.begin_at(since);
            self.seen.extend(touched.hours.keys().cloned());
            stepped = stepped.and(self.bring_up(lake, &input, touched, rebuild, resumes, counters).await?);
        }
        Ok(stepped)
    }

    /// Returns the moment since which silver has all that some tables were made of; `None`: it lost nothing of it.
    /// Tables that weren't made yet have nothing that could stay.
    async fn whole_since(&mut self, input: &Input, resumes: &[(usize, ResumePoint)]) -> Result<Option<i64>, Trouble> {
        let Some(since) = whole_since(&input.frames, &input.detections) else { return Ok(None) };
        for (at, _) in resumes {
            if self.tables[*at].view().await?.sequence() > 0 {
                return Ok(Some(since));
            }
        }
        Ok(None)
    }

    async fn touched(
        &self,
        reached: Reached<'_>,
        input: &Input,
        rebuild: Option<&Rebuild>,
        since: Option<i64>,
        counters: &mut RefineCounters,
    ) -> Result<Touched, Trouble> {
        let Input { frames, detections, .. } = input;
        let span = rebuild.map(|rebuild| rebuild.span);
        if span == Some(None) {
            return Touched::all(frames, None).await;
        }
        // What is late for an hour that stays as it is takes the long way.
        let is_whole =
            |touched: &Touched| touched.hours.values().flatten().all(|hour| since.is_none_or(|since| *hour >= since));
        let mut touched = match self.fresh(reached, input, rebuild).await?.filter(is_whole) {
            Some(touched) => touched,
            None => Touched::since(reached, frames, detections, counters).await?,
        };
        if !touched.everything && self.kept().redraws {
            match zones::redrawn(&input.drawn, reached.of(ZoneTable::TABLE), reached.follower).await? {
                Some(redrawn) => {
                    if !redrawn.is_empty() {
                        touched.fresh = None;
                    }
                    for redrawn in redrawn {
                        touched.redrawn(frames, detections, &redrawn).await?;
                    }
                }
                None => touched = Touched::all(frames, None).await?,
            }
        }
        if let Some(Some(span)) = span {
            for (camera, hours) in Touched::all(frames, Some(span)).await?.hours {
                touched.hours.entry(camera).or_default().extend(hours);
            }
        }
        Ok(touched)
    }

    /// Returns what new rows touch, where all that was before is held in memory.
    async fn fresh(
        &self,
        reached: Reached<'_>,
        input: &Input,
        rebuild: Option<&Rebuild>,
    ) -> Result<Option<Touched>, Trouble> {
        let is_held = self.hot.is_at(&input.source, reached.offsets) || !self.kept().drops_hot;
        match is_held && rebuild.is_none() {
            true => Touched::fresh(reached, &input.frames, &input.detections).await,
            false => Ok(None),
        }
    }

    async fn bring_up(
        &mut self,
        lake: &Lake,
        input: &Input,
        touched: Touched,
        rebuild: Option<&Rebuild>,
        resumes: Vec<(usize, ResumePoint)>,
        counters: &mut RefineCounters,
    ) -> Result<Stepped, Trouble> {
        let rules_kept = self.kept();
        let mut going = Vec::new();
        for (at, table) in self.tables.iter_mut().enumerate() {
            let Some((_, resume)) = resumes.iter().find(|(place, _)| *place == at) else { continue };
            let (view, resume) = (table.view().await?, resume.clone());
            let (staged, replaced) = (Staged::default(), Replaced::default());
            going.push(Going { at, table, view, resume, staged, replaced, rows: Vec::new() });
        }
        let summary = lake.view(NAMES[0]).await?;
        // What stands in gold may be wrong where somebody asks for it anew.
        let trusted = summary.filter(|_| !touched.everything && rebuild.is_none());
        let rules = self.rules;
        let mut done: BTreeMap<CameraOf, BTreeSet<i64>> = BTreeMap::new();
        match touched.fresh {
            Some(_) => self.hot.moves(),
            None => self.hot.clear(),
        }
        for group in groups(&touched) {
            let Some((store, _)) = group.first().cloned() else { continue };
            let work = StoreWork {
                silver: StoreSilver {
                    store: &store,
                    cameras: group.iter().map(|(_, camera)| Arc::clone(camera)).collect(),
                    frames: &input.frames,
                    detections: &input.detections,
                },
                zones: &input.zones,
                rules: &rules,
                summary: trusted.as_ref(),
                scanned: OnceCell::new(),
                whole_tracks: rules_kept.whole_tracks,
            };
            let none = Extents::new();
            if let ([camera], Some(fresh)) = (group.as_slice(), &touched.fresh) {
                let (Some(fresh), changed) = (fresh.get(camera), touched.tracks.get(camera).unwrap_or(&none)) else {
                    continue;
                };
                let (rows, mut hours) = self.hot.take(camera, fresh, changed, &work).await?;
                hours.retain(|hour| touched.is_whole(*hour));
                counters.hours += hours.len() as u64;
                for going in &mut going {
                    let rows = cells_of(going.at, &rows).into_iter();
                    going
                        .rows
                        .extend(rows.filter(|row| hour_at(going.at, row).is_some_and(|hour| touched.is_whole(hour))));
                }
                done.insert(camera.clone(), hours);
                continue;
            }
            let changed: Extents = group
                .iter()
                .filter_map(|camera| touched.tracks.get(camera))
                .flatten()
                .map(|(k, v)| (k.clone(), *v))
                .collect();
            let of_camera = |camera: &CameraOf| {
                let hours = touched.hours.get(camera).into_iter().flatten();
                hours.map(|hour| (Arc::clone(&camera.1), *hour)).collect::<Vec<_>>()
            };
            let mut hours: BTreeSet<CameraHour> = group.iter().flat_map(of_camera).collect();
            if !touched.everything {
                // Of everything there is nothing beyond.
                hours = work.reached(hours, &changed).await?;
                hours.retain(|(_, hour)| touched.is_whole(*hour));
            }
            let newest = hours.iter().map(|(_, hour)| *hour).max().unwrap_or_default();
            for chunk in chunks(&hours) {
                let mut held = work.load(&chunk, &changed).await?;
                let rows = work.rows(&mut held, &chunk.iter().map(|(_, hour)| *hour).collect());
                // What new rows will touch is the last hour: of a backlog nothing else is worth its memory.
                held.keep_hours(|hour| hour == newest);
                self.hot.keep(&store, held);
                counters.hours += chunk.len() as u64;
                going.iter_mut().for_each(|going| going.rows.extend(cells_of(going.at, &rows)));
                if touched.everything {
                    make_room(&mut going).await?;
                }
            }
            for (camera, hour) in hours {
                done.entry((Arc::clone(&store), camera)).or_default().insert(hour);
            }
        }
        self.hot.moved(&input.source, &input.to);
        let mut stepped = Stepped::Idle;
        for mut going in going {
            find_replaced(&mut going, &touched, &done, rebuild).await?;
            if !rules_kept.keeps_others {
                going.replaced.kept.clear();
            }
            going.rows.append(&mut going.replaced.kept);
            stage(&mut going, &hot_hours(&done)).await?;
            stepped = stepped.and(commit(going, input, counters).await?);
        }
        Ok(stepped)
    }
}

/// Returns the hour since which silver has all that gold was made of, in microseconds since 1970; `None`: no row went by
/// its age. A track that is in it may have begun before: it is whole where it began up to a day before.
pub(crate) fn whole_since(frames: &TableView, detections: &TableView) -> Option<i64> {
    let since = frames.whole_since().max(detections.whole_since())?;
    Some(hour_of(since.saturating_add(DAY_US + HOUR_US - 1)))
}

/// Groups cameras of one shop that are read together; of new rows alone each camera is a group.
fn groups(touched: &Touched) -> Vec<Vec<CameraOf>> {
    let most = if touched.fresh.is_some() { 1 } else { CAMERAS_AT_ONCE };
    let mut groups: Vec<Vec<CameraOf>> = Vec::new();
    for camera in touched.hours.keys() {
        match groups.last_mut() {
            Some(group) if group.len() < most && group.last().is_some_and(|(store, _)| *store == camera.0) => {
                group.push(camera.clone());
            }
            _ => groups.push(vec![camera.clone()]),
        }
    }
    groups
}

/// Splits hours of cameras into parts of neighbouring hours, none larger than what is held at once.
fn chunks(wanted: &BTreeSet<CameraHour>) -> Vec<BTreeSet<CameraHour>> {
    let mut by_hour: BTreeMap<i64, Vec<CameraHour>> = BTreeMap::new();
    for (camera, hour) in wanted {
        by_hour.entry(*hour).or_default().push((Arc::clone(camera), *hour));
    }
    let mut chunks: Vec<BTreeSet<CameraHour>> = Vec::new();
    let mut before = None;
    for (hour, cameras) in by_hour {
        match chunks.last_mut() {
            Some(chunk) if before == Some(hour - HOUR_US) && chunk.len() + cameras.len() <= CAMERA_HOURS_AT_ONCE => {
                chunk.extend(cameras);
            }
            _ => chunks.push(cameras.into_iter().collect()),
        }
        before = Some(hour);
    }
    chunks
}

/// Returns the hour of a row of the table at a place in [`NAMES`].
fn hour_at(at: usize, row: &Cells) -> Option<i64> {
    whole(row, TIME_AT[at]).map(hour_of)
}

/// Returns the hours that were worked out, by shop.
fn hot_hours(done: &BTreeMap<CameraOf, BTreeSet<i64>>) -> BTreeSet<(Arc<str>, i64)> {
    let of = |(camera, hours): (&CameraOf, &BTreeSet<i64>)| {
        let store = Arc::clone(&camera.0);
        hours.iter().map(|hour| (Arc::clone(&store), *hour)).collect::<Vec<_>>()
    };
    done.iter().flat_map(of).collect()
}

/// Finds the files that held the hours, and takes over what they hold of others.
async fn find_replaced(
    going: &mut Going<'_>,
    touched: &Touched,
    done: &BTreeMap<CameraOf, BTreeSet<i64>>,
    rebuild: Option<&Rebuild>,
) -> Result<(), Trouble> {
    let hot = hot_hours(done);
    let hour = |(store, hour): &(Arc<str>, i64)| Span {
        store: Some(Arc::clone(store)),
        from_us: *hour,
        to_us: hour.saturating_add(HOUR_US),
    };
    let mut spans: Vec<Span> = hot.iter().map(hour).collect();
    let since = touched.since.unwrap_or(i64::MIN);
    let rebuilt = rebuild.and_then(|rebuild| rebuild.span).map(|(from_us, to_us)| (from_us.max(since), to_us));
    spans.extend(rebuilt.filter(|(from_us, to_us)| from_us < to_us).map(|(from_us, to_us)| Span {
        store: None,
        from_us,
        to_us,
    }));
    if touched.everything {
        spans = vec![Span { store: None, from_us: since, to_us: i64::MAX }];
    }
    let at = going.at;
    let keeps = |row: &Cells| {
        let (Some(store), Some(camera), Some(time)) = (text(row, 0), text(row, 1), hour_at(at, row)) else {
            return false;
        };
        let is_done = done.get(&(Arc::clone(store), Arc::clone(camera))).is_some_and(|hours| hours.contains(&time));
        let is_rebuilt = rebuilt.is_some_and(|(from, to)| time >= from && time < to);
        !(is_done || (touched.everything && time >= since) || is_rebuilt)
    };
    if !spans.is_empty() {
        going.replaced = going.table.replace(&going.view, &spans, &keeps).await?;
    }
    Ok(())
}

/// Writes rows, of the table that holds most, until all tables together hold no more than [`ROWS_MAX`].
async fn make_room(going: &mut [Going<'_>]) -> Result<(), Trouble> {
    while going.iter().map(|going| going.rows.len()).sum::<usize>() > ROWS_MAX {
        let Some(largest) = going.iter_mut().max_by_key(|going| going.rows.len()) else { break };
        stage(largest, &BTreeSet::new()).await?;
    }
    Ok(())
}

/// Writes the rows held: hot hours of a shop in files of their own, the others by day.
async fn stage(going: &mut Going<'_>, hot: &BTreeSet<(Arc<str>, i64)>) -> Result<(), Trouble> {
    let few = hot.len() <= 48;
    let mut files: BTreeMap<(Arc<str>, i64, bool), Vec<Cells>> = BTreeMap::new();
    for row in std::mem::take(&mut going.rows) {
        let (Some(store), Some(hour)) = (text(&row, 0), hour_at(going.at, &row)) else { continue };
        let is_hot = few && hot.contains(&(Arc::clone(store), hour));
        let key = (Arc::clone(store), if is_hot { hour } else { day_of(hour) }, is_hot);
        files.entry(key).or_default().push(row);
    }
    for mut rows in files.into_values() {
        rows.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        going.table.stage(&going.view, rows, &mut going.staged).await?;
    }
    Ok(())
}

async fn commit(going: Going<'_>, input: &Input, counters: &mut RefineCounters) -> Result<Stepped, Trouble> {
    let Going { table, view, resume, mut staged, replaced, .. } = going;
    for view in [&input.frames, &input.detections, &input.drawn] {
        staged.saw(view).await?;
    }
    let (source, to) = (input.source.clone(), input.to.clone());
    let change = RowChange { source, from: resume.offsets, to, staged, replaced };
    counters.commit(table.name(), table.commit(&view, &change).await?)
}

/// Returns the rows of every table of gold, by its name, that the definition makes of some rows.
#[doc(hidden)]
pub fn gold_cells(rows: &HourRows) -> Vec<(&'static str, Vec<Cells>)> {
    NAMES.iter().enumerate().map(|(at, name)| (*name, cells_of(at, rows))).collect()
}

//! Turns silver into gold: the hours that new rows touch are worked out again, and replaced.
//!
//! Rows of silver since a table's position say which hours of which cameras are touched, and by which tracks. A track
//! is one path from its first detection to its last, so every hour that a touched track reaches is touched too. The new
//! rows of those hours are `rva-analytics`' function of silver; the files that held the hours go, what they held of
//! other hours is written again, and the position moves, all in one commit.

mod load;
mod rows;
mod touched;
mod zones;

use crate::counters::RefineCounters;
use crate::error::Trouble;
use crate::ids::{text, whole};
use crate::refine::{BRONZE_TABLE, Rebuild, RefineRules, Stepped, position, sequence_of};
use crate::silver::day_of;
use load::CameraSilver;
use rows::{TIME_AT, cells_of};
use rva_analytics::{
    CameraHourKey, HourPartial, HourRows, Rules, TrackKey, TrackOutcome, TrackPath, Zones, hour_key, hour_of,
    track_points,
};
use rva_lake::{
    CameraMinute, Cells, HourByCam, Lake, LineCrossings, MinuteByCam, PeoplePerMinute, RefinedTable, Replaced,
    ResumePoint, RowChange, Shape, Span, Staged, TableView, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute,
    ZoneTable, ZoneVisits,
};
use rva_types::{CameraId, OffsetMap, StoreId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::OnceCell;
use touched::{Extents, Touched, widen};

pub(crate) use rows::NAMES;
pub(crate) use touched::CameraOf;
pub(crate) use zones::definition_of;

const HOUR_US: i64 = 3_600_000_000;

/// The most hours of a camera that are held at the same time.
const HOURS_AT_ONCE: usize = 4;

/// The most rows that are held before they are written.
const ROWS_MAX: usize = 200_000;

/// The ten tables of gold.
pub(crate) struct Gold {
    tables: Vec<Box<dyn RefinedTable>>,
    rules: Rules,
    /// See [`RefineRules`].
    pub switched: RefineRules,
    /// The cameras that were worked out.
    pub seen: BTreeSet<CameraOf>,
}

/// The inputs at one moment.
struct Input {
    frames: TableView,
    detections: TableView,
    /// What was drawn, and the table of it.
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
        Ok(Self { tables, rules, switched: RefineRules::default(), seen: BTreeSet::new() })
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
            let touched = self.touched((&from, follower.as_ref()), &input, rebuild, counters).await?;
            self.seen.extend(touched.hours.keys().cloned());
            stepped = stepped.and(self.bring_up(lake, &input, touched, rebuild, resumes, counters).await?);
        }
        Ok(stepped)
    }

    async fn touched(
        &self,
        from: (&OffsetMap, Option<&TableView>),
        input: &Input,
        rebuild: Option<&Rebuild>,
        counters: &mut RefineCounters,
    ) -> Result<Touched, Trouble> {
        let Input { frames, detections, .. } = input;
        let span = rebuild.map(|rebuild| rebuild.span);
        if span == Some(None) {
            return Touched::all(frames, None).await;
        }
        let mut touched = Touched::since(from, frames, detections, counters).await?;
        if !touched.everything && self.switched.redraws {
            match zones::redrawn(&input.drawn, (sequence_of(from.0, ZoneTable::TABLE), from.1)).await? {
                Some(redrawn) => {
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

    async fn bring_up(
        &mut self,
        lake: &Lake,
        input: &Input,
        touched: Touched,
        rebuild: Option<&Rebuild>,
        resumes: Vec<(usize, ResumePoint)>,
        counters: &mut RefineCounters,
    ) -> Result<Stepped, Trouble> {
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
        for (camera, hours) in &touched.hours {
            let ids = (StoreId::parse(Arc::clone(&camera.0)), CameraId::parse(Arc::clone(&camera.1)));
            // Silver holds none that are none.
            let (Ok(store_id), Ok(camera_id)) = ids else { continue };
            let silver = CameraSilver {
                store: &store_id,
                camera: &camera_id,
                frames: &input.frames,
                detections: &input.detections,
            };
            let none = Extents::new();
            let changed = touched.tracks.get(camera).unwrap_or(&none);
            let work = CameraWork {
                silver,
                zones: &input.zones,
                rules: &rules,
                summary: trusted.as_ref(),
                scanned: OnceCell::new(),
                whole_tracks: self.switched.whole_tracks,
            };
            // Of everything there is nothing beyond.
            let hours = if touched.everything { hours.clone() } else { work.reached(hours, changed).await? };
            for chunk in chunks(&hours) {
                let rows = work.rows(&chunk, changed).await?;
                counters.hours += chunk.len() as u64;
                for going in &mut going {
                    going.rows.extend(cells_of(going.at, &rows));
                    if touched.everything && going.rows.len() > ROWS_MAX {
                        stage(going, &BTreeSet::new()).await?;
                    }
                }
            }
            done.insert(camera.clone(), hours);
        }
        let mut stepped = Stepped::Idle;
        for mut going in going {
            find_replaced(&mut going, &touched, &done, rebuild).await?;
            if !self.switched.keeps_others {
                going.replaced.kept.clear();
            }
            going.rows.append(&mut going.replaced.kept);
            stage(&mut going, &hot_hours(&done)).await?;
            stepped = stepped.and(commit(going, input, counters).await?);
        }
        Ok(stepped)
    }
}

/// Splits hours into runs of neighbours, none longer than what is held at once.
fn chunks(hours: &BTreeSet<i64>) -> Vec<Vec<i64>> {
    let mut chunks: Vec<Vec<i64>> = Vec::new();
    for hour in hours {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < HOURS_AT_ONCE && chunk.last() == Some(&(hour - HOUR_US)) => chunk.push(*hour),
            _ => chunks.push(vec![*hour]),
        }
    }
    chunks
}

/// Works out the rows of one camera.
struct CameraWork<'a> {
    silver: CameraSilver<'a>,
    zones: &'a Zones,
    rules: &'a Rules,
    /// The table of tracks, where the extents in it can be relied on.
    summary: Option<&'a TableView>,
    /// The extents from the detections themselves, where they can't; read once.
    scanned: OnceCell<Extents>,
    whole_tracks: bool,
}

impl CameraWork<'_> {
    /// Returns the first and the last moment of tracks: as stored, widened by those of `changed`.
    async fn extents(&self, tracks: &Extents, changed: &Extents) -> Result<Extents, Trouble> {
        let mut extents = match self.summary {
            Some(summary) => {
                let runs = tracks.keys().map(|(run, _)| Arc::clone(run)).collect();
                self.silver.known_extents(summary, &runs).await?
            }
            None => {
                let all = self.scanned.get_or_try_init(|| self.silver.all_extents()).await?;
                tracks.keys().filter_map(|track| Some((track.clone(), *all.get(track)?))).collect()
            }
        };
        for (track, (first, last)) in changed {
            widen(&mut extents, track.clone(), *first, *last);
        }
        extents.retain(|track, _| tracks.contains_key(track));
        Ok(extents)
    }

    /// Returns the touched hours, and every other that a changed track has a detection in.
    async fn reached(&self, hours: &BTreeSet<i64>, changed: &Extents) -> Result<BTreeSet<i64>, Trouble> {
        let mut hours = hours.clone();
        if changed.is_empty() || !self.whole_tracks {
            return Ok(hours);
        }
        let extents = self.extents(changed, changed).await?;
        let outside: Extents = extents
            .into_iter()
            .filter(|(_, (first, last))| !(hours.contains(&hour_of(*first)) && hour_of(*first) == hour_of(*last)))
            .collect();
        let Some((first, last)) = bounds(&outside) else { return Ok(hours) };
        for (_, point) in self.silver.points(&outside, first, last.saturating_add(1)).await? {
            hours.insert(hour_of(point.at_us));
        }
        Ok(hours)
    }

    /// Returns the rows of some neighbouring hours.
    async fn rows(&self, chunk: &[i64], changed: &Extents) -> Result<HourRows, Trouble> {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return Ok(HourRows::default()) };
        let (from_us, to_us) = (*first, last.saturating_add(HOUR_US));
        let zones = self.zones.of(self.silver.store, self.silver.camera);
        let mut hours: BTreeMap<CameraHourKey, HourPartial> = BTreeMap::new();
        let mut paths: BTreeMap<TrackKey, (TrackPath, BTreeSet<i64>)> = BTreeMap::new();
        for rows in self.silver.frames(from_us, to_us).await? {
            let hour = hour_key(&rows);
            for (track, point) in track_points(&rows) {
                let (path, of_hours) = paths.entry(track).or_default();
                path.push(point);
                of_hours.insert(hour.hour_us);
            }
            hours.entry(hour).or_default().absorb(&rows, zones, self.rules);
        }
        for (track, point) in self.outside(&paths, changed, from_us, to_us).await? {
            if let Some((path, _)) = paths.get_mut(&track) {
                path.push(point);
            }
        }
        let mut outcomes: BTreeMap<i64, Vec<TrackOutcome>> = BTreeMap::new();
        for (key, (path, of_hours)) in paths {
            let Some(outcome) = path.outcome(key, zones, self.rules) else { continue };
            for hour in of_hours {
                outcomes.entry(hour).or_default().push(outcome.clone());
            }
        }
        let mut all = HourRows::default();
        for (key, partial) in hours {
            let tracks = outcomes.remove(&key.hour_us).unwrap_or_default();
            all.append(partial.rows(&key, &tracks));
        }
        Ok(all)
    }

    /// Returns the points of a stretch's tracks before and after it.
    async fn outside(
        &self,
        paths: &BTreeMap<TrackKey, (TrackPath, BTreeSet<i64>)>,
        changed: &Extents,
        from_us: i64,
        to_us: i64,
    ) -> Result<Vec<(TrackKey, rva_analytics::TrackPoint)>, Trouble> {
        let tracks: Extents = paths.keys().map(|key| ((Arc::from(key.run.as_str()), key.track_id), (0, 0))).collect();
        let mut extents = self.extents(&tracks, changed).await?;
        extents.retain(|_, (first, last)| self.whole_tracks && (*first < from_us || *last >= to_us));
        let Some((first, last)) = bounds(&extents) else { return Ok(Vec::new()) };
        let mut points = self.silver.points(&extents, first, from_us).await?;
        points.extend(self.silver.points(&extents, to_us, last.saturating_add(1)).await?);
        Ok(points)
    }
}

/// Returns the first and the last moment of all, in microseconds since 1970.
fn bounds(extents: &Extents) -> Option<(i64, i64)> {
    let first = extents.values().map(|(first, _)| *first).min()?;
    Some((first, extents.values().map(|(_, last)| *last).max()?))
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
    let rebuilt = rebuild.and_then(|rebuild| rebuild.span);
    spans.extend(rebuilt.map(|(from_us, to_us)| Span { store: None, from_us, to_us }));
    if touched.everything {
        spans = vec![Span { store: None, from_us: i64::MIN, to_us: i64::MAX }];
    }
    let at = going.at;
    let keeps = |row: &Cells| {
        let (Some(store), Some(camera), Some(time)) = (text(row, 0), text(row, 1), hour_at(at, row)) else {
            return false;
        };
        let is_done = done.get(&(Arc::clone(store), Arc::clone(camera))).is_some_and(|hours| hours.contains(&time));
        let is_rebuilt = rebuilt.is_some_and(|(from, to)| time >= from && time < to);
        !(touched.everything || is_done || is_rebuilt)
    };
    if !spans.is_empty() {
        going.replaced = going.table.replace(&going.view, &spans, &keeps).await?;
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

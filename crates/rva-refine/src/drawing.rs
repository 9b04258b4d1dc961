//! Writes what the configuration draws into `rva.zones`.
//!
//! The table says what was valid when; the configuration says what is wanted now. A change of one becomes a change of
//! the other when the drawing is taken: at the start, or when the configuration is read again. What that makes of the
//! rows is `rva-analytics`' business ([`redraw`]).

use crate::error::{Trouble, permanent};
use crate::gold::{extents::CameraOf, zones::definition_of};
use crate::ids::{Ids, text_cell};
use crate::step::{Stepped, sequence_of};
use async_recursion::async_recursion as boxed;
use rva_analytics::{Drawn, ZoneDefinition, redraw};
use rva_lake::{
    Cell, CellKind, Cells, CommitOutcome, HourByCam, Lake, LakeError, LakeErrorKind, REFINE_JOB, RefinedTable,
    RowChange, RowFilter, Shape, Span, Staged, ZoneTable,
};
use rva_service::{Config, ZoneConfig};
use rva_types::{CameraId, Position, StoreId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// A shop and one of its cameras.
type Camera = (StoreId, CameraId);

/// The source of the table's rows, and the key under which their changes are counted.
const SOURCE: &str = "configuration";

/// The number of times that a change is worked out again because somebody else was first.
const ATTEMPTS_MAX: usize = 8;

/// The letters by which a pattern of ids is told from an id.
const WILD: [char; 3] = ['*', '?', '['];

/// The shapes that a configuration wants, and the moment at which it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Patterns of store and camera with their shape: those that go before others of their name stand first.
    entries: Vec<(glob::Pattern, glob::Pattern, Drawn)>,
    /// The cameras that are known: those that are named by their ids, and those that somebody opens.
    known: BTreeSet<Camera>,
    taken_us: i64,
}

impl Drawing {
    /// Takes the zones and lines of a configuration that was read at `taken`, which is when those that don't say it
    /// begin to be valid.
    ///
    /// # Errors
    /// Returns `Permanent` for a pattern or an id that is none; a checked configuration has no such.
    pub fn of(config: &Config, taken: Timestamp) -> Result<Self, Trouble> {
        let mut drawing = Self { entries: Vec::new(), known: BTreeSet::new(), taken_us: taken.as_micros() };
        for (id, camera) in &config.cameras {
            let store = camera.store.as_ref().unwrap_or(&config.store_id);
            for zone in &camera.zones {
                drawing.add(&glob::Pattern::escape(store), &glob::Pattern::escape(id), zone)?;
                drawing.name(store, id)?;
            }
        }
        let is_wild = |zone: &&ZoneConfig| zone.camera.as_ref().is_none_or(|camera| camera.contains(WILD));
        let exact = config.zones.iter().filter(|zone| !is_wild(zone));
        for zone in exact.chain(config.zones.iter().filter(is_wild)) {
            let (store, camera) = (zone.store.as_ref(), zone.camera.as_deref().unwrap_or("*"));
            let own = glob::Pattern::escape(&config.store_id);
            drawing.add(store.unwrap_or(&own), camera, zone)?;
            let store = store.unwrap_or(&config.store_id);
            if !store.contains(WILD) && !camera.contains(WILD) {
                drawing.name(store, camera)?;
            }
        }
        Ok(drawing)
    }

    fn add(&mut self, store: &str, camera: &str, zone: &ZoneConfig) -> Result<(), Trouble> {
        let pattern = |text: &str| glob::Pattern::new(text).map_err(|error| permanent(format!("{text:?}: {error}")));
        let valid_from_us = zone.valid_from.map(Timestamp::as_micros);
        let drawn = Drawn { name: Arc::from(zone.name.as_str()), shape: zone.shape.clone(), valid_from_us };
        self.entries.push((pattern(store)?, pattern(camera)?, drawn));
        Ok(())
    }

    fn name(&mut self, store: &str, camera: &str) -> Result<(), Trouble> {
        let store = StoreId::parse(store).map_err(|error| permanent(error.to_string()))?;
        let camera = CameraId::parse(camera).map_err(|error| permanent(error.to_string()))?;
        self.known.insert((store, camera));
        Ok(())
    }

    /// Adds cameras that somebody opens: patterns find them before there is a row of them.
    #[must_use]
    pub fn with_cameras(mut self, cameras: impl IntoIterator<Item = (StoreId, CameraId)>) -> Self {
        self.known.extend(cameras);
        self
    }

    /// Returns whether nothing is drawn.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the shapes of a camera; of two of one name the one that goes before.
    fn shapes_of(&self, (store, camera): &Camera) -> Vec<Drawn> {
        let mut shapes: Vec<Drawn> = Vec::new();
        for (stores, cameras, drawn) in &self.entries {
            let is_here = stores.matches(store.as_str()) && cameras.matches(camera.as_str());
            if is_here && !shapes.iter().any(|held| held.name == drawn.name) {
                shapes.push(drawn.clone());
            }
        }
        shapes
    }
}

/// Keeps `rva.zones` what the newest drawing says.
pub(crate) struct Drawer {
    table: Box<dyn RefinedTable>,
    drawings: watch::Receiver<Drawing>,
    /// The cameras that were looked at with this drawing; `None`: it wasn't taken yet.
    looked_at: Option<BTreeSet<Camera>>,
}

impl Drawer {
    /// Opens the table, which is made where it is missing.
    pub(crate) async fn open(lake: &Lake, mut drawings: watch::Receiver<Drawing>) -> Result<Self, Trouble> {
        drawings.mark_unchanged();
        Ok(Self { table: lake.refined::<ZoneTable>().await?, drawings, looked_at: None })
    }

    /// Writes what is new: of a drawing that wasn't taken yet everything, and later the shapes of cameras that nobody
    /// had seen.
    pub(crate) async fn step(&mut self, lake: &Lake, seen: &BTreeSet<CameraOf>) -> Result<Stepped, Trouble> {
        if self.drawings.has_changed().unwrap_or(false) {
            self.looked_at = None;
        }
        let drawing = self.drawings.borrow_and_update().clone();
        let mut cameras: BTreeSet<Camera> = seen.iter().filter_map(camera_of).collect();
        match &self.looked_at {
            Some(looked_at) => cameras.retain(|camera| !looked_at.contains(camera)),
            None => cameras.extend(all_seen(lake).await?.into_iter().chain(drawing.known.iter().cloned())),
        }
        if self.looked_at.is_some() && cameras.is_empty() {
            return Ok(Stepped::Idle);
        }
        let stepped = self.draw(&drawing, &mut cameras).await?;
        self.looked_at.get_or_insert_default().extend(cameras);
        Ok(stepped)
    }

    /// Draws the shapes of some cameras, and with a drawing that wasn't taken yet also of those that the table has.
    async fn draw(&mut self, drawing: &Drawing, cameras: &mut BTreeSet<Camera>) -> Result<Stepped, Trouble> {
        for _ in 0..ATTEMPTS_MAX {
            let (resume, view) = (self.table.resume_point().await?, self.table.view().await?);
            let mut ids = Ids::default();
            let (mut held, mut unreadable) = (BTreeMap::<Camera, Vec<ZoneDefinition>>::new(), Vec::new());
            for row in view.rows(ZoneTable::COLUMNS, &RowFilter::default()).await? {
                match definition_of(&mut ids, &row) {
                    Ok(row) => held.entry((row.store.clone(), row.camera.clone())).or_default().push(row),
                    Err(_) => unreadable.push(row),
                }
            }
            if self.looked_at.is_none() {
                cameras.extend(held.keys().cloned());
            }
            let mut is_other = false;
            for camera in cameras.iter() {
                let mut old = held.remove(camera).unwrap_or_default();
                old.sort_by(|a, b| (&a.name, a.valid_from_us).cmp(&(&b.name, b.valid_from_us)));
                let wanted = drawing.shapes_of(camera);
                let new = redraw(&old, &camera.0, &camera.1, &wanted, drawing.taken_us);
                if new != old {
                    tell(&old, &new);
                    is_other = true;
                }
                held.insert(camera.clone(), new);
            }
            if !is_other {
                return Ok(Stepped::Idle);
            }
            unreadable.extend(held.values().flatten().map(cells_of));
            let all = Span { store: None, from_us: i64::MIN, to_us: i64::MAX };
            let replaced = self.table.replace(&view, &[all], &|_| false).await?;
            let mut staged = Staged::default();
            if !unreadable.is_empty() {
                self.table.stage(&view, unreadable, &mut staged).await?;
            }
            let number = sequence_of(&resume.offsets, SOURCE).unwrap_or(0) + 1;
            let mut to = resume.offsets.clone();
            to.advance(SOURCE, Position::of_record(number));
            let change = RowChange { source: SOURCE.to_owned(), from: resume.offsets, to, staged, replaced };
            if matches!(self.table.commit(&view, &change).await?, CommitOutcome::Committed { .. }) {
                return Ok(Stepped::Moved);
            }
        }
        let text = format!("could not change rva.zones in {ATTEMPTS_MAX} attempts: somebody else was always first");
        Err(LakeError::new(LakeErrorKind::Conflict, text))
    }
}

/// Takes a drawing without bringing anything else up: what it draws is valid from then on, whoever reads it later.
///
/// # Errors
/// Returns the errors of catalog and storage, and `Permanent` for a table with other columns.
#[boxed]
pub async fn draw(lake: &Lake, drawing: Drawing) -> Result<(), Trouble> {
    let lake = lake.for_job(REFINE_JOB);
    let (_sender, drawings) = watch::channel(drawing);
    Drawer::open(&lake, drawings).await?.step(&lake, &BTreeSet::new()).await.map(drop)
}

fn camera_of((store, camera): &CameraOf) -> Option<Camera> {
    Some((StoreId::parse(Arc::clone(store)).ok()?, CameraId::parse(Arc::clone(camera)).ok()?))
}

/// Says which shapes begin and end.
fn tell(old: &[ZoneDefinition], new: &[ZoneDefinition]) {
    let time = |micros: i64| Timestamp::from_micros(micros).to_string();
    let told = |row: &ZoneDefinition, what: &str| {
        tracing::info!(
            store = row.store.as_str(),
            camera = row.camera.as_str(),
            name = &*row.name,
            kind = row.shape.kind(),
            from = time(row.valid_from_us),
            to = row.valid_to_us.map(time),
            "{what}"
        );
    };
    new.iter().filter(|row| !old.contains(row) && row.valid_to_us.is_none()).for_each(|row| told(row, "drew a shape"));
    let is_over =
        |row: &&ZoneDefinition| !new.iter().any(|other| other.name == row.name && other.valid_to_us.is_none());
    old.iter().filter(|row| row.valid_to_us.is_none()).filter(is_over).for_each(|row| told(row, "ended a shape"));
}

/// Returns every camera that gold knows.
async fn all_seen(lake: &Lake) -> Result<BTreeSet<Camera>, Trouble> {
    const IDS: &rva_lake::Columns = &[("store_id", CellKind::Text), ("camera_id", CellKind::Text)];
    let Some(hours) = lake.view(HourByCam::TABLE).await? else { return Ok(BTreeSet::new()) };
    let rows = hours.rows(IDS, &RowFilter::default()).await?;
    let ids = |row: &Cells| Some((Arc::clone(row.first()?.text()?), Arc::clone(row.get(1)?.text()?)));
    Ok(rows.iter().filter_map(ids).collect::<BTreeSet<_>>().iter().filter_map(camera_of).collect())
}

fn cells_of(row: &ZoneDefinition) -> Cells {
    vec![
        text_cell(row.store.as_str()),
        text_cell(row.camera.as_str()),
        text_cell(&row.name),
        text_cell(row.shape.kind()),
        text_cell(&row.shape.points()),
        Cell::Time(row.valid_from_us),
        row.valid_to_us.map_or(Cell::Null, Cell::Time),
    ]
}

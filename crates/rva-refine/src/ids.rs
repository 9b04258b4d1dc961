//! Converts cells to the nouns of the definition, and back.

use rva_analytics::FrameKey;
use rva_lake::{Cell, Cells};
use rva_types::{CameraId, RunId, StoreId, Timestamp};
use std::sync::Arc;

/// Parses identifiers, each once though it comes again with every row.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    store: Option<StoreId>,
    camera: Option<CameraId>,
    run: Option<RunId>,
}

/// Returns the text of a cell; `None`: it holds something else, or isn't there.
pub(crate) fn text(cells: &Cells, at: usize) -> Option<&Arc<str>> {
    cells.get(at).and_then(Cell::text)
}

/// Returns the whole number of a cell; `None`: it holds something else, or isn't there.
pub(crate) fn whole(cells: &Cells, at: usize) -> Option<i64> {
    cells.get(at).and_then(Cell::whole)
}

/// Returns the whole number of a cell as one of 32 bits; `None` also where it doesn't fit.
pub(crate) fn small(cells: &Cells, at: usize) -> Option<i32> {
    whole(cells, at).and_then(|number| i32::try_from(number).ok())
}

/// Returns a text as a cell.
pub(crate) fn text_cell(text: &str) -> Cell {
    Cell::Text(Arc::from(text))
}

/// Returns a moment as a cell.
pub(crate) fn time_cell(time: Timestamp) -> Cell {
    Cell::Time(time.as_micros())
}

/// Returns a number that may be missing as a cell.
pub(crate) fn double_cell(number: Option<f64>) -> Cell {
    number.map_or(Cell::Null, Cell::Double)
}

impl Ids {
    pub(crate) fn store(&mut self, text: &str) -> Option<StoreId> {
        if self.store.as_ref().is_none_or(|held| held.as_str() != text) {
            self.store = Some(StoreId::parse(text).ok()?);
        }
        self.store.clone()
    }

    pub(crate) fn camera(&mut self, text: &str) -> Option<CameraId> {
        if self.camera.as_ref().is_none_or(|held| held.as_str() != text) {
            self.camera = Some(CameraId::parse(text).ok()?);
        }
        self.camera.clone()
    }

    pub(crate) fn run(&mut self, text: &str) -> Option<RunId> {
        if self.run.as_ref().is_none_or(|held| held.as_str() != text) {
            self.run = Some(RunId::parse(text).ok()?);
        }
        self.run.clone()
    }

    /// Returns the key of a frame from four cells, run, store, camera and frame index; `None`: one of them is none.
    pub(crate) fn frame_key(&mut self, cells: &Cells, at: [usize; 4]) -> Option<FrameKey> {
        Some(FrameKey {
            run: self.run(text(cells, at[0])?)?,
            store: self.store(text(cells, at[1])?)?,
            camera: self.camera(text(cells, at[2])?)?,
            frame_index: whole(cells, at[3])?,
        })
    }
}

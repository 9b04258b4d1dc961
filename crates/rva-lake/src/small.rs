//! Tables of a few rows, for the unit tests of what looks after files.

use crate::cells::{Cell, CellKind, Cells, Shape};
use crate::lake::Lake;
use crate::refined::{RefinedTable, Replaced, RowChange, Span, Staged};
use crate::view::TableView;
use rva_types::Position;
use std::path::{Path, PathBuf};

/// Returns a row with what `of` says of a column, and the same for all others of a kind.
pub(crate) fn row<T: Shape>(of: impl Fn(&str) -> Option<Cell>) -> Cells {
    let cell = |(name, kind): &(&str, CellKind)| {
        of(name).unwrap_or_else(|| match kind {
            CellKind::Text => Cell::Text("a".into()),
            CellKind::Long => Cell::Long(1),
            CellKind::Int => Cell::Int(1),
            CellKind::Double => Cell::Double(1.0),
            CellKind::Time => Cell::Time(1),
        })
    };
    T::COLUMNS.iter().map(cell).collect()
}

async fn commit(table: &mut dyn RefinedTable, view: &TableView, rows: Vec<Cells>, replaced: Replaced) {
    let resume = table.resume_point().await.unwrap();
    let mut staged = Staged::default();
    table.stage(view, rows, &mut staged).await.unwrap();
    let mut to = resume.offsets.clone();
    let next = resume.offsets.get("in").map_or(1, |position| position.entry + 1);
    to.advance("in", Position::of_record(next));
    let change = RowChange { source: "in".into(), from: resume.offsets, to, staged, replaced };
    table.commit(view, &change).await.unwrap();
}

/// Adds rows to a table in one commit.
pub(crate) async fn add_rows<T: Shape>(lake: &Lake, rows: Vec<Cells>) {
    let mut table = lake.refined::<T>().await.unwrap();
    let view = table.view().await.unwrap();
    commit(table.as_mut(), &view, rows, Replaced::default()).await;
}

/// Adds a row to a table, in as many commits.
pub(crate) async fn add<T: Shape>(lake: &Lake, commits: usize) {
    for _ in 0..commits {
        add_rows::<T>(lake, vec![row::<T>(|_| None)]).await;
    }
}

/// Puts a row in the place of all others, in as many commits.
pub(crate) async fn replace<T: Shape>(lake: &Lake, commits: usize) {
    let mut table = lake.refined::<T>().await.unwrap();
    for _ in 0..commits {
        let view = table.view().await.unwrap();
        let all = Span { store: None, from_us: i64::MIN, to_us: i64::MAX };
        let replaced = table.replace(&view, &[all], &|_| false).await.unwrap();
        commit(table.as_mut(), &view, vec![row::<T>(|_| None)], replaced).await;
    }
}

/// Returns the files below a folder whose names end so.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// Returns the manifests, and lists of them, below a folder.
pub(crate) fn avro_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, ".avro")
}

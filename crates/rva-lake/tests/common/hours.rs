//! Rows of `gold_hour_by_cam`, an hour each, and the way to put others in their place.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part; a panic is how a test fails")]

use crate::common::at;
use iceberg::TableIdent;
use rva_lake::{Cell, Cells, CommitOutcome, Lake, RefinedTable, RowChange, RowFilter, Span, Staged};
use std::collections::BTreeSet;
use std::sync::Arc;

const HOUR_US: i64 = 3_600_000_000;

/// A row whose count tells rows apart.
fn row(hour: i64, count: i64) -> Cells {
    let text = |text: &str| Cell::Text(Arc::from(text));
    vec![text("a"), text("cam"), Cell::Time(hour * HOUR_US), Cell::Long(count), Cell::Long(1), Cell::Double(0.5)]
}

fn span(hour: i64) -> Span {
    Span { store: Some(Arc::from("a")), from_us: hour * HOUR_US, to_us: (hour + 1) * HOUR_US }
}

/// Replaces the rows of hours by one row each.
pub async fn planned(table: &mut dyn RefinedTable, hours: &[i64], count: i64) -> (rva_lake::TableView, RowChange) {
    let resume = table.resume_point().await.unwrap();
    let view = table.view().await.unwrap();
    let spans: Vec<Span> = hours.iter().map(|hour| span(*hour)).collect();
    let asked: BTreeSet<i64> = hours.iter().map(|hour| hour * HOUR_US).collect();
    let keeps = move |row: &Cells| !asked.contains(&row[2].whole().unwrap());
    let mut replaced = table.replace(&view, &spans, &keeps).await.unwrap();
    let mut rows: Vec<Cells> = hours.iter().map(|hour| row(*hour, count)).collect();
    rows.append(&mut replaced.kept);
    let mut staged = Staged::default();
    table.stage(&view, rows, &mut staged).await.unwrap();
    let next = resume.offsets.get("in").map_or(1, |position| position.entry + 1);
    let change = RowChange { source: "in|1".into(), from: resume.offsets, to: at(&[("in", next)]), staged, replaced };
    (view, change)
}

pub async fn put(table: &mut dyn RefinedTable, hours: &[i64], count: i64) {
    let (view, change) = planned(table, hours, count).await;
    let outcome = table.commit(&view, &change).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
}

/// Hour and count of every row.
pub async fn rows(lake: &Lake) -> Vec<(i64, i64)> {
    let view = lake.view("gold_hour_by_cam").await.unwrap().unwrap();
    let columns: &rva_lake::Columns =
        &[("ts_hour", rva_lake::CellKind::Time), ("detection_count", rva_lake::CellKind::Long)];
    let found = view.rows(columns, &RowFilter::default()).await.unwrap();
    let mut found: Vec<_> =
        found.iter().map(|row| (row[0].whole().unwrap() / HOUR_US, row[1].whole().unwrap())).collect();
    found.sort_unstable();
    found
}

/// Manifests of the newest snapshot.
pub async fn manifests(lake: &Lake) -> usize {
    let ident = TableIdent::from_strs(["rva", "gold_hour_by_cam"]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let current = table.metadata().current_snapshot().unwrap().clone();
    table.manifest_list_reader(&current).load().await.unwrap().entries().len()
}

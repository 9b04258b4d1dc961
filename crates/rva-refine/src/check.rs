//! Works silver out again from bronze and compares, row by row.

use crate::counters::RefineCounters;
use crate::error::Trouble;
use crate::gold;
use crate::ids::whole;
use crate::silver::{self, BRONZE, Exploder, SilverRows};
use crate::step::BRONZE_TABLE;
use async_recursion::async_recursion as boxed;
use futures::TryStreamExt;
use rva_analytics::Rules;
use rva_lake::{Cell, Cells, Columns, Lake, RowFilter, Shape, SilverDetections, SilverFrames, SilverRejects};
use rva_types::Timestamp;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The most differing rows that are shown of a table.
const SHOWN_MAX: usize = 20;

/// A moment behind all others that SQL can still name, which counts nanoseconds: in the year 2262.
const ALWAYS_US: i64 = i64::MAX / 1_000;

/// A row that stands on one side alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// `true` for a row that stands in the table and should not, `false` for one that is missing.
    pub is_extra: bool,
    /// The row, without its processing time.
    pub row: Cells,
}

/// The tables of silver with their columns, and the place of the capture time where there is one.
const TABLES: [(&str, &Columns, Option<usize>); 3] = [
    (SilverFrames::TABLE, SilverFrames::COLUMNS, Some(4)),
    (SilverDetections::TABLE, SilverDetections::COLUMNS, Some(5)),
    (SilverRejects::TABLE, SilverRejects::COLUMNS, None),
];

/// Counts, by a number of the row, how often each row is wanted, less how often it stands there.
struct Balance {
    hashes: RandomState,
    count: [HashMap<u64, i64>; 3],
}

impl Balance {
    /// Returns the number of a row, without its last column, which is when somebody worked.
    fn number(&self, row: &Cells) -> u64 {
        let told = row.get(..row.len().saturating_sub(1)).unwrap_or(row);
        self.hashes.hash_one(format!("{told:?}"))
    }

    fn add(&mut self, at: usize, row: &Cells, by: i64) {
        let number = self.number(row);
        let held = self.count[at].entry(number).or_default();
        *held += by;
        if *held == 0 {
            self.count[at].remove(&number);
        }
    }
}

fn is_within(row: &Cells, at: Option<usize>, span: Option<(i64, i64)>) -> bool {
    match (at.and_then(|at| whole(row, at)), span) {
        (Some(time), Some((from, to))) => time >= from && time < to,
        _ => true,
    }
}

/// Returns every row of silver that isn't what bronze says, at most 20 of each table. A span is a first moment and an
/// end of the capture time, in microseconds since 1970, without which all is compared; rejects have no capture time and
/// are compared whole.
///
/// Days of which bronze or silver lost rows by their age aren't compared; then rejects aren't either.
#[boxed]
pub async fn check_silver(lake: &Lake, rules: &Rules, span: Option<(i64, i64)>) -> Result<Vec<Difference>, Trouble> {
    let mut views = Vec::new();
    for (table, ..) in TABLES {
        views.extend(lake.view(table).await?);
    }
    let bronze = lake.view(BRONZE_TABLE).await?;
    let since = bronze.map_or(i64::MIN, |bronze| silver::whole_since(&bronze, &views));
    let span = clipped(span, since);
    let is_told = |at: usize| since == i64::MIN || TABLES[at].2.is_some();
    let mut balance = Balance { hashes: RandomState::new(), count: Default::default() };
    wanted(lake, rules, |at, row| {
        if is_told(at) && is_within(row, TABLES[at].2, span) {
            balance.add(at, row, 1)
        }
    })
    .await?;
    stored(lake, span, |at, row| {
        if is_told(at) {
            balance.add(at, row, -1)
        }
    })
    .await?;
    let mut found = Vec::new();
    if balance.count.iter().all(HashMap::is_empty) {
        return Ok(found);
    }
    let note = |at: usize, row: &Cells, sign: i64, found: &mut Vec<Difference>| {
        let table = TABLES[at].0;
        let differs = balance.count[at].get(&balance.number(row)).is_some_and(|count| count.signum() == sign);
        if differs && found.iter().filter(|other| other.table == table).count() < SHOWN_MAX {
            found.push(Difference { table, is_extra: sign < 0, row: row[..row.len() - 1].to_vec() });
        }
    };
    wanted(lake, rules, |at, row| note(at, row, 1, &mut found)).await?;
    stored(lake, span, |at, row| note(at, row, -1, &mut found)).await?;
    Ok(found)
}

/// Returns the part of a span that begins at a moment or later.
fn clipped(span: Option<(i64, i64)>, since: i64) -> Option<(i64, i64)> {
    match span {
        None if since == i64::MIN => None,
        None => Some((since, ALWAYS_US)),
        Some((from, to)) => Some((from.max(since), to)),
    }
}

/// Returns the part of a span of which silver has all that gold was made of; `None`: all of time.
///
/// # Errors
/// Fails as catalog and storage do.
#[boxed]
pub async fn whole_of_gold(lake: &Lake, span: Option<(i64, i64)>) -> Result<Option<(i64, i64)>, Trouble> {
    let (frames, detections) = (lake.view("silver_frames").await?, lake.view("silver_detections").await?);
    let since = frames.zip(detections).and_then(|(frames, detections)| gold::whole_since(&frames, &detections));
    Ok(clipped(span, since.unwrap_or(i64::MIN)))
}

/// Gives each row that silver should hold by what bronze says, with its table's place in [`TABLES`].
async fn wanted(lake: &Lake, rules: &Rules, mut take: impl FnMut(usize, &Cells)) -> Result<(), Trouble> {
    let Some(bronze) = lake.view(BRONZE_TABLE).await? else { return Ok(()) };
    let mut exploder = Exploder::of(*rules);
    let (mut rows, mut counters) = (SilverRows::default(), RefineCounters::default());
    let mut stream = std::pin::pin!(bronze.scan(BRONZE, &RowFilter::default()).await?);
    while let Some(found) = stream.try_next().await? {
        found.iter().for_each(|row| exploder.add(row, Timestamp::from_micros(0), &mut rows, &mut counters));
        for (at, rows) in [&mut rows.frames, &mut rows.detections, &mut rows.rejects].into_iter().enumerate() {
            rows.drain(..).for_each(|row| take(at, &row));
        }
    }
    Ok(())
}

/// Gives each row that silver holds, with its table's place in [`TABLES`].
async fn stored(lake: &Lake, span: Option<(i64, i64)>, mut take: impl FnMut(usize, &Cells)) -> Result<(), Trouble> {
    for (at, (table, columns, time)) in TABLES.iter().enumerate() {
        let Some(view) = lake.view(table).await? else { continue };
        let time = time.zip(span).map(|(_, (from, to))| ("capture_ts", from, to));
        let filter = RowFilter { time, ..RowFilter::default() };
        let mut stream = std::pin::pin!(view.scan(columns, &filter).await?);
        while let Some(rows) = stream.try_next().await? {
            rows.iter().for_each(|row| take(at, row));
        }
    }
    Ok(())
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let which = if self.is_extra { "extra  " } else { "missing" };
        write!(f, "{which} rva.{}:", self.table)?;
        for cell in &self.row {
            match cell {
                Cell::Null => f.write_str(" null")?,
                Cell::Text(text) => write!(f, " {text:?}")?,
                Cell::Long(number) => write!(f, " {number}")?,
                Cell::Int(number) => write!(f, " {number}")?,
                Cell::Double(number) => write!(f, " {number}")?,
                Cell::Time(micros) => write!(f, " {}", Timestamp::from_micros(*micros))?,
            }
        }
        Ok(())
    }
}

//! The kinds of rows of each table, as far as a choice of records asks about them.

use super::matching::{Matcher, RowKind};
use crate::every_table::{OfTable, of_every_table};
use crate::rows::{BronzeRow, TableRow};
use rva_types::{DeadLetter, RecordChoice};

impl RowKind {
    /// Returns what the rows of a table are, whose column of a record's time is named where there is one.
    pub(super) fn of(table: &str, time: Option<&'static str>) -> Self {
        match time {
            _ if table == BronzeRow::TABLE => Self::Events,
            _ if table == DeadLetter::TABLE => Self::Letters,
            Some(time) if table.starts_with("gold_") => Self::Hours(time),
            Some(time) => Self::Moments(time),
            None => Self::Timeless,
        }
    }
}

struct Named;

impl OfTable for Named {
    type Made = (&'static str, RowKind);

    fn of_table<R: TableRow>(&self, time: Option<&'static str>) -> Self::Made {
        (R::TABLE, RowKind::of(R::TABLE, time))
    }
}

fn kind_of(table: &str) -> Option<RowKind> {
    of_every_table(&Named).into_iter().find_map(|(name, kind)| (name == table).then_some(kind))
}

/// Returns how a choice is asked of a table; `None` for one that forgets nothing.
pub(super) fn matcher_of(table: &str, choice: &RecordChoice) -> Option<Matcher> {
    Some(Matcher { choice: choice.clone(), kind: kind_of(table)? })
}

/// Returns what asks a table for the rows that are older than a moment: by the time of a record where its rows have
/// one, else by the time when they came.
pub(crate) fn aged(table: &str, before: &str) -> Option<Matcher> {
    let time = match kind_of(table)? {
        RowKind::Events | RowKind::Letters => "ingest_ts",
        RowKind::Timeless => "processing_ts",
        RowKind::Moments(time) | RowKind::Hours(time) | RowKind::Aged(time) => time,
    };
    let choice = RecordChoice::parse(None, None, None, Some(before)).ok()?;
    Some(Matcher { choice, kind: RowKind::Aged(time) })
}

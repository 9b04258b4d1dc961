//! Retention: rows of days that a table doesn't keep any longer leave it, whole days (UTC) at a time.
//!
//! The rows go as those that are forgotten do, in commits of their own that say why. Who follows the table passes over
//! such a commit and keeps what it made of the rows, and a property of the table says since when it is whole: nothing
//! before that is worked out again. The bytes go when the snapshots that name their files expire.

use super::plan::live;
use super::table::Maintained;
use crate::cells::Shape;
use crate::definition::WHOLE_SINCE;
use crate::deletions::Deletions;
use crate::errors::lake_error;
use crate::forget::kinds::aged;
use crate::forget::matching::Matcher;
use crate::forget::rows::{hits, take_rows};
use crate::medallion::SilverRejects;
use crate::rows::{BronzeRow, TableRow};
use crate::seam::{LakeError, LakeErrorKind};
use iceberg::table::Table;
use rva_types::Timestamp;
use std::time::{Duration, SystemTime};

const DAY_US: i64 = 86_400_000_000;

/// The part of a table that is old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// The end of the last day that goes.
    pub before: Timestamp,
    /// The rows.
    pub rows: u64,
    /// The files that hold them.
    pub files: u64,
}

/// Returns the end of the last day that is older than a table keeps its rows.
fn before(keep: Duration, now: SystemTime) -> Timestamp {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let last = Timestamp::from(now).as_micros().saturating_sub(keep);
    Timestamp::from_micros(last.div_euclid(DAY_US).saturating_mul(DAY_US))
}

impl<R: TableRow> Maintained<R> {
    /// Returns the end of the last day that goes, and what asks for its rows; `None` where rows stay for ever.
    fn old(&self, now: SystemTime) -> Option<(Timestamp, Matcher)> {
        let kept = |table: &str| self.limits.retention.get(table).copied();
        let mut keep = kept(R::TABLE);
        if R::TABLE == SilverRejects::TABLE {
            // They have no time of a record: what bronze doesn't know any more couldn't be told from the rest.
            keep = keep.into_iter().chain(kept(BronzeRow::TABLE)).min();
        }
        let before = before(keep?, now);
        Some((before, aged(R::TABLE, &before.to_string())?))
    }

    /// Says which rows are old. It changes nothing.
    pub(super) async fn ageing(&mut self, table: &Table, now: SystemTime) -> Result<Option<Aged>, LakeError> {
        let Some((before, matcher)) = self.old(now) else { return Ok(None) };
        let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
        let found = hits(table, live(table).await.map_err(failed)?, &matcher, self.young.at(before)).await?;
        let rows = found.iter().map(|hit| hit.rows).sum();
        Ok(Some(Aged { before, rows, files: found.len() as u64 }))
    }

    /// Takes the rows of old days out of the table. Returns what went, or why nothing does.
    pub(super) async fn retain(&mut self, now: SystemTime) -> Result<Result<Option<Aged>, String>, LakeError> {
        let Some((before, matcher)) = self.old(now) else { return Ok(Ok(None)) };
        let table = self.job.table().await?;
        let since = whole_since::<R>(&table, before);
        self.job.noted.insert(WHOLE_SINCE.to_owned(), since.to_string());
        let taken = take_rows(&mut self.job, &matcher, self.young.at(before), &self.lake.options).await;
        self.job.noted.remove(WHOLE_SINCE);
        let taken = match taken {
            // Another engine's files, which this program doesn't write again.
            Err(error) if error.kind() == LakeErrorKind::Permanent => return Ok(Err(error.to_string())),
            taken => taken?,
        };
        if taken.rows > 0 {
            if R::TABLE == BronzeRow::TABLE {
                Deletions::new(&self.lake).note_now(&self.job.table().await?).await?;
            }
            tracing::info!(table = R::TABLE, rows = taken.rows, files = taken.files, %before, "took old rows out");
        }
        Ok(Ok(Some(Aged { before, rows: taken.rows, files: taken.files })))
    }
}

/// Returns the moment since which a table is whole once all before a moment has gone. An event is captured at most a
/// day after it came, or it is none.
fn whole_since<R: TableRow>(table: &Table, before: Timestamp) -> i64 {
    let margin = if R::TABLE == BronzeRow::TABLE { DAY_US } else { 0 };
    let since = before.as_micros().saturating_add(margin);
    let known = table.metadata().properties().get(WHOLE_SINCE).and_then(|text| text.parse().ok());
    known.map_or(since, |known: i64| known.max(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_whole_once_all_of_them_is_older() {
        let at = |text: &str| SystemTime::from(Timestamp::parse(text).unwrap());
        let day = Duration::from_secs(86_400);
        for (now, wanted) in [
            ("2026-01-31T00:00:00Z", "2026-01-30T00:00:00Z"),
            ("2026-01-31T23:59:59Z", "2026-01-30T00:00:00Z"),
            ("2026-02-01T00:00:00Z", "2026-01-31T00:00:00Z"),
        ] {
            assert_eq!(before(day, at(now)), Timestamp::parse(wanted).unwrap(), "{now}");
        }
        assert_eq!(before(Duration::MAX, at("2026-01-31T00:00:00Z")).as_micros() % DAY_US, 0);
    }
}

//! The data files of tables as earlier reads found them, and the filter by whose bounds most are left out.

use crate::files::{FileEntry, FileList, Span};
use crate::seam::LakeError;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::Datum;
use iceberg::table::Table;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The columns by whose bounds files are left out. A table has some of them.
const SPANS: &[&str] = &["store_id", "camera_id", "pipeline_run_id", "capture_ts", "ts_minute"];

/// The data files of each table that was read, by the table's id. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileLists(Arc<Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<FileList>>>>>);

impl FileLists {
    fn of(&self, table: &Table) -> Arc<tokio::sync::Mutex<FileList>> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = lists.entry(table.metadata().uuid());
        Arc::clone(list.or_insert_with(|| Arc::new(tokio::sync::Mutex::new(FileList::of_columns(SPANS)))))
    }

    /// Returns the files of a table that may hold rows which a filter lets through; `None` where rows of them may be
    /// deleted.
    pub(crate) async fn holding(
        &self,
        table: &Table,
        filter: &RowFilter,
    ) -> Result<Option<Vec<Arc<FileEntry>>>, LakeError> {
        let list = self.of(table);
        let mut list = list.lock().await;
        list.follow(table).await?;
        if list.has_deletes() {
            return Ok(None);
        }
        let bounds = Bounds::of(filter);
        Ok(Some(list.iter().filter(|file| bounds.may_hold(file)).cloned().collect()))
    }
}

/// A filter of the rows that are read.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    /// Lets rows through whose column is this text.
    pub texts: Vec<(&'static str, String)>,
    /// Lets rows through whose column of time is at least the first and less than the second moment.
    pub time: Option<(&'static str, i64, i64)>,
    /// Lets rows through whose column is one of these texts.
    pub one_of: Option<(&'static str, Vec<String>)>,
}

impl RowFilter {
    pub(crate) fn predicate(&self) -> Predicate {
        let mut all = Predicate::AlwaysTrue;
        for (name, text) in &self.texts {
            all = all.and(Reference::new(*name).equal_to(Datum::string(text)));
        }
        if let Some((name, from, to)) = self.time {
            let at = |micros| Datum::timestamptz_micros(micros);
            all = all.and(Reference::new(name).greater_than_or_equal_to(at(from)));
            all = all.and(Reference::new(name).less_than(at(to)));
        }
        if let Some((name, texts)) = &self.one_of {
            all = all.and(Reference::new(*name).is_in(texts.iter().map(Datum::string)));
        }
        all
    }
}

/// A filter, as the bounds of files are asked for it.
struct Bounds<'a> {
    /// The texts of a column, ascending, by the column's place.
    texts: Vec<(usize, Vec<&'a str>)>,
    time: Option<(usize, i64, i64)>,
}

fn place(column: &str) -> Option<usize> {
    SPANS.iter().position(|name| *name == column)
}

impl<'a> Bounds<'a> {
    fn of(filter: &'a RowFilter) -> Self {
        let single = filter.texts.iter().map(|(name, text)| (*name, vec![text.as_str()]));
        let several = filter.one_of.iter().map(|(name, texts)| {
            let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            texts.sort_unstable();
            (*name, texts)
        });
        let texts = single.chain(several).filter_map(|(name, texts)| Some((place(name)?, texts))).collect();
        let time = filter.time.and_then(|(name, from, to)| Some((place(name)?, from, to)));
        Self { texts, time }
    }

    fn may_hold(&self, file: &FileEntry) -> bool {
        let in_time = |(at, from, to): (usize, i64, i64)| {
            from < to && file.spans.get(at).is_none_or(|span| span.may_hold_any(from, to - 1))
        };
        self.time.is_none_or(in_time)
            && self.texts.iter().all(|(at, texts)| match file.spans.get(*at) {
                Some(Span::Text(low, high)) => {
                    texts.get(texts.partition_point(|text| *text < &**low)).is_some_and(|text| *text <= &**high)
                }
                _ => !texts.is_empty(),
            })
    }
}

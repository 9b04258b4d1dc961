//! Says what `rva forget` found, what went, and what stays.

use crate::terminal::Terminal;
use rva_bus::LogForgotten;
use rva_lake::{ChosenRows, ErasedPast, HoldingBackup, TakenRows};
use rva_service::format_bytes;

/// The backups of one place that hold chosen rows.
pub struct Holding {
    /// The place.
    pub place: String,
    /// The backups.
    pub backups: Vec<HoldingBackup>,
}

/// Returns what is chosen, a line each.
pub fn chosen(tables: &[ChosenRows], log: &LogForgotten) -> String {
    let mut text = String::new();
    for found in tables.iter().filter(|found| found.rows + found.old_files > 0) {
        let what = if found.table.starts_with("gold_") { "are worked out again or go" } else { "go" };
        text.push_str(&format!("rva.{}: {} rows of {} files {what}", found.table, found.rows, found.files));
        if found.old_files > 0 {
            text.push_str(&format!("; {} files of older snapshots may hold some", found.old_files));
        }
        text.push('\n');
    }
    if log.records > 0 {
        let bytes = format_bytes(log.bytes);
        text.push_str(&format!("log: {} records ({bytes}) in {} segments\n", log.records, log.segments));
    }
    if log.waiting > 0 {
        text.push_str(&format!("log: {} records that no table has yet\n", log.waiting));
    }
    if log.refused + log.cut > 0 {
        let (refused, cut) = (log.refused, log.cut);
        text.push_str(&format!("log: {refused} records that a broker refused, {cut} tails that were cut off\n"));
    }
    if text.is_empty() {
        text.push_str("nothing of it is there\n");
    }
    text
}

/// Says which rows left the tables.
pub fn taken(tables: &[TakenRows], terminal: &Terminal) {
    for taken in tables.iter().filter(|taken| taken.rows > 0) {
        terminal.say(&format!(
            "rva.{}: {} rows of {} files are gone, {} rows beside them were written again",
            taken.table, taken.rows, taken.files, taken.rows_kept
        ));
    }
}

/// Says what went of the log.
pub fn of_log(log: &LogForgotten, terminal: &Terminal) {
    if log.records > 0 {
        terminal.say(&format!("log: {} records in {} segments say nothing any more", log.records, log.segments));
    }
    if log.refused + log.cut > 0 {
        terminal.say(&format!(
            "log: {} records that a broker had refused, and what {} cut-off tails held, are gone",
            log.refused, log.cut
        ));
    }
}

/// Says what went of the past.
pub fn erased(tables: &[ErasedPast], terminal: &Terminal) {
    let sum = |count: fn(&ErasedPast) -> u64| tables.iter().map(count).sum::<u64>();
    let (snapshots, files, bytes) = (sum(|past| past.snapshots), sum(|past| past.files), sum(|past| past.bytes));
    let rows = format_bytes(bytes);
    if snapshots > 0 {
        let tables = tables.iter().filter(|past| past.snapshots > 0).count();
        terminal.say(&format!(
            "{snapshots} old snapshots of {tables} tables and {files} files ({rows} of rows) are gone; whoever reads \
             those snapshots fails"
        ));
    } else if files > 0 {
        terminal.say(&format!("{files} files ({rows} of rows) that no snapshot named are gone"));
    }
}

/// Returns what stays, and why.
pub fn left(tables: &[ErasedPast], log: &LogForgotten) -> Vec<String> {
    let mut left = Vec::new();
    for past in tables {
        left.extend(past.left.iter().map(|why| format!("rva.{}: {why}", past.table)));
    }
    if log.waiting > 0 {
        left.push(format!(
            "log: {} records that no table has yet: let `rva ingest` bring them in, then ask again",
            log.waiting
        ));
    }
    if !log.unreadable.is_empty() {
        left.push(format!(
            "log: {} lines that can't be read, the first in {}: remove the file if nobody needs it",
            log.unreadable.len(),
            log.unreadable[0]
        ));
    }
    left
}

/// Returns the backups that bring it back, a line each.
pub fn holding(places: &[Holding]) -> String {
    let mut text = String::new();
    for Holding { place, backups } in places {
        for backup in backups {
            let rows: Vec<String> = backup.rows.iter().map(|(table, rows)| format!("{table} {rows}")).collect();
            text.push_str(&format!("backup {} in {place} holds rows of it: {}\n", backup.id, rows.join(", ")));
        }
    }
    text
}

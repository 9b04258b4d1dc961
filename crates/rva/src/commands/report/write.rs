//! The report in its formats, to stdout or into a file.

use super::args::{ReportArgs, ReportFormat};
use crate::{output::to_stdout, rows::csv, table::TableWriter, terminal::Terminal};
use anyhow::Context;
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use rva_report::{FACT_COLUMNS, Picture, Report, facts, page, sections};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

/// Returns the format that is asked for: by name, else by the file's ending, else a table.
pub fn format_of(args: &ReportArgs) -> ReportFormat {
    let ending = args.output.as_ref().and_then(|file| file.extension()).and_then(|ending| ending.to_str());
    args.format.unwrap_or(match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("html" | "htm") => ReportFormat::Html,
        Some("csv") => ReportFormat::Csv,
        Some("json") => ReportFormat::Json,
        _ => ReportFormat::Table,
    })
}

/// Writes a report.
///
/// # Errors
/// Returns why stdout or the file can't be written.
pub fn write(
    args: &ReportArgs,
    format: ReportFormat,
    report: &Report,
    pictures: &BTreeMap<String, Picture>,
    made: &str,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let text = match format {
        ReportFormat::Table => tables(report)?,
        ReportFormat::Csv => {
            let rows: Vec<Vec<String>> = facts(report).into_iter().map(Vec::from).collect();
            csv(&batch(&FACT_COLUMNS, &rows)?, true)?
        }
        ReportFormat::Json => format!("{}\n", serde_json::to_string(report)?),
        ReportFormat::Html => page(report, pictures, made),
    };
    match args.output.as_deref().filter(|file| *file != Path::new("-")) {
        None => to_stdout(&text)?,
        Some(file) => {
            into_file(file, &text)?;
            let visitors = &report.visitors;
            let by = visitors.counted_by.code().replace('_', " ");
            terminal.say(&format!("visitors: {} ({by})\nreport:   {}", visitors.count, file.display()));
        }
    }
    Ok(())
}

/// Writes a file at once: what stood there stays until the new one is whole.
fn into_file(file: &Path, text: &str) -> anyhow::Result<()> {
    let wanted = || format!("write report {}", file.display());
    if file.exists() && !file.is_file() {
        return fs::write(file, text).with_context(wanted);
    }
    let mut name = file.file_name().with_context(wanted)?.to_owned();
    name.push(".unfinished");
    let unfinished = file.with_file_name(name);
    let done = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, file));
    if done.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    done.with_context(wanted)
}

fn batch(columns: &[&str], rows: &[Vec<String>]) -> anyhow::Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    let column = |at: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.get(at).map_or("", String::as_str))))
    };
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), (0..columns.len()).map(column).collect())?)
}

fn tables(report: &Report) -> anyhow::Result<String> {
    let mut text = String::new();
    for section in sections(report) {
        let rows = batch(&section.columns, &section.rows)?;
        let mut table = TableWriter::new(&rows.schema());
        text.push_str(&format!("{}\n", crate::terminal::plain(&section.title)));
        text.push_str(&table.rows(&rows)?);
        text.push_str(&table.finish());
        text.push('\n');
    }
    Ok(text)
}

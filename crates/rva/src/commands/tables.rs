//! `rva tables`: the contents of each table, in a line.

use crate::{cli::TablesArgs, exit::Exit, output::to_stdout, shared_args::RowFormat};
use rva_lake::TableSummary;
use rva_service::{Loaded, format_bytes};
use serde_json::json;

/// Prints rows, files, size, last commit and offsets of each table.
///
/// # Errors
/// Returns an error where there are no tables, or they can't be read.
pub async fn run(args: TablesArgs, loaded: Loaded) -> anyhow::Result<Exit> {
    let lake = crate::folder::lake_to_read(&loaded).await?;
    let tables = lake.tables().await?;
    to_stdout(&match args.format {
        RowFormat::Table => as_text(&tables),
        RowFormat::Csv => as_csv(&tables),
        RowFormat::Json => tables.iter().map(|table| format!("{}\n", as_json(table))).collect(),
    })?;
    Ok(Exit::Done)
}

/// Returns the table that a position is in: bronze for silver, silver for gold.
fn input_of<'a>(tables: &'a [TableSummary], partition: &str) -> Option<&'a TableSummary> {
    let is_input = |table: &&TableSummary| table.name.strip_prefix("rva.") == Some(partition);
    let has_inputs = ["bronze_raw", "silver_frames", "silver_detections", "zones"].contains(&partition);
    tables.iter().find(is_input).filter(|_| has_inputs)
}

fn last_commit(table: &TableSummary) -> Option<String> {
    table.last_commit.map(|time| time.to_string())
}

fn as_text(tables: &[TableSummary]) -> String {
    let mut text = String::new();
    for table in tables {
        text.push_str(&format!(
            "{}\n  rows         {}\n  files        {} ({})\n  snapshots    {}\n  last commit  {}\n",
            table.name,
            table.rows,
            table.files,
            format_bytes(table.bytes),
            table.snapshots,
            last_commit(table).unwrap_or_else(|| "none".to_owned()),
        ));
        for (partition, position) in table.offsets.iter() {
            match input_of(tables, partition) {
                Some(input) => text.push_str(&format!(
                    "  position     {partition} snapshot {} ({} behind)\n",
                    position.entry,
                    input.sequence.saturating_sub(position.entry)
                )),
                None => text.push_str(&format!("  offset       {partition} {position}\n")),
            }
        }
    }
    text
}

/// Returns CSV, in which offsets are a JSON object in one quoted field.
fn as_csv(tables: &[TableSummary]) -> String {
    let mut text = String::from("name,rows,files,bytes,snapshots,last_commit,offsets\n");
    for table in tables {
        let offsets = table.offsets.to_json().replace('"', "\"\"");
        text.push_str(&format!(
            "{},{},{},{},{},{},\"{offsets}\"\n",
            table.name,
            table.rows,
            table.files,
            table.bytes,
            table.snapshots,
            last_commit(table).unwrap_or_default(),
        ));
    }
    text
}

fn as_json(table: &TableSummary) -> serde_json::Value {
    let offsets: serde_json::Map<_, _> =
        table.offsets.iter().map(|(name, position)| (name.to_string(), json!(position.to_string()))).collect();
    json!({
        "name": table.name,
        "rows": table.rows,
        "files": table.files,
        "bytes": table.bytes,
        "snapshots": table.snapshots,
        "last_commit": last_commit(table),
        "source": table.source,
        "offsets": offsets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::{OffsetMap, Position, Timestamp};

    fn table() -> TableSummary {
        let mut offsets = OffsetMap::new();
        offsets.advance("cam_01", Position::of_record(7));
        TableSummary {
            name: "rva.bronze_raw".into(),
            rows: 7,
            files: 2,
            bytes: 2048,
            snapshots: 1,
            sequence: 1,
            last_commit: Some(Timestamp::from_micros(0)),
            offsets,
            source: Some("id".into()),
        }
    }

    #[test]
    fn a_table_is_shown_with_its_offsets_in_every_format() {
        let text = as_text(&[table()]);
        assert!(
            text.contains("rows         7") && text.contains("2.0 KiB") && text.contains("cam_01 0:7:-1"),
            "{text}"
        );
        let csv = as_csv(&[table()]);
        assert_eq!(
            csv.lines().nth(1),
            Some("rva.bronze_raw,7,2,2048,1,1970-01-01T00:00:00.000000+00:00,\"{\"\"cam_01\"\":\"\"0:7:-1\"\"}\"")
        );
        assert_eq!(as_json(&table())["offsets"]["cam_01"], "0:7:-1");
    }
}

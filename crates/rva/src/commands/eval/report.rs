//! Scores as rows.

use crate::{rows::RowWriter, shared_args::RowFormat};
use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use rva_eval::{METRICS, TrackScores};
use std::{sync::Arc, time::Duration};

/// The name of all sequences of a group together.
pub const COMBINED: &str = "COMBINED";

/// The scores left out of the table for people, whose lines are long enough.
const NOT_IN_TABLE: [&str; 9] = ["DetRe", "DetPr", "AssRe", "AssPr", "MOTP", "IDP", "IDR", "PT", "TP"];

/// The scores of a tracker on a sequence, or on all of a group.
pub struct Scored {
    pub group: String,
    pub tracker: String,
    /// The sequence's name; `None` for all of the group.
    pub sequence: Option<String>,
    pub scores: TrackScores,
    pub frames: u32,
    /// The time of the tracker alone, where it was run.
    pub time: Option<Duration>,
}

impl Scored {
    /// Returns a score as it is printed: percent with three decimals, or a count.
    pub fn printed(&self, metric: &str) -> Option<f64> {
        let value = self.scores.value(metric)?;
        Some(if TrackScores::is_count(metric) { value } else { rounded(value * 100.0) })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Writes a table to stdout.
///
/// # Errors
/// Returns an error where stdout can't be written.
pub fn write_columns(columns: Vec<(&str, ArrayRef)>, format: RowFormat) -> anyhow::Result<()> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut writer = RowWriter::new(format, &schema)?;
    writer.write(&RecordBatch::try_new(schema, columns.into_iter().map(|(_, values)| values).collect())?)?;
    writer.finish()
}

/// Writes scores to stdout, a row each.
///
/// # Errors
/// Returns an error where stdout can't be written.
pub fn write(scored: &[Scored], format: RowFormat) -> anyhow::Result<()> {
    let texts = |text: &dyn Fn(&Scored) -> String| -> ArrayRef {
        Arc::new(scored.iter().map(|row| Some(text(row))).collect::<StringArray>())
    };
    let mut columns = vec![
        ("group", texts(&|row| row.group.clone())),
        ("tracker", texts(&|row| row.tracker.clone())),
        ("sequence", texts(&|row| row.sequence.clone().unwrap_or_else(|| COMBINED.to_owned()))),
    ];
    for metric in METRICS {
        if format == RowFormat::Table && NOT_IN_TABLE.contains(&metric) {
            continue;
        }
        let values = scored.iter().map(|row| row.printed(metric));
        let values: ArrayRef = if TrackScores::is_count(metric) {
            Arc::new(values.map(|value| value.map(|value| value as u64)).collect::<UInt64Array>())
        } else {
            Arc::new(values.collect::<Float64Array>())
        };
        columns.push((metric, values));
    }
    let per_frame = |row: &Scored| {
        row.time.filter(|_| row.frames > 0).map(|time| rounded(time.as_secs_f64() * 1e6 / f64::from(row.frames)))
    };
    columns.push(("us_per_frame", Arc::new(scored.iter().map(per_frame).collect::<Float64Array>())));
    debug_assert!(columns.iter().all(|(_, values)| values.data_type() != &DataType::Null));
    write_columns(columns, format)
}

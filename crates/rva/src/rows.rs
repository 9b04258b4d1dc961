//! Query results as text.

use crate::{cli::RowFormat, output::to_stdout};
use arrow::{
    array::RecordBatch, csv::WriterBuilder as CsvWriter, datatypes::SchemaRef, json::LineDelimitedWriter,
    util::pretty::pretty_format_batches,
};

/// Writes rows to stdout: `csv` (with a header line) and `json` (one object a line) as they come, `table` at the end,
/// since the widths of its columns are known only then.
pub struct RowWriter {
    format: RowFormat,
    /// Batches of a table; starts with an empty one, so that an answer without rows still names its columns.
    held: Vec<RecordBatch>,
}

impl RowWriter {
    /// Begins: writes the header of `csv`.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn new(format: RowFormat, schema: &SchemaRef) -> anyhow::Result<Self> {
        let empty = RecordBatch::new_empty(SchemaRef::clone(schema));
        if format == RowFormat::Csv {
            to_stdout(&csv(&empty, true)?)?;
        }
        Ok(Self { format, held: vec![empty] })
    }

    /// Writes rows.
    ///
    /// # Errors
    /// A column of a type that the format can't hold, or stdout can't be written.
    pub fn write(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        match self.format {
            RowFormat::Table => self.held.push(batch),
            RowFormat::Csv => to_stdout(&csv(&batch, false)?)?,
            RowFormat::Json => to_stdout(&json(&batch)?)?,
        }
        Ok(())
    }

    /// Writes what was held.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub fn finish(self) -> anyhow::Result<()> {
        if self.format == RowFormat::Table {
            to_stdout(&table(&self.held)?)?;
        }
        Ok(())
    }
}

fn table(batches: &[RecordBatch]) -> anyhow::Result<String> {
    Ok(format!("{}\n", pretty_format_batches(batches)?))
}

fn csv(batch: &RecordBatch, has_header: bool) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    CsvWriter::new().with_header(has_header).build(&mut bytes).write(batch)?;
    Ok(String::from_utf8(bytes)?)
}

/// A null is a key that isn't there.
fn json(batch: &RecordBatch) -> anyhow::Result<String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{ArrayRef, Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use std::sync::Arc;

    fn batch(numbers: Vec<i64>, texts: Vec<Option<&str>>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("t", DataType::Utf8, true)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(texts))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn csv_quotes_what_needs_it_and_has_a_header_of_its_own() {
        let empty = batch(vec![], vec![]);
        assert_eq!(csv(&empty, true).unwrap(), "n,t\n");
        let rows = batch(vec![1, 2], vec![Some("a,\"b\""), None]);
        assert_eq!(csv(&rows, false).unwrap(), "1,\"a,\"\"b\"\"\"\n2,\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = json(&batch(vec![1, 2], vec![Some("x"), None])).unwrap();
        assert_eq!(text, "{\"n\":1,\"t\":\"x\"}\n{\"n\":2}\n");
    }

    #[test]
    fn a_table_without_rows_still_names_its_columns() {
        assert!(table(&[batch(vec![], vec![])]).unwrap().contains("| n | t |"));
    }
}

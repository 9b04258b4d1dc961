//! Query results as text, as they come: memory doesn't grow with the answer.

use crate::{output::to_stdout, shared_args::RowFormat, table::TableWriter};
use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    csv::WriterBuilder as CsvWriter,
    datatypes::{DataType, Field, Schema, SchemaRef},
    json::{LineDelimitedWriter, WriterBuilder as JsonWriter, writer::LineDelimited},
};
use std::sync::Arc;

/// A writer of rows to stdout: `csv` (with a header line), `json` (one object a line), or a `table` whose columns are
/// as wide as its first rows want them.
pub struct RowWriter {
    format: RowFormat,
    table: TableWriter,
}

impl RowWriter {
    /// Begins: writes the header of `csv`.
    ///
    /// # Errors
    /// Returns an error where stdout can't be written.
    pub fn new(format: RowFormat, schema: &SchemaRef) -> anyhow::Result<Self> {
        if format == RowFormat::Csv {
            to_stdout(&csv(&RecordBatch::new_empty(SchemaRef::clone(schema)), true)?)?;
        }
        Ok(Self { format, table: TableWriter::new(schema) })
    }

    /// Writes rows.
    ///
    /// # Errors
    /// Returns an error for a column of a type that the format can't hold, or where stdout can't be written.
    pub fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        match self.format {
            RowFormat::Table => to_stdout(&self.table.rows(batch)?)?,
            RowFormat::Csv => to_stdout(&csv(batch, false)?)?,
            RowFormat::Json => to_stdout(&json(batch)?)?,
        }
        Ok(())
    }

    /// Writes the rows that were held, and the end of a table.
    ///
    /// # Errors
    /// Returns an error where stdout can't be written.
    pub fn finish(self) -> anyhow::Result<()> {
        if self.format == RowFormat::Table {
            to_stdout(&self.table.finish())?;
        }
        Ok(())
    }
}

/// Returns a batch as CSV.
///
/// # Errors
/// Returns an error for a column of a type that CSV can't hold.
pub fn csv(batch: &RecordBatch, has_header: bool) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    CsvWriter::new().with_header(has_header).build(&mut bytes).write(&flat(batch)?)?;
    Ok(String::from_utf8(bytes)?)
}

/// Returns a batch with columns of maps, lists and structures as JSON, which CSV has no other words for.
fn flat(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(Arc::new(as_json(column)?));
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Returns each value of a column as JSON.
fn as_json(column: &ArrayRef) -> anyhow::Result<StringArray> {
    const NAME: &str = "v";
    let field = Field::new(NAME, column.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(column)])?;
    let mut writer = JsonWriter::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner())?;
    let values = text.lines().zip(0..).map(|(line, at)| {
        let value = line.strip_prefix("{\"v\":").and_then(|rest| rest.strip_suffix('}'));
        if column.is_null(at) { None } else { value }
    });
    Ok(values.collect())
}

/// Returns a batch as JSON lines, in which a null is a key that isn't there.
fn json(batch: &RecordBatch) -> anyhow::Result<String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, MapBuilder, StringBuilder};

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
    fn a_map_is_json_in_csv_and_in_json() {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        builder.keys().append_value("a");
        builder.values().append_value("x\"y");
        builder.append(true).unwrap();
        builder.append(true).unwrap();
        builder.append(false).unwrap();
        let column: ArrayRef = Arc::new(builder.finish());
        let schema = Schema::new(vec![Field::new("m", column.data_type().clone(), true)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
        let text = csv(&rows, true).unwrap();
        assert_eq!(text.lines().take(3).collect::<Vec<_>>(), ["m", r#""{""a"":""x\""y""}""#, "{}"]);
        assert_eq!(json(&rows).unwrap(), "{\"m\":{\"a\":\"x\\\"y\"}}\n{\"m\":{}}\n{}\n");
    }
}

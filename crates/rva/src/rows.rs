//! Query results as text.

use crate::cli::RowFormat;
use arrow::{
    array::RecordBatch, csv::WriterBuilder as CsvWriter, json::LineDelimitedWriter, util::pretty::pretty_format_batches,
};

/// Rows in a format: `table` for people, `csv` with a header line, `json` with one object a line.
///
/// # Errors
/// A column of a type that the format can't hold.
pub fn to_text(batches: &[RecordBatch], format: RowFormat) -> anyhow::Result<String> {
    match format {
        RowFormat::Table => Ok(format!("{}\n", pretty_format_batches(batches)?)),
        RowFormat::Csv => {
            let mut bytes = Vec::new();
            let mut writer = CsvWriter::new().with_header(true).build(&mut bytes);
            for batch in batches {
                writer.write(batch)?;
            }
            drop(writer);
            Ok(String::from_utf8(bytes)?)
        }
        RowFormat::Json => {
            let mut writer = LineDelimitedWriter::new(Vec::new());
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            Ok(String::from_utf8(writer.into_inner())?)
        }
    }
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
    fn csv_quotes_what_needs_it_and_has_one_header() {
        let batches = [batch(vec![1], vec![Some("a,\"b\"")]), batch(vec![2], vec![None])];
        assert_eq!(to_text(&batches, RowFormat::Csv).unwrap(), "n,t\n1,\"a,\"\"b\"\"\"\n2,\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = to_text(&[batch(vec![1, 2], vec![Some("x"), None])], RowFormat::Json).unwrap();
        assert_eq!(text, "{\"n\":1,\"t\":\"x\"}\n{\"n\":2}\n");
    }

    #[test]
    fn a_result_without_rows_still_names_its_columns() {
        let empty = [batch(vec![], vec![])];
        assert_eq!(to_text(&empty, RowFormat::Csv).unwrap(), "n,t\n");
        assert!(to_text(&empty, RowFormat::Table).unwrap().contains("| n | t |"));
    }
}

//! A table for people, written while its rows come.

use crate::terminal::plain;
use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    util::display::{ArrayFormatter, FormatOptions},
};
use unicode_width::UnicodeWidthStr;

/// The number of rows that say how wide the columns are. Later ones that are wider stand out.
const ROWS_MEASURED: usize = 1000;

/// The bytes of rows that do where they are long.
const BYTES_MEASURED: usize = 8 << 20;

/// A writer of rows as lines of cells, in a frame.
pub struct TableWriter {
    names: Vec<String>,
    widths: Vec<usize>,
    /// The first rows, until they are enough to say the widths.
    held: Option<Vec<Vec<String>>>,
    held_bytes: usize,
}

impl TableWriter {
    /// Makes a table of these columns.
    pub fn new(schema: &SchemaRef) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| plain(field.name())).collect();
        let widths = names.iter().map(|name| name.width()).collect();
        Self { names, widths, held: Some(Vec::new()), held_bytes: 0 }
    }

    /// Returns the text of further rows; nothing while the widths aren't known.
    ///
    /// # Errors
    /// Returns an error for a column of a type that has no text.
    pub fn rows(&mut self, batch: &RecordBatch) -> anyhow::Result<String> {
        let options = FormatOptions::default().with_display_error(true);
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        let mut text = String::new();
        for at in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| plain(&column.value(at).to_string())).collect();
            let Some(held) = &mut self.held else {
                self.line(&mut text, &cells);
                continue;
            };
            self.held_bytes += cells.iter().map(String::len).sum::<usize>();
            held.push(cells);
            if held.len() >= ROWS_MEASURED || self.held_bytes >= BYTES_MEASURED {
                self.begin(&mut text);
            }
        }
        Ok(text)
    }

    /// Returns the text of the rows that were held, and the end.
    pub fn finish(mut self) -> String {
        let mut text = String::new();
        self.begin(&mut text);
        self.rule(&mut text);
        text
    }

    /// Writes the head and the rows that were held.
    fn begin(&mut self, text: &mut String) {
        let Some(held) = self.held.take() else { return };
        for cells in &held {
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.width());
            }
        }
        self.rule(text);
        self.line(text, &self.names);
        self.rule(text);
        held.iter().for_each(|cells| self.line(text, cells));
    }

    fn rule(&self, text: &mut String) {
        for width in &self.widths {
            text.push('+');
            text.extend(std::iter::repeat_n('-', width + 2));
        }
        text.push_str("+\n");
    }

    fn line(&self, text: &mut String, cells: &[String]) {
        for (cell, width) in cells.iter().zip(&self.widths) {
            text.push_str("| ");
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 1));
        }
        text.push_str("|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{ArrayRef, Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
        util::pretty::pretty_format_batches,
    };
    use std::sync::Arc;

    fn batch(numbers: Vec<i64>, texts: Vec<Option<&str>>) -> RecordBatch {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("text", DataType::Utf8, true)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(texts))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn written(batches: &[RecordBatch]) -> String {
        let mut table = TableWriter::new(&batches[0].schema());
        let rows: String = batches.iter().map(|batch| table.rows(batch).unwrap()).collect();
        rows + &table.finish()
    }

    #[test]
    fn a_small_table_looks_as_arrow_draws_it() {
        for rows in [
            batch(vec![], vec![]),
            batch(vec![1, -20], vec![Some("é"), None]),
            batch(vec![7], vec![Some("a longer text 長い")]),
        ] {
            let rows = [rows];
            assert_eq!(written(&rows), format!("{}\n", pretty_format_batches(&rows).unwrap()));
        }
    }

    #[test]
    fn what_is_held_does_not_grow_with_the_answer() {
        let rows = batch((0..1000).collect(), vec![Some("x"); 1000]);
        let mut table = TableWriter::new(&rows.schema());
        let first = table.rows(&rows).unwrap();
        assert_eq!(first.lines().count(), 3 + 1000, "the head and the rows, once there are enough");
        assert!(table.held.is_none());
        let wide = table.rows(&batch(vec![1], vec![Some("a text that is wider than its column")])).unwrap();
        assert_eq!(wide, "| 1   | a text that is wider than its column |\n");
        let long = "y".repeat(BYTES_MEASURED);
        let mut table = TableWriter::new(&rows.schema());
        assert_eq!(table.rows(&batch(vec![1], vec![Some(&long)])).unwrap().lines().count(), 3 + 1);
    }

    #[test]
    fn a_row_is_one_line_and_steers_no_terminal() {
        let text = written(&[batch(vec![1], vec![Some("a\nb\u{1b}[31mc\u{202e}")])]);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains("a\\nb\\u{1b}[31mc\\u{202e}"), "{text}");
    }
}

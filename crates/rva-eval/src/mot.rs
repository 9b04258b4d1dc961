//! Text files of MOTChallenge: a row a box, `frame,id,left,top,width,height,conf,…`.

use std::{collections::HashSet, fmt::Write};

/// A row of ground truth or of results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotRow {
    /// The frame's number, from 1.
    pub frame: u32,
    /// The track's id; -1 in files of detections.
    pub id: i64,
    /// The box's left, top, width and height in pixels.
    pub bbox: [f64; 4],
    /// The detector's confidence in results; in ground truth 0 marks a row that isn't scored.
    pub conf: f64,
    /// The class in ground truth of MOT16 and later, of which 1 is a pedestrian; -1 where the file has no classes.
    pub class: i64,
}

/// An error that says why a file isn't what it should be. Lines count from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MotError {
    /// A row of too few columns.
    #[error("{file}:{line}: found {found} columns, wanted at least {wanted}")]
    Columns {
        /// The file as the caller named it.
        file: String,
        /// The line's number, from 1.
        line: usize,
        /// The number of columns found.
        found: usize,
        /// The number of columns wanted.
        wanted: usize,
    },
    /// A value that can't be.
    #[error("{file}:{line}: found {column} {found:?}, wanted {wanted}")]
    Value {
        /// The file as the caller named it.
        file: String,
        /// The line's number, from 1.
        line: usize,
        /// The column's name.
        column: &'static str,
        /// The value as it stands there, cut to 40 characters.
        found: String,
        /// The values that would do, in words.
        wanted: &'static str,
    },
    /// One track that stands twice in one frame.
    #[error("{file}:{line}: found id {id} a second time in frame {frame}, wanted it once")]
    Twice {
        /// The file as the caller named it.
        file: String,
        /// The line's number, from 1.
        line: usize,
        /// The track's id.
        id: i64,
        /// The frame's number.
        frame: u32,
    },
    /// A frame past the sequence's end.
    #[error("{file}: found frame {found}, wanted at most {wanted}, the sequence's length")]
    PastEnd {
        /// The file as the caller named it.
        file: String,
        /// The frame's number.
        found: u32,
        /// The number of frames of the sequence.
        wanted: u32,
    },
}

struct Line<'a> {
    file: &'a str,
    line: usize,
    values: Vec<&'a str>,
}

impl Line<'_> {
    fn error(&self, at: usize, column: &'static str, wanted: &'static str) -> MotError {
        let found = self.values.get(at).copied().unwrap_or_default().chars().take(40).collect();
        MotError::Value { file: self.file.to_owned(), line: self.line, column, found, wanted }
    }

    fn number(&self, at: usize, column: &'static str) -> Result<f64, MotError> {
        let value = self.values[at].parse::<f64>().ok().filter(|value| value.is_finite());
        value.ok_or_else(|| self.error(at, column, "a finite number"))
    }

    /// Reads a whole number, which some files write as `1.0`.
    fn whole(&self, at: usize, column: &'static str) -> Result<i64, MotError> {
        let value = self.number(at, column)?;
        if value.fract() != 0.0 || value.abs() > 2f64.powi(53) {
            return Err(self.error(at, column, "a whole number"));
        }
        Ok(value as i64)
    }

    fn row(&self, ids_are_real: bool) -> Result<MotRow, MotError> {
        let frame = self.whole(0, "frame")?;
        let frame = u32::try_from(frame).ok().filter(|frame| *frame >= 1);
        let frame = frame.ok_or_else(|| self.error(0, "frame", "a number from 1"))?;
        let id = self.whole(1, "id")?;
        if ids_are_real && id < 0 {
            return Err(self.error(1, "id", "a track's id from 0"));
        }
        let names = ["left", "top", "width", "height"];
        let mut bbox = [0.0; 4];
        for (i, (slot, name)) in bbox.iter_mut().zip(names).enumerate() {
            *slot = self.number(i + 2, name)?;
        }
        for i in [2, 3] {
            if bbox[i] < 0.0 {
                return Err(self.error(i + 2, names[i], "a size from 0"));
            }
        }
        let conf = if self.values.len() > 6 { self.number(6, "conf")? } else { 1.0 };
        // Nine columns are MOT16's and later: class and visibility. Of ten the column is a coordinate of the world.
        let class = if self.values.len() == 9 { self.whole(7, "class")? } else { -1 };
        Ok(MotRow { frame, id, bbox, conf, class })
    }
}

fn parse(file: &str, text: &str, columns_min: usize, ids_are_real: bool) -> Result<Vec<MotRow>, MotError> {
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for (at, content) in text.lines().enumerate() {
        if content.trim().is_empty() {
            continue;
        }
        let line = Line { file, line: at + 1, values: content.split(',').map(str::trim).collect() };
        if line.values.len() < columns_min {
            let (file, line, found) = (file.to_owned(), line.line, line.values.len());
            return Err(MotError::Columns { file, line, found, wanted: columns_min });
        }
        let row = line.row(ids_are_real)?;
        if ids_are_real && !seen.insert((row.frame, row.id)) {
            let (file, line) = (file.to_owned(), line.line);
            return Err(MotError::Twice { file, line, id: row.id, frame: row.frame });
        }
        rows.push(row);
    }
    rows.sort_by_key(|row| row.frame);
    Ok(rows)
}

/// Reads ground truth (`gt/gt.txt`): at least seven columns, in any order of frames. Rows come back by frame, those of
/// a frame in the file's order.
///
/// # Errors
/// Returns an error for the first line that can't be right, with what was found and wanted there.
pub fn parse_ground_truth(file: &str, text: &str) -> Result<Vec<MotRow>, MotError> {
    parse(file, text, 7, true)
}

/// Reads results of a tracker, or public detections (`det/det.txt`) where `ids_are_real` is false: at least six
/// columns.
///
/// # Errors
/// Fails as [`parse_ground_truth`] does.
pub fn parse_results(file: &str, text: &str, ids_are_real: bool) -> Result<Vec<MotRow>, MotError> {
    parse(file, text, 6, ids_are_real)
}

/// Writes rows as the text of results: ten columns, the world's coordinates -1.
pub fn write_results(rows: &[MotRow]) -> String {
    let mut text = String::new();
    for MotRow { frame, id, bbox: [left, top, width, height], conf, .. } in rows {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{frame},{id},{left},{top},{width},{height},{conf},-1,-1,-1");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_is_named_with_what_was_found_and_wanted() {
        let cases = [
            ("1,1,0,0,5", "gt.txt:1: found 5 columns, wanted at least 7"),
            ("1,1,0,0,5,5,1\n1,2,x,0,5,5,1", r#"gt.txt:2: found left "x", wanted a finite number"#),
            ("0,1,0,0,5,5,1", r#"gt.txt:1: found frame "0", wanted a number from 1"#),
            ("1.5,1,0,0,5,5,1", r#"gt.txt:1: found frame "1.5", wanted a whole number"#),
            ("1,1,0,0,-5,5,1", r#"gt.txt:1: found width "-5", wanted a size from 0"#),
            ("1,1,0,NaN,5,5,1", r#"gt.txt:1: found top "NaN", wanted a finite number"#),
            ("1,-1,0,0,5,5,1", r#"gt.txt:1: found id "-1", wanted a track's id from 0"#),
            ("1,1,0,0,5,5,1\n\n1,1,9,9,5,5,1", "gt.txt:3: found id 1 a second time in frame 1, wanted it once"),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_ground_truth("gt.txt", text).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn unsorted_rows_come_back_by_frame() {
        let rows = parse_ground_truth("gt.txt", "3,1,0,0,5,5,1,1,1\n1,1,0,0,5,5,1,7,1\n").unwrap();
        assert_eq!(rows.iter().map(|row| (row.frame, row.class)).collect::<Vec<_>>(), [(1, 7), (3, 1)]);
    }

    #[test]
    fn detections_have_no_ids_and_results_come_back_from_their_text() {
        assert_eq!(parse_results("det.txt", "1,-1,0,0,5,5\n1,-1,1,1,5,5,0.5", false).unwrap().len(), 2);
        let rows = parse_results("r", "2,4,0.5,1,5,6,0.25,-1,-1,-1", true).unwrap();
        assert_eq!(parse_results("r", &write_results(&rows), true).unwrap(), rows);
    }
}

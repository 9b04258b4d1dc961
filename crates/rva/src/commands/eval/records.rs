//! NDJSON records as scores read them.

use anyhow::Context;
use rva_types::FrameRecord;
use std::{fs::File, io::BufRead, io::BufReader, path::Path};

/// Returns whether a file holds NDJSON records, by its name.
pub fn is_ndjson(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "ndjson" || ext == "jsonl")
}

/// Reads every record.
///
/// # Errors
/// Returns an error for a file that can't be read, or a line that is no record, with its number.
pub fn read(path: &Path) -> anyhow::Result<Vec<FrameRecord>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut records = Vec::new();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("read {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let record = FrameRecord::parse(&line)
            .with_context(|| format!("{}:{}: wanted a frame record", path.display(), at + 1))?;
        records.push(record);
    }
    Ok(records)
}

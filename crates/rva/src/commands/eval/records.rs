//! NDJSON records as scores read them.

use anyhow::Context;
use serde::Deserialize;
use std::{fs::File, io::BufRead, io::BufReader, path::Path};

/// What scoring needs of a frame record.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub pipeline_run_id: String,
    pub source: Source,
    pub frame_index: u64,
    pub capture_ts: String,
    pub image_size: Size,
    pub detections: Vec<Found>,
}

/// Where it was seen.
#[derive(Debug, Deserialize)]
pub struct Source {
    pub camera_id: String,
}

/// Of the picture, in pixels.
#[derive(Debug, Deserialize)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

/// A detection.
#[derive(Debug, Deserialize)]
pub struct Found {
    pub class: Option<String>,
    pub class_id: i64,
    pub conf: f64,
    pub bbox: Corners,
    pub track_id: Option<u64>,
}

/// Of a box, in pixels.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Corners {
    pub x1: f64,
    pub y1: f64,
    pub x2: f64,
    pub y2: f64,
}

impl Corners {
    /// Left, top, width, height.
    pub fn ltwh(self) -> [f64; 4] {
        [self.x1, self.y1, self.x2 - self.x1, self.y2 - self.y1]
    }
}

/// Whether a file holds NDJSON records, by its name.
pub fn is_ndjson(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "ndjson" || ext == "jsonl")
}

/// Reads every record.
///
/// # Errors
/// A file that can't be read, a line that is no record: with its number.
pub fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut records = Vec::new();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("read {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let record = serde_json::from_str(&line)
            .with_context(|| format!("{}:{}: wanted a frame record", path.display(), at + 1))?;
        records.push(record);
    }
    Ok(records)
}

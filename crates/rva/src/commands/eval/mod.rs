//! `rva eval`: scores against ground truth.

pub mod args;
mod counting;
mod floors;
mod records;
mod report;
mod sequences;
mod tracks;

use crate::{exit::Exit, shared_args::RowFormat, terminal::Terminal};
use anyhow::Context;
use args::{DetectionsArgs, EvalArgs, EvalCommand, FootfallArgs};
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, UInt64Array};
use records::is_ndjson;
use rva_analytics::{PERSON, TrackPoint};
use rva_eval::{
    DetectionBox, Seen, footfall_from_csv, ground_truth_from_coco, results_from_coco, score_detections, score_footfall,
};
use rva_types::Timestamp;
use std::{fs, path::Path, sync::Arc};

/// Scores what was asked for.
///
/// # Errors
/// Returns an error, with file and line, for files that can't be read or aren't what they should be.
pub fn run(args: &EvalArgs, terminal: &Terminal) -> anyhow::Result<Exit> {
    match &args.command {
        EvalCommand::Tracks(args) => tracks::run(args, terminal),
        EvalCommand::Detections(args) => detections(args),
        EvalCommand::Footfall(args) => footfall(args, terminal),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn detections(args: &DetectionsArgs) -> anyhow::Result<Exit> {
    let truth = ground_truth_from_coco(&args.gt.display().to_string(), &read(&args.gt)?)?;
    let found = if is_ndjson(&args.detections) {
        of_records(&args.detections)?
    } else {
        results_from_coco(&args.detections.display().to_string(), &read(&args.detections)?)?
    };
    let scores = score_detections(&truth, &found);
    let named = [
        ("AP", scores.ap),
        ("AP50", scores.ap50),
        ("AP75", scores.ap75),
        ("AP_small", scores.ap_small),
        ("AP_medium", scores.ap_medium),
        ("AP_large", scores.ap_large),
        ("AR100", scores.ar),
    ];
    let percent = |value: f64| (value * 100_000.0).round() / 1000.0;
    let column = |value: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![value.map(percent)])) };
    report::write_columns(named.into_iter().map(|(name, value)| (name, column(value))).collect(), args.format)?;
    Ok(Exit::Done)
}

fn of_records(path: &Path) -> anyhow::Result<Vec<DetectionBox>> {
    let mut boxes = Vec::new();
    for record in records::read(path)? {
        for found in &record.detections {
            let bbox = found.bbox.ltwh();
            let class = u64::try_from(found.class_id)
                .with_context(|| format!("{}: found class_id {}", path.display(), found.class_id))?;
            let area = bbox[2] * bbox[3];
            boxes.push(DetectionBox {
                image: record.frame_index,
                class,
                bbox,
                score: found.conf,
                area,
                is_crowd: false,
            });
        }
    }
    Ok(boxes)
}

fn footfall(args: &FootfallArgs, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (Some(by_hand), Some(records)) = (&args.by_hand, &args.records) else { return counting::run(args, terminal) };
    let hand = footfall_from_csv(&by_hand.display().to_string(), &read(by_hand)?)?;
    let mut seen = Vec::new();
    for record in records::read(records)? {
        let at = Timestamp::parse(&record.capture_ts)
            .with_context(|| format!("{}: found capture_ts {:?}", records.display(), record.capture_ts))?;
        let people = record.detections.iter().filter(|found| found.class.as_deref() == Some(PERSON));
        for (index, found) in people.enumerate() {
            let Some(track) = found.track_id else { continue };
            let whole = |value: f64| (value + 0.5).floor() as i32;
            let bbox = [found.bbox.x1, found.bbox.y1, found.bbox.x2, found.bbox.y2].map(whole);
            let point = TrackPoint {
                frame_index: i64::try_from(record.frame_index).unwrap_or(i64::MAX),
                det_id: format!("{index:05}").into(),
                at_us: at.as_micros(),
                bbox,
                img_w: i32::try_from(record.image_size.width).unwrap_or(i32::MAX),
                img_h: i32::try_from(record.image_size.height).unwrap_or(i32::MAX),
                conf: found.conf,
            };
            let track = (record.pipeline_run_id.clone(), track);
            seen.push(Seen { camera: record.source.camera_id.clone(), track, point });
        }
    }
    let rows = score_footfall(hand, &seen);
    let texts = |text: &dyn Fn(&rva_eval::Counted) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(text(row))).collect::<StringArray>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("camera_id", texts(&|row| row.by_hand.camera.clone())),
        ("from", texts(&|row| row.by_hand.from.to_string())),
        ("to", texts(&|row| row.by_hand.to.to_string())),
        (
            "counts",
            texts(&|row| match &row.by_hand.line {
                None => "people".to_owned(),
                Some(line) if line.inward => "in".to_owned(),
                Some(_) => "out".to_owned(),
            }),
        ),
        ("by_hand", Arc::new(rows.iter().map(|row| row.by_hand.people).collect::<UInt64Array>())),
        ("counted", Arc::new(rows.iter().map(|row| row.counted).collect::<UInt64Array>())),
        ("error", Arc::new(rows.iter().map(rva_eval::Counted::error).collect::<Int64Array>())),
    ];
    report::write_columns(columns, args.format)?;
    if args.format == RowFormat::Table {
        terminal.say(&summary(&rows));
    }
    Ok(Exit::Done)
}

fn summary(rows: &[rva_eval::Counted]) -> String {
    let by_hand: u64 = rows.iter().map(|row| row.by_hand.people).sum();
    let counted: u64 = rows.iter().map(|row| row.counted).sum();
    let count = rows.len().max(1) as f64;
    let off: u64 = rows.iter().map(|row| row.error().unsigned_abs()).sum();
    let bias: i64 = rows.iter().map(rva_eval::Counted::error).sum();
    let share = 100.0 * (counted as f64 - by_hand as f64) / (by_hand as f64).max(1.0);
    format!(
        "{counted} counted, {by_hand} by hand ({share:+.1} %); mean absolute error {:.2}, bias {:+.2} a row",
        off as f64 / count,
        bias as f64 / count
    )
}

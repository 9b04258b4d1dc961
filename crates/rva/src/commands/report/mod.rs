//! `rva report`: what gold says of a shop and a span of time, as one document.

pub mod args;
mod ask;
mod frames;
mod span;
mod write;

use super::{query::bounds, verify::check_current};
use crate::{
    exit::{Exit, Refusal},
    output::with_causes,
    terminal::Terminal,
};
use anyhow::bail;
use args::ReportArgs;
use ask::{Asking, Known};
use rva_lake::TableSummary;
use rva_report::{HOUR_US, MINUTE_US, Question, Report, ShapeKind, Zone};
use rva_service::Loaded;
use rva_types::Timestamp;
use std::time::SystemTime;

/// The tables that a report is read from.
const WANTED: &[&str] = &[
    "gold_hour_by_cam",
    "gold_people_per_minute",
    "gold_camera_minute",
    "gold_track_summary",
    "gold_line_crossings",
    "gold_zone_visits",
    "gold_zone_heatmap",
    "gold_zone_dwell",
    "zones",
];

/// Reads gold, works the numbers out, and writes them to stdout or into a file.
///
/// # Errors
/// Returns why there is no report: a store, camera, line or time that isn't there, tables that can't be read, or a file
/// that can't be written.
pub async fn run(args: ReportArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let zone = Zone::parse(&args.time_zone).map_err(|error| Refusal::usage(format!("--time-zone: {error}")))?;
    let asked = span::of(&args, zone)?;
    let format = write::format_of(&args);
    frames::check(&args, format)?;
    let lake = crate::folder::lake_to_read(&loaded).await?;
    let (_spill, options) = bounds(&loaded, None, terminal)?;
    let tables = lake.tables().await?;
    check_there(&tables)?;
    let asking = Asking { lake: &lake, options };
    let known = asking.known().await?;
    let store = store_of(&args, &known)?;
    let asked_cameras = cameras_of(&args, &known, &store)?;
    let now = Timestamp::from(SystemTime::now()).as_micros();
    let (from_us, to_us) = span_of(&asking, &store, &asked_cameras, asked, now).await?;
    let mut question = Question { store, cameras: asked_cameras, from_us, to_us, zone, entrances: args.line.clone() };
    let rows = asking.rows(&question).await?;
    if rows.seen.is_empty() {
        bail!(nothing_there(&question, &known));
    }
    check_lines(&question, &rows)?;
    let mut dark = Vec::new();
    if args.camera_id.is_empty() {
        let looked = |camera: &String| rows.looked.iter().any(|row| row.camera == *camera);
        (question.cameras, dark) = question.cameras.into_iter().partition(looked);
    }
    let mut report = Report::of(&question, &rows);
    report.notes.extend(
        dark.iter()
            .map(|camera| format!("Camera {camera} didn't look in this time at all; it isn't in these numbers.")),
    );
    if let Err(error) = check_current(&tables) {
        report.notes.push(format!("The numbers aren't the newest: {}.", with_causes(&error)));
    }
    let pictures = frames::of(&args, &loaded, &question.cameras, format)?;
    let made = zone.minute_text(now);
    write::write(&args, format, &report, &pictures, &made, terminal)?;
    Ok(Exit::Done)
}

/// Refuses a folder without gold, or one that lacks a table of it.
fn check_there(tables: &[TableSummary]) -> anyhow::Result<()> {
    let names: Vec<&str> = tables.iter().filter_map(|table| table.name.strip_prefix("rva.")).collect();
    if !names.iter().any(|name| name.starts_with("gold_")) {
        bail!("found no table of gold, wanted some to report from: `rva refine --drain` makes them");
    }
    let missing: Vec<&str> = WANTED.iter().copied().filter(|name| !names.contains(name)).collect();
    if !missing.is_empty() {
        bail!("found no table {}, wanted all of gold: `rva refine --drain` makes them", missing.join(", "));
    }
    Ok(())
}

fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    names.join(", ")
}

/// Returns the store that is asked for, or the only one.
fn store_of(args: &ReportArgs, known: &[Known]) -> anyhow::Result<String> {
    let mut stores: Vec<String> = known.iter().map(|row| row.store.clone()).collect();
    stores.dedup();
    match (&args.store_id, stores.as_slice()) {
        (_, []) => bail!("found no row in the tables of gold, wanted some to report from: has a camera looked yet?"),
        (Some(store), _) if stores.contains(store) => Ok(store.clone()),
        (Some(store), _) => {
            Err(Refusal::usage(format!("--store-id: found no store {store:?}, wanted one of {}", list(stores))).into())
        }
        (None, [store]) => Ok(store.clone()),
        (None, _) => Err(Refusal::usage(format!(
            "found {} stores and no --store-id, wanted one of {}",
            stores.len(),
            list(stores)
        ))
        .into()),
    }
}

/// Returns the cameras that are asked for, or all of the store.
fn cameras_of(args: &ReportArgs, known: &[Known], store: &str) -> anyhow::Result<Vec<String>> {
    let all: Vec<String> = known.iter().filter(|row| row.store == store).map(|row| row.camera.clone()).collect();
    if args.camera_id.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for camera in &args.camera_id {
        if !all.contains(camera) {
            let text = format!("--camera-id: found no camera {camera:?} of store {store}, wanted one of {}", list(all));
            return Err(Refusal::usage(text).into());
        }
        if !wanted.contains(camera) {
            wanted.push(camera.clone());
        }
    }
    Ok(wanted)
}

/// Returns the span: what is asked for, or from the first to the last minute in which a camera looked. What lies in the
/// future is cut off: nobody could have looked.
async fn span_of(
    asking: &Asking<'_>,
    store: &str,
    cameras: &[String],
    asked: (Option<i64>, Option<i64>),
    now_us: i64,
) -> anyhow::Result<(i64, i64)> {
    let (first, last) = asking.minutes(store, cameras).await?;
    let from = asked.0.unwrap_or(first);
    let end = last + MINUTE_US;
    let this_minute = now_us.div_euclid(MINUTE_US) * MINUTE_US + MINUTE_US;
    let to = asked.1.map_or(end, |to| to.min(end.max(this_minute)));
    Ok((from, to.max(from + MINUTE_US)))
}

/// Returns the text for a span in which no camera looked.
fn nothing_there(question: &Question, known: &[Known]) -> String {
    let zone = question.zone;
    let of_asked = known.iter().filter(|row| row.store == question.store && question.cameras.contains(&row.camera));
    let first = of_asked.clone().map(|row| row.first_hour_us).min().unwrap_or_default();
    let last = of_asked.map(|row| row.last_hour_us).max().unwrap_or_default();
    format!(
        "found no frame of {} in store {} from {} to {} ({}), wanted some to report: there are rows from {} to {}",
        question.cameras.join(", "),
        question.store,
        zone.minute_text(question.from_us),
        zone.minute_text(question.to_us),
        zone.name(),
        zone.minute_text(first),
        zone.minute_text(last + HOUR_US),
    )
}

/// Refuses a line that isn't drawn.
fn check_lines(question: &Question, rows: &rva_report::Rows) -> anyhow::Result<()> {
    let mut lines: Vec<String> =
        rows.shapes.iter().filter(|shape| shape.kind == ShapeKind::Line).map(|shape| shape.name.clone()).collect();
    lines.sort();
    lines.dedup();
    let Some(unknown) = question.entrances.iter().find(|line| !lines.contains(line)) else { return Ok(()) };
    let wanted = if lines.is_empty() {
        "a line of `zones` in the configuration (none is drawn in this time)".to_owned()
    } else {
        format!("one of {}", list(lines))
    };
    Err(Refusal::usage(format!("--line: found no line {unknown:?}, wanted {wanted}")).into())
}

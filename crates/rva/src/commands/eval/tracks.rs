//! `rva eval tracks`: the sources of results, and their scores.

use super::{
    args::TracksArgs,
    floors,
    records::{self, is_ndjson},
    report::{self, Scored},
    sequences::{Group, MotSequence, group},
};
use crate::{
    exit::{Exit, Refusal},
    terminal::Terminal,
};
use anyhow::Context;
use rva_eval::{MotRow, Sequence, TrackScores, parse_results, write_results};
use rva_track::{TrackerChoice, TrackerFrame};
use rva_types::{BBox, Detection, MediaTime};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Scores result files, or runs trackers and scores their results.
///
/// # Errors
/// Returns an error for files that can't be read or aren't what they should be.
pub fn run(args: &TracksArgs, terminal: &Terminal) -> anyhow::Result<Exit> {
    let groups = args.gt.iter().map(|path| group(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut scored = Vec::new();
    match &args.tracks {
        Some(path) => {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            for group in &groups {
                score_group(group, &name, &mut scored, |sequence| Ok((results(path, sequence)?, None)))?;
            }
        }
        None => {
            for text in names(&args.tracker) {
                let choice = rva_detector::configured::trackers::choose(&text)?;
                let name = if is_yaml(&text) { text.clone() } else { choice.name().to_owned() };
                for group in &groups {
                    score_group(group, &name, &mut scored, |sequence| {
                        let (rows, time) = track(&choice, sequence, &sequence.detections(&args.detections)?)?;
                        if let Some(folder) = &args.save {
                            save(&folder.join(choice.name()), sequence, &rows)?;
                        }
                        Ok((rows, Some(time)))
                    })?;
                }
            }
        }
    }
    report::write(&scored, args.format)?;
    let Some(path) = &args.floors else { return Ok(Exit::Done) };
    if args.record_floors {
        floors::record(path, &scored)?;
        terminal.say(&format!("floors written to {}", path.display()));
        return Ok(Exit::Done);
    }
    let missed = floors::missed(path, &scored)?;
    for line in &missed.lines {
        terminal.say_error(line);
    }
    terminal.say(&format!("{} floors held, {} missed", missed.held, missed.lines.len()));
    Ok(if missed.lines.is_empty() { Exit::Done } else { Exit::Failure })
}

fn is_yaml(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|ext| ext == "yaml" || ext == "yml")
}

/// Returns the names of trackers; `all` stands for every tracker of the product.
pub(super) fn names(wanted: &[String]) -> Vec<String> {
    let all = || TrackerChoice::NAMES.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    wanted.iter().flat_map(|text| if text == "all" { all() } else { vec![text.clone()] }).collect()
}

type Results = (Vec<MotRow>, Option<Duration>);

fn score_group(
    group: &Group,
    tracker: &str,
    scored: &mut Vec<Scored>,
    mut results: impl FnMut(&MotSequence) -> anyhow::Result<Results>,
) -> anyhow::Result<()> {
    let mut parts: Vec<Scored> = Vec::new();
    for sequence in &group.sequences {
        let (rows, time) = results(sequence)?;
        let name = format!("{tracker} on {}", sequence.name);
        let truth = (sequence.truth_file.as_str(), sequence.truth.as_slice());
        let prepared = Sequence::prepare(sequence.benchmark, sequence.frames, truth, (&name, &rows))?;
        parts.push(Scored {
            group: group.name.clone(),
            tracker: tracker.to_owned(),
            sequence: Some(sequence.name.clone()),
            scores: TrackScores::of(&prepared),
            frames: sequence.frames,
            time,
        });
    }
    let combined = Scored {
        group: group.name.clone(),
        tracker: tracker.to_owned(),
        sequence: None,
        scores: TrackScores::combined(parts.iter().map(|part| &part.scores)),
        frames: parts.iter().map(|part| part.frames).sum(),
        time: parts.iter().map(|part| part.time).sum(),
    };
    scored.append(&mut parts);
    scored.push(combined);
    Ok(())
}

/// Runs a tracker over a sequence's detections and times its own work.
pub(super) fn track(
    choice: &TrackerChoice,
    sequence: &MotSequence,
    detections: &[MotRow],
) -> anyhow::Result<(Vec<MotRow>, Duration)> {
    let mut tracker = choice.build()?;
    let (mut rows, mut seen, mut tracked) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut time) = (detections, Duration::ZERO);
    for frame in 1..=sequence.frames {
        let (now, later) = rest.split_at(rest.partition_point(|row| row.frame <= frame));
        rest = later;
        seen.clear();
        seen.extend(now.iter().map(detection));
        let micros = (f64::from(frame - 1) / sequence.frame_rate * 1e6).round() as i64;
        let frame_of = TrackerFrame::of_boxes(&seen, MediaTime::from_micros(micros));
        let frame_of = TrackerFrame { image_size: sequence.image_size, ..frame_of };
        let began = Instant::now();
        tracker.update_into(&frame_of, &mut tracked);
        time += began.elapsed();
        // The file's own numbers: f32 would move a box by a rounding.
        for (row, tracked) in now.iter().zip(&tracked) {
            if let Some(id) = tracked.track_id {
                rows.push(MotRow { id: id as i64, class: -1, ..*row });
            }
        }
    }
    Ok((rows, time))
}

fn detection(row: &MotRow) -> Detection {
    let [left, top, width, height] = row.bbox;
    let bbox = BBox::new(left as f32, top as f32, (left + width) as f32, (top + height) as f32);
    Detection { bbox, conf: row.conf as f32, class_id: 0 }
}

fn save(folder: &Path, sequence: &MotSequence, rows: &[MotRow]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join(format!("{}.txt", sequence.name));
    fs::write(&path, write_results(rows)).with_context(|| format!("write {}", path.display()))
}

/// Reads a sequence's results in what `--tracks` names.
fn results(path: &Path, sequence: &MotSequence) -> anyhow::Result<Vec<MotRow>> {
    if is_ndjson(path) {
        return of_records(path, sequence);
    }
    let file = if path.is_dir() { path.join(format!("{}.txt", sequence.name)) } else { path.to_owned() };
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    Ok(parse_results(&file.display().to_string(), &text, true)?)
}

/// Reads the records of the camera that has the sequence's name, or of the only one.
fn of_records(path: &Path, sequence: &MotSequence) -> anyhow::Result<Vec<MotRow>> {
    let mut records = records::read(path)?;
    let cameras: BTreeSet<&str> = records.iter().map(|record| record.source.camera_id.as_str()).collect();
    if cameras.len() > 1 {
        if !cameras.contains(sequence.name.as_str()) {
            let found = cameras.into_iter().collect::<Vec<_>>().join(", ");
            let text = format!("{}: found cameras {found}, wanted {} or a single one", path.display(), sequence.name);
            return Err(Refusal::usage(text).into());
        }
        records.retain(|record| record.source.camera_id == sequence.name);
    }
    let runs: BTreeSet<&str> = records.iter().map(|record| record.pipeline_run_id.as_str()).collect();
    if runs.len() > 1 {
        let text = format!("{}: found {} runs, wanted one: frames count from 1 in each", path.display(), runs.len());
        return Err(Refusal::usage(text).into());
    }
    let mut rows = Vec::new();
    for record in &records {
        let frame = u32::try_from(record.frame_index)
            .with_context(|| format!("{}: found frame {}", path.display(), record.frame_index))?;
        rows.extend(record.detections.iter().filter_map(|found| {
            let id = i64::try_from(found.track_id?).ok()?;
            Some(MotRow { frame, id, bbox: found.bbox.ltwh(), conf: found.conf, class: -1 })
        }));
    }
    rows.sort_by_key(|row| row.frame);
    Ok(rows)
}

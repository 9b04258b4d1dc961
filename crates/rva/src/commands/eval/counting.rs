//! `rva eval footfall --gt`: people counted on the tracks of each tracker, against the same counts of the true tracks.

use super::{
    args::FootfallArgs,
    report::{COMBINED, write_columns},
    sequences::{Group, MotSequence, group},
    tracks::{names, track},
};
use crate::{
    exit::{Exit, Refusal},
    terminal::Terminal,
};
use anyhow::Context;
use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use rva_eval::{CountScores, Film, MotRow, line_crossings, scored_people};
use rva_track::TrackerChoice;
use std::{path::Path, sync::Arc};

/// The counts of a tracker on a sequence, or on all of a group.
struct Row {
    group: String,
    tracker: String,
    sequence: String,
    scores: CountScores,
}

/// Runs trackers over the public detections and compares their counts with the truth's.
///
/// # Errors
/// Returns an error for files that can't be read or aren't what they should be.
pub fn run(args: &FootfallArgs, terminal: &Terminal) -> anyhow::Result<Exit> {
    let groups = args.gt.iter().map(|path| group(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut rows, mut crossings) = (Vec::new(), Crossings::of(&groups)?);
    for text in names(&args.tracker) {
        let choice = rva_detector::configured::trackers::choose(&text)?;
        for group in &groups {
            score_group(args, group, &choice, &mut rows, &mut crossings)?;
        }
    }
    write(&rows, args)?;
    if let Some(path) = &args.crossings {
        std::fs::write(path, &crossings.0).with_context(|| format!("write {}", path.display()))?;
    }
    match &args.ceilings {
        Some(path) if args.record_ceilings => record(path, &rows).map(|()| Exit::Done),
        Some(path) => check(path, &rows, terminal),
        None => Ok(Exit::Done),
    }
}

/// The lines of the file of crossings.
struct Crossings(String);

impl Crossings {
    /// Lists the truth's.
    fn of(groups: &[Group]) -> anyhow::Result<Self> {
        let mut crossings = Self("group,sequence,tracker,line,x1,y1,x2,y2,direction,seconds\n".to_owned());
        for group in groups {
            for sequence in &group.sequences {
                crossings.add(group, sequence, "truth", &scored_people(&sequence.truth))?;
            }
        }
        Ok(crossings)
    }

    fn add(&mut self, group: &Group, sequence: &MotSequence, tracker: &str, rows: &[MotRow]) -> anyhow::Result<()> {
        let place = format!("{},{},{tracker}", group.name, sequence.name);
        for found in line_crossings(&film(sequence)?, rows) {
            let [[x1, y1], [x2, y2]] = found.ends;
            let (line, direction, seconds) = (found.line, found.direction, found.at_us as f64 / 1e6);
            self.0.push_str(&format!("{place},{line},{x1},{y1},{x2},{y2},{direction},{seconds}\n"));
        }
        Ok(())
    }
}

fn score_group(
    args: &FootfallArgs,
    group: &Group,
    choice: &TrackerChoice,
    rows: &mut Vec<Row>,
    crossings: &mut Crossings,
) -> anyhow::Result<()> {
    let mut combined = CountScores::default();
    for sequence in &group.sequences {
        let film = film(sequence)?;
        let (found, _) = track(choice, sequence, &sequence.detections(&args.detections)?)?;
        let scores = CountScores::of(&film, &scored_people(&sequence.truth), &found);
        combined.add(&scores);
        crossings.add(group, sequence, choice.name(), &found)?;
        rows.push(Row::new(group, choice, &sequence.name, scores));
    }
    rows.push(Row::new(group, choice, COMBINED, combined));
    Ok(())
}

impl Row {
    fn new(group: &Group, choice: &TrackerChoice, sequence: &str, scores: CountScores) -> Self {
        let (group, tracker) = (group.name.clone(), choice.name().to_owned());
        Self { group, tracker, sequence: sequence.to_owned(), scores }
    }

    /// Returns missed and extra crossings in percent of the true ones, as it is printed.
    fn error_percent(&self) -> Option<f64> {
        self.scores.error_share().map(|share| (share * 10_000.0).round() / 100.0)
    }
}

fn film(sequence: &MotSequence) -> anyhow::Result<Film> {
    let image_size = sequence.image_size.ok_or_else(|| {
        Refusal::usage(format!("found {} alone, wanted a sequence folder with seqinfo.ini", sequence.truth_file))
    })?;
    Ok(Film { frames: sequence.frames, frame_rate: sequence.frame_rate, image_size })
}

fn write(rows: &[Row], args: &FootfallArgs) -> anyhow::Result<()> {
    let texts = |text: &dyn Fn(&Row) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(text(row))).collect::<StringArray>())
    };
    let counts = |count: &dyn Fn(&CountScores) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(count(&row.scores))).collect::<UInt64Array>())
    };
    let numbers = |number: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        Arc::new(rows.iter().map(|row| number(row).map(rounded)).collect::<Float64Array>())
    };
    let columns = vec![
        ("group", texts(&|row| row.group.clone())),
        ("tracker", texts(&|row| row.tracker.clone())),
        ("sequence", texts(&|row| row.sequence.clone())),
        ("true", counts(&|scores| scores.truth)),
        ("counted", counts(&|scores| scores.counted)),
        ("missed", counts(&|scores| scores.missed)),
        ("extra", counts(&|scores| scores.extra)),
        ("error_percent", numbers(&Row::error_percent)),
        ("interval_mae", numbers(&|row| row.scores.interval_mae())),
        ("people_mae", numbers(&|row| row.scores.people_mae())),
        ("dwell_mae_seconds", numbers(&|row| row.scores.dwell_mae_seconds())),
    ];
    write_columns(columns, args.format)
}

const HEADER: &str = "group,tracker,error_percent_max";

/// The room above a recorded error: another compiler may round a tie in another way, which moves a crossing or two.
const SLACK: f64 = 0.5;

fn combined(rows: &[Row]) -> impl Iterator<Item = (&Row, f64)> {
    rows.iter().filter(|row| row.sequence == COMBINED).filter_map(|row| Some((row, row.error_percent()?)))
}

fn record(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let mut text = format!("{HEADER}\n");
    for (row, found) in combined(rows) {
        text.push_str(&format!("{},{},{:.2}\n", row.group, row.tracker, found + SLACK));
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Compares combined errors with the recorded ones.
fn check(path: &Path, rows: &[Row], terminal: &Terminal) -> anyhow::Result<Exit> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let (mut held, mut missed) = (0, 0);
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        anyhow::bail!("{}: found another header, wanted {HEADER}", path.display());
    }
    for (at, line) in lines.enumerate() {
        let wanted = || format!("{}:{}: found {line:?}, wanted {HEADER}", path.display(), at + 2);
        let [group, tracker, most] = line.split(',').collect::<Vec<_>>()[..] else { anyhow::bail!(wanted()) };
        let most: f64 = most.parse().ok().with_context(wanted)?;
        if !rows.iter().any(|row| row.group == group && row.tracker == tracker) {
            continue;
        }
        let found =
            combined(rows).find(|(row, _)| row.group == group && row.tracker == tracker).map(|(_, found)| found);
        if found.is_some_and(|found| found <= most) {
            held += 1;
        } else {
            missed += 1;
            let found = found.map_or("none".to_owned(), |found| found.to_string());
            terminal
                .say_error(&format!("{tracker} on {group}: found an error of {found} percent, wanted at most {most}"));
        }
    }
    terminal.say(&format!("{held} ceilings held, {missed} missed"));
    Ok(if missed == 0 { Exit::Done } else { Exit::Failure })
}

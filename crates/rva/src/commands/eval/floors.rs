//! Floors of scores, which must not be missed: CSV of group, tracker, metric and floor in percent.

use super::report::Scored;
use anyhow::{Context, bail};
use std::{fs, path::Path};

const HEADER: &str = "group,tracker,metric,floor";

/// The metrics that floors are recorded of.
const RECORDED: [&str; 3] = ["HOTA", "MOTA", "IDF1"];

/// The room below a recorded score: another compiler may round a tie in another way.
const SLACK: f64 = 0.05;

/// The floors that were missed.
pub struct Missed {
    pub held: usize,
    /// One line for each that was missed.
    pub lines: Vec<String>,
}

struct Floor<'a> {
    group: &'a str,
    tracker: &'a str,
    metric: &'a str,
    floor: f64,
}

fn parse<'a>(path: &Path, text: &'a str) -> anyhow::Result<Vec<Floor<'a>>> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some((_, line)) if line.trim() == HEADER => {}
        found => bail!("{}: found header {:?}, wanted {HEADER}", path.display(), found.map_or("", |(_, line)| line)),
    }
    let mut floors = Vec::new();
    for (at, line) in lines {
        let values: Vec<&str> = line.split(',').map(str::trim).collect();
        let parsed = match values.as_slice() {
            [group, tracker, metric, floor] => floor.parse().ok().map(|floor| Floor { group, tracker, metric, floor }),
            _ => None,
        };
        floors.push(parsed.with_context(|| format!("{}:{}: found {line:?}, wanted {HEADER}", path.display(), at + 1))?);
    }
    Ok(floors)
}

/// Compares combined scores with the floors of their groups. Floors of groups that weren't scored aren't looked at; one
/// of a tracker or metric that wasn't is missed.
///
/// # Errors
/// Returns an error where the file can't be read.
pub fn missed(path: &Path, scored: &[Scored]) -> anyhow::Result<Missed> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut missed = Missed { held: 0, lines: Vec::new() };
    for Floor { group, tracker, metric, floor } in parse(path, &text)? {
        let mut of_group = scored.iter().filter(|row| row.group == group && row.sequence.is_none()).peekable();
        if of_group.peek().is_none() {
            continue;
        }
        let found = of_group.find(|row| row.tracker == tracker).and_then(|row| row.printed(metric));
        match found {
            Some(found) if found >= floor => missed.held += 1,
            Some(found) => {
                missed.lines.push(format!("{tracker} on {group}: found {metric} {found}, wanted at least {floor}"));
            }
            None => missed.lines.push(format!("{tracker} on {group}: found no {metric}, wanted at least {floor}")),
        }
    }
    Ok(missed)
}

/// Writes floors a little below the scores of now.
///
/// # Errors
/// Returns an error where the file can't be written.
pub fn record(path: &Path, scored: &[Scored]) -> anyhow::Result<()> {
    let mut text = format!("{HEADER}\n");
    for row in scored.iter().filter(|row| row.sequence.is_none()) {
        for metric in RECORDED {
            if let Some(value) = row.printed(metric) {
                text.push_str(&format!("{},{},{metric},{:.2}\n", row.group, row.tracker, value - SLACK));
            }
        }
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

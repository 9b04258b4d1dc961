//! People counted by the system against people counted by hand.
//!
//! A hand count is a table in CSV with a header: `camera_id,from,to,people`, and for counts at a line
//! `line,direction` besides. `from` (inclusive) and `to` (exclusive) are capture times (RFC 3339). Without a line the
//! count is that of different people seen in the interval; with one (`x1 y1 x2 y2` in shares of the picture) that of
//! people who crossed it `in` (to the right hand of somebody who looks from the first point to the second) or `out`.

use rva_analytics::{DirectedLine, Direction, Rules, Share, TrackPath, TrackPoint};
use rva_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A directed line in shares of the picture, from the first point to the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The line from the first point to the second.
    pub line: DirectedLine,
    /// Counts crossings to the right hand (`in`) where it is set, else those to the left (`out`).
    pub inward: bool,
}

/// One row of a hand count.
#[derive(Debug, Clone, PartialEq)]
pub struct HandCount {
    /// The camera's id.
    pub camera: String,
    /// The first capture time.
    pub from: Timestamp,
    /// The end, which is no part of the interval.
    pub to: Timestamp,
    /// The number of people who were counted.
    pub people: u64,
    /// The line at which they were counted; `None` for the whole picture.
    pub line: Option<Line>,
}

/// A person in a frame, as a record tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The camera's id.
    pub camera: String,
    /// The run and the track, which together are one person.
    pub track: (String, u64),
    /// The time and the place.
    pub point: TrackPoint,
}

/// A row of a hand count with the system's count.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The row of the hand count.
    pub by_hand: HandCount,
    /// The number of people that the system counted.
    pub counted: u64,
}

impl Counted {
    /// Returns the system's count less that by hand.
    pub fn error(&self) -> i64 {
        self.counted as i64 - self.by_hand.people as i64
    }
}

/// An error that says why a hand count can't be read. Lines count from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}:{line}: found {found}, wanted {wanted}")]
pub struct FootfallError {
    file: String,
    line: usize,
    found: String,
    wanted: &'static str,
}

const COLUMNS: [&str; 4] = ["camera_id", "from", "to", "people"];
const LINE_COLUMNS: [&str; 2] = ["line", "direction"];

/// Reads a hand count in CSV. A `file` is named in errors only.
///
/// # Errors
/// Returns an error for the first line that can't be right, with found and wanted.
pub fn footfall_from_csv(file: &str, text: &str) -> Result<Vec<HandCount>, FootfallError> {
    let error = |line: usize, found: String, wanted: &'static str| FootfallError {
        file: file.to_owned(),
        line,
        found: found.chars().take(80).collect(),
        wanted,
    };
    let split = |line: &str| line.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().map(|(_, line)| split(line)).unwrap_or_default();
    let with_line = header.len() == COLUMNS.len() + LINE_COLUMNS.len();
    let wanted: Vec<&str> =
        if with_line { COLUMNS.iter().chain(&LINE_COLUMNS).copied().collect() } else { COLUMNS.to_vec() };
    if header != wanted {
        let found = format!("header {}", header.join(","));
        return Err(error(1, found, "camera_id,from,to,people or camera_id,from,to,people,line,direction"));
    }
    let mut rows = Vec::new();
    for (at, line) in lines {
        let at = at + 1;
        let values = split(line);
        if values.len() != header.len() {
            return Err(error(at, format!("{} columns", values.len()), "as many as the header has"));
        }
        let time = |i: usize| {
            let found = format!("{} {:?}", COLUMNS[i], values[i]);
            Timestamp::parse(&values[i]).map_err(|_| error(at, found, "a time such as 2026-11-25T10:00:00+00:00"))
        };
        let (from, to) = (time(1)?, time(2)?);
        if from >= to {
            return Err(error(at, format!("from {} to {}", values[1], values[2]), "from before to"));
        }
        let people =
            values[3].parse().map_err(|_| error(at, format!("people {:?}", values[3]), "a number of people from 0"))?;
        let line = if with_line && !values[4].is_empty() {
            let points: Vec<f64> = values[4].split_whitespace().filter_map(|value| value.parse().ok()).collect();
            let ends: Vec<Share> =
                points.chunks(2).filter_map(|pair| Some(Share::new(pair[0], *pair.get(1)?))).collect();
            let line = DirectedLine::new(&ends).ok().filter(|_| points.len() == 4);
            let line =
                line.ok_or_else(|| error(at, format!("line {:?}", values[4]), "x1 y1 x2 y2, shares from 0 to 1"))?;
            let inward = match values[5].as_str() {
                "in" => true,
                "out" => false,
                found => return Err(error(at, format!("direction {found:?}"), "in or out")),
            };
            Some(Line { line, inward })
        } else {
            None
        };
        rows.push(HandCount { camera: values[0].clone(), from, to, people, line });
    }
    Ok(rows)
}

/// Returns the times at which the tracks of a camera cross the line in one direction, by the code that makes gold.
fn crossings(line: &Line, mut path: TrackPath) -> Vec<Timestamp> {
    let direction = if line.inward { Direction::In } else { Direction::Out };
    let crossings = path.crossings(&"line".into(), &line.line, &Rules::default()).into_iter();
    let of_direction = crossings.filter(|crossing| crossing.direction == direction);
    of_direction.map(|crossing| Timestamp::from_micros(crossing.at_us)).collect()
}

/// Counts in `seen` what each row of a hand count asks for. `seen` may be in any order.
pub fn score_footfall(hand: Vec<HandCount>, seen: &[Seen]) -> Vec<Counted> {
    hand.into_iter()
        .map(|by_hand| {
            let is_inside = |at: Timestamp| at >= by_hand.from && at < by_hand.to;
            let of_camera = seen.iter().filter(|s| s.camera == by_hand.camera);
            let at = |seen: &Seen| Timestamp::from_micros(seen.point.at_us);
            let counted = match &by_hand.line {
                None => of_camera.filter(|s| is_inside(at(s))).map(|s| &s.track).collect::<BTreeSet<_>>().len() as u64,
                Some(line) => {
                    // Whole paths: a step from one interval into the next belongs to the next.
                    let mut paths: BTreeMap<_, TrackPath> = BTreeMap::new();
                    of_camera.for_each(|s| paths.entry(&s.track).or_default().push(s.point.clone()));
                    let of_path = |path| crossings(line, path).into_iter().filter(|at| is_inside(*at)).count() as u64;
                    paths.into_values().map(of_path).sum()
                }
            };
            Counted { by_hand, counted }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(second: i64, track: u64, x: f64, y: f64) -> Seen {
        let (x, y) = ((x * 1000.0) as i32, (y * 1000.0) as i32);
        let point = TrackPoint {
            frame_index: second,
            det_id: track.to_string().into(),
            at_us: 1_764_064_800_000_000 + second * 1_000_000,
            bbox: [x - 10, y - 100, x + 10, y],
            img_w: 1000,
            img_h: 1000,
            conf: 0.9,
        };
        Seen { camera: "door".into(), track: ("run".into(), track), point }
    }

    fn hand(rows: &str) -> Vec<HandCount> {
        footfall_from_csv("c.csv", &format!("camera_id,from,to,people,line,direction\n{rows}")).unwrap()
    }

    const HOUR: &str = "door,2025-11-25T10:00:00Z,2025-11-25T11:00:00Z";

    #[test]
    fn different_people_in_the_interval_are_counted() {
        let people = [seen(0, 1, 0.5, 0.5), seen(1, 1, 0.5, 0.5), seen(2, 2, 0.5, 0.5), seen(4000, 3, 0.5, 0.5)];
        let counted = score_footfall(hand(&format!("{HOUR},3,,")), &people);
        assert_eq!((counted[0].counted, counted[0].error()), (2, -1));
    }

    #[test]
    fn crossings_are_counted_by_direction_and_once_for_who_stands_on_the_line() {
        // Looking down the picture from (0.5, 0) to (0.5, 1): the right hand is at smaller x.
        let walk = [0.8, 0.8, 0.5, 0.5, 0.2, 0.2, 0.8];
        let people: Vec<_> = walk.iter().zip(0..).map(|(x, t)| seen(t, 1, *x, 0.5)).collect();
        let rows = format!("{HOUR},1,0.5 0 0.5 1,in\n{HOUR},1,0.5 0 0.5 1,out\n{HOUR},0,0.5 0.6 0.5 1,in");
        let counted: Vec<_> = score_footfall(hand(&rows), &people).iter().map(|row| row.counted).collect();
        assert_eq!(counted, [1, 1, 0], "past the line's end nobody crosses it");
    }

    #[test]
    fn a_step_from_one_interval_into_the_next_counts_in_the_next() {
        let people = [seen(3598, 1, 0.8, 0.5), seen(3599, 1, 0.8, 0.5), seen(3600, 1, 0.2, 0.5)];
        let next = "door,2025-11-25T11:00:00Z,2025-11-25T12:00:00Z";
        let rows = format!("{HOUR},0,0.5 0 0.5 1,in\n{next},1,0.5 0 0.5 1,in");
        let counted: Vec<_> = score_footfall(hand(&rows), &people).iter().map(|row| row.counted).collect();
        assert_eq!(counted, [0, 1]);
    }

    #[test]
    fn a_box_that_trembles_on_the_line_crosses_it_once() {
        let walk = [0.8, 0.8, 0.502, 0.498, 0.502, 0.497, 0.503, 0.2];
        let people: Vec<_> = walk.iter().zip(0..).map(|(x, t)| seen(t, 1, *x, 0.5)).collect();
        let rows = format!("{HOUR},1,0.5 0 0.5 1,in\n{HOUR},0,0.5 0 0.5 1,out");
        let counted: Vec<_> = score_footfall(hand(&rows), &people).iter().map(|row| row.counted).collect();
        assert_eq!(counted, [1, 0]);
    }

    #[test]
    fn a_wrong_row_is_named() {
        let cases = [
            ("a,b", "c.csv:1: found header a,b, wanted camera_id"),
            ("camera_id,from,to,people\nx,now,later,1", r#"c.csv:2: found from "now", wanted a time"#),
            ("camera_id,from,to,people\nx,2025-11-25T11:00:00Z,2025-11-25T10:00:00Z,1", "wanted from before to"),
            ("camera_id,from,to,people\nx,2025-11-25T10:00:00Z,2025-11-25T11:00:00Z,-1", r#"found people "-1""#),
            ("camera_id,from,to,people\nx,2025-11-25T10:00:00Z", "c.csv:2: found 2 columns"),
        ];
        for (text, wanted) in cases {
            let error = footfall_from_csv("c.csv", text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}

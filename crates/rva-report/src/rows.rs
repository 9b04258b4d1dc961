//! Rows of gold of one shop and a span of time, of which a report is made.

/// The least stretch of time that rows are summed over: a minute, or a quarter of an hour for longer spans.
pub type Bin = i64;

/// The number of people that a camera saw, summed over a bin of `gold_people_per_minute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The camera's id.
    pub camera: String,
    /// The bin's first moment, in microseconds since 1970.
    pub at_us: i64,
    /// The number of people in all frames together.
    pub detections: i64,
    /// The number of frames, empty ones too.
    pub frames: i64,
    /// The most people in one frame.
    pub people_max: i64,
}

/// The first minute in which a camera saw most people at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peak {
    /// The camera's id.
    pub camera: String,
    /// The minute, in microseconds since 1970.
    pub at_us: i64,
    /// The number of people in one frame.
    pub people: i64,
}

/// The number of tracks that began in a bin (`gold_track_summary`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Began {
    /// The camera's id.
    pub camera: String,
    /// The bin's first moment, in microseconds since 1970.
    pub at_us: i64,
    /// The number of tracks.
    pub tracks: i64,
}

/// The crossings of a line in a bin (`gold_line_crossings`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossed {
    /// The camera's id.
    pub camera: String,
    /// The line's name.
    pub line: String,
    /// The bin's first moment, in microseconds since 1970.
    pub at_us: i64,
    /// The number of crossings in.
    pub came_in: i64,
    /// The number of crossings out.
    pub went_out: i64,
}

/// A shape of `zones` that is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapeKind {
    /// A polygon that people stay in.
    Zone,
    /// A directed line that people cross.
    Line,
}

/// A zone or a line that is valid in the span (`zones`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The camera's id.
    pub camera: String,
    /// Its name.
    pub name: String,
    /// The kind of shape.
    pub kind: ShapeKind,
    /// The first moment in which it is valid, in microseconds since 1970.
    pub valid_from_us: i64,
    /// The end of its time; `None` where it is still valid.
    pub valid_to_us: Option<i64>,
}

/// The visits of a zone that begin in the span (`gold_zone_visits`).
#[derive(Debug, Clone, PartialEq)]
pub struct Visited {
    /// The camera's id.
    pub camera: String,
    /// The zone's name.
    pub zone: String,
    /// The number of visits.
    pub visits: i64,
    /// The number of different tracks.
    pub tracks: i64,
    /// The time of all visits together.
    pub dwell_seconds_total: f64,
    /// The time that half of the visits stay below.
    pub dwell_seconds_median: f64,
    /// The longest visit.
    pub dwell_seconds_max: f64,
}

/// The people in a cell of a camera's picture (`gold_zone_heatmap`, `gold_zone_dwell`).
#[derive(Debug, Clone, PartialEq)]
pub struct CellSeen {
    /// The camera's id.
    pub camera: String,
    /// The cell's column, from the left.
    pub x: i64,
    /// The cell's row, from the top.
    pub y: i64,
    /// The number of detections.
    pub hits: i64,
    /// The time that people stayed there, all together.
    pub dwell_seconds: f64,
    /// The number of visits.
    pub visits: i64,
}

/// When a camera looked, summed over a bin of `gold_camera_minute`.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// The camera's id.
    pub camera: String,
    /// The bin's first moment, in microseconds since 1970.
    pub at_us: i64,
    /// The number of minutes with a frame.
    pub minutes: i64,
    /// The first of them.
    pub first_us: i64,
    /// The last of them.
    pub last_us: i64,
    /// The longest time between two frames of one minute.
    pub longest_gap_seconds: f64,
}

/// A stretch of time between two minutes with frames in which a camera didn't look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The camera's id.
    pub camera: String,
    /// The first moment of the first minute without a frame.
    pub from_us: i64,
    /// The first moment of the next minute with one.
    pub to_us: i64,
}

/// All rows of a report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// People by bin.
    pub seen: Vec<Seen>,
    /// One row a camera.
    pub peaks: Vec<Peak>,
    /// Tracks by bin.
    pub began: Vec<Began>,
    /// Zones and lines.
    pub shapes: Vec<Shape>,
    /// Crossings by bin.
    pub crossed: Vec<Crossed>,
    /// One row a zone.
    pub visited: Vec<Visited>,
    /// One row a cell.
    pub cells: Vec<CellSeen>,
    /// Minutes by bin.
    pub looked: Vec<Looked>,
    /// Gaps between minutes.
    pub gaps: Vec<Gap>,
}

/// The subject of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The store's id.
    pub store: String,
    /// The cameras' ids.
    pub cameras: Vec<String>,
    /// The first moment, a whole minute, in microseconds since 1970.
    pub from_us: i64,
    /// The end, which is no part of it.
    pub to_us: i64,
    /// The time zone of hours and days.
    pub zone: crate::Zone,
    /// The lines whose crossings in are visitors; all where none is given.
    pub entrances: Vec<String>,
}

impl Question {
    /// The longest span whose rows are by minute.
    const BY_MINUTE_US: i64 = 26 * crate::clock::HOUR_US;

    /// Returns the size of the bins that rows are to be summed over, in microseconds.
    pub fn bin_us(&self) -> Bin {
        if self.to_us - self.from_us <= Self::BY_MINUTE_US { crate::clock::MINUTE_US } else { crate::clock::QUARTER_US }
    }
}

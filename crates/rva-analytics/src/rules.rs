//! Numbers that the definitions are made with.

/// Returns milliseconds as whole microseconds.
const fn millis(value: i64) -> i64 {
    value * 1000
}

/// The limits that silver and gold are defined with. Times are in microseconds, never in numbers of frames, so that
/// rows don't depend on the frame rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Keeps detections from this confidence in silver. Raising it drops unsure people.
    pub conf_min: f64,
    /// Joins two neighbouring detections of a track if at most this time lies between them. Raising it bridges longer
    /// gaps.
    pub gap_max_us: i64,
    /// Begins a visit of a zone with a stay inside of at least this time. Raising it ignores people who pass a corner.
    pub enter_min_us: i64,
    /// Ends a visit with a stay outside of at least this time. Raising it forgives longer steps over the border.
    pub leave_min_us: i64,
    /// Counts a side of a line once a track has been on it for this time. Raising it ignores longer flickers.
    pub side_min_us: i64,
    /// Puts anchors on neither side that are nearer to a line than this share of the picture's diagonal.
    pub line_band: f64,
    /// Splits the picture into so many cells across, and as many down.
    pub grid: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            conf_min: 0.4,
            gap_max_us: millis(2000),
            enter_min_us: millis(300),
            leave_min_us: millis(1000),
            side_min_us: millis(200),
            line_band: 0.01,
            grid: 10,
        }
    }
}

/// The class that counts as people.
pub const PERSON: &str = "person";

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Returns the start of the minute that holds a moment, both in microseconds since 1970.
pub const fn minute_of(micros: i64) -> i64 {
    micros.div_euclid(MINUTE_US) * MINUTE_US
}

/// Returns the start of the hour that holds a moment, both in microseconds since 1970.
pub const fn hour_of(micros: i64) -> i64 {
    micros.div_euclid(HOUR_US) * HOUR_US
}

/// Returns the length of a minute in microseconds.
pub const fn minute_us() -> i64 {
    MINUTE_US
}

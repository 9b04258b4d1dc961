//! The definition of silver and gold, with which every engine is compared.
//!
//! Bronze holds what cameras sent. **Silver** is bronze exploded: a row for each frame, one for each detection that
//! counts, one for each thing that doesn't. **Gold** is a function of silver and of the zones that were drawn: people
//! per minute, tracks, visits, dwell, crossings. It has no clock and no order of arrival, so it comes out the same for
//! data that is hours late, comes twice as often, or in another order; a refresh of some hours is the same function of
//! those hours.
//!
//! Two kinds of sums make gold. Sums that don't depend on order are [`HourPartial`]s: they are merged in any order.
//! Sums that do (dwell, visits, crossings) are functions of one whole [`TrackPath`]. [`gold()`] is both over everything
//! at once.
//!
//! The crate is pure: it has no clock, no files and no tables.
//!
//! ```
//! use rva_analytics::{BronzeRow, Rules, Zones, explode, gold};
//! use rva_types::{CameraId, RunId, StoreId, Timestamp};
//!
//! let payload = r#"{"capture_ts":"2026-01-31T08:00:00+00:00","image_size":{"width":640,"height":480},"detections":[
//!     {"det_id":"1-0","class":"person","conf":0.9,"bbox":{"x1":10,"y1":10,"x2":50,"y2":200},"track_id":1}]}"#;
//! let row = BronzeRow {
//!     schema_version: "1.0",
//!     run: &RunId::parse("run")?,
//!     frame_index: 1,
//!     payload,
//!     camera: &CameraId::parse("door")?,
//!     store: &StoreId::parse("berlin")?,
//!     ingest_ts: Timestamp::parse("2026-01-31T08:00:01Z")?,
//! };
//! let silver = explode(&row, &Rules::default());
//! let rows = gold(silver.rows.as_ref(), &Zones::default(), &Rules::default());
//! assert_eq!((rows.people[0].unique_people, rows.people[0].people_max), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(unreachable_pub)]

mod gold;
mod hour;
mod redraw;
mod rules;
mod shape;
mod silver;
mod track;
mod zones;

pub use gold::{
    CameraHourKey, CameraKey, CameraMinuteRow, CellKey, CrossingRow, DwellRow, HeatmapRow, HourRow, HourRows,
    MinuteRow, PeopleRow, SummaryRow, VisitRow, ZoneMinuteRow, gold, hour_key, track_points,
};
pub use hour::HourPartial;
pub use redraw::{Drawn, redraw};
pub use rules::{PERSON, Rules, hour_of, minute_of, minute_us};
pub use shape::{DirectedLine, Direction, Polygon, ShapeError, Share, anchor};
pub use silver::{
    BronzeRow, Exploded, FrameKey, FrameRows, Reject, RejectReason, SilverDetection, SilverFrame, explode,
};
pub use track::{Cell, CellDwell, Crossing, TrackKey, TrackOutcome, TrackPath, TrackPoint, TrackSummary, Visit};
pub use zones::{CameraZones, Shape, ZoneDefinition, ZoneError, Zones};

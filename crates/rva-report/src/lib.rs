//! Makes one document of what gold says of a shop and a span of time: visitors, people at once, hours, zones, lines, where
//! people stood, and when the cameras looked.
//!
//! Pure: rows of gold come in ([`Rows`], read by whoever has the tables), numbers come out ([`Report`]), and from them a
//! page that loads nothing ([`page()`]), rows for people ([`sections()`]) and rows for programs ([`facts()`]). No clock, no
//! files, no SQL.
//!
//! ```
//! use rva_report::{Crossed, Looked, Question, Report, Rows, Shape, ShapeKind, Zone};
//!
//! let question = Question {
//!     store: "store_01".into(),
//!     cameras: vec!["door".into()],
//!     from_us: 0,
//!     to_us: 3_600_000_000,
//!     zone: Zone::parse("Europe/Berlin")?,
//!     entrances: vec![],
//! };
//! let camera = || "door".to_owned();
//! let rows = Rows {
//!     shapes: vec![Shape {
//!         camera: camera(), name: "sill".into(), kind: ShapeKind::Line, valid_from_us: 0, valid_to_us: None,
//!     }],
//!     crossed: vec![Crossed { camera: camera(), line: "sill".into(), at_us: 0, came_in: 3, went_out: 1 }],
//!     looked: vec![Looked {
//!         camera: camera(), at_us: 0, minutes: 1, first_us: 0, last_us: 0, longest_gap_seconds: 0.1,
//!     }],
//!     ..Rows::default()
//! };
//! let report = Report::of(&question, &rows);
//! assert_eq!((report.visitors.count, report.visitors.counted_by.code()), (3, "crossings_in"));
//! assert_eq!(report.hours[0].start, "1970-01-01T01:00:00+01:00");
//! # Ok::<(), rva_report::ZoneError>(())
//! ```
#![warn(unreachable_pub)]

mod cameras;
mod clock;
mod counting;
mod facts;
mod hours;
mod page;
mod picture;
mod report;
mod rows;
mod sections;

pub use cameras::{CameraPart, CoveragePart, GapPart};
pub use clock::{HOUR_US, MINUTE_US, Zone, ZoneError};
pub use counting::LineId;
pub use facts::{FACT_COLUMNS, facts};
pub use hours::{HourOfDay, Stretch};
pub use page::page;
pub use picture::{Picture, PictureError};
pub use report::{CountedBy, CurvePoint, HeatCell, LinePart, PeakPart, People, Report, Visitors, ZonePart};
pub use rows::{Began, Bin, CellSeen, Crossed, Gap, Looked, Peak, Question, Rows, Seen, Shape, ShapeKind, Visited};
pub use sections::{Section, sections};

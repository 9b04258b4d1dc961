//! The way from the bus to the tables, exactly once.
//!
//! A process may be killed between any two steps, a network may lose an answer, and two ingests may run by mistake. The
//! position in the log therefore lives in the bronze table, in the same commit as the rows: either both are there or
//! neither is, and nothing else holds truth. Whatever goes wrong, the ingest starts again from what the table says.
//!
//! [`run_ingest`] reads an `EventSource`, decides with the pure parts ([`plan_start`], [`Batcher`]) and commits through
//! two `TableSink`s, dead letters first. Its decisions are values that tests compare; the
//! [`Host`](service::Host) around it opens log and tables and says how it is. Tests and comments name the invariants of the design by id (I1–I10).
//!
//! ```
//! use rva_bus::{Message, PartitionRange};
//! use rva_ingest::{Batcher, Offer};
//! use rva_types::{OffsetMap, Position, Timestamp};
//! use std::{collections::BTreeMap, time::Duration};
//!
//! let now = Timestamp::from_micros(1_700_000_000_000_000);
//! let first = Position::of_record(1);
//! let mut batcher = Batcher::new("a log", OffsetMap::new(), OffsetMap::new());
//! batcher.learn(&PartitionRange {
//!     partition: "door".into(),
//!     topic: ("embedded/door".to_owned(), 0),
//!     first: Some(first),
//!     last: Some(first),
//!     next: Position::of_record(2),
//!     skipped_to: None,
//! });
//! let message = Message {
//!     partition: "door".into(),
//!     position: first,
//!     ends_entry: true,
//!     publish_ts: now,
//!     properties: BTreeMap::new(),
//!     body: "not a frame record".into(),
//!     follows: None,
//!     rejected: None,
//! };
//! assert_eq!(batcher.offer(&message, now, Duration::ZERO), Offer::Taken);
//! assert_eq!(batcher.offer(&message, now, Duration::ZERO), Offer::Skipped, "it came again");
//!
//! // The batch says up to where the table has the log then; a message that is no row is a dead letter.
//! let cut = batcher.cut().expect("there is a batch");
//! assert_eq!((cut.bronze.rows.len(), cut.dead.len()), (0, 1));
//! assert!(cut.bronze.to.includes("door", first));
//! ```
#![warn(unreachable_pub)]

mod batcher;
mod clock;
mod counters;
mod error;
mod lease;
mod losers;
mod maintaining;
mod observe;
mod options;
mod origin;
mod run;
pub mod service;
mod start;
mod trouble;

pub use batcher::{Batcher, Cut, Offer};
pub use clock::{Clock, SystemClock};
pub use counters::IngestCounters;
pub use error::IngestError;
pub use lease::{HeldBy, IngestLease, LeaseError};
pub use maintaining::Maintaining;
pub use observe::{IngestEnd, IngestEvent, IngestObserver, IngestReport, TracedMessage};
#[cfg(feature = "mutants")]
pub use options::IngestRules;
pub use options::{IngestOptions, Phase, RollbackPolicy};
pub use run::run_ingest;
pub use start::{Gap, Halt, StartPlan, StartRules, plan_start};

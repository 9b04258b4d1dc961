//! Bus to tables, exactly once.
//!
//! The position in the log lives in the bronze table, in the same commit as the rows; nothing else holds truth.
//! [`run_ingest`] reads an `EventSource`, decides with the pure parts ([`plan_start`], [`Batcher`]) and commits
//! through two `TableSink`s, dead letters first. Whatever goes wrong, it starts again from what the table says.
//! Tests and comments name the invariants of the design by id (I1–I10).

mod batcher;
mod clock;
mod counters;
mod error;
mod lease;
mod losers;
mod observe;
mod options;
mod run;
pub mod service;
mod start;
mod trouble;

pub use batcher::{Batcher, Cut, Offer};
pub use clock::{Clock, SystemClock};
pub use counters::IngestCounters;
pub use error::IngestError;
pub use lease::{HeldBy, IngestLease, LeaseError};
pub use observe::{IngestEnd, IngestEvent, IngestObserver, IngestReport};
pub use options::{IngestOptions, IngestRules, Phase, RollbackPolicy};
pub use run::run_ingest;
pub use start::{Gap, Halt, StartPlan, StartRules, plan_start};

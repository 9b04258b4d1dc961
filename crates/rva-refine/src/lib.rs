//! Keeps silver and gold, tables that always equal their definition, current from bronze.
//!
//! Bronze holds what cameras sent, each event once. [`Refine`] follows its snapshots: every new row becomes rows of
//! silver once, and the hours of gold that new silver touches are worked out again and replaced. What the rows are is
//! `rva-analytics`' business; how they come into the tables exactly once is here.
//!
//! Nothing but the tables is state: each carries the position in its input that it is at, moved in the commit of its
//! rows. A crash anywhere leaves each table at its own position, and the next step goes on from there.
//!
//! Tests and comments name the invariants of the design by id (R1-R6).
//!
//! ```
//! use rva_analytics::Rules;
//! use rva_lake::{Lake, LakeOptions};
//! use rva_refine::{Refine, Stepped};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let lake = Lake::open_embedded(folder.path(), LakeOptions::default()).await?;
//! // Makes the tables of silver and gold where they are missing.
//! let mut refine = Refine::open(&lake, Rules::default()).await?;
//! // There is no bronze yet, so the tables equal their definition as they are: empty.
//! assert_eq!(refine.step().await?, Stepped::Idle);
//! assert_eq!(refine.counters.bronze_rows, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(unreachable_pub)]

mod check;
mod counters;
mod drawing;
mod error;
mod gold;
mod ids;
mod metrics;
mod rebuild;
mod refine;
mod run;
pub mod service;
mod silver;
mod step;

pub use check::{Difference, check_silver, whole_of_gold};
pub use counters::RefineCounters;
pub use drawing::{Drawing, draw};
#[doc(hidden)]
pub use gold::gold_cells;
pub use metrics::METRICS;
pub use rebuild::{Rebuild, RebuildTables, day};
pub use refine::Refine;
pub use run::{RefineObserver, RefinePhase, may_pass, run_refine};
#[cfg(feature = "mutants")]
pub use step::RefineRules;
pub use step::Stepped;

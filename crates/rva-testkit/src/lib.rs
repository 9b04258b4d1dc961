//! Fakes, faulty layers and contract suites: what the tests of several crates share, and no release binary holds.
//!
//! A seam is worth as much as what its implementations have in common. So each seam has one suite here, and every
//! implementation runs it, the fake too; a fake that breaks the contract would let tests pass that the real thing
//! fails. Faults are layers: a `lake::FaultyCatalog` wraps a real catalog, a `lake::FaultyStorage` a real disk, a
//! `bus::SlowSource` a real log, and a plan says what strikes when. Rules that a mutant breaks are in the crates
//! themselves, behind their feature `mutants`, which their own tests require and no program has.
//!
//! Crates name this one in `[dev-dependencies]` only, with the features that they need; `tests/arch.rs` holds them to
//! it.
//!
//! ```
//! use rva_testkit::{measure::median, vtest};
//!
//! // Footage that a test needs is fetched by the set-up; where it isn't there, the test says that it is skipped.
//! if let Some(video) = vtest() {
//!     assert!(video.is_file());
//! }
//! assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
//! ```
#![warn(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "the whole crate is a test's")]

#[cfg(feature = "bus")]
pub mod bus;
#[cfg(feature = "collector")]
pub mod collector;
#[cfg(feature = "lake")]
pub mod lake;
mod material;
pub mod measure;
pub mod program;
#[cfg(feature = "vision")]
pub mod vision;

pub use material::{ffmpeg, folder, python_with, repository, shared, vtest};

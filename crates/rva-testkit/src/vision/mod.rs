//! Fakes of the seams of vision, and the contracts that every source and every detector keeps.

pub mod contract;
pub mod fake;

pub use contract::{detector_contract, source_contract};

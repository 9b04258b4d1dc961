//! A log in memory, a slow one, and the contract that every log keeps.

pub mod contract;
mod memory;
mod slow;

pub use contract::Log;
pub use memory::{MemoryFault, MemoryLog};
pub use slow::SlowSource;

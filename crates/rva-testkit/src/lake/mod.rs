//! Fakes and faulty layers of the lake, and what its tests share.

mod catalog;
mod memory;
mod race;
mod rows;
mod script;
mod storage;

pub use catalog::{CatalogFaults, FaultyCatalog, LoadFault, RequestFault};
pub use memory::{KeyedRow, MemoryFault, MemorySink, MemoryTable};
pub use race::race;
pub use rows::{SOURCE, at, batch, put_rows, quick, row, row_of};
pub use script::Script;
pub use storage::{FaultyFactory, FaultyStorage, FullDisk, NoFaults, StorageCall, StorageFaults};

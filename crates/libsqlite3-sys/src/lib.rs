//! SQLite as a newer `libsqlite3-sys` has it, for crates that want 0.30.
//!
//! `sqlx` 0.8 can't be raised (iceberg's SQL catalog names it) and holds SQLite at 3.46.0. Its releases since mended a
//! database that two writers could damage in WAL mode (3.51.3) and faults of memory (CVE-2025-6965, 3.50.2). `sqlx` 0.9
//! allows 0.30 to 0.37 and uses the same functions, so the newer one serves 0.8 too.

pub use newer::*;

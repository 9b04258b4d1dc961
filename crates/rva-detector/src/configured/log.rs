//! The embedded log, as configured.

use rva_bus::{LogOptions, SizePolicy};
use rva_service::{Config, WhenFull};

/// Returns the log's options as configured.
pub fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        sync_interval: config.log.flush_interval,
        segment_bytes_max: config.log.segment_size,
        size_bytes_max: config.log.size_max,
        size_policy: match config.log.when_full {
            WhenFull::Block => SizePolicy::Block,
            WhenFull::DropOldest => SizePolicy::DropOldest,
        },
        retention: config.log.retention,
        ..LogOptions::default()
    }
}

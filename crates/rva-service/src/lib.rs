//! Layered configuration, telemetry and shutdown: what every binary needs before it does its own work.
//!
//! Configuration is a table of keys ([`KEYS`]): each with its kind, default and environment names. [`load`] merges
//! default, file, environment and flags, and either gives a typed [`Config`] together with the origin of each value
//! or all problems at once.

mod advice;
mod config;
mod connections;
mod health;
mod key;
mod keys;
mod layers;
mod limits;
mod metrics;
mod process;
mod quantity;
mod secret;
mod secret_file;
mod show;
mod shutdown;
mod telemetry;
mod yaml_bounds;
mod yaml_lines;

pub use advice::warn_of_plain_text;
pub use config::{
    BusConfig, BusKind, CameraConfig, CaptureConfig, CatalogConfig, CatalogKind, Config, DetectorConfig, HealthConfig,
    IcebergConfig, IngestConfig, LogConfig, OnRollback, PulsarConfig, QueryConfig, RefineConfig, S3Config,
    TelemetryConfig,
};
pub use health::{Health, HealthServer};
pub use key::{Key, Kind};
pub use keys::{CAMERA_KEYS, KEYS};
pub use layers::{ConfigError, Layers, Loaded, Origin, Override, Problem, Setting, load};
pub use limits::{memory_limit, raise_open_files};
pub use metrics::{Metric, Totals, wrong_names};
pub use process::load_of_process;
pub use quantity::{QuantityError, format_bytes, format_duration, parse_bytes, parse_duration};
pub use secret::{Secret, SourceText, scrub};
pub use secret_file::text_of_file;
pub use show::{ShowFormat, show};
pub use shutdown::StopFlag;
pub use telemetry::{LogFormat, TelemetryError, init_telemetry};
pub use yaml_bounds::too_much as too_much_yaml;

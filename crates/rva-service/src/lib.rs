//! Layered configuration, telemetry, health and shutdown: needed by every binary before it does its own work.
//!
//! Configuration is a table of keys ([`KEYS`]): each has its kind, default and environment names. [`load`] merges
//! default, file, environment and flags, the strongest last, and checks every value of every layer. It either returns a
//! typed [`Config`] together with the origin of each value, or all problems at once: nobody mends a file one error at a
//! time.
//!
//! A service says how it is over HTTP ([`Health`]), logs to stderr with secrets taken out of every line
//! ([`init_telemetry`], [`scrub`]), and stops when a [`StopFlag`] says so.
//!
//! ```
//! use rva_service::{Layers, load};
//!
//! let layers = Layers {
//!     file: Some(("rva.yaml".into(), "detector:\n  conf: 0.3\n".to_owned())),
//!     environment: vec![("RVA_DETECTOR_CONF".to_owned(), "0.5".to_owned())],
//!     overrides: Vec::new(),
//! };
//! let loaded = load(&layers)?;
//! assert_eq!(loaded.config.detector.conf, 0.5);
//! let setting = loaded.settings.iter().find(|setting| setting.path == "detector.conf");
//! assert_eq!(setting.map(|setting| setting.origin.to_string()).as_deref(), Some("environment RVA_DETECTOR_CONF"));
//!
//! let misspelt = Layers { file: Some(("rva.yaml".into(), "detector:\n  confidence: 0.3\n".to_owned())), ..layers };
//! assert!(load(&misspelt).unwrap_err().to_string().contains("unknown key"));
//! # Ok::<(), rva_service::ConfigError>(())
//! ```
#![warn(unreachable_pub)]

mod advice;
mod alerts;
mod config;
mod connections;
mod entries;
mod flags;
mod health;
mod key;
mod keys;
mod layers;
mod limits;
mod local;
mod metrics;
mod problems;
mod process;
mod quantity;
mod repeats;
mod secret;
mod secret_file;
mod show;
mod shutdown;
#[cfg(feature = "lake")]
pub mod tables;
mod telemetry;
mod traces;
mod values;
mod yaml_bounds;
mod yaml_lines;
mod zones;

pub use advice::warn_of_plain_text;
pub use alerts::{AlertConfig, AlertLimit, AlertOf, DaySpan};
pub use config::{
    BusConfig, BusKind, CameraConfig, CaptureConfig, CatalogConfig, CatalogKind, Config, DetectorConfig, HealthConfig,
    IcebergConfig, IngestConfig, LogConfig, MaintainConfig, NotifyConfig, OnRollback, PulsarConfig, QueryConfig,
    RefineConfig, S3Config, TelemetryConfig, WhenFull,
};
pub use flags::{Given, ProgramArgs, ServiceArgs};
pub use health::{Health, HealthServer, LocalServer};
pub use key::{Key, Kind};
pub use keys::{CAMERA_KEYS, KEYS};
pub use layers::{ConfigError, Layers, Loaded, Origin, Override, Problem, Setting, load};
pub use limits::{memory_limit, raise_open_files};
pub use local::Role;
pub use metrics::{Histogram, HistogramCounts, Metric, Series, Totals, wrong_names};
pub use problems::Problems;
pub use process::{LoadAgain, load_of_process};
pub use quantity::{QuantityError, format_bytes, format_duration, parse_bytes, parse_duration};
pub use rva_types::StopFlag;
pub use secret::{Secret, SourceText, scrub};
pub use secret_file::text_of_file;
pub use show::{ShowFormat, show};
pub use shutdown::{ended_or_stopped, stop_on_signals, stopped};
pub use telemetry::{LogFormat, TelemetryError, init_telemetry};
pub use traces::{TRACE_LINKS_MAX, TraceSpan, Traces};
pub use yaml_bounds::too_much as too_much_yaml;
pub use zones::{ZoneConfig, ZonesOf};

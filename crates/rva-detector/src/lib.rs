//! The way from cameras to the bus: a camera's frames become records in an event sink, once each and in order.
//!
//! A camera is a live thing: it breaks off, changes its picture's size, or sends garbage, and the other cameras must
//! not notice. So each runs alone ([`run_camera`]), a [`Supervisor`] opens it again after pauses that grow, and a sink
//! that is away is waited for while nothing that was decoded is dropped. Every frame that isn't recorded is counted
//! with its reason.
//!
//! `rva run`, `rva detect` and the service run the same [`Fleet`]. It knows neither Iceberg nor Arrow: the sink is a seam
//! ([`rva_bus::EventSink`]).
//!
//! ```
//! use rva_detector::CaptureStamp;
//! use rva_types::{MediaTime, Timestamp};
//!
//! let start = Timestamp::parse("2026-01-31T08:00:00Z")?;
//! let mut stamp = CaptureStamp::recorded(start);
//! let decoded_at = Timestamp::parse("2026-02-01T12:00:00Z")?;
//! let second = stamp.next(MediaTime::from_micros(1_000_000), decoded_at);
//! assert_eq!(second.to_string(), "2026-01-31T08:00:01.000000+00:00", "a file's frames have its own time");
//! // Capture times increase strictly, whatever a container or a clock says.
//! assert!(stamp.next(MediaTime::from_micros(1_000_000), decoded_at) > second);
//! # Ok::<(), rva_types::TimestampError>(())
//! ```
#![warn(unreachable_pub)]

mod camera;
pub mod configured;
mod counters;
mod delivery;
mod fleet;
mod newest;
mod progress;
#[cfg(feature = "pulsar")]
mod publish;
mod publisher;
mod setup;
mod shared;
mod spool;
mod stamp;
mod supervise;
mod traced;

pub use camera::{
    CameraEnd, CameraReport, FrameTap, Observers, OpenCamera, RunSettings, detector_floor, next_run, run_camera,
};
pub use counters::{CameraCounters, CameraCounts, Latency};
pub use delivery::RetryPace;
pub use fleet::{Fleet, FleetView, RunningFleet, open_log, reread};
pub use newest::NewestFrame;
pub use progress::Progress;
#[cfg(feature = "pulsar")]
pub use publish::Publishing;
pub use publisher::Publisher;
pub use setup::{
    CameraSetup, DetectorSetup, OpenSource, PARALLEL_MAX, join_camera, load_shared, open_camera, open_source,
};
pub use shared::SharedSink;
pub use spool::log_totals;
pub use stamp::CaptureStamp;
pub use supervise::{
    CameraHealth, CameraSpec, CameraState, CameraSummary, CameraView, Changes, MakeTap, OpenCameras, ReconnectPace,
    Reload, SharedModelOpener, Supervisor, Watching, watch_cameras,
};

//! Cameras to bus: one camera's frames become records in an event sink, once each and in order.
//!
//! [`run_camera`] is the role; `rva run`, `rva detect` and the service run the same code. It knows neither Iceberg nor
//! Arrow: the sink is a seam ([`rva_bus::EventSink`]).

mod camera;
pub mod configured;
mod counters;
mod delivery;
mod progress;
#[cfg(feature = "pulsar")]
mod publish;
mod setup;
mod shared;
mod spool;
mod stamp;
mod supervise;

pub use camera::{
    CameraEnd, CameraReport, FrameTap, Observers, OpenCamera, RunSettings, detector_floor, next_run, run_camera,
};
pub use counters::{CameraCounters, CameraCounts, Latency};
pub use delivery::RetryPace;
pub use progress::Progress;
#[cfg(feature = "pulsar")]
pub use publish::Publishing;
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

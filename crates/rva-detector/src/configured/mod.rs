//! Cameras as the configuration names them, for every command that runs some.

mod args;
mod cameras;
mod log;
pub mod models;
mod open;
pub mod trackers;

pub use args::{CaptureArgs, DetectionArgs, IdentityArgs};
pub use cameras::{CameraPlan, Plan, plan};
pub use log::log_options;
pub use open::{OpenSpec, open_all, reconnect_pace, specs};

use rva_vision::{VisionError, VisionErrorKind};

/// Returns the error of a request that makes no sense.
fn refused(text: impl Into<String>) -> VisionError {
    VisionError::new(VisionErrorKind::Config, text)
}

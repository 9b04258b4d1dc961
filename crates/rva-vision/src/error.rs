//! The one error of this crate's seams.

use rva_types::SeamError;

/// The kind of an error, for exit codes and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisionErrorKind {
    /// There is no such file, folder, camera or match of a pattern.
    NotFound,
    /// It is there, but it is no video or no picture, or a stream that answers and can't be decoded.
    Unreadable,
    /// The host of a stream can't be reached: its name isn't known, there is no route, nothing answers within the
    /// time-out, or the connection breaks off. Worth a retry.
    Unreachable,
    /// The host is there and refuses the connection: the service doesn't run, or on another port. Worth a retry.
    Refused,
    /// The stream wants credentials and has got none or wrong ones (401, 403). A retry helps only once somebody has
    /// changed something, and cameras lock accounts after a few: seldom.
    Unauthorized,
    /// Something answers that is no stream of pictures: another protocol, a web page, sound alone. Seldom.
    NotAStream,
    /// It accepted the connection and then said nothing within the time-out, or hangs in the video library and was
    /// given up. Worth a retry.
    Stalled,
    /// Its pictures have another size, or come at another rate, than when it was opened: what was given before is good,
    /// and a new opening, a run of its own, goes on. At once, without waiting.
    SourceChanged,
    /// So many captures hang in the video library that no more are started. Seldom: it heals when they come back.
    Exhausted,
    /// It is readable and holds no frames.
    Empty,
    /// It broke off: the frames before are good, more were announced.
    Incomplete,
    /// The model is not one that can be run here: not ONNX, another layout, no class names.
    Model,
    /// The ONNX Runtime library is missing, of a wrong version, or failed.
    Runtime,
    /// The device (CPU, CUDA, TensorRT) is unknown or not there.
    Device,
    /// The request makes no sense: a value outside its range, an unknown file extension.
    Config,
    /// The operating system refused: no permission, no space left.
    Io,
    /// A stage of the pipeline panicked or broke its contract: a fault in this program.
    Fault,
}

/// The time at which it is worth opening a live source again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reopen {
    /// It is worth it at once: nothing is broken.
    AtOnce,
    /// It is worth it after a pause that grows: the trouble heals by itself.
    Soon,
    /// It is worth it after the longest pause: somebody has to change something first.
    Seldom,
    /// It never is: the configuration, the model or this program is wrong.
    Never,
}

impl VisionErrorKind {
    /// Returns when opening a live source again can cure it.
    pub fn reopen(self) -> Reopen {
        match self {
            Self::SourceChanged => Reopen::AtOnce,
            Self::Unreachable
            | Self::Refused
            | Self::Stalled
            | Self::Incomplete
            | Self::Unreadable
            | Self::Empty
            | Self::Io => Reopen::Soon,
            Self::NotFound | Self::Unauthorized | Self::NotAStream | Self::Exhausted => Reopen::Seldom,
            Self::Model | Self::Runtime | Self::Device | Self::Config | Self::Fault => Reopen::Never,
        }
    }
}

/// An error at the seams; its text names the file, what was found and what was wanted.
pub type VisionError = SeamError<VisionErrorKind>;

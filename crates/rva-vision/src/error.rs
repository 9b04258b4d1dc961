//! The one error of this crate's seams.

use std::fmt;

/// What kind of thing went wrong, for exit codes and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisionErrorKind {
    /// No such file, folder, camera or match of a pattern.
    NotFound,
    /// It is there, but it is no video or no picture, or it can't be connected to.
    Unreadable,
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
    /// What was asked for makes no sense: a value outside its range, an unknown file extension.
    Config,
    /// The operating system refused: no permission, no space left.
    Io,
    /// A stage of the pipeline panicked or broke its contract: a fault in this program.
    Fault,
}

/// An error at the seams: its kind, and a text that names the file, what was found and what was wanted.
#[derive(Debug)]
pub struct VisionError {
    kind: VisionErrorKind,
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl VisionError {
    /// Of a kind and a text.
    pub fn new(kind: VisionErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    /// The same with the error that caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> VisionErrorKind {
        self.kind
    }
}

impl fmt::Display for VisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for VisionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

//! Frame sources.

use crate::{FrameSource, VisionError};

/// Where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSpec;

/// How a source is opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OpenOptions;

/// Opens a source.
pub fn open(_spec: &SourceSpec, _options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    Err(VisionError::new(crate::VisionErrorKind::NotFound, "found no source"))
}

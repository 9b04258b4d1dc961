//! Drawing what was found.

/// How pictures are annotated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AnnotateOptions;

/// Writes annotated video.
#[derive(Debug)]
pub struct AnnotatedWriter;

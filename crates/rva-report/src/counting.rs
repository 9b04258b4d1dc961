//! The crossings that count as visitors.

use crate::rows::{Question, Rows, Shape, ShapeKind};
use serde::Serialize;
use std::collections::BTreeSet;

/// A line of a camera.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineId {
    /// The camera's id.
    pub camera: String,
    /// The line's name.
    pub line: String,
}

/// The lines whose crossings in are visitors.
pub(crate) struct Counting(pub BTreeSet<LineId>);

impl Counting {
    pub(crate) fn of(question: &Question, rows: &Rows) -> Self {
        let counts = |shape: &&Shape| {
            shape.kind == ShapeKind::Line && (question.entrances.is_empty() || question.entrances.contains(&shape.name))
        };
        let lines = rows.shapes.iter().filter(counts);
        Self(lines.map(|shape| LineId { camera: shape.camera.clone(), line: shape.name.clone() }).collect())
    }

    pub(crate) fn is_by_line(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn counts(&self, camera: &str, line: &str) -> bool {
        self.0.iter().any(|known| known.camera == camera && known.line == line)
    }
}

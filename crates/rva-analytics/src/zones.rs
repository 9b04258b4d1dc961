//! Zones and lines of cameras, and the times at which they were valid.

use crate::{DirectedLine, Polygon, ShapeError, Share};
use rva_types::{CameraId, StoreId};
use std::{collections::BTreeMap, sync::Arc};

/// A polygon or a directed line.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A polygon, in which people stay.
    Zone(Polygon),
    /// A directed line, which people cross.
    Line(DirectedLine),
}

impl Shape {
    /// Reads the two columns `kind` and `points` of `rva.zones`.
    ///
    /// # Errors
    /// Returns a [`ZoneError`] that names found and wanted.
    pub fn parse(kind: &str, points: &str) -> Result<Self, ZoneError> {
        let pairs: Vec<[f64; 2]> = serde_json::from_str(points).map_err(|error| ZoneError::Points {
            found: points.chars().take(64).collect(),
            error: error.to_string(),
        })?;
        let points: Vec<Share> = pairs.iter().map(|&[x, y]| Share::new(x, y)).collect();
        match kind {
            "zone" => Ok(Self::Zone(Polygon::new(&points)?)),
            "line" => Ok(Self::Line(DirectedLine::new(&points)?)),
            found => Err(ZoneError::Kind { found: found.chars().take(64).collect() }),
        }
    }

    /// Returns the word in column `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Zone(_) => "zone",
            Self::Line(_) => "line",
        }
    }

    /// Returns column `points`: a JSON array of `[x, y]`.
    pub fn points(&self) -> String {
        let points: Vec<Share> = match self {
            Self::Zone(polygon) => polygon.corners().to_vec(),
            Self::Line(line) => vec![line.from(), line.to()],
        };
        let pairs: Vec<[f64; 2]> = points.iter().map(|point| [point.x, point.y]).collect();
        // Checked numbers: nothing that could fail.
        serde_json::to_string(&pairs).unwrap_or_default()
    }
}

/// An error that says why a row of `rva.zones` can't be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ZoneError {
    /// A `kind` that is neither zone nor line.
    #[error("found kind {found:?}, wanted zone or line")]
    Kind {
        /// The kind as it stands there, cut to 64 characters.
        found: String,
    },
    /// A text in `points` that isn't a JSON array of pairs.
    #[error("found points {found:?} ({error}), wanted a JSON array of [x, y]")]
    Points {
        /// The beginning of the text, up to 64 characters.
        found: String,
        /// The parser's error.
        error: String,
    },
    /// Points that make no such shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A row of `rva.zones`: a shape and the time in which it was valid.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneDefinition {
    /// The shop's id.
    pub store: StoreId,
    /// The camera's id.
    pub camera: CameraId,
    /// The shape's name, unique among the shapes of a camera at one time.
    pub name: Arc<str>,
    /// The polygon or line.
    pub shape: Shape,
    /// The first moment at which it is valid, in microseconds since 1970.
    pub valid_from_us: i64,
    /// The end, which is no part of that time; `None` where it is still valid.
    pub valid_to_us: Option<i64>,
}

impl ZoneDefinition {
    /// Returns whether the shape was valid at a moment, in microseconds since 1970.
    pub fn is_valid_at(&self, micros: i64) -> bool {
        micros >= self.valid_from_us && self.valid_to_us.is_none_or(|end| micros < end)
    }
}

/// The shapes of one camera through time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CameraZones {
    definitions: Vec<ZoneDefinition>,
}

impl CameraZones {
    /// Returns every definition, in order of name and time.
    pub fn all(&self) -> &[ZoneDefinition] {
        &self.definitions
    }

    /// Returns the polygons that were valid at some time, with their definitions.
    pub fn zones(&self) -> impl Iterator<Item = (&ZoneDefinition, &Polygon)> {
        self.definitions.iter().filter_map(|definition| match &definition.shape {
            Shape::Zone(polygon) => Some((definition, polygon)),
            Shape::Line(_) => None,
        })
    }

    /// Returns the lines that were valid at some time, with their definitions.
    pub fn lines(&self) -> impl Iterator<Item = (&ZoneDefinition, &DirectedLine)> {
        self.definitions.iter().filter_map(|definition| match &definition.shape {
            Shape::Line(line) => Some((definition, line)),
            Shape::Zone(_) => None,
        })
    }
}

/// The shapes of all cameras through time, as `rva.zones` holds them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Zones {
    cameras: BTreeMap<(StoreId, CameraId), CameraZones>,
    none: CameraZones,
}

impl Zones {
    /// Takes definitions in any order.
    pub fn new(definitions: impl IntoIterator<Item = ZoneDefinition>) -> Self {
        let mut cameras: BTreeMap<_, CameraZones> = BTreeMap::new();
        for definition in definitions {
            let key = (definition.store.clone(), definition.camera.clone());
            cameras.entry(key).or_default().definitions.push(definition);
        }
        for camera in cameras.values_mut() {
            camera.definitions.sort_by(|a, b| (&a.name, a.valid_from_us).cmp(&(&b.name, b.valid_from_us)));
        }
        Self { cameras, none: CameraZones::default() }
    }

    /// Returns the shapes of a camera; none where nothing was ever drawn.
    pub fn of(&self, store: &StoreId, camera: &CameraId) -> &CameraZones {
        self.cameras.get(&(store.clone(), camera.clone())).unwrap_or(&self.none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_back_as_it_was_written() {
        for (kind, points) in [("zone", "[[0.1,0.1],[0.9,0.1],[0.5,0.9]]"), ("line", "[[0.1,0.1],[0.9,0.1]]")] {
            let shape = Shape::parse(kind, points).unwrap();
            assert_eq!((shape.kind(), shape.points().as_str()), (kind, points));
        }
        let error = |kind, points| Shape::parse(kind, points).unwrap_err().to_string();
        assert!(error("circle", "[]").contains("circle"));
        assert!(error("line", "[1]").contains("[x, y]"));
        assert!(error("zone", "[]").contains("at least 3"));
    }

    #[test]
    fn a_definition_is_valid_from_its_first_moment_to_before_its_end() {
        let definition = ZoneDefinition {
            store: StoreId::parse("s").unwrap(),
            camera: CameraId::parse("c").unwrap(),
            name: "door".into(),
            shape: Shape::parse("line", "[[0.1,0.1],[0.9,0.1]]").unwrap(),
            valid_from_us: 10,
            valid_to_us: Some(20),
        };
        let valid: Vec<_> = (8..22).filter(|at| definition.is_valid_at(*at)).collect();
        assert_eq!(valid, (10..20).collect::<Vec<_>>());
        let zones = Zones::new([definition.clone()]);
        assert_eq!(zones.of(&definition.store, &definition.camera).lines().count(), 1);
        assert_eq!(zones.of(&definition.store, &CameraId::parse("other").unwrap()).all(), []);
    }
}

//! Zones and lines of cameras, as the configuration draws them.

use crate::{
    CameraConfig,
    entries::{Entry, Lists, Wrong},
    values::shape as kind_of,
};
use rva_analytics::{DirectedLine, Polygon, Shape, Share};
use rva_types::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value, json};
use serde_yaml_ng::{Mapping, Value as Yaml};
use std::collections::BTreeMap;

/// The most shapes in one list.
const SHAPES_MAX: usize = 1000;

/// The most corners of a polygon: looking for edges that cross takes time with the square of their number.
const POINTS_MAX: usize = 500;

/// The place of a list of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZonesOf {
    /// The list of one camera.
    Camera,
    /// The list of all cameras, each entry with a pattern of ids.
    Cameras,
}

impl ZonesOf {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Camera => &["name", "polygon", "line", "valid_from"],
            Self::Cameras => &["camera", "store", "name", "polygon", "line", "valid_from"],
        }
    }
}

/// A zone or a directed line that somebody drew.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneConfig {
    /// The pattern of the camera's id; `None` in the list of a camera.
    pub camera: Option<String>,
    /// The pattern of the shop's id; `None`: `store_id`, or the camera's own.
    pub store: Option<String>,
    /// The name, unique among the zones and lines of a camera.
    pub name: String,
    /// The polygon or line, in shares of the picture.
    pub shape: Shape,
    /// The first moment at which it is valid; `None`: from when the configuration is read with it first.
    pub valid_from: Option<Timestamp>,
}

/// Checks a list of shapes and returns its normal form.
///
/// # Errors
/// Returns everything that is wrong with it.
pub(crate) fn parse(list: &Yaml, of: ZonesOf) -> Result<Value, Vec<Wrong>> {
    let wanted = "a mapping with name and polygon or line";
    let names = "zones and lines of a camera";
    let lists = Lists { what: "zones and lines", wanted, entries_max: SHAPES_MAX, names };
    let same = |normal: &Map<String, Value>| {
        ["store", "camera", "name"].map(|key| normal.get(key).and_then(Value::as_str).map(str::to_owned)).to_vec()
    };
    lists.read(list, same, |entry, map| {
        entry.name(map, "the tables tell the zone or line by it");
        entry.unknown_keys(map, of.keys());
        if of == ZonesOf::Cameras {
            entry.pattern(map, "camera", true);
            entry.pattern(map, "store", false);
        }
        shape(entry, map);
        match map.get("valid_from") {
            None | Some(Yaml::Null) => {}
            Some(Yaml::String(text)) => match moment(text.trim()) {
                Ok(time) => entry.normal("valid_from", time.to_string()),
                Err(error) => entry.wrong(format!("valid_from: {error}")),
            },
            Some(other) => {
                entry.wrong(format!("valid_from: found {}, wanted a time like 2026-01-31T08:00:00Z", kind_of(other)));
            }
        }
    })
}

fn shape(entry: &mut Entry<'_>, map: &Mapping) {
    let given = |key: &str| map.get(key).filter(|found| !found.is_null());
    let (key, points) = match (given("polygon"), given("line")) {
        (Some(points), None) => ("polygon", points),
        (None, Some(points)) => ("line", points),
        (Some(_), Some(_)) => return entry.wrong("found polygon and line, wanted one of them".to_owned()),
        (None, None) => return entry.wrong("found neither polygon nor line, wanted one of them".to_owned()),
    };
    let checked = shares(points).and_then(|points| shape_of(key, &points).map(|_| points));
    match checked {
        Ok(points) => {
            let pairs: Vec<Value> = points.iter().map(|point| json!([point.x, point.y])).collect();
            entry.normal(key, pairs);
        }
        Err(text) => entry.wrong(format!("{key}: {text}")),
    }
}

/// Returns a moment, or the first of a day in UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let day = Timestamp::parse(&format!("{text}T00:00:00Z"));
    Timestamp::parse(text).or_else(|error| day.map_err(|_| error.to_string()))
}

fn shares(points: &Yaml) -> Result<Vec<Share>, String> {
    let Yaml::Sequence(points) = points else {
        return Err(format!("found {}, wanted a list of points [x, y]", kind_of(points)));
    };
    if points.len() > POINTS_MAX {
        return Err(format!("found {} points, wanted at most {POINTS_MAX}", points.len()));
    }
    let number = |value: &Yaml| match value {
        Yaml::Number(number) => number.as_f64(),
        _ => None,
    };
    let share = |(at, point): (usize, &Yaml)| {
        let pair = point.as_sequence().map(Vec::as_slice).unwrap_or_default();
        match pair {
            [x, y] => number(x).zip(number(y)).map(|(x, y)| Share::new(x, y)),
            _ => None,
        }
        .ok_or_else(|| {
            let found = match point.as_sequence() {
                Some(values) if values.len() != 2 => format!("a list of {}", values.len()),
                Some(_) => "a list of something else".to_owned(),
                None => kind_of(point).to_owned(),
            };
            format!("found {found} as point {}, wanted two numbers [x, y], shares of the picture from 0 to 1", at + 1)
        })
    };
    points.iter().enumerate().map(share).collect()
}

fn shape_of(key: &str, points: &[Share]) -> Result<Shape, String> {
    match key {
        "polygon" => Polygon::new(points).map(Shape::Zone),
        _ => DirectedLine::new(points).map(Shape::Line),
    }
    .map_err(|error| error.to_string())
}

/// Returns what is wrong between the lists: an entry of all cameras that names a camera by its id, where that camera's
/// own list has the name, too.
pub(crate) fn clashes(all: &[ZoneConfig], cameras: &BTreeMap<String, CameraConfig>, store_id: &str) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for entry in all {
        let Some((id, camera)) = entry.camera.as_deref().and_then(|id| cameras.get_key_value(id)) else { continue };
        let store = camera.store.as_deref().unwrap_or(store_id);
        let is_here = entry.store.as_deref().unwrap_or(store_id) == store;
        if is_here && camera.zones.iter().any(|own| own.name == entry.name) {
            let text = format!("found this name for camera {id} and in cameras.{id}.zones, wanted one of them");
            wrong.push(Wrong { place: entry.name.clone(), text });
        }
    }
    wrong
}

/// The normal form of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneText {
    camera: Option<String>,
    store: Option<String>,
    name: String,
    polygon: Option<Vec<[f64; 2]>>,
    line: Option<Vec<[f64; 2]>>,
    valid_from: Option<String>,
}

impl ZoneText {
    fn checked(self) -> Result<ZoneConfig, String> {
        let Self { camera, store, name, polygon, line, valid_from } = self;
        let (key, pairs) = match (polygon, line) {
            (Some(pairs), _) => ("polygon", pairs),
            (None, pairs) => ("line", pairs.unwrap_or_default()),
        };
        let points: Vec<Share> = pairs.iter().map(|&[x, y]| Share::new(x, y)).collect();
        let valid_from =
            valid_from.map(|text| Timestamp::parse(&text)).transpose().map_err(|error| error.to_string())?;
        Ok(ZoneConfig { camera, store, name, shape: shape_of(key, &points)?, valid_from })
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ZoneConfig>, D::Error> {
    let texts = Option::<Vec<ZoneText>>::deserialize(deserializer)?.unwrap_or_default();
    texts.into_iter().map(|text| text.checked().map_err(D::Error::custom)).collect()
}

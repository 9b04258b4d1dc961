//! The fields of a frame record that silver reads.
//!
//! A field of another type than expected is that field's trouble alone: the rest of the record is still read.

use serde::{
    Deserialize, Deserializer,
    de::{
        IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use std::{borrow::Cow, fmt, marker::PhantomData};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordJson<'a> {
    #[serde(borrow)]
    pub capture_ts: Scalar<'a>,
    #[serde(borrow)]
    pub image_size: Maybe<SizeJson<'a>>,
    #[serde(borrow)]
    pub detections: List<DetectionJson<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SizeJson<'a> {
    #[serde(borrow)]
    pub width: Scalar<'a>,
    #[serde(borrow)]
    pub height: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DetectionJson<'a> {
    #[serde(borrow)]
    pub det_id: Scalar<'a>,
    #[serde(borrow)]
    pub class: Scalar<'a>,
    #[serde(borrow)]
    pub class_id: Scalar<'a>,
    #[serde(borrow)]
    pub conf: Scalar<'a>,
    #[serde(borrow)]
    pub bbox: Maybe<BoxJson<'a>>,
    #[serde(borrow)]
    pub track_id: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BoxJson<'a> {
    #[serde(borrow)]
    pub x1: Scalar<'a>,
    #[serde(borrow)]
    pub y1: Scalar<'a>,
    #[serde(borrow)]
    pub x2: Scalar<'a>,
    #[serde(borrow)]
    pub y2: Scalar<'a>,
}

/// A JSON value without parts, or the knowledge that it was something else.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    /// Absent or `null`.
    #[default]
    Nothing,
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
    /// A boolean, an array, an object, or a number outside 64 bits.
    Other,
}

impl Scalar<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns a finite number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Number(number) => Some(*number).filter(|number| number.is_finite()),
            _ => None,
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(48).collect::<String>()),
            Self::Other => f.write_str("a value of another type"),
        }
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A JSON object (or, with `LIST`, an array), or nothing where another value stands.
#[derive(Debug)]
pub(super) struct Maybe<T, const LIST: bool = false>(pub Option<T>);

/// A list whose elements may be anything.
pub(super) type List<T> = Maybe<Vec<Maybe<T>>, true>;

impl<T, const LIST: bool> Default for Maybe<T, LIST> {
    fn default() -> Self {
        Self(None)
    }
}

struct MaybeVisitor<T, const LIST: bool>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const LIST: bool> Visitor<'de> for MaybeVisitor<T, LIST> {
    type Value = Maybe<T, LIST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if LIST {
            return ScalarVisitor.visit_map(map).map(|_| Maybe(None));
        }
        T::deserialize(MapAccessDeserializer::new(map)).map(|found| Maybe(Some(found)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        if !LIST {
            return ScalarVisitor.visit_seq(seq).map(|_| Maybe(None));
        }
        T::deserialize(SeqAccessDeserializer::new(seq)).map(|found| Maybe(Some(found)))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }
}

impl<'de, T: Deserialize<'de>, const LIST: bool> Deserialize<'de> for Maybe<T, LIST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeVisitor(PhantomData))
    }
}

//! Parameters of trackers: one table of keys for each, from which everything else follows.
//!
//! A tracker declares its parameters once, with `params!`: name, type, default, range and what it means. That makes
//! the struct, its defaults, the key table ([`Param`]), reading from the text of a YAML scalar and the check of ranges.

use crate::GmcMethod;
use crate::choice::TABLES;

/// Longest `track_buffer` or `max_age`, in processed frames: over five minutes at 30 a second.
pub const TRACK_BUFFER_MAX: u32 = 10_000;

/// Keys of Ultralytics' tracker YAML files that no tracker here has use for: the model is read by who runs it.
const ULTRALYTICS_KEYS: &[&str] = &["model"];

/// Names the tracker in a YAML file; every tracker knows it.
const TRACKER_TYPE: &str = "tracker_type";
/// Longest part of what was found that an error repeats, in characters.
const FOUND_MAX: usize = 64;
/// Likeness (Damerau-Levenshtein, normalised) above which a known key is taken for the one that was meant.
const NEAR: f64 = 0.4;

/// An error that says why parameters can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// A key that no tracker has.
    #[error("found tracker key {found:?}, wanted {wanted}")]
    UnknownKey {
        /// The key as it was given, cut to 64 characters.
        found: String,
        /// The nearest known key, or all keys of the tracker where none is near.
        wanted: String,
    },
    /// A value that doesn't fit its key.
    #[error("found {key} {found}, wanted {wanted}")]
    Invalid {
        /// The key of the value.
        key: &'static str,
        /// The value as it was given, cut to 64 characters.
        found: String,
        /// The values that would do, in words.
        wanted: String,
    },
}

/// The values that a parameter takes. Ends of ranges belong to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParamKind {
    /// A number.
    Number {
        /// The lowest value.
        least: f32,
        /// The highest value.
        most: f32,
    },
    /// A whole number.
    Count {
        /// The lowest value.
        least: u32,
        /// The highest value.
        most: u32,
    },
    /// Either `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl ParamKind {
    /// A share or a confidence.
    pub(crate) const SHARE: Self = Self::Number { least: 0.0, most: 1.0 };
    /// A number of processed frames that a track waits.
    pub(crate) const FRAMES: Self = Self::Count { least: 0, most: TRACK_BUFFER_MAX };

    /// Returns the values in words, as errors and the documentation have them.
    pub fn wanted(&self) -> String {
        match self {
            Self::Number { least, most } => format!("a number from {least} to {most}"),
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::Flag => "true or false".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// A parameter of a tracker.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// The key as it stands in a YAML file.
    pub name: &'static str,
    /// The values that it takes.
    pub kind: ParamKind,
    /// Returns its default, as a YAML scalar.
    pub default: fn() -> String,
    /// The meaning of the parameter, and what raising it does.
    pub doc: &'static str,
}

/// A type that a parameter can have.
pub(crate) trait Scalar: Sized {
    fn read(text: &str) -> Option<Self>;
    fn fits(&self, kind: &ParamKind) -> bool;
    fn shown(&self) -> String;
}

impl Scalar for f32 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn fits(&self, kind: &ParamKind) -> bool {
        matches!(kind, ParamKind::Number { least, most } if (*least..=*most).contains(self))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Scalar for u32 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn fits(&self, kind: &ParamKind) -> bool {
        matches!(kind, ParamKind::Count { least, most } if (*least..=*most).contains(self))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Scalar for bool {
    fn read(text: &str) -> Option<Self> {
        match text {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    fn fits(&self, kind: &ParamKind) -> bool {
        matches!(kind, ParamKind::Flag)
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Scalar for GmcMethod {
    fn read(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.word().eq_ignore_ascii_case(text))
    }

    fn fits(&self, kind: &ParamKind) -> bool {
        matches!(kind, ParamKind::OneOf(words) if words.contains(&self.word()))
    }

    fn shown(&self) -> String {
        self.word().into()
    }
}

/// Declares a tracker's parameters: see the module's head.
macro_rules! params {
    (
        $(#[$attr:meta])*
        $name:ident of $tracker:expr, $(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty = $default:expr, $kind:expr;
        )+
    ) => {
        $(#[$attr])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default),+ }
            }
        }

        impl $name {
            /// The keys that the tracker uses, in the order of the fields.
            pub const KEYS: &'static [$crate::params::Param] = &[$($crate::params::Param {
                name: stringify!($key),
                kind: $kind,
                default: || $crate::params::Scalar::shown(&<$name>::default().$key),
                doc: concat!($($doc),+),
            }),+];

            /// Sets one key from the text of a YAML scalar. Keys of other trackers are known and ignored.
            ///
            /// # Errors
            /// Returns an error for a key that no tracker has, a value that can't be read or is out of its range, or a
            /// `tracker_type` that names another tracker. The parameters are then as before. Combinations of two keys
            /// are checked by `validate`.
            pub fn set(&mut self, key: &str, value: &str) -> Result<(), $crate::ParamError> {
                $(if key == stringify!($key) {
                    self.$key = $crate::params::read(stringify!($key), value, &$kind)?;
                    return Ok(());
                })+
                $crate::params::check_foreign($tracker, Self::KEYS, key, value)
            }

            /// Checks every key against its range.
            fn check_ranges(&self) -> Result<(), $crate::ParamError> {
                $($crate::params::check(stringify!($key), &self.$key, &$kind)?;)+
                Ok(())
            }
        }
    };
}
pub(crate) use params;

pub(crate) fn invalid(key: &'static str, found: &str, wanted: String) -> ParamError {
    ParamError::Invalid { key, found: found.chars().take(FOUND_MAX).collect(), wanted }
}

pub(crate) fn read<T: Scalar>(key: &'static str, text: &str, kind: &ParamKind) -> Result<T, ParamError> {
    T::read(text).filter(|value| value.fits(kind)).ok_or_else(|| invalid(key, text, kind.wanted()))
}

pub(crate) fn check<T: Scalar>(key: &'static str, value: &T, kind: &ParamKind) -> Result<(), ParamError> {
    if value.fits(kind) { Ok(()) } else { Err(invalid(key, &value.shown(), kind.wanted())) }
}

/// Checks that `low` is not above `high`.
pub(crate) fn check_order(low: (&'static str, f32), high: (&'static str, f32)) -> Result<(), ParamError> {
    if low.1 <= high.1 {
        return Ok(());
    }
    Err(invalid(low.0, &low.1.to_string(), format!("at most {}, which is {}", high.0, high.1)))
}

/// Checks that a key that isn't the tracker's own is one of another tracker, or names this one.
pub(crate) fn check_foreign(tracker: &'static str, own: &[Param], key: &str, value: &str) -> Result<(), ParamError> {
    if key == TRACKER_TYPE {
        return if value == tracker { Ok(()) } else { Err(invalid(TRACKER_TYPE, value, tracker.into())) };
    }
    let known = || {
        let tables = TABLES.iter().copied().flatten().map(|key| key.name);
        tables.chain(ULTRALYTICS_KEYS.iter().copied()).chain([TRACKER_TYPE])
    };
    if known().any(|name| name == key) {
        return Ok(());
    }
    let found: String = key.chars().take(FOUND_MAX).collect();
    let mut nearest: Option<(f64, &str)> = None;
    for name in own.iter().map(|key| key.name).chain(known()) {
        let near = strsim::normalized_damerau_levenshtein(&found, name);
        if near > nearest.map_or(NEAR, |(best, _)| best) {
            nearest = Some((near, name));
        }
    }
    let all = || format!("one of {}", own.iter().map(|key| key.name).collect::<Vec<_>>().join(", "));
    Err(ParamError::UnknownKey { found, wanted: nearest.map_or_else(all, |(_, name)| name.to_owned()) })
}

#[cfg(test)]
mod tests {
    use crate::TrackerChoice;

    #[test]
    fn every_key_takes_its_default_and_refuses_nonsense_with_key_found_and_wanted() {
        for name in TrackerChoice::NAMES {
            let fresh = TrackerChoice::by_name(name).unwrap();
            for key in fresh.keys() {
                let mut choice = fresh.clone();
                choice.set(key.name, &(key.default)()).unwrap();
                assert_eq!(choice, fresh, "{name} {}", key.name);
                assert!(key.doc.len() > 20 && !key.kind.wanted().is_empty(), "{name} {}", key.name);
                for wrong in ["much", "", "NaN", "-1", "1e30", "null"] {
                    let text = choice.set(key.name, wrong).unwrap_err().to_string();
                    assert!(
                        text.contains(key.name) && text.contains(wrong) && text.contains(&key.kind.wanted()),
                        "{text}"
                    );
                    assert_eq!(choice, fresh, "{name} {}", key.name);
                }
            }
        }
    }

    /// Ultralytics' botsort.yaml.
    const ULTRALYTICS: [(&str, &str); 11] = [
        ("track_high_thresh", "0.25"),
        ("track_low_thresh", "0.1"),
        ("new_track_thresh", "0.25"),
        ("track_buffer", "30"),
        ("match_thresh", "0.8"),
        ("fuse_score", "True"),
        ("gmc_method", "sparseOptFlow"),
        ("proximity_thresh", "0.5"),
        ("appearance_thresh", "0.8"),
        ("with_reid", "False"),
        ("model", "auto"),
    ];

    #[test]
    fn a_file_of_ultralytics_loads_whichever_tracker_it_names() {
        for name in TrackerChoice::NAMES {
            let mut choice = TrackerChoice::by_name(name).unwrap();
            choice.set("tracker_type", name).unwrap();
            for (key, value) in ULTRALYTICS {
                choice.set(key, value).unwrap();
            }
            choice.build().unwrap();
        }
    }

    #[test]
    fn a_mistyped_key_is_refused_with_the_nearest_and_a_strange_one_with_all() {
        let mut choice = TrackerChoice::by_name("bytetrack").unwrap();
        let text = choice.set("track_hi_thresh", "0.5").unwrap_err().to_string();
        assert_eq!(text, r#"found tracker key "track_hi_thresh", wanted track_high_thresh"#);
        let text = choice.set("qqqqq", "0.5").unwrap_err().to_string();
        assert!(text.contains("one of track_high_thresh, track_low_thresh"), "{text}");
        let text = choice.set("tracker_type", "nosuch").unwrap_err().to_string();
        assert_eq!(text, "found tracker_type nosuch, wanted bytetrack");
    }
}

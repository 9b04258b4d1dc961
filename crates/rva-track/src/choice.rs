//! The choice of a tracker by its name.

use crate::{
    BotSort, BotSortParams, ByteTrack, ByteTrackParams, DeepSort, DeepSortParams, OcSort, OcSortParams, Param,
    ParamError, Sort, SortParams, SteadyTrack, SteadyTrackParams, Tracker,
};

/// The key tables of all trackers.
pub(crate) const TABLES: &[&[Param]] = &[
    BotSortParams::KEYS,
    ByteTrackParams::KEYS,
    DeepSortParams::KEYS,
    OcSortParams::KEYS,
    SortParams::KEYS,
    SteadyTrackParams::KEYS,
];

/// An error that says why a tracker can't be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrackError {
    /// A name that no tracker has.
    #[error("found tracker {found:?}, wanted {}", TrackerChoice::NAMES.join(" or "))]
    Unknown {
        /// The name as it was given, cut to 64 characters.
        found: String,
    },
    /// Parameters that the named tracker can't use.
    #[error(transparent)]
    Params(#[from] ParamError),
}

/// A tracker and its parameters: decided by a configuration, before there is a camera to follow.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrackerChoice {
    /// Chooses [`BotSort`].
    BotSort(BotSortParams),
    /// Chooses [`ByteTrack`].
    ByteTrack(ByteTrackParams),
    /// Chooses [`DeepSort`].
    DeepSort(DeepSortParams),
    /// Chooses [`OcSort`].
    OcSort(OcSortParams),
    /// Chooses [`Sort`].
    Sort(SortParams),
    /// Chooses [`SteadyTrack`].
    Steady(SteadyTrackParams),
}

impl TrackerChoice {
    /// The names that [`TrackerChoice::by_name`] takes.
    pub const NAMES: &'static [&'static str] =
        &[BotSort::NAME, ByteTrack::NAME, DeepSort::NAME, OcSort::NAME, Sort::NAME, SteadyTrack::NAME];

    /// Returns the named tracker with its default parameters.
    ///
    /// # Errors
    /// Returns [`TrackError::Unknown`] for a name that isn't one of [`TrackerChoice::NAMES`].
    pub fn by_name(name: &str) -> Result<Self, TrackError> {
        match name {
            BotSort::NAME => Ok(Self::BotSort(BotSortParams::default())),
            ByteTrack::NAME => Ok(Self::ByteTrack(ByteTrackParams::default())),
            DeepSort::NAME => Ok(Self::DeepSort(DeepSortParams::default())),
            OcSort::NAME => Ok(Self::OcSort(OcSortParams::default())),
            Sort::NAME => Ok(Self::Sort(SortParams::default())),
            SteadyTrack::NAME => Ok(Self::Steady(SteadyTrackParams::default())),
            _ => Err(TrackError::Unknown { found: name.chars().take(64).collect() }),
        }
    }

    /// Returns the tracker's name as `--tracker` takes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BotSort(_) => BotSort::NAME,
            Self::ByteTrack(_) => ByteTrack::NAME,
            Self::DeepSort(_) => DeepSort::NAME,
            Self::OcSort(_) => OcSort::NAME,
            Self::Sort(_) => Sort::NAME,
            Self::Steady(_) => SteadyTrack::NAME,
        }
    }

    /// Returns the keys that the tracker uses. [`TrackerChoice::set`] takes those of other trackers too, and ignores
    /// them.
    pub fn keys(&self) -> &'static [Param] {
        match self {
            Self::BotSort(_) => BotSortParams::KEYS,
            Self::ByteTrack(_) => ByteTrackParams::KEYS,
            Self::DeepSort(_) => DeepSortParams::KEYS,
            Self::OcSort(_) => OcSortParams::KEYS,
            Self::Sort(_) => SortParams::KEYS,
            Self::Steady(_) => SteadyTrackParams::KEYS,
        }
    }

    /// Sets one parameter from the text of a YAML scalar.
    ///
    /// # Errors
    /// Fails as [`ByteTrackParams::set`] does.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ParamError> {
        match self {
            Self::BotSort(params) => params.set(key, value),
            Self::ByteTrack(params) => params.set(key, value),
            Self::DeepSort(params) => params.set(key, value),
            Self::OcSort(params) => params.set(key, value),
            Self::Sort(params) => params.set(key, value),
            Self::Steady(params) => params.set(key, value),
        }
    }

    /// Makes a new tracker: one is needed for each camera and run.
    ///
    /// # Errors
    /// Fails as [`ByteTrackParams::validate`] does.
    pub fn build(&self) -> Result<Box<dyn Tracker>, TrackError> {
        match self {
            Self::BotSort(params) => Ok(Box::new(BotSort::new(*params)?)),
            Self::ByteTrack(params) => Ok(Box::new(ByteTrack::new(*params)?)),
            Self::DeepSort(params) => Ok(Box::new(DeepSort::new(*params)?)),
            Self::OcSort(params) => Ok(Box::new(OcSort::new(*params)?)),
            Self::Sort(params) => Ok(Box::new(Sort::new(*params)?)),
            Self::Steady(params) => Ok(Box::new(SteadyTrack::new(*params)?)),
        }
    }
}

/// Makes the named tracker with its default parameters, ready for one camera and run.
///
/// # Errors
/// Fails as [`TrackerChoice::by_name`] does.
pub fn tracker_by_name(name: &str) -> Result<Box<dyn Tracker>, TrackError> {
    TrackerChoice::by_name(name)?.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_the_tracker_of_that_name() {
        for name in TrackerChoice::NAMES {
            assert_eq!(TrackerChoice::by_name(name).unwrap().name(), *name);
            assert_eq!(tracker_by_name(name).unwrap().name(), *name);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = TrackerChoice::by_name("foo").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"found tracker "foo", wanted botsort or bytetrack or deepsort or ocsort or sort or steady"#
        );
    }

    #[test]
    fn parameters_reach_the_tracker_and_wrong_ones_stop_it() {
        let mut choice = TrackerChoice::by_name("bytetrack").unwrap();
        choice.set("track_low_thresh", "0.2").unwrap();
        assert_eq!(choice.build().unwrap().lowest_conf(), 0.2);
        choice.set("track_low_thresh", "0.9").unwrap();
        assert!(matches!(
            choice.build().map(|t| t.name()),
            Err(TrackError::Params(ParamError::Invalid { key: "track_low_thresh", .. }))
        ));
    }
}

//! Trackers by name.

use crate::{
    BotSort, BotSortParams, ByteTrack, ByteTrackParams, DeepSort, DeepSortParams, Key, OcSort, OcSortParams,
    ParamError, Sort, SortParams, SteadyTrack, SteadyTrackParams, Tracker,
};

/// The keys of all trackers.
pub(crate) const TABLES: &[&[Key]] = &[
    BotSortParams::KEYS,
    ByteTrackParams::KEYS,
    DeepSortParams::KEYS,
    OcSortParams::KEYS,
    SortParams::KEYS,
    SteadyTrackParams::KEYS,
];

/// Why there is no such tracker.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrackError {
    /// Nobody knows the name.
    #[error("found tracker {found:?}, wanted {}", TrackerChoice::NAMES.join(" or "))]
    Unknown {
        /// As it was given.
        found: String,
    },
    /// The tracker is there, its parameters can't be used.
    #[error(transparent)]
    Params(#[from] ParamError),
}

/// A tracker and its parameters: what a configuration decides, before there is a camera to follow.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrackerChoice {
    /// [`BotSort`].
    BotSort(BotSortParams),
    /// [`ByteTrack`].
    ByteTrack(ByteTrackParams),
    /// [`DeepSort`].
    DeepSort(DeepSortParams),
    /// [`OcSort`].
    OcSort(OcSortParams),
    /// [`Sort`].
    Sort(SortParams),
    /// [`SteadyTrack`].
    Steady(SteadyTrackParams),
}

impl TrackerChoice {
    /// The names that [`TrackerChoice::by_name`] takes.
    pub const NAMES: &'static [&'static str] =
        &[BotSort::NAME, ByteTrack::NAME, DeepSort::NAME, OcSort::NAME, Sort::NAME, SteadyTrack::NAME];

    /// The named tracker with its default parameters.
    ///
    /// # Errors
    /// [`TrackError::Unknown`].
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

    /// The tracker's name as `--tracker` takes it.
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

    /// The keys that the tracker uses. [`TrackerChoice::set`] takes those of other trackers too, and ignores them.
    pub fn keys(&self) -> &'static [Key] {
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
    /// As [`ByteTrackParams::set`].
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

    /// A new tracker: one for each camera and run.
    ///
    /// # Errors
    /// As [`ByteTrackParams::validate`].
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

/// The named tracker with its default parameters, ready for one camera and run.
///
/// # Errors
/// As [`TrackerChoice::by_name`].
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

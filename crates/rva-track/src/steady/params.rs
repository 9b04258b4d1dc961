//! SteadyTrack's parameters.

use crate::params::{KEYS, checked_share, invalid, share};
use crate::{ParamError, SteadyTrack};

/// Largest `confirm_conf_sum`.
const CONFIRM_CONF_SUM_MAX: f32 = 100.0;
/// Largest `lost_seconds_max`.
const LOST_SECONDS_LIMIT: f32 = 600.0;

/// SteadyTrack's parameters. The default is what the evaluation's table shows; it was chosen on some sequences and
/// reported on others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SteadyTrackParams {
    /// Confidence from which (inclusive) a detection is strong, in [0, 1]: it can start a track and bring back a
    /// lost one from farther away. Raising it means fewer false tracks and later starts.
    pub track_high_thresh: f32,
    /// Confidence from which (inclusive) a detection is used at all, in [0, 1] and at most `track_high_thresh`: a
    /// weak one can go on with a confirmed track. Raising it makes tracks break in occlusions; lowering it lets them
    /// hang on background.
    pub track_low_thresh: f32,
    /// Sum of the confidences of a track's detections from which (inclusive) it is confirmed, in [0, 100]. One sure
    /// detection is enough, or a few unsure ones in a row. Raising it means fewer false tracks and later starts.
    pub confirm_conf_sum: f32,
    /// Highest distance (exclusive; 1 - likeness, see [`crate::SteadyTrack`]) at which a track that was seen a
    /// moment ago takes a detection, or a lost one a weak detection, in [0, 1]. Raising it accepts pairs that overlap
    /// less.
    pub match_thresh: f32,
    /// The same for what is left over, lost tracks mainly, and strong detections. Raising it finds more people again
    /// after an occlusion, and takes more strangers for them.
    pub lost_match_thresh: f32,
    /// Share of their size by which boxes are expanded on every side where `lost_match_thresh` applies, in [0, 1].
    /// Raising it has the same effects.
    pub lost_expansion: f32,
    /// For how many seconds a lost track is kept, in [0, 600]. Raising it bridges longer occlusions and confuses
    /// more people.
    pub lost_seconds_max: f32,
}

impl Default for SteadyTrackParams {
    fn default() -> Self {
        Self {
            track_high_thresh: 0.4,
            track_low_thresh: 0.05,
            confirm_conf_sum: 0.95,
            match_thresh: 0.6,
            lost_match_thresh: 0.9,
            lost_expansion: 0.1,
            lost_seconds_max: 2.0,
        }
    }
}

impl SteadyTrackParams {
    /// The keys that SteadyTrack uses.
    pub const KEYS: &'static [&'static str] = &[
        "track_high_thresh",
        "track_low_thresh",
        "confirm_conf_sum",
        "match_thresh",
        "lost_match_thresh",
        "lost_expansion",
        "lost_seconds_max",
    ];

    /// Sets one key from the text of a YAML scalar.
    ///
    /// # Errors
    /// An unknown key, a value that can't be read or is out of its range, or a `tracker_type` that isn't `steady`.
    /// The parameters are then as before. What two keys say together is checked by
    /// [`SteadyTrackParams::validate`].
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ParamError> {
        let Some(&key) = KEYS.iter().find(|&&known| known == key) else {
            return Err(ParamError::UnknownKey { found: key.chars().take(64).collect() });
        };
        match key {
            "track_high_thresh" => self.track_high_thresh = share(key, value)?,
            "track_low_thresh" => self.track_low_thresh = share(key, value)?,
            "confirm_conf_sum" => self.confirm_conf_sum = number(key, value, CONFIRM_CONF_SUM_MAX)?,
            "match_thresh" => self.match_thresh = share(key, value)?,
            "lost_match_thresh" => self.lost_match_thresh = share(key, value)?,
            "lost_expansion" => self.lost_expansion = share(key, value)?,
            "lost_seconds_max" => self.lost_seconds_max = number(key, value, LOST_SECONDS_LIMIT)?,
            "tracker_type" if value != SteadyTrack::NAME => return Err(invalid(key, value, SteadyTrack::NAME.into())),
            _ => {}
        }
        Ok(())
    }

    /// Checks every range, and that `track_low_thresh` is not above `track_high_thresh`.
    ///
    /// # Errors
    /// The first key that is out of its range, with found and wanted.
    pub fn validate(&self) -> Result<(), ParamError> {
        checked_share("track_high_thresh", self.track_high_thresh)?;
        checked_share("track_low_thresh", self.track_low_thresh)?;
        checked("confirm_conf_sum", self.confirm_conf_sum, CONFIRM_CONF_SUM_MAX)?;
        checked_share("match_thresh", self.match_thresh)?;
        checked_share("lost_match_thresh", self.lost_match_thresh)?;
        checked_share("lost_expansion", self.lost_expansion)?;
        checked("lost_seconds_max", self.lost_seconds_max, LOST_SECONDS_LIMIT)?;
        if self.track_low_thresh > self.track_high_thresh {
            let wanted = format!("at most track_high_thresh, which is {}", self.track_high_thresh);
            return Err(invalid("track_low_thresh", &self.track_low_thresh.to_string(), wanted));
        }
        Ok(())
    }
}

fn number(key: &'static str, value: &str, most: f32) -> Result<f32, ParamError> {
    let number = value.parse().map_err(|_| invalid(key, value, format!("a number from 0 to {most}")))?;
    checked(key, number, most)
}

fn checked(key: &'static str, value: f32, most: f32) -> Result<f32, ParamError> {
    if (0.0..=most).contains(&value) {
        return Ok(value);
    }
    Err(invalid(key, &value.to_string(), format!("a number from 0 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_sets_its_parameter_and_leaves_the_others() {
        for key in SteadyTrackParams::KEYS {
            let mut params = SteadyTrackParams::default();
            params.set(key, "0.5").unwrap();
            let (before, after) = (format!("{:?}", SteadyTrackParams::default()), format!("{params:?}"));
            let changed = before.split(", ").zip(after.split(", ")).filter(|(a, b)| a != b).count();
            assert_eq!(changed, 1, "{key}");
            assert!(after.contains(&format!("{key}: 0.5")), "{after}");
        }
    }

    #[test]
    fn keys_of_other_trackers_are_known_and_ignored() {
        let mut params = SteadyTrackParams::default();
        for (key, value) in [("tracker_type", "steady"), ("track_buffer", "30"), ("gmc_method", "orb")] {
            params.set(key, value).unwrap();
        }
        assert_eq!(params, SteadyTrackParams::default());
    }

    #[test]
    fn a_wrong_value_names_key_found_and_wanted_and_changes_nothing() {
        let cases = [
            ("track_high_thresh", "1.5", "0 to 1"),
            ("track_low_thresh", "NaN", "0 to 1"),
            ("confirm_conf_sum", "-1", "0 to 100"),
            ("match_thresh", "much", "0 to 1"),
            ("lost_expansion", "2", "0 to 1"),
            ("lost_seconds_max", "inf", "0 to 600"),
            ("tracker_type", "botsort", "steady"),
        ];
        for (key, value, wanted) in cases {
            let mut params = SteadyTrackParams::default();
            let text = params.set(key, value).unwrap_err().to_string();
            assert!(text.contains(key) && text.contains(value) && text.contains(wanted), "{text}");
            assert_eq!(params, SteadyTrackParams::default());
        }
        let error = SteadyTrackParams::default().set("lost_seconds", "1").unwrap_err();
        assert_eq!(error, ParamError::UnknownKey { found: "lost_seconds".into() });
    }

    #[test]
    fn validation_finds_what_a_struct_literal_brought_in() {
        for params in [
            SteadyTrackParams { match_thresh: f32::NAN, ..Default::default() },
            SteadyTrackParams { confirm_conf_sum: f32::INFINITY, ..Default::default() },
            SteadyTrackParams { lost_seconds_max: -1.0, ..Default::default() },
            SteadyTrackParams { track_low_thresh: 0.5, ..Default::default() },
        ] {
            assert!(matches!(SteadyTrack::new(params), Err(ParamError::Invalid { .. })), "{params:?}");
        }
        assert_eq!(SteadyTrackParams::default().validate(), Ok(()));
    }
}

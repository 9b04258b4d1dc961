//! SteadyTrack's parameters.

use crate::params::{ParamKind, check_order, params};
use crate::{ParamError, SteadyTrack};

/// Largest `confirm_conf_sum`.
const CONFIRM_CONF_SUM_MAX: f32 = 100.0;
/// Largest `lost_seconds_max`.
const LOST_SECONDS_LIMIT: f32 = 600.0;

params! {
    /// SteadyTrack's parameters. The default is what the evaluation's table shows; it was chosen on some sequences and
    /// reported on others.
    #[derive(Copy)]
    SteadyTrackParams of SteadyTrack::NAME,
    /// Confidence from which (inclusive) a detection is strong, in [0, 1]: it can start a track and bring back a
    /// lost one from farther away. Raising it means fewer false tracks and later starts.
    track_high_thresh: f32 = 0.4, ParamKind::SHARE;
    /// Confidence from which (inclusive) a detection is used at all, in [0, 1] and at most `track_high_thresh`: a
    /// weak one can go on with a confirmed track. Raising it makes tracks break in occlusions; lowering it lets them
    /// hang on background.
    track_low_thresh: f32 = 0.05, ParamKind::SHARE;
    /// Sum of the confidences of a track's detections from which (inclusive) it is confirmed, in [0, 100]. One sure
    /// detection is enough, or a few unsure ones in a row. Raising it means fewer false tracks and later starts.
    confirm_conf_sum: f32 = 0.95, ParamKind::Number { least: 0.0, most: CONFIRM_CONF_SUM_MAX };
    /// Highest distance (exclusive; 1 - likeness, see [`crate::SteadyTrack`]) at which a track that was seen a
    /// moment ago takes a detection, or a lost one a weak detection, in [0, 1]. Raising it accepts pairs that overlap
    /// less.
    match_thresh: f32 = 0.6, ParamKind::SHARE;
    /// The same for what is left over, lost tracks mainly, and strong detections. Raising it finds more people again
    /// after an occlusion, and takes more strangers for them.
    lost_match_thresh: f32 = 0.9, ParamKind::SHARE;
    /// Share of their size by which boxes are expanded on every side where `lost_match_thresh` applies, in [0, 1].
    /// Raising it has the same effects.
    lost_expansion: f32 = 0.1, ParamKind::SHARE;
    /// The number of seconds for which a lost track is kept, in [0, 600]. Raising it bridges longer occlusions and
    /// confuses more people.
    lost_seconds_max: f32 = 2.0, ParamKind::Number { least: 0.0, most: LOST_SECONDS_LIMIT };
}

impl SteadyTrackParams {
    /// Checks every key against its range, and that `track_low_thresh` is not above `track_high_thresh`.
    ///
    /// # Errors
    /// Returns an error for the first key that is out of its range, with found and wanted.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.check_ranges()?;
        check_order(("track_low_thresh", self.track_low_thresh), ("track_high_thresh", self.track_high_thresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_sets_its_parameter_and_leaves_the_others() {
        for key in SteadyTrackParams::KEYS {
            let mut params = SteadyTrackParams::default();
            params.set(key.name, "0.5").unwrap();
            let (before, after) = (format!("{:?}", SteadyTrackParams::default()), format!("{params:?}"));
            let changed = before.split(", ").zip(after.split(", ")).filter(|(a, b)| a != b).count();
            assert_eq!(changed, 1, "{}", key.name);
            assert!(after.contains(&format!("{}: 0.5", key.name)), "{after}");
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
        assert_eq!(error, ParamError::UnknownKey { found: "lost_seconds".into(), wanted: "lost_seconds_max".into() });
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

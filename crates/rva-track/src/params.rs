//! ByteTrack's parameters, under the keys of Ultralytics' tracker YAML.

/// Longest `track_buffer`, in processed frames: over five minutes at 30 a second.
pub const TRACK_BUFFER_MAX: u32 = 10_000;

/// Every key of Ultralytics' tracker YAML files, of whichever tracker, and those of SteadyTrack's own. A file made of these loads unchanged: a
/// tracker takes the keys it has use for and leaves the others alone.
///
/// ByteTrack uses [`ByteTrackParams::KEYS`], checks that `tracker_type` names it, and ignores `gmc_method`,
/// `proximity_thresh`, `appearance_thresh`, `with_reid` and `model`, which are BoT-SORT's.
pub const KEYS: &[&str] = &[
    "tracker_type",
    "track_high_thresh",
    "track_low_thresh",
    "new_track_thresh",
    "track_buffer",
    "match_thresh",
    "fuse_score",
    "gmc_method",
    "proximity_thresh",
    "appearance_thresh",
    "with_reid",
    "model",
    "confirm_conf_sum",
    "lost_match_thresh",
    "lost_expansion",
    "lost_seconds_max",
];

/// Why parameters can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// No tracker has such a key.
    #[error("found tracker key {found:?}, wanted one of {}", KEYS.join(", "))]
    UnknownKey {
        /// As it was given.
        found: String,
    },
    /// The value doesn't fit the key.
    #[error("found {key} {found}, wanted {wanted}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// The value, as it was given.
        found: String,
        /// What would do.
        wanted: String,
    },
}

/// ByteTrack's parameters. The default is Ultralytics' `bytetrack.yaml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByteTrackParams {
    /// Confidence from which (inclusive) a detection takes part in the first association, in [0, 1]. Raising it
    /// moves detections to the second stage, where they can keep a track alive but not start or find one again.
    pub track_high_thresh: f32,
    /// Confidence above which (exclusive) a detection takes part in the second association, in [0, 1] and at most
    /// `track_high_thresh`. Raising it makes tracks break in occlusions; lowering it lets them hang on background.
    pub track_low_thresh: f32,
    /// Confidence from which (inclusive) a detection that no track took starts one, in [0, 1]. Raising it means
    /// fewer false tracks and later starts.
    pub new_track_thresh: f32,
    /// For how many processed frames a lost track is kept, at most [`TRACK_BUFFER_MAX`]. Raising it bridges longer
    /// occlusions and confuses more people.
    pub track_buffer: u32,
    /// Highest distance (exclusive; 1 - IoU, times confidence where `fuse_score` is on) at which a track takes a
    /// detection in the first association, in [0, 1]. Raising it accepts pairs that overlap less.
    pub match_thresh: f32,
    /// Whether the overlap is multiplied with the detection's confidence in the first association and in that of
    /// the tentative tracks.
    pub fuse_score: bool,
}

impl Default for ByteTrackParams {
    fn default() -> Self {
        Self {
            track_high_thresh: 0.25,
            track_low_thresh: 0.1,
            new_track_thresh: 0.25,
            track_buffer: 30,
            match_thresh: 0.8,
            fuse_score: true,
        }
    }
}

impl ByteTrackParams {
    /// The keys that ByteTrack uses.
    pub const KEYS: &'static [&'static str] =
        &["track_high_thresh", "track_low_thresh", "new_track_thresh", "track_buffer", "match_thresh", "fuse_score"];

    /// Sets one key from the text of a YAML scalar (`0.25`, `30`, `True`). Keys of other trackers are known and
    /// ignored, see [`KEYS`].
    ///
    /// # Errors
    /// An unknown key, a value that can't be read or is out of its range, or a `tracker_type` that isn't
    /// `bytetrack`. The parameters are then as before. What two keys say together is checked by
    /// [`ByteTrackParams::validate`].
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ParamError> {
        let Some(&key) = KEYS.iter().find(|&&known| known == key) else {
            return Err(ParamError::UnknownKey { found: key.chars().take(64).collect() });
        };
        match key {
            "track_high_thresh" => self.track_high_thresh = share(key, value)?,
            "track_low_thresh" => self.track_low_thresh = share(key, value)?,
            "new_track_thresh" => self.new_track_thresh = share(key, value)?,
            "match_thresh" => self.match_thresh = share(key, value)?,
            "track_buffer" => {
                let frames = value.parse().map_err(|_| invalid(key, value, buffer_wanted()))?;
                self.track_buffer = checked_buffer(frames)?;
            }
            "fuse_score" => {
                self.fuse_score = match value {
                    "true" | "True" | "TRUE" => true,
                    "false" | "False" | "FALSE" => false,
                    _ => return Err(invalid(key, value, "true or false".into())),
                }
            }
            "tracker_type" if value != "bytetrack" => return Err(invalid(key, value, "bytetrack".into())),
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
        checked_share("new_track_thresh", self.new_track_thresh)?;
        checked_share("match_thresh", self.match_thresh)?;
        checked_buffer(self.track_buffer)?;
        if self.track_low_thresh > self.track_high_thresh {
            let wanted = format!("at most track_high_thresh, which is {}", self.track_high_thresh);
            return Err(invalid("track_low_thresh", &self.track_low_thresh.to_string(), wanted));
        }
        Ok(())
    }
}

fn buffer_wanted() -> String {
    format!("a number of frames from 0 to {TRACK_BUFFER_MAX}")
}

pub(crate) fn invalid(key: &'static str, found: &str, wanted: String) -> ParamError {
    ParamError::Invalid { key, found: found.chars().take(64).collect(), wanted }
}

pub(crate) fn share(key: &'static str, value: &str) -> Result<f32, ParamError> {
    let number = value.parse().map_err(|_| invalid(key, value, "a number from 0 to 1".into()))?;
    checked_share(key, number)
}

pub(crate) fn checked_share(key: &'static str, value: f32) -> Result<f32, ParamError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(invalid(key, &value.to_string(), "a number from 0 to 1".into()))
}

fn checked_buffer(frames: u32) -> Result<u32, ParamError> {
    if frames <= TRACK_BUFFER_MAX {
        return Ok(frames);
    }
    Err(invalid("track_buffer", &frames.to_string(), buffer_wanted()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ultralytics' botsort.yaml, values and all.
    const BOTSORT_YAML: [(&str, &str); 12] = [
        ("tracker_type", "bytetrack"),
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
    fn ultralytics_keys_load_unchanged_and_give_the_default() {
        let mut params = ByteTrackParams {
            track_high_thresh: 0.9,
            track_low_thresh: 0.8,
            new_track_thresh: 0.7,
            track_buffer: 1,
            match_thresh: 0.1,
            fuse_score: false,
        };
        for (key, value) in BOTSORT_YAML {
            params.set(key, value).unwrap();
        }
        assert_eq!(params, ByteTrackParams::default());
        assert!(BOTSORT_YAML.iter().all(|(key, _)| KEYS.contains(key)));
        assert!(ByteTrackParams::KEYS.iter().all(|key| KEYS.contains(key)));
    }

    #[test]
    fn a_wrong_value_names_key_found_and_wanted_and_changes_nothing() {
        let cases = [
            ("track_high_thresh", "1.5", "0 to 1"),
            ("track_low_thresh", "NaN", "0 to 1"),
            ("new_track_thresh", "much", "0 to 1"),
            ("match_thresh", "-0.1", "0 to 1"),
            ("track_buffer", "30.5", "0 to 10000"),
            ("track_buffer", "10001", "0 to 10000"),
            ("track_buffer", "-1", "0 to 10000"),
            ("fuse_score", "maybe", "true or false"),
            ("tracker_type", "botsort", "bytetrack"),
        ];
        for (key, value, wanted) in cases {
            let mut params = ByteTrackParams::default();
            let text = params.set(key, value).unwrap_err().to_string();
            assert!(text.contains(key) && text.contains(value) && text.contains(wanted), "{text}");
            assert_eq!(params, ByteTrackParams::default());
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        let error = ByteTrackParams::default().set("track_hi_thresh", "0.5").unwrap_err();
        assert_eq!(error, ParamError::UnknownKey { found: "track_hi_thresh".into() });
        assert!(error.to_string().contains("track_high_thresh"), "{error}");
    }

    #[test]
    fn a_low_threshold_above_the_high_one_is_refused() {
        let params = ByteTrackParams { track_low_thresh: 0.5, ..Default::default() };
        let text = params.validate().unwrap_err().to_string();
        assert_eq!(text, "found track_low_thresh 0.5, wanted at most track_high_thresh, which is 0.25");
        assert_eq!(ByteTrackParams { track_low_thresh: 0.25, ..Default::default() }.validate(), Ok(()));
    }

    #[test]
    fn validation_finds_what_a_struct_literal_brought_in() {
        for params in [
            ByteTrackParams { match_thresh: f32::NAN, ..Default::default() },
            ByteTrackParams { new_track_thresh: 2.0, ..Default::default() },
            ByteTrackParams { track_buffer: u32::MAX, ..Default::default() },
        ] {
            assert!(matches!(params.validate(), Err(ParamError::Invalid { .. })), "{params:?}");
        }
    }
}

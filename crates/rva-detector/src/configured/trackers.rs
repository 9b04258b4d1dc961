//! The choice of a tracker by name or by Ultralytics' YAML file.

use super::{models, refused};
use anyhow::Context;
use rva_track::TrackerChoice;
use serde_yaml_ng::Value;
use std::path::{Path, PathBuf};

/// Reads `--tracker`: a name, or a YAML file whose `tracker_type` names one and whose other keys set it up.
///
/// # Errors
/// Returns an error for an unknown name, and for a file that can't be read, with the key that is wrong.
pub fn choose(text: &str) -> anyhow::Result<TrackerChoice> {
    let path = Path::new(text);
    if !is_file(path) {
        return Ok(TrackerChoice::by_name(text)?);
    }
    let choice = read(path).with_context(|| format!("tracker file {text}"))?;
    // What one key allows another may forbid.
    choice.build().with_context(|| format!("tracker file {text}"))?;
    Ok(choice)
}

/// Returns the appearance model: `--reid-model`, else `model` of the tracker's file; only for a tracker that looks at
/// appearance.
///
/// # Errors
/// Returns an error for a file that isn't there, for `model: auto`, which are features of Ultralytics' own detector,
/// and for a PyTorch file.
pub fn reid_model(given: Option<&str>, tracker: &str, choice: &TrackerChoice) -> anyhow::Result<Option<PathBuf>> {
    if choice.build()?.cues().appearance_from.is_none() {
        return Ok(None);
    }
    let in_file = || -> anyhow::Result<Option<String>> {
        let path = Path::new(tracker);
        if !is_file(path) {
            return Ok(None);
        }
        let model = mapping(path).with_context(|| format!("tracker file {tracker}"))?.get("model").and_then(scalar);
        Ok(model.filter(|model| model != "null"))
    };
    let named = match given {
        Some(given) => Some(given.to_owned()),
        None => in_file()?,
    };
    match named.as_deref() {
        None => Ok(None),
        Some("auto") => Err(refused(
            "found model auto (features of the detector itself, which an ONNX export doesn't give away), wanted \
             --reid-model FILE or `model: FILE` with an appearance model in ONNX, or with_reid: false",
        )
        .into()),
        Some(named) => models::find_file(named, "reid model").map(Some),
    }
}

fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml")
}

fn mapping(path: &Path) -> anyhow::Result<serde_yaml_ng::Mapping> {
    let text = rva_service::text_of_file(path).map_err(|error| refused(error.to_string()))?;
    if let Some(text) = rva_service::too_much_yaml(&text) {
        return Err(refused(text).into());
    }
    Ok(serde_yaml_ng::from_str(&text)
        .map_err(|error| refused(format!("{error}, wanted keys like track_high_thresh")))?)
}

fn read(path: &Path) -> anyhow::Result<TrackerChoice> {
    let map = mapping(path)?;
    let named = map.get("tracker_type").and_then(Value::as_str).unwrap_or("bytetrack");
    let mut choice = TrackerChoice::by_name(named)?;
    for (key, value) in &map {
        let (Some(key), Some(value)) = (scalar(key), scalar(value)) else {
            return Err(refused("found nested values, wanted one value for each key").into());
        };
        choice.set(&key, &value).map_err(|error| refused(error.to_string()))?;
    }
    Ok(choice)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null => Some("null".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_vision::{VisionError, VisionErrorKind};

    /// Returns whether an error is a matter of what was asked for.
    fn is_usage(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| {
            cause.is::<rva_track::TrackError>()
                || cause.downcast_ref::<VisionError>().is_some_and(|e| e.kind() == VisionErrorKind::Config)
        })
    }

    #[test]
    fn a_tracker_file_of_ultralytics_loads_and_a_wrong_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("tracker_type: bytetrack\ntrack_high_thresh: 0.5\ntrack_low_thresh: 0.2\nfuse_score: True\n");
        let choice = choose(path.to_str().unwrap()).unwrap();
        assert_eq!(choice.build().unwrap().lowest_conf(), 0.2);
        write("\u{feff}tracker_type: bytetrack\r\ntrack_high_thresh: 0.5\r\ntrack_low_thresh: 0.3\r\n");
        assert_eq!(choose(path.to_str().unwrap()).unwrap().build().unwrap().lowest_conf(), 0.3);
        write(&format!("tracker_type: {}", "[".repeat(200_000)));
        assert!(format!("{:#}", choose(path.to_str().unwrap()).unwrap_err()).contains("nested deeper"));
        write("tracker_type: bytetrack\ntrack_hi_thresh: 0.5\n");
        let error = choose(path.to_str().unwrap()).unwrap_err();
        assert!(is_usage(&error));
        assert!(format!("{error:#}").contains("track_hi_thresh"), "{error:#}");
    }

    #[test]
    fn an_unknown_tracker_names_the_known_ones() {
        let error = choose("nosuch").unwrap_err();
        assert!(is_usage(&error));
        assert!(error.to_string().contains("nosuch") && error.to_string().contains("bytetrack"));
    }
}

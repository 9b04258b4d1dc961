//! A tracker by name or by Ultralytics' YAML file.

use crate::exit::Refusal;
use anyhow::Context;
use rva_track::TrackerChoice;
use serde_yaml_ng::Value;
use std::path::Path;

/// Reads `--tracker`: a name, or a YAML file whose `tracker_type` names one and whose other keys set it up.
///
/// # Errors
/// An unknown name; a file that can't be read, with the key that is wrong.
pub fn choose(text: &str) -> anyhow::Result<TrackerChoice> {
    let path = Path::new(text);
    if !path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
        return Ok(TrackerChoice::by_name(text)?);
    }
    let choice = read(path).with_context(|| format!("tracker file {text}"))?;
    // What one key allows another may forbid.
    choice.build().with_context(|| format!("tracker file {text}"))?;
    Ok(choice)
}

fn read(path: &Path) -> anyhow::Result<TrackerChoice> {
    let text = std::fs::read_to_string(path).map_err(|error| Refusal::usage(error.to_string()))?;
    let map: serde_yaml_ng::Mapping = serde_yaml_ng::from_str(&text)
        .map_err(|error| Refusal::usage(format!("{error}, wanted keys like track_high_thresh")))?;
    let named = map.get("tracker_type").and_then(Value::as_str).unwrap_or("bytetrack");
    let mut choice = TrackerChoice::by_name(named)?;
    for (key, value) in &map {
        let (Some(key), Some(value)) = (scalar(key), scalar(value)) else {
            return Err(Refusal::usage("found nested values, wanted one value for each key").into());
        };
        choice.set(&key, &value).map_err(|error| Refusal::usage(error.to_string()))?;
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
    use crate::exit::{Exit, exit_of};

    #[test]
    fn a_tracker_file_of_ultralytics_loads_and_a_wrong_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("tracker_type: bytetrack\ntrack_high_thresh: 0.5\ntrack_low_thresh: 0.2\nfuse_score: True\n");
        let choice = choose(path.to_str().unwrap()).unwrap();
        assert_eq!(choice.build().unwrap().lowest_conf(), 0.2);
        write("tracker_type: bytetrack\ntrack_hi_thresh: 0.5\n");
        let error = choose(path.to_str().unwrap()).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Usage);
        assert!(format!("{error:#}").contains("track_hi_thresh"), "{error:#}");
    }

    #[test]
    fn an_unknown_tracker_names_the_known_ones() {
        let error = choose("nosuch").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Usage);
        assert!(error.to_string().contains("nosuch") && error.to_string().contains("bytetrack"));
    }
}

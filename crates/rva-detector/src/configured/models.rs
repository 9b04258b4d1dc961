//! The search for model files.

use std::path::{Path, PathBuf};

/// The folder of models, below the working directory and below the folders above this program (its workspace).
const MODELS: &str = "data/models";

const HOW: &str = "`make model` fetches the official YOLOv8n (AGPL-3.0); any YOLOv8 detection export works: \
    `yolo export model=yolov8n.pt format=onnx`";

/// Finds a model by path, or by file name in the model folders.
///
/// # Errors
/// Returns an error where none was named, it isn't there, or it is a PyTorch file; it says which there are and how to
/// get one.
pub fn find(named: Option<&str>) -> anyhow::Result<PathBuf> {
    let Some(named) = named else {
        anyhow::bail!("found no model, wanted --model FILE (or detector.model, MODEL_NAME). {}", offer());
    };
    find_file(named, "model")
}

/// Finds a model that is named; `what` is its name in errors.
///
/// # Errors
/// Fails as [`find`] does.
pub fn find_file(named: &str, what: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(named);
    if path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("pt")) {
        anyhow::bail!(
            "found {what} {named}, a PyTorch file, wanted its ONNX export: yolo export model={named} format=onnx"
        );
    }
    let mut candidates = vec![path.to_path_buf()];
    if path.components().count() == 1 {
        candidates.extend(folders().into_iter().map(|folder| folder.join(named)));
    }
    match candidates.iter().find(|candidate| candidate.is_file()) {
        Some(found) => Ok(found.clone()),
        None if path.is_dir() => anyhow::bail!("found {what} {named}, a folder, wanted an ONNX file. {}", offer()),
        None => anyhow::bail!("{what} {named}: no such file. {}", offer()),
    }
}

/// Returns the model files of the model folders, in name order.
pub fn available() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folders()
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "onnx"))
        .collect();
    found.sort();
    found.dedup_by_key(|path| std::fs::canonicalize(path).ok());
    found
}

fn offer() -> String {
    let there: Vec<String> = available().iter().map(|path| path.display().to_string()).collect();
    if there.is_empty() {
        format!("There are none in {MODELS}; {HOW}")
    } else {
        format!("There is {}; {HOW}", there.join(", "))
    }
}

fn folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(MODELS)];
    if let Ok(program) = std::env::current_exe() {
        folders.extend(program.ancestors().skip(1).map(|folder| folder.join(MODELS)));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_model_says_how_to_get_one_and_names_the_licence() {
        for named in [None, Some("nothing-of-that-name.onnx")] {
            let text = find(named).unwrap_err().to_string();
            assert!(text.contains("make model") && text.contains("AGPL-3.0"), "{text}");
        }
        assert!(find(Some("yolov8n.pt")).unwrap_err().to_string().contains("yolo export"));
    }
}

//! The frames below the heatmaps.

use super::args::{ReportArgs, ReportFormat};
use crate::{annotated::file_name, exit::Refusal, folder::absolute};
use anyhow::Context;
use rva_report::Picture;
use rva_service::{CatalogKind, Loaded};
use std::{collections::BTreeMap, fs, path::Path};

/// Refuses frames for a format that shows none.
pub fn check(args: &ReportArgs, format: ReportFormat) -> Result<(), Refusal> {
    if !args.frame.is_empty() && format != ReportFormat::Html {
        return Err(Refusal::usage("--frame: found another format than html, wanted --format html or -o FILE.html"));
    }
    Ok(())
}

/// Reads the frames: those that are named, and for the other cameras the picture of `rva run --save` in the data folder,
/// where there is one.
pub fn of(
    args: &ReportArgs,
    loaded: &Loaded,
    cameras: &[String],
    format: ReportFormat,
) -> anyhow::Result<BTreeMap<String, Picture>> {
    let mut pictures = BTreeMap::new();
    if format != ReportFormat::Html {
        return Ok(pictures);
    }
    for text in &args.frame {
        let (camera, file) = named(text, cameras)?;
        pictures.insert(camera.to_owned(), read(Path::new(file))?);
    }
    if args.no_frame || loaded.config.catalog.kind != CatalogKind::Embedded {
        return Ok(pictures);
    }
    let folder = absolute(&loaded.config.data_dir)?.annotated();
    for camera in cameras.iter().filter(|camera| !args.frame.iter().any(|text| is_of(text, camera, cameras))) {
        let file = folder.join(format!("{}.jpg", file_name(camera)));
        if file.is_file() {
            match read(&file) {
                Ok(picture) => drop(pictures.insert(camera.clone(), picture)),
                // Nobody asked for it by name.
                Err(error) => tracing::warn!(camera, "a saved picture can't be shown: {error:#}"),
            }
        }
    }
    Ok(pictures)
}

fn is_of(text: &str, camera: &str, cameras: &[String]) -> bool {
    named(text, cameras).is_ok_and(|(found, _)| found == camera)
}

/// Returns the camera and the file of `CAMERA=FILE`, or of `FILE` alone where there is one camera.
fn named<'a>(text: &'a str, cameras: &'a [String]) -> Result<(&'a str, &'a str), Refusal> {
    if let Some((camera, file)) = text.split_once('=')
        && cameras.iter().any(|known| known == camera)
    {
        return Ok((camera, file));
    }
    match cameras {
        [camera] => Ok((camera, text)),
        _ => Err(Refusal::usage(format!(
            "--frame: found {text:?} for {} cameras, wanted CAMERA=FILE with one of {}",
            cameras.len(),
            cameras.join(", ")
        ))),
    }
}

fn read(file: &Path) -> anyhow::Result<Picture> {
    let bytes = fs::read(file).with_context(|| format!("read frame {}", file.display()))?;
    Picture::of(bytes).with_context(|| format!("use frame {}", file.display()))
}

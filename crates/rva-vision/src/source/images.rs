//! Images as a source: one, a folder, or all that match a pattern, in natural order (`img2` before `img10`).

use super::io_failed;
use crate::{Frame, FrameSource, Image, SourceDescription, VisionError, VisionErrorKind};
use rva_types::MediaTime;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Extensions that count as images, in lower case. Upper case counts too.
pub const IMAGE_EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "png", "bmp", "dib", "webp", "tif", "tiff", "pgm", "ppm", "jp2"];

/// Whether a path has the extension of an image.
pub(super) fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| IMAGE_EXTENSIONS.iter().any(|image| image.eq_ignore_ascii_case(extension)))
}

/// Images in order, each decoded when it is asked for.
pub(super) struct ImageSource {
    description: SourceDescription,
    paths: Vec<PathBuf>,
    /// Images given or skipped.
    done: usize,
    /// The first image, decoded when the source was opened.
    first: Option<Arc<Image>>,
}

impl ImageSource {
    /// One image.
    pub(super) fn of_file(path: &str, image_fps: f64) -> Result<Self, VisionError> {
        Self::new(path, vec![PathBuf::from(path)], image_fps)
    }

    /// The images of a folder, without its sub-folders and hidden files.
    pub(super) fn of_folder(folder: &str, image_fps: f64) -> Result<Self, VisionError> {
        let failed = |error| io_failed(folder, error);
        let mut paths = Vec::new();
        let mut others = 0;
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if is_visible_image(&path) { paths.push(path) } else { others += 1 }
        }
        if paths.is_empty() {
            return Err(empty(format!("{folder}: found a folder with {others} other entries and no images")));
        }
        Self::new(folder, paths, image_fps)
    }

    /// The images that match a pattern; what else matches is left out.
    pub(super) fn of_pattern(pattern: &str, image_fps: f64) -> Result<Self, VisionError> {
        let matches = glob::glob(pattern).map_err(|error| {
            VisionError::new(
                VisionErrorKind::Config,
                format!("{pattern}: found a pattern that can't be read ({error}), wanted one like images/*.jpg"),
            )
            .with_source(error)
        })?;
        let mut paths = Vec::new();
        let mut others = 0;
        for path in matches {
            let path = path.map_err(|error| io_failed(pattern, error.into()))?;
            if is_visible_image(&path) { paths.push(path) } else { others += 1 }
        }
        match (paths.is_empty(), others) {
            (true, 0) => Err(VisionError::new(
                VisionErrorKind::NotFound,
                format!("{pattern}: found nothing that matches, wanted at least one image"),
            )),
            (true, others) => Err(empty(format!("{pattern}: found {others} matches and no images among them"))),
            (false, _) => Self::new(pattern, paths, image_fps),
        }
    }

    fn new(uri: &str, mut paths: Vec<PathBuf>, image_fps: f64) -> Result<Self, VisionError> {
        alphanumeric_sort::sort_path_slice(&mut paths);
        let first = decode(&paths[0])?;
        let description = SourceDescription {
            uri: uri.to_owned(),
            size: first.size(),
            fps: Some(image_fps),
            frame_count: Some(paths.len() as u64),
            is_live: false,
            hw_acceleration: crate::HwAcceleration::None,
        };
        Ok(Self { description, paths, done: 0, first: Some(first) })
    }

    fn media_time(&self) -> MediaTime {
        let fps = self.description.fps.unwrap_or(1.0);
        MediaTime::from_micros((self.done as f64 * 1e6 / fps).round() as i64)
    }
}

impl FrameSource for ImageSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        let Some(path) = self.paths.get(self.done) else {
            return Ok(None);
        };
        let image = match self.first.take() {
            Some(first) => first,
            None => match decode(path) {
                Ok(image) => image,
                Err(error) => {
                    // It broke off here: what follows isn't given.
                    self.done = self.paths.len();
                    return Err(error);
                }
            },
        };
        let media_time = self.media_time();
        self.done += 1;
        Ok(Some(Frame { index: self.done as u64, media_time, image }))
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        let is_there = self.done < self.paths.len();
        self.done += usize::from(is_there);
        self.first = None;
        Ok(is_there)
    }
}

fn is_visible_image(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && is_image(path) && path.is_file()
}

fn decode(path: &Path) -> Result<Arc<Image>, VisionError> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| io_failed(&shown, error))?;
    let image = Image::decode(&bytes)
        .map_err(|error| VisionError::new(error.kind(), format!("{shown}: {error}")).with_source(error))?;
    Ok(Arc::new(image))
}

fn empty(found: String) -> VisionError {
    VisionError::new(
        VisionErrorKind::Empty,
        format!("{found}, wanted files that end in {}", IMAGE_EXTENSIONS.join(", ")),
    )
}

//! Images as a source: one, a folder, or all that match a pattern, in natural order (`img2` before `img10`).
//!
//! One that can't be read doesn't end the others: it is told, keeps its index and its place in time, and the source
//! ends as incomplete when all others are through.

use super::{io_failed, spec::is_pattern};
use crate::{Frame, FrameSource, Image, OpenOptions, SourceCounts, SourceDescription, VisionError, VisionErrorKind};
use rva_types::{ImageSize, MediaTime};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The extensions that count as images, in lower case. Upper case counts too.
pub const IMAGE_EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "png", "bmp", "dib", "webp", "tif", "tiff", "pgm", "ppm", "jp2"];

/// Returns whether a path has the extension of an image.
pub(super) fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| IMAGE_EXTENSIONS.iter().any(|image| image.eq_ignore_ascii_case(extension)))
}

/// Extensions of videos that cameras and recorders write, in lower case.
const VIDEO_EXTENSIONS: [&str; 12] =
    ["mp4", "m4v", "mov", "avi", "mkv", "webm", "ts", "m2ts", "mts", "mpg", "mpeg", "flv"];

fn videos(paths: &[PathBuf]) -> Vec<&PathBuf> {
    let is_video = |path: &&PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        extension.is_some_and(|extension| VIDEO_EXTENSIONS.contains(&extension.as_str()))
    };
    paths.iter().filter(is_video).collect()
}

/// Returns a hint that tells the way to name several videos, where there are some instead of images; else nothing.
fn videos_hint(uri: &str, others: &[PathBuf]) -> String {
    let videos = videos(others);
    let Some(first) = videos.iter().min() else { return String::new() };
    let extension = first.extension().unwrap_or_default().to_string_lossy();
    let pattern = if is_pattern(uri) { uri.to_owned() } else { format!("{}/*.{extension}", uri.trim_end_matches('/')) };
    format!(
        " but {} videos (each is a source of its own: name them one by one, or {pattern} without quotes, which the shell lists)",
        videos.len()
    )
}

/// Tells that videos beside images aren't looked at.
fn leave_out_videos(uri: &str, others: &[PathBuf]) {
    let videos = videos(others).len();
    if videos > 0 {
        tracing::warn!(
            source = uri,
            videos,
            "found videos beside images; they are left out: each is a source of its own"
        );
    }
}

/// Images in order, each decoded when it is asked for.
pub(super) struct ImageSource {
    description: SourceDescription,
    paths: Vec<PathBuf>,
    /// The number of images given or skipped.
    done: usize,
    /// The first image, decoded when the source was opened.
    first: Option<Arc<Image>>,
    pixels_max: u64,
    /// The number of images that can't be read.
    unreadable: u64,
    /// The error of the first of them.
    error: Option<VisionError>,
}

impl ImageSource {
    /// Opens one image.
    pub(super) fn of_file(path: &str, options: &OpenOptions) -> Result<Self, VisionError> {
        Self::new(path, vec![PathBuf::from(path)], options)
    }

    /// Opens the images of a folder, without its sub-folders and hidden files.
    pub(super) fn of_folder(folder: &str, options: &OpenOptions) -> Result<Self, VisionError> {
        let failed = |error| io_failed(folder, error);
        let entries = fs::read_dir(folder).map_err(failed)?;
        let all = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, _>>()?;
        let (paths, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| is_visible_image(path));
        if paths.is_empty() {
            let hint = videos_hint(folder, &others);
            let others = others.len();
            return Err(empty(format!("{folder}: found a folder with {others} other entries and no images{hint}")));
        }
        leave_out_videos(folder, &others);
        Self::new(folder, paths, options)
    }

    /// Opens the images that match a pattern; other matches are left out.
    pub(super) fn of_pattern(pattern: &str, options: &OpenOptions) -> Result<Self, VisionError> {
        let matches = glob::glob(pattern).map_err(|error| {
            VisionError::new(
                VisionErrorKind::Config,
                format!("{pattern}: found a pattern that can't be read ({error}), wanted one like images/*.jpg"),
            )
            .with_source(error)
        })?;
        let all = matches.map(|path| path.map_err(|error| io_failed(pattern, error.into())));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let (paths, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| is_visible_image(path));
        match (paths.is_empty(), others.len()) {
            (true, 0) => Err(VisionError::new(
                VisionErrorKind::NotFound,
                format!("{pattern}: found nothing that matches, wanted at least one image"),
            )),
            (true, count) => {
                let hint = videos_hint(pattern, &others);
                Err(empty(format!("{pattern}: found {count} matches and no images among them{hint}")))
            }
            (false, _) => {
                leave_out_videos(pattern, &others);
                Self::new(pattern, paths, options)
            }
        }
    }

    fn new(uri: &str, mut paths: Vec<PathBuf>, options: &OpenOptions) -> Result<Self, VisionError> {
        alphanumeric_sort::sort_path_slice(&mut paths);
        let mut source = Self {
            description: SourceDescription {
                uri: uri.to_owned(),
                size: ImageSize { width: 1, height: 1 },
                fps: Some(options.image_fps),
                frame_count: Some(paths.len() as u64),
                is_live: false,
                hw_acceleration: crate::HwAcceleration::None,
            },
            paths,
            done: 0,
            first: None,
            pixels_max: options.pixels_max,
            unreadable: 0,
            error: None,
        };
        let Some(first) = source.decode_next() else {
            return Err(source.error.take().unwrap_or_else(|| empty(format!("{uri}: found no images"))));
        };
        source.description.size = first.size();
        source.first = Some(first);
        Ok(source)
    }

    /// Returns the next image that can be read; it isn't done yet.
    fn decode_next(&mut self) -> Option<Arc<Image>> {
        while let Some(path) = self.paths.get(self.done) {
            match decode(path, self.pixels_max) {
                Ok(image) => return Some(image),
                Err(error) => {
                    self.done += 1;
                    self.unreadable += 1;
                    if self.paths.len() > 1 {
                        tracing::warn!(source = %self.description.uri, %error, "a picture is left out");
                    }
                    self.error.get_or_insert(error);
                }
            }
        }
        None
    }

    /// Judges whether all could be read; says it once.
    fn end(&mut self) -> Result<(), VisionError> {
        let Some(error) = self.error.take() else { return Ok(()) };
        Err(VisionError::new(
            VisionErrorKind::Incomplete,
            format!(
                "{}: found {} of {} images that can't be read, wanted all: the others are done (the first: {error})",
                self.description.uri,
                self.unreadable,
                self.paths.len()
            ),
        )
        .with_source(error))
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

    fn counts(&self) -> SourceCounts {
        SourceCounts { decode_errors: self.unreadable, ..SourceCounts::default() }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        let first = self.first.take();
        let Some(image) = first.or_else(|| self.decode_next()) else { return self.end().map(|()| None) };
        let media_time = self.media_time();
        self.done += 1;
        Ok(Some(Frame { index: self.done as u64, media_time, image }))
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        if self.done == self.paths.len() {
            return self.end().map(|()| false);
        }
        self.done += 1;
        self.first = None;
        Ok(true)
    }
}

fn is_visible_image(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && is_image(path) && path.is_file()
}

fn decode(path: &Path, pixels_max: u64) -> Result<Arc<Image>, VisionError> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| io_failed(&shown, error))?;
    let image = Image::decode_within(&bytes, pixels_max)
        .map_err(|error| VisionError::new(error.kind(), format!("{shown}: {error}")).with_source(error))?;
    Ok(Arc::new(image))
}

fn empty(found: String) -> VisionError {
    VisionError::new(
        VisionErrorKind::Empty,
        format!("{found}, wanted files that end in {}", IMAGE_EXTENSIONS.join(", ")),
    )
}

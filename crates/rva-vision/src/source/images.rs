//! Images as a source: one, a folder, or all that match a pattern, in natural order (`img2` before `img10`).
//!
//! One that can't be read doesn't end the others: it is told, keeps its index and its place in time, and the source
//! ends as incomplete when all others are through.

use super::io_failed;
use crate::{Frame, FrameSource, Image, OpenOptions, SourceCounts, SourceDescription, VisionError, VisionErrorKind};
use rva_types::{ImageSize, MediaTime};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

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

    /// Opens the images at these paths, in their order; there is at least one.
    pub(super) fn new(uri: &str, paths: Vec<PathBuf>, options: &OpenOptions) -> Result<Self, VisionError> {
        let mut source = Self {
            description: SourceDescription {
                uri: uri.to_owned(),
                size: ImageSize { width: 1, height: 1 },
                fps: Some(options.image_fps),
                frame_count: Some(paths.len() as u64),
                is_live: false,
                is_part: false,
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
            let none =
                || VisionError::new(VisionErrorKind::Empty, format!("{uri}: found no images, wanted at least one"));
            return Err(source.error.take().unwrap_or_else(none));
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

fn decode(path: &Path, pixels_max: u64) -> Result<Arc<Image>, VisionError> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| io_failed(&shown, error))?;
    let image = Image::decode_within(&bytes, pixels_max)
        .map_err(|error| VisionError::new(error.kind(), format!("{shown}: {error}")).with_source(error))?;
    Ok(Arc::new(image))
}

//! An annotated video: boxes, labels and trails, drawn on a copy of each frame.
//!
//! The video grows under another name (`people.unfinished.mp4` for `people.mp4`) and gets its own when it is whole. A
//! writer that is dropped without [`AnnotatedWriter::finish`] removes its file; a process that is killed leaves the
//! unfinished one, which no player takes for a whole video (an MP4 has no index then), and the next run overwrites it.
//!
//! Videos are H.264 in 4:2:0 with the index in front, which browsers play while they load it; each picture is shown
//! when it was seen, whatever rate the source announces.

mod annotator;
mod drawing;
mod encoder;
mod trails;

use crate::{Image, VisionError, VisionErrorKind, image::opencv_failed, source::noise};
use encoder::{Container, EncodeError, Encoder};
use opencv::{
    core::{CV_8UC3, Mat, Rect, Scalar, Size},
    imgproc,
    prelude::*,
};
use rva_types::{ImageSize, MediaTime, TrackedDetection};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

pub use annotator::Annotator;

/// The containers that are written, by extension.
const CONTAINERS: [(&str, Container); 4] =
    [("mp4", Container::Free), ("mov", Container::Free), ("mkv", Container::Free), ("avi", Container::Avi)];
/// The longest step by which a video goes on where a source is opened again and begins at 0.
const STEP_MICROS_MAX: i64 = 1_000_000;

/// The settings that pictures are annotated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotateOptions {
    /// The number of frames that a trail reaches back, and after which the trail of a lost track disappears; 0 draws
    /// none.
    pub trail_frames: usize,
    /// Writes class, track id and confidence above each box.
    pub has_labels: bool,
}

impl Default for AnnotateOptions {
    /// Returns labels, and trails of 50 frames.
    fn default() -> Self {
        Self { trail_frames: 50, has_labels: true }
    }
}

/// A writer of one annotated video. There is one for each camera: track ids are the camera's.
pub struct AnnotatedWriter {
    encoder: Encoder,
    clock: Clock,
    path: PathBuf,
    unfinished: PathBuf,
    size: ImageSize,
    annotator: Annotator,
    written: u64,
    is_finished: bool,
}

impl AnnotatedWriter {
    /// Begins a video. The extension chooses the container: `mp4`, `mov`, `mkv` or `avi`. Pictures of another size are
    /// scaled to fit; an odd side grows by a pixel. `fps` is what the source announces, a hint for the encoder:
    /// pictures have times of their own. Without an encoder of H.264 the video is MPEG-4 part 2, and a warning says so;
    /// an AVI is Motion JPEG, and its times are rounded to a quarter of a step, since it knows but one rate.
    ///
    /// Returns [`VisionErrorKind::Config`] for another extension, a rate outside (0, 1000], or a side below 2 pixels or
    /// above 16384; [`VisionErrorKind::Io`] where the file can't be made.
    pub fn create(path: &Path, size: ImageSize, fps: f64, options: &AnnotateOptions) -> Result<Self, VisionError> {
        let container = container_of(path)?;
        if !(fps > 0.0 && fps <= 1000.0) {
            return Err(config(format!(
                "{}: found {fps} frames a second, wanted above 0 and at most 1000",
                path.display()
            )));
        }
        if [size.width, size.height].iter().any(|side| !(2..=16384).contains(side)) {
            let ImageSize { width, height } = size;
            return Err(config(format!(
                "{}: found {width} x {height} pixels, wanted sides of 2 to 16384",
                path.display()
            )));
        }
        if path.to_str().is_none() {
            return Err(config(format!("{}: found a name that isn't UTF-8, wanted one", path.display())));
        }
        let unfinished = unfinished_path(path);
        // FFmpeg says less of why it can't than the operating system.
        File::create(&unfinished).map_err(|error| cannot_write(&unfinished, error))?;
        let (encoder, lines) = noise::listen(|| {
            Encoder::create(&unfinished, container, &container.encoders(), (size.width, size.height), fps)
        });
        let encoder = encoder.map_err(|error| {
            remove(&unfinished);
            let wanted = format!("wanted an FFmpeg that has one of {}", container.encoders().join(", "));
            failed(path, &format!("can't encode a video here ({})", said(&error, &lines)), &wanted)
        })?;
        if container == Container::Free && !encoder.is_h264() {
            tracing::warn!(
                path = %path.display(),
                encoder = encoder.name(),
                "found no encoder of H.264 (libx264, libopenh264) in this FFmpeg: browsers won't play the annotated video"
            );
        }
        Ok(Self {
            encoder,
            clock: Clock::default(),
            path: path.to_owned(),
            unfinished,
            size,
            annotator: Annotator::new(options),
            written: 0,
            is_finished: false,
        })
    }

    /// Draws on a copy of the picture and appends it. Boxes are in source pixels; a class id without a name is written
    /// as its number. A time that isn't behind the last one is another opening of the source, and follows it.
    ///
    /// # Errors
    /// Returns an error where the picture can't be drawn or encoded.
    pub fn write(
        &mut self,
        media_time: MediaTime,
        image: &Image,
        detections: &[TrackedDetection],
        class_names: &[String],
    ) -> Result<(), VisionError> {
        self.annotator.draw(image, detections, class_names)?;
        let latest = self.annotator.latest();
        let fitted = match image.size() == self.size {
            true => None,
            false => Some(fitted(latest, self.size).map_err(opencv_failed)?),
        };
        let at = self.clock.place(media_time);
        let (written, lines) = noise::listen(|| self.encoder.write(fitted.as_ref().unwrap_or(latest), at));
        written.map_err(|error| {
            failed(&self.path, &format!("can't write a picture ({})", said(&error, &lines)), "wanted space for it")
        })?;
        self.written += 1;
        Ok(())
    }

    /// Saves the latest annotated picture, in its own size, as JPEG or PNG by the extension.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Empty`] before the first picture, [`VisionErrorKind::Config`] for another extension,
    /// [`VisionErrorKind::Io`] where the file can't be written.
    pub fn snapshot(&self, path: &Path) -> Result<(), VisionError> {
        let bytes = self.annotator.encode(&extension_of(path)).map_err(|error| {
            let text = format!("{}: {error}", path.display());
            VisionError::new(error.kind(), text)
        })?;
        let unfinished = unfinished_path(path);
        fs::write(&unfinished, &bytes).and_then(|()| fs::rename(&unfinished, path)).map_err(|error| {
            remove(&unfinished);
            cannot_write(path, error)
        })
    }

    /// Returns the number of pictures written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the video, checks that it can be read back, and gives it its name.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Empty`] where nothing was written, [`VisionErrorKind::Io`] where the file isn't whole
    /// (no space left) or can't be renamed. No file remains then.
    pub fn finish(mut self) -> Result<(), VisionError> {
        let path = self.path.display();
        let (ended, lines) = noise::listen(|| self.encoder.end());
        if self.written == 0 {
            return Err(VisionError::new(
                VisionErrorKind::Empty,
                format!("{path}: found no pictures to write, wanted at least 1"),
            ));
        }
        ended.map_err(|error| {
            failed(&self.path, &format!("can't end the video ({})", said(&error, &lines)), "wanted space for it")
        })?;
        let (found, _) = noise::listen(|| encoder::count_pictures(&self.unfinished));
        if found != Some(self.written) {
            return Err(VisionError::new(
                VisionErrorKind::Io,
                format!(
                    "{path}: found a video of {} frames after writing {}, wanted all of them: is there space left?",
                    found.unwrap_or_default(),
                    self.written
                ),
            ));
        }
        fs::rename(&self.unfinished, &self.path).map_err(|error| cannot_write(&self.path, error))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for AnnotatedWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // The file goes, so it doesn't matter how it ends.
            let _ = noise::listen(|| self.encoder.end());
            remove(&self.unfinished);
        }
    }
}

impl std::fmt::Debug for AnnotatedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnnotatedWriter({}, {} written)", self.path.display(), self.written)
    }
}

/// The times of a video that goes on where its source is opened again.
#[derive(Debug, Default)]
struct Clock {
    last: Option<i64>,
    step: i64,
    /// The time that is added to the times of this opening.
    offset: i64,
}

impl Clock {
    /// Returns the time in the video, in microseconds: 0 for the first picture.
    fn place(&mut self, media_time: MediaTime) -> i64 {
        let micros = media_time.as_micros();
        let Some(last) = self.last else {
            self.offset = micros.saturating_neg();
            return *self.last.insert(0);
        };
        let mut at = micros.saturating_add(self.offset);
        if at <= last {
            at = last + self.step.clamp(1, STEP_MICROS_MAX);
            self.offset = at.saturating_sub(micros);
        }
        self.step = at - last;
        *self.last.insert(at)
    }
}

/// Returns the picture scaled to fit into `size`, centred on black.
fn fitted(picture: &Mat, size: ImageSize) -> opencv::Result<Mat> {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let scale = (width / f64::from(picture.cols())).min(height / f64::from(picture.rows()));
    let inner = Size::new(
        ((f64::from(picture.cols()) * scale).round() as i32).clamp(1, size.width as i32),
        ((f64::from(picture.rows()) * scale).round() as i32).clamp(1, size.height as i32),
    );
    let mut scaled = Mat::default();
    imgproc::resize(picture, &mut scaled, inner, 0.0, 0.0, imgproc::INTER_LINEAR)?;
    let outer = (size.height as i32, size.width as i32);
    let mut canvas = Mat::new_rows_cols_with_default(outer.0, outer.1, CV_8UC3, Scalar::all(0.0))?;
    let (left, top) = ((outer.1 - inner.width) / 2, (outer.0 - inner.height) / 2);
    let mut place = canvas.roi_mut(Rect::new(left, top, inner.width, inner.height))?;
    scaled.copy_to(&mut place)?;
    drop(place);
    Ok(canvas)
}

fn container_of(path: &Path) -> Result<Container, VisionError> {
    let found = extension_of(path);
    CONTAINERS.iter().find(|(extension, _)| *extension == found).map(|(_, container)| *container).ok_or_else(|| {
        let wanted: Vec<&str> = CONTAINERS.iter().map(|(extension, _)| *extension).collect();
        config(format!("{}: found extension {found:?}, wanted one of {}", path.display(), wanted.join(", ")))
    })
}

fn extension_of(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Returns `people.unfinished.mp4` for `people.mp4`: the extension stays, since it names the container.
fn unfinished_path(path: &Path) -> PathBuf {
    path.with_extension(format!("unfinished.{}", extension_of(path)))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "leave an unfinished file behind");
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> VisionError {
    VisionError::new(
        VisionErrorKind::Io,
        format!(
            "{}: can't write it ({error}), wanted a folder that exists, may be written to and has space",
            path.display()
        ),
    )
    .with_source(error)
}

/// Returns FFmpeg's error, and the lines that it logged.
fn said(error: &EncodeError, lines: &[String]) -> String {
    std::iter::once(error.to_string()).chain(lines.iter().cloned()).collect::<Vec<_>>().join("; ")
}

fn failed(path: &Path, found: &str, wanted: &str) -> VisionError {
    VisionError::new(VisionErrorKind::Io, format!("{}: {found}, {wanted}", path.display()))
}

fn config(text: String) -> VisionError {
    VisionError::new(VisionErrorKind::Config, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_goes_on_where_its_source_begins_again_at_nothing() {
        let mut clock = Clock::default();
        let placed: Vec<i64> =
            [40, 140, 340, 0, 100, 9_000, 0].iter().map(|ms| clock.place(MediaTime::from_micros(ms * 1000))).collect();
        assert_eq!(placed, [0, 100, 300, 500, 600, 9_500, 10_500].map(|ms| ms * 1000));
    }
}

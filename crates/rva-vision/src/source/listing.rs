//! Lists images and videos of a folder or a pattern, and the files that are neither.
//!
//! Images are one source together, videos one after the other, each a run of its own. Both at once are refused: nobody
//! can tell whether pictures beside videos are previews of them or a source as well.

use super::{images::ImageSource, io_failed, spec::is_pattern, videos::VideosSource};
use crate::{FrameSource, OpenOptions, VisionError, VisionErrorKind};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The extensions that count as images, in lower case. Upper case counts too.
pub const IMAGE_EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "png", "bmp", "dib", "webp", "tif", "tiff", "pgm", "ppm", "jp2"];

/// The extensions that count as videos in a folder, in lower case. Upper case counts too. A file that is named by itself
/// may have any.
pub const VIDEO_EXTENSIONS: [&str; 24] = [
    "mp4", "m4v", "mov", "avi", "mkv", "webm", "ts", "m2ts", "mts", "mpg", "mpeg", "flv", "wmv", "asf", "3gp", "ogv",
    "vob", "mxf", "h264", "264", "hevc", "265", "mjpeg", "dav",
];

/// Returns whether a path has the extension of an image.
pub(super) fn is_image(path: &Path) -> bool {
    has_extension(path, &IMAGE_EXTENSIONS)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| extensions.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

/// The visible files of a folder, or those that match a pattern, in natural order (`img2` before `img10`).
#[derive(Debug, Default, PartialEq)]
struct Listing {
    images: Vec<PathBuf>,
    videos: Vec<PathBuf>,
    /// The number of the others, hidden files and folders among them.
    others: usize,
}

impl Listing {
    fn of(paths: Vec<PathBuf>) -> Self {
        let mut listing = Self::default();
        for path in paths {
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            match () {
                () if is_hidden || !path.is_file() => listing.others += 1,
                () if is_image(&path) => listing.images.push(path),
                () if has_extension(&path, &VIDEO_EXTENSIONS) => listing.videos.push(path),
                () => listing.others += 1,
            }
        }
        alphanumeric_sort::sort_path_slice(&mut listing.images);
        alphanumeric_sort::sort_path_slice(&mut listing.videos);
        listing
    }

    fn count(&self) -> usize {
        self.images.len() + self.videos.len() + self.others
    }
}

/// Opens the images or the videos of a folder, without its sub-folders and hidden files.
pub(super) fn open_folder(folder: &str, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    let failed = |error| io_failed(folder, error);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, _>>()?;
    open(folder, Listing::of(paths), options)
}

/// Opens the images or the videos that match a pattern; other matches are left out.
pub(super) fn open_pattern(pattern: &str, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    let matches = glob::glob(pattern).map_err(|error| {
        VisionError::new(
            VisionErrorKind::Config,
            format!("{pattern}: found a pattern that can't be read ({error}), wanted one like images/*.jpg"),
        )
        .with_source(error)
    })?;
    let paths = matches.map(|path| path.map_err(|error| io_failed(pattern, error.into())));
    let listing = Listing::of(paths.collect::<Result<Vec<_>, _>>()?);
    if listing.count() == 0 {
        return Err(VisionError::new(
            VisionErrorKind::NotFound,
            format!("{pattern}: found nothing that matches, wanted at least one image or video"),
        ));
    }
    open(pattern, listing, options)
}

fn open(uri: &str, listing: Listing, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    match (listing.images.is_empty(), listing.videos.is_empty()) {
        (false, false) => Err(mixed(uri, &listing)),
        (false, true) => Ok(Box::new(ImageSource::new(uri, listing.images, options)?)),
        (true, false) => Ok(Box::new(VideosSource::open(uri, listing.videos, options)?)),
        (true, true) => {
            let count = listing.count();
            let found = match is_pattern(uri) && !Path::new(uri).is_dir() {
                true => format!("{count} matches and no images or videos among them"),
                false => format!("a folder with {count} other entries and no images or videos"),
            };
            Err(VisionError::new(
                VisionErrorKind::Empty,
                format!(
                    "{uri}: found {found}, wanted files that end in {}, or in {}",
                    IMAGE_EXTENSIONS.join(", "),
                    VIDEO_EXTENSIONS.join(", ")
                ),
            ))
        }
    }
}

fn mixed(uri: &str, listing: &Listing) -> VisionError {
    let pattern = |paths: &[PathBuf]| {
        let first = paths.first().map(PathBuf::as_path).unwrap_or(Path::new(uri));
        let all = format!("*.{}", first.extension().unwrap_or_default().to_string_lossy());
        first.with_file_name(all).display().to_string()
    };
    VisionError::new(
        VisionErrorKind::Config,
        format!(
            "{uri}: found {} images and {} videos, wanted one kind: name a pattern in quotes, {:?} or {:?}",
            listing.images.len(),
            listing.videos.len(),
            pattern(&listing.videos),
            pattern(&listing.images),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_extension_and_come_in_natural_order() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["b10.mp4", "b2.MKV", "a.jpg", "notes.txt", ".c.mp4", "noext", "d.dav"];
        names.iter().for_each(|name| fs::write(folder.path().join(name), "x").unwrap());
        fs::create_dir(folder.path().join("e.mp4")).unwrap();
        let all = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let listing = Listing::of(all);
        let names = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&listing.videos), ["b2.MKV", "b10.mp4", "d.dav"]);
        assert_eq!((names(&listing.images), listing.others), (vec!["a.jpg".to_owned()], 4));
    }
}

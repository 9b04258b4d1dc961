//! Pictures, in OpenCV's order of channels.

use crate::{PIXELS_MAX, VisionError, VisionErrorKind, source::orientation::Orientation};
use opencv::{
    core::{CV_8UC3, Mat},
    imgcodecs,
    prelude::*,
};
use rva_types::ImageSize;
use std::fmt;

/// A picture of 8 bits a channel in OpenCV's order blue, green, red. It can't be changed and is shared in an `Arc`.
pub struct Image {
    /// The pixels: continuous, `CV_8UC3`, at least 1 x 1, checked when it is made.
    mat: Mat,
    size: ImageSize,
}

impl Image {
    /// Takes a picture over without copying its pixels. The caller gives its only handle away.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Unreadable`] where it is empty or not of three 8-bit channels.
    pub(crate) fn from_mat(mat: Mat) -> Result<Self, VisionError> {
        let (width, height) = (mat.cols(), mat.rows());
        if mat.typ() != CV_8UC3 || width < 1 || height < 1 {
            return Err(VisionError::new(
                VisionErrorKind::Unreadable,
                format!(
                    "found a picture of {width} x {height} pixels, {} channels and {} bytes a channel, \
                     wanted 3 channels of 1 byte",
                    mat.channels(),
                    mat.elem_size1(),
                ),
            ));
        }
        let mat = if mat.is_continuous() { mat } else { mat.try_clone().map_err(opencv_failed)? };
        Ok(Self { mat, size: ImageSize { width: width as u32, height: height as u32 } })
    }

    /// Makes a picture of pixels, row by row from the top, three bytes a pixel: blue, green, red.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Config`] where the number of bytes isn't `3 * width * height`, or a side is 0 or
    /// above `i32`.
    pub fn from_bgr(size: ImageSize, bytes: Vec<u8>) -> Result<Self, VisionError> {
        let wanted = 3 * u64::from(size.width) * u64::from(size.height);
        let sides = (i32::try_from(size.width), i32::try_from(size.height));
        match sides {
            (Ok(width @ 1..), Ok(height @ 1..)) if bytes.len() as u64 == wanted => {
                let borrowed = Mat::new_rows_cols_with_bytes::<opencv::core::Vec3b>(height, width, &bytes);
                Self::from_mat(borrowed.and_then(|mat| mat.try_clone()).map_err(opencv_failed)?)
            }
            _ => Err(VisionError::new(
                VisionErrorKind::Config,
                format!("found {} bytes for {} x {} pixels, wanted {wanted}", bytes.len(), size.width, size.height),
            )),
        }
    }

    /// Decodes the bytes of an image file (JPEG, PNG, BMP, TIFF, WebP, …); its orientation tag is obeyed.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Unreadable`] where they are no picture that OpenCV can decode, or one above
    /// [`PIXELS_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, VisionError> {
        Self::decode_within(bytes, PIXELS_MAX)
    }

    /// Decodes as [`Image::decode`] does, with another bound on the picture's pixels.
    ///
    /// # Errors
    /// Fails as [`Image::decode`] does.
    pub fn decode_within(bytes: &[u8], pixels_max: u64) -> Result<Self, VisionError> {
        let found = || match bytes.len() {
            0 => "found 0 bytes".to_owned(),
            length => format!("found {length} bytes that start with {:02x?}", &bytes[..length.min(8)]),
        };
        let unreadable =
            || VisionError::new(VisionErrorKind::Unreadable, format!("{}, wanted a whole picture", found()));
        if bytes.is_empty() {
            return Err(unreadable());
        }
        check_pixels(bytes, pixels_max)?;
        let raw = |bytes: &[u8]| {
            let mat = Mat::from_slice(bytes)
                .and_then(|encoded| imgcodecs::imdecode(&encoded, AS_STORED))
                .map_err(|error| unreadable().with_source(error))?;
            if mat.empty() { Err(unreadable()) } else { Ok(mat) }
        };
        let mat = if jpeg::lacks_its_end(bytes) {
            let mat = raw(&jpeg::ended(bytes))?;
            let is_other = mat.data_bytes().ok() != raw(&jpeg::with_more_data(bytes))?.data_bytes().ok();
            if is_other || jpeg::lacks_scans(bytes) {
                return Err(unreadable());
            }
            mat
        } else {
            raw(bytes)?
        };
        let turn = orientation(bytes);
        Self::from_mat(if turn == Orientation::default() { mat } else { turn.turned(&mat).map_err(opencv_failed)? })
    }

    /// Returns width and height in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// Returns the pixels, `3 * width * height` bytes: blue, green, red, row by row from the top, without padding.
    pub fn bgr_bytes(&self) -> &[u8] {
        self.mat.data_bytes().unwrap_or_default()
    }

    /// Returns the picture as OpenCV sees it.
    pub(crate) fn mat(&self) -> &Mat {
        &self.mat
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} x {})", self.size.width, self.size.height)
    }
}

/// The flags that decode a picture as it is stored: which formats OpenCV turns depends on its version.
const AS_STORED: i32 = imgcodecs::IMREAD_COLOR | imgcodecs::IMREAD_IGNORE_ORIENTATION;

/// Refuses a picture whose head announces too many pixels: a small file can hold a huge one.
fn check_pixels(bytes: &[u8], pixels_max: u64) -> Result<(), VisionError> {
    let size = match imagesize::blob_size(bytes) {
        Ok(size) => Some((size.width as u64, size.height as u64)),
        Err(_) => jp2_size(bytes),
    };
    match size {
        Some((width, height)) if width.saturating_mul(height) > pixels_max => Err(VisionError::new(
            VisionErrorKind::Unreadable,
            format!("found a picture of {width} x {height} pixels, wanted at most {pixels_max} (capture.pixels_max)"),
        )),
        _ => Ok(()),
    }
}

/// Returns height and width of a JPEG 2000, which its box `ihdr` (ISO 15444-1, I.5.3.1) holds.
fn jp2_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let head = bytes.get(..bytes.len().min(4096))?;
    let at = head.windows(4).position(|word| word == b"ihdr")? + 4;
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)));
    Some((number(at + 4)?, number(at)?))
}

/// Returns the orientation that EXIF tells in JPEG, PNG and WebP. OpenCV turns a TIFF itself, whatever it is told.
fn orientation(bytes: &[u8]) -> Orientation {
    let is_tiff = bytes.starts_with(b"II") || bytes.starts_with(b"MM");
    let read = || {
        let exif = exif::Reader::new().read_from_container(&mut std::io::Cursor::new(bytes)).ok()?;
        exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?.value.get_uint(0)
    };
    if is_tiff { Orientation::default() } else { read().map(Orientation::of_exif).unwrap_or_default() }
}

/// Checks whether a JPEG is whole. The decoder would fill a part that is cut off with grey and say nothing.
mod jpeg {
    /// Marks the end of the image.
    const EOI: u8 = 0xd9;
    /// Marks the start of a frame that comes in several passes.
    const PROGRESSIVE: u8 = 0xc2;
    /// Marks the start of a pass.
    const SCAN: u8 = 0xda;

    /// Returns whether its own segments run out before the end marker. Bytes behind that marker are not the picture's:
    /// phones put a film there. In coded data the byte FF is followed by 00 or a restart marker (ITU T.81, B.1.1.5).
    pub(super) fn lacks_its_end(bytes: &[u8]) -> bool {
        bytes.starts_with(&[0xff, 0xd8, 0xff]) && !segments(bytes).any(|(kind, _)| kind == EOI)
    }

    /// Returns whether a picture that comes in several passes (progressive) lacks one: each names components and a
    /// range of their 64 coefficients, and how many low bits of them are still to come (ITU T.81, B.2.3 and G.1).
    pub(super) fn lacks_scans(bytes: &[u8]) -> bool {
        let (mut bits, mut is_progressive) = ([[u8::MAX; 64]; 256], false);
        let mut components = Vec::new();
        for (kind, body) in segments(bytes) {
            match kind {
                PROGRESSIVE => {
                    is_progressive = true;
                    components = body.iter().skip(6).step_by(3).copied().collect();
                }
                SCAN => {
                    let count = usize::from(body.first().copied().unwrap_or_default());
                    let Some(&[first, last, low]) = body.get(1 + 2 * count..).and_then(|rest| rest.first_chunk())
                    else {
                        return true;
                    };
                    for component in body[1..].iter().step_by(2).take(count) {
                        let range =
                            usize::from(first.min(63))..=usize::from(last.min(63)).max(usize::from(first.min(63)));
                        bits[usize::from(*component)][range].fill(low & 0x0f);
                    }
                }
                _ => {}
            }
        }
        is_progressive && components.iter().any(|component: &u8| bits[usize::from(*component)] != [0; 64])
    }

    /// Returns the markers with the bodies of their segments, up to the end marker or to where they run out.
    fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
        let mut at = Some(2);
        std::iter::from_fn(move || {
            let marker = next_marker(bytes, at?)?;
            let (kind, behind) = (bytes[marker], marker + 1);
            if matches!(kind, 0x00 | 0x01 | 0xd0..=0xd8 | EOI) {
                at = (kind != EOI).then_some(behind);
                return Some((kind, &[][..]));
            }
            let length = bytes.get(behind..behind + 2)?;
            let end = behind + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            at = Some(end);
            Some((kind, bytes.get(behind + 2..end).unwrap_or_default()))
        })
    }

    /// Returns the place of the byte behind the next FF that isn't FF.
    fn next_marker(bytes: &[u8], from: usize) -> Option<usize> {
        let fill = from + bytes.get(from..)?.iter().position(|byte| *byte == 0xff)?;
        Some(fill + bytes[fill..].iter().position(|byte| *byte != 0xff)?)
    }

    /// Returns the picture with an end marker: OpenCV waits for it where a picture comes in several passes.
    pub(super) fn ended(bytes: &[u8]) -> Vec<u8> {
        [bytes, &[0xff, EOI]].concat()
    }

    /// Returns the picture with other coded data behind it: one that lacked nothing but its end marker stays as it is.
    pub(super) fn with_more_data(bytes: &[u8]) -> Vec<u8> {
        const MORE: usize = 4096;
        let mut more = bytes.to_vec();
        let mut state = 0x2545_f491_u32;
        more.extend((0..MORE).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 24) as u8).min(0xfe)
        }));
        more.extend([0xff, EOI]);
        more
    }
}

/// Turns an error of OpenCV itself into one of this crate where no better word is known.
pub(crate) fn opencv_failed(error: opencv::Error) -> VisionError {
    VisionError::new(VisionErrorKind::Unreadable, format!("opencv failed: {}", error.message)).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (ImageSize, Vec<u8>) {
        (ImageSize { width: 5, height: 3 }, (0..45).collect())
    }

    #[test]
    fn pixels_come_back_as_they_were_given() {
        let (size, bytes) = small();
        let image = Image::from_bgr(size, bytes.clone()).unwrap();
        assert_eq!((image.size(), image.bgr_bytes()), (size, bytes.as_slice()));
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused_by_name() {
        let (size, mut bytes) = small();
        bytes.pop();
        let error = Image::from_bgr(size, bytes).unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Config);
        assert_eq!(error.to_string(), "found 44 bytes for 5 x 3 pixels, wanted 45");
        assert!(Image::from_bgr(ImageSize { width: 0, height: 3 }, Vec::new()).is_err());
    }

    #[test]
    fn a_lossless_file_decodes_to_the_same_pixels() {
        let (size, bytes) = small();
        let image = Image::from_bgr(size, bytes.clone()).unwrap();
        let mut file = opencv::core::Vector::<u8>::new();
        imgcodecs::imencode_def(".png", image.mat(), &mut file).unwrap();
        let decoded = Image::decode(file.as_slice()).unwrap();
        assert_eq!((decoded.size(), decoded.bgr_bytes()), (size, bytes.as_slice()));
    }

    #[test]
    fn bytes_that_are_no_picture_are_unreadable() {
        for (bytes, wanted) in [(&b""[..], "0 bytes"), (b"hello", "[68, 65, 6c, 6c, 6f]")] {
            let error = Image::decode(bytes).unwrap_err();
            assert_eq!(error.kind(), VisionErrorKind::Unreadable);
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn images_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Image>();
    }
}

//! A picture.

use crate::{VisionError, VisionErrorKind};
use opencv::{
    core::{CV_8UC3, Mat},
    imgcodecs,
    prelude::*,
};
use rva_types::ImageSize;
use std::fmt;

/// A picture of 8 bits a channel in OpenCV's order blue, green, red. It can't be changed and is shared in an `Arc`.
pub struct Image {
    /// Continuous, `CV_8UC3`, at least 1 x 1: checked when it is made.
    mat: Mat,
    size: ImageSize,
}

impl Image {
    /// Takes a picture over without copying its pixels. The caller gives its only handle away.
    ///
    /// # Errors
    /// [`VisionErrorKind::Unreadable`] where it is empty or not of three 8-bit channels.
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

    /// From pixels, row by row from the top, three bytes a pixel: blue, green, red.
    ///
    /// # Errors
    /// [`VisionErrorKind::Config`] where the number of bytes isn't `3 * width * height`, or a side is 0 or above `i32`.
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
    /// [`VisionErrorKind::Unreadable`] where they are no picture that OpenCV can decode.
    pub fn decode(bytes: &[u8]) -> Result<Self, VisionError> {
        let found = || match bytes.len() {
            0 => "found 0 bytes".to_owned(),
            length => format!("found {length} bytes that start with {:02x?}", &bytes[..length.min(8)]),
        };
        let unreadable =
            || VisionError::new(VisionErrorKind::Unreadable, format!("{}, wanted a whole picture", found()));
        if bytes.is_empty() || is_cut_off_jpeg(bytes) {
            return Err(unreadable());
        }
        let mat = Mat::from_slice(bytes)
            .and_then(|encoded| imgcodecs::imdecode(&encoded, imgcodecs::IMREAD_COLOR))
            .map_err(|error| unreadable().with_source(error))?;
        if mat.empty() { Err(unreadable()) } else { Self::from_mat(mat) }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The pixels, `3 * width * height` bytes: blue, green, red, row by row from the top, without padding.
    pub fn bgr_bytes(&self) -> &[u8] {
        self.mat.data_bytes().unwrap_or_default()
    }

    /// The picture as OpenCV sees it.
    pub(crate) fn mat(&self) -> &Mat {
        &self.mat
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} x {})", self.size.width, self.size.height)
    }
}

/// Whether a JPEG has no end marker behind its last scan. The decoder would fill the rest with grey and say nothing.
/// In the coded data of a scan the byte FF is followed by 00 or a restart marker (ITU T.81, B.1.1.5).
fn is_cut_off_jpeg(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    bytes.starts_with(&[0xff, 0xd8, 0xff]) && last([0xff, 0xd9]) < last([0xff, 0xda]).or(Some(0))
}

/// An error of OpenCV itself where no better word is known.
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

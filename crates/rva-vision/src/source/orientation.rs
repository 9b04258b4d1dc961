//! The turn that a picture needs to be seen as it was taken.

use opencv::core::{self, Mat};
use rva_types::ImageSize;

/// The horizontal axis of `cv::flip`.
const MIRROR: i32 = 1;
/// The vertical axis of `cv::flip`.
const UPSIDE_DOWN: i32 = 0;

/// One of the eight ways: rows and columns are exchanged first, then each axis may be turned around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orientation {
    is_transposed: bool,
    is_mirrored: bool,
    is_upside_down: bool,
}

impl Orientation {
    /// Reads a display matrix of FFmpeg: nine numbers, 16.16, of which four turn a picture. Angles between are rounded
    /// to the nearest quarter.
    pub(super) fn of_matrix([a, b, _, c, d, ..]: [i32; 9]) -> Self {
        let size = |one: i32, other: i32| one.unsigned_abs() as u64 + other.unsigned_abs() as u64;
        if size(b, c) > size(a, d) {
            Self { is_transposed: true, is_mirrored: c < 0, is_upside_down: b < 0 }
        } else {
            Self { is_transposed: false, is_mirrored: a < 0, is_upside_down: d < 0 }
        }
    }

    /// Reads EXIF's number, 1 to 8; any other leaves the picture as it is.
    pub(crate) fn of_exif(number: u32) -> Self {
        let (is_transposed, is_mirrored, is_upside_down) = match number {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Self { is_transposed, is_mirrored, is_upside_down }
    }

    /// Returns the size of a picture when it is turned.
    pub(super) fn size(self, ImageSize { width, height }: ImageSize) -> ImageSize {
        if self.is_transposed { ImageSize { width: height, height: width } } else { ImageSize { width, height } }
    }

    /// Returns a turned copy of a picture.
    pub(crate) fn turned(self, picture: &impl core::ToInputArray) -> opencv::Result<Mat> {
        let mut upright = Mat::default();
        if self.is_transposed {
            core::transpose(picture, &mut upright)?;
        } else {
            core::copy_to(picture, &mut upright, &core::no_array())?;
        }
        let axis = match (self.is_mirrored, self.is_upside_down) {
            (false, false) => return Ok(upright),
            (true, false) => MIRROR,
            (false, true) => UPSIDE_DOWN,
            (true, true) => -1,
        };
        let mut flipped = Mat::default();
        core::flip(&upright, &mut flipped, axis)?;
        Ok(flipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opencv::prelude::*;

    const ONE: i32 = 65_536;

    #[test]
    fn matrices_of_phones_turn_as_exif_numbers_do() {
        let matrix = |a, b, c, d| Orientation::of_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30]);
        for (number, found) in [
            (1, matrix(ONE, 0, 0, ONE)),
            (2, matrix(-ONE, 0, 0, ONE)),
            (3, matrix(-ONE, 0, 0, -ONE)),
            (4, matrix(ONE, 0, 0, -ONE)),
            (5, matrix(0, ONE, ONE, 0)),
            (6, matrix(0, ONE, -ONE, 0)),
            (7, matrix(0, -ONE, -ONE, 0)),
            (8, matrix(0, -ONE, ONE, 0)),
            (1, matrix(0, 0, 0, 0)),
            (1, matrix(65_000, 3_000, -3_000, 65_000)),
        ] {
            assert_eq!(found, Orientation::of_exif(number), "{number}");
        }
    }

    #[test]
    fn a_quarter_to_the_right_brings_the_left_column_to_the_top() {
        let picture = Mat::from_slice_2d(&[[1_u8, 2, 3], [4, 5, 6]]).unwrap();
        let turned = Orientation::of_exif(6).turned(&picture).unwrap();
        assert_eq!((turned.rows(), turned.cols()), (3, 2));
        assert_eq!(turned.data_bytes().unwrap(), [4, 1, 5, 2, 6, 3]);
    }
}

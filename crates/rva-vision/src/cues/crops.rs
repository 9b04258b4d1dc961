//! Crops of detections as input of an appearance model.

use crate::{Image, VisionError, image::opencv_failed};
use opencv::{
    core::{Mat, Rect, Size},
    imgproc,
    prelude::*,
};
use rva_types::{BBox, ImageSize};

/// The mean and standard deviation of ImageNet's red, green and blue in [0, 1], which torchvision's models are trained
/// with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Returns the pixels that a box touches, clipped to the picture, at least 1 x 1; `None` where it lies outside or isn't
/// finite.
pub(super) fn pixels(bbox: &BBox, image: ImageSize) -> Option<Rect> {
    let sides = [bbox.x1, bbox.y1, bbox.x2, bbox.y2];
    if sides.iter().any(|side| !side.is_finite()) {
        return None;
    }
    let (width, height) = (image.width as i32, image.height as i32);
    // A cast saturates, so that no sum overflows after the clamp.
    let (left, top) = ((bbox.x1.floor() as i32).clamp(0, width), (bbox.y1.floor() as i32).clamp(0, height));
    let (right, bottom) = ((bbox.x2.ceil() as i32).clamp(0, width), (bbox.y2.ceil() as i32).clamp(0, height));
    (right > left && bottom > top).then(|| Rect::new(left, top, right - left, bottom - top))
}

/// A cropper that scales crops to the network's input (bilinear, each side by itself) and normalises them.
#[derive(Debug)]
pub(super) struct Cropper {
    input: ImageSize,
    resized: Mat,
    /// The network value by channel (red, green, blue) and byte.
    value: [[f32; 256]; 3],
}

impl Cropper {
    pub(super) fn new(input: ImageSize) -> Self {
        let value = std::array::from_fn(|channel| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - MEAN[channel]) / DEVIATION[channel])
        });
        Self { input, resized: Mat::default(), value }
    }

    /// Appends `[3, height, width]` to `chw`.
    pub(super) fn append(&mut self, image: &Image, place: Rect, chw: &mut Vec<f32>) -> Result<(), VisionError> {
        let size = Size::new(self.input.width as i32, self.input.height as i32);
        let crop = Mat::roi(image.mat(), place).map_err(opencv_failed)?;
        imgproc::resize(&crop, &mut self.resized, size, 0.0, 0.0, imgproc::INTER_LINEAR).map_err(opencv_failed)?;
        let bytes = self.resized.data_bytes().map_err(opencv_failed)?;
        for (channel, value) in self.value.iter().enumerate() {
            // Red is the last of a pixel's three bytes.
            chw.extend(bytes.chunks_exact(3).map(|pixel| value[usize::from(pixel[2 - channel])]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: ImageSize = ImageSize { width: 100, height: 50 };

    #[test]
    fn boxes_are_clipped_to_the_picture_and_those_outside_have_no_pixels() {
        assert_eq!(pixels(&BBox::new(10.4, 5.0, 20.2, 6.0), SIZE), Some(Rect::new(10, 5, 11, 1)));
        assert_eq!(pixels(&BBox::new(-30.0, -1.0, 1e9, 1e9), SIZE), Some(Rect::new(0, 0, 100, 50)));
        for outside in [
            BBox::new(100.0, 0.0, 110.0, 10.0),
            BBox::new(-9.0, -9.0, -1.0, -1.0),
            BBox::new(5.0, 5.0, 5.0, 9.0),
            BBox::new(f32::NAN, 0.0, 9.0, 9.0),
            BBox::new(0.0, 0.0, f32::INFINITY, 9.0),
        ] {
            assert_eq!(pixels(&outside, SIZE), None, "{outside:?}");
        }
    }

    #[test]
    fn a_crop_is_planes_of_normalised_red_green_and_blue() {
        let image = Image::from_bgr(ImageSize { width: 2, height: 1 }, vec![0, 51, 255, 9, 9, 9]).unwrap();
        let mut chw = Vec::new();
        Cropper::new(ImageSize { width: 1, height: 1 }).append(&image, Rect::new(0, 0, 1, 1), &mut chw).unwrap();
        let wanted = [(1.0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.0 - 0.406) / 0.225];
        assert!(chw.iter().zip(wanted).all(|(found, wanted): (&f32, f32)| (found - wanted).abs() < 1e-6), "{chw:?}");
    }
}

//! Letterbox: a picture of any size to the network's input, as Ultralytics' `LetterBox(auto=False, scaleup=True,
//! center=True)` does it: scaled to fit without distortion, bilinear, centred on grey 114.

use crate::{Image, InputBuffers, Prepare, Prepared, VisionError, image::opencv_failed};
use opencv::{
    core::{Mat, Size},
    imgproc,
    prelude::*,
};
use rva_types::ImageSize;

/// The grey of the borders, of 255.
const PADDING: u8 = 114;

/// The change that a network's training makes to colours in [0, 1], in the order red, green, blue: less the mean, over
/// the deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normal {
    /// The mean.
    pub mean: [f32; 3],
    /// The deviation, above 0.
    pub std: [f32; 3],
}

impl Default for Normal {
    /// Returns the change that is none.
    fn default() -> Self {
        Self { mean: [0.0; 3], std: [1.0; 3] }
    }
}

/// The place of a picture in a network input. All in input pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Letterbox {
    /// The factor from source pixels to input pixels, across: that of the scaled picture, whose sides are whole pixels.
    pub scale_x: f64,
    /// The factor from source pixels to input pixels, down.
    pub scale_y: f64,
    /// The size of the scaled picture, at least 1 x 1.
    pub scaled: ImageSize,
    /// The number of columns to its left.
    pub left: u32,
    /// The number of rows above it.
    pub top: u32,
}

impl Letterbox {
    /// Fits `source` into `input`. Halves are rounded to even as Python does, and of an odd border the right or lower
    /// side gets one pixel more (Ultralytics' `round(d - 0.1)`). The way back is a scale for each side, as in its
    /// `scale_boxes` since 8.4: the rounded sides' own.
    pub(crate) fn new(source: ImageSize, input: ImageSize) -> Self {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let scale = (f64::from(input.height) / height).min(f64::from(input.width) / width);
        let side = |length: f64, most: u32| ((length * scale).round_ties_even() as u32).clamp(1, most);
        let scaled = ImageSize { width: side(width, input.width), height: side(height, input.height) };
        let border = |most: u32, used: u32| (f64::from(most - used) / 2.0 - 0.1).round_ties_even().max(0.0) as u32;
        let (scale_x, scale_y) = (f64::from(scaled.width) / width, f64::from(scaled.height) / height);
        Self {
            scale_x,
            scale_y,
            scaled,
            left: border(input.width, scaled.width),
            top: border(input.height, scaled.height),
        }
    }
}

impl Letterbox {
    /// Fills the input, each side by a scale of its own.
    pub(crate) fn filling(source: ImageSize, input: ImageSize) -> Self {
        let scale = |input: u32, source: u32| f64::from(input) / f64::from(source);
        Self {
            scale_x: scale(input.width, source.width),
            scale_y: scale(input.height, source.height),
            scaled: input,
            left: 0,
            top: 0,
        }
    }
}

/// The preparer of every detection model: letterboxed as YOLO's are or stretched as DETR's, then planar RGB in [0, 1],
/// normalised where the model wants that.
#[derive(Debug)]
pub struct LetterboxPreparer {
    input: ImageSize,
    /// The scaled picture, reused; small enough to stay in a core's cache between the two steps.
    resized: Mat,
    inputs: InputBuffers,
    /// Set where pictures fill the input, distorted.
    is_stretching: bool,
    /// The value of each byte of red, green and blue: a table gives the very quotient and is quicker than the division.
    values: Box<[[f32; 256]; 3]>,
}

impl LetterboxPreparer {
    /// Makes a preparer for a network input of this size.
    pub fn new(input: ImageSize) -> Self {
        Self {
            input,
            is_stretching: false,
            resized: Mat::default(),
            inputs: InputBuffers::default(),
            values: values(Normal::default()),
        }
    }

    /// Makes one whose input pictures fill whatever their shape, as RT-DETR, D-FINE and RF-DETR are trained.
    pub(crate) fn stretching(input: ImageSize, normal: Normal) -> Self {
        Self { is_stretching: true, values: values(normal), ..Self::new(input) }
    }
}

fn values(Normal { mean, std }: Normal) -> Box<[[f32; 256]; 3]> {
    let channel = |channel: usize| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[channel]) / std[channel]);
    Box::new(std::array::from_fn(channel))
}

impl Prepare for LetterboxPreparer {
    fn prepare(&mut self, image: &Image) -> Result<Prepared, VisionError> {
        let source = image.size();
        let place = if self.is_stretching {
            Letterbox::filling(source, self.input)
        } else {
            Letterbox::new(source, self.input)
        };
        let pixels = if place.scaled == source {
            image.bgr_bytes()
        } else {
            let size = Size::new(place.scaled.width as i32, place.scaled.height as i32);
            imgproc::resize(image.mat(), &mut self.resized, size, 0.0, 0.0, imgproc::INTER_LINEAR)
                .map_err(opencv_failed)?;
            self.resized.data_bytes().map_err(opencv_failed)?
        };
        let mut chw = self.inputs.take(3 * self.input.width as usize * self.input.height as usize);
        planes(pixels, &place, self.input, &self.values, &mut chw);
        Ok(Prepared {
            chw,
            input_size: self.input,
            source_size: source,
            scale_x: place.scale_x as f32,
            scale_y: place.scale_y as f32,
            pad_left: place.left as f32,
            pad_top: place.top as f32,
        })
    }
}

/// Turns blue, green, red bytes to planes of red, green and blue with the border around, each value written once.
fn planes(bgr: &[u8], place: &Letterbox, input: ImageSize, values: &[[f32; 256]; 3], chw: &mut [f32]) {
    let (width, height) = (input.width as usize, input.height as usize);
    let (left, top) = (place.left as usize, place.top as usize);
    let (inner, rows) = (place.scaled.width as usize, place.scaled.height as usize);
    let [reds, greens, blues] = values;
    let greys = values.map(|channel| channel[usize::from(PADDING)]);
    let (red, rest) = chw.split_at_mut(width * height);
    let (green, blue) = rest.split_at_mut(width * height);
    for (plane, grey) in [&mut *red, &mut *green, &mut *blue].into_iter().zip(greys) {
        plane[..top * width].fill(grey);
        plane[(top + rows) * width..].fill(grey);
    }
    for (row, line) in bgr.chunks_exact(3 * inner).enumerate() {
        let at = (top + row) * width;
        let mut lanes = [&mut red[at..at + width], &mut green[at..at + width], &mut blue[at..at + width]];
        for (lane, grey) in lanes.iter_mut().zip(greys) {
            lane[..left].fill(grey);
            lane[left + inner..].fill(grey);
        }
        let [r, g, b] = lanes.map(|lane| &mut lane[left..left + inner]);
        for (((pixel, r), g), b) in line.chunks_exact(3).zip(r).zip(g).zip(b) {
            *b = blues[usize::from(pixel[0])];
            *g = greens[usize::from(pixel[1])];
            *r = reds[usize::from(pixel[2])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: u32, height: u32) -> ImageSize {
        ImageSize { width, height }
    }

    /// Computed with Ultralytics' formulas in Python.
    #[test]
    fn geometry_equals_ultralytics() {
        // source, input, scaled, left, top
        let cases = [
            (size(810, 1080), size(640, 640), size(480, 640), 80, 0),
            (size(768, 576), size(416, 416), size(416, 312), 0, 52),
            (size(1920, 1080), size(640, 640), size(640, 360), 0, 140),
            (size(640, 640), size(640, 640), size(640, 640), 0, 0),
            (size(100, 50), size(640, 640), size(640, 320), 0, 160),
            (size(641, 427), size(640, 640), size(640, 426), 0, 107),
            (size(640, 427), size(640, 640), size(640, 427), 0, 106),
            (size(1000, 333), size(640, 640), size(640, 213), 0, 213),
            (size(500, 375), size(640, 384), size(512, 384), 64, 0),
            (size(5, 2), size(3, 7), size(3, 1), 0, 3),
            (size(4000, 1), size(640, 640), size(640, 1), 0, 319),
        ];
        for (source, input, scaled, left, top) in cases {
            let found = Letterbox::new(source, input);
            assert_eq!((found.scaled, found.left, found.top), (scaled, left, top), "{source:?} into {input:?}");
        }
        let place = Letterbox::new(size(641, 427), size(640, 640));
        assert_eq!((place.scale_x, place.scale_y), (640.0 / 641.0, 426.0 / 427.0));
    }

    #[test]
    fn pixels_become_red_green_and_blue_planes_on_grey() {
        let image = Image::from_bgr(size(2, 1), vec![0, 51, 255, 102, 153, 204]).unwrap();
        let prepared = LetterboxPreparer::new(size(2, 3)).prepare(&image).unwrap();
        let grey = 114.0 / 255.0;
        let red = [grey, grey, 1.0, 0.8, grey, grey];
        let green = [grey, grey, 0.2, 0.6, grey, grey];
        let blue = [grey, grey, 0.0, 0.4, grey, grey];
        assert_eq!(*prepared.chw, *[red, green, blue].concat());
        assert_eq!((prepared.scale_x, prepared.scale_y), (1.0, 1.0));
        assert_eq!((prepared.pad_left, prepared.pad_top), (0.0, 1.0));
        assert_eq!((prepared.source_size, prepared.input_size), (size(2, 1), size(2, 3)));
    }

    #[test]
    fn a_stretched_picture_fills_its_input_and_each_colour_is_normalised_by_its_own_numbers() {
        let normal = Normal { mean: [0.5, 0.25, 0.0], std: [0.5, 0.25, 2.0] };
        let image = Image::from_bgr(size(1, 2), vec![51, 102, 255, 51, 102, 255]).unwrap();
        let prepared = LetterboxPreparer::stretching(size(4, 2), normal).prepare(&image).unwrap();
        let wanted: Vec<f32> = [1.0, (102.0 / 255.0 - 0.25) / 0.25, 0.1].into_iter().flat_map(|v| [v; 8]).collect();
        assert_eq!(*prepared.chw, *wanted);
        assert_eq!((prepared.scale_x, prepared.scale_y), (4.0, 1.0));
        assert_eq!((prepared.pad_left, prepared.pad_top), (0.0, 0.0));
    }

    #[test]
    fn a_reused_preparer_leaves_nothing_of_the_picture_before() {
        let mut preparer = LetterboxPreparer::new(size(8, 8));
        let white = Image::from_bgr(size(20, 10), vec![255; 600]).unwrap();
        let black = Image::from_bgr(size(3, 9), vec![0; 81]).unwrap();
        let fresh = LetterboxPreparer::new(size(8, 8)).prepare(&black).unwrap();
        preparer.prepare(&white).unwrap();
        assert_eq!(preparer.prepare(&black).unwrap(), fresh);
    }

    proptest! {
        #[test]
        fn the_picture_always_lies_inside_the_input(
            (w, h) in (1u32..9000, 1u32..9000), (iw, ih) in (1u32..1300, 1u32..1300)
        ) {
            let place = Letterbox::new(size(w, h), size(iw, ih));
            prop_assert!(place.scaled.width >= 1 && place.left + place.scaled.width <= iw);
            prop_assert!(place.scaled.height >= 1 && place.top + place.scaled.height <= ih);
        }
    }
}

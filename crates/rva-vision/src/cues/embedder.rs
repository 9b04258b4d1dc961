//! The looks of detections, by an appearance model in an ONNX Runtime session.

use super::crops::{Cropper, pixels};
use crate::{
    Device, FoundLibrary, Image, VisionError, VisionErrorKind,
    detector::{
        Element, SessionOptions, TensorShape, absent, check_file, floats, halved, inference_failed, model_failed,
        open_session, refused, shown, tensor, tensor_shape,
    },
};
use half::f16;
use ort::{session::Session, value::TensorRef};
use rva_types::{BBox, ImageSize};
use std::{num::NonZeroUsize, path::Path};

/// The kind of file that is wanted.
const WANTED: &str = "an appearance model in ONNX";
const WANTED_INPUT: &str = "one input [batch, 3, height, width] of float32 or float16, height and width fixed";
const WANTED_OUTPUT: &str = "one output [batch, numbers] of float32 or float16";
/// The longest side of an input and the most numbers of an output, for a sane amount of memory.
const SIDE_MAX: i64 = 2048;
const DIM_MAX: usize = 65_536;

/// The settings that crops are looked at with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// The device that runs the network.
    pub device: Device,
    /// Computes in 16 bits: takes a model of float16, or TensorRT, which converts a float32 one.
    pub half: bool,
    /// The threads that share one run; `None` takes all cores.
    pub intra_threads: Option<usize>,
    /// The most crops of one run of the network; raising it costs memory.
    pub batch_max: NonZeroUsize,
    /// The most crops of one frame, those of the surest detections; raising it costs time in crowds.
    pub crops_max: NonZeroUsize,
}

impl Default for EmbedderOptions {
    /// Returns the processor, 16 crops a run, 64 a frame.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            half: false,
            intra_threads: None,
            batch_max: const { NonZeroUsize::new(16).unwrap() },
            crops_max: const { NonZeroUsize::new(64).unwrap() },
        }
    }
}

/// A loaded appearance model: crops of a picture to vectors of length 1, near each other for the same person.
///
/// Any network from `[batch, 3, height, width]` (red, green, blue, normalised with ImageNet's mean and deviation) to
/// `[batch, numbers]` does: DeepSORT's MobileNetV2 bottleneck (224 x 224 to 1,280), OSNet (256 x 128 to 512; Zhou et
/// al., Omni-Scale Feature Learning for Person Re-Identification, 2019). Sizes are read from the model. A crop is what
/// a box touches of the picture, scaled to the input without keeping its proportions, as both were trained.
pub struct Embedder {
    session: Session,
    layout: Layout,
    cropper: Cropper,
    batch_max: usize,
    crops_max: usize,
    /// The input of one run, reused, and the same in 16 bits.
    input: Vec<f32>,
    input_half: Vec<f16>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The layout of the model's input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    input_name: String,
    half_input: bool,
    input_size: ImageSize,
    /// The number of crops of one run where the model fixes it.
    batch: Option<usize>,
    output_name: String,
    dim: usize,
}

impl Embedder {
    /// Loads a model and runs it once, so that any trouble with it shows here.
    ///
    /// # Errors
    /// Returns `NotFound` and `Io` for the file, `Model` where it isn't ONNX or takes or gives something else, `Device`
    /// and `Runtime` as for a detector; each names found and wanted.
    pub fn load(library: &FoundLibrary, model: &Path, options: EmbedderOptions) -> Result<Self, VisionError> {
        check_file(model, WANTED)?;
        let EmbedderOptions { device, half, intra_threads, batch_max, crops_max } = options;
        let session = open_session(library, model, WANTED, SessionOptions { device, half, intra_threads })?;
        let inputs: Vec<TensorShape> = session.inputs().iter().map(tensor_shape).collect();
        let outputs: Vec<TensorShape> = session.outputs().iter().map(tensor_shape).collect();
        let layout = Layout::read(&inputs, &outputs).map_err(|found| refused(model, &found))?;
        let mut embedder = Self {
            cropper: Cropper::new(layout.input_size),
            batch_max: layout.batch.unwrap_or(batch_max.get()),
            crops_max: crops_max.get(),
            session,
            layout,
            input: Vec::new(),
            input_half: Vec::new(),
        };
        let grey = Image::from_bgr(ImageSize { width: 8, height: 8 }, vec![114; 3 * 8 * 8])?;
        embedder.embed(&grey, &[BBox::new(0.0, 0.0, 8.0, 8.0)]).map_err(|error| {
            if device == Device::Cpu || error.kind() == VisionErrorKind::Model {
                refused(model, &error.to_string())
            } else {
                absent(library, device, &error.to_string())
            }
        })?;
        Ok(embedder)
    }

    /// Returns the count of numbers in a vector.
    pub fn dim(&self) -> usize {
        self.layout.dim
    }

    /// Returns width and height of the network's input.
    pub fn input_size(&self) -> ImageSize {
        self.layout.input_size
    }

    /// Returns the most crops of one frame, as it was loaded; callers of [`Embedder::embed`] keep to it.
    pub fn crops_max(&self) -> usize {
        self.crops_max
    }

    /// Returns one row of [`Embedder::dim`] numbers a box, of length 1 in the Euclidean norm, in the boxes' order; NaN
    /// for a box without pixels in the picture, and for a vector that is zero or not finite.
    ///
    /// # Errors
    /// Returns an error where the network failed, or gave another shape than it said.
    pub fn embed(&mut self, image: &Image, boxes: &[BBox]) -> Result<Vec<f32>, VisionError> {
        let dim = self.layout.dim;
        let mut rows = vec![f32::NAN; boxes.len() * dim];
        let seen: Vec<_> = (0..boxes.len()).filter_map(|i| Some((i, pixels(&boxes[i], image.size())?))).collect();
        for crops in seen.chunks(self.batch_max) {
            self.input.clear();
            for (_, place) in crops {
                self.cropper.append(image, *place, &mut self.input)?;
            }
            self.run(crops.len(), |crop, row| {
                let i = crops[crop].0;
                normalise(row, &mut rows[i * dim..(i + 1) * dim]);
            })?;
        }
        Ok(rows)
    }

    /// Runs the network on the crops in `input` and gives each one's numbers away.
    fn run(&mut self, crops: usize, mut take: impl FnMut(usize, &[f32])) -> Result<(), VisionError> {
        let ImageSize { width, height } = self.layout.input_size;
        let count = self.layout.batch.unwrap_or(crops);
        let shape = [count, 3, height as usize, width as usize];
        // A fixed batch that isn't full is filled up; what comes of that is left out below.
        self.input.resize(shape.iter().product(), 0.0);
        let name = self.layout.input_name.as_str();
        let outputs = if self.layout.half_input {
            halved(&self.input, &mut self.input_half);
            let tensor = TensorRef::from_array_view((shape, self.input_half.as_slice())).map_err(inference_failed)?;
            self.session.run(ort::inputs![name => tensor])
        } else {
            let tensor = TensorRef::from_array_view((shape, self.input.as_slice())).map_err(inference_failed)?;
            self.session.run(ort::inputs![name => tensor])
        };
        let outputs = outputs.map_err(inference_failed)?;
        let output = tensor(&outputs, &self.layout.output_name)?;
        let dim = self.layout.dim;
        let dims: Vec<i64> = output.shape().iter().copied().collect();
        if dims != [count as i64, dim as i64] {
            return Err(model_failed(&format!("found an output {dims:?}, wanted [{count}, {dim}]")));
        }
        let mut converted = Vec::new();
        let values = floats(&output, &mut converted)?;
        values.chunks_exact(dim).take(crops).enumerate().for_each(|(crop, row)| take(crop, row));
        Ok(())
    }
}

/// Scales a vector to length 1; `to` is left as it is where there is no direction.
fn normalise(from: &[f32], to: &mut [f32]) {
    let length = from.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if length.is_finite() && length > 1e-12 {
        to.iter_mut().zip(from).for_each(|(to, &value)| *to = (f64::from(value) / length) as f32);
    }
}

impl Layout {
    /// Reads the layout.
    ///
    /// # Errors
    /// Returns a text with found and wanted, without the model's name.
    fn read(inputs: &[TensorShape], outputs: &[TensorShape]) -> Result<Self, String> {
        let is_float = |element: &Element| matches!(element, Element::F32 | Element::F16);
        let no_input = || format!("found {}, wanted {WANTED_INPUT}", shown("input", inputs));
        let no_output = || format!("found {}, wanted {WANTED_OUTPUT}", shown("output", outputs));
        let [input] = inputs else { return Err(no_input()) };
        let [output] = outputs else { return Err(no_output()) };
        let side = |side: i64| (1..=SIDE_MAX).contains(&side).then_some(side as u32);
        let (batch, height, width) = match input.dims[..] {
            [batch, 3, height, width] if batch != 0 && is_float(&input.element) => (batch, side(height), side(width)),
            _ => return Err(no_input()),
        };
        let (Some(height), Some(width)) = (height, width) else { return Err(no_input()) };
        let dim = match output.dims[..] {
            [_, dim] if dim > 0 && is_float(&output.element) => usize::try_from(dim).ok().filter(|&dim| dim <= DIM_MAX),
            _ => None,
        };
        Ok(Self {
            input_name: input.name.clone(),
            half_input: input.element == Element::F16,
            input_size: ImageSize { width, height },
            batch: usize::try_from(batch).ok(),
            output_name: output.name.clone(),
            dim: dim.ok_or_else(no_output)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(element: Element, dims: &[i64]) -> TensorShape {
        TensorShape { name: "t".into(), element, dims: dims.to_vec() }
    }

    fn read(input: TensorShape, output: TensorShape) -> Result<Layout, String> {
        Layout::read(&[input], &[output])
    }

    #[test]
    fn sizes_come_from_the_model() {
        let layout = read(tensor(Element::F32, &[-1, 3, 256, 128]), tensor(Element::F16, &[-1, 512])).unwrap();
        assert_eq!((layout.input_size, layout.dim), (ImageSize { width: 128, height: 256 }, 512));
        assert_eq!((layout.batch, layout.half_input), (None, false));
        assert_eq!(read(tensor(Element::F16, &[4, 3, 8, 8]), tensor(Element::F16, &[4, 2])).unwrap().batch, Some(4));
    }

    #[test]
    fn other_shapes_and_types_are_refused_with_found_and_wanted() {
        let (good, vector) = (tensor(Element::F32, &[-1, 3, 8, 8]), tensor(Element::F32, &[-1, 512]));
        for dims in [&[-1, 1, 8, 8][..], &[-1, 8, 8, 3], &[-1, 3, -1, 8], &[3, 8, 8], &[0, 3, 8, 8], &[1, 3, 9999, 8]] {
            let text = read(tensor(Element::F32, dims), vector.clone()).unwrap_err();
            assert!(text.contains("found input t float32 [") && text.contains(WANTED_INPUT), "{text}");
        }
        let text = read(tensor(Element::Other("u8".into()), &[-1, 3, 8, 8]), vector).unwrap_err();
        assert!(text.contains("u8") && text.contains(WANTED_INPUT), "{text}");
        for dims in [&[-1, 512, 1, 1][..], &[-1, -1], &[512], &[-1, 0], &[1, 84, 8400]] {
            let text = read(good.clone(), tensor(Element::F32, dims)).unwrap_err();
            assert!(text.contains("found output t float32 [") && text.contains(WANTED_OUTPUT), "{text}");
        }
    }

    #[test]
    fn vectors_get_length_one_and_those_without_direction_stay_unknown() {
        let mut row = [f32::NAN; 2];
        normalise(&[3.0, -4.0], &mut row);
        assert_eq!(row, [0.6, -0.8]);
        for lost in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            let mut row = [f32::NAN; 2];
            normalise(&lost, &mut row);
            assert!(row.iter().all(|value| value.is_nan()));
        }
    }
}

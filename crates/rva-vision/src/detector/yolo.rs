//! A detection model, YOLO's or one of the DETR family, in an ONNX Runtime session.

use super::{
    BatchModel, DetectOptions, FoundLibrary, LetterboxPreparer, Preparers, Selection,
    facts::{ModelFacts, Outputs},
    layout::{Layout, Rows},
    options::check_class,
    outputs::{halved, queries, ranked, tensor, values},
    runtime,
    session::{SessionOptions, check_file, inference_failed, model_failed, open_session, refused, tensor_shape},
    suppress::Suppression,
};
use crate::{Detector, Device, ModelDescription, Prepare, Prepared, VisionError, VisionErrorKind};
use half::f16;
use ort::{
    session::{Session, SessionInputValue},
    value::TensorRef,
};
use rva_types::{Detection, ImageSize};
use std::{borrow::Cow, path::Path};

/// The kind of file that is wanted.
const WANTED: &str = "a detection model in ONNX: YOLO, RT-DETR, D-FINE or RF-DETR";

/// A loaded model, in one session; it is cheap to keep and takes a while to make.
pub struct YoloDetector {
    session: Session,
    layout: Layout,
    description: ModelDescription,
    suppression: Suppression,
    /// The selection that this detector itself keeps.
    selection: Selection,
    /// The input of a batch of several pictures, reused.
    batch: Vec<f32>,
    /// The input in 16 bits, for models that take that.
    batch_half: Vec<f16>,
    /// The output in 32 bits, for models that give 16.
    output: Vec<f32>,
}

impl std::fmt::Debug for YoloDetector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("YoloDetector").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl YoloDetector {
    /// Loads a model and runs it once on grey, so that any trouble with it shows here.
    ///
    /// # Errors
    /// Returns `Config` for options out of range, `Runtime` where the library fails, `Device` where the device isn't
    /// there or doesn't start, `Model` where the file isn't a YOLO detection model in ONNX or doesn't fit the options;
    /// each names found and wanted.
    pub fn load(library: &FoundLibrary, model: &Path, options: &DetectOptions) -> Result<Self, VisionError> {
        options.validate()?;
        check_file(model, WANTED)?;
        let session = open_session(
            library,
            model,
            WANTED,
            SessionOptions { device: options.device, half: options.half, intra_threads: options.intra_threads },
        )?;
        let facts = facts(&session).map_err(|error| refused(model, &error.to_string()))?;
        let layout = Layout::read(&facts, options.imgsz).map_err(|found| refused(model, &found))?;
        let ImageSize { width, height } = layout.input_size;
        if u64::from(width) * u64::from(height) > options.pixels_max {
            let found = format!(
                "found a network input of {height}x{width} (height x width), wanted at most {} pixels \
                 (capture.pixels_max)",
                options.pixels_max
            );
            return Err(refused(model, &found));
        }
        if options.half && !layout.half_input && !matches!(options.device, Device::TensorRt(_)) {
            let found = "found a model that takes float32, wanted float16 for half: leave half out, export the model \
                         with half=True, or use the device tensorrt, which converts it";
            return Err(refused(model, found));
        }
        for &id in options.classes.iter().flatten() {
            check_class(id, &layout.class_names).map_err(|found| {
                VisionError::new(
                    VisionErrorKind::Config,
                    format!("check classes: {found} ({} has these)", model.display()),
                )
            })?;
        }
        let mut detector = Self {
            description: ModelDescription {
                name: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                class_names: layout.class_names.clone(),
                input_size: layout.input_size,
                device: options.device.to_string(),
            },
            suppression: Suppression::new(options),
            selection: Selection { conf: options.conf, classes: options.classes.clone() },
            session,
            layout,
            batch: Vec::new(),
            batch_half: Vec::new(),
            output: Vec::new(),
        };
        detector.infer(&[grey(detector.layout.input_size)]).map_err(|error| {
            if options.device == Device::Cpu || error.kind() == VisionErrorKind::Model {
                refused(model, &error.to_string())
            } else {
                runtime::absent(library, options.device, &error.to_string())
            }
        })?;
        Ok(detector)
    }

    /// Changes which detections are kept, without loading the model again.
    ///
    /// # Errors
    /// Returns `Config` for a confidence outside [0, 1], an empty list of classes, or one that the model doesn't have.
    pub fn select(&mut self, selection: Selection) -> Result<(), VisionError> {
        selection.check(&self.layout.class_names)?;
        self.selection = selection;
        Ok(())
    }

    /// Returns the number of pictures of one run: as many as the model fixes, or all.
    fn chunk(&self, pictures: usize) -> usize {
        self.layout.batch.unwrap_or(pictures).max(1)
    }

    /// Runs the network on at most a chunk of pictures.
    ///
    /// `selections` has one for each picture, or is empty: then the detector's own counts.
    fn run(&mut self, pictures: &[Prepared], selections: &[Selection]) -> Result<Vec<Vec<Detection>>, VisionError> {
        let ImageSize { width, height } = self.layout.input_size;
        let count = self.layout.batch.unwrap_or(pictures.len());
        let shape = [count, 3, height as usize, width as usize];
        let length = shape.iter().product();
        // A single picture is used where it lies.
        let input: &[f32] = match pictures {
            [only] if count == 1 => &only.chw,
            _ => {
                self.batch.clear();
                pictures.iter().for_each(|picture| self.batch.extend_from_slice(&picture.chw));
                // A fixed batch that isn't full is filled up; what comes of that is left out below.
                self.batch.resize(length, 0.0);
                &self.batch
            }
        };
        let name = self.layout.input_name.as_str();
        let sizes = [width, height].map(i64::from).repeat(count);
        let outputs = if self.layout.half_input {
            halved(input, &mut self.batch_half);
            let tensor = TensorRef::from_array_view((shape, self.batch_half.as_slice())).map_err(inference_failed)?;
            self.session.run(with_sizes(ort::inputs![name => tensor], &self.layout.outputs, &sizes)?)
        } else {
            let tensor = TensorRef::from_array_view((shape, input)).map_err(inference_failed)?;
            self.session.run(with_sizes(ort::inputs![name => tensor], &self.layout.outputs, &sizes)?)
        };
        let outputs = outputs.map_err(inference_failed)?;
        let classes = self.layout.class_names.len();
        let output;
        let (rows, values) = match &self.layout.outputs {
            Outputs::One(name) => {
                output = tensor(&outputs, name)?;
                values(&output, count, classes, &mut self.output)?
            }
            Outputs::Ranked { labels, boxes, scores, .. } => {
                let rows = ranked(&outputs, [labels, boxes, scores], count, &mut self.output)?;
                (rows, self.output.as_slice())
            }
            Outputs::Queries { boxes, logits } => {
                let rows = queries(&outputs, [boxes, logits], count, classes, &mut self.output)?;
                (rows, self.output.as_slice())
            }
        };
        let picture_length = rows.values(classes);
        let (suppression, class_names) = (&mut self.suppression, &self.layout.class_names);
        let found = pictures.iter().enumerate().map(|(i, picture)| {
            suppression.select(selections.get(i).unwrap_or(&self.selection));
            let values = &values[i * picture_length..(i + 1) * picture_length];
            match rows {
                Rows::Anchors(anchors) => Ok(suppression.detections(values, anchors, picture)),
                Rows::Queries(_) => Ok(suppression.queries(values, class_names, picture)),
                Rows::Finished(_) => {
                    suppression.finished(values, classes, picture).map_err(|found| model_failed(&found))
                }
            }
        });
        found.collect()
    }
}

impl Detector for YoloDetector {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn preparer(&self) -> Box<dyn Prepare> {
        Box::new(preparer(&self.layout))
    }

    fn infer(&mut self, batch: &[Prepared]) -> Result<Vec<Vec<Detection>>, VisionError> {
        self.infer_selected(batch, &[])
    }
}

impl BatchModel for YoloDetector {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn preparers(&self) -> Preparers {
        let layout = self.layout.clone();
        Box::new(move || Box::new(preparer(&layout)))
    }

    fn batch_fixed(&self) -> Option<usize> {
        self.layout.batch
    }

    fn infer_selected(
        &mut self,
        batch: &[Prepared],
        selections: &[Selection],
    ) -> Result<Vec<Vec<Detection>>, VisionError> {
        let wanted = self.layout.input_size;
        if let Some(other) = batch.iter().find(|picture| picture.input_size != wanted) {
            let ImageSize { width, height } = other.input_size;
            return Err(VisionError::new(
                VisionErrorKind::Config,
                format!("found a picture prepared for {height}x{width}, wanted {}x{}", wanted.height, wanted.width),
            ));
        }
        let mut found = Vec::with_capacity(batch.len());
        let chunk = self.chunk(batch.len());
        for (n, pictures) in batch.chunks(chunk).enumerate() {
            found.extend(self.run(pictures, selections.get(n * chunk..).unwrap_or_default())?);
        }
        Ok(found)
    }
}

/// Returns a preparer that places pictures in the input as the model's training did.
fn preparer(layout: &Layout) -> LetterboxPreparer {
    match layout.outputs {
        Outputs::One(_) => LetterboxPreparer::new(layout.input_size),
        Outputs::Ranked { .. } | Outputs::Queries { .. } => {
            LetterboxPreparer::stretching(layout.input_size, layout.normal)
        }
    }
}

/// Inputs of a run, with the sizes that boxes are to be scaled to where the model asks: those of its input.
fn with_sizes<'a>(
    mut inputs: Vec<(Cow<'a, str>, SessionInputValue<'a>)>,
    outputs: &'a Outputs,
    sizes: &'a [i64],
) -> Result<Vec<(Cow<'a, str>, SessionInputValue<'a>)>, VisionError> {
    if let Outputs::Ranked { sizes: name, .. } = outputs {
        let tensor = TensorRef::from_array_view(([sizes.len() / 2, 2], sizes)).map_err(inference_failed)?;
        inputs.push((name.as_str().into(), tensor.into()));
    }
    Ok(inputs)
}

fn facts(session: &Session) -> ort::Result<ModelFacts> {
    let metadata = session.metadata()?;
    Ok(ModelFacts {
        inputs: session.inputs().iter().map(tensor_shape).collect(),
        outputs: session.outputs().iter().map(tensor_shape).collect(),
        names: metadata.custom("names"),
        task: metadata.custom("task"),
        stride: metadata.custom("stride"),
        imgsz: metadata.custom("imgsz"),
        mean: metadata.custom("mean"),
        std: metadata.custom("std"),
        rfdetr: metadata.custom("rfdetr_inference"),
    })
}

fn grey(input_size: ImageSize) -> Prepared {
    let length = 3 * input_size.width as usize * input_size.height as usize;
    Prepared {
        chw: vec![114.0 / 255.0; length].into(),
        input_size,
        source_size: input_size,
        scale_x: 1.0,
        scale_y: 1.0,
        pad_left: 0.0,
        pad_top: 0.0,
    }
}

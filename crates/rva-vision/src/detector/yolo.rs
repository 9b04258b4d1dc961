//! A YOLOv8 detection model in an ONNX Runtime session.

use super::{
    BatchModel, DetectOptions, Device, FoundLibrary, LetterboxPreparer, Preparers, Selection,
    layout::{Element, Layout, ModelFacts, TensorShape},
    runtime,
    suppress::Suppression,
};
use crate::{Detector, ModelDescription, Prepare, Prepared, VisionError, VisionErrorKind};
use half::f16;
use ort::{
    session::{Session, builder::GraphOptimizationLevel},
    value::{DynTensorValueType, Outlet, TensorElementType, TensorRef, ValueRef},
};
use rva_types::{Detection, ImageSize};
use std::{fs::File, io::Read, path::Path};

/// A loaded model. One session; it is cheap to keep and takes a while to make.
pub struct YoloDetector {
    session: Session,
    layout: Layout,
    description: ModelDescription,
    suppression: Suppression,
    /// What this detector itself keeps.
    selection: Selection,
    /// Input of a batch of several pictures, reused.
    batch: Vec<f32>,
    /// The same in 16 bits, for models that take that.
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
    /// Loads a model and runs it once on grey, so that what is wrong with it shows here.
    ///
    /// # Errors
    /// `Config` for options out of range, `Runtime` where the library fails, `Device` where the device isn't there or
    /// doesn't start, `Model` where the file isn't a YOLOv8 detection model in ONNX or doesn't fit the options; each
    /// names found and wanted.
    pub fn load(library: &FoundLibrary, model: &Path, options: &DetectOptions) -> Result<Self, VisionError> {
        options.validate()?;
        check_file(model)?;
        let session = session(library, model, options)?;
        let facts = facts(&session).map_err(|error| refused(model, &error.to_string()))?;
        let layout = Layout::read(&facts, options.imgsz).map_err(|found| refused(model, &found))?;
        if options.half && !layout.half_input && !matches!(options.device, Device::TensorRt(_)) {
            let found = "found a model that takes float32, wanted float16 for half: leave half out, export the model \
                         with half=True, or use the device tensorrt, which converts it";
            return Err(refused(model, found));
        }
        if let Some(id) = options.classes.iter().flatten().find(|&&id| id as usize >= layout.class_names.len()) {
            let last = layout.class_names.len() - 1;
            return Err(VisionError::new(
                VisionErrorKind::Config,
                format!("check classes: found id {id}, wanted 0 to {last} ({} has these)", model.display()),
            ));
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
    /// `Config`: a confidence outside [0, 1], an empty list of classes, or one that the model doesn't have.
    pub fn select(&mut self, selection: Selection) -> Result<(), VisionError> {
        selection.check(self.layout.class_names.len())?;
        self.selection = selection;
        Ok(())
    }

    /// Pictures of one run: what the model fixes, or all.
    fn chunk(&self, pictures: usize) -> usize {
        self.layout.batch.unwrap_or(pictures).max(1)
    }

    /// One run of at most a chunk of pictures.
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
        let outputs = if self.layout.half_input {
            self.batch_half.clear();
            self.batch_half.extend(input.iter().map(|&value| f16::from_f32(value)));
            let tensor = TensorRef::from_array_view((shape, self.batch_half.as_slice())).map_err(inference_failed)?;
            self.session.run(ort::inputs![name => tensor])
        } else {
            let tensor = TensorRef::from_array_view((shape, input)).map_err(inference_failed)?;
            self.session.run(ort::inputs![name => tensor])
        };
        let outputs = outputs.map_err(inference_failed)?;
        let output = outputs
            .get(&self.layout.output_name)
            .and_then(|value| value.view().downcast::<DynTensorValueType>().ok())
            .ok_or_else(|| model_failed(&format!("found no tensor {:?}", self.layout.output_name)))?;
        let rows = 4 + self.layout.class_names.len();
        let (anchors, values) = values(&output, count, rows, &mut self.output)?;
        let picture_length = rows * anchors;
        Ok(pictures
            .iter()
            .enumerate()
            .map(|(i, picture)| {
                self.suppression.select(selections.get(i).unwrap_or(&self.selection));
                let values = &values[i * picture_length..(i + 1) * picture_length];
                self.suppression.detections(values, anchors, picture)
            })
            .collect())
    }
}

impl Detector for YoloDetector {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn preparer(&self) -> Box<dyn Prepare> {
        Box::new(LetterboxPreparer::new(self.layout.input_size))
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
        let input_size = self.layout.input_size;
        Box::new(move || Box::new(LetterboxPreparer::new(input_size)))
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

/// Number of anchors and the values as 32-bit floats, `[count, rows, anchors]`.
fn values<'a>(
    output: &'a ValueRef<'_, DynTensorValueType>,
    count: usize,
    rows: usize,
    converted: &'a mut Vec<f32>,
) -> Result<(usize, &'a [f32]), VisionError> {
    let dims: Vec<i64> = output.shape().iter().copied().collect();
    let anchors = match dims[..] {
        [b, r, anchors] if b == count as i64 && r == rows as i64 && anchors >= 0 => anchors as usize,
        _ => return Err(model_failed(&format!("found an output {dims:?}, wanted [{count}, {rows}, anchors]"))),
    };
    let values = if *output.data_type() == TensorElementType::Float16 {
        let (_, halves) = output.try_extract_tensor::<f16>().map_err(inference_failed)?;
        converted.clear();
        converted.extend(halves.iter().map(|value| value.to_f32()));
        converted.as_slice()
    } else {
        output.try_extract_tensor::<f32>().map_err(inference_failed)?.1
    };
    Ok((anchors, values))
}

/// What the file is, as far as its first bytes tell; ONNX itself has no magic number.
fn check_file(model: &Path) -> Result<(), VisionError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            VisionError::new(VisionErrorKind::NotFound, format!("load model {}: found no such file", model.display()))
        }
        _ => VisionError::new(VisionErrorKind::Io, format!("load model {}: {error}", model.display())),
    };
    let file = File::open(model).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(refused(model, "found a folder, wanted an ONNX file"));
    }
    let mut head = Vec::new();
    file.take(4).read_to_end(&mut head).map_err(unreadable)?;
    match head.as_slice() {
        [] => Err(refused(model, "found an empty file, wanted a YOLOv8 detection model in ONNX")),
        b"PK\x03\x04" => Err(refused(
            model,
            "found a zip archive, wanted ONNX: PyTorch weights are exported with `yolo export model=… format=onnx`",
        )),
        _ => Ok(()),
    }
}

fn session(library: &FoundLibrary, model: &Path, options: &DetectOptions) -> Result<Session, VisionError> {
    let environment = runtime::environment(library)?;
    let providers = runtime::providers(library, options.device, options.half)?;
    let runtime_failed = |error: &dyn std::fmt::Display| {
        VisionError::new(VisionErrorKind::Runtime, format!("set up an ONNX Runtime session: {error}"))
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let builder = Session::builder(&environment)
        .map_err(|error| runtime_failed(&error))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| runtime_failed(&error))?
        .with_intra_threads(options.intra_threads.unwrap_or_else(cores))
        .map_err(|error| runtime_failed(&error))?
        .with_intra_op_spinning(SPINNING)
        .map_err(|error| runtime_failed(&error))?;
    let mut builder = builder
        .with_execution_providers(providers)
        .map_err(|error| runtime::absent(library, options.device, &first_line(error.message())))?;
    builder.commit_from_file(model).map_err(|error| {
        let text = first_line(error.message());
        match (error.code(), options.device) {
            (ort::ErrorCode::InvalidProtobuf, _) => refused(
                model,
                &format!("found a file that isn't ONNX ({text}), wanted a YOLOv8 detection model in ONNX"),
            ),
            (_, Device::Cpu) => refused(model, &format!("found a model that ONNX Runtime refuses ({text})")),
            (_, device) => runtime::absent(library, device, &text),
        }
    })
}

/// Whether idle threads of a session wait in a busy loop. They would take the cores that decoding and the ingest need.
const SPINNING: bool = false;

fn facts(session: &Session) -> ort::Result<ModelFacts> {
    let metadata = session.metadata()?;
    Ok(ModelFacts {
        inputs: session.inputs().iter().map(tensor_shape).collect(),
        outputs: session.outputs().iter().map(tensor_shape).collect(),
        names: metadata.custom("names"),
        task: metadata.custom("task"),
        stride: metadata.custom("stride"),
        imgsz: metadata.custom("imgsz"),
    })
}

fn tensor_shape(outlet: &Outlet) -> TensorShape {
    let element = match outlet.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Element::F32,
        Some(TensorElementType::Float16) => Element::F16,
        Some(other) => Element::Other(other.to_string()),
        None => Element::Other("that is no tensor".to_owned()),
    };
    let dims = outlet.dtype().tensor_shape().map(|shape| shape.iter().copied().collect()).unwrap_or_default();
    TensorShape { name: outlet.name().to_owned(), element, dims }
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

fn refused(model: &Path, found: &str) -> VisionError {
    VisionError::new(VisionErrorKind::Model, format!("load model {}: {found}", model.display()))
}

fn model_failed(found: &str) -> VisionError {
    VisionError::new(VisionErrorKind::Model, format!("run model: {found}"))
}

fn inference_failed(error: ort::Error) -> VisionError {
    VisionError::new(VisionErrorKind::Runtime, format!("run model: {}", first_line(error.message())))
}

/// ONNX Runtime appends stack traces to some of its texts.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

//! The way from a model file to a session of ONNX Runtime, for every network of this crate.

use super::{
    FoundLibrary,
    facts::{Element, TensorShape},
    runtime,
};
use crate::{Device, VisionError, VisionErrorKind};
use ort::{
    session::{Session, builder::GraphOptimizationLevel},
    value::{Outlet, TensorElementType},
};
use std::{fs::File, io::Read, path::Path};

/// The settings that a session runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionOptions {
    /// The device that runs the network.
    pub device: Device,
    /// Lets TensorRT convert a float32 network to 16 bits.
    pub half: bool,
    /// The threads that share one inference; `None` takes all cores.
    pub intra_threads: Option<usize>,
}

/// Checks the file, as far as its first bytes tell; ONNX itself has no magic number.
pub(crate) fn check_file(model: &Path, wanted: &str) -> Result<(), VisionError> {
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
        [] => Err(refused(model, &format!("found an empty file, wanted {wanted}"))),
        b"PK\x03\x04" => Err(refused(
            model,
            "found a zip archive, wanted ONNX: PyTorch weights are exported with `yolo export model=… format=onnx`",
        )),
        _ => Ok(()),
    }
}

/// Opens a session for a file that [`check_file`] let through; `wanted` says what it should be.
///
/// # Errors
/// Returns `Runtime` where the library fails, `Device` where the device isn't there, `Model` where the file isn't ONNX
/// or holds something that the library doesn't know.
pub(crate) fn open_session(
    library: &FoundLibrary,
    model: &Path,
    wanted: &str,
    options: SessionOptions,
) -> Result<Session, VisionError> {
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
            (ort::ErrorCode::InvalidProtobuf, _) => {
                refused(model, &format!("found a file that isn't ONNX ({text}), wanted {wanted}"))
            }
            (_, Device::Cpu) => refused(model, &format!("found a model that ONNX Runtime refuses ({text})")),
            (_, device) => runtime::absent(library, device, &text),
        }
    })
}

/// Lets idle threads of a session wait in a busy loop. They would take the cores that decoding and the ingest need.
const SPINNING: bool = false;

/// Returns name, element type and shape of an input or output.
pub(crate) fn tensor_shape(outlet: &Outlet) -> TensorShape {
    let element = match outlet.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Element::F32,
        Some(TensorElementType::Float16) => Element::F16,
        Some(other) => Element::Other(other.to_string()),
        None => Element::Other("that is no tensor".to_owned()),
    };
    let dims = outlet.dtype().tensor_shape().map(|shape| shape.iter().copied().collect()).unwrap_or_default();
    TensorShape { name: outlet.name().to_owned(), element, dims }
}

pub(crate) fn refused(model: &Path, found: &str) -> VisionError {
    VisionError::new(VisionErrorKind::Model, format!("load model {}: {found}", model.display()))
}

pub(crate) fn model_failed(found: &str) -> VisionError {
    VisionError::new(VisionErrorKind::Model, format!("run model: {found}"))
}

pub(crate) fn inference_failed(error: ort::Error) -> VisionError {
    VisionError::new(VisionErrorKind::Runtime, format!("run model: {}", first_line(error.message())))
}

/// Returns the first line of a text, since ONNX Runtime appends stack traces to some.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

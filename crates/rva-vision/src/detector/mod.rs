//! Detection by YOLO and the DETR family through ONNX Runtime.
//!
//! [`find_library`] finds the runtime, which is loaded when the program runs and not linked; [`YoloDetector::load`]
//! reads everything else (input size, class names, layout) from the model itself. No ONNX value leaves this module.

mod facts;
mod layout;
mod letterbox;
mod library;
mod literal;
mod options;
mod outputs;
mod probe;
mod queries;
mod runtime;
mod session;
mod shared;
mod suppress;
mod yolo;

pub(crate) use facts::{Element, TensorShape, shown};
pub use letterbox::LetterboxPreparer;
pub use library::{FoundLibrary, find_library};
pub use options::{DetectOptions, parse_imgsz, resolve_classes};
pub(crate) use outputs::{floats, halved, tensor};
pub(crate) use runtime::absent;
pub use runtime::devices;
pub(crate) use session::{
    SessionOptions, check_file, inference_failed, model_failed, open_session, refused, tensor_shape,
};
pub use shared::{BatchModel, BatchOptions, Preparers, Selection, SharedDetector, SharedModel};
pub use yolo::YoloDetector;

//! The one ONNX Runtime of the process.

use super::FoundLibrary;
use crate::{VisionError, VisionErrorKind};
use ort::{
    environment::Environment,
    ep::{self, ExecutionProvider, ExecutionProviderDispatch},
    logging::LogLevel,
};
use rva_types::Device;
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// The library that was loaded, and its environment. ONNX Runtime allows one of each in a process, for its whole life.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Returns the environment of a library, which is loaded at the first call.
///
/// # Errors
/// Returns `Runtime` where the library can't be initialised, or another one was loaded before.
pub(super) fn environment(library: &FoundLibrary) -> Result<Environment, VisionError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = loaded.as_ref() {
        if *path == library.path {
            return Ok(environment.clone());
        }
        return Err(failed(
            library,
            &format!("found {} loaded in this process already, wanted one library", path.display()),
        ));
    }
    let environment = ort::init_from(&library.path)
        .map_err(|error| failed(library, &error.to_string()))?
        .with_name("rva")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(library, &error.to_string()))?;
    // ort asks for every message and lets tracing drop most; here the library doesn't even write them.
    environment.set_log_level(LogLevel::Error);
    *loaded = Some((library.path.clone(), environment.clone()));
    Ok(environment)
}

fn failed(library: &FoundLibrary, found: &str) -> VisionError {
    VisionError::new(
        VisionErrorKind::Runtime,
        format!("start ONNX Runtime {} from {}: {found}", library.version, library.path.display()),
    )
}

/// Returns the devices that a library can use on this machine: `cpu` always, then each NVIDIA card through the
/// providers that the library was built with.
///
/// # Errors
/// Returns `Runtime` where the library can't be started.
pub fn devices(library: &FoundLibrary) -> Result<Vec<Device>, VisionError> {
    environment(library)?;
    Ok(available())
}

/// Returns the devices as [`devices`] does, with the library loaded.
fn available() -> Vec<Device> {
    let cards: Vec<u32> = (0..64).filter(|index| PathBuf::from(format!("/dev/nvidia{index}")).exists()).collect();
    let mut devices = vec![Device::Cpu];
    if ep::CUDA::is_available().unwrap_or(false) {
        devices.extend(cards.iter().map(|&card| Device::Cuda(card)));
    }
    if ep::TensorRT::is_available().unwrap_or(false) {
        devices.extend(cards.iter().map(|&card| Device::TensorRt(card)));
    }
    devices
}

/// Returns the providers that run a network on a device, in the order in which they take its operators; each refuses
/// loudly. Without any, ONNX Runtime would choose a device by itself.
///
/// # Errors
/// Returns `Device` where it isn't there; it names those that are.
pub(super) fn providers(
    library: &FoundLibrary,
    device: Device,
    half: bool,
) -> Result<Vec<ExecutionProviderDispatch>, VisionError> {
    let built_in = match device {
        Device::Cpu => true,
        Device::Cuda(_) => ep::CUDA::is_available().unwrap_or(false),
        Device::TensorRt(_) => ep::TensorRT::is_available().unwrap_or(false),
    };
    if !built_in {
        return Err(absent(
            library,
            device,
            "the library was built without it (the wheel onnxruntime-gpu has CUDA and TensorRT)",
        ));
    }
    let cuda = |index: u32| ep::CUDA::default().with_device_id(index as i32).build().error_on_failure();
    Ok(match device {
        Device::Cpu => vec![ep::CPU::default().with_arena_allocator(true).build().error_on_failure()],
        Device::Cuda(index) => vec![cuda(index)],
        Device::TensorRt(index) => {
            let tensorrt = ep::TensorRT::default().with_device_id(index as i32).with_fp16(half);
            vec![tensorrt.build().error_on_failure(), cuda(index)]
        }
    })
}

/// Returns the error of a device that isn't there or doesn't start.
pub(crate) fn absent(library: &FoundLibrary, device: Device, found: &str) -> VisionError {
    let there: Vec<String> = available().iter().map(Device::to_string).collect();
    VisionError::new(
        VisionErrorKind::Device,
        format!(
            "use device {device}: {found}; ONNX Runtime {} from {} has here: {}",
            library.version,
            library.path.display(),
            there.join(", "),
        ),
    )
}

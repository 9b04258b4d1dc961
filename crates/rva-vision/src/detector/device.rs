//! Devices that run a network.

use crate::{VisionError, VisionErrorKind};
use std::fmt;

/// A device that runs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA card through CUDA, by its index.
    Cuda(u32),
    /// An NVIDIA card through TensorRT, by its index. Operators that TensorRT lacks run through CUDA.
    TensorRt(u32),
}

impl Device {
    /// Reads `cpu`, `cuda`, `cuda:1`, `tensorrt:0`, or an index alone for a CUDA card. Letter case is ignored.
    ///
    /// # Errors
    /// Returns `Device` for another text; it names the known ones.
    pub fn parse(text: &str) -> Result<Self, VisionError> {
        let lower = text.trim().to_ascii_lowercase();
        let (kind, index) = match lower.split_once(':') {
            Some((kind, index)) => (kind, Some(index)),
            None if !lower.is_empty() && lower.bytes().all(|b| b.is_ascii_digit()) => ("cuda", Some(lower.as_str())),
            None => (lower.as_str(), None),
        };
        // The runtime takes a 32-bit signed index; no machine has that many cards.
        let index = match index {
            None => Some(0),
            Some(digits) => digits.parse::<u32>().ok().filter(|&index| index < 1024),
        };
        match (kind, index) {
            ("cpu", Some(0)) => Ok(Self::Cpu),
            ("cuda", Some(index)) => Ok(Self::Cuda(index)),
            ("tensorrt", Some(index)) => Ok(Self::TensorRt(index)),
            _ => Err(VisionError::new(
                VisionErrorKind::Device,
                format!(
                    "read device: found {text:?}, wanted cpu, cuda:0 or tensorrt:0 (the number is the card's index)"
                ),
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::TensorRt(index) => write!(f, "tensorrt:{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_in_every_spelling_and_written_in_one() {
        let cases = [
            ("cpu", Device::Cpu, "cpu"),
            ("CPU", Device::Cpu, "cpu"),
            ("cuda", Device::Cuda(0), "cuda:0"),
            ("cuda:3", Device::Cuda(3), "cuda:3"),
            ("0", Device::Cuda(0), "cuda:0"),
            ("1", Device::Cuda(1), "cuda:1"),
            ("tensorrt", Device::TensorRt(0), "tensorrt:0"),
            ("tensorrt:2", Device::TensorRt(2), "tensorrt:2"),
        ];
        for (text, device, written) in cases {
            assert_eq!(Device::parse(text).unwrap(), device, "{text}");
            assert_eq!(device.to_string(), written);
            assert_eq!(Device::parse(written).unwrap(), device);
        }
    }

    #[test]
    fn unknown_devices_are_refused_with_the_known_ones() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "tensorrt:99999999999", "0,1", "mps"] {
            let error = Device::parse(text).unwrap_err();
            assert_eq!(error.kind(), VisionErrorKind::Device);
            let shown = error.to_string();
            assert!(shown.contains(&format!("{text:?}")) && shown.contains("cpu, cuda:0 or tensorrt:0"), "{shown}");
        }
    }
}

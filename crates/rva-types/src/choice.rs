//! Settings that are chosen by a word: parsed once, where a flag, a variable or a file is read.

use std::{fmt, str::FromStr};

/// An error for a text that is none of the words of a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, wanted {wanted}")]
pub struct ChoiceError {
    found: String,
    wanted: String,
}

impl ChoiceError {
    fn new(found: &str, wanted: impl Into<String>) -> Self {
        Self { found: found.chars().take(80).collect(), wanted: wanted.into() }
    }
}

/// Declares the words of a choice, in the order in which an error lists them. Letter case is ignored.
macro_rules! words {
    ($type:ty, { $($name:literal => $value:path),+ $(,)? }) => {
        impl $type {
            /// The words, as a configuration has them.
            pub const WORDS: &'static [&'static str] = &[$($name),+];
        }

        impl FromStr for $type {
            type Err = ChoiceError;

            fn from_str(text: &str) -> Result<Self, ChoiceError> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($name => Ok($value),)+
                    _ => Err(ChoiceError::new(text, format!("one of {}", Self::WORDS.join(", ")))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($value => $name),+ })
            }
        }
    };
}

/// The frames that are processed when there are more than the stages behind can take. Others are counted, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CapturePolicy {
    /// Processes all: decoding waits. Right for files, since nothing is lost; a live source falls behind and its
    /// pictures are stamped late, for it doesn't wait.
    #[default]
    All,
    /// Processes those on the grid of the stride while there is room; a frame for which there is none is left out. The
    /// frames that are processed stay evenly spaced as long as possible.
    EveryNth,
    /// Processes the newest: a frame that still waits when the next one comes gives way to it. Right for live sources,
    /// since what is seen is never older than the detector is slow.
    Latest,
}

/// A policy, or that of the kind of source: a file is seen whole, a stream as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaptureChoice {
    /// Takes the policy of the kind of source.
    #[default]
    Auto,
    /// See [`CapturePolicy::Latest`].
    Latest,
    /// See [`CapturePolicy::EveryNth`].
    EveryNth,
    /// See [`CapturePolicy::All`].
    All,
}

words!(CaptureChoice, {
    "auto" => Self::Auto, "latest" => Self::Latest, "every_nth" => Self::EveryNth, "all" => Self::All,
});

impl CaptureChoice {
    /// Returns the policy; `None` where the kind of source decides.
    pub const fn policy(self) -> Option<CapturePolicy> {
        match self {
            Self::Auto => None,
            Self::Latest => Some(CapturePolicy::Latest),
            Self::EveryNth => Some(CapturePolicy::EveryNth),
            Self::All => Some(CapturePolicy::All),
        }
    }
}

/// The way in which the pictures of an RTSP stream travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RtspTransport {
    /// They travel in the connection that controls it: that passes firewalls, and nothing is lost.
    #[default]
    Tcp,
    /// They travel as datagrams: lower delay on a good network, damaged pictures on a bad one. FFmpeg goes back to TCP
    /// where the camera or the network refuses.
    Udp,
}

words!(RtspTransport, { "tcp" => Self::Tcp, "udp" => Self::Udp });

/// Hardware that decodes video, of OpenCV's FFmpeg back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HwAcceleration {
    /// The processor, without any hardware.
    #[default]
    None,
    /// The hardware that is found first.
    Any,
    /// VA-API of Intel and AMD, on Linux.
    Vaapi,
    /// The Media SDK of Intel.
    Mfx,
    /// Direct3D 11, on Windows.
    D3d11,
}

words!(HwAcceleration, {
    "none" => Self::None, "any" => Self::Any, "vaapi" => Self::Vaapi, "mfx" => Self::Mfx, "d3d11" => Self::D3d11,
});

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

impl FromStr for Device {
    type Err = ChoiceError;

    /// Reads `cpu`, `cuda`, `cuda:1`, `tensorrt:0`, or an index alone for a CUDA card. Letter case is ignored.
    ///
    /// # Errors
    /// Returns an error for another text; it names the known ones.
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
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
            _ => Err(ChoiceError::new(text, "cpu, cuda:0 or tensorrt:0 (the number is the card's index)")),
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
    fn words_are_read_in_any_case_and_written_in_one() {
        fn all<T: FromStr<Err = ChoiceError> + fmt::Display>(words: &[&str]) {
            for word in words {
                assert_eq!(word.parse::<T>().unwrap().to_string(), *word);
                assert_eq!(word.to_ascii_uppercase().parse::<T>().unwrap().to_string(), *word);
            }
        }
        all::<CaptureChoice>(CaptureChoice::WORDS);
        all::<RtspTransport>(RtspTransport::WORDS);
        all::<HwAcceleration>(HwAcceleration::WORDS);
        let error = "cuda".parse::<HwAcceleration>().unwrap_err();
        assert_eq!(error.to_string(), "found \"cuda\", wanted one of none, any, vaapi, mfx, d3d11");
        let policies = CaptureChoice::WORDS.iter().map(|word| word.parse::<CaptureChoice>().unwrap().policy());
        let wanted = [None, Some(CapturePolicy::Latest), Some(CapturePolicy::EveryNth), Some(CapturePolicy::All)];
        assert_eq!(policies.collect::<Vec<_>>(), wanted);
    }

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
            assert_eq!(text.parse::<Device>().unwrap(), device, "{text}");
            assert_eq!(device.to_string(), written);
            assert_eq!(written.parse::<Device>().unwrap(), device);
        }
    }

    #[test]
    fn unknown_devices_are_refused_with_the_known_ones() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "tensorrt:99999999999", "0,1", "mps"] {
            let shown = text.parse::<Device>().unwrap_err().to_string();
            assert!(shown.contains(&format!("{text:?}")) && shown.contains("cpu, cuda:0 or tensorrt:0"), "{shown}");
        }
    }
}

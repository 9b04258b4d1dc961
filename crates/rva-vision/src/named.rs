//! Options that are chosen by a word.

/// Declares the names and values of an option.
macro_rules! named {
    ($type:ty, $what:literal, { $($name:literal => $value:expr),+ $(,)? }) => {
        impl std::str::FromStr for $type {
            type Err = $crate::VisionError;
            fn from_str(text: &str) -> Result<Self, $crate::VisionError> {
                match text.to_ascii_lowercase().as_str() {
                    $($name => Ok($value),)+
                    _ => Err($crate::VisionError::new(
                        $crate::VisionErrorKind::Config,
                        format!("found {} {text:?}, wanted one of {}", $what, [$($name),+].join(", ")),
                    )),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(if *self == $value { return f.write_str($name); })+
                Ok(())
            }
        }
    };
}

pub(crate) use named;

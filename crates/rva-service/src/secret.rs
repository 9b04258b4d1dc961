//! Passwords and tokens.

use serde::Deserialize;
use std::fmt;

/// A value that must not be printed: it has no `Display`, its `Debug` is redacted, and it can't be serialised.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What stands for a secret wherever one would be shown.
pub(crate) const REDACTED: &str = "********";

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({REDACTED})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_of_a_secret_hides_it() {
        let found = format!("{:?}", Some(Secret::new("hunter2")));
        assert!(!found.contains("hunter2"), "{found}");
        assert_eq!(Secret::new("hunter2").expose(), "hunter2");
    }
}

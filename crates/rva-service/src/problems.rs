//! Keys that don't fit together, which are found one after another and told all at once.

use crate::{ConfigError, Loaded, Problem};

/// Gathers what is wrong with a configuration, each with the origin of its value.
#[derive(Debug)]
pub struct Problems<'a> {
    /// The configuration.
    pub loaded: &'a Loaded,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// Starts without any.
    pub fn of(loaded: &'a Loaded) -> Self {
        Self { loaded, found: Vec::new() }
    }

    /// Adds what is wrong with the key `path`.
    pub fn add(&mut self, path: &str, text: impl Into<String>) {
        self.found.push(self.loaded.problem(path, text));
    }

    /// Returns `made`, where nothing was found.
    ///
    /// # Errors
    /// Returns everything that was found.
    pub fn none_or<T>(self, made: T) -> Result<T, ConfigError> {
        if self.found.is_empty() { Ok(made) } else { Err(ConfigError { problems: self.found }) }
    }
}

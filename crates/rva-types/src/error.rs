//! The body of errors at seams.

use std::{error::Error, fmt};

/// An error at a seam: a kind, which says what a retry can cure, and a text that names found, wanted and where.
#[derive(Debug)]
pub struct SeamError<K> {
    kind: K,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl<K: Copy> SeamError<K> {
    /// Makes an error of a kind and a text.
    pub fn new(kind: K, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Makes it one of another kind.
    #[must_use]
    pub fn with_kind(self, kind: K) -> Self {
        Self { kind, ..self }
    }

    /// Returns the kind.
    pub fn kind(&self) -> K {
        self.kind
    }
}

impl<K> fmt::Display for SeamError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K: fmt::Debug> Error for SeamError<K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_kind_its_text_and_what_caused_it() {
        let error = SeamError::new(1, "found 2, wanted 1").with_source(fmt::Error);
        assert_eq!((error.kind(), error.to_string().as_str()), (1, "found 2, wanted 1"));
        assert!(error.source().is_some_and(|source| source.is::<fmt::Error>()));
        let other = error.with_kind(3);
        assert_eq!((other.kind(), other.source().is_some()), (3, true));
    }
}

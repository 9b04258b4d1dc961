//! Passwords and tokens, and texts that may hold one as they may be shown.
//!
//! Every secret of the configuration is remembered by the process, so that [`scrub`] can take it out of what other
//! crates log or answer, whatever form they give it.

use rva_types::{HIDDEN, forms_of, redact, secrets_of, shown_source};
use serde::{Deserialize, Deserializer};
use std::{
    borrow::Cow,
    fmt,
    sync::{PoisonError, RwLock},
};

/// The fewest bytes that are remembered: shorter ones would take letters out of innocent words.
const REMEMBERED_BYTES_MIN: usize = 4;

/// The most texts that are remembered: configurations that are read again and again don't grow it for ever.
const REMEMBERED_MAX: usize = 100_000;

/// The texts that must not be shown, the longest first.
static REMEMBERED: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// A value that must not be printed: it has no `Display`, its `Debug` is redacted, and it can't be serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The text that stands for a secret wherever one would be shown.
pub(crate) const REDACTED: &str = "********";

impl Secret {
    /// Wraps a text, and remembers it for [`scrub`].
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.len() >= REMEMBERED_BYTES_MIN {
            remember(forms_of(&text));
        }
        Self(text)
    }

    /// Returns the text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({REDACTED})")
    }
}

/// A source as its user wrote it, which may hold a password. It has no `Display`; its `Debug` hides secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SourceText(String);

impl SourceText {
    /// Returns the text itself, for the code that opens the source.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether it holds anything that must not be shown.
    pub fn holds_secrets(&self) -> bool {
        !secrets_of(&self.0).is_empty()
    }
}

impl<T: Into<String>> From<T> for SourceText {
    /// Wraps a text, and remembers its secrets for [`scrub`].
    fn from(text: T) -> Self {
        let text = text.into();
        remember(secrets_of(&text));
        Self(text)
    }
}

impl<'de> Deserialize<'de> for SourceText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown_source(&self.0))
    }
}

/// Returns the text without the secrets that this process knows, and without anything that looks like one.
pub fn scrub(text: &str) -> String {
    redact(&without_remembered(text))
}

fn without_remembered(text: &str) -> Cow<'_, str> {
    let remembered = REMEMBERED.read().unwrap_or_else(PoisonError::into_inner);
    let found = remembered.iter().filter(|secret| text.contains(secret.as_str()));
    found.fold(Cow::Borrowed(text), |text, secret| Cow::Owned(text.replace(secret.as_str(), HIDDEN)))
}

/// Remembers texts as they are, and as a line of JSON and a `Debug` form hold them.
fn remember(texts: impl IntoIterator<Item = String>) {
    let mut remembered = REMEMBERED.write().unwrap_or_else(PoisonError::into_inner);
    for text in texts {
        let escaped = format!("{text:?}");
        let escaped = escaped[1..escaped.len() - 1].to_owned();
        for form in [text, escaped] {
            let is_new = form.len() >= REMEMBERED_BYTES_MIN && !remembered.contains(&form);
            if is_new && remembered.len() < REMEMBERED_MAX {
                let at = remembered.partition_point(|other| other.len() >= form.len());
                remembered.insert(at, form);
            }
        }
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
        let source = SourceText::from("rtsp://u:hunter3@cam/1");
        assert_eq!(format!("{source:?}"), "\"rtsp://cam/1\"");
        assert!(source.holds_secrets() && !SourceText::from("rtsp://cam/1").holds_secrets());
    }

    #[test]
    fn what_the_process_knows_is_taken_out_of_any_text_in_any_form() {
        drop(Secret::new("swordfish-7"));
        drop(Secret::new("two\"quotes"));
        drop(SourceText::from("rtsp://me:open%2Fsesame@cam/1"));
        for (text, wanted) in [
            ("token swordfish-7 refused", "token *** refused"),
            (r#"{"message":"two\"quotes"}"#, r#"{"message":"***"}"#),
            ("login open/sesame, open%2Fsesame", "login ***, ***"),
            ("Basic bWU6b3Blbi9zZXNhbWU=", "Basic ***"),
            ("http://host/x?new=thing", "http://host/x?***=***"),
        ] {
            assert_eq!(scrub(text), wanted);
        }
    }
}

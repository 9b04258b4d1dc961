//! The parts of a text that may be shown where it may hold a password: one rule for logs, errors, records, `/ready` and
//! `config show`.
//!
//! The rule allows what is known to be harmless and hides the rest; a list of secrets would never be whole. Of a URL,
//! scheme, host, port, a path of plain words, and the values of parameters that are known to be harmless (`channel`,
//! `subtype`, …) are shown. Where it isn't clear which part is which (a password with an unencoded `/` or `@`), only
//! the scheme stays.
//!
//! ```
//! use rva_types::{redact, shown_source};
//! assert_eq!(shown_source("rtsp://admin:hush@cam:554/live?channel=1&pw=hush"), "rtsp://cam:554/live?channel=1&pw=***");
//! assert_eq!(redact("open rtmp://host/live/hush failed"), "open rtmp://host/live/*** failed");
//! ```

mod free;
mod parts;
mod pipeline;
mod url;

pub use free::redact;
pub use parts::{forms_of, secrets_of};
pub use pipeline::pipeline_properties;

/// The text that stands for anything that isn't shown.
pub const HIDDEN: &str = "***";

/// Returns a source as it may be shown: a URL, a GStreamer pipeline, or a path, which is shown as it is but for URLs in
/// Other than [`redact`] it knows where the text ends, so a URL with blanks or quotes in its password is one URL.
///
/// Other than [`redact`] this knows where the text ends, so that a URL with blanks or quotes in its password is one
/// URL.
pub fn shown_source(text: &str) -> String {
    let text = text.trim();
    if pipeline::is_pipeline(text) {
        return pipeline::shown(text);
    }
    match url::Start::find(text) {
        Some(start) if start.at == 0 => url::shown(text, &start),
        // `rtsp:rtsp://…`, `"rtsp://…"`: whatever stands before it isn't the secret, and all behind it may be.
        Some(start) => format!("{}{}", free::redact(&text[..start.at]), url::shown_from(&text[start.at..])),
        // `user:pass word@host`
        None => match text.rsplit_once('@') {
            Some((login, host)) if login.contains(':') => format!("{HIDDEN}@{}", free::redact(host)),
            _ => free::redact(text),
        },
    }
}

#[cfg(test)]
mod tests;

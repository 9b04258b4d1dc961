//! GStreamer pipelines, as `gst-launch-1.0` reads them: elements between ` ! `, each a name and `property=value`.

use super::{HIDDEN, url};

/// Properties whose values, where they are plain words, say nothing secret.
const SETTINGS: [&str; 38] = [
    "async",
    "bitrate",
    "block",
    "buffer-mode",
    "buffer-size",
    "caps",
    "config-interval",
    "device",
    "do-timestamp",
    "drop",
    "drop-on-latency",
    "emit-signals",
    "encoding-name",
    "is-live",
    "leaky",
    "max-buffers",
    "max-lateness",
    "max-size-buffers",
    "max-size-bytes",
    "max-size-time",
    "max-threads",
    "media",
    "name",
    "num-buffers",
    "payload",
    "pattern",
    "protocols",
    "qos",
    "retry",
    "skip-frames",
    "stream-format",
    "sync",
    "tcp-timeout",
    "timeout",
    "videorate",
    "ntp-sync",
    "clock-rate",
    "alignment",
];

/// Returns whether a text is meant for GStreamer.
pub(super) fn is_pipeline(text: &str) -> bool {
    text.starts_with("gst:") || text.contains(" ! ")
}

/// Returns whether a property is one that may be shown.
pub(super) fn is_setting(name: &str, value: &str) -> bool {
    let value = value.strip_prefix('(').and_then(|value| value.split_once(')')).map_or(value, |(_, value)| value);
    let is_fraction = value.split_once('/').is_some_and(|(a, b)| url::is_plain(a) && url::is_plain(b));
    let is_device = name == "device" && value.strip_prefix("/dev/").is_some_and(url::is_plain);
    let is_number = value.len() <= 12 && is_fraction;
    url::is_harmless(name, value)
        || (SETTINGS.contains(&name) && (url::is_plain(value) || is_device))
        || (name == "framerate" && is_number)
}

/// Returns the pipeline with the parts hidden that may be secret.
pub(super) fn shown(text: &str) -> String {
    let body = text.strip_prefix("gst:").unwrap_or(text).trim();
    let mut shown = Vec::new();
    let mut is_first = true;
    for word in words(body) {
        shown.push(match &word {
            Word::Link => "!".to_owned(),
            Word::Pair(name, value) => pair(name, value),
            Word::Bare(text) if is_caps(text) => caps(text),
            Word::Bare(text) if is_first && is_element(text) => text.clone(),
            Word::Bare(_) => HIDDEN.to_owned(),
        });
        is_first = matches!(word, Word::Link);
    }
    format!("gst:{}", shown.join(" "))
}

/// Returns names and values of the properties of all elements, without the quotes and escapes that GStreamer takes
/// away.
pub fn pipeline_properties(text: &str) -> Vec<(String, String)> {
    let body = text.strip_prefix("gst:").unwrap_or(text);
    let pairs = words(body).into_iter().filter_map(|word| match word {
        Word::Pair(name, value) => Some((name, value)),
        _ => None,
    });
    pairs.collect()
}

enum Word {
    Link,
    /// A pair `name=value`, unquoted.
    Pair(String, String),
    /// An element, caps, or a reference.
    Bare(String),
}

fn pair(name: &str, value: &str) -> String {
    let is_name = name.len() <= 32 && name.chars().all(|c| c.is_ascii_lowercase() || "-_:.".contains(c));
    let name = if is_name { name } else { url::shown_name(name) };
    if is_setting(name, value) {
        return format!("{name}={value}");
    }
    match url::Start::find(value) {
        Some(start) if start.at == 0 => format!("{name}={}", url::shown(value, &start)),
        _ => format!("{name}={HIDDEN}"),
    }
}

fn is_element(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c))
}

fn is_caps(text: &str) -> bool {
    ["video/", "audio/", "image/", "application/"].iter().any(|kind| text.starts_with(kind))
}

fn caps(text: &str) -> String {
    let parts = text.split(',').enumerate().map(|(index, part)| match part.split_once('=') {
        Some((name, value)) if is_setting(name.trim(), value.trim()) => part.to_owned(),
        Some((name, _)) => format!("{}={HIDDEN}", url::shown_name(name.trim())),
        None if index == 0 && part.split('/').all(url::is_plain) => part.to_owned(),
        None => HIDDEN.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Splits a pipeline: at blanks, but not at those inside quotes or behind a backslash; blanks around `=` belong to the
/// pair.
fn words(text: &str) -> Vec<Word> {
    let mut tokens: Vec<(String, Option<usize>)> = Vec::new();
    let mut token = String::new();
    let (mut equals, mut is_open) = (None, false);
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (_, '\\') => token.extend(letters.next()),
            (Some(_), letter) => token.push(letter),
            (None, '"' | '\'') => (quote, is_open) = (Some(letter), true),
            (None, '=') if equals.is_none() => {
                // `name = value`: the name was ended by its blank.
                if token.is_empty()
                    && !is_open
                    && let Some((name, None)) = tokens.last()
                    && name != "!"
                {
                    token = tokens.pop().map(|(name, _)| name).unwrap_or_default();
                }
                equals = Some(token.len());
                token.push('=');
                while letters.peek().is_some_and(|next| next.is_whitespace()) {
                    letters.next();
                }
            }
            (None, letter) if letter.is_whitespace() => {
                if !token.is_empty() || is_open {
                    tokens.push((std::mem::take(&mut token), equals));
                }
                (equals, is_open) = (None, false);
            }
            (None, letter) => token.push(letter),
        }
    }
    if !token.is_empty() || is_open {
        tokens.push((token, equals));
    }
    let word = |(token, equals): (String, Option<usize>)| match equals {
        // `video/x-raw,format=BGR` is no pair.
        Some(at) if !is_caps(&token) => Word::Pair(token[..at].to_owned(), token[at + 1..].to_owned()),
        _ if token == "!" => Word::Link,
        _ => Word::Bare(token),
    };
    tokens.into_iter().map(word).collect()
}

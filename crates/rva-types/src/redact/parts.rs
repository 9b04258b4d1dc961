//! The secrets of a source, one by one, for taking them out of what libraries say.

use super::{pipeline, url};

/// The fewest bytes of a secret: a shorter one would take letters out of innocent words.
const SECRET_BYTES_MIN: usize = 3;

/// Returns the secrets of a source, in each form that a library may say them: as they stand there, percent-decoded, and
/// as the Basic scheme sends them. The longest come first.
pub fn secrets_of(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    if pipeline::is_pipeline(source) {
        for (name, value) in pipeline::pipeline_properties(source) {
            match url::Start::find(&value) {
                Some(_) => of_url(&value, &mut found),
                None if url::is_harmless(&name, &value) || pipeline::is_setting(&name, &value) => {}
                None => push(&value, &mut found),
            }
        }
    } else {
        of_url(source, &mut found);
    }
    found.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found.dedup();
    found
}

/// Returns the forms in which libraries say a secret: as it is, percent-decoded, percent-encoded, and in base64.
pub fn forms_of(secret: &str) -> Vec<String> {
    let mut found = vec![base64(secret.as_bytes())];
    push(secret, &mut found);
    found
}

fn of_url(text: &str, found: &mut Vec<String>) {
    let Some(rest) = url::Start::find(text).map(|start| start.rest_of(text)) else {
        // `user:password@host`
        if let Some((login, _)) = text.rsplit_once('@')
            && login.contains(':')
        {
            of_login(login, found);
        }
        return;
    };
    let Some(parts) = url::Parts::of(rest) else {
        // Unclear: everything up to the last @ may be the login.
        if let Some((login, _)) = rest.rsplit_once('@') {
            of_login(login, found);
        }
        return;
    };
    if let Some(user) = parts.user {
        of_login(user, found);
    }
    for pair in parts.query.unwrap_or_default().split(['&', ';']) {
        match pair.split_once('=') {
            Some((name, value)) if url::is_harmless(name, value) => {}
            Some((_, value)) => push(value, found),
            None => {}
        }
    }
    if let Some(fragment) = parts.fragment {
        push(fragment, found);
    }
    let is_open = url::Start::find(text).is_some_and(|start| start.has_open_path(text));
    for word in parts.path.split(['/', '\\', '&']).filter(|_| !is_open) {
        match word.split_once('=') {
            Some((name, value)) if !url::is_harmless(name, value) => push(value, found),
            None if !url::is_plain(word) => push(word, found),
            _ => {}
        }
    }
    if text.to_ascii_lowercase().starts_with("rtmp")
        && let Some((_, key)) = parts.path.rsplit_once('/')
    {
        push(key, found);
    }
}

fn of_login(login: &str, found: &mut Vec<String>) {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    push(login, found);
    push(password, found);
    push(user, found);
    let pair = format!("{}:{}", decoded(user), decoded(password));
    found.push(base64(pair.as_bytes()));
    push(&pair, found);
}

fn push(value: &str, found: &mut Vec<String>) {
    found.push(value.to_owned());
    found.push(decoded(value));
    found.push(encoded(&decoded(value)));
}

/// Decodes percent signs; text that isn't encoded stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes with percent signs as a form does: letters, digits and `-_.~` stay.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Encodes in base64 (RFC 4648), with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[(word >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

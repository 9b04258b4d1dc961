//! Texts of any kind, log lines or errors, in which URLs and credentials may stand.

use super::{HIDDEN, url};

/// The ends of names of settings whose values are secret; in free text nothing else tells a secret from a word.
const SECRET_ENDS: [&str; 20] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "psw",
    "user-pw",
    "user-id",
    "proxy-pw",
    "proxy-id",
    "secret",
    "secret_key",
    "secretkey",
    "secret-key",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "signature",
    "credential",
    "access_key",
];

/// The headers whose whole rest of the line is secret.
const SECRET_HEADERS: [&str; 10] = [
    "proxy-authorization",
    "authorization",
    "set-cookie",
    "cookies",
    "cookie",
    "x-api-key",
    "extra-headers",
    "x-auth-token",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer-key",
];

/// The words that authorisations begin with.
const AUTHORISATIONS: [&str; 3] = ["bearer ", "basic ", "digest "];

/// Returns the text with the parts hidden that may be secret: URLs by the rule of
/// [`shown_source`](super::shown_source), `user:password@` without a scheme, headers, and `name=value` and
/// `"name": "value"` where the name is that of a secret.
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        shown.push_str(&urls(line));
    }
    shown
}

fn urls(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some(start) = url::Start::find(rest) {
        let (before, from) = rest.split_at(start.at);
        shown.push_str(&words(before));
        let (url, behind) = from.split_at(url_end(before, from));
        shown.push_str(&url::shown_from(url));
        rest = behind;
    }
    shown.push_str(&words(rest));
    shown
}

/// Returns the place where the URL at the beginning of `from` ends.
fn url_end(before: &str, from: &str) -> usize {
    let quote = before.chars().next_back().filter(|c| "\"'`<(".contains(*c));
    let closing = quote.map(|quote| match quote {
        '<' => '>',
        '(' => ')',
        other => other,
    });
    // Inside quotes it may hold blanks; else a blank ends it.
    let quoted = closing.filter(|closing| *closing != ')').and_then(|closing| from.find(closing));
    let mut end = quoted.unwrap_or_else(|| from.find(ends_url).unwrap_or(from.len()));
    let rest = from[..end].split_once(':').map_or("", |(_, rest)| rest.trim_start_matches(['/', '\\']));
    let goes_on = if url::is_cut(trim_end(rest)) {
        // A password with a blank in it goes on until the last @ of the line.
        from[end..].rfind('@')
    } else {
        // One with a quote in it, until the last @ before the next blank or URL.
        let next = from[end..].find(char::is_whitespace).unwrap_or(from.len() - end);
        from[end..end + next].rfind('@').filter(|at| !from[end..end + at].contains("://"))
    };
    if let Some(at) = goes_on {
        let at = end + at + 1;
        end = at + from[at..].find(ends_url).unwrap_or(from.len() - at);
    }
    trim_end(&from[..end]).len()
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || "\"'`<>{}|".contains(c) || c.is_control()
}

/// Returns a URL without the punctuation that a sentence puts behind it.
fn trim_end(url: &str) -> &str {
    url.trim_end_matches([':', ',', '.', ';', ')', ']', '!'])
}

/// Returns a text without URLs, with the parts hidden that may be secret.
fn words(text: &str) -> String {
    let text = headers(text);
    let mut shown = String::with_capacity(text.len());
    let mut hides_next = false;
    for word in text.split_inclusive(char::is_whitespace) {
        let (body, blank) = word.split_at(word.trim_end().len());
        match std::mem::take(&mut hides_next) {
            true if !body.is_empty() => shown.push_str(HIDDEN),
            _ => {
                let (text, next) = one_word(body);
                shown.push_str(&text);
                hides_next = next;
            }
        }
        shown.push_str(blank);
    }
    shown
}

/// Returns a word as it may be shown, and whether the next one is its value.
fn one_word(word: &str) -> (String, bool) {
    let lower = word.to_ascii_lowercase();
    if lower.contains("%3a%2f%2f") || lower.contains("%3a//") {
        // What ended a URL before it goes on ending it.
        let begin = word.find(|c: char| c.is_alphanumeric() || c == '%').unwrap_or(0);
        return (format!("{}{HIDDEN}", &word[..begin]), false);
    }
    // `user:password@host`
    if let Some((login, host)) = word.rsplit_once('@')
        && login.contains(':')
    {
        let (host, next) = one_word(host);
        return (format!("{HIDDEN}@{host}"), next);
    }
    for (at, sign) in word.match_indices(['=', ':']) {
        let name = lower[..at].trim_end_matches(['"', '\'']);
        let is_quoted = name.len() < at;
        let is_secret = SECRET_ENDS.iter().any(|end| name.ends_with(end)) && (sign == "=" || is_quoted);
        if is_secret {
            let value = word[at + 1..].trim_matches(['"', '\'']);
            // `"password": "…"`: the value is the next word.
            return match value.is_empty() {
                true => (word.to_owned(), true),
                false => (format!("{}{HIDDEN}", &word[..=at]), false),
            };
        }
    }
    (word.to_owned(), false)
}

/// Hides the values behind the names of headers, and behind the words `Bearer`, `Basic` and `Digest`.
fn headers(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if let Some((end, sign)) = secret_header(text, &lower) {
        let line_end = if text.ends_with('\n') { "\n" } else { "" };
        return format!("{}{sign} {HIDDEN}{line_end}", &text[..end]);
    }
    for scheme in AUTHORISATIONS {
        if let Some(at) = lower.find(scheme).filter(|at| is_token(&text[at + scheme.len()..])) {
            let from = at + scheme.len();
            let end = text[from..]
                .find(|c: char| c.is_whitespace() || "\"'".contains(c))
                .map_or(text.len(), |end| from + end);
            return format!("{}{HIDDEN}{}", &text[..from], headers(&text[end..]));
        }
    }
    text.to_owned()
}

/// Returns where the name of the first secret header ends that has a value, and the sign between them.
fn secret_header(text: &str, lower: &str) -> Option<(usize, char)> {
    let of = |(at, name): (usize, &str)| {
        let end = at + name.len();
        let value = text[end..].trim_start_matches(['"', '\'', ' ']);
        let sign = value.chars().next().filter(|c| ":=".contains(*c))?;
        (value.len() > 1).then_some((end, sign))
    };
    SECRET_HEADERS.iter().filter_map(|name| lower.match_indices(name).find_map(of)).min()
}

/// Returns whether the text behind `Basic` begins with no word of a sentence.
fn is_token(text: &str) -> bool {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    word.len() >= 8
        && word.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase() || b"=+/._".contains(&byte))
}

//! URLs, and the parts of one that may be shown.

use super::HIDDEN;

/// The schemes that a URL with a single slash (`rtsp:/host`) is still taken for.
const SCHEMES: [&str; 20] = [
    "rtsp",
    "rtsps",
    "rtspu",
    "rtspt",
    "rtmp",
    "rtmps",
    "rtmpt",
    "rtmpe",
    "http",
    "https",
    "hls",
    "mms",
    "mmsh",
    "rtp",
    "srt",
    "tcp",
    "udp",
    "pulsar",
    "pulsar+ssl",
    "ftp",
];

/// The schemes whose paths name files and topics, and are no secret.
const OPEN_PATHS: [&str; 8] = ["s3", "s3a", "s3n", "file", "persistent", "non-persistent", "memory", "jdbc"];

/// The parameters whose values say which picture is wanted, and nothing else.
const HARMLESS_NAMES: [&str; 58] = [
    "action",
    "audio",
    "axis",
    "bitrate",
    "camera",
    "ch",
    "chan",
    "channel",
    "channelid",
    "codec",
    "compression",
    "fmt",
    "format",
    "fps",
    "framerate",
    "h",
    "height",
    "id",
    "index",
    "input",
    "latency",
    "live",
    "mode",
    "overlay",
    "page",
    "pkt_size",
    "port",
    "prefix",
    "profile",
    "profile-id",
    "proto",
    "protocol",
    "quality",
    "rate",
    "res",
    "resolution",
    "rotation",
    "size",
    "source",
    "speed",
    "stream",
    "streamid",
    "streamtype",
    "subtype",
    "store_id",
    "timeout",
    "track",
    "transport",
    "transportmode",
    "type",
    "ttl",
    "unicast",
    "v",
    "version",
    "video",
    "videocodec",
    "w",
    "width",
];

/// The parameters without a value that are switches.
const SWITCHES: [&str; 8] = ["tcp", "udp", "multicast", "unicast", "live", "enablesrtp", "audio", "video"];

/// The names of parameters that may be shown, although their values may not: a reader sees what kind of thing is
/// hidden. Any other name is hidden with its value, since a bare token looks like a name.
const KNOWN_NAMES: [&str; 44] = [
    "access_token",
    "apikey",
    "api_key",
    "api-key",
    "auth",
    "authorization",
    "authkey",
    "cookie",
    "credential",
    "expires",
    "extra-headers",
    "key",
    "keyid",
    "login",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "proxy-id",
    "proxy-pw",
    "psw",
    "pw",
    "pwd",
    "secret",
    "session",
    "sig",
    "sign",
    "signature",
    "sv",
    "ticket",
    "token",
    "url",
    "usr",
    "user",
    "user-id",
    "user-pw",
    "username",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-algorithm",
    "cookies",
];

/// The first parts of RTMP's paths that are an application, not a key.
const APPLICATIONS: [&str; 10] = ["app", "hls", "live", "live2", "play", "publish", "rtmp", "stream", "streams", "vod"];

/// The login as a hint writes it.
const PLACEHOLDER: &str = "user:password@";

/// The longest value of a harmless parameter, and the longest word of a path.
const WORD_MAX: usize = 64;

/// The place where a URL begins in a text.
#[derive(Debug)]
pub(super) struct Start {
    /// The place of the scheme's first letter.
    pub at: usize,
    /// The place behind the slashes.
    rest: usize,
    scheme_end: usize,
}

impl Start {
    /// Finds the first URL of a text: `scheme://`, also with `\` for `/`; with one slash for schemes that are known.
    pub(super) fn find(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        for (colon, _) in text.match_indices(':') {
            let slashes = bytes[colon + 1..].iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
            if slashes == 0 {
                continue;
            }
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_');
            let letters = bytes[..colon].iter().rev().take_while(|byte| is_part(byte)).count();
            // What isn't a letter doesn't begin a scheme: `1.rtsp://`, `-rtsp://`.
            let skipped = bytes[colon - letters..colon].iter().take_while(|byte| !byte.is_ascii_alphabetic()).count();
            let at = colon - letters + skipped;
            if at == colon {
                continue;
            }
            let scheme = text[at..colon].to_ascii_lowercase();
            if slashes > 1 || SCHEMES.contains(&scheme.as_str()) {
                // Only two slashes belong to the scheme; a third begins a path.
                return Some(Self { at, scheme_end: colon, rest: colon + 1 + slashes.min(2) });
            }
        }
        None
    }
}

impl Start {
    /// Returns whether the paths of its scheme are no secret.
    pub(super) fn has_open_path(&self, text: &str) -> bool {
        OPEN_PATHS.contains(&text[self.at..self.scheme_end].to_ascii_lowercase().as_str())
    }

    /// Returns the text behind the slashes.
    pub(super) fn rest_of<'a>(&self, text: &'a str) -> &'a str {
        &text[self.rest..]
    }
}

/// Returns, as it may be shown, a text that begins with a URL and holds nothing behind it.
pub(super) fn shown_from(text: &str) -> String {
    match Start::find(text) {
        Some(start) => shown(text, &start),
        None => HIDDEN.to_owned(),
    }
}

/// Returns the URL from `start` to the end of `text` as it may be shown.
pub(super) fn shown(text: &str, start: &Start) -> String {
    let scheme = text[start.at..start.scheme_end].to_ascii_lowercase();
    let begin = format!("{scheme}{}", &text[start.scheme_end..start.rest]);
    // Our own errors say how a URL is written.
    if text[start.rest..].strip_prefix(PLACEHOLDER).is_some_and(|rest| rest == "…" || rest == "host:port/path") {
        return text[start.at..].to_owned();
    }
    match Parts::of(&text[start.rest..]) {
        Some(parts) => format!("{begin}{}", parts.shown(&scheme)),
        None => format!("{begin}{HIDDEN}"),
    }
}

/// Returns whether the user's part in the text behind a scheme has its end still to come: `user:pass word@host`.
pub(super) fn is_cut(rest: &str) -> bool {
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    // What is hidden already has no end to come.
    !authority.contains('@') && !authority.starts_with(HIDDEN) && !is_host(authority)
}

/// The parts of a URL, where it is clear which is which.
pub(super) struct Parts<'a> {
    /// The user and password, as they stand there.
    pub user: Option<&'a str>,
    host: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Splits a URL; `None` where a part may belong to another: an `@` behind the host, a host that isn't one.
    pub(super) fn of(rest: &'a str) -> Option<Self> {
        let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        if behind.contains('@') {
            return None;
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if !is_host(host) {
            return None;
        }
        let (behind, fragment) = match behind.split_once('#') {
            Some((behind, fragment)) => (behind, Some(fragment)),
            None => (behind, None),
        };
        let (path, query) = match behind.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (behind, None),
        };
        Some(Self { user, host, path, query, fragment })
    }

    fn shown(&self, scheme: &str) -> String {
        let path = match scheme {
            scheme if OPEN_PATHS.contains(&scheme) => self.path.to_owned(),
            scheme if scheme.starts_with("rtmp") => shown_keys(self.path),
            _ => shown_path(self.path),
        };
        match self.query {
            // The end of a path that broke off isn't the end of its secret.
            Some(_) if path.ends_with(HIDDEN) && self.path.contains('=') => format!("{}{path}", self.host),
            Some(query) => format!("{}{path}?{}", self.host, shown_query(query)),
            None => format!("{}{path}", self.host),
        }
    }
}

/// Returns whether a text is a name or address, and maybe a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|address| {
        let (address, zone) = address.split_once('%').unwrap_or((address, ""));
        let is_zone = zone.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) && is_zone
    });
    let is_name = host.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    is_port && (is_address || is_name)
}

/// Shows the words of a path that are plain; a value behind `name=` may go on over slashes, and hides all.
fn shown_path(path: &str) -> String {
    let mut shown = String::new();
    for part in path.split_inclusive(['/', '\\']) {
        let (word, slash) = match part.char_indices().next_back() {
            Some((at, slash @ ('/' | '\\'))) => (&part[..at], slash.to_string()),
            _ => (part, String::new()),
        };
        if is_plain(word) {
            shown.push_str(word);
            shown.push_str(&slash);
            continue;
        }
        match word.split_once('=') {
            Some((name, value)) if is_harmless(name, value) => shown.push_str(&format!("{word}{slash}")),
            Some((name, _)) => {
                shown.push_str(&format!("{}={HIDDEN}", shown_name(name)));
                break;
            }
            None => shown.push_str(&format!("{HIDDEN}{slash}")),
        }
    }
    shown
}

/// Shows a path of RTMP, which is the key but for an application before it.
fn shown_keys(path: &str) -> String {
    let words = path.trim_start_matches(['/', '\\']);
    match words.split_once(['/', '\\']) {
        Some((first, rest)) if APPLICATIONS.contains(&first) && !rest.is_empty() => format!("/{first}/{HIDDEN}"),
        _ if words.is_empty() => path.to_owned(),
        _ => format!("/{HIDDEN}"),
    }
}

fn shown_query(query: &str) -> String {
    let pairs = query.split(['&', ';']).map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_harmless(name, value) => pair.to_owned(),
        Some((name, _)) => format!("{}={HIDDEN}", shown_name(name)),
        None if pair.is_empty() || SWITCHES.contains(&pair.to_ascii_lowercase().as_str()) => pair.to_owned(),
        None => HIDDEN.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Returns the name of a parameter, where it is one that is known.
pub(super) fn shown_name(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    let is_known = KNOWN_NAMES.contains(&lower.as_str()) || HARMLESS_NAMES.contains(&lower.as_str());
    if is_known { name } else { HIDDEN }
}

pub(super) fn is_harmless(name: &str, value: &str) -> bool {
    HARMLESS_NAMES.contains(&name.to_ascii_lowercase().as_str()) && is_plain(value)
}

/// Returns whether a word is written as people write, unlike a token.
pub(super) fn is_plain(word: &str) -> bool {
    word.len() <= WORD_MAX
        && word.chars().all(|c| c.is_alphanumeric() || "-_.~+,".contains(c))
        && !word.split(['-', '_', '.', '~', '+', ',']).any(is_random)
}

/// Returns whether a run has letters of both cases and digits, or is longer than words and dates are.
fn is_random(run: &str) -> bool {
    let has = |wanted: fn(char) -> bool| run.chars().any(wanted);
    let (upper, lower, digit) = (has(char::is_uppercase), has(char::is_lowercase), has(|c: char| c.is_ascii_digit()));
    (run.len() >= 8 && upper && lower && digit) || (run.len() >= 20 && digit) || run.len() >= 32
}
